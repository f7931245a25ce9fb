"""What the families share whose parameters are sums and counts by class.

Sums do not depend on the order or the grouping of samples, add up when models are merged, and give
back exactly what was added when a batch is unlearnt.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np

from ml_runtime import kernels
from ml_runtime.family import State, take_covered
from ml_runtime.samples import DenseSamples, Integers, Samples
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = ["SAMPLES_MIN", "ClassSums"]

SAMPLES_MIN: Final = 1 << 24
"""Samples that the bounds of every spec cover, at least."""


class ClassSums(ABC):
    """State, update, unlearn and merge of a family that keeps sums and counts."""

    supports_unlearn = True
    supports_merge = True

    def initial_state(self, spec: ModelSpec) -> State:
        """Return empty sums."""
        return {
            "sums": np.zeros((spec.class_count, spec.feature_count), dtype=np.int64),
            "counts": np.zeros(spec.class_count, dtype=np.int64),
        }

    @abstractmethod
    def samples_covered(self, spec: ModelSpec) -> int:
        """Return how many samples the bounds of a checked spec cover, at least `SAMPLES_MIN`."""

    @abstractmethod
    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""

    def samples_left(self, spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover."""
        return max(self.samples_covered(spec) - int(state["counts"].sum()), 0)

    def update(self, spec: ModelSpec, state: State, samples: Samples, labels: Integers) -> None:
        """Add a batch to the sums, in place."""
        samples, labels = take_covered(samples, labels, self.samples_left(spec, state))
        _add(state, samples, labels, 1)

    def unlearn(self, spec: ModelSpec, state: State, samples: Samples, labels: Integers) -> None:
        """Take a batch out of the sums, in place; exact.

        Raises
        ------
        InvalidInputError
            ``not_learnt`` if what is left could not have been learnt; nothing changes then.
        """
        _add(state, samples, labels, -1)
        low, high = self.feature_range(spec)
        counts = state["counts"][:, np.newaxis]
        # Each sum is made of `counts` features; without this, kernels could leave their bounds.
        possible = (state["sums"] >= low * counts) & (state["sums"] <= high * counts)
        if int(counts.min()) < 0 or not possible.all():
            _add(state, samples, labels, 1)
            raise InvalidInputError(
                "not_learnt",
                f"the model cannot have learnt these {len(labels)} samples",
                field="samples",
                value=len(labels),
            )

    def merge(self, spec: ModelSpec, states: Sequence[State]) -> State:
        """Return the sums over several models.

        Raises
        ------
        InvalidInputError
            ``too_many_samples`` if they learnt more, together, than the bounds cover.
        """
        total = sum(int(state["counts"].sum()) for state in states)
        if total > self.samples_covered(spec):
            raise InvalidInputError(
                "too_many_samples",
                f"the models learnt {total} samples, the bounds cover {self.samples_covered(spec)}",
                field="states",
                value=total,
                limit=self.samples_covered(spec),
            )
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
        kernels.sum_sparse(sums, counts, *samples.arrays, labels, sign)
