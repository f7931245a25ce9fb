"""Classes and sparse features that are added to a model which has learnt already.

New rows and columns begin as those of a new model do, which for families that can grow means zeros,
and where a column belongs to the constant feature it stays the last. Source: docs/spec/ml.md §7.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ml_runtime.family import ModelFamily, State
from ml_runtime.samples import Integers
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = ["check_growth", "grow_state"]


def check_growth(family: ModelFamily, before: ModelSpec, after: ModelSpec) -> None:
    """Refuse a spec that a model cannot grow into.

    Raises
    ------
    InvalidInputError
        ``cannot_grow``, naming what cannot; ``invalid_spec`` if the family cannot compute it.
    """
    grown = replace(before, class_count=after.class_count, feature_count=after.feature_count)
    if grown != after or after == before:
        raise _refuse("spec", "only classes and features can be added to a model", 0)
    if after.class_count < before.class_count or after.feature_count < before.feature_count:
        raise _refuse("spec", "classes and features can be added, not taken away", 0)
    if after.class_count > before.class_count and not (before.class_count and family.grows_classes):
        raise _refuse("class_count", f"{family.name} takes no more classes", before.class_count)
    if after.feature_count > before.feature_count and not (
        family.grows_features and before.layout == "sparse"
    ):
        raise _refuse(
            "feature_count",
            f"{family.name} with {before.layout} samples takes no more features",
            before.feature_count,
        )
    family.check(after)


def grow_state(family: ModelFamily, before: ModelSpec, after: ModelSpec, state: State) -> State:
    """Return the parameters of a model in the shapes of a larger spec; the old ones stay."""
    grown = family.initial_state(after)
    old_shapes = family.shapes(before)
    for name, array in state.items():
        grown[name] = _place(array, grown[name], has_bias=_has_bias(old_shapes[name], before))
    return grown


def _has_bias(shape: tuple[int, ...], spec: ModelSpec) -> bool:
    """Say whether the last column of a tensor belongs to the constant feature."""
    return len(shape) == 2 and shape[1] == spec.feature_count + 1


def _place(array: Integers, target: Integers, *, has_bias: bool) -> Integers:
    if array.shape == target.shape:
        return array.copy()
    if array.ndim == 1:
        target[: len(array)] = array
        return target
    rows, columns = array.shape
    if has_bias:
        target[:rows, : columns - 1] = array[:, :-1]
        target[:rows, -1] = array[:, -1]
    else:
        target[:rows, :columns] = array
    return np.ascontiguousarray(target)


def _refuse(field: str, message: str, limit: int) -> InvalidInputError:
    return InvalidInputError("cannot_grow", message, field=f"spec.{field}", limit=limit)
