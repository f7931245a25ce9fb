"""What an import gives and is asked for, and reading the attributes of fitted estimators.

Estimators are recognised by the names of their classes and read by the attributes that scikit-learn
documents: nothing here imports scikit-learn, whose objects the caller already has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml_runtime.family import State
from ml_runtime.fixed_point import FRACTION_BITS
from ml_runtime.registry import get_family
from ml_runtime.spec import PARAMETER_MAX, ModelSpec, make_spec
from primitives.errors import InvalidInputError
from quorate.model_files.from_floats import NumberRange, Rounding, round_numbers, round_state

__all__ = [
    "Floats",
    "ImportRequest",
    "ImportedModel",
    "build_import",
    "make_unsupported",
    "mirror_rows",
    "read_class_names",
    "read_fitted",
    "round_setting",
]

Floats = NDArray[np.float64]

BINARY: Final = 2


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model that begins with what an estimator has learnt.

    Parameters
    ----------
    spec
        What the model is.
    state
        Its parameters; they pass the ``check_state`` of the family.
    class_names
        The estimator's classes, as text, in its order.
    report
        What rounding did to tensors and settings.
    notes
        Sentences on where model and estimator can differ beyond rounding.
    """

    spec: ModelSpec
    state: State
    class_names: tuple[str, ...]
    report: tuple[Rounding, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """How a model is to be built.

    Parameters
    ----------
    feature_limit
        Largest absolute feature that the model shall take, in natural units; None for the default
        of the family.
    layout
        ``dense`` or ``sparse``.
    class_counts
        Samples of each class, where the estimator does not know them; None if unknown.
    """

    feature_limit: float | None = None
    layout: str = "dense"
    class_counts: tuple[int, ...] | None = None

    def build_spec(
        self, family: str, feature_count: int, class_count: int, settings: Mapping[str, int]
    ) -> ModelSpec:
        """Return a checked spec; raises ``invalid_spec`` for what the family cannot compute."""
        chosen = dict(settings)
        if self.feature_limit is not None:
            chosen["feature_limit"] = round_setting("feature_limit", self.feature_limit)[0]
        spec = make_spec(family, self.layout, feature_count, class_count, chosen)
        get_family(family).check(spec)
        return spec


def build_import(
    spec: ModelSpec,
    tensors: Mapping[str, Any],
    class_names: tuple[str, ...] = (),
    report: tuple[Rounding, ...] = (),
    notes: tuple[str, ...] = (),
) -> ImportedModel:
    """Return the model with these tensors; what is not given is zero.

    Raises
    ------
    InvalidInputError
        As :func:`quorate.model_files.from_floats.round_state`.
    """
    shapes = get_family(spec.family).shapes(spec)
    rest = {name: np.zeros(shapes[name], dtype=np.int64) for name in shapes if name not in tensors}
    rounded = round_state(spec, {**rest, **tensors})
    return ImportedModel(spec, rounded.state, class_names, (*rounded.report, *report), notes)


def round_setting(name: str, value: Any) -> tuple[int, Rounding]:
    """Return a setting in Q16, and what rounding did to it.

    Raises
    ------
    InvalidInputError
        ``parameter_out_of_range`` if it is not finite, ``unsupported`` if it is not one number.
    """
    if np.ndim(value):
        raise make_unsupported(f"{name} is an array; one number for all features is taken")
    allowed = NumberRange(FRACTION_BITS, -PARAMETER_MAX, PARAMETER_MAX)
    integers, rounding = round_numbers(name, [value], allowed)
    return int(integers[0]), rounding


def read_fitted(estimator: Any, name: str, *, dimensions: int | None = None) -> Floats:
    """Return an attribute that fitting sets, as floats.

    Raises
    ------
    InvalidInputError
        ``not_learnt`` if the estimator was not fitted, ``unsupported`` for another number of
        dimensions, as one estimator for several targets at once has.
    """
    value = getattr(estimator, name, None)
    if value is None:
        raise InvalidInputError(
            "not_learnt",
            f"{type(estimator).__name__} has no {name}: fit it first",
            field=f"estimator.{name}",
        )
    if hasattr(value, "toarray"):
        value = value.toarray()
    try:
        numbers: Floats = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise make_unsupported(
            f"{type(estimator).__name__}.{name} does not hold numbers: {error}"
        ) from error
    if dimensions is not None and numbers.ndim != dimensions:
        raise make_unsupported(
            f"{type(estimator).__name__}.{name} has {numbers.ndim} dimensions, taken are"
            f" {dimensions}: estimators of one target"
        )
    return numbers


def read_class_names(estimator: Any) -> tuple[str, ...]:
    """Return the classes of a fitted classifier as text.

    Raises
    ------
    InvalidInputError
        ``not_learnt``; ``unsupported`` for several targets at once, for less than two classes, or
        for classes that read alike.
    """
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        raise InvalidInputError(
            "not_learnt",
            f"{type(estimator).__name__} has no classes_: fit it first",
            field="estimator.classes_",
        )
    if isinstance(classes, list) or getattr(estimator, "outputs_2d_", False):
        raise make_unsupported("it has several targets; estimators of one target are taken")
    names = tuple(str(each) for each in classes)
    if len(set(names)) != len(names) or len(names) < BINARY:
        raise make_unsupported(f"it has the classes {names}; two or more different ones are taken")
    return names


def mirror_rows(rows: Floats) -> Floats:
    """Return a score for each of two classes: what speaks for one speaks against the other.

    Parameters
    ----------
    rows
        float64[1, n] for two classes, which are mirrored, or float64[classes, n], which stay.
    """
    return np.concatenate([-rows, rows]) if len(rows) == 1 else rows


def make_unsupported(reason: str) -> InvalidInputError:
    """Return the refusal of an estimator or a model that has no counterpart."""
    return InvalidInputError("unsupported", reason, field="estimator")
