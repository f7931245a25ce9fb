"""Twins of ml_runtime/kernels/clusters.py."""

from __future__ import annotations

from math import isqrt
from typing import Final

import numpy as np

from ml_runtime.fixed_point import divide_rounded, shift_right_rounded
from ml_runtime.kernels.reference.scalars import exp2_q16, log2_q16, mix64
from ml_runtime.samples import Integers

__all__ = [
    "add_responsibilities",
    "draw_samples",
    "mixture_terms",
    "score_mixture",
    "seed_clusters",
    "train_clusters",
]

RESTARTS: Final = 4
CANDIDATES: Final = 8
LLOYD_STEPS: Final = 20


def seed_clusters(samples: Integers, means: Integers, counts: Integers) -> None:
    """Write the best means of several starts, and how many samples are nearest to each."""
    lowest = -1
    for restart in range(RESTARTS):
        tried = _choose_means(samples, len(means), restart)
        for _ in range(LLOYD_STEPS):
            tried, _, _ = _move_means(samples, tried)
        _, inertia, nearest = _move_means(samples, tried)
        if lowest < 0 or inertia < lowest:
            lowest = inertia
            means[:] = tried
            counts[:] = nearest


def train_clusters(sums: Integers, counts: Integers, features: Integers) -> None:
    """Add each sample to the cluster whose mean is nearest."""
    for sample in features:
        means = _means(sums, counts)
        cluster = int(((means - sample).astype(object) ** 2).sum(axis=1).argmin())
        counts[cluster] += 1
        sums[cluster] += sample


def mixture_terms(
    shares: Integers,
    sums: Integers,
    squares: Integers,
    floor: int,
    table: Integers,
    means: Integers,
    variances: Integers,
    offsets: Integers,
) -> None:
    """Write means, Q12, variances, Q24, and log2 of share and scale, Q16."""
    whole = log2_q16(int(shares.sum()), table)
    for component, given in enumerate(int(share) for share in shares):
        share = max(given, 1)
        for column in range(sums.shape[1]):
            mean = divide_rounded(int(sums[component, column]) << 8, share)
            square = (int(squares[component, column]) << 8) // max(share >> 8, 1)
            means[component, column] = mean
            variances[component, column] = max(square - mean * mean, 0) + floor
        scale = sum(log2_q16(int(each), table) for each in variances[component])
        known = log2_q16(share, table) - whole if given else -(1 << 50)
        offsets[component] = known - scale // 2


def score_mixture(
    means: Integers, variances: Integers, offsets: Integers, features: Integers, out: Integers
) -> None:
    """Write the logarithm of share times density of each component, Q16, up to a constant."""
    for row, component in np.ndindex(out.shape):
        values = (features[row] + 8) >> 4
        terms = [
            shift_right_rounded(
                int(value - mean) ** 2 * divide_rounded(47274 << 24, int(variance)), 24
            )
            for value, mean, variance in zip(
                values, means[component], variances[component], strict=True
            )
        ]
        out[row, component] = int(offsets[component]) - sum(terms)


def add_responsibilities(
    scores: Integers,
    features: Integers,
    table: Integers,
    shares: Integers,
    sums: Integers,
    squares: Integers,
) -> None:
    """Share each sample among the components by their scores; the scores become powers."""
    for row, sample in enumerate(features):
        highest = int(scores[row].max())
        powers = [exp2_q16(max(int(each) - highest, -(1 << 40)), table) for each in scores[row]]
        scores[row] = powers
        values = ((sample + 8) >> 4).astype(object)
        for component, power in enumerate(powers):
            part = divide_rounded(power << 16, sum(powers))
            shares[component] += part
            sums[component] += ((part * values + 128) // 256).astype(np.int64)
            squares[component] += ((part * values * values + 32768) // 65536).astype(np.int64)


def draw_samples(
    shares: Integers, means: Integers, variances: Integers, seed: int, out: Integers
) -> None:
    """Write samples of the mixture, Q16."""
    counter, whole = int(seed), max(int(shares.sum()), 1)
    ends = np.cumsum(shares)[:-1]
    for row in range(len(out)):
        component = int(np.searchsorted(ends, (mix64(counter) >> 2) % whole, side="right"))
        counter += 1
        for column in range(out.shape[1]):
            words = [mix64(counter + number) for number in range(3)]
            counter += 3
            total = sum(word >> 16 * part & 65535 for word in words for part in range(4))
            spread = (total - 393210) * isqrt(int(variances[component, column]))
            out[row, column] = (int(means[component, column]) << 4) + ((spread + 2048) >> 12)


def _means(sums: Integers, counts: Integers) -> Integers:
    divisors = np.maximum(counts, 1)[:, np.newaxis]
    means: Integers = (sums + divisors // 2) // divisors
    return means


def _move_means(samples: Integers, means: Integers) -> tuple[Integers, int, Integers]:
    """Return the means of what is nearest, the inertia before, and how many are nearest."""
    distances = ((samples[:, np.newaxis] - means[np.newaxis]).astype(object) ** 2).sum(axis=2)
    nearest = distances.argmin(axis=1)
    counts = np.bincount(nearest, minlength=len(means))
    sums = np.zeros_like(means)
    np.add.at(sums, nearest, samples)
    moved = np.where(counts[:, np.newaxis] > 0, _means(sums, counts), means)
    return moved, int(distances.min(axis=1).sum()), counts


def _choose_means(samples: Integers, count: int, chance: int) -> Integers:
    chosen: list[Integers] = []
    nearest: Integers | None = None
    for cluster in range(count):
        tries = []
        for candidate in range(CANDIDATES):
            drawn = mix64((chance * count + cluster) * CANDIDATES + candidate) >> 2
            place = drawn % len(samples)
            if nearest is not None and int(nearest.sum()) > 0:
                left = drawn % int(nearest.sum())
                place = int(np.searchsorted(np.cumsum(nearest), left, side="right"))
            distances = ((samples - samples[place]).astype(object) ** 2).sum(axis=1)
            if nearest is not None:
                distances = np.minimum(distances, nearest)
            tries.append((int(distances.sum()), candidate, place, distances))
        _, _, place, nearest = min(tries, key=lambda each: each[:2])
        chosen.append(samples[place])
    return np.array(chosen, dtype=np.int64)
