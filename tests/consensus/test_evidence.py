"""Evidence: what contradicts, what does not, and what no one can forge."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.evidence import (
    Evidence,
    EvidenceKind,
    SignedHeader,
    decode_evidence,
    find_vote_conflict,
    verify_evidence,
)
from consensus.messages import Vote
from primitives.certificates import VoteKind
from primitives.codec import encode
from primitives.errors import InvalidInputError
from tests.helpers.consensus import (
    CHAIN_ID,
    GENESIS,
    make_header,
    make_pre_prepare,
    make_validators,
    make_vote,
    verify,
)

ONE, OTHER, ROOT, OTHER_ROOT = (bytes([number]) * 32 for number in range(1, 5))
VALIDATORS = make_validators()


def prepare(block_id: bytes, validator: int = 1, view: int = 5) -> Vote:
    return make_vote(VoteKind.PREPARE, view, block_id, validator=validator)


def commit(block_id: bytes, root: bytes = ROOT) -> Vote:
    return make_vote(VoteKind.COMMIT, 5, block_id, root, validator=1)


VIEW_CHANGE = make_vote(VoteKind.VIEW_CHANGE, 5, validator=1)


def signed_header(body: bytes, view: int = 5) -> SignedHeader:
    pre_prepare = make_pre_prepare(make_header(GENESIS, view, body), body)
    return SignedHeader(pre_prepare.header, pre_prepare.signature)


PROPOSALS = Evidence(
    EvidenceKind.DOUBLE_PROPOSAL, 1, 0, 5, signed_header(b"one"), signed_header(b"two")
)
PREPARES = Evidence(EvidenceKind.DOUBLE_PREPARE, 1, 0, 5, prepare(ONE), prepare(OTHER))
COMMITS = Evidence(EvidenceKind.DOUBLE_COMMIT, 1, 0, 5, commit(ONE), commit(ONE, OTHER_ROOT))
BOTH = Evidence(EvidenceKind.COMMIT_AND_VIEW_CHANGE, 1, 0, 5, commit(ONE), VIEW_CHANGE)
ALL = [PROPOSALS, PREPARES, COMMITS, BOTH]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (prepare(ONE), prepare(OTHER), EvidenceKind.DOUBLE_PREPARE),
        (commit(ONE), commit(OTHER), EvidenceKind.DOUBLE_COMMIT),
        (commit(ONE), commit(ONE, OTHER_ROOT), EvidenceKind.DOUBLE_COMMIT),
        (VIEW_CHANGE, commit(ONE), EvidenceKind.COMMIT_AND_VIEW_CHANGE),
        (prepare(ONE), prepare(ONE), None),
        (prepare(ONE), commit(OTHER), None),
        (prepare(ONE), VIEW_CHANGE, None),
        (VIEW_CHANGE, VIEW_CHANGE, None),
    ],
)
def test_exactly_the_forbidden_pairs_contradict(
    first: Vote, second: Vote, kind: EvidenceKind | None
) -> None:
    assert find_vote_conflict(first, second) is kind


@pytest.mark.parametrize("evidence", ALL)
def test_evidence_is_read_as_it_was_written_and_verifies(evidence: Evidence) -> None:
    decoded = decode_evidence(evidence.encode())
    assert decoded == evidence
    verify_evidence(decoded, VALIDATORS, CHAIN_ID, verify)


@pytest.mark.parametrize(
    "evidence",
    [
        replace(PREPARES, second=prepare(ONE)),
        replace(PREPARES, second=prepare(OTHER, validator=2)),
        replace(PREPARES, second=prepare(OTHER, view=6)),
        replace(PREPARES, validator=2),
        replace(PREPARES, kind=EvidenceKind.DOUBLE_COMMIT),
        replace(PREPARES, second=signed_header(b"two")),
        replace(PROPOSALS, second=signed_header(b"one")),
        replace(PROPOSALS, second=signed_header(b"two", view=9)),
        replace(PROPOSALS, kind=EvidenceKind.DOUBLE_PREPARE),
    ],
)
def test_what_does_not_contradict_is_not_evidence(evidence: Evidence) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        verify_evidence(evidence, VALIDATORS, CHAIN_ID, verify)
    assert refusal.value.code == "not_evidence"


def test_proposals_of_another_chain_are_not_evidence() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        verify_evidence(PROPOSALS, VALIDATORS, b"other chain".ljust(32), verify)
    assert refusal.value.code == "not_evidence"


@pytest.mark.parametrize("evidence", ALL)
def test_a_forged_signature_convicts_no_one(evidence: Evidence) -> None:
    forged = replace(evidence, second=replace(evidence.second, signature=bytes(64)))
    with pytest.raises(InvalidInputError) as refusal:
        verify_evidence(forged, VALIDATORS, CHAIN_ID, verify)
    assert refusal.value.code == "bad_signature"


def test_a_stranger_cannot_be_convicted() -> None:
    stranger = replace(
        PREPARES,
        validator=7,
        first=replace(prepare(ONE), validator=7),
        second=replace(prepare(OTHER), validator=7),
    )
    with pytest.raises(InvalidInputError) as refusal:
        verify_evidence(stranger, VALIDATORS, CHAIN_ID, verify)
    assert refusal.value.code == "unknown_validator"


@given(st.binary(max_size=120))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    for candidate in (data, encode((1, data, data)), encode((2, data, data))):
        try:
            decode_evidence(candidate)
        except InvalidInputError as error:
            assert error.code
