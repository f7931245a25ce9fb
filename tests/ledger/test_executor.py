"""The state transition: void, failed and ok transactions, fees, quotas, branches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.codes import INSUFFICIENT_BALANCE
from ledger.epoch_rewards import CHAIN_EPOCH_REWARDS, EpochRewards
from ledger.metering import UNITS_PER_BYTE, UNITS_PER_SIGNATURE
from ledger.parameters import Parameters
from ledger.receipt import Receipt, ReceiptStatus, compute_receipts_root
from ledger.schema import (
    CHAIN_PARENT,
    CHAIN_SUPPLY,
    Account,
    decode_parent_block,
    decode_supply,
)
from ledger.transaction import Transaction
from primitives.errors import InvariantViolationError
from tests.helpers.ledger import (
    INITIAL_BALANCE,
    Chain,
    make_account,
    make_header,
    make_network,
    make_transaction,
    make_transfer,
)
from tests.helpers.probe_kind import PROBE_CODE, ProbeKind, install_probe
from tests.helpers.staking import read_rewards

FEE_PARAMETERS = Parameters(fee_per_byte=1)
STRANGER = make_account("stranger")


@pytest.fixture
def chain() -> Chain:
    return Chain(make_network())


@pytest.fixture
def paying_chain() -> Chain:
    return Chain(make_network(parameters=FEE_PARAMETERS))


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> ProbeKind:
    return install_probe(monkeypatch)


def only_receipt(chain: Chain, transaction: Transaction) -> Receipt:
    """Run a block with one transaction and check what holds for every receipt."""
    block = chain.run([transaction])
    (receipt,) = block.receipts
    assert receipt.transaction_id == transaction.transaction_id
    assert chain.store.receipt(transaction.transaction_id) == receipt
    assert (receipt.code == "ok") == (receipt.status is ReceiptStatus.OK)
    assert (receipt.message == "") == (receipt.status is ReceiptStatus.OK)
    chain.check_conservation()
    return receipt


class TestTransfers:
    def test_money_moves_and_the_nonce_rises(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        receipt = only_receipt(chain, chain.transfer(alice, bob.id, 5))
        assert receipt.status is ReceiptStatus.OK
        assert chain.account(alice.id) == Account(None, 1, INITIAL_BALANCE - 5)
        assert chain.account(bob.id) == Account(None, 0, INITIAL_BALANCE + 5)

    def test_a_new_account_receives(self, chain: Chain) -> None:
        only_receipt(chain, chain.transfer(chain.network.accounts[0], STRANGER.id, 5))
        assert chain.account(STRANGER.id).balance == 5

    def test_a_transfer_to_oneself_moves_nothing(self, chain: Chain) -> None:
        alice = chain.network.accounts[0]
        assert only_receipt(chain, chain.transfer(alice, alice.id, 5)).code == "ok"
        assert chain.account(alice.id) == Account(None, 1, INITIAL_BALANCE)

    def test_without_the_money_the_body_fails_and_the_nonce_is_used(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        receipt = only_receipt(chain, chain.transfer(alice, bob.id, INITIAL_BALANCE + 1))
        assert (receipt.status, receipt.code) == (ReceiptStatus.FAILED, INSUFFICIENT_BALANCE)
        assert "has 1000000, less than the 1000001 needed" in receipt.message
        assert chain.account(alice.id) == Account(None, 1, INITIAL_BALANCE)
        assert chain.account(bob.id) == Account(None, 0, INITIAL_BALANCE)

    def test_transactions_of_a_block_see_what_earlier_ones_did(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        spend = make_transfer(chain.network, STRANGER, bob.id, 5)
        block = chain.run([chain.transfer(alice, STRANGER.id, 5), spend])
        assert [receipt.code for receipt in block.receipts] == ["ok", "ok"]
        reversed_chain = Chain(chain.network)
        block = reversed_chain.run([spend, chain.transfer(alice, STRANGER.id, 5, nonce=0)])
        assert [receipt.code for receipt in block.receipts] == [INSUFFICIENT_BALANCE, "ok"]


class TestVoidTransactions:
    """A void transaction has no effect at all."""

    def assert_void(self, chain: Chain, transaction: Transaction, code: str) -> Receipt:
        before = dict(chain.store.scan(b"", limit=1_000))
        pot = read_rewards(chain).pot
        receipt = only_receipt(chain, transaction)
        after = dict(chain.store.scan(b"", limit=1_000))
        assert (receipt.status, receipt.code) == (ReceiptStatus.VOID, code)
        assert (receipt.fee, receipt.compute_units, list(receipt.data)) == (0, 0, [])
        of_the_block = {CHAIN_PARENT: b"", CHAIN_EPOCH_REWARDS: b""}
        assert {**before, **of_the_block} == {**after, **of_the_block}
        assert read_rewards(chain).pot == pot
        return receipt

    def test_a_used_nonce(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        chain.run([chain.transfer(alice, bob.id, 5)])
        receipt = self.assert_void(chain, chain.transfer(alice, bob.id, 6, nonce=0), "nonce_used")
        assert receipt.message == "nonce 0, the account's next is 1"

    def test_a_gap_before_the_nonce(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        self.assert_void(chain, chain.transfer(alice, bob.id, 5, nonce=1), "nonce_gap")

    def test_a_final_transaction_put_into_a_block_again(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        transaction = chain.transfer(alice, bob.id, 5)
        first = chain.run([transaction])
        again = chain.run([transaction])
        assert again.receipts[0].code == "nonce_used"
        found = chain.store.find_transaction(transaction.transaction_id)
        assert found is not None
        assert (found.height, found.receipt) == (first.height, first.receipts[0])

    def test_an_expired_one(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        chain.run()
        expired = make_transfer(chain.network, alice, bob.id, 5, valid_until_height=1)
        self.assert_void(chain, expired, "expired")

    def test_a_key_that_is_not_the_accounts(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        forged = make_transfer(chain.network, replace(alice, key=bob.key), bob.id, 5)
        self.assert_void(chain, forged, "key_not_current")

    def test_a_sponsors_key_that_is_not_the_sponsors(self, chain: Chain) -> None:
        alice, bob, carol = chain.network.accounts[:3]
        forged = replace(carol, key=bob.key)
        sponsored = make_transfer(chain.network, alice, bob.id, 5, sponsor=forged)
        self.assert_void(chain, sponsored, "key_not_current")

    def test_a_fee_above_the_signed_limit(self, paying_chain: Chain) -> None:
        alice, bob = paying_chain.network.accounts[:2]
        transaction = make_transfer(paying_chain.network, alice, bob.id, 5, fee_limit=10)
        self.assert_void(paying_chain, transaction, "fee_too_low")

    def test_a_payer_without_the_fee(self, paying_chain: Chain) -> None:
        bob = paying_chain.network.accounts[1]
        poor = make_transfer(paying_chain.network, STRANGER, bob.id, 5, fee_limit=1_000)
        self.assert_void(paying_chain, poor, INSUFFICIENT_BALANCE)

    def test_more_units_than_the_block_has_left(self) -> None:
        parameters = Parameters(compute_units_per_block_max=60_000)
        chain = Chain(make_network(parameters=parameters))
        alice, bob = chain.network.accounts[:2]
        block = chain.run([chain.transfer(alice, bob.id, 1), chain.transfer(bob, alice.id, 1)])
        assert [receipt.code for receipt in block.receipts] == ["ok", "block_full"]

    def test_more_units_than_the_senders_quota(self) -> None:
        parameters = Parameters(compute_units_per_account_max=60_000)
        chain = Chain(make_network(parameters=parameters))
        alice, bob = chain.network.accounts[:2]
        block = chain.run(
            [
                chain.transfer(alice, bob.id, 1),
                chain.transfer(alice, bob.id, 1, nonce=1),
                chain.transfer(bob, alice.id, 1),
            ]
        )
        codes = [receipt.code for receipt in block.receipts]
        assert codes == ["ok", "account_quota_exceeded", "ok"]
        assert chain.account(alice.id).nonce == 1


class TestFees:
    def fee_of(self, transaction: Transaction) -> int:
        return len(transaction.raw)

    def test_the_fees_wait_in_the_pot_of_the_epoch(self, paying_chain: Chain) -> None:
        chain = paying_chain
        alice, bob = chain.network.accounts[:2]
        transaction = make_transfer(chain.network, alice, bob.id, 5, fee_limit=1_000)
        block = chain.run([transaction], proposer=2)
        fee = self.fee_of(transaction)
        assert block.receipts[0].fee == fee
        assert chain.account(alice.id).balance == INITIAL_BALANCE - 5 - fee
        assert chain.account(chain.network.genesis.members[2].account).balance == 0
        assert read_rewards(chain) == EpochRewards(fee, (0, 0, 1, 0))
        supply = chain.store.read(CHAIN_SUPPLY, decode_supply)
        assert supply is not None
        assert supply.held == fee
        chain.check_conservation()

    def test_a_failed_body_still_pays(self, paying_chain: Chain) -> None:
        chain = paying_chain
        alice, bob = chain.network.accounts[:2]
        transaction = make_transfer(chain.network, alice, bob.id, INITIAL_BALANCE, fee_limit=1_000)
        receipt = only_receipt(chain, transaction)
        assert (receipt.status, receipt.fee) == (ReceiptStatus.FAILED, self.fee_of(transaction))
        assert chain.account(alice.id).balance == INITIAL_BALANCE - receipt.fee

    def test_the_sponsor_pays_for_a_newcomer(self, paying_chain: Chain) -> None:
        chain = paying_chain
        alice, bob = chain.network.accounts[:2]
        chain.run([make_transfer(chain.network, alice, STRANGER.id, 5, fee_limit=1_000)])
        sponsored = make_transfer(
            chain.network, STRANGER, bob.id, 5, fee_limit=1_000, sponsor=alice
        )
        before = chain.account(alice.id)
        assert only_receipt(chain, sponsored).status is ReceiptStatus.OK
        assert chain.account(STRANGER.id) == Account(None, 1, 0)
        fee = self.fee_of(sponsored)
        assert chain.account(alice.id) == replace(before, balance=before.balance - fee)

    def test_compute_units_have_their_price(self, probe: ProbeKind) -> None:
        chain = Chain(make_network(parameters=Parameters(fee_per_compute_unit=2)))
        probe.units = 123
        body = probe.add(lambda _: [])
        transaction = make_transaction(
            chain.network, chain.network.accounts[0], PROBE_CODE, body, fee_limit=10**6
        )
        receipt = only_receipt(chain, transaction)
        units = 123 + len(transaction.raw) * UNITS_PER_BYTE + UNITS_PER_SIGNATURE
        assert (receipt.compute_units, receipt.fee) == (units, 2 * units)
        assert chain.executor.compute_units_of(transaction) == units

    def test_a_proposer_that_the_state_does_not_know_is_a_bug(self, paying_chain: Chain) -> None:
        chain = paying_chain
        alice, bob = chain.network.accounts[:2]
        transaction = make_transfer(chain.network, alice, bob.id, 5, fee_limit=1_000)
        with pytest.raises(InvariantViolationError, match="no validator 9"):
            chain.execute([transaction], proposer=9)


class TestBlocks:
    def test_the_next_block_records_its_parent(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        first = chain.execute([chain.transfer(alice, bob.id, 5)])
        second = chain.execute(parent=first)
        record = second.writes[CHAIN_PARENT]
        assert record is not None
        parent = decode_parent_block(record)
        assert (parent.height, parent.block_id) == (1, first.block_id)
        assert (parent.state_root, parent.receipts_root) == (
            first.state_root,
            compute_receipts_root([receipt.encode() for receipt in first.receipts]),
        )

    def test_an_unfinal_parent_gives_the_same_state_as_a_final_one(self, chain: Chain) -> None:
        alice, bob = chain.network.accounts[:2]
        first = chain.execute([chain.transfer(alice, bob.id, 5)])
        above_unfinal = chain.execute([chain.transfer(alice, bob.id, 6, nonce=1)], first)
        chain.finalize(first)
        header, transactions = above_unfinal.header, above_unfinal.transactions
        above_final = chain.executor.execute(header, transactions)
        given_final = chain.executor.execute(header, transactions, first)
        assert above_unfinal.state_root == above_final.state_root == given_final.state_root
        assert above_unfinal.writes == above_final.writes
        assert above_final.parent is None
        assert given_final.parent is None

    def test_a_header_that_does_not_follow_its_parent_is_a_bug(self, chain: Chain) -> None:
        first = chain.execute()
        good = make_header(chain.network, first.header)
        for bad in (replace(good, height=5), replace(good, parent_id=bytes(32))):
            with pytest.raises(InvariantViolationError, match="does not follow"):
                chain.executor.execute(bad, [], first)

    def test_a_branch_that_lost_is_not_executed_on(self, chain: Chain) -> None:
        lost, won = chain.execute(view=1), chain.execute(view=2)
        above_lost = chain.execute(parent=lost, view=3)
        chain.finalize(won)
        for parent in (lost, above_lost):
            with pytest.raises(InvariantViolationError, match="does not descend"):
                chain.execute(parent=parent, view=4)
