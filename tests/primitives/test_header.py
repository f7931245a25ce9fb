from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.codec import encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX
from primitives.hashing import ZERO_HASH, Tag, tagged_hash
from primitives.header import HEADER_BYTES_MAX, BlockHeader, decode_header

hashes = st.binary(min_size=32, max_size=32)
counters = st.integers(0, COUNTER_MAX)
headers = st.builds(
    BlockHeader,
    protocol_version=st.integers(1, 2**16 - 1),
    chain_id=hashes,
    epoch=counters,
    height=counters,
    view=counters,
    parent_id=hashes,
    parent_view=counters,
    timestamp_ms=counters,
    proposer=st.integers(0, 99),
    body_root=hashes,
    next_validators_hash=hashes,
)
HEADER = BlockHeader(
    1, b"c" * 32, 0, 5, 7, b"p" * 32, 6, 1_700_000_000_000, 3, b"r" * 32, b"n" * 32
)


@given(headers)
def test_a_header_survives_as_bytes(header):
    data = header.encode()
    assert decode_header(data) == header
    assert decode_header(data).block_id == header.block_id == tagged_hash(Tag.BLOCK_HEADER, data)


@given(st.binary(max_size=HEADER_BYTES_MAX + 1))
def test_other_bytes_are_refused(data):
    with pytest.raises(InvalidInputError):
        decode_header(data)


def test_the_largest_header_fits_its_limit():
    largest = BlockHeader(
        2**16 - 1,
        ZERO_HASH,
        *[COUNTER_MAX] * 3,
        ZERO_HASH,
        *[COUNTER_MAX] * 2,
        99,
        ZERO_HASH,
        ZERO_HASH,
    )
    assert len(largest.encode()) == 186 <= HEADER_BYTES_MAX


def test_a_frozen_header_has_its_frozen_id():
    assert HEADER.encode().hex() == (
        "9b01c420"
        + "63" * 32
        + "000507c420"
        + "70" * 32
        + "06cf0000018bcfe5680003c420"
        + "72" * 32
        + "c420"
        + "6e" * 32
    )
    assert HEADER.block_id.hex() == (
        "331d8ad285011d29a396b3084330bbb55a64d6397706a79968b626ce080c9f9c"
    )


@pytest.mark.parametrize("position", range(11))
def test_every_field_enters_the_id(position):
    name = list(HEADER.__dataclass_fields__)[position]
    value = getattr(HEADER, name)
    changed = replace(HEADER, **{name: value + 1 if isinstance(value, int) else b"x" * 32})
    assert changed.block_id != HEADER.block_id


@pytest.mark.parametrize(
    ("position", "value", "code"),
    [
        (0, 0, "out_of_range"),
        (0, 2**16, "out_of_range"),
        (1, b"c" * 31, "malformed"),
        (2, -1, "out_of_range"),
        (3, COUNTER_MAX + 1, "out_of_range"),
        (4, True, "malformed"),
        (5, b"p" * 33, "malformed"),
        (6, None, "malformed"),
        (7, b"", "malformed"),
        (8, 100, "out_of_range"),
        (9, "r" * 32, "malformed"),
        (10, b"n" * 31, "malformed"),
    ],
)
def test_a_field_out_of_its_range_is_refused(position, value, code):
    fields = list(astuple(HEADER))
    fields[position] = value
    with pytest.raises(InvalidInputError) as caught:
        decode_header(encode(fields))
    assert caught.value.code == code
    assert caught.value.field == f"header.{list(HEADER.__dataclass_fields__)[position]}"


@pytest.mark.parametrize("count", [10, 12])
def test_missing_and_added_fields_are_refused(count):
    with pytest.raises(InvalidInputError, match="must have 11 fields"):
        decode_header(encode([*astuple(HEADER), 0][:count]))
