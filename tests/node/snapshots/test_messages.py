"""Every message comes back as it was; whatever else arrives is refused, cheaply."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.snapshot import CHUNK_BYTES_MAX
from node.snapshots.messages import (
    EPOCH_ENDS_MAX,
    MESSAGE_BYTES_MAX,
    PAYLOADS_MAX,
    TENSORS_MAX,
    Chunk,
    ChunkRequest,
    EpochEnds,
    EpochEndsRequest,
    Message,
    Offer,
    OfferRequest,
    PayloadItem,
    Payloads,
    PayloadsRequest,
    TensorItem,
    Tensors,
    TensorsRequest,
    decode_message,
    encode_message,
)
from primitives.codec import encode
from primitives.errors import InvalidInputError

ID = bytes(range(32))
EXAMPLES: list[Message] = [
    OfferRequest(),
    Offer(7, b""),
    Offer(2**63 - 1, b"manifest"),
    ChunkRequest(ID, 0),
    Chunk(ID, 65_535, b""),
    Chunk(ID, 3, bytes(CHUNK_BYTES_MAX)),
    EpochEndsRequest(0),
    EpochEnds(4, ()),
    EpochEnds(4, (b"end",) * EPOCH_ENDS_MAX),
    TensorsRequest((ID,) * TENSORS_MAX),
    Tensors((TensorItem(ID, bytes(65_536)), TensorItem(ID, b""))),
    PayloadsRequest((ID,) * PAYLOADS_MAX),
    Payloads((PayloadItem(ID, b"envelope", bytes(32), b"data"), PayloadItem(ID, b"", b"", b""))),
]


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda each: type(each).__name__)
def test_a_message_comes_back(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode([]),
        encode([0]),
        encode([13]),
        encode([True]),
        encode(["1"]),
        encode([1, 1]),
        encode([2, 7]),
        encode([2, -1, b""]),
        encode([3, ID[1:], 0]),
        encode([3, ID, 65_536]),
        encode([4, ID, 0, bytes(CHUNK_BYTES_MAX + 1)]),
        encode([4, ID, 0, "text"]),
        encode([6, 0, [b""] * (EPOCH_ENDS_MAX + 1)]),
        encode([6, 0, [1]]),
        encode([7, [ID] * (TENSORS_MAX + 1)]),
        encode([7, [b"short"]]),
        encode([8, [[ID, bytes(65_537)]]]),
        encode([8, [[ID]]]),
        encode([9, [ID] * (PAYLOADS_MAX + 1)]),
        encode([10, [[ID, b"", bytes(33), b""]]]),
        encode([1]) + b"\x00",
        b"\x91\xcc\x01",
        bytes(MESSAGE_BYTES_MAX + 1),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_message(data)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(EXAMPLES), st.data())
def test_changed_bytes_are_refused_or_another_message(
    message: Message, data: st.DataObject
) -> None:
    encoded = bytearray(encode_message(message)[:200])
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] = data.draw(st.integers(0, 255))
    try:
        found = decode_message(bytes(encoded))
    except InvalidInputError:
        return
    assert encode_message(found) == bytes(encoded)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_raise_anything_else(data: bytes) -> None:
    try:
        found = decode_message(data)
    except InvalidInputError:
        return
    assert encode_message(found) == data
