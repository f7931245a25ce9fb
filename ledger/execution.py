"""What transactions of one block see while they execute: `ExecutionContext` made real.

Money moves only by `transfer`, `hold` and `release`, so no kind of transaction can make or lose
any. The order of things around a body is `ledger.executor`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from ledger.block_models import CONTRIBUTED, BlockModels
from ledger.codes import INSUFFICIENT_BALANCE, MODELS_FULL
from ledger.errors import MissingPayloadError, TransactionFailedError
from ledger.model_records import ModelProgress
from ledger.model_tensors import (
    ModelArrays,
    ModelTensors,
    decode_model_tensors,
    tensors_key,
    total_bytes,
)
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.schema import (
    CHAIN_SUPPLY,
    Account,
    Record,
    RecordT,
    Supply,
    account_key,
    decode_account,
    decode_supply,
)
from ledger.state import BlockState
from ledger.transaction import Transaction
from primitives.accounts import AccountId, account_to_text
from primitives.errors import InvariantViolationError
from primitives.header import BlockHeader

__all__ = ["BlockExecution", "PayloadLookup"]

MODEL_BYTES_MAX: Final = 256 * 1024 * 1024
"""Bytes of all models together that one block may read or change: twice the largest model.

Each is read, copied and kept until the block is final, however little a transaction asks of it.
"""

PayloadLookup = Callable[[bytes], Payload | None]
"""Finds the payload of a transaction of this block, an ancestor or the final chain."""


class BlockExecution:
    """The block under execution, as its transactions see it one after the other.

    Parameters
    ----------
    header : of the block.
    parameters : in force, those after the parent.
    state : records.
    models : arrays.
    find_payload : payloads by transaction id.
    """

    def __init__(
        self,
        header: BlockHeader,
        parameters: Parameters,
        state: BlockState,
        models: BlockModels,
        find_payload: PayloadLookup,
    ) -> None:
        self.height = header.height
        self.timestamp_ms = header.timestamp_ms
        self.parameters = parameters
        self.state = state
        self.models = models
        self._find_payload = find_payload
        self._opened: dict[str, int] = {}
        self._opened_bytes = 0
        self._transaction: Transaction

    def start(self, transaction: Transaction) -> None:
        """Make a transaction the one that is executed."""
        self._transaction = transaction
        self.models.is_touched = False

    @property
    def transaction_id(self) -> bytes:
        """Id of the transaction that is executed."""
        return self._transaction.transaction_id

    @property
    def sender(self) -> AccountId:
        """The account that acts."""
        return self._transaction.sender

    @property
    def payer(self) -> AccountId:
        """The account that pays fee and deposit."""
        return self._transaction.payer

    def get(
        self, key: bytes, decode: Callable[[bytes], RecordT], *, before_block: bool = False
    ) -> RecordT | None:
        """Return the record under a key as this block has left it so far, or as it found it."""
        return self.state.get_before(key, decode) if before_block else self.state.get(key, decode)

    def put(self, key: bytes, record: Record | None) -> None:
        """Write a record, or remove it."""
        self.state.put(key, record)

    def delete(self, key: bytes) -> None:
        """Remove a record; nothing happens if there is none."""
        self.state.put(key, None)

    def get_account(self, account: AccountId) -> Account:
        """Return an account; one that was never used is all zero."""
        return self.state.get(account_key(account), decode_account) or _UNUSED_ACCOUNT

    def get_balance(self, account: AccountId) -> int:
        """Return the free money of an account."""
        return self.get_account(account).balance

    def transfer(self, source: AccountId, target: AccountId, amount: int) -> None:
        """Move money between two accounts; fails with ``insufficient_balance``."""
        self._debit(source, amount)
        self._credit(target, amount)

    def hold(self, account: AccountId, amount: int) -> None:
        """Take money out of a balance and hold it; fails with ``insufficient_balance``."""
        self._debit(account, amount)
        supply = self._get_supply()
        self.state.put(CHAIN_SUPPLY, replace(supply, held=supply.held + amount))

    def release(self, account: AccountId | None, amount: int) -> None:
        """Pay held money to an account, or burn it if there is none.

        Raises
        ------
        InvariantViolationError
            If less is held.
        """
        supply = self._get_supply()
        if not 0 <= amount <= supply.held:
            raise InvariantViolationError(f"{amount} is to be released, {supply.held} is held")
        supply = replace(supply, held=supply.held - amount)
        if account is None:
            self.state.put(CHAIN_SUPPLY, replace(supply, burnt=supply.burnt + amount))
        else:
            self.state.put(CHAIN_SUPPLY, supply)
            self._credit(account, amount)

    def read_payload(self, transaction_id: bytes) -> bytes:
        """Return a payload; raises `MissingPayloadError` if our store lacks it."""
        payload = self._find_payload(transaction_id)
        if payload is None:
            raise MissingPayloadError(transaction_id)
        return payload.data

    def create_model(self, name: str, arrays: ModelArrays) -> None:
        """Give a new model its arrays; nothing may fail after this."""
        self._make_room(name, total_bytes(arrays))
        self.models.create(name, arrays)

    def read_model(self, name: str, *, before_block: bool = False) -> ModelArrays:
        """Return a model's arrays as this block has left them so far, or as it found them."""
        self._open(name)
        models = self.models
        return _existing(name, models.read_before(name) if before_block else models.read(name))

    def change_model(self, name: str, tensors: Iterable[str] | None = None) -> ModelArrays:
        """Return arrays of which those named, or all, may be changed; nothing may fail after."""
        self._open(name)
        return _existing(name, self.models.change(name, tensors))

    def load_version(self, tensors: ModelTensors, *, is_counted: bool = False) -> ModelArrays:
        """Return the arrays of a pinned version."""
        if is_counted:
            # No model has a name of upper-case letters or of that length.
            self._make_room(f"VERSION {tensors.digest.hex()}", tensors.total_bytes)
        return self.models.load_version(tensors)

    def replace_model(self, name: str, arrays: ModelArrays) -> None:
        """Give a model other arrays; nothing may fail after this."""
        self._make_room(name, total_bytes(arrays))
        self.models.replace(name, arrays)

    def note_progress(self, name: str, progress: ModelProgress, origin: int = CONTRIBUTED) -> None:
        """Say what the record of the model's next version shall state."""
        self.models.note_progress(name, progress, origin)

    def _open(self, name: str) -> None:
        """Make room for a model as it was before this block, unless that was done."""
        tensors = self.state.get(tensors_key(name), decode_model_tensors)
        if tensors is not None and name not in self._opened:
            self._make_room(name, tensors.total_bytes)

    def _make_room(self, name: str, size: int) -> None:
        """Count a model's arrays towards what a block may hold; fails with ``models_full``."""
        added = max(size - self._opened.get(name, 0), 0)
        if self._opened_bytes + added > MODEL_BYTES_MAX:
            raise TransactionFailedError(
                MODELS_FULL,
                f"{name!r} needs {added} bytes more, the block uses {self._opened_bytes} of the"
                f" {MODEL_BYTES_MAX} that its models may take together; try again in another one",
            )
        self._opened[name] = self._opened.get(name, 0) + added
        self._opened_bytes += added

    def _debit(self, account: AccountId, amount: int) -> None:
        if amount < 0:
            raise InvariantViolationError(f"an amount must not be negative, found {amount}")
        record = self.get_account(account)
        if record.balance < amount:
            raise TransactionFailedError(
                INSUFFICIENT_BALANCE,
                f"{account_to_text(account)} has {record.balance}, less than the {amount} needed",
            )
        self.state.put(
            account_key(account),
            Account(record.public_key, record.nonce, record.balance - amount),
        )

    def _credit(self, account: AccountId, amount: int) -> None:
        record = self.get_account(account)
        self.state.put(
            account_key(account),
            Account(record.public_key, record.nonce, record.balance + amount),
        )

    def _get_supply(self) -> Supply:
        supply = self.state.get(CHAIN_SUPPLY, decode_supply)
        if supply is None:
            raise InvariantViolationError("the state has no supply record")
        return supply


_UNUSED_ACCOUNT = Account()


def _existing(name: str, arrays: ModelArrays | None) -> ModelArrays:
    if arrays is None:
        raise InvariantViolationError(f"model {name} has no parameters")
    return arrays
