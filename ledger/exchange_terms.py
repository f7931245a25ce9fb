"""What an exchange asks for: what models must fit, what is offered, and how long it takes.

All of it is decided when the exchange is opened and never changes, so whoever submits a model knows
beforehand whether it can be judged. Source: docs/spec/ledger.md §5.12.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from incentives.exchange import LOSS_THRESHOLD_MAX, Offer, check_offer
from ledger.contribution_records import SAMPLES_MAX
from ledger.model_records import DESCRIPTION_BYTES_MAX, NAME
from ledger.parameters import get_limits
from ledger.schema import AMOUNT_MAX
from ml_runtime.samples import FEATURES_MAX
from ml_runtime.spec import CLASSES_MAX, LAYOUTS
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader

__all__ = [
    "REVEAL_WAIT_MS_MIN",
    "SUBMISSIONS_MAX",
    "ExchangeTerms",
    "Layout",
    "check_exchange_name",
    "check_exchange_terms",
    "decode_exchange_terms",
    "read_exchange_name",
]

SUBMISSIONS_MAX: Final = 256
REVEAL_WAIT_MS_MIN: Final = 60_000
"""Opening a model takes transactions of its own, and blocks to hold them."""

FEATURE_LIMIT: Final = 1 << 40
"""Largest absolute feature that test samples may be said to have, Q16; no family takes more."""

_NAME_BYTES: Final = 64
_METRIC_BYTES: Final = 16
_DENSE_ENTRY_BYTES: Final = 8
_SPARSE_ENTRY_BYTES: Final = 12
_PAYLOAD_BYTES: Final = get_limits("payload_bytes_max")[1]


@dataclass(frozen=True, slots=True)
class Layout:
    """What a model must fit, and every sample of the test set.

    Parameters
    ----------
    class_count : 2 to 4,096 for classification, 0 for regression.
    samples : ``dense`` or ``sparse``.
    feature_count : of a sample.
    feature_low, feature_high : between which features lie, Q16; a model must take all of them.
    """

    class_count: int
    samples: str
    feature_count: int
    feature_low: int
    feature_high: int

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What models are for."""
        return "classification" if self.class_count else "regression"


@dataclass(frozen=True, slots=True)
class ExchangeTerms:
    """The terms of an exchange.

    Parameters
    ----------
    name : like a model's; each is used once for good.
    description : for people, at most 1 KiB.
    layout : what models and samples must fit.
    offer : metric, threshold, bounty and stake.
    submissions_max : at most so many accounts submit a model.
    length_ms : for so long models are submitted.
    reveal_wait_ms : for so long models can be opened, and then again the test set shown.
    piece_samples_max : no piece of the test set has more samples.
    """

    name: str
    description: str
    layout: Layout
    offer: Offer
    submissions_max: int
    length_ms: int
    reveal_wait_ms: int
    piece_samples_max: int

    @property
    def largest_piece(self) -> tuple[int, int]:
        """Samples and entries, the most that a piece can have whatever parameters are in force."""
        dense = self.layout.samples == "dense"
        entry_bytes = _DENSE_ENTRY_BYTES if dense else _SPARSE_ENTRY_BYTES
        entries = self.piece_samples_max * self.layout.feature_count
        return self.piece_samples_max, min(entries, _PAYLOAD_BYTES // entry_bytes)

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        layout, offer = self.layout, self.offer
        return [
            self.name,
            self.description,
            [
                layout.class_count,
                layout.samples,
                layout.feature_count,
                layout.feature_low,
                layout.feature_high,
            ],
            [offer.metric, offer.threshold, offer.bounty, offer.stake],
            self.submissions_max,
            self.length_ms,
            self.reveal_wait_ms,
            self.piece_samples_max,
        ]


def decode_exchange_terms(value: Value) -> ExchangeTerms:
    """Return the terms whose fields are `value`.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range`` or ``too_large``.
    """
    reader = FieldReader(value, "exchange", 8)
    terms = ExchangeTerms(
        name=read_exchange_name(reader, "name"),
        description=reader.text("description", DESCRIPTION_BYTES_MAX),
        layout=_decode_layout(reader.value()),
        offer=_decode_offer(reader.value()),
        submissions_max=reader.integer("submissions_max", 1, SUBMISSIONS_MAX),
        length_ms=reader.integer("length_ms", 1, COUNTER_MAX),
        reveal_wait_ms=reader.integer("reveal_wait_ms", REVEAL_WAIT_MS_MIN, COUNTER_MAX),
        piece_samples_max=reader.integer("piece_samples_max", 1, SAMPLES_MAX),
    )
    reader.end()
    return terms


def read_exchange_name(reader: FieldReader, field: str = "exchange") -> str:
    """Read the name of an exchange; raises ``malformed`` for what cannot be one."""
    name = reader.text(field, _NAME_BYTES)
    check_exchange_name(name)
    return name


def check_exchange_name(name: str) -> None:
    """Refuse what cannot name an exchange; raises ``malformed``."""
    if NAME.fullmatch(name) is None:
        raise InvalidInputError(
            "malformed",
            f"the name of an exchange must be 1 to 63 of a-z, 0-9 and -, not beginning with -,"
            f" found {name!r}",
            field="exchange.name",
            value=name,
        )


def check_exchange_terms(terms: ExchangeTerms, *, wait_ms_max: int) -> None:
    """Check what contradicts itself or could never be judged.

    Raises
    ------
    InvalidInputError
        ``invalid_exchange``, with the field, its value and the limit.
    """
    check_offer(terms.offer)
    layout = terms.layout
    if layout.class_count == 1:
        raise _invalid("class_count", 1, 2, "must be 0 or at least 2")
    if terms.offer.metric == "accuracy" and not layout.class_count:
        raise _invalid("metric", "accuracy", "loss", "must be loss for regression")
    if layout.samples not in LAYOUTS:
        raise _invalid("layout", layout.samples, ", ".join(LAYOUTS), "must be dense or sparse")
    if layout.feature_low > layout.feature_high:
        raise _invalid(
            "feature_low",
            layout.feature_low,
            layout.feature_high,
            f"must not be above feature_high {layout.feature_high}",
        )
    for name in ("length_ms", "reveal_wait_ms"):
        value = getattr(terms, name)
        if value > wait_ms_max:
            raise _invalid(name, value, wait_ms_max, f"must be at most {wait_ms_max}")


def _decode_layout(value: Value) -> Layout:
    reader = FieldReader(value, "exchange.layout", 5)
    layout = Layout(
        class_count=reader.integer("class_count", 0, CLASSES_MAX),
        samples=reader.text("samples", 6),
        feature_count=reader.integer("feature_count", 1, FEATURES_MAX),
        feature_low=reader.integer("feature_low", -FEATURE_LIMIT, FEATURE_LIMIT),
        feature_high=reader.integer("feature_high", -FEATURE_LIMIT, FEATURE_LIMIT),
    )
    reader.end()
    return layout


def _decode_offer(value: Value) -> Offer:
    reader = FieldReader(value, "exchange.offer", 4)
    offer = Offer(
        metric=reader.text("metric", _METRIC_BYTES),
        threshold=reader.integer("threshold", 0, LOSS_THRESHOLD_MAX),
        bounty=reader.integer("bounty", 1, AMOUNT_MAX),
        stake=reader.integer("stake", 0, AMOUNT_MAX),
    )
    reader.end()
    return offer


def _invalid(name: str, value: int | str, limit: int | str, rule: str) -> InvalidInputError:
    return InvalidInputError(
        "invalid_exchange",
        f"exchange.{name} {rule}, found {value}",
        field=f"exchange.{name}",
        value=value,
        limit=limit,
    )
