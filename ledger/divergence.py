"""What a block did, transaction by transaction, in digests that two nodes can compare.

Two nodes that reach different state roots from one block have executed some transaction of it
differently. Digests of every receipt, and of the records and arrays as they are after every
transaction, tell which one was the first, without anybody having to show the data itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from ledger.model_tensors import ModelArrays
from ledger.receipt import Receipt
from ledger.schema import Record
from ledger.state import Layer

__all__ = [
    "BlockDigests",
    "ExecutionTrace",
    "Trace",
    "TransactionDigest",
    "find_first_difference",
]

Trace = Callable[[Receipt, Layer, Mapping[str, ModelArrays]], None]
"""Told after each transaction: its receipt, what the block wrote so far, arrays it changed so far.
"""


@dataclass(frozen=True, slots=True)
class TransactionDigest:
    """What one transaction left behind.

    Parameters
    ----------
    transaction_id : 32 bytes.
    status, code : of its receipt.
    receipt : digest of the whole receipt, 32 bytes.
    writes : digest of the records that it wrote or removed, 32 bytes.
    arrays : digest of all arrays that the block has changed up to here, 32 bytes.
    """

    transaction_id: bytes
    status: str
    code: str
    receipt: bytes
    writes: bytes
    arrays: bytes


@dataclass(frozen=True, slots=True)
class BlockDigests:
    """What one block left behind.

    Parameters
    ----------
    height, view : of the block.
    block_id : 32 bytes.
    parent_root : state root before it.
    state_root : state root after it; empty if its execution broke off.
    transactions : in order, as far as they were executed.
    failure : why the execution broke off; empty if it did not.
    """

    height: int
    view: int
    block_id: bytes
    parent_root: bytes
    state_root: bytes
    transactions: tuple[TransactionDigest, ...]
    failure: str = ""


class ExecutionTrace:
    """Collects the digests of one block while it is executed; its `note` is a `Trace`."""

    def __init__(self) -> None:
        self._before: dict[bytes, Record | None] = {}
        self._digests: list[TransactionDigest] = []

    @property
    def digests(self) -> tuple[TransactionDigest, ...]:
        """What was collected so far."""
        return tuple(self._digests)

    def note(self, receipt: Receipt, written: Layer, arrays: Mapping[str, ModelArrays]) -> None:
        """Take note of what a transaction did."""
        changed = {
            key: record
            for key, record in written.items()
            if key not in self._before or self._before[key] is not record
        }
        self._before.update(changed)
        self._digests.append(
            TransactionDigest(
                receipt.transaction_id,
                receipt.status.name,
                receipt.code,
                sha256(receipt.encode()).digest(),
                _digest_records(changed),
                _digest_arrays(arrays),
            )
        )


def find_first_difference(ours: Sequence[BlockDigests], theirs: Sequence[BlockDigests]) -> str:
    """Say in a sentence where two executions of the same blocks part; empty if they do not.

    Parameters
    ----------
    ours, theirs : blocks of one chain, ascending. Those that only one side has are left out.
    """
    others = {block.block_id: block for block in theirs}
    pairs = [(block, others[block.block_id]) for block in ours if block.block_id in others]
    if not pairs:
        return "the reports have no block in common"
    for one, other in pairs:
        found = _compare_blocks(one, other)
        if found:
            return f"block {one.height} ({one.block_id.hex()[:16]}): {found}"
    return ""


def _compare_blocks(one: BlockDigests, other: BlockDigests) -> str:
    if one.parent_root != other.parent_root:
        return "the states before it differ already; compare the reports of earlier blocks"
    for place, (first, second) in enumerate(
        zip(one.transactions, other.transactions, strict=False)
    ):
        found = _compare_transactions(first, second)
        if found:
            return f"transaction {place} ({first.transaction_id.hex()}): {found}"
    if one.failure != other.failure:
        count = min(len(one.transactions), len(other.transactions))
        said = " and ".join(f"“{each.failure or 'went well'}”" for each in (one, other))
        return f"transaction {count}, or what follows the last one, ended differently: {said}"
    if one.state_root != other.state_root:
        return (
            "every transaction did the same; the rewards of the proposers, the new versions of"
            " models or the state tree differ"
        )
    return ""


def _compare_transactions(one: TransactionDigest, other: TransactionDigest) -> str:
    if one.transaction_id != other.transaction_id:
        return f"is {other.transaction_id.hex()} in the other report"
    if (one.status, one.code) != (other.status, other.code):
        return f"{one.status} {one.code} here, {other.status} {other.code} there"
    names = [
        name
        for name in ("receipt", "writes", "arrays")
        if getattr(one, name) != getattr(other, name)
    ]
    return f"{' and '.join(names)} differ" if names else ""


def _digest_records(records: Mapping[bytes, Record | None]) -> bytes:
    digest = sha256()
    for key in sorted(records):
        record = records[key]
        value = b"" if record is None else b"\x01" + record.encode()
        digest.update(b"%d:%d:" % (len(key), len(value)))
        digest.update(key)
        digest.update(value)
    return digest.digest()


def _digest_arrays(models: Mapping[str, ModelArrays]) -> bytes:
    digest = sha256()
    for name in sorted(models):
        for key in sorted(models[name]):
            array = models[name][key]
            digest.update(f"{name}/{key}/{array.dtype.str}/{array.shape}/".encode())
            digest.update(array.tobytes())
    return digest.digest()
