"""A Hoeffding tree: grows when the samples of a leaf have shown which question is best.

Integer counts in bins of equal width decide the splits; a leaf answers with its majority or with
Gaussian naive Bayes, whichever was right more often there. Twin: river's
``HoeffdingTreeClassifier`` with ``leaf_prediction="nba"``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ml_runtime.family import (
    SHARE_UNITS,
    ModelFamily,
    Parameter,
    State,
    check_bound,
    check_parameters,
    take_covered,
)
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import trees
from ml_runtime.samples import Integers, Samples, get_features, sample_count
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import LOG2_TABLE
from primitives.errors import InvalidInputError

__all__ = ["HoeffdingTree"]

SAMPLES_MAX: Final = 1 << 30
"""Samples that the bounds cover; beyond, nothing more is learnt."""

FLOOR_SHIFT: Final = 8
WEIGHT_LARGEST: Final = 47_274 << 24
LIMIT: Final = 1 << 19

_TENSORS: Final = ("nodes", "used", "counts", "histograms", "sums", "squares", "tallies")


class HoeffdingTree(ModelFamily):
    """The family ``hoeffding_tree``; dense; classification."""

    name = "hoeffding_tree"
    sharpness = ONE
    layouts = ("dense",)
    parameters = (
        Parameter("low", "where the bins begin, Q16", -4 * ONE, -LIMIT, LIMIT),
        Parameter("high", "where they end, Q16", 4 * ONE, -LIMIT, LIMIT),
        Parameter("bins", "of a feature", 16, 2, 256),
        Parameter("leaves", "at most", 16, 1, 4_096),
        Parameter("grace", "samples of a leaf between two tries to split it", 200, 1, 1 << 20),
        Parameter("sureness", "ln(1 / δ) of Hoeffding's bound, Q16", 1_056_268, ONE, 64 * ONE),
        Parameter("tie", "a bound below which the best question is taken, Q16", 3_277, 0, ONE),
        Parameter("variance_floor", "added to every variance, Q16", ONE // 1000, 1, ONE),
    )

    def check(self, spec: ModelSpec) -> None:
        """Refuse bins without width, or sums that could leave int64; raises ``invalid_spec``."""
        check_parameters(self, spec)
        low, high = spec.get("low", -4 * ONE), spec.get("high", 4 * ONE)
        if high - low < spec.get("bins", 16):
            raise InvalidInputError(
                "invalid_spec",
                f"{self.name}.high must be above low by a bin's width at least, found {low} and"
                f" {high}",
                field="spec.parameters.high",
                value=high,
                limit=low + spec.get("bins", 16),
            )
        floor = spec.get("variance_floor", ONE // 1000) << FLOOR_SHIFT
        distance = 4 * (LIMIT >> 4) ** 2 * (WEIGHT_LARGEST // floor)
        check_bound(spec, "a squared distance over a variance", distance)
        check_bound(spec, "a score", 4 * ((distance >> 24) + 64 * ONE) * (spec.feature_count + 1))

    def feature_range(self, _spec: ModelSpec) -> tuple[int, int]:
        """Return the least and largest feature, Q16."""
        return -LIMIT, LIMIT

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the nodes and of what every leaf knows."""
        leaves, classes, size = spec.get("leaves", 16), spec.class_count, spec.feature_count
        return {
            "nodes": (2 * leaves - 1, 5),
            "used": (3,),
            "counts": (leaves, classes),
            "histograms": (leaves, size, spec.get("bins", 16), classes),
            "sums": (leaves, classes, size),
            "squares": (leaves, classes, size),
            "tallies": (leaves, 3),
        }

    def initial_state(self, spec: ModelSpec) -> State:
        """Return a tree of one leaf."""
        state = super().initial_state(spec)
        state["nodes"][0, 0] = -1
        state["used"][:2] = 1
        return state

    def samples_left(self, _spec: ModelSpec, state: State) -> int:
        """Return how many more samples the bounds cover."""
        return max(SAMPLES_MAX - int(state["used"][2]), 0)

    def cost(self, spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units: naive Bayes twice for each sample, and its share of the tries."""
        classes, size = spec.class_count, spec.feature_count
        bins, grace = spec.get("bins", 16), spec.get("grace", 200)
        leaves = spec.get("leaves", 16)
        # Every leaf may have waited for one sample more.
        tries = min(samples, samples // grace + leaves) * size * bins * classes * 40
        depth = 10 * leaves + SHARE_UNITS * classes
        return samples * (depth + 180 * classes * size + bins * classes) + 20 * entries + tries

    def scores(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Return log2 of the likelihood of every class, int64[n, classes], Q16."""
        out = np.empty((sample_count(samples), spec.class_count), dtype=np.int64)
        known: Any = [state[name] for name in _TENSORS if name != "used"]
        score: Any = trees.score_tree
        score(*known, get_features(samples), self._settings(spec), LOG2_TABLE, out)
        return out

    def update(self, spec: ModelSpec, state: State, samples: Samples, targets: Integers) -> None:
        """Learn the samples one after another, in place."""
        samples, targets = take_covered(samples, targets, self.samples_left(spec, state))
        known = [state[name] for name in _TENSORS]
        train: Any = trees.train_tree
        settings = self._settings(spec)
        train(*known, get_features(samples), targets, settings, LOG2_TABLE)

    def _settings(self, spec: ModelSpec) -> Integers:
        values = {each.name: spec.get(each.name, each.default) for each in self.parameters}
        width = values["high"] - values["low"]
        floor = values["variance_floor"] << FLOOR_SHIFT
        rest = (values["grace"], values["sureness"], values["tie"], floor)
        return np.array([values["low"], width, *rest], dtype=np.int64)
