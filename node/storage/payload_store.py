"""Payloads on disk, each under a key of its own that can be destroyed.

Theory of operation
-------------------
Payloads are what may have to be erased, and append-only storage never quite forgets: LevelDB keeps
old tables, the block log keeps blocks, disks keep sectors. So payloads are kept outside of both,
encrypted, each under a random key, in segment files that only grow; the keys lie in a file of
fixed-size slots that is written in place. Erasing a payload overwrites its slot with zeros and
syncs: the ciphertext that stays is noise.

A slot is the transaction id, the key, where the ciphertext is, the number of the first slot that
was written together with it, and a CRC-32. Its size divides that of a disk sector, so it is zeroed
whole or not at all. A slot's number is never used again. The slot file is the index, read once when
the store is opened. A slot that does not read back there was torn by a crash if it belongs to the
last write, and is emptied; before that, the disk lost what was promised, and the store refuses.

Invariants: (Y1) ciphertext is on disk before its slot, so a slot never points to nothing; (Y2) a
zeroed slot stays zero; (Y3) what :meth:`PayloadStore.write_many` returned from reads back until it
is destroyed, or :class:`~primitives.errors.CorruptStateError` is raised: a payload that is damaged
never looks like one that was erased; (Y4) after a failed write nothing more is written.

Overwriting in place is what a file can do. A file system that copies on write, its snapshots and
backups of the slot file keep old keys; an operator must not make those of this folder.
"""

from __future__ import annotations

import os
import secrets
import struct
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ledger.payload import SALT_BYTES, Payload
from node.storage.durable_files import make_folder, sync_folder, write_at
from primitives.errors import CorruptStateError, InvariantViolationError
from primitives.hashing import HASH_BYTES

__all__ = ["SEGMENT_BYTES_MAX", "PayloadStore"]

SEGMENT_BYTES_MAX: Final = 256 * 1024 * 1024
"""A segment takes no more payloads once it is this large."""

_SLOT_BYTES: Final = 128
_FIELDS: Final = struct.Struct(">32s32sIQIQ")
_EMPTY: Final = bytes(_SLOT_BYTES)
_KEY_BYTES: Final = 32
# Each key encrypts one message, so the nonce may be fixed.
_NONCE: Final = bytes(12)


class _Slot(NamedTuple):
    number: int
    key: bytes
    segment: int
    offset: int
    length: int
    first: int


class PayloadStore:
    """Live payloads by transaction id; safe to share between threads.

    Parameters
    ----------
    folder
        Made when it is missing.
    segment_bytes_max
        A segment takes no more payloads once it is this large.

    Raises
    ------
    CorruptStateError
        The index does not read back.
    """

    def __init__(self, folder: Path, segment_bytes_max: int = SEGMENT_BYTES_MAX) -> None:
        make_folder(folder)
        self._folder = folder
        self._segment_bytes_max = segment_bytes_max
        self._writing = threading.Lock()
        self._files = threading.Lock()
        self._is_broken = False
        self._descriptors: dict[int, int] = {}
        self._slot_path = folder / "slots"
        self._slot_file = os.open(self._slot_path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._slots = self._load_slots()
            numbers = [int(path.stem) for path in folder.glob("*.payloads")]
            self._segment = max(numbers, default=0)
            self._segment_size = os.fstat(self._open_segment(self._segment)).st_size
            sync_folder(folder)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._slots)

    def read(self, transaction_id: bytes) -> Payload | None:
        """Return a payload, or None if it is not held or was destroyed.

        Raises
        ------
        CorruptStateError
            It is held but does not read back.
        """
        slot = self._slots.get(transaction_id)
        if slot is None:
            return None
        ciphertext = os.pread(self._open_segment(slot.segment), slot.length, slot.offset)
        try:
            plain = ChaCha20Poly1305(slot.key).decrypt(_NONCE, ciphertext, transaction_id)
        except InvalidTag as error:
            raise CorruptStateError(
                f"payload {transaction_id.hex()} does not read back from {self._folder}"
            ) from error
        return Payload(plain[:SALT_BYTES], plain[SALT_BYTES:])

    def write_many(self, payloads: Sequence[tuple[bytes, Payload]]) -> None:
        """Put payloads on disk; durable on return. What is held already is left as it is.

        Parameters
        ----------
        payloads
            Transaction ids, 32 bytes each, and their payloads.

        Raises
        ------
        OSError
            The disk failed; the store takes nothing more.
        InvariantViolationError
            The store was closed or failed before, or an id has another length.
        """
        with self._writing:
            self._check_usable()
            new = {key: payload for key, payload in payloads if key not in self._slots}
            if not new:
                return
            slots, ciphertext = self._encrypt(new)
            self._is_broken = True
            write_at(self._open_segment(self._segment), ciphertext, self._segment_size)
            packed = b"".join(_pack(key, slot) for key, slot in slots.items())
            write_at(self._slot_file, packed, self._slot_count * _SLOT_BYTES)
            self._is_broken = False
            self._segment_size += len(ciphertext)
            self._slot_count += len(slots)
            self._slots.update(slots)
            if self._segment_size >= self._segment_bytes_max:
                self._start_segment()

    def destroy(self, transaction_id: bytes) -> bool:
        """Make a payload unreadable for good; return whether it was held."""
        with self._writing:
            self._check_usable()
            slot = self._slots.get(transaction_id)
            if slot is None:
                return False
            self._is_broken = True
            write_at(self._slot_file, _EMPTY, slot.number * _SLOT_BYTES)
            self._is_broken = False
            del self._slots[transaction_id]
            return True

    def close(self) -> None:
        """Close all files; nothing happens the second time."""
        with self._writing, self._files:
            if self._slot_file >= 0:
                os.close(self._slot_file)
                self._slot_file = -1
            for descriptor in self._descriptors.values():
                os.close(descriptor)
            self._descriptors.clear()
            self._is_broken = True

    def _check_usable(self) -> None:
        if self._is_broken:
            raise InvariantViolationError(
                f"{self._folder} was closed, or a write to it failed; it must be opened anew"
            )

    def _encrypt(self, payloads: dict[bytes, Payload]) -> tuple[dict[bytes, _Slot], bytes]:
        """Return the slots of new payloads, and the ciphertexts one after the other."""
        slots: dict[bytes, _Slot] = {}
        ciphertexts: list[bytes] = []
        offset = self._segment_size
        for transaction_id, payload in payloads.items():
            if len(transaction_id) != HASH_BYTES:
                raise InvariantViolationError(f"{transaction_id.hex()} is no transaction id")
            key = secrets.token_bytes(_KEY_BYTES)
            plain = payload.salt + payload.data
            ciphertext = ChaCha20Poly1305(key).encrypt(_NONCE, plain, transaction_id)
            slots[transaction_id] = _Slot(
                number=self._slot_count + len(slots),
                key=key,
                segment=self._segment,
                offset=offset,
                length=len(ciphertext),
                first=self._slot_count,
            )
            ciphertexts.append(ciphertext)
            offset += len(ciphertext)
        return slots, b"".join(ciphertexts)

    def _load_slots(self) -> dict[bytes, _Slot]:
        """Read the index; empty what a crash tore in the last write."""
        size = os.fstat(self._slot_file).st_size
        self._slot_count = -(-size // _SLOT_BYTES)
        data = os.pread(self._slot_file, size, 0).ljust(self._slot_count * _SLOT_BYTES, b"\0")
        slots: dict[bytes, _Slot] = {}
        damaged: list[int] = []
        last_write = 0
        for number in range(self._slot_count):
            packed = data[number * _SLOT_BYTES : (number + 1) * _SLOT_BYTES]
            if packed == _EMPTY:
                continue
            unpacked = _unpack(packed, number)
            if unpacked is None:
                damaged.append(number)
            else:
                transaction_id, slot = unpacked
                slots[transaction_id] = slot
                last_write = max(last_write, slot.first)
        self._empty_damaged(damaged, last_write)
        return slots

    def _empty_damaged(self, damaged: list[int], last_write: int) -> None:
        for number in damaged:
            if number < last_write:
                raise CorruptStateError(
                    f"slot {number} of {self._slot_path} does not read back: the disk lost the key"
                    " of a payload; restore the node from a snapshot"
                )
            write_at(self._slot_file, _EMPTY, number * _SLOT_BYTES)

    def _start_segment(self) -> None:
        self._segment += 1
        self._segment_size = 0
        self._open_segment(self._segment)
        sync_folder(self._folder)

    def _open_segment(self, number: int) -> int:
        with self._files:
            descriptor = self._descriptors.get(number)
            if descriptor is None:
                path = self._folder / f"{number:08d}.payloads"
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
                self._descriptors[number] = descriptor
            return descriptor


def _pack(transaction_id: bytes, slot: _Slot) -> bytes:
    fields = _FIELDS.pack(
        transaction_id, slot.key, slot.segment, slot.offset, slot.length, slot.first
    )
    return (fields + struct.pack(">I", zlib.crc32(fields))).ljust(_SLOT_BYTES, b"\0")


def _unpack(packed: bytes, number: int) -> tuple[bytes, _Slot] | None:
    """Return a slot and whose payload it is of, or None if it does not read back."""
    transaction_id, key, segment, offset, length, first = _FIELDS.unpack_from(packed)
    slot = _Slot(number, key, segment, offset, length, first)
    return (transaction_id, slot) if _pack(transaction_id, slot) == packed else None
