"""The frames that a node and its API process exchange, and their bytes; docs/adr/0004.

The API process speaks first::

    API process                           node
    Hello(last height, block id)     →
                                     ←    Welcome(chain, height the feed starts from, reset?)
                                     ←    SnapshotPart …, SnapshotEnd     (only after a reset)
                                     ←    BatchPart(height, last part?, puts, deletes) …
    Request(number, …)               →
                                     ←    Reply(number, …)                (between any two frames)

What one block wrote is a *batch*; it travels in parts of bounded size and the reader applies it
as one, so a reader never shows half a block. Both ends check every frame as if the other were a
stranger. :mod:`node.api.feed_stream` puts frames on a socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Protocol, Self

from consensus.report import ConsensusReport
from ledger.payload import SALT_BYTES, Payload
from node.api.feed_report import REPORT_BYTES_MAX, decode_counts, decode_report, encode_report
from primitives import codec
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "FRAME_BYTES_MAX",
    "BatchPart",
    "Frame",
    "Hello",
    "NodeStatus",
    "Pair",
    "PayloadReply",
    "PayloadRequest",
    "Refusal",
    "SnapshotEnd",
    "SnapshotPart",
    "StatusReply",
    "StatusRequest",
    "SubmitReply",
    "SubmitRequest",
    "Welcome",
    "decode_frame",
    "encode_frame",
]

FEED_VERSION = 1
"""Both ends come from one installation, so another version is refused rather than translated."""

FRAME_BYTES_MAX = 80 * 1024 * 1024
"""Longest frame either end reads: a part and one value, of which the largest is a block's body.

With the default parameters of a network frames stay near 2 MiB; governance may allow more.
"""

TEXT_BYTES_MAX = 4 * 1024
"""Longest message, name or value in a refusal or status; longer ones are cut."""

_DEPTH_MAX = 4

Pair = tuple[bytes, bytes]


class FrameKind(IntEnum):
    """First element of every frame."""

    HELLO = 1
    WELCOME = 2
    SNAPSHOT_PART = 3
    SNAPSHOT_END = 4
    BATCH_PART = 5
    SUBMIT_REQUEST = 6
    SUBMIT_REPLY = 7
    STATUS_REQUEST = 8
    STATUS_REPLY = 9
    PAYLOAD_REQUEST = 10
    PAYLOAD_REPLY = 11


class Frame(Protocol):
    """What every frame can do: say its kind and fields, and be read back from them."""

    kind: ClassVar[FrameKind]
    field_count: ClassVar[int]

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire, without the kind."""

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame of the next ``field_count`` fields; raises ``malformed``."""


@dataclass(frozen=True, slots=True)
class Hello:
    """What the API process holds: nothing, or everything up to a block.

    The id tells the node whether it is a block of its own chain; if not, the reader begins anew.
    """

    kind: ClassVar = FrameKind.HELLO
    field_count: ClassVar = 3
    last_height: int | None
    last_block_id: bytes | None

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [FEED_VERSION, self.last_height, self.last_block_id]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame; another version is refused."""
        reader.integer("version", FEED_VERSION, FEED_VERSION)
        return cls(
            reader.optional_integer("last_height", 0, COUNTER_MAX),
            reader.optional_bytes("last_block_id", HASH_BYTES),
        )


@dataclass(frozen=True, slots=True)
class Welcome:
    """The node's answer; with ``reset`` a snapshot of the state at ``height`` follows."""

    kind: ClassVar = FrameKind.WELCOME
    field_count: ClassVar = 3
    chain_id: bytes
    height: int
    reset: bool

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [self.chain_id, self.height, self.reset]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        return cls(
            reader.bytes("chain_id", length=HASH_BYTES),
            reader.counter("height"),
            reader.boolean("reset"),
        )


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """Some of the pairs of a snapshot, in ascending order of their keys."""

    kind: ClassVar = FrameKind.SNAPSHOT_PART
    field_count: ClassVar = 1
    puts: tuple[Pair, ...]

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [_flatten(self.puts)]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        return cls(_read_pairs(reader))


@dataclass(frozen=True, slots=True)
class SnapshotEnd:
    """The snapshot is complete and is that of ``height``."""

    kind: ClassVar = FrameKind.SNAPSHOT_END
    field_count: ClassVar = 1
    height: int

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [self.height]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        return cls(reader.counter("height"))


@dataclass(frozen=True, slots=True)
class BatchPart:
    """Some of what one block wrote."""

    kind: ClassVar = FrameKind.BATCH_PART
    field_count: ClassVar = 4
    height: int
    is_last: bool
    puts: tuple[Pair, ...]
    deletes: tuple[bytes, ...]

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [self.height, self.is_last, _flatten(self.puts), list(self.deletes)]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        return cls(
            reader.counter("height"),
            reader.boolean("is_last"),
            _read_pairs(reader),
            _read_keys(reader),
        )


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """A transaction for the mempool."""

    kind: ClassVar = FrameKind.SUBMIT_REQUEST
    field_count: ClassVar = 4
    number: int
    envelope: bytes
    payload: Payload | None

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [self.number, self.envelope, *_payload_fields(self.payload)]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        return cls(
            _read_number(reader),
            reader.bytes("envelope", bytes_max=FRAME_BYTES_MAX),
            _read_payload(reader),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was refused; the attributes of ``InvalidInputError`` as text."""

    code: str
    message: str
    field: str | None = None
    value: str | None = None
    limit: str | None = None

    @classmethod
    def from_error(cls, error: InvalidInputError) -> Refusal:
        """Return what crosses the socket of ``error``."""
        return cls(
            _to_text(error.code),
            _to_text(error.message),
            _to_optional_text(error.field),
            _to_optional_text(error.value),
            _to_optional_text(error.limit),
        )

    def to_error(self) -> InvalidInputError:
        """Return the error as the API process raises it."""
        return InvalidInputError(
            self.code, self.message, field=self.field, value=self.value, limit=self.limit
        )


@dataclass(frozen=True, slots=True)
class SubmitReply:
    """Accepted when ``refusal`` is None."""

    kind: ClassVar = FrameKind.SUBMIT_REPLY
    field_count: ClassVar = 2
    number: int
    refusal: Refusal | None

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [self.number, _refusal_fields(self.refusal)]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        return cls(_read_number(reader), _read_refusal(reader))


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Ask for the node's status."""

    kind: ClassVar = FrameKind.STATUS_REQUEST
    field_count: ClassVar = 1
    number: int

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [self.number]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        return cls(_read_number(reader))


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What a node knows of itself.

    ``validator_index`` is None for an observer; ``peers_expected`` counts the other members that
    this node should be connected to; ``is_catching_up`` says that blocks are known to be missing;
    ``counters`` is what it counts of its peers' messages and connections, by name.
    """

    name: str
    validator_index: int | None
    final_height: int
    view: int
    peers_connected: int
    peers_expected: int
    mempool_transactions: int
    mempool_bytes: int
    is_catching_up: bool
    version: str
    counters: tuple[tuple[str, int], ...]
    consensus: ConsensusReport


@dataclass(frozen=True, slots=True)
class StatusReply:
    """The node's status."""

    kind: ClassVar = FrameKind.STATUS_REPLY
    field_count: ClassVar = 13
    number: int
    status: NodeStatus

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        status = self.status
        return [
            self.number,
            _to_text(status.name),
            status.validator_index,
            status.final_height,
            status.view,
            status.peers_connected,
            status.peers_expected,
            status.mempool_transactions,
            status.mempool_bytes,
            status.is_catching_up,
            _to_text(status.version),
            [list(each) for each in status.counters],
            encode_report(status.consensus),
        ]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        number = _read_number(reader)
        status = NodeStatus(
            name=reader.text("name", TEXT_BYTES_MAX),
            validator_index=reader.optional_integer("validator_index", 0, COUNTER_MAX),
            final_height=reader.counter("final_height"),
            view=reader.counter("view"),
            peers_connected=reader.counter("peers_connected"),
            peers_expected=reader.counter("peers_expected"),
            mempool_transactions=reader.counter("mempool_transactions"),
            mempool_bytes=reader.counter("mempool_bytes"),
            is_catching_up=reader.boolean("is_catching_up"),
            version=reader.text("version", TEXT_BYTES_MAX),
            counters=decode_counts(reader, "counters"),
            consensus=decode_report(reader.bytes("consensus", bytes_max=REPORT_BYTES_MAX)),
        )
        return cls(number, status)


@dataclass(frozen=True, slots=True)
class PayloadRequest:
    """Ask for the erasable payload of a transaction."""

    kind: ClassVar = FrameKind.PAYLOAD_REQUEST
    field_count: ClassVar = 2
    number: int
    transaction_id: bytes

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [self.number, self.transaction_id]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        return cls(_read_number(reader), reader.bytes("transaction_id", length=HASH_BYTES))


@dataclass(frozen=True, slots=True)
class PayloadReply:
    """The payload; None when the node does not hold it, or said no."""

    kind: ClassVar = FrameKind.PAYLOAD_REPLY
    field_count: ClassVar = 4
    number: int
    refusal: Refusal | None
    payload: Payload | None

    def to_fields(self) -> list[codec.Encodable]:
        """Return the fields in their order on the wire."""
        return [self.number, _refusal_fields(self.refusal), *_payload_fields(self.payload)]

    @classmethod
    def from_fields(cls, reader: FieldReader) -> Self:
        """Return the frame."""
        return cls(
            _read_number(reader),
            _read_refusal(reader),
            _read_payload(reader),
        )


_FRAMES: tuple[type[Frame], ...] = (
    Hello,
    Welcome,
    SnapshotPart,
    SnapshotEnd,
    BatchPart,
    SubmitRequest,
    SubmitReply,
    StatusRequest,
    StatusReply,
    PayloadRequest,
    PayloadReply,
)
_FRAME_OF_KIND: dict[int, type[Frame]] = {frame.kind: frame for frame in _FRAMES}


def encode_frame(frame: Frame) -> bytes:
    """Return the bytes of ``frame``.

    Raises
    ------
    InvalidInputError
        ``too_large``: the frame is longer than ``FRAME_BYTES_MAX``.
    """
    data = codec.encode([int(frame.kind), *frame.to_fields()])
    if len(data) > FRAME_BYTES_MAX:
        raise InvalidInputError(
            "too_large",
            f"a frame of {len(data)} bytes is above the limit {FRAME_BYTES_MAX}",
            field="frame",
            value=len(data),
            limit=FRAME_BYTES_MAX,
        )
    return data


def decode_frame(data: bytes) -> Frame:
    """Return the frame that ``data`` encodes.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``not_canonical`` or ``too_large``.
    """
    value = codec.decode(data, bytes_max=FRAME_BYTES_MAX, depth_max=_DEPTH_MAX)
    kind = value[0] if isinstance(value, list) and value else None
    frame = _FRAME_OF_KIND.get(kind) if isinstance(kind, int) else None
    if frame is None:
        raise InvalidInputError("malformed", "this is no known kind of frame", field="kind")
    reader = FieldReader(value, f"{frame.kind.name.lower()} frame", frame.field_count + 1)
    reader.integer("kind", frame.kind, frame.kind)
    result: Frame = frame.from_fields(reader)
    reader.end()
    return result


def _flatten(puts: Sequence[Pair]) -> list[bytes]:
    """Return keys and values in turn: one array is cheaper to walk than an array of pairs."""
    flat: list[bytes] = []
    for pair in puts:
        flat.extend(pair)
    return flat


def _read_pairs(reader: FieldReader) -> tuple[Pair, ...]:
    flat = _check_all_bytes(reader.array("puts", items_max=FRAME_BYTES_MAX), "puts")
    if len(flat) % 2:
        raise InvalidInputError("malformed", "puts holds a key without its value", field="puts")
    return tuple(zip(flat[::2], flat[1::2], strict=True))


def _read_keys(reader: FieldReader) -> tuple[bytes, ...]:
    keys = reader.array("deletes", items_max=FRAME_BYTES_MAX)
    return tuple(_check_all_bytes(keys, "deletes"))


def _check_all_bytes(values: list[codec.Value], field: str) -> list[bytes]:
    checked = [value for value in values if isinstance(value, bytes)]
    if len(checked) != len(values):
        raise InvalidInputError("malformed", f"{field} holds other than bytes", field=field)
    return checked


def _refusal_fields(refusal: Refusal | None) -> list[codec.Encodable] | None:
    if refusal is None:
        return None
    return [refusal.code, refusal.message, refusal.field, refusal.value, refusal.limit]


def _read_refusal(reader: FieldReader) -> Refusal | None:
    value = reader.value()
    if value is None:
        return None
    fields = FieldReader(value, "refusal", 5)
    refusal = Refusal(
        fields.text("code", TEXT_BYTES_MAX),
        fields.text("message", TEXT_BYTES_MAX),
        _read_optional_text(fields, "field"),
        _read_optional_text(fields, "value"),
        _read_optional_text(fields, "limit"),
    )
    fields.end()
    return refusal


def _read_optional_text(reader: FieldReader, name: str) -> str | None:
    value = reader.value()
    if value is None or isinstance(value, str):
        return value
    raise InvalidInputError("malformed", f"refusal.{name} must be text or nil", field=name)


def _payload_fields(payload: Payload | None) -> tuple[bytes | None, bytes]:
    return (None, b"") if payload is None else (payload.salt, payload.data)


def _read_payload(reader: FieldReader) -> Payload | None:
    """Read a salt or nil, and data, which counts only beside a salt."""
    salt = reader.optional_bytes("salt", SALT_BYTES)
    data = reader.bytes("payload", bytes_max=FRAME_BYTES_MAX)
    return None if salt is None else Payload(salt, data)


def _read_number(reader: FieldReader) -> int:
    return reader.counter("number")


def _to_text(value: object) -> str:
    """Return ``value`` as text that fits a frame; bytes as hexadecimal."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    # Cutting may fall inside a character, and text of a peer may hold a lone surrogate.
    return text.encode(errors="replace")[:TEXT_BYTES_MAX].decode(errors="ignore")


def _to_optional_text(value: object) -> str | None:
    return None if value is None else _to_text(value)
