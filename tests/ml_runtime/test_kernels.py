"""Compiled kernels and their plain twins compute the same bits; frozen digests hold everywhere."""

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_runtime import kernels, kernels_reference
from ml_runtime.fixed_point import ONE
from ml_runtime.models.averaged_perceptron import LOG2_E, WEIGHT_LIMIT
from ml_runtime.tables import EXP2_TABLE, LOG2_TABLE, TABLES_SHA256

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS = ROOT / "tests" / "vectors" / "ml.json"
CLASSES, FEATURES, SAMPLES = 5, 9, 40
LIMITS = (3, 8 * ONE, 1 << 24)


def make_case(seed: int, limit: int):
    random = np.random.default_rng(seed)
    features = random.integers(-limit, limit + 1, (SAMPLES, FEATURES))
    features[random.random(features.shape) < 0.4] = 0
    features[0], features[1] = limit, -limit
    labels = random.integers(0, CLASSES, SAMPLES)
    rows, indices = np.nonzero(features)
    starts = np.zeros(SAMPLES + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=SAMPLES), out=starts[1:])
    entries = (starts, indices.astype(np.int64), features[rows, indices].astype(np.int64))
    return features.astype(np.int64), labels.astype(np.int64), entries


def run_all(module, seed: int, limit: int) -> dict[str, np.ndarray]:
    """Call every kernel of a module on one case; return what each wrote."""
    features, labels, entries = make_case(seed, limit)
    written: dict[str, np.ndarray] = {}
    for name, train, data in (
        ("dense", module.train_perceptron_dense, (features,)),
        ("sparse", module.train_perceptron_sparse, entries),
    ):
        weights = np.zeros((CLASSES, FEATURES + 1), dtype=np.int64)
        changes = np.zeros_like(weights)
        steps = np.ones(1, dtype=np.int64)
        for _ in range(3):
            train(weights, changes, steps, *data, labels, ONE, min(WEIGHT_LIMIT, 4 * limit))
        mean = np.empty_like(weights)
        module.averaged_weights(weights, changes, int(steps[0]), mean)
        written |= {f"{name} weights": weights, f"{name} changes": changes, f"{name} mean": mean}
    core = np.ascontiguousarray(written["dense mean"][:, :-1])
    offsets = np.arange(CLASSES, dtype=np.int64)
    for name, score, data in (
        ("score dense", module.score_dense, (features,)),
        ("score sparse", module.score_sparse, entries),
        ("distance dense", module.score_distances_dense, (features,)),
        ("distance sparse", module.score_distances_sparse, entries),
    ):
        out = np.empty((SAMPLES, CLASSES), dtype=np.int64)
        score(core, offsets, *data, out)
        written[name] = out
    for name, add, data in (
        ("sum dense", module.sum_dense, (features,)),
        ("sum sparse", module.sum_sparse, entries),
    ):
        sums = np.zeros((CLASSES, FEATURES), dtype=np.int64)
        counts = np.zeros(CLASSES, dtype=np.int64)
        add(sums, counts, *data, labels, 1)
        written |= {name: sums, f"{name} counts": counts}
    means, norms = np.empty_like(sums), np.empty_like(counts)
    module.centroids(sums, counts, means, norms)
    logs = np.empty_like(sums)
    module.log_probabilities(np.abs(sums), ONE, LOG2_TABLE, logs)
    shares = np.empty((SAMPLES, CLASSES), dtype=np.int64)
    module.softmax2(written["score dense"], LOG2_E, EXP2_TABLE, shares)
    averages, few = np.empty_like(shares), np.empty_like(shares)
    steps = 1 + 3 * SAMPLES
    module.score_averages_sparse(weights, changes, steps, ONE, *entries, averages)
    module.score_logs_sparse(np.abs(sums), ONE, offsets, LOG2_TABLE, *entries, few)
    return written | {
        "means": means,
        "norms": norms,
        "logs": logs,
        "shares": shares,
        "score averages sparse": averages,
        "score logs sparse": few,
    }


def compute_digests() -> dict[str, str]:
    """Return one digest for each kernel's output, over all cases, with compiled kernels."""
    digests: dict[str, hashlib._Hash] = {}
    for limit in LIMITS:
        for name, array in run_all(kernels, 1, limit).items():
            digests.setdefault(name, hashlib.sha256()).update(array.astype("<i8").tobytes())
    return {name: digest.hexdigest() for name, digest in digests.items()}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("seed", range(8))
def test_kernels_equal_their_twins(seed: int, limit: int) -> None:
    compiled = run_all(kernels, seed, limit)
    plain = run_all(kernels_reference, seed, limit)
    for name, array in compiled.items():
        assert np.array_equal(array, plain[name]), name


@given(st.integers(1, 2**62))
@settings(max_examples=500)
def test_logarithm_equals_its_twin_and_is_close(value: int) -> None:
    result = int(kernels.log2_q16(value, LOG2_TABLE))
    assert result == kernels_reference.log2_q16(value, LOG2_TABLE)
    assert abs(result / ONE - math.log2(value)) < 5e-5


@given(st.integers(-40 * ONE, 0))
@settings(max_examples=500)
def test_power_equals_its_twin_and_is_close(value: int) -> None:
    result = int(kernels.exp2_q16(value, EXP2_TABLE))
    assert result == kernels_reference.exp2_q16(value, EXP2_TABLE)
    assert abs(result / ONE - 2 ** (value / ONE)) < 5e-5


@pytest.mark.parametrize("value", [0, -1, -(2**62)])
def test_logarithm_of_what_has_none_is_that_of_one(value: int) -> None:
    assert int(kernels.log2_q16(value, LOG2_TABLE)) == 0
    assert kernels_reference.log2_q16(value, LOG2_TABLE) == 0


def test_tables_are_those_of_the_specification() -> None:
    data = b"".join(
        int(entry).to_bytes(8, "little") for table in (LOG2_TABLE, EXP2_TABLE) for entry in table
    )
    assert hashlib.sha256(data).hexdigest() == TABLES_SHA256
    steps = np.arange(257) / 256
    assert np.abs(LOG2_TABLE - np.log2(1 + steps) * ONE).max() <= 0.5 + 1e-6
    assert np.abs(EXP2_TABLE - 2**steps * ONE).max() <= 0.5 + 1e-6


def test_digests_are_the_frozen_ones() -> None:
    assert compute_digests() == json.loads(VECTORS.read_text())["kernels"]


@pytest.mark.slow
def test_digests_do_not_depend_on_the_processor(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "tests.ml_runtime.test_kernels"]
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(finished.stdout) == json.loads(VECTORS.read_text())["kernels"]


if __name__ == "__main__":
    print(json.dumps(compute_digests(), indent=2))
