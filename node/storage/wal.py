"""The write-ahead log of consensus: records appended to segment files, synced before votes leave.

A record on disk is its tag (u64), its length (u32), a CRC-32 of both and the bytes, and the bytes.
Segments are named by a running number. A write that a crash tore is at the end of the last segment
and is cut off; anything else that does not read back means that the disk lost what was promised,
and the log refuses to open: the operator has to decide. Whole segments are deleted once every
record in them is needless.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from primitives.errors import CorruptStateError

__all__ = ["WriteAheadLog"]

SEGMENT_BYTES_MAX = 16 * 1024 * 1024
_HEADER = struct.Struct(">QIII")
_MAGIC = 0x5157414C


@dataclass(slots=True)
class _Segment:
    """One file of the log; ``highest_tag`` is -1 while it is empty."""

    number: int
    path: Path
    highest_tag: int


class WriteAheadLog:
    """An append-only log in one folder.

    Parameters
    ----------
    folder
        Made when it is missing.

    Raises
    ------
    CorruptStateError
        A record before the torn end does not read back.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._records: list[bytes] = []
        self._segments = [
            _Segment(int(path.stem), path, -1) for path in sorted(folder.glob("*.wal"))
        ]
        for segment in self._segments:
            self._load(segment, is_last=segment is self._segments[-1])
        self._file = self._open_segment()

    def records(self) -> list[bytes]:
        """Return what the log held when it was opened, in the order in which it was appended."""
        return self._records

    def append(self, record: bytes, tag: int) -> None:
        """Append a record; it is durable after the next :meth:`sync`.

        Parameters
        ----------
        tag
            A number ≥ 0; :meth:`prune` deletes by it.
        """
        if self._file.tell() >= SEGMENT_BYTES_MAX:
            self.sync()
            self._file.close()
            self._file = self._start_segment()
        self._file.write(_encode_header(record, tag))
        self._file.write(record)
        segment = self._segments[-1]
        segment.highest_tag = max(segment.highest_tag, tag)

    def sync(self) -> None:
        """Return once everything appended survives a loss of power."""
        self._file.flush()
        os.fdatasync(self._file.fileno())

    def prune(self, below_tag: int) -> None:
        """Delete whole segments of which every record has a tag below ``below_tag``."""
        kept = self._segments[-1:]
        removed = False
        for segment in self._segments[:-1]:
            if segment.highest_tag < below_tag:
                segment.path.unlink()
                removed = True
            else:
                kept.insert(-1, segment)
        self._segments = kept
        if removed:
            _sync_folder(self._folder)

    def close(self) -> None:
        """Sync and close."""
        if not self._file.closed:
            self.sync()
            self._file.close()

    def _load(self, segment: _Segment, *, is_last: bool) -> None:
        data = segment.path.read_bytes()
        position = 0
        for start, tag, record in _parse(data):
            self._records.append(record)
            segment.highest_tag = max(segment.highest_tag, tag)
            position = start + _HEADER.size + len(record)
        if position == len(data):
            return
        if not is_last or _holds_record_after(data, position):
            raise CorruptStateError(
                f"{segment.path} does not read back at byte {position}: the disk lost records that"
                " votes were based on; restore it, or start with a new validator key"
            )
        with segment.path.open("r+b") as file:
            file.truncate(position)
            os.fsync(file.fileno())

    def _open_segment(self) -> BinaryIO:
        if self._segments:
            return self._segments[-1].path.open("ab")
        return self._start_segment()

    def _start_segment(self) -> BinaryIO:
        number = self._segments[-1].number + 1 if self._segments else 0
        path = self._folder / f"{number:012d}.wal"
        file = path.open("xb")
        _sync_folder(self._folder)
        self._segments.append(_Segment(number, path, -1))
        return file


def _encode_header(record: bytes, tag: int) -> bytes:
    checked = struct.pack(">QI", tag, len(record))
    return _HEADER.pack(tag, len(record), zlib.crc32(record, zlib.crc32(checked)), _MAGIC)


def _read_at(data: bytes, position: int) -> tuple[int, bytes] | None:
    """Return tag and bytes of the record at a position, or None if there is no whole one."""
    start = position + _HEADER.size
    if start > len(data):
        return None
    tag, length, checksum, magic = _HEADER.unpack_from(data, position)
    record = data[start : start + length]
    checked = struct.pack(">QI", tag, length)
    if magic != _MAGIC or len(record) != length:
        return None
    if zlib.crc32(record, zlib.crc32(checked)) != checksum:
        return None
    return tag, record


def _parse(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield position, tag and bytes of every whole record from the start."""
    position = 0
    while (found := _read_at(data, position)) is not None:
        tag, record = found
        yield position, tag, record
        position += _HEADER.size + len(record)


def _holds_record_after(data: bytes, position: int) -> bool:
    """Return whether a whole record follows what does not read back: then it is no torn end."""
    marker = struct.pack(">I", _MAGIC)
    offset = _HEADER.size - len(marker)
    found = data.find(marker, position + offset + 1)
    while found != -1:
        if _read_at(data, found - offset) is not None:
            return True
        found = data.find(marker, found + 1)
    return False


def _sync_folder(folder: Path) -> None:
    """Make the creation or deletion of files in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
