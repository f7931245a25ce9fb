"""Payloads on disk, each under a key of its own that can be destroyed.

Theory of operation
-------------------
Payloads are what may have to be erased, and append-only storage never quite forgets: LevelDB keeps
old tables, the block log keeps blocks, disks keep sectors. So payloads are kept outside of both,
encrypted, each under a random key, in segment files that only grow; the keys lie in a file of
fixed-size slots that is written in place. Erasing a payload overwrites its slot with zeros and
syncs: the ciphertext that stays is noise.

A slot is the transaction id, the segment, offset and length of the ciphertext, and the key; the
slot's number is never used again. The slot file is the index, read once when the store is opened.
Invariants: (Y1) ciphertext is on disk before its slot, so a slot never points to nothing; (Y2) a
zeroed slot stays zero; (Y3) a torn slot at the end of the file is cut off: its block was not final.
"""

from __future__ import annotations

import os
import secrets
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ledger.payload import SALT_BYTES, Payload
from primitives.errors import CorruptStateError

__all__ = ["PayloadStore"]

SEGMENT_BYTES_MAX: Final = 256 * 1024 * 1024
_SLOT: Final = struct.Struct(">32sIQI32s")
# Each key encrypts one message, so the nonce may be fixed.
_NONCE: Final = bytes(12)


class _Slot(NamedTuple):
    number: int
    segment: int
    offset: int
    length: int
    key: bytes


class PayloadStore:
    """Live payloads by transaction id; safe to share between threads.

    Parameters
    ----------
    folder
        Made when it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._lock = threading.Lock()
        self._slots: dict[bytes, _Slot] = {}
        self._slot_file = os.open(folder / "slots", os.O_RDWR | os.O_CREAT, 0o600)
        self._slot_count = self._load_slots()
        self._segments: dict[int, int] = {}
        numbers = sorted(int(path.stem) for path in folder.glob("*.payloads"))
        self._segment = numbers[-1] if numbers else 0
        self._segment_size = os.fstat(self._open_segment(self._segment)).st_size
        _sync_folder(folder)

    def __len__(self) -> int:
        return len(self._slots)

    def read(self, transaction_id: bytes) -> Payload | None:
        """Return a payload, or None if it is not held or was destroyed.

        Raises
        ------
        CorruptStateError
            It is held but does not read back.
        """
        with self._lock:
            slot = self._slots.get(transaction_id)
            if slot is None:
                return None
            descriptor = self._open_segment(slot.segment)
        ciphertext = os.pread(descriptor, slot.length, slot.offset)
        try:
            plain = ChaCha20Poly1305(slot.key).decrypt(_NONCE, ciphertext, transaction_id)
        except InvalidTag as error:
            raise CorruptStateError(
                f"payload {transaction_id.hex()} does not read back from {self._folder}"
            ) from error
        return Payload(plain[:SALT_BYTES], plain[SALT_BYTES:])

    def write_many(self, payloads: Sequence[tuple[bytes, Payload]]) -> None:
        """Put payloads on disk; durable on return. What is held already is left as it is."""
        with self._lock:
            self._rotate()
            descriptor = self._open_segment(self._segment)
            ciphertexts: list[bytes] = []
            slots: dict[bytes, _Slot] = {}
            offset = self._segment_size
            for transaction_id, payload in payloads:
                if transaction_id in self._slots or transaction_id in slots:
                    continue
                key = secrets.token_bytes(32)
                plain = payload.salt + payload.data
                ciphertext = ChaCha20Poly1305(key).encrypt(_NONCE, plain, transaction_id)
                number = self._slot_count + len(slots)
                slots[transaction_id] = _Slot(number, self._segment, offset, len(ciphertext), key)
                ciphertexts.append(ciphertext)
                offset += len(ciphertext)
            if not slots:
                return
            _write_all(descriptor, b"".join(ciphertexts), self._segment_size)
            self._segment_size = offset
            self._append_slots(slots)

    def destroy(self, transaction_id: bytes) -> bool:
        """Make a payload unreadable for good; return whether it was held."""
        with self._lock:
            slot = self._slots.pop(transaction_id, None)
            if slot is None:
                return False
            _write_all(self._slot_file, bytes(_SLOT.size), slot.number * _SLOT.size)
            return True

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            os.close(self._slot_file)
            for descriptor in self._segments.values():
                os.close(descriptor)
            self._segments.clear()

    def _load_slots(self) -> int:
        size = os.fstat(self._slot_file).st_size
        count = size // _SLOT.size
        if size % _SLOT.size:
            os.ftruncate(self._slot_file, count * _SLOT.size)
        data = os.pread(self._slot_file, count * _SLOT.size, 0)
        for number in range(count):
            fields = _SLOT.unpack_from(data, number * _SLOT.size)
            transaction_id, segment, offset, length, key = fields
            if length:
                self._slots[transaction_id] = _Slot(number, segment, offset, length, key)
        return count

    def _append_slots(self, slots: dict[bytes, _Slot]) -> None:
        data = b"".join(
            _SLOT.pack(transaction_id, slot.segment, slot.offset, slot.length, slot.key)
            for transaction_id, slot in slots.items()
        )
        _write_all(self._slot_file, data, self._slot_count * _SLOT.size)
        self._slot_count += len(slots)
        self._slots.update(slots)

    def _rotate(self) -> None:
        if self._segment_size >= SEGMENT_BYTES_MAX:
            self._segment += 1
            self._segment_size = 0
            self._open_segment(self._segment)
            _sync_folder(self._folder)

    def _open_segment(self, number: int) -> int:
        descriptor = self._segments.get(number)
        if descriptor is None:
            path = self._folder / f"{number:08d}.payloads"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            self._segments[number] = descriptor
        return descriptor


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write at an offset and return once it is on disk."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written
    os.fdatasync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
