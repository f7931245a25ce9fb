"""A whole ledger in this process: real transactions, real blocks, simulated time.

Nothing of the ledger's rules is passed by: a transaction is built and signed by its account's key,
the block is checked as a validator checks it, executed by the executor and made final with the
certificate of the one validator there is. What is left out is what has no bearing on money: other
validators, the network, and disks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ledger.admission import check_block
from ledger.body import compute_body_root
from ledger.executor import BlockExecutor
from ledger.genesis import Genesis
from ledger.genesis_block import PROTOCOL_VERSION
from ledger.key_value import MemoryKeyValueStore
from ledger.members import Member
from ledger.parameters import Parameters
from ledger.payload import MemoryPayloadStore, Payload
from ledger.receipt import Receipt, ReceiptStatus
from ledger.schema import (
    ACCOUNT_PREFIX,
    CHAIN_SUPPLY,
    Account,
    RecordT,
    Supply,
    account_key,
    decode_account,
    decode_supply,
)
from ledger.store import LedgerStore
from ledger.transaction import Transaction, TransactionContent, build_transaction
from ledger.transactions.registry import get_kind
from primitives.accounts import AccountId, account_id_from_public_key
from primitives.certificates import Certificate, VoteKind, vote_signing_bytes
from primitives.codec import Encodable
from primitives.errors import InvariantViolationError
from primitives.header import BlockHeader
from primitives.keys import PrivateKey

__all__ = ["GENESIS_MS", "Holder", "SimulatedChain", "make_holder"]

GENESIS_MS: Final = 1_700_000_000_000
"""Block time of the genesis; only differences matter."""

_VALID_FOR_HEIGHTS: Final = 100
_ACCOUNTS_MAX: Final = 100_000

_RELEASE_LAG: Final = 8
"""Nobody asks for old versions here, so their parameters may go soon."""

_ENDLESS_EPOCH: Final = 1 << 40
"""The only validator stays; an end of an epoch would change nothing."""


@dataclass(frozen=True, slots=True)
class Holder:
    """An account and the key that signs for it."""

    key: PrivateKey
    account: AccountId


def make_holder(seed: int, name: str) -> Holder:
    """Return the account of a name; the same in every run with the same seed."""
    key = PrivateKey(sha256(f"quorate agents {seed} {name}".encode()).digest())
    return Holder(key, account_id_from_public_key(key.public_key))


class SimulatedChain:
    """A ledger in memory that grows by the blocks that it is told to make.

    Parameters
    ----------
    seed : keys and salts follow from it.
    balances : free money of each account at first, in the smallest unit.
    """

    def __init__(self, seed: int, balances: Mapping[AccountId, int]) -> None:
        self._seed = seed
        self._validator = make_holder(seed, "validator")
        transport = make_holder(seed, "transport")
        member = Member(
            name="simulation",
            account=make_holder(seed, "member").account,
            validator_key=self._validator.key.public_key,
            transport_key=transport.key.public_key,
            endpoint="127.0.0.1:7000",
        )
        self.parameters = Parameters(epoch_length=_ENDLESS_EPOCH)
        self._genesis = Genesis(
            chain_name="agents",
            timestamp_ms=GENESIS_MS,
            members=(member,),
            allocations=dict(balances),
            parameters=self.parameters,
        )
        self._payloads = MemoryPayloadStore()
        self._store = LedgerStore(MemoryKeyValueStore(), release_lag=_RELEASE_LAG)
        self._store.initialise(self._genesis)
        self._executor = BlockExecutor(self._store, self._payloads)
        self._tip = self._store.header(0)
        self._nonces: Counter[AccountId] = Counter()
        self.transactions = 0
        self.failures: Counter[str] = Counter()

    @property
    def height(self) -> int:
        """Height of the last block."""
        return self._tip.height

    @property
    def now_ms(self) -> int:
        """Time of the last block."""
        return self._tip.timestamp_ms

    def sign(
        self,
        holder: Holder,
        kind: str,
        body: Sequence[Encodable],
        data: bytes | Payload | None = None,
    ) -> Transaction:
        """Return the next transaction of an account; it has to enter the next block.

        Parameters
        ----------
        holder : who signs.
        kind : by name.
        body : its fields.
        data : the payload, if the kind has one; salted here unless it is salted already.
        """
        nonce = self._store_nonce(holder.account) + self._nonces[holder.account]
        self._nonces[holder.account] += 1
        content = TransactionContent(
            chain_id=self._genesis.chain_id,
            sender=holder.account,
            nonce=nonce,
            valid_until_height=self.height + _VALID_FOR_HEIGHTS,
            fee_limit=0,
            sponsor=None,
            kind=get_kind(kind).code,
            body=body,
        )
        payload = data if isinstance(data, Payload) else None
        if isinstance(data, bytes):
            salt = sha256(b"%d/%d/%s" % (self._seed, nonce, holder.account)).digest()
            payload = Payload(salt, data)
        return build_transaction(content, [holder.key], payload)

    def run(self, transactions: Sequence[Transaction], time_ms: int) -> tuple[Receipt, ...]:
        """Make a block of transactions final; return what became of each.

        Parameters
        ----------
        transactions : all that were signed since the last block.
        time_ms : of the block; blocks of one time follow each other by a millisecond.
        """
        parent = self._tip
        header = BlockHeader(
            protocol_version=PROTOCOL_VERSION,
            chain_id=self._genesis.chain_id,
            epoch=0,
            height=parent.height + 1,
            view=parent.view + 1,
            parent_id=parent.block_id,
            parent_view=parent.view,
            timestamp_ms=max(time_ms, parent.timestamp_ms + 1),
            proposer=0,
            body_root=compute_body_root(transactions),
        )
        check_block(header, transactions, self.parameters)
        for transaction in transactions:
            if transaction.payload is not None:
                self._payloads.add(transaction.transaction_id, transaction.payload)
        block = self._executor.execute(header, transactions)
        self._store.commit(block, self._certify(header, block.state_root))
        self._tip = header
        self._nonces.clear()
        self.transactions += len(transactions)
        receipts = tuple(block.receipts)
        self.failures.update(each.code for each in receipts if each.status is not ReceiptStatus.OK)
        return receipts

    def get(self, key: bytes, decode: Callable[[bytes], RecordT]) -> RecordT | None:
        """Return a record of the state after the last block."""
        return self._store.tip_state.get(key, decode)

    def get_balance(self, account: AccountId) -> int:
        """Return the free money of an account."""
        return (self.get(account_key(account), decode_account) or Account()).balance

    def load_model(self, name: str) -> Mapping[str, object]:
        """Return the parameters of a model after the last block; not to be written to."""
        state = self._store.load_model_state(name)
        if state is None:
            raise InvariantViolationError(f"model {name!r} has no parameters")
        return state

    def check_conservation(self) -> Supply:
        """Check that all money there is adds up to what was minted; return the sums.

        Raises
        ------
        InvariantViolationError
            The ledger made or lost money.
        """
        supply = self.get(CHAIN_SUPPLY, decode_supply)
        if supply is None:
            raise InvariantViolationError("the state has no supply record")
        records = self._store.scan(ACCOUNT_PREFIX, limit=_ACCOUNTS_MAX)
        balances = sum(decode_account(value).balance for _, value in records)
        if balances + supply.held + supply.burnt != supply.total:
            raise InvariantViolationError(
                f"balances of {balances}, {supply.held} held and {supply.burnt} burnt do not add up"
                f" to the supply of {supply.total}"
            )
        return supply

    def _store_nonce(self, account: AccountId) -> int:
        return (self.get(account_key(account), decode_account) or Account()).nonce

    def _certify(self, header: BlockHeader, state_root: bytes) -> Certificate:
        message = vote_signing_bytes(
            header.chain_id, header.epoch, VoteKind.COMMIT, header.view, header.block_id, state_root
        )
        signature = self._validator.key.sign(message)
        return Certificate(
            VoteKind.COMMIT,
            header.epoch,
            header.view,
            header.block_id,
            state_root,
            (0,),
            (signature,),
        )
