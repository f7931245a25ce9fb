"""Frames read back as they were written, and strange bytes are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.payload import Payload
from node.api.feed_frames import (
    FRAME_BYTES_MAX,
    BatchPart,
    Frame,
    Hello,
    NodeStatus,
    PayloadReply,
    PayloadRequest,
    Refusal,
    SnapshotEnd,
    SnapshotPart,
    StatusReply,
    StatusRequest,
    SubmitReply,
    SubmitRequest,
    Welcome,
    decode_frame,
    encode_frame,
)
from primitives import codec
from primitives.errors import InvalidInputError
from tests.helpers.api import make_healthy_report

HASHES = st.binary(min_size=32, max_size=32)
COUNTERS = st.integers(min_value=0, max_value=2**63 - 1)
PAIRS = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=80)), max_size=20).map(tuple)
PAYLOADS = st.builds(Payload, HASHES, st.binary(max_size=200))
TEXTS = st.text(max_size=50)
REFUSALS = st.none() | st.builds(
    Refusal, TEXTS, TEXTS, st.none() | TEXTS, st.none() | TEXTS, st.none() | TEXTS
)
STATUSES = st.builds(
    NodeStatus,
    TEXTS,
    st.none() | COUNTERS,
    COUNTERS,
    COUNTERS,
    COUNTERS,
    COUNTERS,
    COUNTERS,
    COUNTERS,
    st.booleans(),
    TEXTS,
    st.lists(st.tuples(TEXTS, COUNTERS), max_size=5).map(tuple),
    st.just(make_healthy_report()),
)
FRAMES = st.one_of(
    st.builds(Hello, st.none() | COUNTERS, st.none() | HASHES),
    st.builds(Welcome, HASHES, COUNTERS, st.booleans()),
    st.builds(SnapshotPart, PAIRS),
    st.builds(SnapshotEnd, COUNTERS),
    st.builds(
        BatchPart, COUNTERS, st.booleans(), PAIRS, st.lists(st.binary(max_size=40)).map(tuple)
    ),
    st.builds(SubmitRequest, COUNTERS, st.binary(max_size=200), st.none() | PAYLOADS),
    st.builds(SubmitReply, COUNTERS, REFUSALS),
    st.builds(StatusRequest, COUNTERS),
    st.builds(StatusReply, COUNTERS, STATUSES),
    st.builds(PayloadRequest, COUNTERS, HASHES),
    st.builds(PayloadReply, COUNTERS, REFUSALS, st.none() | PAYLOADS),
)


@given(FRAMES)
def test_every_frame_reads_back_as_it_was_written(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    try:
        decode_frame(data)
    except InvalidInputError as error:
        assert error.code in {"malformed", "not_canonical", "too_large", "out_of_range"}


@pytest.mark.parametrize(
    "value",
    [[], 7, [99], [True, 1, None, None], [5, 1, True, [b"key"], []], [5, 1, True, [], ["text"]]],
    ids=["empty", "no array", "unknown kind", "boolean kind", "odd puts", "text key"],
)
def test_a_frame_of_another_form_is_malformed(value: codec.Encodable) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_frame(codec.encode(value))
    assert caught.value.code == "malformed"


def test_a_hello_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_frame(codec.encode([1, 2, None, None]))
    assert caught.value.field == "hello frame.version"


def test_a_frame_above_the_limit_is_not_written() -> None:
    part = SnapshotPart(((b"key", bytes(FRAME_BYTES_MAX)),))
    with pytest.raises(InvalidInputError) as caught:
        encode_frame(part)
    assert caught.value.code == "too_large"
    assert caught.value.limit == FRAME_BYTES_MAX


def test_a_refusal_carries_bytes_as_hexadecimal_and_cuts_what_is_long() -> None:
    error = InvalidInputError("malformed", "ä" * 9_000, field="id", value=b"\x01\xff", limit=3)
    refusal = Refusal.from_error(error)
    assert refusal.value == "01ff"
    assert refusal.limit == "3"
    assert len(refusal.message.encode()) <= 4096
    assert decode_frame(encode_frame(SubmitReply(1, refusal))) == SubmitReply(1, refusal)


def test_a_refusal_becomes_the_error_that_it_was_made_of() -> None:
    refusal = Refusal("nonce_gap", "nonce 9 leaves a gap", "nonce", "9", "7")
    error = refusal.to_error()
    assert (error.code, error.message) == ("nonce_gap", "nonce 9 leaves a gap")
    assert (error.field, error.value, error.limit) == ("nonce", "9", "7")
