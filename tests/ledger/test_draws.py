"""Chance from blocks to come: put on record once, at the height that was asked for."""

from __future__ import annotations

from ledger.draws import (
    Draw,
    decode_draw,
    draw_key,
    fulfil_draw,
    read_draw,
    read_drawn_ms,
    request_draw,
)
from ledger.schema import ParentBlock
from ledger.state import BlockState
from tests.helpers.ledger import Chain, make_network


def describe_block(height: int, block_id: bytes) -> ParentBlock:
    return ParentBlock(height, block_id, bytes(32), bytes(32))


def test_block_that_somebody_waits_for_is_put_on_record_and_no_other() -> None:
    state = BlockState([], Chain(make_network()).store.tip_state)
    assert read_draw(state, 5) is read_drawn_ms(state, 5) is None
    request_draw(state, 5)  # type: ignore[arg-type]
    assert read_draw(state, 5) is read_drawn_ms(state, 5) is None
    for height in (4, 5, 6):
        fulfil_draw(state, describe_block(height, bytes([height]) * 32), 1_000 + height)
    assert (read_draw(state, 5), read_drawn_ms(state, 5)) == (b"\x05" * 32, 1_005)
    assert state.get(draw_key(4), decode_draw) is state.get(draw_key(6), decode_draw) is None


def test_draw_is_read_back() -> None:
    for draw in (Draw(), Draw(b"\x01" * 32, 7)):
        assert decode_draw(draw.encode()) == draw
