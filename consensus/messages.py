"""What validators say to each other, and the bytes of it.

A message on the wire is one canonical array whose first field names its kind. Decoding checks form
and sizes only; signatures and meaning are the business of the core. Headers and certificates are
embedded as byte strings, in the form in which they are hashed and stored.
Source: docs/spec/consensus.md §3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from consensus.parameters import (
    BLOCKS_PER_RESPONSE_MAX,
    BODY_BYTES_MAX,
    CERTIFICATES_PER_MESSAGE_MAX,
    GAP_CERTIFICATES_MAX,
    MESSAGE_BYTES_MAX,
)
from primitives.certificates import (
    CERTIFICATE_BYTES_MAX,
    Certificate,
    decode_certificate,
)
from primitives.codec import Encodable, Value, decode, encode
from primitives.epoch_end import TAILS_MAX
from primitives.errors import InvalidInputError
from primitives.evidence import proposal_signing_bytes
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES
from primitives.header import HEADER_BYTES_MAX, BlockHeader, decode_header
from primitives.keys import SIGNATURE_BYTES
from primitives.vote import VOTE_BYTES_MAX, Vote, decode_vote

__all__ = [
    "Block",
    "BlockRequest",
    "BlockResponse",
    "BlocksRequest",
    "BlocksResponse",
    "CertificateBatch",
    "CertificateMessage",
    "Message",
    "PrePrepare",
    "Status",
    "Vote",
    "decode_message",
    "decode_pre_prepare",
    "encode_message",
    "proposal_signing_bytes",
]

_DEPTH_MAX = 4


@dataclass(frozen=True, slots=True)
class Block:
    """A header and the opaque body that it names by its root."""

    header: BlockHeader
    body: bytes

    @property
    def block_id(self) -> bytes:
        """Identify the block, 32 bytes."""
        return self.header.block_id


@dataclass(frozen=True, slots=True)
class PrePrepare:
    """A leader's proposal for its view.

    Parameters
    ----------
    header, body : the block.
    parent_certificate : prepared or commit certificate of the parent; None if that is genesis.
    view_change_certificates : one for every view between the parent's and the block's, ascending;
        in a gap longer than `GAP_CERTIFICATES_MAX` the highest ones.
    signature : the leader's, over `proposal_signing_bytes` of the block id, 64 bytes.
    """

    header: BlockHeader
    body: bytes
    parent_certificate: Certificate | None
    view_change_certificates: tuple[Certificate, ...]
    signature: bytes

    @property
    def block_id(self) -> bytes:
        """Identify the block, 32 bytes."""
        return self.header.block_id

    @property
    def block(self) -> Block:
        """The block without its justification."""
        return Block(self.header, self.body)


@dataclass(frozen=True, slots=True)
class CertificateMessage:
    """A certificate that its sender has just learnt; every validator passes it on once."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class CertificateBatch:
    """An answer to a laggard, not passed on: certificates in the order in which to take them."""

    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """How far the sender is; whoever is further answers with certificates.

    Parameters
    ----------
    epoch : the epoch it is in.
    view : the view it is in.
    final_height : height of its last final block.
    first_uncertified_view : the lowest view above its last final block's of which it holds neither
        a prepared nor a view-change certificate; at most `view`.
    """

    epoch: int
    view: int
    final_height: int
    first_uncertified_view: int


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """Asks for one block that a certificate names."""

    block_id: bytes


@dataclass(frozen=True, slots=True)
class BlockResponse:
    """Answers a `BlockRequest` with the proposal in which the block came."""

    pre_prepare: PrePrepare


@dataclass(frozen=True, slots=True)
class BlocksRequest:
    """Asks for final blocks.

    Parameters
    ----------
    from_height : of the first block, ≥ 1.
    count : at most so many, 1 to `BLOCKS_PER_RESPONSE_MAX`.
    """

    from_height: int
    count: int


@dataclass(frozen=True, slots=True)
class BlocksResponse:
    """Answers a `BlocksRequest`.

    Parameters
    ----------
    blocks : of consecutive heights from the one asked for, at most as many; empty if the sender
        has none. After the last block of an epoch come its tails, if it is proven by one.
    certificate : commit certificate of the last block. None if that block has none of its own
        (it became final as an ancestor); then more has to be asked for before anything is proven.
    """

    blocks: tuple[Block, ...]
    certificate: Certificate | None


Message: TypeAlias = (
    PrePrepare
    | Vote
    | CertificateMessage
    | CertificateBatch
    | Status
    | BlockRequest
    | BlockResponse
    | BlocksRequest
    | BlocksResponse
)


class _Kind(IntEnum):
    """First field of a message."""

    PRE_PREPARE = 1
    VOTE = 2
    CERTIFICATE = 3
    CERTIFICATE_BATCH = 4
    STATUS = 5
    BLOCK_REQUEST = 6
    BLOCK_RESPONSE = 7
    BLOCKS_REQUEST = 8
    BLOCKS_RESPONSE = 9


def encode_message(message: Message) -> bytes:
    """Return the canonical bytes of a message."""
    return encode(_message_fields(message))


def decode_message(data: bytes, *, bytes_max: int = MESSAGE_BYTES_MAX) -> Message:
    """Return the message whose canonical bytes are `data`; no signature is checked.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    value = decode(data, bytes_max=bytes_max, depth_max=_DEPTH_MAX)
    if type(value) is not list or not value:
        raise InvalidInputError("malformed", "message must be an array that begins with its kind")
    kind = value[0]
    decoder = _DECODERS.get(kind) if type(kind) is int else None
    if decoder is None:
        raise InvalidInputError(
            "malformed", "message.kind is not one of 1 to 9", field="message.kind", limit=9
        )
    return decoder(value)


def decode_pre_prepare(data: bytes) -> PrePrepare:
    """Return the proposal whose canonical bytes are `data`; raises as `decode_message` does."""
    message = decode_message(data)
    if not isinstance(message, PrePrepare):
        raise InvalidInputError("malformed", "message is not a pre-prepare")
    return message


def _message_fields(message: Message) -> Encodable:
    match message:
        case Vote():
            return (
                _Kind.VOTE.value,
                message.encode(),
            )
        case PrePrepare():
            return (_Kind.PRE_PREPARE.value, *_pre_prepare_fields(message))
        case CertificateMessage():
            return (_Kind.CERTIFICATE.value, message.certificate.encode())
        case CertificateBatch():
            encoded = [certificate.encode() for certificate in message.certificates]
            return (_Kind.CERTIFICATE_BATCH.value, encoded)
        case Status():
            return (
                _Kind.STATUS.value,
                message.epoch,
                message.view,
                message.final_height,
                message.first_uncertified_view,
            )
        case _:
            return _transfer_fields(message)


def _transfer_fields(
    message: BlockRequest | BlockResponse | BlocksRequest | BlocksResponse,
) -> Encodable:
    match message:
        case BlockRequest():
            return (_Kind.BLOCK_REQUEST.value, message.block_id)
        case BlockResponse():
            return (_Kind.BLOCK_RESPONSE.value, *_pre_prepare_fields(message.pre_prepare))
        case BlocksRequest():
            return (_Kind.BLOCKS_REQUEST.value, message.from_height, message.count)
        case _:
            blocks = [(block.header.encode(), block.body) for block in message.blocks]
            return (_Kind.BLOCKS_RESPONSE.value, blocks, _encode_optional(message.certificate))


def _pre_prepare_fields(pre_prepare: PrePrepare) -> tuple[Encodable, ...]:
    return (
        pre_prepare.header.encode(),
        pre_prepare.body,
        _encode_optional(pre_prepare.parent_certificate),
        [certificate.encode() for certificate in pre_prepare.view_change_certificates],
        pre_prepare.signature,
    )


def _encode_optional(certificate: Certificate | None) -> bytes | None:
    return None if certificate is None else certificate.encode()


def _decode_pre_prepare_message(value: Value) -> PrePrepare:
    reader = FieldReader(value, "pre_prepare", 6)
    reader.value()
    pre_prepare = PrePrepare(
        header=decode_header(reader.bytes("header", bytes_max=HEADER_BYTES_MAX)),
        body=reader.bytes("body", bytes_max=BODY_BYTES_MAX),
        parent_certificate=_decode_optional(reader.value(), "pre_prepare.parent_certificate"),
        view_change_certificates=_decode_certificates(
            reader.array("view_change_certificates", GAP_CERTIFICATES_MAX), "pre_prepare"
        ),
        signature=reader.bytes("signature", length=SIGNATURE_BYTES),
    )
    reader.end()
    return pre_prepare


def _decode_vote_message(value: Value) -> Vote:
    reader = FieldReader(value, "vote_message", 2)
    reader.value()
    data = reader.bytes("vote", bytes_max=VOTE_BYTES_MAX)
    reader.end()
    return decode_vote(data)


def _decode_certificate_message(value: Value) -> CertificateMessage:
    reader = FieldReader(value, "certificate_message", 2)
    reader.value()
    data = reader.bytes("certificate", bytes_max=CERTIFICATE_BYTES_MAX)
    reader.end()
    return CertificateMessage(decode_certificate(data))


def _decode_certificate_batch(value: Value) -> CertificateBatch:
    reader = FieldReader(value, "certificate_batch", 2)
    reader.value()
    items = reader.array("certificates", CERTIFICATES_PER_MESSAGE_MAX)
    reader.end()
    return CertificateBatch(_decode_certificates(items, "certificate_batch"))


def _decode_status(value: Value) -> Status:
    reader = FieldReader(value, "status", 5)
    reader.value()
    epoch = reader.counter("epoch")
    view = reader.counter("view")
    status = Status(
        epoch=epoch,
        view=view,
        final_height=reader.counter("final_height"),
        first_uncertified_view=reader.integer("first_uncertified_view", 0, view),
    )
    reader.end()
    return status


def _decode_block_request(value: Value) -> BlockRequest:
    reader = FieldReader(value, "block_request", 2)
    reader.value()
    request = BlockRequest(reader.bytes("block_id", length=HASH_BYTES))
    reader.end()
    return request


def _decode_block_response(value: Value) -> BlockResponse:
    return BlockResponse(_decode_pre_prepare_message(value))


def _decode_blocks_request(value: Value) -> BlocksRequest:
    reader = FieldReader(value, "blocks_request", 3)
    reader.value()
    request = BlocksRequest(
        from_height=reader.integer("from_height", 1, COUNTER_MAX),
        count=reader.integer("count", 1, BLOCKS_PER_RESPONSE_MAX),
    )
    reader.end()
    return request


def _decode_blocks_response(value: Value) -> BlocksResponse:
    reader = FieldReader(value, "blocks_response", 3)
    reader.value()
    items = reader.array("blocks", BLOCKS_PER_RESPONSE_MAX + TAILS_MAX)
    certificate = _decode_optional(reader.value(), "blocks_response.certificate")
    reader.end()
    return BlocksResponse(tuple(_decode_block(item) for item in items), certificate)


def _decode_block(value: Value) -> Block:
    reader = FieldReader(value, "block", 2)
    header = decode_header(reader.bytes("header", bytes_max=HEADER_BYTES_MAX))
    block = Block(header, reader.bytes("body", bytes_max=BODY_BYTES_MAX))
    reader.end()
    return block


def _decode_certificates(items: list[Value], name: str) -> tuple[Certificate, ...]:
    return tuple(_decode_embedded(item, name) for item in items)


def _decode_optional(value: Value, name: str) -> Certificate | None:
    return None if value is None else _decode_embedded(value, name)


def _decode_embedded(value: Value, name: str) -> Certificate:
    if type(value) is not bytes:
        raise InvalidInputError(
            "malformed", f"{name} must hold certificates as byte strings", field=name
        )
    return decode_certificate(value)


_DECODERS: dict[int, Callable[[Value], Message]] = {
    _Kind.PRE_PREPARE: _decode_pre_prepare_message,
    _Kind.VOTE: _decode_vote_message,
    _Kind.CERTIFICATE: _decode_certificate_message,
    _Kind.CERTIFICATE_BATCH: _decode_certificate_batch,
    _Kind.STATUS: _decode_status,
    _Kind.BLOCK_REQUEST: _decode_block_request,
    _Kind.BLOCK_RESPONSE: _decode_block_response,
    _Kind.BLOCKS_REQUEST: _decode_blocks_request,
    _Kind.BLOCKS_RESPONSE: _decode_blocks_response,
}
