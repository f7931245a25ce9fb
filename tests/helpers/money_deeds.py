"""What people do in a `MoneyWorld`: each deed draws one order, sensible or not, at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from incentives.terms import Terms
from ledger.contribution_records import contribution_key, decode_contribution
from ledger.model_records import ModelDescription, decode_model_progress, model_progress_key
from ledger.transactions.accounts import Transfer
from ledger.transactions.contributions import Claim, Contribute, Judgement
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, encode_batch
from ml_runtime.spec import make_spec
from tests.helpers.ledger import TestAccount
from tests.helpers.money import MoneyWorld, Order

__all__ = ["DEEDS", "MODELS", "Deed", "create_models", "draw_orders", "make_batch"]

Deed = Callable[[MoneyWorld], Order | None]
"""Draws an order, or None if there is nothing to be done."""

MODELS = {
    "points": Terms("points", 0, 0, 20_000, 60_000),
    "deposits": Terms("deposit_refund_take", 50, 5_000, 30_000, 120_000),
    "karma": Terms(
        "deposit_refund_take",
        200,
        1_000,
        10_000,
        40_000,
        sponsored_samples_max=20,
        karma_price=100,
        karma_percent_max=60,
        karma_half_life_ms=600_000,
        voluntary_fee=500,
    ),
    "free": Terms("deposit_refund_take", 0, 0, 0, 0),
}
FEATURES = 4
CLASSES = 3
SAMPLES_MAX = 6
WILD = (0, 1, 2**31, 2**62, 2**63 - 1)
"""Amounts at which sums overflow if somebody forgot to look."""


def create_models(world: MoneyWorld, terms: dict[str, Terms]) -> None:
    """Let the first of the people create a model for each kind of terms."""
    orders = [
        Order(world.people[0], "create_model", CreateModel(_describe(name, each)).to_fields())
        for name, each in terms.items()
    ]
    codes = [receipt.code for receipt in world.run_block(orders)]
    assert codes == ["ok"] * len(terms), codes


def make_batch(world: MoneyWorld, count: int) -> bytes:
    """Return samples of classes that lie apart, with a wrong label now and then."""
    rows, labels = [], []
    for _ in range(count):
        label = world.random.randrange(CLASSES)
        row = [ONE * (4 if place == label else 0) for place in range(FEATURES)]
        row[-1] = world.random.randrange(-ONE, ONE)
        rows.append(row)
        is_wrong = world.random.random() < 0.25
        labels.append((label + is_wrong) % CLASSES)
    samples = DenseSamples(np.array(rows, dtype=np.int64))
    return encode_batch(samples, np.array(labels, dtype=np.int64))


def transfer(world: MoneyWorld) -> Order:
    """Pay somebody something, or far more than there is."""
    sender, recipient = _pick(world), _pick(world)
    return Order(sender, "transfer", Transfer(recipient.id, max(1, _amount(world))).to_fields())


def contribute(world: MoneyWorld) -> Order:
    """Send samples, at times with a sponsor or with too small a deposit."""
    model = world.random.choice(list(MODELS))
    count = world.random.randint(1, SAMPLES_MAX)
    deposit = world.random.choice((10**9, 10**9, 10**9, 1_000, *WILD))
    body = Contribute(model, deposit, count)
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
    samples = tuple(sorted(world.random.sample(range(SAMPLES_MAX), world.random.randrange(3))))
    return Order(sender, kind, Judgement(model, sequence, samples).to_fields())


def claim(world: MoneyWorld) -> Order | None:
    """Take what is left, at times too early."""
    found = _find_contribution(world)
    if found is None:
        return None
    model, sequence, _ = found
    return Order(_pick(world), "claim", Claim(model, sequence).to_fields())


DEEDS: Sequence[tuple[int, Deed]] = (
    (15, transfer),
    (35, contribute),
    (40, judge),
    (10, claim),
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


def _describe(name: str, terms: Terms) -> ModelDescription:
    return ModelDescription(
        name=name,
        description="",
        spec=make_spec("nearest_centroid", "dense", FEATURES, CLASSES),
        class_names=("red", "green", "blue"),
        encoder=ScaleEncoder(),
        terms=terms,
        licence="CC0-1.0",
        guidelines="",
    )


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
