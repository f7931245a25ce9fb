"""A model that is watched for drift: its detector, and what was found so far.

The detector sees, sample after sample, whether the model agreed before it learnt. What happens on a
drift is the model's policy; every one is counted and its last height kept.
Source: docs/spec/ledger.md §5.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ledger.schema import read_record
from ml_runtime.samples import Integers
from primitives.codec import encode
from primitives.fields import FieldReader

__all__ = ["ModelDrift", "decode_model_drift", "model_drift_key"]

_NUMBERS_MAX: Final = 16
_NUMBER_MAX: Final = 1 << 62


def model_drift_key(name: str) -> bytes:
    """Return the state key of what watches a model."""
    return b"drift/" + name.encode()


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """The detector of a model.

    Parameters
    ----------
    detector : its numbers; see ml_runtime/drift.py.
    warnings, drifts : how often it warned, how often it found a drift.
    height, version : of the block of the last drift, and the version before it; 0 before the first.
    """

    detector: tuple[int, ...]
    warnings: int = 0
    drifts: int = 0
    height: int = 0
    version: int = 0

    def to_state(self) -> Integers:
        """Return the detector's numbers as it takes them."""
        return np.array(self.detector, dtype=np.int64)

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        counts = (self.warnings, self.drifts, self.height, self.version)
        return encode((list(self.detector), *counts))


def decode_model_drift(data: bytes) -> ModelDrift:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "drift", 5)
    values = reader.array("detector", _NUMBERS_MAX)
    numbers = FieldReader(values, "drift.detector", len(values))
    detector = tuple(
        numbers.integer(str(place), -_NUMBER_MAX, _NUMBER_MAX) for place in range(len(values))
    )
    names = ("warnings", "drifts", "height", "version")
    return ModelDrift(detector, *(reader.counter(name) for name in names))
