"""Frames on a Unix domain socket: reading, cutting batches into parts, and where the socket lies.

A frame on the socket is its length, four bytes big-endian, and its bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from node.api.feed_frames import (
    FRAME_BYTES_MAX,
    BatchPart,
    Frame,
    Pair,
    SnapshotPart,
    decode_frame,
    encode_frame,
)
from primitives.errors import InvalidInputError

__all__ = [
    "BATCH_BYTES_MAX",
    "choose_socket_path",
    "frame_bytes",
    "read_frame",
    "split_batch",
    "split_snapshot",
]

PART_BYTES_MAX = 1024 * 1024
"""Bytes of keys and values after which a part is closed; one longer value makes a part alone."""

BATCH_BYTES_MAX = 256 * 1024 * 1024
"""Most that the parts of one batch may add up to before the reader gives up on it."""

DELETES_PER_PART_MAX = 8 * 1024

SOCKET_PATH_BYTES_MAX = 100
"""Longest path that every Unix can bind (Linux has 108 bytes, others 104)."""

_LENGTH_BYTES = 4


def choose_socket_path(home: Path) -> Path:
    """Return where the socket of the node at ``home`` lies.

    It lies in the home; if that path is too long for a Unix domain socket, in a private folder
    of this user under the system's temporary folder, under a name made from the home's path.
    """
    path = home.resolve() / "api" / "feed.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        return path
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"quorate-{os.getuid()}" / f"{name}.sock"


def frame_bytes(frame: Frame) -> bytes:
    """Return ``frame`` as it goes over the socket; raises ``too_large``."""
    data = encode_frame(frame)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


async def read_frame(stream: asyncio.StreamReader) -> Frame | None:
    """Return the next frame of ``stream``, or None when the other end is gone.

    Raises
    ------
    InvalidInputError
        The other end announced too long a frame, or the frame is malformed.
    """
    try:
        length = int.from_bytes(await stream.readexactly(_LENGTH_BYTES), "big")
        if length > FRAME_BYTES_MAX:
            raise InvalidInputError(
                "too_large",
                f"a frame of {length} bytes is announced, above the limit {FRAME_BYTES_MAX}",
                field="frame",
                value=length,
                limit=FRAME_BYTES_MAX,
            )
        return decode_frame(await stream.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def split_batch(height: int, puts: Sequence[Pair], deletes: Sequence[bytes]) -> Iterator[BatchPart]:
    """Return what one block wrote in parts of about ``PART_BYTES_MAX``; at least one part."""
    put_parts = list(_split_pairs(puts))
    delete_parts = [
        tuple(deletes[start : start + DELETES_PER_PART_MAX])
        for start in range(0, len(deletes), DELETES_PER_PART_MAX)
    ]
    # The last puts and the first deletes share a part: most batches then are a single frame.
    last_puts = put_parts.pop() if put_parts else ()
    first_deletes = delete_parts.pop(0) if delete_parts else ()
    for part in put_parts:
        yield BatchPart(height, False, part, ())
    yield BatchPart(height, not delete_parts, last_puts, first_deletes)
    for number, keys in enumerate(delete_parts, start=1):
        yield BatchPart(height, number == len(delete_parts), (), keys)


def split_snapshot(pairs: Iterable[Pair]) -> Iterator[SnapshotPart]:
    """Return the pairs of a store in parts of about ``PART_BYTES_MAX``."""
    for part in _split_pairs(pairs):
        yield SnapshotPart(part)


def _split_pairs(pairs: Iterable[Pair]) -> Iterator[tuple[Pair, ...]]:
    part: list[Pair] = []
    size = 0
    for key, value in pairs:
        part.append((key, value))
        size += len(key) + len(value)
        if size >= PART_BYTES_MAX:
            yield tuple(part)
            part, size = [], 0
    if part:
        yield tuple(part)
