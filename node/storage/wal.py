"""The write-ahead log of consensus: records appended to segment files, synced before votes leave.

Theory of operation
-------------------
A segment begins with a magic number, the format's version, the segment's number, eight random
bytes and a CRC-32 of these. A record is a header and the bytes. The header is a marker, the tag
(u64), the length (u32), how much of the segment was synced when the record was appended (u64), a
CRC-32 of the bytes, and one of the header that the random bytes of the segment seed: what a peer
sends us to keep cannot contain what reads as a record.

A crash may leave anything in what was not synced yet: half a record, or a whole one behind one that
is missing, since pages reach the disk in any order. So when a record does not read back, every
record behind it is asked how far the segment was synced. If that is beyond the damage, the disk
lost what was promised, and the log refuses to open: the operator has to decide. Otherwise nobody
was promised anything, and the end is cut off.

Invariants: (L1) what was synced reads back, or the log does not open; (L2) segments are deleted
oldest first and numbered without gaps, so a lost one is noticed; (L3) after a failed write nothing
more is written, since what the disk holds then is unknown until the next opening.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from node.storage.file_system import AppendFile, FileSystem, LocalFileSystem
from primitives.errors import CorruptStateError, InvariantViolationError

__all__ = ["SEGMENT_BYTES_MAX", "WriteAheadLog"]

SEGMENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""A segment takes no more records once it is this large."""

_MAGIC: Final = b"QWAL"
_VERSION: Final = 1
_SEED_BYTES: Final = 8
_PREAMBLE: Final = struct.Struct(f">4sIQ{_SEED_BYTES}s")
_PREAMBLE_BYTES: Final = _PREAMBLE.size + 4

_MARKER: Final = b"qrec"
_FIELDS: Final = struct.Struct(">QIQI")
_HEADER: Final = struct.Struct(">4sQIQII")


class _Record(NamedTuple):
    position: int
    tag: int
    synced_bytes: int
    data: bytes

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return self.position + _HEADER.size + len(self.data)


@dataclass(slots=True)
class _Segment:
    """One file of the log; ``highest_tag`` is -1 while it is empty."""

    number: int
    path: Path
    seed: bytes
    highest_tag: int = -1


class WriteAheadLog:
    """An append-only log in one folder; one thread at a time.

    Parameters
    ----------
    folder
        Made when it is missing.
    segment_bytes_max
        A segment takes no more records once it is this large.
    files
        The disk.
    draw_bytes
        Returns so many random bytes.

    Raises
    ------
    CorruptStateError
        A record that was synced does not read back, a segment is missing, or the folder holds
        another version's log.
    """

    def __init__(
        self,
        folder: Path,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        files: FileSystem | None = None,
        draw_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._files = files or LocalFileSystem()
        self._files.make_folder(folder)
        self._draw_bytes = draw_bytes
        self._folder = folder
        self._segment_bytes_max = segment_bytes_max
        self._segments: list[_Segment] = []
        self._is_broken = False
        self._is_closed = False
        paths = self._files.list_files(folder, ".wal")
        for path in paths:
            self._open_segment(path, is_last=path is paths[-1])
        self._file = (
            self._files.open_end(self._segments[-1].path)
            if self._segments
            else self._start_segment(0)
        )
        self._synced = self._file.size

    def records(self) -> list[bytes]:
        """Return what is in the log, in the order in which it was appended; read from disk."""
        self._file.flush()
        return [
            record.data
            for segment in self._segments
            for record in _read_records(self._files.read(segment.path), segment.seed)
        ]

    def append(self, record: bytes, tag: int) -> None:
        """Append a record; it is durable after the next :meth:`sync`.

        Parameters
        ----------
        record
            Opaque bytes.
        tag
            A number ≥ 0; :meth:`prune` deletes by it.
        """
        self._check_usable()
        if self._file.size >= self._segment_bytes_max:
            self._rotate()
        segment = self._segments[-1]
        header = _encode_header(record, tag, self._synced, segment.seed)
        self._write(header + record)
        segment.highest_tag = max(segment.highest_tag, tag)

    def sync(self) -> None:
        """Return once everything appended survives a loss of power.

        Raises
        ------
        OSError
            The disk failed; the log takes nothing more.
        """
        self._check_usable()
        if self._synced == self._file.size:
            return
        self._is_broken = True
        self._file.sync()
        self._is_broken = False
        self._synced = self._file.size

    def prune(self, below_tag: int) -> None:
        """Delete the oldest segments of which every record has a tag below ``below_tag``."""
        pruned = 0
        for segment in self._segments[:-1]:
            if segment.highest_tag >= below_tag:
                break
            self._files.delete(segment.path)
            # Each deletion on its own: a crash must not leave a gap.
            self._files.sync_folder(self._folder)
            pruned += 1
        del self._segments[:pruned]

    def close(self) -> None:
        """Sync and close; nothing happens the second time."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if not self._is_broken:
                self.sync()
        finally:
            self._file.close()

    def _check_usable(self) -> None:
        if self._is_broken:
            raise InvariantViolationError(
                f"a write to {self._folder} failed before; the log must be opened anew"
            )

    def _write(self, data: bytes) -> None:
        self._is_broken = True
        self._file.write(data)
        self._is_broken = False

    def _rotate(self) -> None:
        self.sync()
        self._file.close()
        self._file = self._start_segment(self._segments[-1].number + 1)
        self._synced = self._file.size

    def _start_segment(self, number: int) -> AppendFile:
        segment = _Segment(number, self._name(number), self._draw_bytes(_SEED_BYTES))
        # What fails here leaves the log without a file to append to.
        self._is_broken = True
        file = self._files.create(segment.path)
        file.write(_encode_preamble(number, segment.seed))
        file.sync()
        self._files.sync_folder(self._folder)
        self._is_broken = False
        self._segments.append(segment)
        return file

    def _open_segment(self, path: Path, *, is_last: bool) -> None:
        number = self._segments[-1].number + 1 if self._segments else _read_number(path)
        if path != self._name(number):
            raise CorruptStateError(f"{self._name(number)} is missing from the write-ahead log")
        data = self._files.read(path)
        seed = _decode_preamble(data, number)
        if seed is None and is_last and len(data) <= _PREAMBLE_BYTES:
            # A crash hit while the segment was begun; it holds nothing.
            self._files.delete(path)
            self._files.sync_folder(self._folder)
            return
        if seed is None:
            raise CorruptStateError(f"{path} is no segment of version {_VERSION} of the log")
        segment = _Segment(number, path, seed)
        end = _PREAMBLE_BYTES
        for record in _read_records(data, seed):
            segment.highest_tag = max(segment.highest_tag, record.tag)
            end = record.end
        if end != len(data):
            if not is_last or _is_promised(data, end, seed):
                raise CorruptStateError(
                    f"{path} does not read back at byte {end}: the disk lost records that votes"
                    " were based on; restore it, or start with a new validator key"
                )
            self._files.truncate(path, end)
        self._segments.append(segment)

    def _name(self, number: int) -> Path:
        return self._folder / f"{number:012d}.wal"


def _read_number(path: Path) -> int:
    try:
        return int(path.stem)
    except ValueError as error:
        raise CorruptStateError(f"{path} is no segment of the write-ahead log") from error


def _encode_preamble(number: int, seed: bytes) -> bytes:
    preamble = _PREAMBLE.pack(_MAGIC, _VERSION, number, seed)
    return preamble + struct.pack(">I", zlib.crc32(preamble))


def _decode_preamble(data: bytes, number: int) -> bytes | None:
    """Return the seed of a segment, or None if it does not begin as this one should."""
    if len(data) < _PREAMBLE_BYTES:
        return None
    seed: bytes = _PREAMBLE.unpack_from(data)[-1]
    return seed if data[:_PREAMBLE_BYTES] == _encode_preamble(number, seed) else None


def _encode_header(record: bytes, tag: int, synced_bytes: int, seed: bytes) -> bytes:
    fields = _FIELDS.pack(tag, len(record), synced_bytes, zlib.crc32(record))
    return _MARKER + fields + struct.pack(">I", zlib.crc32(seed + fields))


def _read_at(data: bytes, position: int, seed: bytes) -> _Record | None:
    """Return the record at a position, or None if there is no whole one."""
    start = position + _HEADER.size
    if start > len(data):
        return None
    marker, tag, length, synced_bytes, checksum, header_checksum = _HEADER.unpack_from(
        data, position
    )
    fields = data[position + len(_MARKER) : start - 4]
    # The header first: bytes that only look like one must not make us read what they announce.
    if marker != _MARKER or zlib.crc32(seed + fields) != header_checksum:
        return None
    record = data[start : start + length]
    if len(record) != length or zlib.crc32(record) != checksum:
        return None
    return _Record(position, tag, synced_bytes, record)


def _read_records(data: bytes, seed: bytes) -> Iterator[_Record]:
    """Yield every whole record from the start of a segment to the first that is none."""
    position = _PREAMBLE_BYTES
    while (record := _read_at(data, position, seed)) is not None:
        yield record
        position = record.end


def _is_promised(data: bytes, position: int, seed: bytes) -> bool:
    """Return whether a record behind a damaged place says that the place had been synced."""
    found = data.find(_MARKER, position + 1)
    while found != -1:
        record = _read_at(data, found, seed)
        if record is not None and record.synced_bytes > position:
            return True
        found = data.find(_MARKER, found + 1)
    return False
