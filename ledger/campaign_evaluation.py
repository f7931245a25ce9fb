"""How far the evaluation of a campaign has come: all of it is state, so any block can go on.

Theory of operation
-------------------
An evaluation is cut into *items*, each small enough for one transaction: to start a chain of the
rule, to train one contribution on the scratch model, to measure the scratch model on one piece, or
to settle. That the rule asks for nothing more is noted as a chain without steps.
Between two items everything is in the state: this record within the campaign's, the parameters of
the scratch model, and the measures of the chains before. So it does not matter over how many
transactions, blocks or restarts an evaluation is spread:

(E1) The next item follows from this record and the pieces alone, but for which chain is started.
(E2) What a campaign leads to does not depend on how many items any transaction performed.
(E3) An item either happened as a whole or not at all.

Source: docs/spec/ledger.md §5.11.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from incentives.contribution_pay import SAMPLED_STEPS_MAX
from incentives.valuation import Chain, History
from ledger.model_tensors import ModelArrays
from ledger.schema import read_record
from primitives.codec import Encodable, Value, encode
from primitives.errors import CorruptStateError
from primitives.fields import FieldReader

__all__ = [
    "CONTRIBUTIONS_MAX",
    "MEASURE_MAX",
    "SCRATCH_BYTES_MAX",
    "CampaignScratch",
    "Evaluation",
    "Item",
    "MeasureLog",
    "decode_measure_log",
    "decode_scratch",
    "measure_log_key",
    "read_evaluation",
    "scratch_key",
]

CONTRIBUTIONS_MAX: Final = 256
MEASURE_MAX: Final = 1 << 62
"""Clamp of a measure to both sides."""

SCRATCH_BYTES_MAX: Final = 4 * 1024 * 1024
"""Parameters of the largest model that can have campaigns: they are a record of the state."""

START: Final = "start"
TRAIN: Final = "train"
MEASURE: Final = "measure"
SETTLE: Final = "settle"

_PIECES_MAX: Final = 256
_STEPS_MAX: Final = CONTRIBUTIONS_MAX + 1
_CHAINS_MAX: Final = SAMPLED_STEPS_MAX + 2
_TENSORS_MAX: Final = 64
_NAME_BYTES_MAX: Final = 64
_ELEMENT: Final = np.dtype("<i8")


def scratch_key(model: str) -> bytes:
    """Return the state key of the parameters that a campaign's evaluation works on."""
    return b"campaign_scratch/" + model.encode()


def measure_log_key(model: str, number: int) -> bytes:
    """Return the state key of what the evaluation of a campaign measured."""
    return b"campaign_measures/" + model.encode() + b"/" + number.to_bytes(8, "big")


class Item(NamedTuple):
    """One item of work.

    Parameters
    ----------
    kind : ``start``, ``train``, ``measure`` or ``settle``.
    number : of the contribution or piece; 0 for the others.
    """

    kind: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Where an evaluation stands.

    Parameters
    ----------
    chain : that is worked on, None between two.
    step, place : which step of it, and how many contributions of the step were trained.
    piece : how many pieces the scratch model was measured on at the end of the step.
    total : what was measured on those.
    measures : of the steps before.
    learnt : contributions that the scratch model has learnt, in order.
    """

    chain: Chain | None = None
    step: int = 0
    place: int = 0
    piece: int = 0
    total: int = 0
    measures: tuple[int, ...] = ()
    learnt: tuple[int, ...] = ()

    def next_item(self, pieces: tuple[int, ...]) -> Item:
        """Return the item that is to be performed next; `pieces` are those that count."""
        if self.chain is None:
            return Item(START)
        if not self.chain.steps:
            return Item(SETTLE)
        step = self.chain.steps[self.step]
        if self.place < len(step):
            return Item(TRAIN, step[self.place])
        return Item(MEASURE, pieces[self.piece])

    def foresee(self, pieces: tuple[int, ...]) -> Iterator[Item]:
        """Yield the items that are certain to come: up to where the chain ends."""
        if self.chain is None:
            yield Item(START)
            return
        if not self.chain.steps:
            yield Item(SETTLE)
            return
        place, piece = self.place, self.piece
        for step in self.chain.steps[self.step :]:
            yield from (Item(TRAIN, number) for number in step[place:])
            yield from (Item(MEASURE, number) for number in pieces[piece:])
            place = piece = 0

    def train(self, number: int) -> Evaluation:
        """Return where it stands when a contribution was trained."""
        return replace(self, place=self.place + 1, learnt=(*self.learnt, number))

    def measure(self, value: int, pieces: int) -> Evaluation:
        """Return where it stands when a piece, of so many, was measured."""
        total = max(-MEASURE_MAX, min(MEASURE_MAX, self.total + value))
        if self.piece + 1 < pieces:
            return replace(self, piece=self.piece + 1, total=total)
        return replace(
            self, step=self.step + 1, place=0, piece=0, total=0, measures=(*self.measures, total)
        )

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        chain: list[Encodable] | None = None
        if self.chain is not None:
            chain = [list(step) for step in self.chain.steps]
        cursor = (self.step, self.place, self.piece, self.total)
        return [chain, *cursor, list(self.measures), list(self.learnt)]


def read_evaluation(value: Value) -> Evaluation:
    """Return the evaluation whose fields are `value`; raises as `FieldReader` does."""
    reader = FieldReader(value, "evaluation", 7)
    chain = reader.value()
    return Evaluation(
        None if chain is None else _read_chain(chain),
        reader.integer("step", 0, _STEPS_MAX),
        reader.integer("place", 0, CONTRIBUTIONS_MAX),
        reader.integer("piece", 0, _PIECES_MAX),
        reader.integer("total", -MEASURE_MAX, MEASURE_MAX),
        _read_measures(reader.array("measures", _STEPS_MAX)),
        _read_numbers(reader.array("learnt", CONTRIBUTIONS_MAX)),
    )


@dataclass(frozen=True, slots=True)
class MeasureLog:
    """The measures of all chains of a campaign, kept for good: from them follows who got what."""

    history: History = ()

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(([list(measures) for measures in self.history],))


def decode_measure_log(data: bytes) -> MeasureLog:
    """Return the measures whose canonical bytes are `data`; raises as `read_record`."""
    chains = read_record(data, "measures", 1).array("history", _CHAINS_MAX)
    reader = FieldReader(chains, "measures.history", len(chains))
    return MeasureLog(tuple(_read_measures(reader.array("chain", _STEPS_MAX)) for _ in chains))


@dataclass(frozen=True, slots=True)
class CampaignScratch:
    """Parameters of the scratch model, between two transactions.

    Parameters
    ----------
    tensors : name and little-endian int64 in row-major order, ascending by name.
    """

    tensors: tuple[tuple[str, bytes], ...]

    @classmethod
    def from_arrays(cls, arrays: ModelArrays) -> CampaignScratch:
        """Return the record of some arrays."""
        return cls(
            tuple((name, arrays[name].astype(_ELEMENT).tobytes()) for name in sorted(arrays))
        )

    def to_arrays(self, shapes: dict[str, tuple[int, ...]]) -> ModelArrays:
        """Return arrays of one's own; raises `CorruptStateError` for other shapes than those."""
        try:
            return {
                name: np.frombuffer(data, _ELEMENT).astype(np.int64).reshape(shapes[name])
                for name, data in self.tensors
            }
        except (KeyError, ValueError) as error:
            raise CorruptStateError("a campaign's scratch is not of its model's shapes") from error

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(([[name, data] for name, data in self.tensors],))


def decode_scratch(data: bytes) -> CampaignScratch:
    """Return the scratch whose canonical bytes are `data`; raises as `read_record`."""
    items = read_record(data, "scratch", 1).array("tensors", _TENSORS_MAX)
    readers = [FieldReader(item, "scratch.tensors", 2) for item in items]
    return CampaignScratch(
        tuple(
            (
                reader.text("name", _NAME_BYTES_MAX),
                reader.bytes("data", bytes_max=SCRATCH_BYTES_MAX),
            )
            for reader in readers
        )
    )


def _read_chain(value: Value) -> Chain:
    values = FieldReader([value], "evaluation", 1).array("chain", _STEPS_MAX)
    steps = FieldReader(values, "chain", len(values))
    return Chain(tuple(_read_numbers(steps.array("step", CONTRIBUTIONS_MAX)) for _ in values))


def _read_numbers(values: list[Value]) -> tuple[int, ...]:
    reader = FieldReader(values, "contributions", len(values))
    return tuple(reader.integer("number", 0, CONTRIBUTIONS_MAX - 1) for _ in values)


def _read_measures(values: list[Value]) -> tuple[int, ...]:
    reader = FieldReader(values, "measures", len(values))
    return tuple(reader.integer("measure", -MEASURE_MAX, MEASURE_MAX) for _ in values)
