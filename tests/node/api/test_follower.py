"""The read store of the API process: snapshots, batches, and who waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ledger.key_value import MemoryKeyValueStore
from node.api import follower as follower_module
from node.api.feed_server import LedgerFeedSource
from node.api.follower import Follower
from node.api.store_folder import StoreFolder
from node.storage.leveldb import LevelKeyValueStore
from primitives.errors import CorruptStateError, InvalidInputError, InvariantViolationError
from tests.helpers.api import PublishingStore
from tests.helpers.ledger import Chain, make_network


def make_chain() -> tuple[Chain, PublishingStore]:
    values = PublishingStore()
    return Chain(make_network(), values), values


def copy_all(values: MemoryKeyValueStore, follower: Follower, height: int) -> None:
    follower.begin_snapshot()
    follower.add_snapshot_pairs(list(values.iterate()))
    follower.end_snapshot(height)


def in_memory(tmp_path: Path) -> Follower:
    return Follower(StoreFolder(tmp_path / "api", lambda _: MemoryKeyValueStore()))


def test_a_new_follower_holds_nothing_and_says_so(tmp_path: Path) -> None:
    follower = in_memory(tmp_path)
    assert follower.is_empty
    assert follower.get_position() is None
    for read in (lambda: follower.ledger, lambda: follower.tip, lambda: follower.chain_id):
        with pytest.raises(InvalidInputError) as caught:
            read()
        assert caught.value.code == "not_ready"


def test_a_follower_on_disk_goes_on_where_it_was(tmp_path: Path) -> None:
    chain, values = make_chain()
    folder = StoreFolder(tmp_path, LevelKeyValueStore)
    follower = Follower(folder)
    copy_all(values, follower, 0)
    alice, bob = chain.network.accounts[:2]
    block = chain.run([chain.transfer(alice, bob.id, 5)])
    follower.apply_batch(1, *values.last_batch)
    assert follower.get_position() == (1, block.block_id)
    follower.close()

    again = Follower(folder)
    assert again.get_position() == (1, block.block_id)
    assert again.ledger.header(1) == block.header
    assert again.chain_name == "test-chain"
    again.close()


def test_a_new_snapshot_replaces_the_old_state_and_its_folder_later(tmp_path: Path) -> None:
    chain, values = make_chain()
    follower = Follower(StoreFolder(tmp_path, LevelKeyValueStore))
    copy_all(values, follower, 0)
    old_ledger = follower.ledger
    for _ in range(3):
        chain.run()
    copy_all(values, follower, 3)
    assert follower.tip.height == 3
    # A request that began before still reads the store that it began with.
    assert old_ledger.tip().height == 0
    follower.begin_snapshot()
    assert sorted(path.name for path in tmp_path.glob("store-*")) == [
        "store-000002",
        "store-000003",
    ]
    assert follower.tip.height == 3
    follower.close()


def test_a_snapshot_that_was_cut_off_leaves_the_old_state(tmp_path: Path) -> None:
    _, values = make_chain()
    folder = StoreFolder(tmp_path, LevelKeyValueStore)
    follower = Follower(folder)
    copy_all(values, follower, 0)
    follower.begin_snapshot()
    follower.add_snapshot_pairs([(b"half", b"a state")])
    follower.close()

    again = Follower(folder)
    assert again.tip.height == 0
    assert [path.name for path in tmp_path.glob("store-*")] == ["store-000001"]
    again.close()


def test_a_snapshot_of_another_height_is_refused(tmp_path: Path) -> None:
    _, values = make_chain()
    follower = in_memory(tmp_path)
    with pytest.raises(CorruptStateError):
        copy_all(values, follower, 7)
    assert follower.is_empty


def test_a_pointer_that_names_no_store_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "current").write_text("../elsewhere")
    follower = Follower(StoreFolder(tmp_path, LevelKeyValueStore))
    assert follower.is_empty
    (tmp_path / "current").write_bytes(b"\xff")
    assert Follower(StoreFolder(tmp_path, LevelKeyValueStore)).is_empty


def test_batches_and_pairs_out_of_place_are_our_own_fault(tmp_path: Path) -> None:
    follower = in_memory(tmp_path)
    with pytest.raises(InvariantViolationError):
        follower.apply_batch(1, (), ())
    with pytest.raises(InvariantViolationError):
        follower.add_snapshot_pairs(())


def test_whoever_waits_for_a_transaction_is_woken_by_its_block(tmp_path: Path) -> None:
    chain, values = make_chain()
    follower = in_memory(tmp_path)
    copy_all(values, follower, 0)
    alice, bob = chain.network.accounts[:2]
    transaction = chain.transfer(alice, bob.id, 5)

    async def act() -> None:
        name = transaction.transaction_id
        waiting = [asyncio.create_task(follower.wait_for_transaction(name, 10)) for _ in range(3)]
        other = asyncio.create_task(follower.wait_for_transaction(b"\x00" * 32, 0.01))
        await asyncio.sleep(0)
        chain.run([transaction])
        follower.apply_batch(1, *values.last_batch)
        assert await asyncio.gather(*waiting) == [True] * 3
        assert await other is False
        assert await follower.wait_for_transaction(name, 0) is True

    asyncio.run(act())


def test_a_wait_for_a_height_ends_with_it_or_with_its_time(tmp_path: Path) -> None:
    chain, values = make_chain()
    follower = in_memory(tmp_path)

    async def act() -> None:
        assert await follower.wait_for_height(0, 0.01) is False
        waiting = asyncio.create_task(follower.wait_for_height(1, 10))
        await asyncio.sleep(0)
        copy_all(values, follower, 0)
        chain.run()
        follower.apply_batch(1, *values.last_batch)
        assert await waiting is True

    asyncio.run(act())


def test_no_more_requests_wait_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "WAITERS_MAX", 1)
    follower = in_memory(tmp_path)

    async def act() -> None:
        first = asyncio.create_task(follower.wait_for_transaction(b"\x01" * 32, 10))
        await asyncio.sleep(0)
        with pytest.raises(InvalidInputError) as caught:
            await follower.wait_for_transaction(b"\x02" * 32, 10)
        assert caught.value.code == "too_many_requests"
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await follower.wait_for_transaction(b"\x02" * 32, 0.01) is False

    asyncio.run(act())


def test_the_ledger_is_a_source_of_the_feed() -> None:
    chain, values = make_chain()
    source = LedgerFeedSource(values)
    snapshot = source.open_snapshot()
    chain.run()
    assert source.chain_id == chain.network.chain_id
    assert source.get_tip_height() == 1
    assert source.get_block_id(1) == chain.store.tip().block_id
    assert source.get_block_id(2) is None
    assert snapshot.height == 0
    pairs = dict(snapshot.pairs())
    assert len(pairs) < len(dict(values.iterate()))
    snapshot.close()
