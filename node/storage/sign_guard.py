"""How far a validator has signed, kept beside its keys: tells whether the log is whole.

Theory of operation
-------------------
A validator that forgot what it signed may contradict itself. The write-ahead log remembers, but the
log can be gone, or be an old copy, and then nothing in it says so. The guard is a file in the
folder of the keys and not in that of the data. It says

- which log goes with the keys: a random *instance* that lies in the log's folder too;
- how far that log reached after the last votes left: segment and size, the *end*;
- a view above which no key of the folder has signed anything, *reserved* ahead in steps;
- the view of the last final block before which records were dropped, the *floor*.

The order is: reserve (synced), append to the log and sync it, note the log's end in the guard, and
only then do votes leave. The end is written without a sync: if the process is killed the system
still writes it, and if the machine loses power an older end is found, never a newer one. So

(G1) a log of this instance whose end is not below the guard's holds every vote that left, unless
     it is a copy made while the node ran within the last moments before a loss of power;
(G2) after kill -9 or a clean stop the log is always found whole, however the process ended;
(G3) if the log is not whole, nothing above the reserved view was ever signed;
(G4) the guard goes with a log only once something was signed into it, so a loss is found again
     until the validator could safely sign.

What no file can tell: that the whole folder of the node, guard included, is an old copy. Votes of
our own that others show us tell that (`consensus.probation`).
"""

from __future__ import annotations

import os
import secrets
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple, Self

from node.storage.durable_files import make_folder, sync_folder, write_at
from primitives.errors import CorruptStateError, InvalidInputError

__all__ = [
    "INSTANCE_BYTES",
    "NEVER_SIGNED",
    "UNKNOWN_VIEW",
    "GuardState",
    "LogEnd",
    "SignGuard",
    "create_guard",
    "forget_log",
    "guard_path",
    "make_instance",
]

INSTANCE_BYTES: Final = 16
NEVER_SIGNED: Final = bytes(INSTANCE_BYTES)
"""Instance of a guard whose keys have signed nothing yet."""

UNKNOWN_VIEW: Final = 2**64 - 1
"""Reserved view if nobody knows how far the keys have signed."""

_MAGIC: Final = b"QGRD"
_VERSION: Final = 1
_FIELDS: Final = struct.Struct(f">4sIQ32s{INSTANCE_BYTES}sQQQQ")
_SLOT_BYTES: Final = 4096
"""Two slots are written in turn. Each has a page of its own, so a torn write spoils one at most."""

_SLOTS: Final = 2


class LogEnd(NamedTuple):
    """Where a log ends: the number of its last segment, and the bytes in that. Only ever grows."""

    segment: int
    size: int


_NO_LOG: Final = LogEnd(0, 0)


@dataclass(frozen=True, slots=True)
class GuardState:
    """What a guard says.

    Parameters
    ----------
    chain_id : of the chain on which the keys vote, 32 bytes.
    instance : of the log that goes with the keys; `NEVER_SIGNED` before the first signature.
    reserved_view : nothing above it was signed.
    floor_view : records of views up to it may have been dropped, because a block was final.
    log_end : what the log has reached at least.
    """

    chain_id: bytes
    instance: bytes = NEVER_SIGNED
    reserved_view: int = 0
    floor_view: int = 0
    log_end: LogEnd = _NO_LOG


class SignGuard:
    """The guard file of one node's keys, open for writing; one thread at a time.

    Parameters
    ----------
    path
        Of the file.

    Raises
    ------
    InvalidInputError
        ``guard_missing``: there is no such file.
    CorruptStateError
        The file does not read back.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError as error:
            raise InvalidInputError(
                "guard_missing", f"there is no {path}", field="guard", value=str(path)
            ) from error
        slots = [
            _decode(os.pread(self._descriptor, _SLOT_BYTES, number * _SLOT_BYTES))
            for number in range(_SLOTS)
        ]
        found = [slot for slot in slots if slot is not None]
        if not found:
            os.close(self._descriptor)
            raise CorruptStateError(
                f"{path} does not read back, so nobody knows what the validator keys have signed:"
                " restore the file, or remove it and start once with --observe-first"
            )
        self._sequence, self._state = max(found, key=lambda slot: slot[0])
        self._durable_state = self._state

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def state(self) -> GuardState:
        """What the guard says now."""
        return self._state

    @property
    def durable_floor_view(self) -> int:
        """The floor that a loss of power cannot take back."""
        return self._durable_state.floor_view

    def save(self, state: GuardState, *, durable: bool) -> None:
        """Write a new state.

        Parameters
        ----------
        state
            From now on.
        durable
            Return only once it survives a loss of power. Otherwise it survives the end of the
            process alone, which costs a few microseconds.
        """
        self._sequence += 1
        offset = self._sequence % _SLOTS * _SLOT_BYTES
        data = _encode(self._sequence, state)
        if durable:
            write_at(self._descriptor, data, offset)
            self._durable_state = state
        else:
            os.pwrite(self._descriptor, data, offset)
        self._state = state

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)


def guard_path(key_file: Path) -> Path:
    """Return where the guard lies that goes with a key file and those beside it."""
    return key_file.with_name("sign-guard")


def make_instance() -> bytes:
    """Return the name of a new log."""
    return secrets.token_bytes(INSTANCE_BYTES)


def create_guard(path: Path, state: GuardState) -> None:
    """Write the guard of new keys, durably.

    Raises
    ------
    InvalidInputError
        ``file_exists``: a guard is never written over.
    """
    make_folder(path.parent)
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_at(descriptor, _encode(0, state).ljust(_SLOTS * _SLOT_BYTES, b"\x00"), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        # Unlike renaming, linking refuses to replace a file.
        os.link(draft, path)
    except FileExistsError as error:
        raise InvalidInputError(
            "file_exists",
            f"{path} exists; what a validator has signed is never forgotten",
            field="guard",
            value=str(path),
        ) from error
    finally:
        draft.unlink()
        sync_folder(path.parent)


def forget_log(guard: SignGuard) -> None:
    """Note that nobody knows what the keys have signed, so that no log is believed to say so."""
    unknown = replace(
        guard.state,
        instance=make_instance(),
        reserved_view=UNKNOWN_VIEW,
        log_end=_NO_LOG,
    )
    guard.save(unknown, durable=True)


def _encode(sequence: int, state: GuardState) -> bytes:
    fields = _FIELDS.pack(
        _MAGIC,
        _VERSION,
        sequence,
        state.chain_id,
        state.instance,
        state.reserved_view,
        state.floor_view,
        *state.log_end,
    )
    return fields + struct.pack(">I", zlib.crc32(fields))


def _decode(slot: bytes) -> tuple[int, GuardState] | None:
    """Return sequence number and state of a slot, or None if it holds nothing whole."""
    fields, checksum = slot[: _FIELDS.size], slot[_FIELDS.size : _FIELDS.size + 4]
    if len(checksum) != 4 or struct.pack(">I", zlib.crc32(fields)) != checksum:
        return None
    magic, version, sequence, chain_id, instance, reserved, floor, segment, size = _FIELDS.unpack(
        fields
    )
    if (magic, version) != (_MAGIC, _VERSION):
        return None
    return sequence, GuardState(chain_id, instance, reserved, floor, LogEnd(segment, size))
