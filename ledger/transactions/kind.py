"""What a kind of transaction is, and what it may do while it executes.

A newcomer adds a kind by writing a class of this shape in a file of its family and listing it in
`ledger.transactions.registry`. A kind never sees the block, the store or another kind; it sees an
`ExecutionContext`. Source: docs/spec/ledger.md §6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from ledger.block_models import CONTRIBUTED
from ledger.model_records import ModelProgress
from ledger.model_tensors import ModelArrays, ModelTensors
from ledger.parameters import Parameters
from ledger.schema import Record, RecordT, StateReader
from ledger.transaction import Transaction
from primitives.accounts import AccountId
from primitives.codec import Encodable, Value

__all__ = ["ExecutionContext", "ModelArrays", "TransactionKind"]

BodyT = TypeVar("BodyT")


class ExecutionContext(StateReader, Protocol):
    """What the body of one transaction may read and change.

    Every change to records and money is undone if the body raises `TransactionFailedError`.
    Arrays of models are changed in place and are *not* undone: see `change_model`.
    """

    @property
    def height(self) -> int:
        """Height of the block."""
        ...

    @property
    def timestamp_ms(self) -> int:
        """Time in the header of the block, in milliseconds; the only clock there is."""
        ...

    @property
    def parameters(self) -> Parameters:
        """The governed parameters in force."""
        ...

    @property
    def transaction_id(self) -> bytes:
        """Id of the transaction that is executed."""
        ...

    @property
    def sender(self) -> AccountId:
        """The account that acts."""
        ...

    @property
    def payer(self) -> AccountId:
        """The account that pays fee and deposit: the sponsor if there is one, else the sender."""
        ...

    def get(
        self, key: bytes, decode: Callable[[bytes], RecordT], *, before_block: bool = False
    ) -> RecordT | None:
        """Return the record under a key, or None.

        Parameters
        ----------
        key : the state key.
        decode : reads the record.
        before_block : as it was before this block, not as this block has left it so far.
        """
        ...

    def put(self, key: bytes, record: Record | None) -> None:
        """Write a record, or remove it."""
        ...

    def delete(self, key: bytes) -> None:
        """Remove a record; nothing happens if there is none."""
        ...

    def get_balance(self, account: AccountId) -> int:
        """Return the free money of an account."""
        ...

    def transfer(self, source: AccountId, target: AccountId, amount: int) -> None:
        """Move money between two accounts, which may be the same.

        Raises
        ------
        TransactionFailedError
            ``insufficient_balance``.
        """
        ...

    def hold(self, account: AccountId, amount: int) -> None:
        """Take money out of an account's balance and hold it for the caller's records.

        Raises
        ------
        TransactionFailedError
            ``insufficient_balance``.
        """
        ...

    def release(self, account: AccountId | None, amount: int) -> None:
        """Pay held money to an account, or burn it if there is none.

        Raises
        ------
        InvariantViolationError
            If less is held: the caller's records do not add up.
        """
        ...

    def read_payload(self, transaction_id: bytes) -> bytes:
        """Return the payload of this or of an earlier transaction, which must not be erased.

        Raises
        ------
        MissingPayloadError
            If our store lacks it. That stops the node and never fails the transaction, because
            the other validators have it.
        """
        ...

    def create_model(self, name: str, arrays: ModelArrays) -> None:
        """Give a new model its arrays, version 0; they belong to the block from now on.

        Nothing may fail after this: see `change_model`.

        Raises
        ------
        TransactionFailedError
            ``models_full``, before anything was done: the block holds too many large models.
        InvariantViolationError
            If the model has arrays already.
        """
        ...

    def read_model(self, name: str, *, before_block: bool = False) -> ModelArrays:
        """Return a model's arrays, not to be written to.

        Parameters
        ----------
        name : of the model.
        before_block : as they were before this block, not as this block has left them so far.

        Raises
        ------
        TransactionFailedError
            ``models_full``, before anything was done.
        InvariantViolationError
            If there is no such model.
        """
        ...

    def change_model(self, name: str, tensors: Iterable[str] | None = None) -> ModelArrays:
        """Return a model's arrays to be changed in place; each is cloned once per block.

        Nothing may fail after the first call: a `TransactionFailedError` from here on stops the
        node. So check everything, move the money, and train last.

        Parameters
        ----------
        name
            Of the model.
        tensors
            Those that will be changed, all of them if left out; the others must not be written to.

        Raises
        ------
        TransactionFailedError
            ``models_full``, before anything was done.
        InvariantViolationError
            If there is no such model.
        """
        ...

    def load_version(self, tensors: ModelTensors, *, is_counted: bool = False) -> ModelArrays:
        """Return the arrays of a version whose descriptor the state holds; they are the caller's.

        Parameters
        ----------
        tensors : the descriptor.
        is_counted : towards what a block may hold, each set of parameters once. It is not for who
            gives the arrays to a model, which counts them, and where nothing may fail any more.

        Raises
        ------
        TransactionFailedError
            ``models_full``, before anything was done, if it is counted.
        CorruptStateError
            If a chunk is missing, which stops the node.
        """
        ...

    def replace_model(self, name: str, arrays: ModelArrays) -> None:
        """Give a model other arrays, maybe of other shapes; they belong to the block from now on.

        Nothing may fail after this: see `change_model`.

        Raises
        ------
        TransactionFailedError
            ``models_full``, before anything was done.
        InvariantViolationError
            If there is no such model.
        """
        ...

    def note_progress(self, name: str, progress: ModelProgress, origin: int = CONTRIBUTED) -> None:
        """Say what the record of the model's next version shall state; the last call counts.

        Parameters
        ----------
        name : the model, whose arrays this block creates or changes.
        progress : how far it has come.
        origin : place in `ledger.model_tensors.ORIGINS` of what changes it.
        """
        ...


class TransactionKind(Protocol[BodyT]):
    """One kind of transaction: how its body is decoded, checked, metered and applied.

    `decode_body` and `check` decide whether a transaction may enter a block; they must not depend
    on any state, because validators that are not equally far must agree.
    """

    @property
    def code(self) -> int:
        """The number in the envelope."""
        ...

    @property
    def name(self) -> str:
        """Name for people: ``create_model``."""
        ...

    @property
    def has_payload(self) -> bool:
        """Whether a payload must travel with it; otherwise it must not."""
        ...

    def decode_body(self, value: list[Value], /) -> BodyT:
        """Return the body.

        Raises
        ------
        InvalidInputError
            If the fields are not those of this kind or are out of range.
        """
        ...

    def check(self, transaction: Transaction, body: BodyT, parameters: Parameters, /) -> None:
        """Check the rest that needs no state, the payload's content above all.

        Raises
        ------
        InvalidInputError
            With the code of the broken rule.
        """
        ...

    def cost(self, state: StateReader, transaction: Transaction, body: BodyT, /) -> int:
        """Return the compute units of the body: multiply-adds or comparable work, ≥ 0.

        It is metered before the body runs and must not raise: what does not exist costs nothing.
        Envelope, payload bytes and signatures are metered for every kind alike.

        Parameters
        ----------
        state : the state at the transaction's turn.
        """
        ...

    def apply(
        self, context: ExecutionContext, transaction: Transaction, body: BodyT, /
    ) -> list[Encodable]:
        """Take effect and return the data of the receipt.

        Raises
        ------
        TransactionFailedError
            If it cannot: everything it did is undone, nonce and fee stay consumed.
        """
        ...
