"""Chance from blocks to come: somebody names a height, and that block's id is put on record.

The record of the parent holds only the block before, so whoever waited could choose when to look.
Here the block is named before anybody knows it. What such chance is worth:
`ledger.hidden_pieces`. Source: docs/spec/ledger.md §5.10.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.schema import ParentBlock, StateReader, read_record
from ledger.state import BlockState
from ledger.transactions.kind import ExecutionContext
from primitives.codec import encode
from primitives.hashing import HASH_BYTES

__all__ = [
    "Draw",
    "decode_draw",
    "draw_key",
    "fulfil_draw",
    "read_draw",
    "read_drawn_ms",
    "request_draw",
]


@dataclass(frozen=True, slots=True)
class Draw:
    """What is known of the block at a height that somebody waits for.

    Parameters
    ----------
    block_id : of the block, None until it was built on.
    known_ms : time of the block that put it on record, 0 until then; what has to be done within
        some time after the draw is counted from here.
    """

    block_id: bytes | None = None
    known_ms: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.block_id, self.known_ms))


def decode_draw(data: bytes) -> Draw:
    """Return the draw whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "draw", 2)
    return Draw(reader.optional_bytes("block_id", HASH_BYTES), reader.counter("known_ms"))


def draw_key(height: int) -> bytes:
    """Return the state key of the draw at a height."""
    return b"draw/" + height.to_bytes(8, "big")


def request_draw(context: ExecutionContext, height: int) -> None:
    """Have the id of the block at a height, which must lie ahead, put on record."""
    context.put(draw_key(height), Draw())


def read_draw(state: StateReader, height: int) -> bytes | None:
    """Return the id of the block at a height that was asked for, or None until it is known."""
    draw = state.get(draw_key(height), decode_draw)
    return None if draw is None else draw.block_id


def read_drawn_ms(state: StateReader, height: int) -> int | None:
    """Return when the block at a height that was asked for became known, or None until then."""
    draw = state.get(draw_key(height), decode_draw)
    return None if draw is None or draw.block_id is None else draw.known_ms


def fulfil_draw(state: BlockState, parent: ParentBlock, now_ms: int) -> None:
    """Put the parent's id on record if somebody asked for its height; `now_ms` is the child's."""
    key = draw_key(parent.height)
    if state.get(key, decode_draw) is not None:
        state.put(key, Draw(parent.block_id, now_ms))
