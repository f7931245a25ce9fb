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

__all__ = ["Draw", "decode_draw", "draw_key", "fulfil_draw", "read_draw", "request_draw"]


@dataclass(frozen=True, slots=True)
class Draw:
    """What is known of the block at a height that somebody waits for.

    Parameters
    ----------
    block_id : of the block, None until it was built on.
    """

    block_id: bytes | None = None

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.block_id,))


def decode_draw(data: bytes) -> Draw:
    """Return the draw whose canonical bytes are `data`; raises as `read_record`."""
    return Draw(read_record(data, "draw", 1).optional_bytes("block_id", HASH_BYTES))


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


def fulfil_draw(state: BlockState, parent: ParentBlock) -> None:
    """Put the parent's id on record if somebody asked for its height."""
    key = draw_key(parent.height)
    if state.get(key, decode_draw) is not None:
        state.put(key, Draw(parent.block_id))
