from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.certificates import (
    CERTIFICATE_BYTES_MAX,
    Certificate,
    VoteKind,
    check_vote_subject,
    decode_certificate,
    verify_certificate,
    vote_signing_bytes,
)
from primitives.codec import encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX
from primitives.hashing import ZERO_HASH, Tag, tagged_hash
from primitives.keys import PrivateKey
from primitives.validator_set import ValidatorSet

CHAIN = b"c" * 32
BLOCK = b"b" * 32
STATE = b"s" * 32
KEYS = [PrivateKey(bytes([index]) * 32) for index in range(4)]
VALIDATORS = ValidatorSet(tuple(key.public_key for key in KEYS))
SUBJECTS = {
    VoteKind.PREPARE: (BLOCK, ZERO_HASH),
    VoteKind.COMMIT: (BLOCK, STATE),
    VoteKind.VIEW_CHANGE: (ZERO_HASH, ZERO_HASH),
}


def make_certificate(kind=VoteKind.COMMIT, signers=(0, 1, 3)):
    block_id, state_root = SUBJECTS[kind]
    message = vote_signing_bytes(CHAIN, 2, kind, 9, block_id, state_root)
    signatures = tuple(KEYS[signer].sign(message) for signer in signers)
    return Certificate(kind, 2, 9, block_id, state_root, signers, signatures)


def code_of(certificate, validators=VALIDATORS, chain_id=CHAIN):
    with pytest.raises(InvalidInputError) as caught:
        verify_certificate(certificate, validators, chain_id)
    return caught.value.code


@st.composite
def certificates(draw):
    kind = draw(st.sampled_from(VoteKind))
    signers = tuple(sorted(draw(st.sets(st.integers(0, 255), max_size=100))))
    signatures = tuple(bytes([signer]) * 64 for signer in signers)
    counters = st.integers(0, COUNTER_MAX)
    return Certificate(kind, draw(counters), draw(counters), *SUBJECTS[kind], signers, signatures)


@given(certificates())
def test_a_certificate_survives_as_bytes(certificate):
    assert decode_certificate(certificate.encode()) == certificate


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(data):
    with pytest.raises(InvalidInputError):
        decode_certificate(data)


def test_the_largest_certificate_fits_its_limit():
    signers = tuple(range(100))
    largest = Certificate(
        VoteKind.COMMIT, COUNTER_MAX, COUNTER_MAX, BLOCK, STATE, signers, (bytes(64),) * 100
    )
    assert decode_certificate(largest.encode()) == largest
    assert len(largest.encode()) <= CERTIFICATE_BYTES_MAX


@pytest.mark.parametrize("kind", VoteKind)
@pytest.mark.parametrize("signers", [(0, 1, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_a_quorum_or_more_convinces(kind, signers):
    verify_certificate(make_certificate(kind, signers), VALIDATORS, CHAIN)


def test_the_signed_bytes_cover_everything_that_is_voted_on():
    base = (CHAIN, 2, VoteKind.COMMIT, 9, BLOCK, STATE)
    others = [b"x" * 32, 3, VoteKind.PREPARE, 8, b"x" * 32, b"x" * 32]
    signed = {vote_signing_bytes(*base)}
    for position, other in enumerate(others):
        signed.add(vote_signing_bytes(*base[:position], other, *base[position + 1 :]))
    assert len(signed) == 7


def test_the_signed_bytes_are_the_tagged_hash_of_the_subject():
    expected = tagged_hash(Tag.VOTE, encode([CHAIN, 2, 2, 9, BLOCK, STATE]))
    assert vote_signing_bytes(CHAIN, 2, VoteKind.COMMIT, 9, BLOCK, STATE) == expected


def test_fewer_than_a_quorum_do_not_convince():
    assert code_of(make_certificate(signers=(0, 1))) == "too_few_signers"
    assert code_of(make_certificate(signers=())) == "too_few_signers"


def test_a_signer_outside_the_set_is_refused():
    certificate = replace(make_certificate(), signers=(0, 1, 4))
    assert code_of(certificate) == "unknown_validator"


@pytest.mark.parametrize("signers", [(0, 1, 1), (0, 3, 1), (1, 1, 1)])
def test_signers_must_ascend_so_none_counts_twice(signers):
    certificate = make_certificate(signers=signers)
    assert code_of(certificate) == "malformed"
    with pytest.raises(InvalidInputError, match="must ascend"):
        decode_certificate(certificate.encode())


def test_signers_and_signatures_must_be_as_many():
    certificate = make_certificate()
    assert code_of(replace(certificate, signatures=certificate.signatures[:2])) == "malformed"
    with pytest.raises(InvalidInputError, match=r"certificate\.signatures must have 192 bytes"):
        decode_certificate(replace(certificate, signatures=certificate.signatures[:2]).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 3},
        {"view": 8},
        {"block_id": b"x" * 32},
        {"state_root": b"x" * 32},
        {"signatures": make_certificate(signers=(0, 1, 2)).signatures},
        {"kind": VoteKind.PREPARE, "state_root": ZERO_HASH},
    ],
    ids=["epoch", "view", "block", "state root", "another's signature", "kind"],
)
def test_signatures_of_something_else_are_refused(change):
    assert code_of(replace(make_certificate(), **change)) == "bad_signature"


def test_signatures_of_another_chain_are_refused():
    assert code_of(make_certificate(), chain_id=b"x" * 32) == "bad_signature"


@pytest.mark.parametrize(
    ("kind", "block_id", "state_root"),
    [
        (VoteKind.PREPARE, ZERO_HASH, ZERO_HASH),
        (VoteKind.PREPARE, BLOCK, STATE),
        (VoteKind.COMMIT, ZERO_HASH, STATE),
        (VoteKind.COMMIT, BLOCK, ZERO_HASH),
        (VoteKind.VIEW_CHANGE, BLOCK, ZERO_HASH),
        (VoteKind.VIEW_CHANGE, ZERO_HASH, STATE),
    ],
)
def test_hashes_that_a_kind_does_not_speak_of_are_zero_and_the_others_not(
    kind, block_id, state_root
):
    with pytest.raises(InvalidInputError) as caught:
        check_vote_subject(kind, block_id, state_root, "vote")
    assert caught.value.field in {"vote.block_id", "vote.state_root"}
    certificate = Certificate(kind, 2, 9, block_id, state_root, (), ())
    assert code_of(certificate) == "malformed"
    with pytest.raises(InvalidInputError):
        decode_certificate(certificate.encode())


@pytest.mark.parametrize("kind", [0, 4])
def test_unknown_kinds_are_refused(kind):
    with pytest.raises(InvalidInputError, match=r"certificate\.kind"):
        decode_certificate(encode([kind, 0, 0, BLOCK, STATE, b"", b""]))
