"""What the families share that group samples: the first ones wait until groups can begin.

A good start needs more than one sample. So the first ``seed_samples`` are kept as they are; when
the last of them is there, groups are chosen among them and the samples are forgotten. Until then
nothing is known and every answer is the first group.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

import numpy as np

from ml_runtime.family import ModelFamily, Parameter, State, check_bound, take_covered
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import Integers, Samples, get_features, sample_count
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = ["SEED_PARAMETERS", "SeededGroups"]

SEED_PARAMETERS = (
    Parameter("feature_limit", "largest absolute feature, Q16", 8 * ONE, ONE, 1 << 19),
    Parameter("groups", "how many groups", 8, 1, 64),
    Parameter("seed_samples", "samples among which groups begin", 256, 1, 4_096),
)


BEGINNING_UNITS_MAX: Final = 180_000_000
"""Compute units that the beginning may take: less than what one account may use in a block."""


class SeededGroups(ModelFamily):
    """Bounds, counting and the waiting samples of a family that groups."""

    layouts = ("dense",)

    def check_groups(self, spec: ModelSpec) -> None:
        """Refuse fewer first samples than groups, or distances that could leave int64."""
        groups, kept = spec.get("groups", 8), spec.get("seed_samples", 256)
        if kept < groups:
            raise InvalidInputError(
                "invalid_spec",
                f"{self.name}.seed_samples must be at least its {groups} groups, found {kept}",
                field="spec.parameters.seed_samples",
                value=kept,
                limit=groups,
            )
        limit = self.feature_range(spec)[1]
        check_bound(spec, "a sum of distances", 4 * limit * limit * spec.feature_count * kept)
        units = self.beginning_units(spec)
        if units > BEGINNING_UNITS_MAX:
            raise InvalidInputError(
                "invalid_spec",
                f"{self.name} would take {units} compute units to begin {groups} groups among"
                f" {kept} samples of {spec.feature_count} features, the limit is"
                f" {BEGINNING_UNITS_MAX}; lower seed_samples or groups",
                field="spec.parameters.seed_samples",
                value=units,
                limit=BEGINNING_UNITS_MAX,
            )

    def beginning_units(self, spec: ModelSpec) -> int:
        """Return compute units of choosing and moving the first means.

        Any batch may bring the last sample that was waited for, so every batch is charged with it.
        """
        groups, kept = spec.get("groups", 8), spec.get("seed_samples", 256)
        return 60 * kept * groups * (spec.feature_count + 4)

    def feature_range(self, spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        limit = spec.get("feature_limit", 8 * ONE)
        return -limit, limit

    def score_count(self, spec: ModelSpec) -> int:
        """Return the number of groups."""
        return spec.get("groups", 8)

    @abstractmethod
    def begin(self, spec: ModelSpec, state: State) -> None:
        """Let the groups begin with the samples that waited, in place."""

    @abstractmethod
    def go_on(self, spec: ModelSpec, state: State, features: Integers) -> None:
        """Learn from samples after the groups have begun, in place."""

    def is_begun(self, spec: ModelSpec, state: State) -> bool:
        """Say whether the groups have begun."""
        return int(state["seen"][0]) >= spec.get("seed_samples", 256)

    def update(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers) -> None:
        """Learn the samples one after another, in place."""
        samples, _ = take_covered(samples, targets, self.samples_left(spec, state))
        features, count = get_features(samples), sample_count(samples)
        waiting = spec.get("seed_samples", 256)
        seen = int(state["seen"][0])
        kept = min(max(waiting - seen, 0), count)
        if kept:
            state["waiting"][seen : seen + kept] = features[:kept]
            if seen + kept == waiting:
                self.begin(spec, state)
                state["waiting"][:] = 0
        state["seen"][0] += kept
        if kept < count:
            self.go_on(spec, state, np.ascontiguousarray(features[kept:]))
