"""Times learning a batch against scikit-learn's ``partial_fit``, side by side in one run.

Both learn the same batch again and again, in turn; figures are medians of the runs, the ratio is
that of the medians. Dense: digits, 64 features, 10 classes; sparse: 20 of 1,000 features.

    python benchmarks/kernels.py [--runs 15]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.naive_bayes import MultinomialNB

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ml_runtime.encoders import ScaleEncoder
from ml_runtime.family import learn_and_evaluate
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples, Samples, SparseSamples
from ml_runtime.spec import make_spec

SIZES = (1, 64, 1024)
TWINS: dict[str, Callable[[], Any]] = {
    "averaged_perceptron": lambda: SGDClassifier(
        loss="perceptron", average=True, learning_rate="constant", eta0=1.0, penalty=None
    ),
    "multinomial_naive_bayes": MultinomialNB,
}


def make_dense(count: int) -> tuple[Samples, Any, Any, int]:
    """Return a batch of digits: ours, scikit-learn's, labels and the number of classes."""
    data = load_digits()
    features, labels = data.data[:count] / 16, data.target[:count].astype(np.int64)
    return DenseSamples(ScaleEncoder().encode(features)), features, labels, 10


def make_sparse(count: int) -> tuple[Samples, Any, Any, int]:
    """Return a batch of word-like samples, 20 of 1,000 features each."""
    random = np.random.default_rng(3)
    rows = [np.sort(random.choice(1000, 20, replace=False)) for _ in range(count)]
    indices = np.concatenate(rows).astype(np.int64)
    starts = np.arange(0, 20 * count + 1, 20, dtype=np.int64)
    values = np.full(20 * count, 65_536, dtype=np.int64)
    matrix = csr_matrix((np.ones(20 * count), indices, starts), shape=(count, 1000))
    labels = random.integers(0, 2, count).astype(np.int64)
    return SparseSamples(starts, indices, values, 1000), matrix, labels, 2


def time_call(call: Callable[[], object], seconds: float = 0.02) -> float:
    """Return seconds of one call, from as many as fit into a short while."""
    calls = 0
    started = time.perf_counter()
    while True:
        call()
        calls += 1
        passed = time.perf_counter() - started
        if passed > seconds:
            return passed / calls


def compare(name: str, layout: str, size: int, runs: int) -> tuple[float, float, float]:
    """Return seconds to learn, to evaluate and learn, and for scikit-learn to learn a batch."""
    samples, theirs, labels, classes = (make_dense if layout == "dense" else make_sparse)(size)
    feature_count = 64 if layout == "dense" else 1000
    family = get_family(name)
    spec = make_spec(name, layout, feature_count, classes)
    state = family.initial_state(spec)
    twin = TWINS[name]()
    twin.partial_fit(theirs, labels, classes=np.arange(classes))
    calls: tuple[Callable[[], object], ...] = (
        lambda: family.update(spec, state, samples, labels),
        lambda: learn_and_evaluate(family, spec, state, samples, labels),
        lambda: twin.partial_fit(theirs, labels),
    )
    times = [[time_call(call) for call in calls] for _ in range(runs)]
    learn, evaluate, other = (statistics.median(column) for column in zip(*times, strict=True))
    return learn, evaluate, other


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    headings = ("learn", "and evaluate", "scikit-learn", "ratio")
    print("microseconds for one batch, medians; ratio: scikit-learn ÷ learn\n")
    print(f"{'family':<26}{'layout':<8}{'batch':>6}" + "".join(f"{each:>14}" for each in headings))
    for name in TWINS:
        for layout in ("dense", "sparse"):
            for size in SIZES:
                learn, evaluate, other = compare(name, layout, size, options.runs)
                figures = "".join(f"{each * 1e6:>14.1f}" for each in (learn, evaluate, other))
                print(f"{name:<26}{layout:<8}{size:>6}{figures}{other / learn:>13.1f}×")


if __name__ == "__main__":
    main()
