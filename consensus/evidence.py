"""Evidence, as the rest of consensus imports it."""

from primitives.evidence import (
    EVIDENCE_BYTES_MAX,
    Evidence,
    EvidenceKind,
    SignedHeader,
    decode_evidence,
    find_vote_conflict,
    verify_evidence,
)

__all__ = [
    "EVIDENCE_BYTES_MAX",
    "Evidence",
    "EvidenceKind",
    "SignedHeader",
    "decode_evidence",
    "find_vote_conflict",
    "verify_evidence",
]
