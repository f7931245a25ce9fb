"""Campaigns and exchanges in a `MoneyWorld`: what is due, done well, done wrong or left undone.

A provider or an organiser is now and then silent for good, so that every time-out is reached.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from incentives.exchange import Offer
from incentives.terms import Terms
from incentives.valuation import ValuationTerms
from ledger.campaign_records import CampaignTerms, find_open_campaign
from ledger.draws import read_draw
from ledger.exchange_records import commit_to_model
from ledger.exchange_terms import ExchangeTerms, Layout
from ledger.hidden_pieces import commit_to_seed, draw_piece
from ledger.model_records import decode_model, model_key
from ledger.model_tensors import decode_model_tensors, tensors_key
from ledger.payload import Payload
from ledger.transactions.campaigns import AdvanceCampaign, OpenCampaign, ShowPiece
from ledger.transactions.contributions import Contribute
from ledger.transactions.exchange_access import find_exchange
from ledger.transactions.exchange_settlement import AdvanceExchange
from ledger.transactions.exchanges import (
    OpenExchange,
    RevealModel,
    ShowExchangePiece,
    SubmitModel,
)
from ml_runtime.fixed_point import ONE
from tests.helpers.ledger import TestAccount, make_salt
from tests.helpers.money import MoneyWorld, Order
from tests.helpers.money_models import CLASSES, FEATURES, WILD, make_batch

__all__ = ["CAMPAIGNS", "ENTRIES", "play_campaign", "play_exchange"]

CAMPAIGNS = {
    "market": Terms("prediction_market", 0, 0, 0, 0),
    "pay": Terms("contribution_pay", 0, 0, 0, 0, sponsored_samples_max=12),
}
ENTRIES = ("entry-1", "entry-2", "entry-3")
"""Models of the second, third and fourth of the people, to be submitted to exchanges."""

PIECES = 3
LENGTH_MS, WAIT_MS = 20_000, 60_000
SILENT = 0.2
SEED = b"\x07" * 32
WRONG = 0.1
RULES = {
    "market": ("market_single", "market_grouped"),
    "pay": ("shapley", "leave_one_out"),
}


@dataclass
class Secrets:
    """What somebody keeps to itself until it is shown."""

    pieces: list[Payload]
    is_silent: bool
    salts: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)


def play_campaign(world: MoneyWorld) -> Order:
    """Do what a campaign waits for, mostly."""
    model = world.random.choice(list(CAMPAIGNS))
    provider, others = world.people[0], world.people[1:]
    campaign = find_open_campaign(world.chain.store.tip_state, model)
    if campaign is None:
        return _open_campaign(world, model, provider)
    secrets = world.notes["offers"][campaign.pieces.pieces[0].commitment]
    sender = provider if world.random.random() > WRONG else world.random.choice(others)
    advance = Order(
        world.random.choice(world.people),
        "advance_campaign",
        AdvanceCampaign(model, world.random.choice((1, 5, 60))).to_fields(),
    )
    if world.random.random() < WRONG:
        return advance
    if campaign.phase == "participation":
        return _join(world, model) if world.random.random() < 0.8 else advance
    if campaign.phase not in ("draw", "reveal") or secrets.is_silent:
        return advance
    if campaign.phase == "reveal":
        piece, seed = campaign.pieces.next_hidden, b""
    else:
        block_id = read_draw(world.chain.store.tip_state, campaign.draw_height)
        piece, seed = (0 if block_id is None else draw_piece(SEED, block_id, PIECES)), SEED
    assert piece is not None
    body = ShowPiece(model, piece, seed)
    return Order(sender, "show_piece", body.to_fields(), secrets.pieces[piece])


def play_exchange(world: MoneyWorld) -> Order:
    """Do what an exchange waits for, mostly."""
    number = world.notes.setdefault("exchange", 0)
    name = f"cup-{number}"
    found = find_exchange(world.chain.store.tip_state, name)
    host = world.people[4]
    if found is None:
        return _open_exchange(world, name, host)
    if found.progress.is_closed:
        world.notes["exchange"] += 1
        return _open_exchange(world, f"cup-{number + 1}", host)
    secrets = world.notes["offers"][found.pieces.hidden.pieces[0].commitment]
    advance = Order(
        world.random.choice(world.people),
        "advance_exchange",
        AdvanceExchange(name, world.random.choice((1, 3, 20))).to_fields(),
    )
    if world.random.random() < WRONG:
        return advance
    if world.now_ms < found.exchange.deadline_ms:
        return _submit(world, name, secrets)
    if world.now_ms < found.reveals_end_ms:
        return _reveal(world, name, secrets)
    hidden = found.pieces.hidden.next_hidden
    if hidden is None or secrets.is_silent:
        return advance
    sender = host if world.random.random() > WRONG else world.people[0]
    body = ShowExchangePiece(name, hidden)
    return Order(sender, "show_exchange_piece", body.to_fields(), secrets.pieces[hidden])


def _open_campaign(world: MoneyWorld, model: str, provider: TestAccount) -> Order:
    rule = world.random.choice(RULES[model])
    is_market = model == "market"
    valuation = ValuationTerms(
        bounty=world.random.choice((1, 999, 100_000)),
        stake=world.random.choice((1, 10, 5_000)) if is_market else world.random.choice((0, 70)),
        reset=is_market and world.random.random() < 0.5,
        clip_percent=100 if is_market else world.random.choice((30, 100)),
    )
    terms = CampaignTerms(
        rule=rule,
        metric="accuracy" if is_market else world.random.choice(("accuracy", "loss")),
        valuation=valuation,
        contributions_max=world.random.choice((1, 6, 8)),
        min_contributions=world.random.choice((0, 2)),
        length_ms=LENGTH_MS,
        reveal_wait_ms=WAIT_MS,
    )
    secrets = Secrets(
        [world.make_payload(make_batch(world, 4)) for _ in range(PIECES)],
        world.random.random() < SILENT,
    )
    # An order in the same block may open one already: only what is in force is remembered.
    world.notes.setdefault("offers", {})[secrets.pieces[0].commitment] = secrets
    pieces = tuple(piece.commitment for piece in secrets.pieces)
    body = OpenCampaign(model, terms, commit_to_seed(SEED), pieces)
    return Order(provider, "open_campaign", body.to_fields())


def _join(world: MoneyWorld, model: str) -> Order:
    count = world.random.randint(1, 4)
    deposit = world.random.choice((10**6, 10**6, 10**6, 0, WILD[-1]))
    body = Contribute(model, deposit, count)
    sender, sponsor = world.random.sample(world.people[1:], 2)
    is_sponsored = world.random.random() < 0.3
    payload = world.make_payload(make_batch(world, count))
    return Order(sender, "contribute", body.to_fields(), payload, sponsor if is_sponsored else None)


def _open_exchange(world: MoneyWorld, name: str, host: TestAccount) -> Order:
    secrets = Secrets(
        [world.make_payload(make_batch(world, 4)) for _ in range(PIECES)],
        world.random.random() < SILENT,
    )
    world.notes.setdefault("offers", {})[secrets.pieces[0].commitment] = secrets
    offer = Offer(
        "accuracy",
        world.random.choice((0, 500_000, 1_000_000)),
        world.random.choice((1, 50_000)),
        world.random.choice((0, 300)),
    )
    layout = Layout(CLASSES, "dense", FEATURES, -8 * ONE, 8 * ONE)
    terms = ExchangeTerms(name, "", layout, offer, 2, LENGTH_MS, WAIT_MS, 8)
    body = OpenExchange(terms, tuple(piece.commitment for piece in secrets.pieces))
    return Order(host, "open_exchange", body.to_fields())


def _submit(world: MoneyWorld, name: str, secrets: Secrets) -> Order:
    place = world.random.randrange(len(ENTRIES))
    sender = world.people[place + 1]
    model = world.read(model_key(ENTRIES[place]), decode_model)
    tensors = world.read(tensors_key(ENTRIES[place]), decode_model_tensors)
    if sender.id in secrets.salts and world.random.random() > WRONG:
        return _reveal(world, name, secrets)
    salt = make_salt(world.random.randrange(10**9))
    commitment = commit_to_model(salt, sender.id, model.description.spec, tensors.digest)
    secrets.salts[sender.id] = salt, tensors.version
    return Order(sender, "submit_model", SubmitModel(name, commitment, 10**6).to_fields())


def _reveal(world: MoneyWorld, name: str, secrets: Secrets) -> Order:
    place = world.random.randrange(len(ENTRIES))
    sender = world.people[place + 1]
    salt, version = secrets.salts.get(sender.id, (make_salt(0), 0))
    body = RevealModel(name, ENTRIES[place], version, salt)
    return Order(sender, "reveal_model", body.to_fields())
