"""What the store keeps about the chain itself, beside the state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from primitives.certificates import CERTIFICATE_BYTES_MAX, Certificate, decode_certificate
from primitives.codec import decode, encode
from primitives.errors import CorruptStateError, InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES
from primitives.header import BlockHeader, decode_header

__all__ = ["StoredBlock", "Tip", "decode_own", "decode_stored_block", "decode_tip"]

_HEADER_BYTES_MAX: Final = 1024
_BYTES_MAX: Final = 2 * CERTIFICATE_BYTES_MAX

DataT = TypeVar("DataT")
ResultT = TypeVar("ResultT")


def decode_own(data: DataT, decode: Callable[[DataT], ResultT]) -> ResultT:
    """Decode what we stored ourselves.

    Raises
    ------
    CorruptStateError
        If it is refused: then it is not an input that is at fault but our disk.
    """
    try:
        return decode(data)
    except InvalidInputError as error:
        raise CorruptStateError(f"stored data does not read back: {error}") from error


@dataclass(frozen=True, slots=True)
class Tip:
    """The last final block.

    Parameters
    ----------
    height, block_id : of the block.
    state_root : after the block, 32 bytes.
    receipts_root : over its receipts, 32 bytes.
    timestamp_ms : in its header.
    """

    height: int
    block_id: bytes
    state_root: bytes
    receipts_root: bytes
    timestamp_ms: int

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                self.height,
                self.block_id,
                self.state_root,
                self.receipts_root,
                self.timestamp_ms,
            )
        )


def decode_tip(data: bytes) -> Tip:
    """Return the tip whose canonical bytes are `data`; raises `InvalidInputError`."""
    reader = FieldReader(decode(data, bytes_max=_BYTES_MAX), "tip", 5)
    return Tip(
        reader.counter("height"),
        reader.bytes("block_id", HASH_BYTES),
        reader.bytes("state_root", HASH_BYTES),
        reader.bytes("receipts_root", HASH_BYTES),
        reader.counter("timestamp_ms"),
    )


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A final block without its transactions.

    Parameters
    ----------
    header : of the block.
    state_root : after the block, 32 bytes.
    receipts_root : over its receipts, 32 bytes.
    transaction_count : how many transactions it holds.
    certified_height : height of the block that `certificate` is for: its own, or that of the
        descendant with which it became final.
    certificate : the commit certificate; None for the genesis block.
    """

    header: BlockHeader
    state_root: bytes
    receipts_root: bytes
    transaction_count: int
    certified_height: int
    certificate: Certificate | None

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                self.header.encode(),
                self.state_root,
                self.receipts_root,
                self.transaction_count,
                self.certified_height,
                b"" if self.certificate is None else self.certificate.encode(),
            )
        )


def decode_stored_block(data: bytes) -> StoredBlock:
    """Return the block whose canonical bytes are `data`; raises `InvalidInputError`."""
    reader = FieldReader(decode(data, bytes_max=_BYTES_MAX), "block", 6)
    header = decode_header(reader.bytes("header", bytes_max=_HEADER_BYTES_MAX))
    state_root = reader.bytes("state_root", HASH_BYTES)
    receipts_root = reader.bytes("receipts_root", HASH_BYTES)
    transaction_count = reader.counter("transaction_count")
    certified_height = reader.counter("certified_height")
    certificate = reader.bytes("certificate", bytes_max=CERTIFICATE_BYTES_MAX)
    return StoredBlock(
        header,
        state_root,
        receipts_root,
        transaction_count,
        certified_height,
        decode_certificate(certificate) if certificate else None,
    )
