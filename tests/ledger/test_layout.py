"""Stored keys sort as meant and read back; packed items stand alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.layout import (
    pack_items,
    split_transaction_place,
    split_versioned_key,
    transaction_place,
    unpack_item,
    unpack_items,
    versioned_key,
    versioned_prefix_range,
    versioned_range,
)
from primitives.errors import CorruptStateError

STATE_KEYS = st.binary(max_size=6) | st.lists(st.sampled_from([0, 1, 2, 254, 255]), max_size=6).map(
    bytes
)
HEIGHTS = st.integers(0, 2**64 - 1)


@given(STATE_KEYS, HEIGHTS)
def test_versioned_keys_read_back(key: bytes, height: int) -> None:
    assert split_versioned_key(versioned_key(key, height)) == (key, height)


@given(STATE_KEYS, HEIGHTS, STATE_KEYS, HEIGHTS)
def test_versioned_keys_sort_by_key_and_then_newest_first(
    key: bytes, height: int, other: bytes, other_height: int
) -> None:
    stored_order = versioned_key(key, height) < versioned_key(other, other_height)
    assert stored_order == ((key, -height) < (other, -other_height))


@given(STATE_KEYS, HEIGHTS, STATE_KEYS, HEIGHTS)
def test_a_range_holds_exactly_the_older_values_of_its_key(
    key: bytes, height: int, other: bytes, other_height: int
) -> None:
    start, stop = versioned_range(key, height)
    is_inside = start <= versioned_key(other, other_height) < stop
    assert is_inside == (other == key and other_height <= height)


@given(STATE_KEYS, STATE_KEYS, HEIGHTS)
def test_a_prefix_range_holds_exactly_the_keys_with_the_prefix(
    prefix: bytes, key: bytes, height: int
) -> None:
    start, stop = versioned_prefix_range(prefix)
    assert (start <= versioned_key(key, height) < stop) == key.startswith(prefix)


@given(st.lists(st.binary(max_size=5)))
def test_packed_items_read_back_one_by_one(items: list[bytes]) -> None:
    packed = pack_items(items)
    assert unpack_items(packed) == items
    with pytest.raises(CorruptStateError, match="missing"):
        unpack_item(packed, len(items))


@given(HEIGHTS, st.integers(0, 2**32 - 1))
def test_places_of_transactions_read_back(height: int, index: int) -> None:
    assert split_transaction_place(transaction_place(height, index)) == (height, index)
