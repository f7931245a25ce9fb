"""What the families share whose parameters are sums and counts by class.

Sums do not depend on the order or the grouping of samples, add up when models are merged, and give
back exactly what was added when a batch is unlearnt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_runtime import kernels
from ml_runtime.family import State
from ml_runtime.samples import DenseSamples, Integers, Samples
from ml_runtime.spec import ModelSpec

__all__ = ["SAMPLES_MAX", "ClassSums"]

SAMPLES_MAX = 1 << 24
"""Samples that the bounds cover; beyond, nothing more is learnt."""


class ClassSums:
    """State, update, unlearn and merge of a family that keeps sums and counts."""

    supports_unlearn = True
    supports_merge = True

    def initial_state(self, spec: ModelSpec) -> State:
        """Return empty sums."""
        return {
            "sums": np.zeros((spec.class_count, spec.feature_count), dtype=np.int64),
            "counts": np.zeros(spec.class_count, dtype=np.int64),
        }

    def update(self, _spec: ModelSpec, state: State, samples: Samples, labels: Integers) -> None:
        """Add a batch to the sums, in place."""
        if int(state["counts"].sum()) + len(labels) <= SAMPLES_MAX:
            _add(state, samples, labels, 1)

    def unlearn(self, _spec: ModelSpec, state: State, samples: Samples, labels: Integers) -> None:
        """Take a batch out of the sums, in place; exact."""
        _add(state, samples, labels, -1)

    def merge(self, spec: ModelSpec, states: Sequence[State]) -> State:
        """Return the sums over several models."""
        merged = self.initial_state(spec)
        for state in states:
            for name, array in state.items():
                merged[name] += array
        return merged


def _add(state: State, samples: Samples, labels: Integers, sign: int) -> None:
    sums, counts = state["sums"], state["counts"]
    if isinstance(samples, DenseSamples):
        kernels.sum_dense(sums, counts, samples.features, labels, sign)
    else:
        entries = (samples.row_starts, samples.indices, samples.values)
        kernels.sum_sparse(sums, counts, *entries, labels, sign)
