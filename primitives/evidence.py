"""Evidence: two messages that one validator signed and that no correct validator signs both.

Everything needed to judge it is inside, so anyone with the validator set can. The four kinds are
the four ways to break the vote rules; a fork needs f + 1 validators of whom evidence exists.
Source: docs/spec/consensus.md §8.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from primitives.certificates import Verifier, VoteKind
from primitives.codec import decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import Tag, tagged_hash
from primitives.header import HEADER_BYTES_MAX, BlockHeader, decode_header
from primitives.keys import SIGNATURE_BYTES, verify_signature
from primitives.validator_set import ValidatorSet
from primitives.vote import Vote, decode_vote

__all__ = [
    "EVIDENCE_BYTES_MAX",
    "Evidence",
    "EvidenceKind",
    "SignedHeader",
    "decode_evidence",
    "find_vote_conflict",
    "proposal_signing_bytes",
    "verify_evidence",
]

EVIDENCE_BYTES_MAX = 1024


class EvidenceKind(IntEnum):
    """Which rule was broken."""

    DOUBLE_PROPOSAL = 1
    DOUBLE_PREPARE = 2
    DOUBLE_COMMIT = 3
    COMMIT_AND_VIEW_CHANGE = 4


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """The part of a proposal that its leader is bound by."""

    header: BlockHeader
    signature: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two contradicting messages of one validator in one view.

    Parameters
    ----------
    kind : which rule was broken.
    validator : index of the culprit.
    epoch, view : where.
    first, second : `SignedHeader` in a double proposal, else `Vote`.
    """

    kind: EvidenceKind
    validator: int
    epoch: int
    view: int
    first: SignedHeader | Vote
    second: SignedHeader | Vote

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.kind.value, _encode_side(self.first), _encode_side(self.second)))


def proposal_signing_bytes(block_id: bytes) -> bytes:
    """Return the 32 bytes that a leader signs; the header behind the id names chain and view."""
    return tagged_hash(Tag.PROPOSAL, block_id)


def find_vote_conflict(first: Vote, second: Vote) -> EvidenceKind | None:
    """Return the rule that two votes of one validator in one view break together, if any."""
    kinds = {first.kind, second.kind}
    if kinds == {VoteKind.COMMIT, VoteKind.VIEW_CHANGE}:
        return EvidenceKind.COMMIT_AND_VIEW_CHANGE
    if len(kinds) == 2:
        return None
    if (first.block_id, first.state_root) == (second.block_id, second.state_root):
        return None
    if first.kind is VoteKind.PREPARE:
        return EvidenceKind.DOUBLE_PREPARE
    return EvidenceKind.DOUBLE_COMMIT


def decode_evidence(data: bytes) -> Evidence:
    """Return the evidence whose canonical bytes are `data`; nothing is verified but its form.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    reader = FieldReader(decode(data, bytes_max=EVIDENCE_BYTES_MAX), "evidence", 3)
    kind = EvidenceKind(reader.integer("kind", 1, 4))
    sides = [reader.bytes(name, bytes_max=EVIDENCE_BYTES_MAX) for name in ("first", "second")]
    reader.end()
    if kind is EvidenceKind.DOUBLE_PROPOSAL:
        header = _decode_signed_header(sides[0])
        other = _decode_signed_header(sides[1])
        subject = header.header
        return Evidence(kind, subject.proposer, subject.epoch, subject.view, header, other)
    vote = decode_vote(sides[0])
    second = decode_vote(sides[1])
    return Evidence(kind, vote.validator, vote.epoch, vote.view, vote, second)


def verify_evidence(
    evidence: Evidence,
    validator_set: ValidatorSet,
    chain_id: bytes,
    verify: Verifier = verify_signature,
) -> None:
    """Verify that the validator named signed both messages and that they contradict.

    Parameters
    ----------
    evidence : received or found here.
    validator_set : that of ``evidence.epoch``; the caller picks it.
    chain_id : the genesis hash.
    verify : the signature check, replaced in simulations.

    Raises
    ------
    InvalidInputError
        ``not_evidence`` if the messages do not contradict or are of different validators, views or
        chains, ``unknown_validator``, ``bad_signature``.
    """
    if not _is_contradiction(evidence, chain_id):
        raise InvalidInputError("not_evidence", "the two messages do not contradict each other")
    public_key = validator_set.public_key(evidence.validator)
    for side in (evidence.first, evidence.second):
        if isinstance(side, Vote):
            message = side.signing_bytes(chain_id)
        else:
            message = proposal_signing_bytes(side.header.block_id)
        if not verify(public_key, message, side.signature):
            raise InvalidInputError(
                "bad_signature",
                f"evidence holds a bad signature of validator {evidence.validator}",
                field="evidence",
                value=evidence.validator,
            )


def _is_contradiction(evidence: Evidence, chain_id: bytes) -> bool:
    first, second = evidence.first, evidence.second
    expected = (evidence.validator, evidence.epoch, evidence.view)
    if isinstance(first, Vote) and isinstance(second, Vote):
        subjects = [(vote.validator, vote.epoch, vote.view) for vote in (first, second)]
        conflict = find_vote_conflict(first, second)
        return subjects == [expected, expected] and conflict is evidence.kind
    if isinstance(first, SignedHeader) and isinstance(second, SignedHeader):
        headers = (first.header, second.header)
        subjects = [(header.proposer, header.epoch, header.view) for header in headers]
        return (
            evidence.kind is EvidenceKind.DOUBLE_PROPOSAL
            and subjects == [expected, expected]
            and all(header.chain_id == chain_id for header in headers)
            and headers[0].block_id != headers[1].block_id
        )
    return False


def _encode_side(side: SignedHeader | Vote) -> bytes:
    if isinstance(side, Vote):
        return side.encode()
    return encode((side.header.encode(), side.signature))


def _decode_signed_header(data: bytes) -> SignedHeader:
    reader = FieldReader(decode(data, bytes_max=EVIDENCE_BYTES_MAX), "signed_header", 2)
    header = decode_header(reader.bytes("header", bytes_max=HEADER_BYTES_MAX))
    signed = SignedHeader(header, reader.bytes("signature", length=SIGNATURE_BYTES))
    reader.end()
    return signed
