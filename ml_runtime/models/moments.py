"""What the families share whose state is sums over features and their products.

Features enter in Q12 and their products in Q24, so that sums of 2^24 samples fit. Sums do not
depend on order, add up, and give back exactly what was added. What is computed from them (weights,
axes) is part of the state and is computed again whenever the number of samples passes a multiple
of the setting ``interval``: a model then costs that much only now and then, and how samples are cut
into batches still cannot be seen.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np

from ml_runtime.decay import check_shift, decay_counts, scale_sums
from ml_runtime.exact_products import multiply
from ml_runtime.family import ModelFamily, State, take_covered
from ml_runtime.fixed_point import INT64_SAFE
from ml_runtime.samples import Integers, Samples, get_features, take_samples
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError, InvariantViolationError

__all__ = ["INTERVAL_MAX", "Moments", "to_q12"]

SUMS: Final = ("counts", "sums", "products", "cross")
"""Tensors that are sums; the rest is computed from them."""

INTERVAL_MAX: Final = 1 << 20

DECAY_MARGIN: Final = 1 << 17
"""In 2^-30 of a sample: by how much less sums shrink than the count, so that the diagonal of the
products has room to grow by half their size, see ``Moments.decay``."""


class Moments(ModelFamily):
    """State, update, unlearn, merge and decay of a family that keeps products of features."""

    layouts = ("dense",)
    supports_unlearn = True
    supports_merge = True
    supports_decay = True

    @abstractmethod
    def derive(self, spec: ModelSpec, state: State) -> None:
        """Compute from the sums what is asked for predictions, in place."""

    @abstractmethod
    def to_columns(self, spec: ModelSpec, samples: Samples, targets: Integers) -> State:
        """Return what a batch adds products of: ``sums`` int64[n, d] and maybe ``cross``, Q12."""

    def sum_limits(self, spec: ModelSpec) -> dict[str, int]:
        """Return the most that one sample can add to an entry of each tensor of sums."""
        limit = self.limit(spec)
        return {"sums": limit, "products": limit * limit}

    def samples_covered(self, spec: ModelSpec) -> int:
        """Return how many samples keep sums, even four of them together, below 2^62."""
        return (INT64_SAFE - 1) // (4 * max(self.sum_limits(spec).values()))

    def limit(self, spec: ModelSpec) -> int:
        """Return the largest absolute feature, Q12."""
        return (self.feature_range(spec)[1] >> 4) + 1

    def samples_left(self, spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover."""
        return max(self.samples_covered(spec) - int(state["counts"][0]), 0)

    def update(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers) -> None:
        """Add a batch to the sums, in place, and compute what follows from them when it is due."""
        samples, targets = take_covered(samples, targets, self.samples_left(spec, state))
        interval = spec.get("interval", 1)
        before = int(state["counts"][0])
        # What is derived depends on the sums at the last multiple that the batch reaches, only.
        due = (before + len(targets)) // interval * interval - before
        if due > 0:
            rows = np.arange(due)
            self._add(spec, state, take_samples(samples, rows), targets[:due], 1)
            self.derive(spec, state)
            rows = np.arange(due, len(targets))
            samples, targets = take_samples(samples, rows), targets[due:]
        self._add(spec, state, samples, targets, 1)

    def unlearn(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers) -> None:
        """Take a batch out of the sums, in place; exact, where every sample is computed with.

        Raises
        ------
        InvalidInputError
            ``unsupported`` for an interval other than 1: what was derived may rest on the batch;
            ``not_learnt`` if what is left could not have been learnt. Nothing changes then.
        """
        if spec.get("interval", 1) != 1:
            raise InvalidInputError(
                "unsupported", f"{self.name} with an interval unlearns by replay only"
            )
        self._add(spec, state, samples, targets, -1)
        count = int(state["counts"][0])
        possible = count >= 0 and all(
            int(np.abs(state[name]).max(initial=0)) <= limit * count
            for name, limit in self.sum_limits(spec).items()
        )
        possible = possible and int(np.diagonal(state["products"]).min()) >= 0
        if possible:
            try:
                self.derive(spec, state)
            except InvariantViolationError:
                # Sums that no samples give can be equations without a solution.
                possible = False
        if not possible:
            self._add(spec, state, samples, targets, 1)
            self.derive(spec, state)
            raise InvalidInputError(
                "not_learnt",
                f"the model cannot have learnt these {len(targets)} samples",
                field="samples",
                value=len(targets),
            )

    def merge(self, spec: ModelSpec, states: Sequence[State]) -> State:
        """Return the sums over several models, and what follows from them.

        Raises
        ------
        InvalidInputError
            ``unsupported`` for an interval other than 1; ``too_many_samples`` if they learnt
            more, together, than the bounds cover.
        """
        if spec.get("interval", 1) != 1:
            raise InvalidInputError("unsupported", f"{self.name} with an interval cannot be merged")
        total = sum(int(state["counts"][0]) for state in states)
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
            for name in SUMS:
                if name in merged:
                    merged[name] += state[name]
        self.derive(spec, merged)
        return merged

    def decay(self, spec: ModelSpec, state: State, shift: int) -> None:
        """Forget one part in 2^shift, in place, and compute what follows from the sums.

        Products of d columns stay positive semidefinite, without which the equations of a ridge
        regression may have no solution. Rounding adds a symmetric matrix with entries of at most
        ½; with ⌈d / 2⌉ more on the diagonal each row of it has there at least what all its other
        entries add up to, so that what is added is positive semidefinite as well (Gershgorin).

        The bounds hold: `DECAY_MARGIN` leaves 2^-13 of a sample, which is 2^11 for products of
        columns of up to 2^12 or more, and ⌈d / 2⌉ is at most 257.

        Raises
        ------
        InvalidInputError
            ``shift_out_of_range``; nothing changes.
        """
        check_shift(shift)
        before = int(state["counts"][0])
        ratio = decay_counts(state["counts"], shift, margin=DECAY_MARGIN)
        if int(state["counts"][0]) != before:
            for name in SUMS[1:]:
                if name in state:
                    scale_sums(state[name], ratio)
            places = np.arange(len(state["products"]))
            state["products"][places, places] += (len(places) + 1) // 2
        self.derive(spec, state)

    def _add(
        self, spec: ModelSpec, state: State, samples: Samples, targets: Integers, sign: int
    ) -> None:
        if not len(targets):
            return
        columns = self.to_columns(spec, samples, targets)
        features = columns["sums"]
        state["counts"][0] += sign * len(targets)
        turned = np.ascontiguousarray(features.T)
        state["products"] += sign * multiply(turned, features)
        if "sums" in state:
            state["sums"] += sign * features.sum(axis=0)
        if "cross" in state:
            state["cross"] += sign * multiply(turned, columns["cross"])


def to_q12(samples: Samples) -> Integers:
    """Return dense features in Q12, rounded."""
    features: Integers = (get_features(samples) + 8) >> 4
    return features
