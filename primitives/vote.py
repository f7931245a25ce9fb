"""One validator's signed vote, as it travels and as it stands in evidence.

Source: docs/spec/encoding.md §9.
"""

from __future__ import annotations

from dataclasses import dataclass

from primitives.certificates import VoteKind, check_vote_subject, vote_signing_bytes
from primitives.codec import decode, encode
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES
from primitives.keys import SIGNATURE_BYTES
from primitives.validator_set import VALIDATORS_MAX

__all__ = ["VOTE_BYTES_MAX", "Vote", "decode_vote"]

VOTE_BYTES_MAX = 256

_FIELD_COUNT = 7


@dataclass(frozen=True, slots=True)
class Vote:
    """One validator's PREPARE, COMMIT or VIEW-CHANGE.

    Parameters
    ----------
    kind, epoch, view : what is voted on.
    block_id : 32 bytes; zeros in a VIEW-CHANGE.
    state_root : 32 bytes; zeros unless COMMIT.
    validator : index of the voter.
    signature : over `vote_signing_bytes`, 64 bytes.
    """

    kind: VoteKind
    epoch: int
    view: int
    block_id: bytes
    state_root: bytes
    validator: int
    signature: bytes

    def signing_bytes(self, chain_id: bytes) -> bytes:
        """Return what the validator signed."""
        return vote_signing_bytes(
            chain_id, self.epoch, self.kind, self.view, self.block_id, self.state_root
        )

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                int(self.kind),
                self.epoch,
                self.view,
                self.block_id,
                self.state_root,
                self.validator,
                self.signature,
            )
        )


def decode_vote(data: bytes) -> Vote:
    """Return the vote whose canonical bytes are `data`; no signature is checked.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    reader = FieldReader(decode(data, bytes_max=VOTE_BYTES_MAX), "vote", _FIELD_COUNT)
    vote = Vote(
        kind=VoteKind(reader.integer("kind", VoteKind.PREPARE, VoteKind.VIEW_CHANGE)),
        epoch=reader.counter("epoch"),
        view=reader.counter("view"),
        block_id=reader.bytes("block_id", length=HASH_BYTES),
        state_root=reader.bytes("state_root", length=HASH_BYTES),
        validator=reader.integer("validator", 0, VALIDATORS_MAX - 1),
        signature=reader.bytes("signature", length=SIGNATURE_BYTES),
    )
    reader.end()
    check_vote_subject(vote.kind, vote.block_id, vote.state_root, "vote")
    return vote
