"""What every model family is: the one interface between the ledger and learning.

A family is stateless; a model's parameters are a dictionary of int64 arrays with fixed names and
shapes. A newcomer adds a family in one file of ``ml_runtime/models/`` that passes
``ml_runtime.check_model`` and lists it in ``ml_runtime.registry``. Source: docs/spec/ml.md §4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_runtime.fixed_point import INT64_SAFE
from ml_runtime.samples import Integers, Samples, check_samples, take_samples
from ml_runtime.spec import LAYOUTS, ModelSpec
from primitives.errors import InvalidInputError

__all__ = [
    "ModelFamily",
    "Parameter",
    "State",
    "check_batch",
    "check_bound",
    "check_parameters",
    "copy_state",
    "learn_and_evaluate",
    "take_covered",
]

State: TypeAlias = dict[str, NDArray[np.int64]]
"""The parameters of a model: C-contiguous int64 arrays by name."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a family.

    Parameters
    ----------
    name, description
        For the spec and for people.
    default, low, high
        Whole numbers; Q16 where the description says so.
    """

    name: str
    description: str
    default: int
    low: int
    high: int


class ModelFamily(Protocol):
    """One way to learn. Every method is pure but for what ``update`` does to the state."""

    @property
    def name(self) -> str:
        """Name in a spec: ``averaged_perceptron``."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """The settings that a spec may name."""

    @property
    def supports_unlearn(self) -> bool:
        """Whether ``unlearn`` takes a batch back exactly."""

    @property
    def supports_merge(self) -> bool:
        """Whether ``merge`` equals learning the union."""

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec that this family cannot compute exactly.

        Raises
        ------
        InvalidInputError
            ``invalid_spec``, with the setting, its value and the limit.
        """

    def samples_left(self, spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover; those beyond are not learnt."""

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature that a model takes, Q16."""

    def initial_state(self, spec: ModelSpec) -> State:
        """Return the parameters of a model that has learnt nothing."""

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return the compute units of evaluating and learning a batch.

        Parameters
        ----------
        samples
            How many.
        entries
            Features in all of them together that are not left out (dense: samples × features).
        """

    def predict(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the class of each sample, int64[n]; ties go to the lowest class."""

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return one score for each class, int64[n, classes], Q16; a highest is predicted."""

    def probabilities(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return probabilities, int64[n, classes], Q16; a row adds up to about 65536."""

    def update(self, spec: ModelSpec, state: State, samples: Samples, labels: Integers, /) -> None:
        """Learn a batch, changing ``state`` in place; cannot fail for a checked batch."""

    def unlearn(self, spec: ModelSpec, state: State, samples: Samples, labels: Integers, /) -> None:
        """Take a learnt batch back, in place, where the family supports it.

        Raises
        ------
        InvalidInputError
            ``unsupported``, or ``not_learnt`` for what cannot have been learnt; nothing changes.
        """

    def merge(self, spec: ModelSpec, states: Sequence[State], /) -> State:
        """Return what learning everything that the states learnt gives, where supported.

        Raises
        ------
        InvalidInputError
            ``unsupported``, or ``too_many_samples`` beyond what the bounds cover.
        """


def learn_and_evaluate(
    family: ModelFamily, spec: ModelSpec, state: State, samples: Samples, labels: Integers
) -> Integers:
    """Predict a batch as the model is before it, then learn it (prequential evaluation).

    Returns
    -------
    int64[n]
        The predictions: what anybody who asked just before the batch would have been told.
    """
    predictions = family.predict(spec, state, samples)
    family.update(spec, state, samples, labels)
    return predictions


def check_batch(
    family: ModelFamily, spec: ModelSpec, samples: Samples, labels: Integers | None = None
) -> None:
    """Check that a batch suits a model.

    Raises
    ------
    InvalidInputError
        As :func:`ml_runtime.samples.check_samples`, or ``unknown_class``.
    """
    low, high = family.feature_range(spec)
    check_samples(samples, spec.layout, spec.feature_count, low, high)
    if labels is None or not labels.size:
        return
    smallest, largest = int(labels.min()), int(labels.max())
    if smallest < 0 or largest >= spec.class_count:
        value = smallest if smallest < 0 else largest
        raise InvalidInputError(
            "unknown_class",
            f"class {value} is unknown, the model has classes 0 to {spec.class_count - 1}",
            field="labels",
            value=value,
            limit=spec.class_count - 1,
        )


def take_covered(samples: Samples, labels: Integers, samples_left: int) -> tuple[Samples, Integers]:
    """Return the first samples of a batch, as many as the bounds still cover.

    A model stops at the same sample however the samples are cut into batches.
    """
    if len(labels) <= samples_left:
        return samples, labels
    return take_samples(samples, np.arange(samples_left)), labels[:samples_left]


def copy_state(state: Mapping[str, NDArray[np.int64]]) -> State:
    """Return arrays of their own with the same content."""
    return {name: array.copy() for name, array in state.items()}


def check_parameters(family: ModelFamily, spec: ModelSpec) -> None:
    """Check names and ranges of a spec's settings, and its layout; raises ``invalid_spec``."""
    known = {parameter.name: parameter for parameter in family.parameters}
    for name, value in spec.parameters:
        parameter = known.get(name)
        if parameter is None:
            raise InvalidInputError(
                "invalid_spec",
                f"{family.name} has no setting {name!r}; it has {', '.join(known)}",
                field=f"spec.parameters.{name}",
                value=value,
            )
        if not parameter.low <= value <= parameter.high:
            raise InvalidInputError(
                "invalid_spec",
                f"{family.name}.{name} must lie in [{parameter.low}, {parameter.high}], found"
                f" {value}",
                field=f"spec.parameters.{name}",
                value=value,
                limit=parameter.high if value > parameter.high else parameter.low,
            )
    if spec.layout not in LAYOUTS:
        raise InvalidInputError(
            "invalid_spec", f"spec.layout {spec.layout!r} is unknown", field="spec.layout"
        )


def check_bound(spec: ModelSpec, what: str, largest: int) -> None:
    """Check that the largest number a kernel can meet stays in int64; raises ``invalid_spec``."""
    if largest >= INT64_SAFE:
        raise InvalidInputError(
            "invalid_spec",
            f"{what} of {spec.family} with {spec.feature_count} features could reach {largest},"
            f" the limit is {INT64_SAFE}; lower the bound of the features or use fewer",
            field="spec.feature_count",
            value=largest,
            limit=INT64_SAFE,
        )
