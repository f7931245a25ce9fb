"""In which of 64 regions of feature space a sample lies, so that variety can be counted.

A region is the signs of six fixed projections. Bit b is set if the sum over features of ±value is
not negative; the sign of feature j in projection b is + if bit b of the hash of j is set. The hash
is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). Samples in similar directions
share a region. A few features reach a few regions only, and so do samples that all share a large
offset: standardise first.

Bounded: a value counts as at most ±2^38, and there are at most 2^24 features, so that no sum
reaches 2^63. Source: docs/spec/ml.md §6.1.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples

__all__ = ["REGIONS", "UNITS_PER_ENTRY", "find_regions"]

PROJECTIONS: Final = 6
REGIONS: Final = 1 << PROJECTIONS

VALUE_MAX: Final = 1 << 38

UNITS_PER_ENTRY: Final = 32
"""What finding regions costs for each feature of a sample: hashing its number, six additions."""


def find_regions(samples: Samples) -> Integers:
    """Return the region of each sample, int64[n] in [0, 64)."""
    if isinstance(samples, DenseSamples):
        sums = _clip(samples.features) @ _signs(np.arange(samples.feature_count))
    else:
        sums = _project_sparse(samples)
    bits = (sums >= 0).astype(np.int64)
    regions: Integers = bits @ (1 << np.arange(PROJECTIONS, dtype=np.int64))
    return regions


def _project_sparse(samples: SparseSamples) -> Integers:
    terms = _clip(samples.values)[:, None] * _signs(samples.indices)
    # Differences of running sums are exact even where those wrap around, since each row's fits.
    running = np.zeros((len(terms) + 1, PROJECTIONS), dtype=np.int64)
    np.cumsum(terms, axis=0, out=running[1:])
    sums: Integers = running[samples.row_starts[1:]] - running[samples.row_starts[:-1]]
    return sums


def _clip(values: Integers) -> Integers:
    return np.clip(values, -VALUE_MAX, VALUE_MAX)


def _signs(features: Integers) -> Integers:
    """Return ±1 for each feature and projection, int64[len(features), 6]."""
    bits = _hash(features.astype(np.uint64))[:, None] >> np.arange(PROJECTIONS, dtype=np.uint64)
    signs: Integers = (bits & np.uint64(1)).astype(np.int64) * 2 - 1
    return signs


def _hash(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the 64-bit hash of each number, as the kernels' `mix64` does."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return hashed
