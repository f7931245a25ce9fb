"""What the body of a transaction is granted, and what is undone when it fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ledger.codes import INSUFFICIENT_BALANCE
from ledger.errors import MissingPayloadError, TransactionFailedError
from ledger.model_records import ModelProgress
from ledger.model_tensors import (
    ModelArrays,
    decode_model_tensors,
    decode_model_version,
    model_version_key,
    tensors_key,
)
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.receipt import Receipt, ReceiptStatus
from ledger.schema import (
    CHAIN_PARAMETERS,
    CHAIN_SUPPLY,
    CHAIN_VALIDATORS,
    Account,
    account_key,
    decode_account,
    decode_supply,
)
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from primitives.codec import Encodable
from primitives.errors import InvariantViolationError
from tests.helpers.ledger import (
    INITIAL_BALANCE,
    Chain,
    make_account,
    make_network,
    make_salt,
    make_transaction,
)
from tests.helpers.probe_kind import PROBE_CODE, ProbeKind, install_probe

FEE_PARAMETERS = Parameters(fee_per_byte=1)
STRANGER = make_account("stranger")


@pytest.fixture
def chain() -> Chain:
    return Chain(make_network())


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


class TestBodies:
    """What the context of a kind grants it, and what is undone."""

    def submit(
        self, chain: Chain, body: list[Encodable], payload: Payload | None = None
    ) -> Receipt:
        transaction = make_transaction(
            chain.network,
            chain.network.accounts[0],
            PROBE_CODE,
            body,
            nonce=chain.account(chain.network.accounts[0].id).nonce,
            payload=payload,
        )
        return chain.run([transaction]).receipts[0]

    def test_a_failing_body_is_undone_alone(self, chain: Chain, probe: ProbeKind) -> None:
        alice, bob = chain.network.accounts[:2]

        def spend_and_fail(context: ExecutionContext) -> list[Encodable]:
            context.transfer(alice.id, bob.id, 7)
            context.hold(bob.id, 3)
            context.put(b"probe/key", Account(nonce=1))
            context.delete(account_key(bob.id))
            raise TransactionFailedError("probe", "the probe failed")

        failing = make_transaction(
            chain.network, alice, PROBE_CODE, probe.add(spend_and_fail), nonce=1
        )
        block = chain.run(
            [
                chain.transfer(alice, bob.id, 1, nonce=0),
                failing,
                chain.transfer(alice, bob.id, 2, nonce=2),
            ]
        )
        assert [receipt.code for receipt in block.receipts] == ["ok", "probe", "ok"]
        assert chain.account(alice.id) == Account(None, 3, INITIAL_BALANCE - 3)
        assert chain.account(bob.id) == Account(None, 0, INITIAL_BALANCE + 3)
        assert chain.store.get(b"probe/key") is None
        chain.check_conservation()

    def test_the_context_tells_the_block_and_the_transaction(
        self, chain: Chain, probe: ProbeKind
    ) -> None:
        alice, _, carol = chain.network.accounts[:3]
        seen: list[object] = []

        def look(context: ExecutionContext) -> list[Encodable]:
            seen.extend([context.height, context.timestamp_ms, context.transaction_id])
            seen.extend([context.sender, context.payer, context.get_balance(STRANGER.id)])
            seen.append(context.parameters)
            return [1, b"two", ["three"]]

        transaction = make_transaction(
            chain.network, alice, PROBE_CODE, probe.add(look), sponsor=carol
        )
        block = chain.run([transaction], timestamp_ms=77)
        assert seen == [
            1,
            77,
            transaction.transaction_id,
            alice.id,
            carol.id,
            0,
            chain.network.genesis.parameters,
        ]
        stored = chain.store.receipt(transaction.transaction_id)
        assert block.receipts[0].data == [1, b"two", ["three"]]
        assert stored is not None
        assert stored.data == [1, b"two", ["three"]]

    def test_records_are_written_read_and_removed(self, chain: Chain, probe: ProbeKind) -> None:
        record = Account(nonce=9)

        def write(context: ExecutionContext) -> list[Encodable]:
            context.put(b"probe/key", record)
            assert context.get(b"probe/key", decode_account) == record
            return []

        def remove(context: ExecutionContext) -> list[Encodable]:
            assert context.get(b"probe/key", decode_account) == record
            context.delete(b"probe/key")
            assert context.get(b"probe/key", decode_account) is None
            return []

        self.submit(chain, probe.add(write))
        assert chain.store.read(b"probe/key", decode_account) == record
        self.submit(chain, probe.add(remove))
        assert chain.store.get(b"probe/key") is None
        assert chain.store.get(b"probe/key", 1) == record.encode()

    def test_money_is_held_and_released(self, chain: Chain, probe: ProbeKind) -> None:
        alice, bob = chain.network.accounts[:2]

        def hold(context: ExecutionContext) -> list[Encodable]:
            context.hold(alice.id, 10)
            return []

        def release(context: ExecutionContext) -> list[Encodable]:
            context.release(bob.id, 4)
            return []

        self.submit(chain, probe.add(hold))
        chain.check_conservation()
        self.submit(chain, probe.add(release))
        chain.check_conservation()
        supply = chain.store.read(CHAIN_SUPPLY, decode_supply)
        assert supply is not None
        assert supply.held == 6
        assert chain.account(alice.id).balance == INITIAL_BALANCE - 10
        assert chain.account(bob.id).balance == INITIAL_BALANCE + 4

    def test_holding_more_than_there_is_fails(self, chain: Chain, probe: ProbeKind) -> None:
        def hold(context: ExecutionContext) -> list[Encodable]:
            context.hold(STRANGER.id, 1)
            return []

        assert self.submit(chain, probe.add(hold)).code == INSUFFICIENT_BALANCE

    @pytest.mark.parametrize("amount", [-1, 1])
    def test_releasing_what_is_not_held_is_a_bug(
        self, chain: Chain, probe: ProbeKind, amount: int
    ) -> None:
        def release(context: ExecutionContext) -> list[Encodable]:
            context.release(STRANGER.id, amount)
            return []

        with pytest.raises(InvariantViolationError, match="to be released, 0 is held"):
            self.submit(chain, probe.add(release))

    def test_a_negative_amount_is_a_bug(self, chain: Chain, probe: ProbeKind) -> None:
        def steal(context: ExecutionContext) -> list[Encodable]:
            context.transfer(STRANGER.id, context.sender, -5)
            return []

        with pytest.raises(InvariantViolationError, match="must not be negative"):
            self.submit(chain, probe.add(steal))

    @pytest.mark.parametrize("key", [CHAIN_SUPPLY, CHAIN_PARAMETERS, CHAIN_VALIDATORS])
    def test_a_state_without_its_chain_records_is_a_bug(self, probe: ProbeKind, key: bytes) -> None:
        chain = Chain(make_network(parameters=FEE_PARAMETERS))
        alice = chain.network.accounts[0]

        def remove(context: ExecutionContext) -> list[Encodable]:
            context.delete(key)
            return []

        def hold(context: ExecutionContext) -> list[Encodable]:
            context.hold(alice.id, 1)
            return []

        bodies = [probe.add(remove), probe.add(hold)]
        first, second = (
            make_transaction(chain.network, alice, PROBE_CODE, body, nonce=nonce, fee_limit=1_000)
            for nonce, body in enumerate(bodies)
        )
        with pytest.raises(InvariantViolationError, match="the state"):
            chain.execute([second], chain.execute([first]))

    def test_payloads_are_found_in_the_block_its_ancestors_and_the_store(
        self, chain: Chain, probe: ProbeKind
    ) -> None:
        probe.has_payload = True
        alice = chain.network.accounts[0]
        wanted: list[bytes] = []
        found: list[bytes] = []

        def read(context: ExecutionContext) -> list[Encodable]:
            found.extend(context.read_payload(transaction_id) for transaction_id in wanted)
            return []

        body = probe.add(read)
        transactions = [
            make_transaction(
                chain.network,
                alice,
                PROBE_CODE,
                body,
                nonce=nonce,
                payload=Payload(make_salt(nonce), b"payload %d" % nonce),
            )
            for nonce in range(3)
        ]
        chain.run([transactions[0]])
        below = chain.execute([transactions[1]])
        wanted.extend(transaction.transaction_id for transaction in transactions)
        chain.payloads.erase(transactions[1].transaction_id)
        chain.execute([transactions[2]], below)
        assert found == [b"payload 0", b"payload 1", b"payload 2"]

    def test_a_rotated_key_is_the_only_one_that_acts(self, chain: Chain, probe: ProbeKind) -> None:
        alice, bob = chain.network.accounts[:2]
        new_key = make_account("alice's second key").key

        def rotate(context: ExecutionContext) -> list[Encodable]:
            account = context.get(account_key(alice.id), decode_account)
            assert account is not None
            context.put(account_key(alice.id), replace(account, public_key=new_key.public_key))
            return []

        assert self.submit(chain, probe.add(rotate)).code == "ok"
        assert only_receipt(chain, chain.transfer(alice, bob.id, 1)).code == "key_not_current"
        with_new_key = replace(alice, key=new_key)
        assert only_receipt(chain, chain.transfer(with_new_key, bob.id, 1)).code == "ok"

    def test_a_lost_payload_stops_the_node(self, chain: Chain, probe: ProbeKind) -> None:
        body = probe.add(lambda context: [context.read_payload(bytes(32))])
        with pytest.raises(MissingPayloadError, match="not in the store"):
            self.submit(chain, body)


def small_model() -> ModelArrays:
    return {"weights": np.arange(6, dtype=np.int64).reshape(2, 3), "bias": np.zeros(2, np.int64)}


class TestModels:
    """Arrays change in place, once per block they get a version."""

    @pytest.fixture
    def kit(self, chain: Chain, probe: ProbeKind) -> ModelKit:
        return ModelKit(chain, probe)

    def test_creating_gives_version_zero(self, kit: ModelKit) -> None:
        kit.chain.run([kit.create()])
        store = kit.chain.store
        tensors = store.read(tensors_key("m"), decode_model_tensors)
        version = store.read(model_version_key("m", 0), decode_model_version)
        assert tensors is not None
        assert version is not None
        assert (tensors.version, [tensor.name for tensor in tensors.tensors]) == (
            0,
            ["bias", "weights"],
        )
        assert (version.height, version.samples, version.digest) == (1, 0, tensors.digest)
        arrays = store.load_model_state("m", 1)
        assert arrays is not None
        assert arrays["weights"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert arrays["weights"].flags.writeable

    def test_a_block_of_many_changes_makes_one_version(self, kit: ModelKit) -> None:
        kit.chain.run([kit.create()])
        kit.chain.run([kit.add_one() for _ in range(3)])
        kit.chain.run([kit.add_one()])
        store = kit.chain.store
        weights = [
            arrays["weights"][0, 0]
            for height in (1, 2, 3)
            if (arrays := store.load_model_state("m", height)) is not None
        ]
        versions = [
            store.read(model_version_key("m", number), decode_model_version) for number in range(4)
        ]
        assert weights == [0, 3, 4]
        assert [version and (version.height, version.samples) for version in versions] == [
            (1, 0),
            (2, 3),
            (3, 4),
            None,
        ]

    def test_creating_and_training_in_one_block_is_version_zero(self, kit: ModelKit) -> None:
        for expected in (0, 1):
            block = kit.chain.run([*([] if expected else [kit.create()]), kit.add_one()])
            version = kit.chain.store.read(tensors_key("m"), decode_model_tensors).version
            assert (block.height, version) == (expected + 1, expected)

    def test_unchanged_chunks_are_shared_between_versions(
        self, chain: Chain, probe: ProbeKind
    ) -> None:
        size = 3 * 8192 + 5

        def create(context: ExecutionContext) -> list[Encodable]:
            context.create_model("big", {"w": np.arange(size, dtype=np.int64)})
            return []

        def change(context: ExecutionContext) -> list[Encodable]:
            context.change_model("big")["w"][8192] += 1
            context.note_progress("big", ModelProgress(0, 1, 1, 0, 1))
            return []

        kit = ModelKit(chain, probe)
        assert len(chain.run([kit.make(create)]).chunks) == 4
        assert len(chain.run([kit.make(change)]).chunks) == 1
        arrays = chain.store.load_model_state("big", 2)
        assert arrays is not None
        expected = np.arange(size)
        expected[8192] += 1
        assert np.array_equal(arrays["w"], expected)

    def test_branches_do_not_see_each_others_training(self, kit: ModelKit) -> None:
        kit.chain.run([kit.create()])
        trained = kit.chain.execute([kit.add_one()])
        kit.nonce -= 1
        rival = kit.chain.execute([kit.check_weight(0)], view=9)
        kit.chain.execute([kit.check_weight(1)], trained)
        kit.nonce -= 1
        kit.chain.execute([kit.add_one()], rival)
        assert kit.failures() == []

    def test_a_restarted_store_reads_the_arrays_back(self, kit: ModelKit) -> None:
        kit.chain.run([kit.create(), kit.add_one()])
        again = Chain(kit.chain.network, kit.chain.values)
        kit.chain = again
        again.run([kit.check_weight(1), kit.add_one(), kit.check_weight(2)])
        assert kit.failures() == []

    def test_failing_after_a_change_is_a_bug(self, kit: ModelKit) -> None:
        def change_and_fail(context: ExecutionContext) -> list[Encodable]:
            context.change_model("m")
            raise TransactionFailedError("late", "too late")

        kit.chain.run([kit.create()])
        with pytest.raises(InvariantViolationError, match="failed after it changed a model"):
            kit.chain.execute([kit.make(change_and_fail)])

    def test_changing_without_saying_the_progress_is_a_bug(self, kit: ModelKit) -> None:
        def change(context: ExecutionContext) -> list[Encodable]:
            context.change_model("m")
            return []

        kit.chain.run([kit.create()])
        with pytest.raises(InvariantViolationError, match="no progress was noted"):
            kit.chain.execute([kit.make(change)])

    def test_changing_a_model_without_a_descriptor_is_a_bug(self, kit: ModelKit) -> None:
        def remove_descriptor(context: ExecutionContext) -> list[Encodable]:
            context.delete(tensors_key("m"))
            return []

        kit.chain.run([kit.create()])
        with pytest.raises(InvariantViolationError, match="changed but has no parameters"):
            kit.chain.execute([kit.add_one(), kit.make(remove_descriptor)])

    def test_a_model_is_created_once_and_read_only_then(self, kit: ModelKit) -> None:
        def look(context: ExecutionContext) -> list[Encodable]:
            for access in (context.read_model, context.change_model):
                with pytest.raises(InvariantViolationError, match="model n has no parameters"):
                    access("n")
            with pytest.raises(InvariantViolationError, match="has parameters already"):
                context.create_model("m", small_model())
            return []

        block = kit.chain.execute([kit.create(), kit.make(look)])
        assert [receipt.code for receipt in block.receipts] == ["ok", "ok"]

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"w": np.zeros(2, np.int32)}, "must be int64"),
            ({"w": np.zeros((4, 4), np.int64).T[:, 1:]}, "C-contiguous"),
            ({"w": np.zeros((1, 1, 1, 1, 1), np.int64)}, "too large"),
            ({str(number): np.zeros(1, np.int64) for number in range(65)}, "65 tensors"),
        ],
    )
    def test_arrays_that_cannot_be_stored_are_a_bug(
        self, kit: ModelKit, arrays: ModelArrays, words: str
    ) -> None:
        def create(context: ExecutionContext) -> list[Encodable]:
            context.create_model("m", arrays)
            return []

        with pytest.raises(InvariantViolationError, match=words):
            kit.chain.execute([kit.make(create)])


class ModelKit:
    """Transactions that create, train and look at the model ``m``."""

    def __init__(self, chain: Chain, probe: ProbeKind) -> None:
        self.chain = chain
        self.probe = probe
        self.nonce = 0
        self._failures: list[str] = []

    def make(self, action: object) -> Transaction:
        body = self.probe.add(action)  # type: ignore[arg-type]
        transaction = make_transaction(
            self.chain.network, self.chain.network.accounts[0], PROBE_CODE, body, nonce=self.nonce
        )
        self.nonce += 1
        return transaction

    def create(self) -> Transaction:
        def apply(context: ExecutionContext) -> list[Encodable]:
            context.create_model("m", small_model())
            return []

        return self.make(apply)

    def add_one(self) -> Transaction:
        def apply(context: ExecutionContext) -> list[Encodable]:
            weights = context.change_model("m")["weights"]
            weights += 1
            context.note_progress("m", ModelProgress(0, 0, int(weights[0, 0])))
            return []

        return self.make(apply)

    def check_weight(self, expected: int) -> Transaction:
        def apply(context: ExecutionContext) -> list[Encodable]:
            self._expect(int(context.read_model("m")["weights"][0, 0]), expected)
            return []

        return self.make(apply)

    def failures(self) -> list[str]:
        return self._failures

    def _expect(self, found: int, expected: int) -> None:
        if found != expected:
            self._failures.append(f"found {found}, expected {expected}")
