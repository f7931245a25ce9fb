"""Holds the fixed-point families against their named twins in scikit-learn, like for like.

The same samples in the same order and the same split for both, one pass; the mean over several
random splits into two thirds to learn from and a third to be asked about. Ours learns in batches,
which changes no bit of it. The twin learns in one call: scikit-learn's averaged perceptron loses
several points on the two small sets when its ``partial_fit`` is called batch by batch, and beating
that would say nothing. Data: the three small classification sets that come with scikit-learn.

    python benchmarks/accuracy.py [--splits 20]
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import NearestCentroid as SklearnCentroid

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples
from ml_runtime.spec import make_spec

BATCH_SAMPLES = 64
TOLERANCE_POINTS = 0.5


def make_perceptron_twin() -> Any:
    """Return scikit-learn's averaged perceptron: one step of size 1 for each mistake."""
    return SGDClassifier(
        loss="perceptron",
        average=True,
        learning_rate="constant",
        eta0=1.0,
        penalty=None,
        shuffle=False,
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """A family and its twin, and how features are scaled for both."""

    family: str
    twin: Callable[[], Any]
    scale: Callable[[Any, Any], Any]
    settings: dict[str, int]


def to_unit(training: Any, features: Any) -> Any:
    """Scale every feature to [0, 1] by the range seen in training, clipped."""
    low, high = training.min(axis=0), training.max(axis=0)
    return np.clip((features - low) / np.where(high > low, high - low, 1), 0, 1)


def keep(_training: Any, features: Any) -> Any:
    """Leave counts as they are."""
    return features


PAIRS = (
    Pair("averaged_perceptron", make_perceptron_twin, to_unit, {}),
    Pair("multinomial_naive_bayes", MultinomialNB, keep, {"feature_limit": 8192 * ONE}),
    Pair("nearest_centroid", SklearnCentroid, to_unit, {}),
)
DATA_SETS = {"digits": load_digits, "breast cancer": load_breast_cancer, "wine": load_wine}


def measure_ours(pair: Pair, train: Any, labels: Any, test: Any, truth: Any) -> float:
    """Return the accuracy of the fixed-point family, learnt in batches."""
    family = get_family(pair.family)
    spec = make_spec(pair.family, "dense", train.shape[1], int(labels.max()) + 1, pair.settings)
    family.check(spec)
    samples, state = ScaleEncoder().encode(train), family.initial_state(spec)
    for start in range(0, len(labels), BATCH_SAMPLES):
        batch = slice(start, start + BATCH_SAMPLES)
        family.update(spec, state, DenseSamples(samples[batch]), labels[batch])
    predictions = family.predict(spec, state, DenseSamples(ScaleEncoder().encode(test)))
    return float((predictions == truth).mean())


def measure_twin(pair: Pair, train: Any, labels: Any, test: Any, truth: Any) -> float:
    """Return the accuracy of scikit-learn after one pass over the same samples in order."""
    twin = pair.twin()
    if hasattr(twin, "partial_fit"):
        twin.partial_fit(train, labels, classes=np.unique(labels))
    else:
        twin.fit(train, labels)
    return float((twin.predict(test) == truth).mean())


def compare(pair: Pair, load: Callable[[], Any], splits: int) -> tuple[float, float]:
    """Return the mean accuracies, ours and the twin's, in percent."""
    data = load()
    features, labels = data.data.astype(float), data.target.astype(np.int64)
    ours, twins = [], []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(labels))
        cut = 2 * len(labels) // 3
        train, test = order[:cut], order[cut:]
        scaled = pair.scale(features[train], features[train])
        asked = pair.scale(features[train], features[test])
        ours.append(measure_ours(pair, scaled, labels[train], asked, labels[test]))
        twins.append(measure_twin(pair, scaled, labels[train], asked, labels[test]))
    return 100 * float(np.mean(ours)), 100 * float(np.mean(twins))


def main() -> None:
    """Print the table; exit with 1 if a family is more than the tolerance below its twin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"accuracy in percent, mean of {options.splits} splits\n")
    print(f"{'family':<26}{'data':<16}{'ours':>8}{'scikit-learn':>14}{'difference':>12}")
    worst = 0.0
    for pair in PAIRS:
        for name, load in DATA_SETS.items():
            ours, twin = compare(pair, load, options.splits)
            worst = min(worst, ours - twin)
            print(f"{pair.family:<26}{name:<16}{ours:>8.2f}{twin:>14.2f}{ours - twin:>+12.2f}")
    if worst < -TOLERANCE_POINTS:
        sys.exit(f"a family is {-worst:.2f} points below its twin, more than {TOLERANCE_POINTS}")


if __name__ == "__main__":
    main()
