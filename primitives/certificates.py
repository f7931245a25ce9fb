"""Votes as signed bytes, and certificates: enough votes of one kind in one object.

The three kinds are the phases of docs/spec/consensus.md. A commit certificate is what a light
client needs, so its verification lives here and not in consensus.
Source: docs/spec/encoding.md §9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from primitives.codec import decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES, ZERO_HASH, Tag, tagged_hash
from primitives.keys import SIGNATURE_BYTES, verify_signature
from primitives.validator_set import VALIDATORS_MAX, ValidatorSet

__all__ = [
    "CERTIFICATE_BYTES_MAX",
    "Certificate",
    "Verifier",
    "VoteKind",
    "check_vote_subject",
    "decode_certificate",
    "verify_certificate",
    "vote_signing_bytes",
]

Verifier = Callable[[bytes, bytes, bytes], bool]
"""``verify(public_key, message, signature)``, as `primitives.keys.verify_signature`."""

CERTIFICATE_BYTES_MAX = 128 + VALIDATORS_MAX * (1 + SIGNATURE_BYTES)

_FIELD_COUNT = 7


class VoteKind(IntEnum):
    """What a validator says about a view."""

    PREPARE = 1
    COMMIT = 2
    VIEW_CHANGE = 3


@dataclass(frozen=True)
class Certificate:
    """Votes of at least a quorum for the same thing.

    Parameters
    ----------
    kind : which vote.
    epoch : the validator set that the signers' indices refer to.
    view : the view that was voted on.
    block_id : 32 bytes; zeros in a VIEW-CHANGE.
    state_root : 32 bytes, the root after executing the block; zeros unless COMMIT.
    signers : validator indices, strictly ascending.
    signatures : one of 64 bytes per signer, in the same order.
    """

    kind: VoteKind
    epoch: int
    view: int
    block_id: bytes
    state_root: bytes
    signers: tuple[int, ...]
    signatures: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                int(self.kind),
                self.epoch,
                self.view,
                self.block_id,
                self.state_root,
                bytes(self.signers),
                b"".join(self.signatures),
            )
        )


def vote_signing_bytes(
    chain_id: bytes, epoch: int, kind: VoteKind, view: int, block_id: bytes, state_root: bytes
) -> bytes:
    """Return the 32 bytes that a validator signs to vote.

    Parameters
    ----------
    chain_id : the genesis hash.
    epoch, view : which validator set, which attempt.
    kind : which vote.
    block_id : `ZERO_HASH` in a VIEW-CHANGE.
    state_root : `ZERO_HASH` unless COMMIT.
    """
    subject = encode((chain_id, epoch, int(kind), view, block_id, state_root))
    return tagged_hash(Tag.VOTE, subject)


def check_vote_subject(kind: VoteKind, block_id: bytes, state_root: bytes, name: str) -> None:
    """Check that exactly the hashes that a kind of vote speaks of are there.

    Parameters
    ----------
    kind, block_id, state_root : of a vote or certificate.
    name : what is checked, for the refusal.

    Raises
    ------
    InvalidInputError
        ``malformed`` if a VIEW-CHANGE names a block, another vote names none, a COMMIT names no
        state root, or another vote names one. Otherwise the same vote had many forms.
    """
    if (block_id == ZERO_HASH) != (kind is VoteKind.VIEW_CHANGE):
        raise _subject_refusal(name, kind, "block_id", block_id)
    if (state_root == ZERO_HASH) != (kind is not VoteKind.COMMIT):
        raise _subject_refusal(name, kind, "state_root", state_root)


def decode_certificate(data: bytes) -> Certificate:
    """Return the certificate whose canonical bytes are `data`; no signature is checked.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    value = decode(data, bytes_max=CERTIFICATE_BYTES_MAX)
    reader = FieldReader(value, "certificate", _FIELD_COUNT)
    kind = VoteKind(reader.integer("kind", VoteKind.PREPARE, VoteKind.VIEW_CHANGE))
    epoch = reader.integer("epoch", 0, COUNTER_MAX)
    view = reader.integer("view", 0, COUNTER_MAX)
    block_id = reader.bytes("block_id", HASH_BYTES)
    state_root = reader.bytes("state_root", HASH_BYTES)
    signers = tuple(reader.bytes("signers", bytes_max=VALIDATORS_MAX))
    joined = reader.bytes("signatures", length=len(signers) * SIGNATURE_BYTES)
    reader.end()
    check_vote_subject(kind, block_id, state_root, "certificate")
    _check_ascending(signers)
    signatures = tuple(
        joined[start : start + SIGNATURE_BYTES] for start in range(0, len(joined), SIGNATURE_BYTES)
    )
    return Certificate(kind, epoch, view, block_id, state_root, signers, signatures)


def verify_certificate(
    certificate: Certificate,
    validator_set: ValidatorSet,
    chain_id: bytes,
    verify: Verifier = verify_signature,
) -> None:
    """Verify that a quorum of the validator set signed what the certificate says.

    Parameters
    ----------
    certificate : received or built here; its form is checked again.
    validator_set : that of ``certificate.epoch``; the caller picks it.
    chain_id : the genesis hash.
    verify : the signature check, replaced in simulations.

    Raises
    ------
    InvalidInputError
        ``malformed`` if the form is wrong, ``unknown_validator`` if a signer is not in the set,
        ``too_few_signers`` below the quorum, ``bad_signature`` if any signature fails.
    """
    signers = certificate.signers
    check_vote_subject(
        certificate.kind, certificate.block_id, certificate.state_root, "certificate"
    )
    _check_ascending(signers)
    if len(signers) != len(certificate.signatures):
        raise InvalidInputError(
            "malformed",
            f"certificate has {len(signers)} signers and {len(certificate.signatures)} signatures",
            field="certificate.signatures",
            value=len(certificate.signatures),
            limit=len(signers),
        )
    if len(signers) < validator_set.quorum:
        raise InvalidInputError(
            "too_few_signers",
            f"certificate has {len(signers)} signers, fewer than the quorum {validator_set.quorum}",
            field="certificate.signers",
            value=len(signers),
            limit=validator_set.quorum,
        )
    public_keys = [validator_set.public_key(signer) for signer in signers]
    message = vote_signing_bytes(
        chain_id,
        certificate.epoch,
        certificate.kind,
        certificate.view,
        certificate.block_id,
        certificate.state_root,
    )
    for signer, public_key, signature in zip(
        signers, public_keys, certificate.signatures, strict=True
    ):
        if not verify(public_key, message, signature):
            raise InvalidInputError(
                "bad_signature",
                f"certificate holds a bad signature of validator {signer}",
                field="certificate.signatures",
                value=signer,
            )


def _check_ascending(signers: tuple[int, ...]) -> None:
    for previous, signer in pairwise(signers):
        if signer <= previous:
            raise InvalidInputError(
                "malformed",
                f"certificate signers must ascend, found {signer} after {previous}",
                field="certificate.signers",
                value=signer,
                limit=previous,
            )


def _subject_refusal(name: str, kind: VoteKind, field: str, value: bytes) -> InvalidInputError:
    expected = "zero" if value != ZERO_HASH else "set"
    return InvalidInputError(
        "malformed",
        f"{name}.{field} of a {kind.name} must be {expected}, found {value.hex()}",
        field=f"{name}.{field}",
        value=value.hex(),
    )
