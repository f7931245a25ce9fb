"""Families whose samples have no right answer, beside their twins: groups, and what is unusual.

Groups are judged by their inertia, the sum of squared distances to the nearest mean. Outlier scores
are judged by the area under the curve: learnt from half of the pictures of one digit, how well does
the score tell the other half from the pictures of all other digits?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture

from benchmarks.models.compare import BATCH_SAMPLES, cut_batches, time_in_turn
from benchmarks.models.data import load_features
from benchmarks.models.table import Row
from ml_runtime.encoders import from_q16
from ml_runtime.family import State
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples, Integers
from ml_runtime.spec import ModelSpec, make_spec

__all__ = ["compare_groups", "compare_outliers"]

GROUPS: Final = (
    ("digits", "unit", 10),
    ("wine", "standardise", 3),
    ("breast cancer", "standardise", 2),
)
PASSES: Final = 5
STARTS: Final = 10
TIMED_BATCHES: Final = 2

DIGITS: Final = (0, 3, 5, 8)
COMPONENTS: Final = 8
MIXED: Final = 3
VARIANCE_FLOOR: Final = ONE // 100
"""Pixels at the rim never change: without a floor one grey dot there is an outlier to both."""


def compare_groups(splits: int) -> list[Row]:
    """Return rows beside the twin that streams and the one that does not, for each data set."""
    rows = []
    for data, scaling, groups in GROUPS:
        features, _ = load_features(data, scaling)
        settings = {"groups": groups, "seed_samples": min(256, len(features) // 2)}
        spec = make_spec("k_means", "dense", features.shape[1], 0, settings)
        get_family("k_means").check(spec)
        found = np.array([_group(spec, features, seed) for seed in range(splits)])
        ours, streamed, whole = found.mean(axis=0).tolist()
        speeds = _time_groups(spec, features)
        twin = "MiniBatchKMeans"
        row = Row("k_means", data, twin, "inertia", ours, streamed, None, *speeds)
        rows.append(row)
        name = f"KMeans(n_init={STARTS})"
        rows.append(Row("k_means", data, name, "inertia", ours, whole))
    return rows


def _group(spec: ModelSpec, features: Integers, seed: int) -> tuple[float, float, float]:
    """Return the inertia of ours, of the streaming twin and of the other, in one random order."""
    shuffled = features[np.random.default_rng(seed).permutation(len(features))]
    samples, numbers = DenseSamples(shuffled), from_q16(shuffled)
    state = _learn(spec, samples, PASSES)
    scores = get_family(spec.family).scores(spec, state, samples)
    inertia = -int(scores.max(axis=1).sum()) / ONE
    groups = spec.get("groups", 0)
    streaming = _make_streaming(groups, seed)
    for _ in range(PASSES):
        for start in range(0, len(numbers), BATCH_SAMPLES):
            batch = numbers[start : start + BATCH_SAMPLES]
            # scikit-learn refuses a first batch of fewer samples than groups, and any later one.
            if len(batch) >= groups:
                streaming.partial_fit(batch)
    whole = KMeans(groups, n_init=STARTS, random_state=seed).fit(numbers)
    return inertia, -float(streaming.score(numbers)), float(whole.inertia_)


def _make_streaming(groups: int, seed: int) -> Any:
    return MiniBatchKMeans(groups, batch_size=BATCH_SAMPLES, random_state=seed)


def _time_groups(spec: ModelSpec, features: Integers) -> tuple[float, float]:
    """Return how many times as fast as the streaming twin ours learns and answers."""
    family, samples = get_family(spec.family), DenseSamples(features)
    numbers, state = from_q16(features), _learn(spec, samples, 1)
    twin = _make_streaming(spec.get("groups", 0), 0)
    twin.partial_fit(numbers)
    batch, _ = cut_batches(samples, np.zeros(len(features), dtype=np.int64))[0]
    nothing, given = np.zeros(BATCH_SAMPLES, dtype=np.int64), numbers[:BATCH_SAMPLES]
    times = time_in_turn(
        (
            lambda: family.update(spec, state, batch, nothing),
            lambda: twin.partial_fit(given),
            lambda: family.predict(spec, state, samples),
            lambda: twin.predict(numbers),
        )
    )
    return times[1] / times[0], times[3] / times[2]


@dataclass(frozen=True, slots=True)
class OutlierCase:
    """A family that scores outliers, and its twin.

    Parameters
    ----------
    settings
        What a spec names.
    make
        The twin for a seed, not fitted.
    score
        How unusual the twin finds samples.
    """

    family: str
    twin: str
    settings: dict[str, int]
    make: Callable[[int], Any]
    score: Callable[[Any, Any], Any]


def _score_residuals(model: Any, numbers: Any) -> Any:
    return ((numbers - model.inverse_transform(model.transform(numbers))) ** 2).sum(axis=1)


def _score_densities(model: Any, numbers: Any) -> Any:
    return -model.score_samples(numbers)


OUTLIER_CASES: Final = (
    OutlierCase(
        "principal_components",
        "PCA",
        {"components": COMPONENTS},
        lambda _seed: PCA(COMPONENTS, svd_solver="full"),
        _score_residuals,
    ),
    OutlierCase(
        "gaussian_mixture",
        "GaussianMixture(diag)",
        {"groups": MIXED, "seed_samples": 64, "variance_floor": VARIANCE_FLOOR},
        lambda seed: GaussianMixture(
            MIXED,
            covariance_type="diag",
            reg_covar=VARIANCE_FLOOR / ONE,
            n_init=4,
            random_state=seed,
        ),
        _score_densities,
    ),
)


def compare_outliers(family: str, splits: int) -> list[Row]:
    """Return a row for each of several digits."""
    case = next(each for each in OUTLIER_CASES if each.family == family)
    features, labels = load_features("digits", "unit")
    spec = make_spec(family, "dense", features.shape[1], 0, case.settings)
    get_family(family).check(spec)
    rows = []
    for digit in DIGITS:
        halves = [_halve(features, labels, digit, seed) for seed in range(splits)]
        found = np.array([_rank(case, spec, *half, seed) for seed, half in enumerate(halves)])
        ours, theirs = found.mean(axis=0).tolist()
        speed = _time_scores(case, spec, halves[0][0], halves[0][1])
        data = f"digits, {digit}"
        rows.append(Row(family, data, case.twin, "AUC", ours, theirs, answering=speed))
    return rows


def _halve(
    features: Integers, labels: Integers, digit: int, seed: int
) -> tuple[Integers, Integers, Any]:
    """Return half of a digit's pictures; the other half with all others; who is an outlier."""
    own = np.random.default_rng(seed).permutation(np.flatnonzero(labels == digit))
    half = len(own) // 2
    others = np.flatnonzero(labels != digit)
    asked = np.concatenate([own[half:], others])
    return features[own[:half]], features[asked], labels[asked] != digit


def _rank(
    case: OutlierCase,
    spec: ModelSpec,
    learnt: Integers,
    asked: Integers,
    unusual: Any,
    seed: int,
) -> tuple[float, float]:
    """Return the area under the curve of ours and of the twin."""
    state = _learn(spec, DenseSamples(learnt), 1)
    scores = get_family(spec.family).scores(spec, state, DenseSamples(asked))
    twin = case.make(seed).fit(from_q16(learnt))
    theirs = case.score(twin, from_q16(asked))
    return float(roc_auc_score(unusual, scores[:, 0])), float(roc_auc_score(unusual, theirs))


def _time_scores(case: OutlierCase, spec: ModelSpec, learnt: Integers, asked: Integers) -> float:
    """Return how many times as fast as the twin ours scores all that is asked at once."""
    family, state = get_family(spec.family), _learn(spec, DenseSamples(learnt), 1)
    twin, samples, numbers = (
        case.make(0).fit(from_q16(learnt)),
        DenseSamples(asked),
        from_q16(asked),
    )
    ours, theirs = time_in_turn(
        (lambda: family.scores(spec, state, samples), lambda: case.score(twin, numbers))
    )
    return theirs / ours


def _learn(spec: ModelSpec, samples: DenseSamples, passes: int) -> State:
    family = get_family(spec.family)
    state = family.initial_state(spec)
    nothing = np.zeros(len(samples.features), dtype=np.int64)
    for _ in range(passes):
        for batch, targets in cut_batches(samples, nothing):
            family.update(spec, state, batch, targets)
    return state
