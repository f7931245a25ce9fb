"""What people do in a `MoneyWorld`: each deed draws one order, sensible or not, at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.contribution_records import contribution_key, decode_contribution
from ledger.model_records import decode_model_progress, model_progress_key
from ledger.stake_records import UNBONDING_PREFIX
from ledger.transactions.accounts import Transfer
from ledger.transactions.contributions import Claim, Contribute, Judgement
from ledger.transactions.evidence import ReportEvidence
from ledger.transactions.staking import SetCommission, Stake, Unstake, WithdrawStake
from ledger.transactions.support import CollectSupport, SupportModel
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from tests.helpers.evidence import make_evidence
from tests.helpers.ledger import TestAccount
from tests.helpers.money import MoneyWorld, Order
from tests.helpers.money_games import CAMPAIGNS, ENTRIES, play_campaign, play_exchange
from tests.helpers.money_models import MODELS, WILD, create_models, make_batch

__all__ = ["DEEDS", "Deed", "draw_orders", "prepare"]

Deed = Callable[[MoneyWorld], Order | None]
"""Draws an order, or None if there is nothing to be done."""

SAMPLES_MAX = 6
EPOCH_BYTES = 8


def prepare(world: MoneyWorld) -> None:
    """Create all models."""
    create_models(world, world.people[0], {**MODELS, **CAMPAIGNS})
    for owner, name in zip(world.people[1:], ENTRIES, strict=False):
        create_models(world, owner, {name: MODELS["points"]})


def transfer(world: MoneyWorld) -> Order:
    """Pay somebody something, or far more than there is."""
    sender, recipient = _pick(world), _pick(world)
    return Order(sender, "transfer", Transfer(recipient.id, max(1, _amount(world))).to_fields())


def contribute(world: MoneyWorld) -> Order:
    """Send samples, at times with a sponsor or with too small a deposit."""
    model = world.random.choice([*MODELS, *MODELS, world.random.choice(ENTRIES)])
    count = world.random.randint(1, SAMPLES_MAX)
    deposit = world.random.choice((10**9, 10**9, 10**9, 1_000, *WILD))
    body = Contribute(model, deposit, count, world.random.choice((0, 0, 4, 100)))
    payload = world.make_payload(make_batch(world, count))
    sender, sponsor = world.random.sample(world.people, 2)
    is_sponsored = world.random.random() < 0.2
    return Order(sender, "contribute", body.to_fields(), payload, sponsor if is_sponsored else None)


def judge(world: MoneyWorld) -> Order | None:
    """Ask for a refund or report, mostly by who may, at times by who may not."""
    found = _find_contribution(world)
    if found is None:
        return None
    model, sequence, contributor = found
    kind = world.random.choice(("refund", "report"))
    is_right = (kind == "refund") == (world.random.random() < 0.9)
    sender = contributor if is_right else _pick(world)
    samples = tuple(
        sorted(world.random.sample(range(SAMPLES_MAX), world.random.choice((0, 0, 0, 2))))
    )
    return Order(sender, kind, Judgement(model, sequence, samples).to_fields())


def claim(world: MoneyWorld) -> Order | None:
    """Take what is left, at times too early."""
    found = _find_contribution(world)
    if found is None:
        return None
    model, sequence, _ = found
    return Order(_pick(world), "claim", Claim(model, sequence).to_fields())


def stake(world: MoneyWorld) -> Order:
    """Stake on a validator, or on somebody who is none."""
    on = _pick(world) if world.random.random() < 0.1 else world.random.choice(world.validators)
    amount = max(1, world.random.choice((_amount(world), world.random.randrange(1, 50))))
    return Order(_pick(world), "stake", Stake(on.id, amount).to_fields())


def unstake(world: MoneyWorld) -> Order:
    """Take a part of a stake back, or more than there is, or all."""
    validator = world.random.choice(world.validators)
    shares = world.random.choice((None, 1, world.random.randrange(1, 5_000), WILD[-1]))
    return Order(_pick(world), "unstake", Unstake(validator.id, shares).to_fields())


def withdraw(world: MoneyWorld) -> Order | None:
    """Ask for what somebody took back, at times too early, again or in another's name."""
    leaving = [key[len(UNBONDING_PREFIX) :] for key, _ in world.scan(UNBONDING_PREFIX)]
    if not leaving:
        return None
    # The oldest of some, so that more than a few have waited long enough.
    chosen = min(world.random.choices(leaving, k=4), key=lambda key: key[-EPOCH_BYTES:])
    owners = {person.id: person for person in world.people}
    is_own = world.random.random() < 0.9
    sender = owners[AccountId(chosen[:ACCOUNT_ID_BYTES])] if is_own else _pick(world)
    validator = AccountId(chosen[ACCOUNT_ID_BYTES:-EPOCH_BYTES])
    body = WithdrawStake(validator, int.from_bytes(chosen[-EPOCH_BYTES:], "big"))
    return Order(sender, "withdraw_stake", body.to_fields())


def set_commission(world: MoneyWorld) -> Order:
    """Ask for another share of the delegators' rewards, as a validator or not."""
    sender = _pick(world) if world.random.random() < 0.1 else world.random.choice(world.validators)
    body = SetCommission(world.random.choice((0, 500, 10_000)))
    return Order(sender, "set_commission", body.to_fields())


def support(world: MoneyWorld) -> Order:
    """Pay a voluntary fee, or collect one's part."""
    model, sender = world.random.choice(list(MODELS)), _pick(world)
    if world.random.random() < 0.5:
        return Order(sender, "collect_support", CollectSupport(model).to_fields())
    body = SupportModel(model, max(1, _amount(world)))
    return Order(sender, "support_model", body.to_fields())


def give_evidence(world: MoneyWorld) -> Order | None:
    """Show that the fourth validator contradicted itself, once in a while."""
    if world.random.random() > 0.05:
        return None
    height = world.chain.store.tip().height
    epoch = max(0, world.parameters.epoch_of(height) - world.random.randrange(3))
    evidence = make_evidence(world.chain, epoch=epoch)
    return Order(_pick(world), "report_evidence", ReportEvidence(evidence).to_fields())


DEEDS: Sequence[tuple[int, Deed]] = (
    (10, transfer),
    (22, contribute),
    (25, judge),
    (6, claim),
    (8, stake),
    (5, unstake),
    (5, withdraw),
    (1, set_commission),
    (4, support),
    (1, give_evidence),
    (9, play_campaign),
    (4, play_exchange),
)
"""How often, of all, and what."""


def draw_orders(world: MoneyWorld, count: int) -> list[Order]:
    """Return so many orders of deeds drawn by how often they are done."""
    weights = [weight for weight, _ in DEEDS]
    orders: list[Order] = []
    while len(orders) < count:
        _, deed = world.random.choices(DEEDS, weights)[0]
        order = deed(world)
        if order is not None:
            orders.append(order)
    return orders


def _pick(world: MoneyWorld) -> TestAccount:
    return world.random.choice(world.people)


def _amount(world: MoneyWorld) -> int:
    return world.random.choice((world.random.randrange(1, 10_000), *WILD))


def _find_contribution(world: MoneyWorld) -> tuple[str, int, TestAccount] | None:
    """Return one of the contributions of the last blocks: model, number, contributor."""
    model = world.random.choice(list(MODELS))
    progress = world.read(model_progress_key(model), decode_model_progress)
    if progress.contributions == 0:
        return None
    sequence = max(0, progress.contributions - 1 - world.random.randrange(40))
    contribution = world.read(contribution_key(model, sequence), decode_contribution)
    people = {person.id: person for person in world.people}
    return model, sequence, people[contribution.contributor]
