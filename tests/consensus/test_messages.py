"""Messages on the wire: what is sent is what is read, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.messages import (
    Block,
    BlockRequest,
    BlockResponse,
    BlocksRequest,
    BlocksResponse,
    CertificateBatch,
    CertificateMessage,
    Message,
    PrePrepare,
    Status,
    Vote,
    decode_message,
    decode_pre_prepare,
    decode_vote,
    encode_message,
)
from consensus.parameters import BLOCKS_PER_RESPONSE_MAX, GAP_CERTIFICATES_MAX
from primitives.certificates import Certificate, VoteKind
from primitives.codec import Encodable, encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader

counters = st.integers(0, COUNTER_MAX)
hashes = st.binary(min_size=32, max_size=32).filter(lambda value: value != ZERO_HASH)
signatures = st.binary(min_size=64, max_size=64)
indices = st.integers(0, 99)


@st.composite
def subjects(draw: st.DrawFn) -> tuple[VoteKind, bytes, bytes]:
    kind = draw(st.sampled_from(list(VoteKind)))
    block_id = ZERO_HASH if kind is VoteKind.VIEW_CHANGE else draw(hashes)
    return kind, block_id, draw(hashes) if kind is VoteKind.COMMIT else ZERO_HASH


@st.composite
def certificates(draw: st.DrawFn) -> Certificate:
    kind, block_id, root = draw(subjects())
    signers = tuple(sorted(draw(st.sets(indices, max_size=4))))
    signed = tuple(draw(signatures) for _ in signers)
    return Certificate(kind, draw(counters), draw(counters), block_id, root, signers, signed)


@st.composite
def votes(draw: st.DrawFn) -> Vote:
    kind, block_id, root = draw(subjects())
    return Vote(
        kind, draw(counters), draw(counters), block_id, root, draw(indices), draw(signatures)
    )


headers = st.builds(
    BlockHeader,
    protocol_version=st.integers(1, 3),
    chain_id=hashes,
    epoch=counters,
    height=counters,
    view=counters,
    parent_id=hashes,
    parent_view=counters,
    timestamp_ms=counters,
    proposer=indices,
    body_root=hashes,
)
bodies = st.binary(max_size=64)
blocks = st.builds(Block, headers, bodies)
optional_certificates = st.none() | certificates()
pre_prepares = st.builds(
    PrePrepare,
    headers,
    bodies,
    optional_certificates,
    st.lists(certificates(), max_size=2).map(tuple),
    signatures,
)
statuses = st.tuples(counters, counters, counters).map(
    lambda drawn: Status(0, max(drawn[0], drawn[2]), drawn[1], min(drawn[0], drawn[2]))
)
messages = st.one_of(
    pre_prepares,
    votes(),
    st.builds(CertificateMessage, certificates()),
    st.builds(CertificateBatch, st.lists(certificates(), max_size=3).map(tuple)),
    statuses,
    st.builds(BlockRequest, hashes),
    st.builds(BlockResponse, pre_prepares),
    st.builds(BlocksRequest, st.integers(1, COUNTER_MAX), st.integers(1, BLOCKS_PER_RESPONSE_MAX)),
    st.builds(BlocksResponse, st.lists(blocks, max_size=3).map(tuple), optional_certificates),
)

VOTE = Vote(VoteKind.PREPARE, 0, 1, b"b" * 32, ZERO_HASH, 2, bytes(64))


@given(messages)
def test_a_message_is_read_as_it_was_sent(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(messages, st.data())
def test_a_changed_byte_is_refused_or_is_another_message(
    message: Message, data: st.DataObject
) -> None:
    encoded = bytearray(encode_message(message))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_message(bytes(encoded))
    except InvalidInputError:
        return
    assert encode_message(decoded) == bytes(encoded)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    try:
        decode_message(data)
    except InvalidInputError as error:
        assert error.code in {"malformed", "not_canonical", "too_large", "out_of_range"}


@pytest.mark.parametrize(
    "value",
    [
        7,
        [],
        ["vote"],
        [0],
        [10],
        [True, b"x" * 32],
        [6, b"x" * 31],
        [7, b"", b"", None, [], bytes(64)],
        [8, 0, 1],
        [8, 1, 0],
        [8, 1, BLOCKS_PER_RESPONSE_MAX + 1],
        [9, [[b"", b""]], None],
        [9, [], 5],
        [4, [5]],
        [5, 3, 0, 4],
    ],
)
def test_an_ill_formed_message_is_refused(value: Encodable) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        decode_message(encode(value))
    assert refusal.value.code in {"malformed", "out_of_range", "too_large"}


def test_a_message_above_the_limit_is_refused_unread() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        decode_message(encode_message(VOTE), bytes_max=10)
    assert refusal.value.code == "too_large"


def test_a_vote_that_names_what_its_kind_does_not_is_refused() -> None:
    fields = [2, int(VoteKind.VIEW_CHANGE), 0, 1, b"b" * 32, ZERO_HASH, 2, bytes(64)]
    with pytest.raises(InvalidInputError):
        decode_message(encode(fields))


def test_more_gap_certificates_than_allowed_are_refused() -> None:
    certificate = Certificate(VoteKind.VIEW_CHANGE, 0, 1, ZERO_HASH, ZERO_HASH, (), ())
    header = BlockHeader(1, b"c" * 32, 0, 1, 1, b"p" * 32, 0, 1, 1, b"r" * 32)
    gap = (certificate,) * (GAP_CERTIFICATES_MAX + 1)
    with pytest.raises(InvalidInputError) as refusal:
        decode_message(encode_message(PrePrepare(header, b"", None, gap, bytes(64))))
    assert refusal.value.code == "too_large"


def test_one_kind_of_message_is_not_read_as_another() -> None:
    status = encode_message(Status(0, 1, 0, 1))
    assert decode_vote(VOTE.encode()) == VOTE
    for decode in (decode_vote, decode_pre_prepare):
        with pytest.raises(InvalidInputError):
            decode(status)


def test_a_proposal_and_its_block_have_one_id() -> None:
    header = BlockHeader(1, b"c" * 32, 0, 1, 1, b"p" * 32, 0, 1, 1, b"r" * 32)
    pre_prepare = PrePrepare(header, b"body", None, (), bytes(64))
    assert pre_prepare.block.block_id == pre_prepare.block_id == header.block_id
