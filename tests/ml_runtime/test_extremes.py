"""At the edge of every checked bound, scores and a training step are those of unbounded integers.

The same family runs twice: with its compiled kernels on int64, and with their plain twins on arrays
of Python integers, where nothing can wrap. States hold the largest numbers that learning or
``check_state`` lets them hold, samples lie at both ends of the range.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from ml_runtime.family import TARGET_LIMIT, ModelFamily, State, copy_state
from ml_runtime.fixed_point import INT64_SAFE, ONE
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples
from ml_runtime.spec import ModelSpec, make_spec
from primitives.errors import InvalidInputError

CLASSES = 3
KERNELS = "ml_runtime.kernels."

Fill = Callable[[ModelFamily, ModelSpec, State], None]


def use_twins(monkeypatch: pytest.MonkeyPatch, family: ModelFamily) -> None:
    """Let a family, and what it inherits, call the plain twins."""
    modules = {each.__module__ for each in type(family).__mro__} | {"ml_runtime.exact_solve"}
    for module in (sys.modules[each] for each in sorted(modules)):
        for name, value in list(vars(module).items()):
            # A file of kernels stands in its users as what loads it.
            if type(value).__name__ == "_KernelFile":
                compiled = importlib.import_module(KERNELS + value._name)
                twin = importlib.import_module(f"{KERNELS}reference.{value._name}")
                known = {**vars(compiled), **{each: getattr(twin, each) for each in twin.__all__}}
                monkeypatch.setattr(module, name, SimpleNamespace(**known))


def signs(*shape: int) -> np.ndarray:
    """Return ones of alternating sign, the first row all positive, the second all negative."""
    pattern = np.where(np.indices(shape).sum(axis=0) % 2, -1, 1)
    pattern[0], pattern[1:2] = 1, -1
    return pattern.astype(np.int64)


def fill_weights(_family: ModelFamily, _spec: ModelSpec, state: State) -> None:
    limit = (1 << 38) if state["weights"].ndim == 1 else (1 << 44)
    rows = state["weights"].shape if state["weights"].ndim == 2 else (1, len(state["weights"]))
    for name in ("weights", "velocity"):
        if name in state:
            state[name][:] = (limit * signs(*rows)).reshape(state[name].shape)
    state["steps"][0] = (1 << 32) - 4


def fill_present(family: ModelFamily, spec: ModelSpec, state: State) -> None:
    half = (family.samples_left(spec, state) - 4) // 2
    state["counts"][:2] = half
    state["sums"][0], state["sums"][1, ::2] = half, half


def fill_moments(family: ModelFamily, spec: ModelSpec, state: State) -> None:
    """Fill one class with the widest spread, one with the farthest mean, and leave one unseen."""
    limit = (family.feature_range(spec)[1] + 8) >> 4
    half = (family.samples_left(spec, state) - 4) // 2
    state["counts"][:2] = half
    state["sums"][1] = -limit * half
    state["squares"][:2] = limit * limit * half


def fill_products(family: ModelFamily, spec: ModelSpec, state: State) -> None:
    """Fill as if half of the samples were at one end and half at the other."""
    limit = (family.feature_range(spec)[1] + 8) >> 4
    count = (family.samples_left(spec, state) - 6) // 2 * 2
    state["counts"][0] = count
    size = spec.feature_count
    state["products"][:size, :size] = limit * limit * count
    if "cross" in state:
        state["products"][-1, -1] = count << 24
        largest = 1 << 12 if spec.class_count else TARGET_LIMIT >> 4
        state["cross"][:size] = limit * largest * count
        state["weights"][:] = (1 << 28) * signs(*state["weights"].shape)
    else:
        state["axes"][:] = (1 << 20) // np.sqrt(size) * signs(*state["axes"].shape)
        state["mean"][:] = limit


def fill_kept(family: ModelFamily, spec: ModelSpec, state: State) -> None:
    limit = family.feature_range(spec)[1]
    state["features"][:] = limit * signs(*state["features"].shape)
    state["targets"][:] = spec.class_count - 1 if spec.class_count else -TARGET_LIMIT
    state["seen"][0] = (1 << 40) - 4


def fill_groups(family: ModelFamily, spec: ModelSpec, state: State) -> None:
    """Fill as if every sample but the last few had come, most of them to the first two groups."""
    limit = family.feature_range(spec)[1]
    state["seen"][0] = spec.get("seed_samples", 0)
    covered = family.samples_left(spec, state) - 4
    state["learnt"][0], half = covered, covered // 2
    if "counts" in state:
        state["counts"][:2] = half
        state["sums"][0], state["sums"][1] = limit * half, -limit * half
        return
    value = (limit + 8) >> 4
    state["shares"][:2] = half << 16
    state["shares"][2] = 1
    state["sums"][0], state["sums"][1] = (value * half) << 8, (-value * half) << 8
    state["sums"][2] = 128
    state["squares"][:2] = value * value * half
    family._derive(spec, state)


def fill_leaf(family: ModelFamily, spec: ModelSpec, state: State) -> None:
    half = (family.samples_left(spec, state) - 4) // 2
    state["used"][2] = 2 * half
    state["counts"][0, :2] = half
    state["histograms"][0, :, 0, 0] = state["histograms"][0, :, -1, 1] = half
    state["sums"][0, 1] = half << 15
    state["squares"][0, :2] = half << 30
    state["tallies"][0] = spec.get("grace", 200) - 1, 0, 1


@dataclass(frozen=True)
class Edge:
    """A family at the edge; ``widest`` caps how many features the twins have time for."""

    name: str
    fill: Fill
    widest: int
    settings: dict[str, int] = field(default_factory=dict)
    classes: int = CLASSES
    floor: bool = False

    def make_spec(self) -> ModelSpec:
        family, settings = get_family(self.name), dict(self.settings)

        def fits(features: int) -> bool:
            try:
                family.check(make_spec(self.name, "dense", features, self.classes, settings))
            except InvalidInputError:
                return False
            return True

        if self.floor:
            # The smallest variance gives the largest distances.
            for settings["variance_floor"] in range(1, ONE + 1):
                if fits(4):
                    break
        low, high = 1, self.widest
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(middle) else (low, middle - 1)
        assert fits(low)
        return make_spec(self.name, "dense", low, self.classes, settings)


STEEP = {"rate": 16 * ONE, "l2": 1 << 25, "momentum": ONE - 1, "feature_limit": 1 << 24}
DEEP = {"feature_limit": 64 * ONE, "hidden1": 2, "rate": ONE, "l2": 1 << 25, "momentum": ONE - 1}
LONG = {"schedule_samples": 1 << 24}
EDGES = [
    Edge("linear_regression", fill_weights, 1 << 24, {**STEEP, "error_limit": 1 << 24}, 0),
    Edge("linear_regression", fill_weights, 1 << 24, {**STEEP, **LONG, "schedule": 1}, 0),
    Edge("logistic_regression", fill_weights, 1 << 24, {**STEEP, **LONG, "schedule": 2}),
    Edge("softmax_regression", fill_weights, 1 << 24, STEEP),
    Edge("bernoulli_naive_bayes", fill_present, 500, {"feature_limit": 1 << 32}),
    Edge("bernoulli_naive_bayes", fill_present, 500, {"smoothing": 1}),
    Edge("gaussian_naive_bayes", fill_moments, 500, {"feature_limit": (1 << 22) - 32}, floor=True),
    Edge("gaussian_naive_bayes", fill_moments, 500, {"feature_limit": ONE}, floor=True),
    Edge("ridge", fill_products, 6, {"feature_limit": 1 << 22, "l2": 1}),
    Edge("ridge", fill_products, 6, {"feature_limit": (1 << 20) - 32, "l2": 1 << 32}, 0),
    Edge("ridge", fill_products, 6, {"feature_limit": ONE, "l2": 1}, 0),
    Edge("nearest_neighbours", fill_kept, 1 << 24, {"feature_limit": 1 << 24, "capacity": 4}),
    Edge("nearest_neighbours", fill_kept, 1 << 24, {"feature_limit": 1 << 24, "capacity": 9}, 0),
    Edge("multilayer_perceptron", fill_weights, 1 << 24, DEEP),
    Edge("multilayer_perceptron", fill_weights, 99, {**DEEP, "hidden2": 3, "schedule": 2}, 0),
    Edge("k_means", fill_groups, 240, {"feature_limit": 1 << 19, "groups": 3}, 0),
    Edge("hoeffding_tree", fill_leaf, 64, {"grace": 1, "leaves": 2, "bins": 2}, floor=True),
    Edge("hoeffding_tree", fill_leaf, 9, {"low": -1, "high": 1, "bins": 2, "sureness": 64 * ONE}),
    Edge("principal_components", fill_products, 48, {"feature_limit": 1 << 19, "sweeps": 3}, 0),
    Edge("gaussian_mixture", fill_groups, 64, {"feature_limit": 1 << 19, "groups": 4}, 0, True),
]


def make_samples(family: ModelFamily, spec: ModelSpec) -> DenseSamples:
    low, high = family.feature_range(spec)
    features = np.where(signs(4, spec.feature_count) > 0, high, low)
    return DenseSamples(np.ascontiguousarray(features))


def make_targets(spec: ModelSpec, family: ModelFamily) -> np.ndarray:
    if family.task(spec) == "regression":
        return np.array([-TARGET_LIMIT, TARGET_LIMIT, -TARGET_LIMIT, TARGET_LIMIT])
    return np.arange(4) % max(spec.class_count, 1)


def to_unbounded(state: State) -> dict[str, np.ndarray]:
    return {name: array.astype(object) for name, array in state.items()}


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: f"{edge.name} {edge.settings}")
def test_scores_and_a_step_are_those_of_unbounded_integers(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    family, spec = get_family(edge.name), edge.make_spec()
    state = family.initial_state(spec)
    edge.fill(family, spec, state)
    samples, targets = make_samples(family, spec), make_targets(spec, family)
    before = copy_state(state)
    scores = family.scores(spec, state, samples)
    family.update(spec, state, samples, targets)
    after = family.scores(spec, state, samples)
    assert int(np.abs(scores).max()) < INT64_SAFE

    use_twins(monkeypatch, family)
    exact = to_unbounded(before)
    unbounded = DenseSamples(samples.features.astype(object))
    assert family.scores(spec, exact, unbounded).tolist() == scores.tolist()
    family.update(spec, exact, unbounded, targets)
    for name, array in state.items():
        assert exact[name].tolist() == array.tolist(), name
    assert family.scores(spec, exact, unbounded).tolist() == after.tolist()
