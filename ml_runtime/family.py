"""What every model family is: the one interface between the ledger and learning.

A family is stateless; a model's parameters are a dictionary of int64 arrays with fixed names and
shapes. A newcomer adds a family in one file of ``ml_runtime/models/`` that passes
``ml_runtime.check_model`` and lists it in ``ml_runtime.registry``. Source: docs/spec/ml.md §4.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_runtime.fixed_point import INT64_SAFE, ONE
from ml_runtime.kernels import linear
from ml_runtime.samples import Integers, Samples, check_samples, take_samples
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import EXP2_TABLE, LOG2_E
from primitives.errors import InvalidInputError

__all__ = [
    "LABELLED",
    "SHARE_UNITS",
    "TARGET_LIMIT",
    "TOLERANCE",
    "ModelFamily",
    "Parameter",
    "State",
    "Task",
    "check_batch",
    "check_bound",
    "check_parameters",
    "check_range",
    "check_shapes",
    "check_targets",
    "copy_state",
    "count_parameters",
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


SHARE_UNITS: Final = 24
"""Compute units of turning a score into a probability: a power and a division."""


Task: TypeAlias = Literal["classification", "regression", "clustering", "outliers", "none"]
"""What a model answers: a class, a number, a group, how unusual a sample is; or nothing at all."""

TARGET_LIMIT: Final = 1 << 26
"""Largest absolute number that a regression model learns and answers: 1,024 in Q16."""

LABELLED: Final = ("classification", "regression")
"""The tasks whose samples come with the right answer."""


TOLERANCE: Final = Parameter(
    "tolerance",
    "a number this near to the right one agrees with it, Q16",
    ONE // 2,
    0,
    TARGET_LIMIT,
)
"""What families that predict numbers have among their settings."""


class ModelFamily(ABC):
    """One way to learn. Every method is pure but for what ``update`` does to the state.

    A subclass says what it is in the class attributes and writes the abstract methods; the others
    have a sensible default.
    """

    name: ClassVar[str]
    """Name in a spec: ``averaged_perceptron``."""

    tasks: ClassVar[tuple[Task, ...]] = ("classification",)
    """What models of this family can be for; classification if the spec has classes."""

    layouts: ClassVar[tuple[str, ...]] = ("dense", "sparse")
    """Which samples they take."""

    parameters: ClassVar[tuple[Parameter, ...]] = ()
    """The settings that a spec may name."""

    supports_unlearn: ClassVar[bool] = False
    """Whether ``unlearn`` takes a batch back exactly; otherwise only replay without it does."""

    supports_merge: ClassVar[bool] = False
    """Whether ``merge`` equals learning the union."""

    supports_decay: ClassVar[bool] = False
    """Whether ``decay`` makes a model forget a part of what it learnt."""

    ignores_batches: ClassVar[bool] = True
    """Whether the parameters do not depend on how samples are cut into batches."""

    sharpness: ClassVar[int] = LOG2_E
    """Q16: probabilities are shares of 2^(sharpness · score); 1 for scores that are logarithms."""

    has_responsibilities: ClassVar[bool] = False
    """Whether ``probabilities`` says which part of a mixture a sample is of."""

    grows_classes: ClassVar[bool] = False
    """Whether classes can be added to a model."""

    grows_features: ClassVar[bool] = False
    """Whether features can be added to a sparse model."""

    @abstractmethod
    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec that this family cannot compute exactly.

        Raises
        ------
        InvalidInputError
            ``invalid_spec``, with the setting, its value and the limit.
        """

    @abstractmethod
    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature that a model takes, Q16."""

    @abstractmethod
    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of a model's parameters."""

    @abstractmethod
    def samples_left(self, spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover; those beyond are not learnt."""

    @abstractmethod
    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return the compute units of evaluating and learning a batch.

        Parameters
        ----------
        samples
            How many.
        entries
            Features in all of them together that are not left out (dense: samples × features).
        """

    @abstractmethod
    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return int64[n, score_count], Q16.

        Classes and groups: a highest score is predicted. Regression: the predicted number.
        Outliers: how unusual the sample is.
        """

    @abstractmethod
    def update(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers, /) -> None:
        """Learn a batch, changing ``state`` in place; cannot fail for a checked batch.

        Parameters
        ----------
        targets
            int64[n]: class numbers, numbers in Q16, or zeros where the task has no right answer.
        """

    def task(self, spec: ModelSpec) -> Task:
        """Return what a model is for."""
        if len(self.tasks) == 1 or spec.class_count:
            return self.tasks[0]
        return self.tasks[1]

    def initial_state(self, spec: ModelSpec) -> State:
        """Return the parameters of a model that has learnt nothing; zeros unless overridden."""
        return {name: np.zeros(shape, dtype=np.int64) for name, shape in self.shapes(spec).items()}

    def score_count(self, spec: ModelSpec) -> int:
        """Return how many scores a sample has."""
        return max(spec.class_count, 1)

    def predict(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return the answer for each sample, int64[n]: a class, a group, or a number in Q16."""
        return self.decide(spec, self.scores(spec, state, samples))

    def decide(self, spec: ModelSpec, scores: Integers) -> Integers:
        """Return the answer that follows from scores; ties go to the lowest class or group."""
        if self.task(spec) in ("classification", "clustering"):
            best: Integers = np.argmax(scores, axis=1).astype(np.int64)
            return best
        return np.ascontiguousarray(scores[:, 0])

    def probabilities(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return probabilities, int64[n, classes or groups], Q16; a row adds up to about 65536.

        Raises
        ------
        InvalidInputError
            ``unsupported`` where the task has none.
        """
        if self.task(spec) not in ("classification", "clustering"):
            raise InvalidInputError(
                "unsupported", f"a model for {self.task(spec)} has no probabilities"
            )
        return self.shares(spec, self.scores(spec, state, samples))

    def shares(self, _spec: ModelSpec, scores: Integers) -> Integers:
        """Return the probabilities that follow from scores: their softmax unless overridden."""
        out = np.empty_like(scores)
        linear.softmax2(scores, self.sharpness, EXP2_TABLE, out)
        return out

    def unlearn(
        self, _spec: ModelSpec, _state: State, _samples: Samples, _targets: Integers, /
    ) -> None:
        """Take a learnt batch back, in place, where the family supports it.

        Raises
        ------
        InvalidInputError
            ``unsupported``, or ``not_learnt`` for what cannot have been learnt; nothing changes.
        """
        raise InvalidInputError(
            "unsupported", f"{self.name} unlearns by replay only: what came later depended on it"
        )

    def merge(self, _spec: ModelSpec, _states: Sequence[State], /) -> State:
        """Return what learning everything that the states learnt gives, where supported.

        Raises
        ------
        InvalidInputError
            ``unsupported``, or ``too_many_samples`` beyond what the bounds cover.
        """
        raise InvalidInputError(
            "unsupported", f"{self.name} cannot be merged: two models do not add up to one"
        )

    def decay(self, _spec: ModelSpec, _state: State, _shift: int, /) -> None:
        """Forget one part in 2^shift of what was learnt, in place, where supported.

        What was learnt before weighs less from then on than what is learnt next, and the bounds
        cover more samples again. A batch from before is no longer part of the sums with all its
        weight, so it must not be unlearnt any more: only replay without it takes it back.

        Parameters
        ----------
        shift
            1 forgets half, `ml_runtime.decay.SHIFT_MAX` the least.

        Raises
        ------
        InvalidInputError
            ``unsupported``, or ``shift_out_of_range``; nothing changes.
        """
        raise InvalidInputError(
            "unsupported", f"{self.name} cannot forget evenly: its parameters are not sums"
        )

    def check_state(self, spec: ModelSpec, state: State) -> None:
        """Check parameters that were trained elsewhere against names, shapes and bounds.

        Raises
        ------
        InvalidInputError
            ``wrong_tensors`` or ``parameter_out_of_range``, naming the tensor and the bound.
        """
        check_shapes(self, spec, state)
        for name, (low, high) in self.parameter_ranges(spec).items():
            check_range(self.name, name, state[name], low, high)

    def parameter_ranges(self, _spec: ModelSpec) -> dict[str, tuple[int, int]]:
        """Return between which numbers each tensor of a model must lie to be taken as pretrained.

        Raises
        ------
        InvalidInputError
            ``unsupported`` if models of this family take no parameters from elsewhere.
        """
        raise InvalidInputError(
            "unsupported", f"{self.name} takes no parameters that were trained elsewhere"
        )


def count_parameters(family: ModelFamily, spec: ModelSpec) -> int:
    """Return how many numbers a model keeps."""
    return sum(prod(shape) for shape in family.shapes(spec).values())


def check_shapes(family: ModelFamily, spec: ModelSpec, state: State) -> None:
    """Check that a state has the tensors of its spec; raises ``wrong_tensors``."""
    shapes = family.shapes(spec)
    given = {name: array.shape for name, array in state.items()}
    if given != shapes:
        raise InvalidInputError(
            "wrong_tensors",
            f"a model of this spec has the tensors {shapes}, found {given}",
            field="tensors",
            value=str(given),
            limit=str(shapes),
        )


def check_range(family: str, name: str, array: Integers, low: int, high: int) -> None:
    """Check that all numbers of a tensor lie in a range; raises ``parameter_out_of_range``."""
    if not array.size:
        return
    smallest, largest = int(array.min()), int(array.max())
    if smallest < low or largest > high:
        value, limit = (smallest, low) if smallest < low else (largest, high)
        raise InvalidInputError(
            "parameter_out_of_range",
            f"{family}.{name} holds {value}, its bounds are [{low}, {high}]",
            field=f"tensors.{name}",
            value=value,
            limit=limit,
        )


def check_batch(
    family: ModelFamily, spec: ModelSpec, samples: Samples, labels: Integers | None = None
) -> None:
    """Check that a batch suits a model; targets of a regression model in place of labels.

    Raises
    ------
    InvalidInputError
        As :func:`ml_runtime.samples.check_samples`, ``unknown_class`` or
        ``target_out_of_range``.
    """
    low, high = family.feature_range(spec)
    check_samples(samples, spec.layout, spec.feature_count, low, high)
    if labels is not None:
        check_targets(family.task(spec), spec.class_count, labels)


def check_targets(task: Task, class_count: int, targets: Integers) -> None:
    """Check that what samples are said to be suits a task.

    Raises
    ------
    InvalidInputError
        ``unknown_class`` or ``target_out_of_range``.
    """
    if not targets.size:
        return
    smallest, largest = int(targets.min()), int(targets.max())
    if task == "regression":
        if max(-smallest, largest) > TARGET_LIMIT:
            value = smallest if -smallest > largest else largest
            raise InvalidInputError(
                "target_out_of_range",
                f"a target is {value}, the model takes ±{TARGET_LIMIT} (in 1/65536)",
                field="targets",
                value=value,
                limit=TARGET_LIMIT,
            )
    elif task == "classification" and (smallest < 0 or largest >= class_count):
        value = smallest if smallest < 0 else largest
        raise InvalidInputError(
            "unknown_class",
            f"class {value} is unknown, the model has classes 0 to {class_count - 1}",
            field="labels",
            value=value,
            limit=class_count - 1,
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
    if spec.layout not in family.layouts:
        raise InvalidInputError(
            "invalid_spec",
            f"{family.name} takes {' or '.join(family.layouts)} samples, found spec.layout"
            f" {spec.layout!r}",
            field="spec.layout",
            value=spec.layout,
            limit=", ".join(family.layouts),
        )
    _check_classes(family, spec)


def _check_classes(family: ModelFamily, spec: ModelSpec) -> None:
    """Check that a spec has classes exactly if its task needs them; raises ``invalid_spec``."""
    if spec.tensors and family.tasks != ("none",):
        raise InvalidInputError(
            "invalid_spec",
            f"{family.name} has tensors of its own, found spec.tensors",
            field="spec.tensors",
            value=len(spec.tensors),
            limit=0,
        )
    if spec.class_count and "classification" not in family.tasks:
        raise InvalidInputError(
            "invalid_spec",
            f"{family.name} has no classes, found spec.class_count {spec.class_count}",
            field="spec.class_count",
            value=spec.class_count,
            limit=0,
        )
    if not spec.class_count and family.tasks == ("classification",):
        raise InvalidInputError(
            "invalid_spec",
            f"{family.name} needs at least 2 classes",
            field="spec.class_count",
            value=0,
            limit=2,
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
