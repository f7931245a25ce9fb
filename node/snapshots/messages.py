"""What nodes say to each other about snapshots: a family of messages on a channel of its own.

Every message is an array [kind, field, …]. Decoding is strict and bounded: nothing in a message
can make us hold more than the message itself. Source: docs/spec/snapshots.md §6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from ledger.payload import SALT_BYTES
from ledger.snapshot import CHUNK_BYTES_MAX, CHUNKS_MAX, MANIFEST_BYTES_MAX
from p2p.frames import Channel, get_cap_bytes
from primitives.codec import Encodable, Value, decode, encode
from primitives.epoch_end import EPOCH_END_BYTES_MAX
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "ANSWER_BYTES",
    "EPOCH_ENDS_MAX",
    "MESSAGE_BYTES_MAX",
    "PAYLOADS_MAX",
    "TENSORS_MAX",
    "Chunk",
    "ChunkRequest",
    "EpochEnds",
    "EpochEndsRequest",
    "GenesisRequest",
    "GenesisText",
    "Message",
    "Offer",
    "OfferRequest",
    "PayloadItem",
    "Payloads",
    "PayloadsRequest",
    "TensorItem",
    "Tensors",
    "TensorsRequest",
    "decode_message",
    "encode_message",
]

MESSAGE_BYTES_MAX: Final = get_cap_bytes(Channel.SNAPSHOT)

ANSWER_BYTES: Final = 2 * 1024 * 1024
"""An answer of several items takes no further one once it holds so much."""

EPOCH_ENDS_MAX: Final = 64
TENSORS_MAX: Final = 16
PAYLOADS_MAX: Final = 64

GENESIS_BYTES_MAX: Final = 8 * 1024 * 1024

_TENSOR_BYTES_MAX: Final = 64 * 1024
_ENVELOPE_BYTES_MAX: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """Asks what the newest snapshot is."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Says how far the sender is, and what its newest snapshot is.

    Parameters
    ----------
    final_height
        Of the sender's chain; believed by nobody.
    manifest
        Encoded; empty if there is none.
    """

    final_height: int
    manifest: bytes


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """Asks for one chunk of a snapshot."""

    snapshot_id: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a snapshot; empty if the sender does not hold it."""

    snapshot_id: bytes
    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class EpochEndsRequest:
    """Asks how an epoch ended, and those after it."""

    epoch: int


@dataclass(frozen=True, slots=True)
class EpochEnds:
    """How epochs ended, without a gap, encoded; none if the sender does not know."""

    epoch: int
    ends: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TensorsRequest:
    """Asks for chunks of tensors by their hashes."""

    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TensorItem:
    """One chunk of a tensor; empty if the sender does not hold it."""

    chunk_hash: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Tensors:
    """Chunks of tensors, for a first part of what was asked for."""

    items: tuple[TensorItem, ...]


@dataclass(frozen=True, slots=True)
class PayloadsRequest:
    """Asks for live payloads by the ids of their transactions."""

    transaction_ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PayloadItem:
    """A payload with the envelope that binds it; all but the id empty if it is not held."""

    transaction_id: bytes
    envelope: bytes
    salt: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Payloads:
    """Payloads, for a first part of what was asked for."""

    items: tuple[PayloadItem, ...]


@dataclass(frozen=True, slots=True)
class GenesisRequest:
    """Asks for the genesis file, of which a newcomer knows the hash alone."""


@dataclass(frozen=True, slots=True)
class GenesisText:
    """The genesis file, UTF-8; the receiver checks its hash."""

    text: bytes


Message: TypeAlias = (
    OfferRequest
    | Offer
    | ChunkRequest
    | Chunk
    | EpochEndsRequest
    | EpochEnds
    | TensorsRequest
    | Tensors
    | PayloadsRequest
    | Payloads
    | GenesisRequest
    | GenesisText
)


def encode_message(message: Message) -> bytes:
    """Return the canonical bytes of a message."""
    kind = _KINDS.index(type(message)) + 1
    return encode([kind, *_to_fields(message)])


def decode_message(data: bytes) -> Message:
    """Return the message whose canonical bytes are `data`; what it carries is not looked into.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    value = decode(data, bytes_max=MESSAGE_BYTES_MAX, depth_max=3)
    if type(value) is not list or not value or type(value[0]) is not int:
        raise InvalidInputError("malformed", "a snapshot message must begin with its kind")
    if not 1 <= value[0] <= len(_KINDS):
        raise InvalidInputError(
            "malformed", f"snapshot message of unknown kind {value[0]}", field="kind"
        )
    name = _KINDS[value[0] - 1].__name__
    decoder, count = _DECODERS[value[0] - 1]
    reader = FieldReader(value[1:], name, count)
    message = decoder(reader)
    reader.end()
    return message


def _to_fields(message: Message) -> list[Encodable]:  # noqa: C901 (one case for each kind)
    match message:
        case OfferRequest():
            return []
        case Offer():
            return [message.final_height, message.manifest]
        case ChunkRequest():
            return [message.snapshot_id, message.number]
        case Chunk():
            return [message.snapshot_id, message.number, message.data]
        case EpochEndsRequest():
            return [message.epoch]
        case EpochEnds():
            return [message.epoch, message.ends]
        case GenesisRequest():
            return []
        case GenesisText():
            return [message.text]
        case TensorsRequest():
            return [message.hashes]
        case Tensors():
            return [[(item.chunk_hash, item.data) for item in message.items]]
        case PayloadsRequest():
            return [message.transaction_ids]
        case Payloads():
            return [
                [
                    (item.transaction_id, item.envelope, item.salt, item.data)
                    for item in message.items
                ]
            ]


def _read_offer(reader: FieldReader) -> Offer:
    return Offer(
        reader.counter("final_height"), reader.bytes("manifest", bytes_max=MANIFEST_BYTES_MAX)
    )


def _read_chunk_request(reader: FieldReader) -> ChunkRequest:
    return ChunkRequest(
        reader.bytes("snapshot_id", HASH_BYTES), reader.integer("number", 0, CHUNKS_MAX - 1)
    )


def _read_chunk(reader: FieldReader) -> Chunk:
    return Chunk(
        reader.bytes("snapshot_id", HASH_BYTES),
        reader.integer("number", 0, CHUNKS_MAX - 1),
        reader.bytes("data", bytes_max=CHUNK_BYTES_MAX),
    )


def _read_epoch_ends(reader: FieldReader) -> EpochEnds:
    return EpochEnds(
        reader.integer("epoch", 0, COUNTER_MAX),
        _read_byte_strings(reader, "ends", EPOCH_ENDS_MAX, bytes_max=EPOCH_END_BYTES_MAX),
    )


def _read_tensor(value: Value) -> TensorItem:
    reader = FieldReader(value, "Tensors.items", 2)
    return TensorItem(
        reader.bytes("chunk_hash", HASH_BYTES), reader.bytes("data", bytes_max=_TENSOR_BYTES_MAX)
    )


def _read_payload(value: Value) -> PayloadItem:
    reader = FieldReader(value, "Payloads.items", 4)
    return PayloadItem(
        reader.bytes("transaction_id", HASH_BYTES),
        reader.bytes("envelope", bytes_max=_ENVELOPE_BYTES_MAX),
        reader.bytes("salt", bytes_max=SALT_BYTES),
        reader.bytes("data", bytes_max=MESSAGE_BYTES_MAX),
    )


def _read_byte_strings(
    reader: FieldReader,
    name: str,
    count_max: int,
    length: int | None = None,
    bytes_max: int | None = None,
) -> tuple[bytes, ...]:
    items = reader.array(name, count_max)
    each = FieldReader(items, name, len(items))
    return tuple(each.bytes("item", length, bytes_max) for _ in items)


_KINDS: Final = (
    OfferRequest,
    Offer,
    ChunkRequest,
    Chunk,
    EpochEndsRequest,
    EpochEnds,
    TensorsRequest,
    Tensors,
    PayloadsRequest,
    Payloads,
    GenesisRequest,
    GenesisText,
)
_DECODERS: Final[tuple[tuple[Callable[[FieldReader], Message], int], ...]] = (
    (lambda _: OfferRequest(), 0),
    (_read_offer, 2),
    (_read_chunk_request, 2),
    (_read_chunk, 3),
    (lambda reader: EpochEndsRequest(reader.counter("epoch")), 1),
    (_read_epoch_ends, 2),
    (
        lambda reader: TensorsRequest(
            _read_byte_strings(reader, "hashes", TENSORS_MAX, length=HASH_BYTES)
        ),
        1,
    ),
    (
        lambda reader: Tensors(
            tuple(_read_tensor(item) for item in reader.array("items", TENSORS_MAX))
        ),
        1,
    ),
    (
        lambda reader: PayloadsRequest(
            _read_byte_strings(reader, "transaction_ids", PAYLOADS_MAX, length=HASH_BYTES)
        ),
        1,
    ),
    (
        lambda reader: Payloads(
            tuple(_read_payload(item) for item in reader.array("items", PAYLOADS_MAX))
        ),
        1,
    ),
    (lambda _: GenesisRequest(), 0),
    (lambda reader: GenesisText(reader.bytes("text", bytes_max=GENESIS_BYTES_MAX)), 1),
)
