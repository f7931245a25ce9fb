"""Exchanges under random actors at random times, and their records under random values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.exchange_records import (
    ExchangeEntry,
    ExchangePieces,
    ExchangeProgress,
    OpenedModel,
    Submission,
    decode_exchange,
    decode_exchange_pieces,
    decode_exchange_progress,
    decode_submission,
)
from ledger.hidden_pieces import HiddenPiece, HiddenPieces
from ledger.model_records import LOSS_SUM_MAX
from ledger.schema import AMOUNT_MAX, CHAIN_SUPPLY, Record, decode_supply
from ledger.transactions.model_versions import SetAlias
from primitives.accounts import AccountId
from primitives.errors import InvalidInputError
from tests.helpers.exchanges import (
    ALICE,
    BAD,
    BALANCE,
    BOB,
    BOUNTY,
    CAROL,
    DAVE,
    GOOD,
    HOST,
    LENGTH_MS,
    MIDDLING,
    SPEC,
    STAKE,
    WAIT_MS,
    Fair,
    name_of,
)

Decode = Callable[[bytes], Record]

COUNTERS = st.integers(0, AMOUNT_MAX)
HASHES = st.binary(min_size=32, max_size=32)
ACCOUNT_IDS = st.binary(min_size=20, max_size=20).map(AccountId)
ENTRIES = st.lists(st.builds(ExchangeEntry, ACCOUNT_IDS, COUNTERS, COUNTERS), max_size=4)
HIDDEN = st.lists(st.builds(HiddenPiece, HASHES, st.none() | HASHES, COUNTERS, COUNTERS))

RECORDS: list[tuple[st.SearchStrategy[Record], Decode]] = [
    (
        st.builds(
            ExchangeProgress,
            st.integers(0, 4),
            st.none() | COUNTERS,
            ENTRIES.map(tuple),
            st.integers(0, 256),
            st.integers(0, 256),
            st.none() | ACCOUNT_IDS,
        ),
        decode_exchange_progress,
    ),
    (
        st.builds(
            Submission,
            HASHES,
            COUNTERS,
            st.none() | st.builds(OpenedModel, st.just("name"), COUNTERS, st.just(SPEC), HASHES),
            st.integers(0, 2),
            COUNTERS,
            COUNTERS,
            st.integers(-LOSS_SUM_MAX, LOSS_SUM_MAX),
        ),
        decode_submission,
    ),
    (
        HIDDEN.map(lambda pieces: ExchangePieces(HiddenPieces(tuple(pieces)))),
        decode_exchange_pieces,
    ),
]


@pytest.mark.parametrize(("records", "decode"), RECORDS)
def test_records_survive_encoding(records: st.SearchStrategy[Record], decode: Decode) -> None:
    @given(records)
    def check(record: Record) -> None:
        assert decode(record.encode()) == record

    check()


@pytest.mark.parametrize("decode", [decode_exchange, *(decode for _, decode in RECORDS)])
def test_other_bytes_are_refused(decode: Decode) -> None:
    @given(st.binary(max_size=60))
    def check(data: bytes) -> None:
        with pytest.raises(InvalidInputError):
            decode(data)

    check()


def test_loss_is_cut_off_at_its_bound() -> None:
    heavy = Submission(bytes(32), 0, loss=LOSS_SUM_MAX - 1).add(1, 0, 5)
    assert (heavy.samples, heavy.correct, heavy.loss) == (1, 0, LOSS_SUM_MAX)
    light = Submission(bytes(32), 0, loss=1 - LOSS_SUM_MAX).add(1, 1, -5)
    assert light.loss == -LOSS_SUM_MAX


MODELS = {ALICE: GOOD, BOB: MIDDLING, CAROL: BAD}
ACTORS = tuple(MODELS)
DEEDS = ("submit", "reveal", "show", "advance", "teach", "name")
PAUSES = (1, LENGTH_MS // 2, LENGTH_MS, WAIT_MS // 2, WAIT_MS)


def held(fair: Fair) -> int:
    supply = fair.chain.store.read(CHAIN_SUPPLY, decode_supply)
    assert supply is not None
    assert supply.burnt == 0
    return supply.held


def act(fair: Fair, data: st.DataObject) -> None:
    """Do something that may be refused."""
    actor = data.draw(st.sampled_from(ACTORS))
    after_ms = data.draw(st.sampled_from(PAUSES))
    match data.draw(st.sampled_from(DEEDS)):
        case "submit":
            fair.submit(actor, name_of(actor), after_ms=after_ms)
        case "reveal":
            version = data.draw(st.sampled_from([None, 1]))
            fair.reveal(actor, name_of(actor), version=version, after_ms=after_ms)
        case "show":
            fair.show(data.draw(st.integers(0, 2)), after_ms=after_ms)
        case "advance":
            fair.advance(data.draw(st.integers(1, 4)), after_ms=after_ms)
        case "teach":
            fair.teach(actor, name_of(actor), GOOD)
        case _:
            # An alias that comes and goes pins the same versions.
            version = data.draw(st.sampled_from([None, 1, fair.version(name_of(actor))]))
            fair.send(actor, "set_alias", SetAlias(name_of(actor), "kept", version))


def check_held(fair: Fair) -> None:
    """Assert what is held: bounty and stakes until the exchange is closed, then nothing (X1)."""
    due = 0 if fair.progress.is_closed else BOUNTY + STAKE * len(fair.progress.entries)
    assert held(fair) == due


def start() -> Fair:
    fair = Fair()
    for account, samples in MODELS.items():
        fair.train(account, name_of(account), samples)
    fair.open()
    return fair


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_whatever_the_actors_do_the_money_adds_up_and_comes_out(data: st.DataObject) -> None:
    fair = start()
    windows = fair.pins()
    for _ in range(data.draw(st.integers(1, 14))):
        act(fair, data)
        check_held(fair)
    # Whatever was left undone, anybody can end it (X2).
    fair.wait(LENGTH_MS + 2 * WAIT_MS)
    for _ in range(10):
        if fair.progress.is_closed:
            break
        assert fair.advance(1).code == "ok"
        check_held(fair)
    assert fair.progress.is_closed
    # Nothing that it pinned is left pinned, and aliases still are (X3).
    for account in ACTORS:
        fair.send(account, "set_alias", SetAlias(name_of(account), "kept", None))
    assert fair.pins() == windows
    assert sum(fair.gain(each) for each in (HOST, DAVE, *ACTORS)) == 0
    assert min(fair.chain.account(each.id).balance for each in ACTORS) >= BALANCE - STAKE


@given(st.permutations(ACTORS), st.lists(st.integers(1, 9), min_size=9, max_size=9))
@settings(max_examples=10, deadline=None)
def test_outcome_does_not_depend_on_how_judging_is_cut(order: list, numbers: list[int]) -> None:
    fair = start()
    for account in order:
        fair.submit(account, name_of(account))
    fair.wait(LENGTH_MS)
    for account in reversed(order):
        fair.reveal(account, name_of(account))
    fair.show_all()
    for items in numbers:
        fair.advance(items)
        check_held(fair)
    assert fair.progress.winner == ALICE.id
    assert [fair.submission(each).correct for each in ACTORS] == [5, 4, 0]
    assert [fair.gain(each) for each in ACTORS] == [BOUNTY, 0, 0]
