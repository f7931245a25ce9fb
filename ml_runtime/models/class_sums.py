"""What the families share whose parameters are sums and counts by class.

Sums do not depend on the order or the grouping of samples, add up when models are merged, and give
back exactly what was added when a batch is unlearnt.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np

from ml_runtime.decay import check_shift, decay_counts, scale_sums
from ml_runtime.family import ModelFamily, State, check_shapes, take_covered
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import scalars
from ml_runtime.kernels import sums as kernels
from ml_runtime.samples import DenseSamples, Integers, Samples
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import LOG2_TABLE
from primitives.errors import InvalidInputError

__all__ = ["LOG2_LARGEST", "PRIOR_UNITS", "SAMPLES_MIN", "UNSEEN", "ClassSums", "log_counts"]

SAMPLES_MIN: Final = 1 << 24
"""Samples that the bounds of every spec cover, at least."""

UNSEEN: Final = -(1 << 60)
"""Score of a class without samples: below every other."""

PRIOR_UNITS: Final = 80
"""Compute units of the logarithm of one class's count."""

LOG2_LARGEST: Final = 64 * ONE
"""No logarithm of an int64 is larger, Q16."""


class ClassSums(ModelFamily):
    """State, update, unlearn, merge and decay of a family that keeps sums and counts by class.

    A subclass that keeps other sums than those of the features overrides ``add``, ``shapes`` and
    ``sum_range``, whose range holds zero. All tensors but ``counts`` are sums with a row a class.
    """

    supports_unlearn = True
    supports_merge = True
    supports_decay = True
    grows_classes = True
    grows_features = True

    @abstractmethod
    def samples_covered(self, spec: ModelSpec) -> int:
        """Return how many samples the bounds of a checked spec cover, at least `SAMPLES_MIN`."""

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of sums and counts."""
        return {"sums": (spec.class_count, spec.feature_count), "counts": (spec.class_count,)}

    def sum_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and the most that one sample can add to an entry of ``sums``."""
        return self.feature_range(spec)

    def samples_left(self, spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover."""
        return max(self.samples_covered(spec) - int(state["counts"].sum()), 0)

    def add(
        self, _spec: ModelSpec, state: State, samples: Samples, labels: Integers, sign: int
    ) -> None:
        """Add a batch to the sums, in place; ``sign`` -1 takes it away."""
        sums, counts = state["sums"], state["counts"]
        if isinstance(samples, DenseSamples):
            kernels.sum_dense(sums, counts, samples.features, labels, sign)
        else:
            kernels.sum_sparse(sums, counts, *samples.arrays, labels, sign)

    def update(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers) -> None:
        """Add a batch to the sums, in place."""
        samples, targets = take_covered(samples, targets, self.samples_left(spec, state))
        self.add(spec, state, samples, targets, 1)

    def unlearn(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers) -> None:
        """Take a batch out of the sums, in place; exact.

        Raises
        ------
        InvalidInputError
            ``not_learnt`` if what is left could not have been learnt; nothing changes then.
        """
        self.add(spec, state, samples, targets, -1)
        if not self.is_possible(spec, state):
            self.add(spec, state, samples, targets, 1)
            raise InvalidInputError(
                "not_learnt",
                f"the model cannot have learnt these {len(targets)} samples",
                field="samples",
                value=len(targets),
            )

    def is_possible(self, spec: ModelSpec, state: State) -> bool:
        """Say whether some samples can have given these sums.

        Each sum is made of as many features as its class counts samples. Without this, kernels
        could leave the bounds that are proven for them.
        """
        low, high = self.sum_range(spec)
        counts = state["counts"][:, np.newaxis]
        possible = (state["sums"] >= low * counts) & (state["sums"] <= high * counts)
        return int(counts.min()) >= 0 and bool(possible.all())

    def check_state(self, spec: ModelSpec, state: State) -> None:
        """Check sums that were counted elsewhere.

        Raises
        ------
        InvalidInputError
            ``wrong_tensors``, or ``parameter_out_of_range`` for sums that no samples can give.
        """
        check_shapes(self, spec, state)
        covered = self.samples_covered(spec)
        counts = state["counts"]
        largest = int(counts.max(initial=0))
        # No count is above the limit before they are added up, so the sum of them cannot wrap.
        if largest > covered or int(counts.sum()) > covered or not self.is_possible(spec, state):
            raise InvalidInputError(
                "parameter_out_of_range",
                f"no samples within the bounds of this spec give these sums: {self.name} counts at"
                f" most {covered} samples, each feature within {self.feature_range(spec)}",
                field="tensors.sums",
                value=largest,
                limit=covered,
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

    def decay(self, _spec: ModelSpec, state: State, shift: int) -> None:
        """Forget one part in 2^shift of every class, in place.

        The state stays possible: see 1 in ml_runtime/decay.py.

        Raises
        ------
        InvalidInputError
            ``shift_out_of_range``; nothing changes.
        """
        check_shift(shift)
        ratios = decay_counts(state["counts"], shift)
        for name, array in state.items():
            if name != "counts":
                scale_sums(array, ratios[:, np.newaxis])


def log_counts(counts: Integers) -> Integers:
    """Return log2 of how often each class was seen, Q16; `UNSEEN` for never."""
    return np.array(
        [scalars.log2_q16(int(count), LOG2_TABLE) if count else UNSEEN for count in counts],
        dtype=np.int64,
    )
