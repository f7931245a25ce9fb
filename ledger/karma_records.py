"""What the state says of an account's karma: its points, and what it did to be respected for.

Points fade; what was done is counted for good. Source: docs/spec/ledger.md §5.11.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from incentives.activity import ActiveDays
from incentives.badges import Deserts
from incentives.karma import PARTS_MAX, add_points, halve, to_points
from ledger.contribution_records import decode_sample_set, encode_sample_set
from ledger.deeds import Deeds
from ledger.schema import StateReader, read_record
from ml_runtime.spec import CLASSES_MAX
from primitives.accounts import AccountId
from primitives.codec import Value, encode
from primitives.fields import COUNTER_MAX, FieldReader

__all__ = [
    "KARMA_PREFIX",
    "Karma",
    "current_points",
    "decode_karma",
    "karma_key",
    "karma_prefix",
    "overall_karma_key",
    "read_karma",
]

KARMA_PREFIX: Final = b"karma/"
_WINDOW_BYTES: Final = 8
_REGION_BYTES: Final = 8
_NO_DAYS: Final = ActiveDays()


def overall_karma_key(account: AccountId) -> bytes:
    """Return the state key of an account's karma over all models."""
    return KARMA_PREFIX + account


def karma_prefix(account: AccountId) -> bytes:
    """Return what the state keys of an account's karma by model start with."""
    return overall_karma_key(account) + b"/"


def karma_key(account: AccountId, model: str) -> bytes:
    """Return the state key of an account's karma on one model."""
    return karma_prefix(account) + model.encode()


@dataclass(frozen=True, slots=True)
class Karma:
    """What an account is respected for; it cannot be bought, sold or sent.

    Parameters
    ----------
    parts
        Points in parts of 2^-20, as they were at ``as_of_ms``.
    as_of_ms
        Block time at which the points changed last.
    valid
        Samples of its own that were validated.
    reported
        Samples of others that it rightly reported.
    contributions
        Contributions of which at least one sample was validated.
    models
        Models with validated samples: 0 or 1 on a model, their number overall.
    badges
        On a model those earned on it; overall all of them.
    sponsored
        On a model, samples whose deposit somebody else paid; 0 overall.
    days
        When it made contributions that were validated.
    classes, regions
        On a model, sets of the classes and of the regions that its validated samples are of; empty
        overall.
    """

    parts: int = 0
    as_of_ms: int = 0
    valid: int = 0
    reported: int = 0
    contributions: int = 0
    models: int = 0
    badges: int = 0
    sponsored: int = 0
    days: ActiveDays = _NO_DAYS
    classes: int = 0
    regions: int = 0

    def change_points(self, points: int, now_ms: int, half_life_ms: int) -> Karma:
        """Return the karma with points brought up to a time, then added or, if negative, taken."""
        faded = halve(self.parts, now_ms - self.as_of_ms, half_life_ms)
        return replace(self, parts=add_points(faded, points), as_of_ms=max(now_ms, self.as_of_ms))

    def change_parts(self, parts: int, now_ms: int, half_life_ms: int) -> Karma:
        """Do as `change_points`, with parts of points."""
        faded = self.change_points(0, now_ms, half_life_ms)
        return replace(faded, parts=max(0, min(faded.parts + parts, PARTS_MAX)))

    def note(self, valid: int, deeds: Deeds) -> Karma:
        """Return the karma with more done; counters stop at what they can hold."""
        return replace(
            self,
            valid=min(self.valid + valid, COUNTER_MAX),
            reported=min(self.reported + deeds.reported, COUNTER_MAX),
            contributions=self.contributions + (deeds.day is not None),
            days=self.days if deeds.day is None else self.days.note(deeds.day),
            classes=self.classes | deeds.classes,
            regions=self.regions | deeds.regions,
        )

    def to_deserts(self, class_count: int) -> Deserts:
        """Return what badges look at; `class_count` is that of the model, 0 overall."""
        return Deserts(
            valid=self.valid,
            reported=self.reported,
            active_days=self.days.count,
            longest_streak=self.days.longest_streak,
            models=self.models,
            classes=self.classes.bit_count(),
            class_count=class_count,
            regions=self.regions.bit_count(),
        )

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        days = self.days
        recent = encode_sample_set(days.recent)
        return encode(
            (
                self.parts,
                self.as_of_ms,
                self.valid,
                self.reported,
                self.contributions,
                self.models,
                self.badges,
                self.sponsored,
                (days.count, days.longest_streak, days.last, recent),
                encode_sample_set(self.classes),
                encode_sample_set(self.regions),
            )
        )


def decode_karma(data: bytes) -> Karma:
    """Return the karma whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "karma", 11)
    return Karma(
        parts=reader.integer("parts", 0, PARTS_MAX),
        as_of_ms=reader.counter("as_of_ms"),
        valid=reader.counter("valid"),
        reported=reader.counter("reported"),
        contributions=reader.counter("contributions"),
        models=reader.counter("models"),
        badges=reader.counter("badges"),
        sponsored=reader.counter("sponsored"),
        days=_decode_days(reader.value()),
        classes=decode_sample_set(reader.bytes("classes", bytes_max=CLASSES_MAX // 8)),
        regions=decode_sample_set(reader.bytes("regions", bytes_max=_REGION_BYTES)),
    )


def _decode_days(value: Value) -> ActiveDays:
    reader = FieldReader(value, "karma.days", 4)
    return ActiveDays(
        reader.counter("count"),
        reader.counter("longest_streak"),
        reader.counter("last"),
        decode_sample_set(reader.bytes("recent", bytes_max=_WINDOW_BYTES)),
    )


def read_karma(state: StateReader, key: bytes) -> Karma:
    """Return the karma under a key, none if there is no record."""
    return state.get(key, decode_karma) or Karma()


def current_points(karma: Karma, now_ms: int, half_life_ms: int) -> int:
    """Return whole points at a time, faded since they changed last.

    Parameters
    ----------
    karma : the record.
    now_ms : block time.
    half_life_ms : of the model's terms or, overall, of the governed parameters; 0 if none.
    """
    return to_points(halve(karma.parts, now_ms - karma.as_of_ms, half_life_ms))
