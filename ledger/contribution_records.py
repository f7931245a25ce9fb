"""What the state says of one contribution: whose, when, how good it was, what is left to claim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incentives.book import Book
from ledger.model_records import LOSS_SUM_MAX
from ledger.model_tally import CLASSES_MAX, GroupCounts, decode_group_counts
from ledger.schema import read_record
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, encode
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "SAMPLES_MAX",
    "Contribution",
    "contribution_key",
    "contribution_prefix",
    "decode_contribution",
    "decode_sample_set",
    "encode_sample_set",
]

SAMPLES_MAX: Final = 65_536
"""Upper end of what the governed parameter ``samples_per_contribution_max`` may be."""

_PARTIAL_MAX: Final = SAMPLES_MAX
_REPORTERS_MAX: Final = 1024


def contribution_prefix(model: str) -> bytes:
    """Return what the state keys of all contributions to a model start with."""
    return b"contribution/" + model.encode() + b"/"


def contribution_key(model: str, sequence: int) -> bytes:
    """Return the state key of one contribution; numbers begin at 0 for every model."""
    return contribution_prefix(model) + sequence.to_bytes(8, "big")


def encode_sample_set(samples: int) -> bytes:
    """Return a set of samples as bytes: bit i of the little-endian number is sample i."""
    return samples.to_bytes((samples.bit_length() + 7) // 8, "little")


def decode_sample_set(data: bytes) -> int:
    """Return the set of samples whose bytes are ``data``."""
    return int.from_bytes(data, "little")


@dataclass(frozen=True, slots=True)
class Contribution:
    """A contribution and its book.

    Parameters
    ----------
    transaction_id
        Of the transaction that carried it; its payload is found by it.
    contributor
        Who sent the samples.
    depositor
        Who put in the deposit and gets it back: the contributor, or its sponsor.
    height, timestamp_ms
        Of its block.
    entries
        Features in all samples together; meters what reading them again costs.
    correct
        Samples that the model predicted rightly just before it learnt them.
    loss
        Their losses together, Q16: bits of surprise, squared errors or scores.
    by_class, by_group
        Number of a class or group, samples of it, those predicted rightly; ascending.
    book
        What is left to claim.
    validated
        How many of its samples were validated.
    """

    transaction_id: bytes
    contributor: AccountId
    depositor: AccountId
    height: int
    timestamp_ms: int
    entries: int
    correct: int
    loss: int
    by_class: GroupCounts
    by_group: GroupCounts
    book: Book
    validated: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        book = self.book
        partial: list[Encodable] = [[sample, left] for sample, left in book.partial]
        reporters: list[Encodable] = [
            [account, encode_sample_set(samples)] for account, samples in book.reporters
        ]
        return encode(
            (
                self.transaction_id,
                self.contributor,
                self.depositor,
                self.height,
                self.timestamp_ms,
                self.entries,
                self.correct,
                self.loss,
                [list(each) for each in self.by_class],
                [list(each) for each in self.by_group],
                book.samples,
                book.share,
                encode_sample_set(book.open_samples),
                partial,
                reporters,
                book.karma_share,
                self.validated,
            )
        )


def decode_contribution(data: bytes) -> Contribution:
    """Return the contribution whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "contribution", 17)
    return Contribution(
        transaction_id=reader.bytes("transaction_id", HASH_BYTES),
        contributor=AccountId(reader.bytes("contributor", ACCOUNT_ID_BYTES)),
        depositor=AccountId(reader.bytes("depositor", ACCOUNT_ID_BYTES)),
        height=reader.counter("height"),
        timestamp_ms=reader.counter("timestamp_ms"),
        entries=reader.counter("entries"),
        correct=reader.counter("correct"),
        loss=reader.integer("loss", -LOSS_SUM_MAX, LOSS_SUM_MAX),
        by_class=decode_group_counts(reader.array("by_class", CLASSES_MAX)),
        by_group=decode_group_counts(reader.array("by_group", CLASSES_MAX)),
        book=_decode_book(reader),
        validated=reader.integer("validated", 0, SAMPLES_MAX),
    )


def _decode_book(reader: FieldReader) -> Book:
    return Book(
        samples=reader.integer("samples", 1, SAMPLES_MAX),
        share=reader.counter("share"),
        open_samples=decode_sample_set(reader.bytes("open_samples", bytes_max=SAMPLES_MAX // 8)),
        partial=tuple(_decode_partial(item) for item in reader.array("partial", _PARTIAL_MAX)),
        reporters=tuple(
            _decode_reporter(item) for item in reader.array("reporters", _REPORTERS_MAX)
        ),
        karma_share=reader.counter("karma_share"),
    )


def _decode_partial(value: Value) -> tuple[int, int]:
    reader = FieldReader(value, "contribution.partial", 2)
    return reader.integer("sample", 0, SAMPLES_MAX - 1), reader.integer("left", 0, COUNTER_MAX)


def _decode_reporter(value: Value) -> tuple[bytes, int]:
    reader = FieldReader(value, "contribution.reporters", 2)
    account = reader.bytes("account", ACCOUNT_ID_BYTES)
    return account, decode_sample_set(reader.bytes("samples", bytes_max=SAMPLES_MAX // 8))
