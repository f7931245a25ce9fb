"""Payloads: the bulky or personal part of a transaction, beside its envelope.

The envelope carries only a salted hash, so a payload can be erased without breaking any block hash,
and nobody can test a guess of its content against the chain once the salt is gone too.
Source: docs/spec/ledger.md §3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from primitives.errors import InvariantViolationError
from primitives.hashing import Tag, tagged_hash

__all__ = ["SALT_BYTES", "MemoryPayloadStore", "Payload", "PayloadReader"]

SALT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Payload:
    """A payload and the salt that hides its hash.

    Parameters
    ----------
    salt : 32 unpredictable bytes, chosen by the sender.
    data : the content; what it means is up to the kind of the transaction.

    Raises
    ------
    InvariantViolationError
        If the salt has another length.
    """

    salt: bytes
    data: bytes

    def __post_init__(self) -> None:
        if len(self.salt) != SALT_BYTES:
            raise InvariantViolationError(f"a salt has {SALT_BYTES} bytes, found {len(self.salt)}")

    @property
    def commitment(self) -> bytes:
        """Hash of salt and data, 32 bytes; the envelope binds it."""
        return tagged_hash(Tag.PAYLOAD, self.salt + self.data)


class PayloadReader(Protocol):
    """Where live payloads are read from; the durable one is outside this package."""

    def read(self, transaction_id: bytes) -> Payload | None:
        """Return the payload of a transaction, or None if it is not held here."""
        ...


class MemoryPayloadStore:
    """Payloads in memory, for tests, the simulator and processes that hold none."""

    def __init__(self) -> None:
        self._payloads: dict[bytes, Payload] = {}

    def read(self, transaction_id: bytes) -> Payload | None:
        """Return the payload of a transaction, or None if it is not held here."""
        return self._payloads.get(transaction_id)

    def add(self, transaction_id: bytes, payload: Payload) -> None:
        """Hold a payload."""
        self._payloads[transaction_id] = payload

    def erase(self, transaction_id: bytes) -> None:
        """Forget a payload; nothing happens if it is not held."""
        self._payloads.pop(transaction_id, None)
