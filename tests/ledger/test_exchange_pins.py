"""What is judged is the version that was opened, whatever becomes of its model meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger import execution
from ledger.exchange_judging import UNITS_PER_SETTLED, compute_items, compute_loading_units
from ledger.executed_block import ExecutedBlock
from ledger.layout import chunk_key
from ledger.model_policies import ModelPolicies
from ledger.model_versions import decode_pinned_version, pinned_version_key
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.receipt import Receipt
from ledger.transaction import Transaction
from ledger.transactions import exchange_settlement
from ledger.transactions.contributions import Contribute
from ledger.transactions.exchange_settlement import AdvanceExchange
from ledger.transactions.exchanges import RevealModel
from ledger.transactions.model_versions import ExtendModel, RevertModel, SetAlias
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
    WAIT_MS,
    Fair,
    hold_fair,
    make_data,
    name_of,
    salt_of,
)
from tests.helpers.ledger import Chain, TestAccount, make_network, make_salt, make_transaction
from tests.helpers.snapshots import EpochedChain, import_snapshot

GROWING = ModelPolicies(growth=1)


def submitted(model: str = "good", **kwargs: Any) -> Fair:
    """Return a fair to which Alice submitted a good model, at the time of opening it."""
    fair = Fair()
    fair.train(ALICE, model, GOOD, **kwargs)
    fair.open()
    fair.submit(ALICE, model)
    fair.wait(LENGTH_MS)
    return fair


def run_together(fair: Fair, *deeds: tuple[TestAccount, str, Any, bytes | None]) -> list[Receipt]:
    """Run several transactions in one block."""
    nonces: dict[TestAccount, int] = {}
    transactions: list[Transaction] = []
    for number, (sender, kind, body, data) in enumerate(deeds):
        nonce = nonces.get(sender, fair.chain.account(sender.id).nonce)
        nonces[sender] = nonce + 1
        transactions.append(
            make_transaction(
                fair.chain.network,
                sender,
                kind,
                body.to_fields(),
                nonce=nonce,
                payload=None if data is None else Payload(make_salt(9_000 + number), data),
            )
        )
    fair.now_ms += 1
    return list(fair.chain.run(transactions, timestamp_ms=fair.now_ms).receipts)


def test_rival_that_trains_an_opened_model_changes_nothing() -> None:
    """It was disqualified by that, and its stake went to the rival."""
    fair = hold_fair({ALICE: MIDDLING, BOB: GOOD, CAROL: BAD})
    assert fair.teach(CAROL, name_of(BOB), BAD).code == "ok"
    assert list(fair.advance(4).data) == ["judging", 4, None]
    assert fair.teach(CAROL, name_of(BOB), BAD).code == "ok"
    assert list(fair.advance().data) == ["won", 5, BOB.id]
    assert fair.submission(BOB).correct == 5
    assert [fair.gain(each) for each in (ALICE, BOB, CAROL)] == [0, BOUNTY, 0]


def test_model_that_others_trained_before_is_opened_by_the_alias_it_had() -> None:
    fair = submitted()
    assert fair.send(ALICE, "set_alias", SetAlias("good", "kept", 1)).code == "ok"
    assert fair.teach(BOB, "good", BAD).code == "ok"
    assert fair.reveal(ALICE, "good").code == "wrong_commitment"
    assert fair.reveal(ALICE, "good", version=1).code == "ok"
    assert fair.references("good", 1) == 2
    opened = fair.submission(ALICE).opened
    assert opened is not None
    assert (opened.name, opened.version, opened.spec) == ("good", 1, SPEC)
    # The alias is taken away and given back; the exchange holds the version on its own.
    assert fair.send(ALICE, "set_alias", SetAlias("good", "kept", None)).code == "ok"
    assert fair.references("good", 1) == 1
    assert fair.send(ALICE, "set_alias", SetAlias("good", "again", 1)).code == "ok"
    fair.show_all()
    assert list(fair.advance().data) == ["won", 3, ALICE.id]
    assert fair.submission(ALICE).correct == 5
    assert fair.references("good", 1) == 1


def test_version_without_a_name_cannot_be_opened_any_more() -> None:
    fair = submitted()
    fair.teach(BOB, "good", BAD)
    assert fair.reveal(ALICE, "good", version=1).code == "version_not_held"
    assert fair.references("good", 1) == 0


def test_model_that_went_back_to_what_was_sealed_is_opened() -> None:
    """What counts are the parameters, whichever number their version has."""
    fair = submitted()
    assert fair.send(ALICE, "set_alias", SetAlias("good", "sealed", 1)).code == "ok"
    fair.teach(ALICE, "good", GOOD)
    assert fair.send(ALICE, "revert_model", RevertModel("good", 1)).code == "ok"
    assert fair.reveal(ALICE, "good", version=3).code == "ok"
    assert (fair.references("good", 1), fair.references("good", 3)) == (1, 1)


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize(
    ("kind", "body", "data"),
    [
        ("contribute", Contribute("good", 0, 2), make_data(*BAD)),
        ("extend_model", ExtendModel("good", ("third",), 2), None),
    ],
)
def test_model_that_changes_in_the_block_of_its_opening_is_the_one_before(
    kind: str, body: Any, data: bytes | None, is_late: bool
) -> None:
    fair = submitted(policies=GROWING)
    change = (ALICE, kind, body, data)
    opening = (ALICE, "reveal_model", RevealModel("cup", "good", 1, salt_of("good")), None)
    receipts = run_together(fair, *((opening, change) if is_late else (change, opening)))
    assert [receipt.code for receipt in receipts] == ["ok", "ok"]
    fair.show_all()
    assert list(fair.advance().data) == ["won", 3, ALICE.id]
    assert fair.submission(ALICE).correct == 5
    assert fair.references("good", 1) == 0


def test_model_that_grew_since_is_opened_as_it_was() -> None:
    fair = submitted(policies=GROWING)
    assert fair.send(ALICE, "set_alias", SetAlias("good", "kept", 1)).code == "ok"
    assert fair.send(ALICE, "extend_model", ExtendModel("good", ("third",), 2)).code == "ok"
    assert fair.reveal(ALICE, "good", version=1).code == "ok"
    fair.show_all()
    assert fair.advance().data[2] == ALICE.id


def lower_limits(_fair: Fair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_settlement, "compute_item_budget", lambda _parameters: 0)


def show_two(fair: Fair, _monkeypatch: pytest.MonkeyPatch) -> None:
    fair.show(0)
    fair.show(1)


def show_everything(fair: Fair, _monkeypatch: pytest.MonkeyPatch) -> None:
    fair.show_all()


def set_half_aside(fair: Fair, monkeypatch: pytest.MonkeyPatch) -> None:
    fair.show_all()
    assert fair.advance(4).code == "ok"
    lower_limits(fair, monkeypatch)


def set_all_aside(fair: Fair, monkeypatch: pytest.MonkeyPatch) -> None:
    fair.show_all()
    lower_limits(fair, monkeypatch)


@pytest.mark.parametrize("items", [1, 1_024])
@pytest.mark.parametrize(
    ("prepare", "status"),
    [
        (lambda *_: None, "not_shown"),
        (show_two, "not_shown"),
        (show_everything, "won"),
        (set_half_aside, "won"),
        (set_all_aside, "not_won"),
    ],
)
def test_every_end_releases_every_pin_once(
    prepare: Callable[[Fair, pytest.MonkeyPatch], None],
    status: str,
    items: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fair = Fair()
    for account in (ALICE, BOB, CAROL):
        fair.train(account, name_of(account), GOOD)
    before = fair.pins()
    fair.open()
    for account in (ALICE, BOB, CAROL):
        fair.submit(account, name_of(account))
    fair.wait(LENGTH_MS)
    for account in (ALICE, CAROL):
        assert fair.reveal(account, name_of(account)).code == "ok"
    assert sum(fair.pins().values()) == sum(before.values()) + 2
    fair.wait(WAIT_MS)
    prepare(fair, monkeypatch)
    fair.wait(WAIT_MS)
    while not fair.progress.is_closed:
        assert fair.advance(items).code == "ok"
    assert (fair.advance().code, fair.pins()) == ("exchange_closed", before)
    assert fair.progress.status_name == status


def test_exchange_that_nobody_opened_a_model_for_releases_nothing() -> None:
    fair = submitted()
    before = fair.pins()
    fair.wait(WAIT_MS)
    assert list(fair.advance().data) == ["not_won", 0, None]
    assert fair.pins() == before


def test_two_exchanges_pin_the_same_version() -> None:
    fair = Fair()
    fair.train(ALICE, "good", GOOD)
    names = ("cup", "bowl")
    for name in names:
        fair.open(name=name)
        fair.submit(ALICE, "good")
    fair.wait(LENGTH_MS)
    for name, references in zip(names, (1, 2), strict=True):
        body = RevealModel(name, "good", 1, salt_of("good"))
        assert fair.send(ALICE, "reveal_model", body).code == "ok"
        assert fair.references("good", 1) == references
    fair.wait(WAIT_MS)
    for name, references in zip(names, (1, 0), strict=True):
        fair.wait(WAIT_MS)
        assert fair.send(DAVE, "advance_exchange", AdvanceExchange(name, 1)).code == "ok"
        assert fair.references("good", 1) == references
    assert fair.gain(ALICE) == 2 * BOUNTY
    assert fair.gain(HOST) == -2 * BOUNTY


def test_pinned_parameters_stay_stored_until_the_exchange_is_closed() -> None:
    """Versions are let go at once here; this one has neither alias nor window."""
    fair = Fair()
    network = make_network(accounts=5, balance=BALANCE)
    fair.chain = Chain(network, release_lag=0)
    fair.train(ALICE, "good", GOOD, policies=ModelPolicies(checkpoint_interval=64))
    fair.open()
    fair.submit(ALICE, "good")
    fair.wait(LENGTH_MS)
    assert fair.reveal(ALICE, "good").code == "ok"
    store = fair.chain.store
    pinned = store.read(pinned_version_key("good", 1), decode_pinned_version)
    assert pinned is not None
    chunks = [chunk for tensor in pinned.tensors.tensors for chunk in tensor.chunks]
    for _ in range(3):
        fair.teach(BOB, "good", BAD)
    assert all(fair.chain.values.get(chunk_key(chunk)) for chunk in chunks)
    fair.show_all()
    store.forget_cached()
    assert fair.advance().data[2] == ALICE.id
    fair.chain.run()
    assert not all(fair.chain.values.get(chunk_key(chunk)) for chunk in chunks)


def test_same_version_is_counted_once_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    fair = hold_fair({ALICE: GOOD})
    monkeypatch.setattr(execution, "MODEL_BYTES_MAX", 8 * 6)
    bits = [(each, "advance_exchange", AdvanceExchange("cup", 1), None) for each in (BOB, DAVE)]
    receipts = run_together(fair, *bits)
    assert [list(receipt.data) for receipt in receipts] == [["judging", 1, None]] * 2


def test_time_out_is_metered_with_letting_go_of_what_is_pinned() -> None:
    fair = submitted()
    fair.reveal(ALICE, "good")
    fair.wait(2 * WAIT_MS)
    idle = fair.send(DAVE, "advance_exchange", AdvanceExchange("mug", 1)).compute_units
    extra = compute_loading_units(SPEC) // 64
    assert fair.advance(1).compute_units - idle == UNITS_PER_SETTLED + extra
    assert fair.gain(ALICE) == BOUNTY


def test_as_many_items_are_named_as_a_transaction_can_pay_for() -> None:
    fair = hold_fair({ALICE: GOOD, BOB: BAD})
    parameters = Parameters()
    assert compute_items(fair.progress, 3, parameters, 1_024) == 1_024
    # Each item is now a third of the quota, so that two and what else there is fit.
    heavy = replace(
        fair.progress,
        entries=tuple(
            replace(entry, item_units=parameters.compute_units_per_account_max // 3)
            for entry in fair.progress.entries
        ),
    )
    assert compute_items(heavy, 3, parameters, 1_024) == 2
    full = replace(heavy.entries[0], item_units=parameters.compute_units_per_account_max)
    assert compute_items(replace(heavy, entries=(full,)), 3, parameters, 1) == 1


def hold_watched_fair(chain: Chain | None = None) -> Fair:
    """Return a fair whose opened model was changed by a rival, then judged half and settled."""
    fair = Fair()
    if chain is not None:
        fair.chain = chain
    fair.train(ALICE, "good", GOOD)
    fair.open()
    fair.submit(ALICE, "good")
    fair.wait(LENGTH_MS)
    assert fair.reveal(ALICE, "good").code == "ok"
    fair.teach(BOB, "good", BAD)
    fair.show_all()
    fair.advance(1)
    fair.teach(BOB, "good", BAD)
    assert fair.advance().data[2] == ALICE.id
    return fair


@pytest.mark.parametrize("unfinal", [3, 6, 11])
def test_versions_of_blocks_that_are_not_final_are_pinned_and_judged(unfinal: int) -> None:
    """All of it may be unfinal, from the contribution that made the version on."""
    fair = hold_watched_fair()
    store = fair.chain.store
    tip = store.tip().height
    replay = Chain(fair.chain.network, payloads=fair.chain.payloads)
    parent: ExecutedBlock | None = None
    for height in range(1, tip + 1):
        header, transactions = store.block(height)
        block = replay.executor.execute(header, transactions, parent)
        assert block.state_root == store.stored_block(height).state_root
        if height <= tip - unfinal:
            replay.finalize(block)
        else:
            parent = block
    assert parent is not None
    replay.finalize(parent)
    assert replay.store.tip() == store.tip()


@pytest.mark.parametrize("from_end", [1, 3, 5, 6])
def test_who_joins_by_a_snapshot_judges_the_same_version(from_end: int) -> None:
    """The model has gone on since, so what is judged is in no other place of the state."""
    network = make_network(accounts=5, balance=BALANCE, parameters=Parameters(epoch_length=5))
    fair = hold_watched_fair(EpochedChain(network))
    chain = fair.chain
    assert isinstance(chain, EpochedChain)
    tip = chain.store.tip().height
    chain.run_many(1)
    joined = import_snapshot(chain, chain.take_snapshot(tip - from_end))
    for height in range(tip - from_end + 1, tip + 1):
        header, transactions = chain.store.block(height)
        for each in transactions:
            payload = chain.payloads.read(each.transaction_id)
            if payload is not None:
                joined.payloads.add(each.transaction_id, payload)
        block = joined.finalize(joined.executor.execute(header, transactions, None))
        assert block.state_root == chain.store.stored_block(height).state_root
