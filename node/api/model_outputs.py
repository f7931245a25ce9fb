"""What a model's outputs are called, by what it is for, and scores into them.

Classes: ``label``, ``class_name``, ``probabilities`` and ``scores``. Numbers: ``value``. Groups:
``label``, ``probabilities`` and ``scores``. Outliers: ``score``, and ``responsibilities`` of a
mixture's components. Numbers are what people measure, not Q16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.model_records import ModelDescription
from ledger.model_tensors import ModelArrays
from ml_runtime.encoders import from_q16
from ml_runtime.family import ModelFamily
from ml_runtime.samples import Samples
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = ["compute_outputs", "count_columns", "describe_outputs", "get_output_names"]

Output = tuple[str, NDArray[Any]]
"""Datatype of the protocol, and the numbers."""

_NAMES = {
    "classification": ("label", "class_name", "probabilities", "scores"),
    "regression": ("value",),
    "clustering": ("label", "probabilities", "scores"),
    "outliers": ("score",),
    "none": (),
}

_DATATYPES = {"label": "INT64", "class_name": "BYTES"}


def get_output_names(family: ModelFamily, spec: ModelSpec) -> tuple[str, ...]:
    """Return what can be asked of a model."""
    names = _NAMES[family.task(spec)]
    return (*names, "responsibilities") if family.has_responsibilities else names


def describe_outputs(family: ModelFamily, spec: ModelSpec) -> list[dict[str, object]]:
    """Return the output tensors as the protocol's metadata lists them."""
    wide = {
        "probabilities": family.score_count(spec),
        "scores": family.score_count(spec),
        "responsibilities": spec.get("groups", 0) or -1,
    }
    return [
        {
            "name": name,
            "datatype": _DATATYPES.get(name, "FP64"),
            "shape": [-1, wide[name]] if name in wide else [-1],
        }
        for name in get_output_names(family, spec)
    ]


def count_columns(family: ModelFamily, spec: ModelSpec) -> int:
    """Return how many numbers the widest output has for a sample."""
    return max(family.score_count(spec), spec.get("groups", 1), 1)


def compute_outputs(
    family: ModelFamily,
    description: ModelDescription,
    state: ModelArrays,
    samples: Samples,
    names: tuple[str, ...],
) -> dict[str, Output]:
    """Return the outputs that are asked for, by name.

    Raises
    ------
    InvalidInputError
        ``unsupported`` for a model that answers nothing.
    """
    spec = description.spec
    if not get_output_names(family, spec):
        raise InvalidInputError(
            "unsupported", f"a model of {family.name} answers nothing; read its tensors"
        )
    scores = family.scores(spec, state, samples)
    predictions = family.decide(spec, scores)
    # Only what is asked for is computed.
    makers: dict[str, Callable[[], NDArray[Any]]] = {
        "label": lambda: predictions,
        "class_name": lambda: np.array(description.class_names, dtype=object)[predictions],
        "probabilities": lambda: from_q16(family.shares(spec, scores)),
        "scores": lambda: from_q16(scores),
        "score": lambda: from_q16(predictions),
        "value": lambda: from_q16(predictions),
        "responsibilities": lambda: from_q16(family.probabilities(spec, state, samples)),
    }
    return {name: (_DATATYPES.get(name, "FP64"), makers[name]()) for name in names}
