"""Proofs that the final state at a height holds a value under a key, or none.

A proof needs nothing but the validators' public keys and the chain id to be checked:

    commit certificate ─► block id, state root
                             │ tails, if it is one of a tail of an epoch's last block
                             └ parent record ─► block id, state root     one step per block that
                                  └ …                                    became final indirectly
                                       └ header, tree path ─► key, value

Source: docs/spec/ledger.md §12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.schema import CHAIN_PARENT, RECORD_BYTES_MAX, decode_parent_block
from primitives.certificates import (
    CERTIFICATE_BYTES_MAX,
    Certificate,
    Verifier,
    VoteKind,
    decode_certificate,
    verify_certificate,
)
from primitives.codec import Encodable, Value, decode, encode
from primitives.epoch_end import TAILS_MAX, find_link_fault
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader, decode_header
from primitives.keys import verify_signature
from primitives.sparse_merkle_proof import PROOF_BYTES_MAX, Proof, decode_proof, verify_proof
from primitives.state_keys import state_key_hash, state_value_hash
from primitives.validator_set import ValidatorSet

__all__ = ["ParentLink", "StateProof", "decode_state_proof", "verify_state_proof"]

LINKS_MAX: Final = 1024
"""Most steps from a certified block to an ancestor."""

STATE_PROOF_BYTES_MAX: Final = RECORD_BYTES_MAX + 1024 * 1024
_KEY_BYTES_MAX: Final = 1024
_HEADER_BYTES_MAX: Final = 1024
_FIELD_COUNT: Final = 7


@dataclass(frozen=True, slots=True)
class ParentLink:
    """One step from a block to its parent.

    Parameters
    ----------
    value : the record under ``chain/parent`` in the state after the block.
    path : from that state's root to the record.
    """

    value: bytes
    path: Proof


@dataclass(frozen=True, slots=True)
class StateProof:
    """Evidence for one key of the state after one block.

    Parameters
    ----------
    certificate : commit certificate of the block or of a descendant.
    tails : if the certificate is one of a tail: the header of the epoch's last block and those of
        its tails, ascending; the links begin at that last block. Else empty.
    links : from the certified block down to the block; empty if it is certified itself.
    header : of the block.
    key : the state key.
    value : what it holds, or None if it holds nothing.
    path : from the state's root to the key, or to where it would be.
    """

    certificate: Certificate
    tails: tuple[BlockHeader, ...]
    links: tuple[ParentLink, ...]
    header: BlockHeader
    key: bytes
    value: bytes | None
    path: Proof

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        links: list[Encodable] = [[link.value, link.path.encode()] for link in self.links]
        return encode(
            (
                self.certificate.encode(),
                [tail.encode() for tail in self.tails],
                links,
                self.header.encode(),
                self.key,
                None if self.value is None else [self.value],
                self.path.encode(),
            )
        )


def decode_state_proof(data: bytes) -> StateProof:
    """Return the proof whose canonical bytes are `data`; nothing is verified.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    value = decode(data, bytes_max=STATE_PROOF_BYTES_MAX, depth_max=3)
    reader = FieldReader(value, "state_proof", _FIELD_COUNT)
    proof = StateProof(
        certificate=decode_certificate(
            reader.bytes("certificate", bytes_max=CERTIFICATE_BYTES_MAX)
        ),
        tails=tuple(_read_tail(item) for item in reader.array("tails", TAILS_MAX + 1)),
        links=tuple(_read_link(item) for item in reader.array("links", LINKS_MAX)),
        header=decode_header(reader.bytes("header", bytes_max=_HEADER_BYTES_MAX)),
        key=reader.bytes("key", bytes_max=_KEY_BYTES_MAX),
        value=_read_optional(reader.value()),
        path=decode_proof(reader.bytes("path", bytes_max=PROOF_BYTES_MAX)),
    )
    reader.end()
    return proof


def verify_state_proof(
    proof: StateProof,
    validator_set: ValidatorSet,
    chain_id: bytes,
    verify: Verifier = verify_signature,
) -> None:
    """Verify that ``proof.key`` holds ``proof.value`` after the block of ``proof.header``.

    Parameters
    ----------
    proof : from anywhere.
    validator_set : of the certificate's epoch.
    chain_id : of the network that is meant.
    verify : the signature check, replaced in simulations.

    Raises
    ------
    InvalidInputError
        ``bad_proof`` with what does not fit, or as `verify_certificate`.
    """
    certificate = proof.certificate
    if certificate.kind is not VoteKind.COMMIT:
        raise _bad("certificate.kind", f"is {certificate.kind.name}, not COMMIT")
    verify_certificate(certificate, validator_set, chain_id, verify)
    block_id, state_root = _find_certified(proof), certificate.state_root
    parent_key = state_key_hash(CHAIN_PARENT)
    for number, link in enumerate(proof.links):
        if not verify_proof(state_root, parent_key, state_value_hash(link.value), link.path):
            raise _bad(f"links[{number}]", "is not in the state that the step before proves")
        parent = decode_parent_block(link.value)
        block_id, state_root = parent.block_id, parent.state_root
    if proof.header.block_id != block_id:
        raise _bad("header", f"has id {proof.header.block_id.hex()}, certified is {block_id.hex()}")
    value_hash = None if proof.value is None else state_value_hash(proof.value)
    if not verify_proof(state_root, state_key_hash(proof.key), value_hash, proof.path):
        raise _bad("path", f"does not lead from state root {state_root.hex()} to the value")


def _find_certified(proof: StateProof) -> bytes:
    """Return the id of the block of the chain that the certificate speaks of."""
    if not proof.tails:
        return proof.certificate.block_id
    last, tails = proof.tails[0], proof.tails[1:]
    if last.next_validators_hash == ZERO_HASH:
        raise _bad("tails", "do not begin with the last block of an epoch")
    fault = find_link_fault(last, tails, proof.certificate)
    if fault is not None:
        raise _bad("tails", f"do not lead to the certificate: {fault}")
    return last.block_id


def _read_tail(value: Value) -> BlockHeader:
    reader = FieldReader([value], "state_proof.tails", 1)
    return decode_header(reader.bytes("header", bytes_max=_HEADER_BYTES_MAX))


def _read_link(value: Value) -> ParentLink:
    reader = FieldReader(value, "state_proof.links", 2)
    record = reader.bytes("value", bytes_max=_KEY_BYTES_MAX)
    return ParentLink(record, decode_proof(reader.bytes("path", bytes_max=PROOF_BYTES_MAX)))


def _read_optional(value: Value) -> bytes | None:
    if value is None:
        return None
    return FieldReader(value, "state_proof.value", 1).bytes("value", bytes_max=RECORD_BYTES_MAX)


def _bad(name: str, complaint: str) -> InvalidInputError:
    return InvalidInputError(
        "bad_proof", f"state_proof.{name} {complaint}", field=f"state_proof.{name}"
    )
