"""Payloads are bound by a salted hash."""

from __future__ import annotations

import pytest

from ledger.payload import MemoryPayloadStore, Payload
from primitives.errors import InvariantViolationError
from primitives.hashing import Tag, tagged_hash
from tests.helpers.ledger import make_salt


def test_the_commitment_covers_salt_and_data() -> None:
    payload = Payload(make_salt(1), b"data")
    assert payload.commitment == tagged_hash(Tag.PAYLOAD, make_salt(1) + b"data")
    assert payload.commitment != Payload(make_salt(2), b"data").commitment
    assert payload.commitment != Payload(make_salt(1), b"date").commitment


def test_a_salt_has_32_bytes() -> None:
    with pytest.raises(InvariantViolationError, match="32 bytes, found 31"):
        Payload(bytes(31), b"")


def test_the_store_in_memory_forgets_what_is_erased() -> None:
    store = MemoryPayloadStore()
    payload = Payload(make_salt(1), b"data")
    store.add(b"id", payload)
    assert store.read(b"id") == payload
    store.erase(b"id")
    store.erase(b"id")
    assert store.read(b"id") is None
