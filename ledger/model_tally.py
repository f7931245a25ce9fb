"""How many samples of each class and group a model judged, and how many of them rightly.

One record for each model, rewritten by every contribution; kept for models of up to 256 classes.
Source: docs/spec/ledger.md §5.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.schema import StateReader, read_record
from primitives.codec import Value, encode
from primitives.fields import COUNTER_MAX, FieldReader

__all__ = [
    "CLASSES_MAX",
    "Counts",
    "GroupCounts",
    "ModelTally",
    "count_groups",
    "decode_group_counts",
    "decode_model_tally",
    "model_tally_key",
    "read_tally",
]

CLASSES_MAX: Final = 256
"""Models with more classes keep no counts by class: the record would outgrow what it counts."""

Counts = tuple[tuple[int, int], ...]
"""For each class or group: samples judged, and judged rightly."""

GroupCounts = tuple[tuple[int, int, int], ...]
"""Number of a class or group, samples judged, and judged rightly; ascending by number."""


def model_tally_key(name: str) -> bytes:
    """Return the state key of a model's counts."""
    return b"tally/" + name.encode()


@dataclass(frozen=True, slots=True)
class ModelTally:
    """Counts since the model exists.

    Parameters
    ----------
    classes : one pair for each class; empty for a model without or with too many.
    groups : one pair for each group that the model names.
    """

    classes: Counts = ()
    groups: Counts = ()

    def add(self, classes: GroupCounts, groups: GroupCounts) -> ModelTally:
        """Return the counts with those of one contribution; classes may have been added since."""
        return ModelTally(_add(self.classes, classes), _add(self.groups, groups))

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(([list(pair) for pair in self.classes], [list(p) for p in self.groups]))


def decode_model_tally(data: bytes) -> ModelTally:
    """Return the counts whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "tally", 2)
    classes = tuple(_read_pair(item) for item in reader.array("classes", CLASSES_MAX))
    return ModelTally(
        classes, tuple(_read_pair(item) for item in reader.array("groups", CLASSES_MAX))
    )


def read_tally(state: StateReader, name: str) -> ModelTally:
    """Return a model's counts, none if it has no record yet."""
    return state.get(model_tally_key(name), decode_model_tally) or ModelTally()


def decode_group_counts(values: list[Value]) -> GroupCounts:
    """Return what one contribution counts, as it is in its record."""
    return tuple(_read_triple(value) for value in values)


def count_groups(seen: Sequence[int], right: Sequence[int]) -> GroupCounts:
    """Return the counts of one contribution: only classes or groups that it has samples of."""
    pairs = enumerate(zip(seen, right, strict=True))
    return tuple((number, judged, correct) for number, (judged, correct) in pairs if judged)


def _add(known: Counts, added: GroupCounts) -> Counts:
    length = max(len(known), added[-1][0] + 1 if added else 0)
    pairs = list(known) + [(0, 0)] * (length - len(known))
    for number, judged, correct in added:
        before = pairs[number]
        pairs[number] = (before[0] + judged, before[1] + correct)
    return tuple(pairs)


def _read_pair(value: Value) -> tuple[int, int]:
    reader = FieldReader(value, "tally", 2)
    return reader.counter("judged"), reader.counter("correct")


def _read_triple(value: Value) -> tuple[int, int, int]:
    reader = FieldReader(value, "contribution.counts", 3)
    return (
        reader.integer("number", 0, CLASSES_MAX),
        reader.integer("judged", 1, COUNTER_MAX),
        reader.counter("correct"),
    )
