"""How an epoch ended, proven: its last block, its commit certificate, and the next validators.

A chain of these from genesis, one for each epoch, is all that is needed to know the validators of
the present; nothing else of the chain has to be read.

An epoch's last block can become final as an ancestor. What is proposed above it in its epoch are
*tails*: empty blocks that are no part of the chain and leave the state as it is, so that the state
root in a tail's certificate is that of the last block. Source: docs/spec/encoding.md §13.
"""

from __future__ import annotations

from dataclasses import dataclass

from primitives.certificates import (
    CERTIFICATE_BYTES_MAX,
    Certificate,
    Verifier,
    VoteKind,
    decode_certificate,
    verify_certificate,
)
from primitives.codec import decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import ZERO_HASH
from primitives.header import HEADER_BYTES_MAX, BlockHeader, decode_header
from primitives.keys import PUBLIC_KEY_BYTES, verify_signature
from primitives.validator_set import VALIDATORS_MAX, ValidatorSet

__all__ = [
    "EPOCH_END_BYTES_MAX",
    "TAILS_MAX",
    "EpochEnd",
    "decode_epoch_end",
    "find_link_fault",
    "verify_epoch_end",
]

TAILS_MAX = 4096
"""Tails in one proof. Each took a view, so hours of failing views fit."""

EPOCH_END_BYTES_MAX = (
    1024
    + CERTIFICATE_BYTES_MAX
    + (TAILS_MAX + 1) * (HEADER_BYTES_MAX + 4)
    + VALIDATORS_MAX * (PUBLIC_KEY_BYTES + 4)
)


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """The end of one epoch.

    Parameters
    ----------
    header : of the epoch's last block.
    tails : headers of the empty blocks between it and the certified one, ascending; usually none.
    certificate : commit certificate of the last tail, or of the last block if there is none.
    next_keys : public keys of the next epoch's validators, by index.
    """

    header: BlockHeader
    tails: tuple[BlockHeader, ...]
    certificate: Certificate
    next_keys: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                self.header.encode(),
                [tail.encode() for tail in self.tails],
                self.certificate.encode(),
                list(self.next_keys),
            )
        )


def decode_epoch_end(data: bytes) -> EpochEnd:
    """Return the epoch end whose canonical bytes are `data`; nothing is verified but its form.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    reader = FieldReader(decode(data, bytes_max=EPOCH_END_BYTES_MAX, depth_max=2), "epoch_end", 4)
    header = decode_header(reader.bytes("header", bytes_max=HEADER_BYTES_MAX))
    tails = reader.array("tails", TAILS_MAX)
    certificate = decode_certificate(reader.bytes("certificate", bytes_max=CERTIFICATE_BYTES_MAX))
    keys = reader.array("next_keys", VALIDATORS_MAX)
    reader.end()
    if not all(type(each) is bytes for each in (*tails, *keys)):
        raise InvalidInputError(
            "malformed", "epoch_end.tails and next_keys must hold byte strings", field="epoch_end"
        )
    return EpochEnd(
        header,
        tuple(decode_header(tail) for tail in tails if type(tail) is bytes),
        certificate,
        tuple(key for key in keys if type(key) is bytes),
    )


def find_link_fault(
    header: BlockHeader, tails: tuple[BlockHeader, ...], certificate: Certificate
) -> str | None:
    """Say why a commit certificate does not speak of a block through its tails; None if it does.

    Parameters
    ----------
    header : of the block that is to be proven final.
    tails : as in `EpochEnd`.
    certificate : its signatures are not looked at.
    """
    previous = header
    for tail in tails:
        if (
            tail.parent_id != previous.block_id
            or tail.height != previous.height + 1
            or tail.epoch != header.epoch
            or tail.chain_id != header.chain_id
        ):
            return f"tail at height {tail.height} does not follow the block before it"
        previous = tail
    if certificate.kind is not VoteKind.COMMIT:
        return "the certificate is not one of COMMITs"
    if (certificate.epoch, certificate.view, certificate.block_id) != (
        previous.epoch,
        previous.view,
        previous.block_id,
    ):
        return "the certificate is not one of the last block"
    return None


def verify_epoch_end(
    end: EpochEnd,
    validator_set: ValidatorSet,
    chain_id: bytes,
    verify: Verifier = verify_signature,
) -> ValidatorSet:
    """Verify how an epoch ended and return the validators of the next one.

    Parameters
    ----------
    end : received; nothing in it is trusted.
    validator_set : that of the epoch of ``end.header``; the caller knows it.
    chain_id : the genesis hash.
    verify : the signature check, replaced in simulations.

    Raises
    ------
    InvalidInputError
        ``not_an_epoch_end`` if the parts do not belong together, or as `verify_certificate` and
        `ValidatorSet` do.
    """
    header = end.header
    if header.chain_id != chain_id:
        raise _refusal("the block is of another chain")
    if header.next_validators_hash == ZERO_HASH:
        raise _refusal("the block is not the last one of its epoch")
    fault = find_link_fault(header, end.tails, end.certificate)
    if fault is not None:
        raise _refusal(fault)
    verify_certificate(end.certificate, validator_set, chain_id, verify)
    following = ValidatorSet(end.next_keys)
    if following.hash != header.next_validators_hash:
        raise _refusal("the keys are not those that the block names")
    return following


def _refusal(why: str) -> InvalidInputError:
    return InvalidInputError("not_an_epoch_end", f"epoch end: {why}", field="epoch_end")
