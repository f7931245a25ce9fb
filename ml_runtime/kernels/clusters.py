"""Groups of samples: where they begin, the nearest one, and mixtures of diagonal Gaussians.

Chance comes from ``mix64`` and a fixed counter, so it is the same everywhere. Distances are
squared, of features in Q16. Source: docs/spec/ml.md §4.10, §4.13.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ml_runtime.kernels.scalars import divide_rounded, exp2_q16, log2_q16, mix64, square_root

__all__ = [
    "add_responsibilities",
    "draw_samples",
    "mixture_terms",
    "score_mixture",
    "seed_clusters",
    "train_clusters",
]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"
_TABLE = "Array(int64, 1, 'C', readonly=True)"

_RESTARTS = 4
_CANDIDATES = 8
_LLOYD_STEPS = 20
_FAR = 1 << 62


@njit("int64(int64[::1], int64[::1])", **_OPTIONS)
def _distance(left: Any, right: Any) -> Any:
    total = 0
    for column in range(len(left)):
        difference = left[column] - right[column]
        total += difference * difference
    return total


@njit(f"int64({_MATRIX}, int64, {_VECTOR})", **_OPTIONS)
def _nearest(means: Any, count: int, sample: Any) -> int:
    """Return which of the first means is nearest; the lowest of those equally near."""
    best, best_distance = 0, _FAR
    for cluster in range(count):
        distance = _distance(means[cluster], sample)
        if distance < best_distance:
            best, best_distance = cluster, distance
    return best


@njit(f"int64({_MATRIX}, {_MATRIX}, {_VECTOR})", **_OPTIONS)
def _move_means(samples: Any, means: Any, counts: Any) -> int:
    """Take one step of Lloyd's: write the means of what is nearest; return the inertia before."""
    sums = np.zeros_like(means)
    counts[:] = 0
    inertia = 0
    for sample in range(samples.shape[0]):
        cluster = _nearest(means, means.shape[0], samples[sample])
        inertia += _distance(means[cluster], samples[sample])
        counts[cluster] += 1
        sums[cluster] += samples[sample]
    for cluster in range(means.shape[0]):
        if counts[cluster]:
            for column in range(means.shape[1]):
                means[cluster, column] = divide_rounded(sums[cluster, column], counts[cluster])
    return inertia


@njit(f"void({_MATRIX}, {_MATRIX}, int64)", **_OPTIONS)
def _choose_means(samples: Any, means: Any, chance: int) -> None:
    """Choose far-apart samples as first means, the best of some candidates each (k-means++)."""
    count = samples.shape[0]
    nearest = np.full(count, _FAR, dtype=np.int64)
    distances = np.empty(count, dtype=np.int64)
    kept = np.empty(count, dtype=np.int64)
    for cluster in range(means.shape[0]):
        total = 0
        if cluster:
            for sample in range(count):
                total += nearest[sample]
        best_total = -1
        for candidate in range(_CANDIDATES):
            counter = (chance * means.shape[0] + cluster) * _CANDIDATES + candidate
            drawn = np.int64(mix64(np.uint64(counter)) >> np.uint64(2))
            place = drawn % count
            if total > 0:
                left = drawn % total
                place = 0
                while left >= nearest[place]:
                    left -= nearest[place]
                    place += 1
            inertia = 0
            for sample in range(count):
                distance = _distance(samples[place], samples[sample])
                distances[sample] = min(distance, nearest[sample])
                inertia += distances[sample]
            if best_total < 0 or inertia < best_total:
                best_total = inertia
                means[cluster] = samples[place]
                kept[:] = distances
        nearest[:] = kept


@njit(f"void({_MATRIX}, {_MATRIX}, {_VECTOR})", **_OPTIONS)
def seed_clusters(samples: Any, means: Any, counts: Any) -> None:
    """Write the best means of several starts, each moved some steps, and how many are nearest.

    The sum of all squared distances must stay below 2^62.
    """
    tried = np.empty_like(means)
    tried_counts = np.empty_like(counts)
    lowest = -1
    for restart in range(_RESTARTS):
        _choose_means(samples, tried, restart)
        for _ in range(_LLOYD_STEPS):
            _move_means(samples, tried, tried_counts)
        moved = tried.copy()
        inertia = _move_means(samples, moved, tried_counts)
        if lowest < 0 or inertia < lowest:
            lowest = inertia
            means[:] = tried
            counts[:] = tried_counts


@njit(f"void({_MATRIX}, {_VECTOR}, {_MATRIX})", **_OPTIONS)
def train_clusters(sums: Any, counts: Any, features: Any) -> None:
    """Add each sample to the cluster whose mean is nearest, one after another (MacQueen)."""
    means = np.zeros_like(sums)
    for cluster in range(sums.shape[0]):
        for column in range(sums.shape[1]):
            means[cluster, column] = divide_rounded(sums[cluster, column], max(counts[cluster], 1))
    for sample in range(features.shape[0]):
        cluster = _nearest(means, means.shape[0], features[sample])
        counts[cluster] += 1
        for column in range(sums.shape[1]):
            sums[cluster, column] += features[sample, column]
            means[cluster, column] = divide_rounded(sums[cluster, column], counts[cluster])


@njit(
    f"void({_VECTOR}, {_MATRIX}, {_MATRIX}, int64, {_TABLE}, {_MATRIX}, {_MATRIX}, {_VECTOR})",
    **_OPTIONS,
)
def mixture_terms(
    shares: Any,
    sums: Any,
    squares: Any,
    floor: int,
    table: Any,
    means: Any,
    variances: Any,
    offsets: Any,
) -> None:
    """Write means, Q12, variances, Q24, and log2 of share and scale, Q16, of every component.

    ``shares`` are responsibilities, Q16, added up; ``sums`` of features Q20, ``squares`` Q24.
    """
    whole = 0
    for component in range(len(shares)):
        whole += shares[component]
    log_whole = log2_q16(whole, table)
    for component in range(len(shares)):
        share = max(shares[component], 1)
        offset = 0
        for column in range(sums.shape[1]):
            mean = divide_rounded(sums[component, column] << 8, share)
            mean_square = (squares[component, column] << 8) // max(share >> 8, 1)
            variance = max(mean_square - mean * mean, 0) + floor
            means[component, column] = mean
            variances[component, column] = variance
            offset += log2_q16(variance, table)
        # A component that nothing belongs to is never the nearest.
        known = log2_q16(share, table) - log_whole if shares[component] else -(1 << 50)
        offsets[component] = known - (offset >> 1)


@njit(f"void({_MATRIX}, {_MATRIX}, {_VECTOR}, {_MATRIX}, {_MATRIX})", **_OPTIONS)
def score_mixture(means: Any, variances: Any, offsets: Any, features: Any, out: Any) -> None:
    """Write the logarithm of share times density of each component, Q16, up to a constant."""
    size = features.shape[1]
    values = np.empty(size, dtype=np.int64)
    weights = np.empty_like(means)
    for component in range(means.shape[0]):
        for column in range(size):
            weights[component, column] = divide_rounded(47274 << 24, variances[component, column])
    for sample in range(features.shape[0]):
        for column in range(size):
            values[column] = (features[sample, column] + 8) >> 4
        for component in range(means.shape[0]):
            total = 0
            for column in range(size):
                distance = values[column] - means[component, column]
                total += (distance * distance * weights[component, column] + 8388608) >> 24
            out[sample, component] = offsets[component] - total


@njit(
    f"void({_MATRIX}, {_MATRIX}, {_TABLE}, {_VECTOR}, {_MATRIX}, {_MATRIX})",
    **_OPTIONS,
)
def add_responsibilities(
    scores: Any, features: Any, table: Any, shares: Any, sums: Any, squares: Any
) -> None:
    """Share each sample among the components by their scores, and add it to their sums."""
    components = scores.shape[1]
    for sample in range(features.shape[0]):
        highest = scores[sample].max()
        total = 0
        for component in range(components):
            difference = max(scores[sample, component] - highest, -(1 << 40))
            scores[sample, component] = exp2_q16(difference, table)
            total += scores[sample, component]
        for component in range(components):
            part = divide_rounded(scores[sample, component] << 16, total)
            if part == 0:
                continue
            shares[component] += part
            for column in range(features.shape[1]):
                value = (features[sample, column] + 8) >> 4
                sums[component, column] += (part * value + 128) >> 8
                squares[component, column] += (part * value * value + 32768) >> 16


@njit(f"void({_VECTOR}, {_MATRIX}, {_MATRIX}, uint64, {_MATRIX})", **_OPTIONS)
def draw_samples(shares: Any, means: Any, variances: Any, seed: Any, out: Any) -> None:
    """Write samples of the mixture, Q16: a component by its share, then a number for each feature.

    A standard normal is the sum of twelve uniform 16-bit numbers less six: exact mean and variance,
    nothing beyond six deviations.
    """
    whole = 0
    for component in range(len(shares)):
        whole += shares[component]
    size = out.shape[1]
    counter = seed
    for sample in range(out.shape[0]):
        left = np.int64(mix64(counter) >> np.uint64(2)) % max(whole, 1)
        counter += np.uint64(1)
        component = 0
        while component < len(shares) - 1 and left >= shares[component]:
            left -= shares[component]
            component += 1
        for column in range(size):
            total: Any = 0
            for _ in range(3):
                word = mix64(counter)
                counter += np.uint64(1)
                for part in range(4):
                    total += np.int64((word >> np.uint64(16 * part)) & np.uint64(65535))
            # Twelve times the mean of a uniform 16-bit number is 6 · 65535.
            normal = total - 393210
            deviation = square_root(variances[component, column])
            out[sample, column] = (means[component, column] << 4) + (
                (normal * deviation + 2048) >> 12
            )
