"""The final chain on disk: batches, reads at every height, restarts, corruption."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import DivergedStateError, UnknownHeightError
from ledger.key_value import MemoryKeyValueStore
from ledger.layout import TIP_KEY, block_key, envelopes_key, receipts_key, versioned_key
from ledger.reader import LedgerReader
from ledger.schema import (
    ACCOUNT_PREFIX,
    CHAIN_PARENT,
    Account,
    account_key,
    decode_account,
)
from ledger.store import LedgerStore
from primitives.accounts import AccountId
from primitives.errors import CorruptStateError, InvalidInputError, InvariantViolationError
from primitives.sparse_merkle import root_key
from tests.helpers.ledger import (
    INITIAL_BALANCE,
    Chain,
    certify,
    make_account,
    make_certificate,
    make_network,
)

NETWORK = make_network()
ALICE, BOB = NETWORK.accounts[:2]


@pytest.fixture
def chain() -> Chain:
    return Chain(NETWORK)


def run_transfers(chain: Chain, count: int) -> None:
    for _ in range(count):
        chain.run([chain.transfer(ALICE, BOB.id, 1)])


class TestInitialise:
    def test_a_new_store_gets_the_genesis_block(self) -> None:
        values = MemoryKeyValueStore()
        store = LedgerStore(values)
        assert store.is_new
        batch = store.initialise(NETWORK.genesis)
        assert not store.is_new
        assert dict(batch.puts) == dict(values.iterate())
        assert store.tip().height == 0
        assert store.genesis() == NETWORK.genesis
        assert store.certificate(0) == (0, None)
        assert store.block(0) == (store.header(0), [])

    def test_the_same_genesis_again_changes_nothing(self, chain: Chain) -> None:
        run_transfers(chain, 1)
        assert LedgerStore(chain.values).initialise(NETWORK.genesis).puts == ()
        assert chain.store.tip().height == 1

    def test_another_genesis_is_refused(self, chain: Chain) -> None:
        other = replace(NETWORK.genesis, chain_name="other")
        with pytest.raises(InvalidInputError) as refusal:
            LedgerStore(chain.values).initialise(other)
        assert refusal.value.code == "wrong_chain"


class TestCommit:
    def test_the_batch_of_a_block_is_everything_that_it_adds(self, chain: Chain) -> None:
        follower = MemoryKeyValueStore()
        follower.write(list(chain.values.iterate()), [], sync=True)
        for _ in range(3):
            block = chain.execute([chain.transfer(ALICE, BOB.id, 1)])
            batch = chain.store.commit(block, certify(NETWORK, block))
            assert len({key for key, _ in batch.puts}) == len(batch.puts)
            follower.write(batch.puts, batch.deletes, sync=False)
        assert list(follower.iterate()) == list(chain.values.iterate())
        assert LedgerReader(follower).tip() == chain.store.tip()

    def test_building_a_batch_writes_nothing(self, chain: Chain) -> None:
        before = list(chain.values.iterate())
        block = chain.execute()
        chain.store.commit_batch(block, certify(NETWORK, block))
        assert list(chain.values.iterate()) == before
        assert chain.store.tip().height == 0

    def test_a_block_keeps_the_certificate_that_made_it_final(self, chain: Chain) -> None:
        first = chain.execute()
        second = chain.execute(parent=first)
        certificate = certify(NETWORK, second)
        assert second.parent is first
        chain.finalize(second)
        assert chain.store.certificate(1) == (2, certificate)
        assert chain.store.certificate(2) == (2, certificate)
        assert second.parent is None

    def test_blocks_become_final_in_order(self, chain: Chain) -> None:
        first = chain.execute()
        second = chain.execute(parent=first)
        with pytest.raises(InvariantViolationError, match="not a child of the tip"):
            chain.store.commit(second, certify(NETWORK, second))

    def test_a_certificate_for_another_block_is_a_bug(self, chain: Chain) -> None:
        block, other = chain.execute(view=1), chain.execute(view=2)
        with pytest.raises(InvariantViolationError, match="does not certify"):
            chain.store.commit(block, certify(NETWORK, other))

    def test_another_certified_state_root_stops_the_node(self, chain: Chain) -> None:
        block = chain.execute()
        certificate = make_certificate(NETWORK, block.header, b"\x01" * 32)
        with pytest.raises(DivergedStateError, match="at height 1") as divergence:
            chain.store.commit(block, certificate)
        assert divergence.value.own_root == block.state_root
        assert chain.store.tip().height == 0


class TestReads:
    def test_blocks_are_found_by_height_and_id(self, chain: Chain) -> None:
        block = chain.run([chain.transfer(ALICE, BOB.id, 1)])
        store = chain.store
        assert store.block(1) == (block.header, block.transactions)
        assert store.receipts(1) == block.receipts
        assert store.height_of(block.block_id) == 1
        assert store.height_of(bytes(32)) is None
        stored = store.stored_block(1)
        assert (stored.state_root, stored.receipts_root, stored.transaction_count) == (
            block.state_root,
            block.receipts_root,
            1,
        )

    def test_transactions_are_found_with_their_receipts(self, chain: Chain) -> None:
        transactions = [chain.transfer(ALICE, BOB.id, 1, nonce=nonce) for nonce in range(3)]
        block = chain.run(transactions)
        for index, transaction in enumerate(transactions):
            found = chain.store.find_transaction(transaction.transaction_id)
            assert found is not None
            assert (found.height, found.index) == (1, index)
            assert (found.transaction, found.receipt) == (transaction, block.receipts[index])
        assert chain.store.find_transaction(bytes(32)) is None
        assert chain.store.receipt(bytes(32)) is None

    def test_every_height_stays_readable(self, chain: Chain) -> None:
        run_transfers(chain, 5)
        balances = [chain.account(BOB.id, height).balance for height in range(6)]
        assert balances == [INITIAL_BALANCE + height for height in range(6)]
        assert chain.account(BOB.id).balance == INITIAL_BALANCE + 5

    @pytest.mark.parametrize("height", [-1, 3])
    def test_a_height_that_is_not_final_is_refused(self, chain: Chain, height: int) -> None:
        run_transfers(chain, 2)
        store = chain.store
        reads = [
            lambda: store.stored_block(height),
            lambda: store.block(height),
            lambda: store.receipts(height),
            lambda: store.get(CHAIN_PARENT, height),
            lambda: store.scan(b"", height=height, limit=1),
            lambda: store.prove(CHAIN_PARENT, height),
            lambda: store.load_model_state("m", height),
        ]
        for read in reads:
            with pytest.raises(UnknownHeightError, match=r"not in \[0, 2\]"):
                read()

    def test_a_model_that_does_not_exist_has_no_state(self, chain: Chain) -> None:
        assert chain.store.load_model_state("m") is None
        assert chain.store.load_model_state("m", 0) is None


class TestScan:
    @pytest.mark.parametrize("reverse", [False, True])
    def test_pages_add_up_to_the_whole(self, chain: Chain, reverse: bool) -> None:
        run_transfers(chain, 3)
        store = chain.store
        whole = store.scan(ACCOUNT_PREFIX, limit=100, reverse=reverse)
        assert [key for key, _ in whole] == sorted(
            (account_key(account.id) for account in NETWORK.accounts), reverse=reverse
        )
        pages = []
        cursor: bytes | None = None
        while page := store.scan(ACCOUNT_PREFIX, start_after=cursor, limit=1, reverse=reverse):
            pages += page
            cursor = page[-1][0]
        assert pages == whole

    def test_an_old_height_shows_old_keys_and_values(self, chain: Chain) -> None:
        stranger = make_account("stranger")
        run_transfers(chain, 1)
        chain.run([chain.transfer(ALICE, stranger.id, 1)])
        now = chain.store.scan(ACCOUNT_PREFIX, limit=100)
        then = chain.store.scan(ACCOUNT_PREFIX, height=1, limit=100)
        assert len(now) == len(then) + 1
        values = {key: decode_account(value) for key, value in then}
        assert values[account_key(ALICE.id)] == Account(None, 1, INITIAL_BALANCE - 1)

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=8))
    def test_state_at_every_height_equals_a_replay(self, moves: list[tuple[int, int]]) -> None:
        chain = Chain(NETWORK)
        people = [account.id for account in NETWORK.accounts]
        people += [AccountId(bytes(20)), AccountId(b"\xff" * 20)]
        expected = [dict(chain.balances())]
        for sender, recipient in moves:
            chain.run([chain.transfer(NETWORK.accounts[sender], people[recipient], 1)])
            expected.append(dict(chain.balances()))
        for height, balances in enumerate(expected):
            found = chain.store.scan(ACCOUNT_PREFIX, height=height, limit=100)
            assert {
                AccountId(key[len(ACCOUNT_PREFIX) :]): decode_account(value).balance
                for key, value in found
            } == balances


class TestRestart:
    def test_a_reopened_store_goes_on_where_it_was(self, chain: Chain) -> None:
        run_transfers(chain, 2)
        again = Chain(NETWORK, chain.values)
        block = again.execute([again.transfer(ALICE, BOB.id, 1)])
        assert block.state_root == chain.execute([chain.transfer(ALICE, BOB.id, 1)]).state_root
        again.finalize(block)
        assert again.account(BOB.id).balance == INITIAL_BALANCE + 3

    @pytest.mark.parametrize(
        "lost", [TIP_KEY, block_key(1), envelopes_key(1), receipts_key(1), b"m/genesis"]
    )
    def test_what_is_missing_is_noticed(self, chain: Chain, lost: bytes) -> None:
        transaction = chain.transfer(ALICE, BOB.id, 1)
        chain.run([transaction])
        chain.values.write([], [lost], sync=True)
        reader = LedgerReader(chain.values)
        reads = [
            reader.tip,
            reader.genesis,
            lambda: reader.find_transaction(transaction.transaction_id),
            lambda: reader.receipts(1),
            lambda: reader.header(1),
        ]
        failures = 0
        for read in reads:
            try:
                read()
            except (CorruptStateError, UnknownHeightError):
                failures += 1
        assert failures >= 1

    def test_a_lost_tree_node_stops_the_executor(self, chain: Chain) -> None:
        run_transfers(chain, 1)
        chain.values.write([], [b"n/" + root_key(1)], sync=True)
        with pytest.raises(CorruptStateError, match="missing"):
            Chain(NETWORK, chain.values).execute()

    def test_a_garbled_record_stops_the_executor(self, chain: Chain) -> None:
        run_transfers(chain, 1)
        key = versioned_key(account_key(ALICE.id), 1)
        chain.values.write([(key, b"\x01garbage")], [], sync=True)
        again = Chain(NETWORK, chain.values)
        with pytest.raises(CorruptStateError, match="does not read back"):
            again.executor.execute(
                chain.execute().header, [chain.transfer(ALICE, BOB.id, 1, nonce=1)]
            )
        with pytest.raises(CorruptStateError, match="does not read back"):
            again.store.read(account_key(ALICE.id), decode_account)

    def test_a_lost_certificate_and_parent_record_are_noticed(self, chain: Chain) -> None:
        first = chain.execute()
        chain.finalize(chain.execute(parent=first))
        store = chain.store
        stored = store.stored_block(1)
        chain.values.write([], [versioned_key(CHAIN_PARENT, 2)], sync=True)
        chain.values.write([], [versioned_key(CHAIN_PARENT, 1)], sync=True)
        with pytest.raises(CorruptStateError, match="chain/parent"):
            store.prove(CHAIN_PARENT, 1)
        without = replace(stored, certificate=None)
        chain.values.write([(block_key(1), without.encode())], [], sync=True)
        with pytest.raises(CorruptStateError, match="no certificate"):
            store.prove(CHAIN_PARENT, 1)
