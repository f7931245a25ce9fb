from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.frames import (
    FRAME_HEADER_BYTES,
    Channel,
    decode_frame_header,
    encode_frame,
    get_cap_bytes,
)
from primitives.errors import InvalidInputError


@given(st.sampled_from(Channel), st.binary(max_size=16))
def test_a_frame_reads_back(channel: Channel, data: bytes) -> None:
    frame = encode_frame(channel, data)
    assert decode_frame_header(frame[:FRAME_HEADER_BYTES]) == (channel, len(data))
    assert frame[FRAME_HEADER_BYTES:] == data


@given(st.binary(min_size=FRAME_HEADER_BYTES, max_size=FRAME_HEADER_BYTES))
def test_any_header_is_read_within_the_caps_or_refused(header: bytes) -> None:
    try:
        channel, size = decode_frame_header(header)
    except InvalidInputError as error:
        assert error.code in {"malformed", "too_large"}
    else:
        assert 0 <= size <= get_cap_bytes(channel)


def test_the_bytes_of_a_frame_are_fixed() -> None:
    assert encode_frame(Channel.CONSENSUS_VOTE, b"abc") == b"\x00\x00\x00\x04\x01abc"
    assert [(channel.name, channel.value) for channel in Channel] == [
        ("HELLO", 0),
        ("CONSENSUS_VOTE", 1),
        ("CONSENSUS_CERTIFICATE", 2),
        ("CONSENSUS_PROPOSAL", 3),
        ("SYNC", 4),
        ("TRANSACTION", 5),
        ("PING", 6),
        ("SNAPSHOT", 7),
    ]


@pytest.mark.parametrize("channel", Channel)
def test_a_channel_carries_its_cap_and_not_one_byte_more(channel: Channel) -> None:
    cap = get_cap_bytes(channel)
    assert decode_frame_header(encode_frame(channel, bytes(cap))[:FRAME_HEADER_BYTES])[1] == cap
    with pytest.raises(InvalidInputError) as caught:
        encode_frame(channel, bytes(cap + 1))
    assert (caught.value.code, caught.value.value, caught.value.limit) == (
        "too_large",
        cap + 1,
        cap,
    )
    with pytest.raises(InvalidInputError, match=channel.name):
        decode_frame_header((cap + 2).to_bytes(4, "big") + bytes([channel]))


def test_a_frame_without_a_channel_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"frame\.length is 0"):
        decode_frame_header(bytes(FRAME_HEADER_BYTES))


def test_an_unknown_channel_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"frame\.channel 8 is unknown"):
        decode_frame_header(b"\x00\x00\x00\x01\x08")
