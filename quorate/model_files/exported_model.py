"""What exports share: the model that is exported, natural units, and fitted objects.

scikit-learn is imported where an export needs it and nowhere else, so that only those who export
have to have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml_runtime.family import State
from ml_runtime.fixed_point import ONE
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError
from quorate.model_files.imported_model import Floats

__all__ = ["ExportedModel", "build_estimator", "make_estimator", "to_floats"]

FAR: Final = 4.0
"""How many times as far as a feature can be a group lies that nothing shall belong to."""


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """What is exported.

    Parameters
    ----------
    spec
        What the model is.
    state
        Its parameters, in the shapes of the family.
    classes
        Names in the order of the model's classes; empty if it has none.
    """

    spec: ModelSpec
    state: State
    classes: NDArray[Any]

    @property
    def feature_limit(self) -> float:
        """Largest absolute feature that the model takes, in natural units."""
        return self.spec.get("feature_limit", 8 * ONE) / ONE

    def get_seen(self, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which classes or groups have learnt something.

        Raises
        ------
        InvalidInputError
            ``not_learnt`` if none has.
        """
        seen: NDArray[np.bool_] = counts > 0
        if not seen.any():
            raise InvalidInputError(
                "not_learnt",
                f"the model of {self.spec.family} has learnt no samples: nothing to export",
                field="tensors",
            )
        return seen

    def get_far(self) -> float:
        """Return a feature that is far from every sample that the model takes."""
        return FAR * self.feature_limit


def make_estimator(module: str, name: str, **settings: Any) -> Any:
    """Return a scikit-learn object that was not fitted.

    Raises
    ------
    InvalidInputError
        ``missing_package`` if scikit-learn is not installed.
    """
    try:
        found = import_module(f"sklearn.{module}")
    except ImportError as error:
        raise InvalidInputError(
            "missing_package",
            "to export models as scikit-learn objects, install scikit-learn",
            field="estimator",
            value="scikit-learn",
        ) from error
    return getattr(found, name)(**settings)


def build_estimator(
    module: str, name: str, settings: Mapping[str, Any], fitted: Mapping[str, Any]
) -> Any:
    """Return a scikit-learn object that counts as fitted, with these attributes."""
    estimator = make_estimator(module, name, **settings)
    for attribute, value in fitted.items():
        setattr(estimator, attribute, value)
    return estimator


def to_floats(integers: NDArray[np.int64], fraction_bits: int) -> Floats:
    """Return fixed-point numbers in natural units; exact below 2^53."""
    floats: Floats = integers.astype(np.float64) / 2.0**fraction_bits
    return floats
