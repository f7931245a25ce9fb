"""Records of the write-ahead log: one per signature, with everything it relied on.

A record holds at most one own vote, the certificates that justified it, and the proposals (whole
blocks) it depends on and that no earlier record holds. An own proposal is a record without a vote.
Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.messages import PrePrepare, decode_pre_prepare, encode_message
from primitives.certificates import CERTIFICATE_BYTES_MAX, Certificate, decode_certificate
from primitives.codec import Value, decode, encode
from primitives.errors import InvalidInputError
from primitives.vote import Vote, decode_vote

__all__ = ["RECORD_BYTES_MAX", "Record", "decode_record", "encode_record", "find_highest_epoch"]

RECORD_BYTES_MAX = 1024 * 1024 * 1024
"""Our own disk is trusted to this size; a COMMIT can rest on several fetched blocks."""

_RECORD_VERSION = 1
_FIELD_COUNT = 4


@dataclass(frozen=True, slots=True)
class Record:
    """What was signed and what it relied on.

    Parameters
    ----------
    vote : the own vote, if the record is one of a vote.
    certificates : that justified it.
    pre_prepares : blocks it depends on, ascending.
    """

    vote: Vote | None
    certificates: tuple[Certificate, ...]
    pre_prepares: tuple[PrePrepare, ...]


def encode_record(
    vote: Vote | None,
    certificates: Sequence[Certificate],
    pre_prepares: Sequence[PrePrepare],
) -> bytes:
    """Return the canonical bytes of a record."""
    return encode(
        (
            _RECORD_VERSION,
            None if vote is None else vote.encode(),
            [certificate.encode() for certificate in certificates],
            [encode_message(pre_prepare) for pre_prepare in pre_prepares],
        )
    )


def decode_record(data: bytes) -> Record:
    """Return the record whose canonical bytes are `data`.

    Raises
    ------
    InvalidInputError
        If it is not one; `consensus.recovery` turns that into a `CorruptStateError`.
    """
    fields = decode(data, bytes_max=RECORD_BYTES_MAX, depth_max=2)
    if type(fields) is not list or len(fields) != _FIELD_COUNT or fields[0] != _RECORD_VERSION:
        raise InvalidInputError("malformed", "record is not of a version known here")
    _, vote, certificates, pre_prepares = fields
    return Record(
        vote=None if vote is None else decode_vote(_as_bytes(vote)),
        certificates=tuple(
            decode_certificate(_as_bytes(item, CERTIFICATE_BYTES_MAX))
            for item in _as_list(certificates)
        ),
        pre_prepares=tuple(decode_pre_prepare(_as_bytes(item)) for item in _as_list(pre_prepares)),
    )


def find_highest_epoch(records: Sequence[bytes]) -> int:
    """Return the highest epoch in which records say that something was signed; 0 if none does.

    Raises
    ------
    InvalidInputError
        As `decode_record`.
    """
    highest = 0
    for data in records:
        record = decode_record(data)
        epochs = [each.header.epoch for each in record.pre_prepares]
        if record.vote is not None:
            epochs.append(record.vote.epoch)
        highest = max(highest, *epochs)
    return highest


def _as_bytes(value: Value, bytes_max: int = RECORD_BYTES_MAX) -> bytes:
    if type(value) is not bytes or len(value) > bytes_max:
        raise InvalidInputError("malformed", "record holds something else than a byte string")
    return value


def _as_list(value: Value) -> list[Value]:
    if type(value) is not list:
        raise InvalidInputError("malformed", "record holds something else than a list")
    return value
