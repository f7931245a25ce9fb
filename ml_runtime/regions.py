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
from ml_runtime.spec import ModelSpec

__all__ = ["REGIONS", "compute_units", "find_regions"]

PROJECTIONS: Final = 6
REGIONS: Final = 1 << PROJECTIONS

VALUE_MAX: Final = 1 << 38

_UNITS: Final = 40_000
"""A few dozen calls of numpy, however few the samples are."""

_UNITS_PER_SAMPLE: Final = 64
_UNITS_PER_SIGN: Final = 56
_UNITS_PER_ENTRY: Final = 8


def compute_units(spec: ModelSpec, count: int, entries: int) -> int:
    """Return what finding the regions of samples costs, in compute units.

    Parameters
    ----------
    spec
        Of the model.
    count
        How many samples there are.
    entries
        Features in all samples together, of sparse ones those that are given.
    """
    hashed = min(spec.feature_count, entries) if spec.layout == "dense" else entries
    per_feature = _UNITS_PER_SIGN * hashed + _UNITS_PER_ENTRY * entries
    return _UNITS + _UNITS_PER_SAMPLE * count + per_feature


def find_regions(samples: Samples) -> Integers:
    """Return the region of each sample, int64[n] in [0, 64)."""
    if isinstance(samples, DenseSamples):
        sums = _project_dense(samples)
    else:
        sums = _project_sparse(samples)
    bits = (sums >= 0).astype(np.int64)
    regions: Integers = bits @ (1 << np.arange(PROJECTIONS, dtype=np.int64))
    return regions


def _project_sparse(samples: SparseSamples) -> Integers:
    values, hashes = _clip(samples.values), _hash(samples.indices.astype(np.uint64))
    sums = np.zeros((len(samples.row_starts) - 1, PROJECTIONS), dtype=np.int64)
    running = np.zeros(len(values) + 1, dtype=np.int64)
    for projection in range(PROJECTIONS):
        # Differences of running sums are exact even where those wrap around, as each row's fits.
        np.cumsum(values * _signs(hashes, projection), out=running[1:])
        sums[:, projection] = np.diff(running[samples.row_starts])
    return sums


def _project_dense(samples: DenseSamples) -> Integers:
    values = _clip(samples.features)
    hashes = _hash(np.arange(samples.feature_count, dtype=np.uint64))
    products = [values @ _signs(hashes, projection) for projection in range(PROJECTIONS)]
    return np.stack(products, axis=1)


def _clip(values: Integers) -> Integers:
    return np.clip(values, -VALUE_MAX, VALUE_MAX)


def _signs(hashes: NDArray[np.uint64], projection: int) -> Integers:
    """Return 1 where the hash has the bit of the projection, else -1."""
    bits = (hashes >> np.uint64(projection)) & np.uint64(1)
    signs: Integers = bits.astype(np.int64) * 2 - 1
    return signs


def _hash(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the 64-bit hash of each number, as the kernels' `mix64` does."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return hashed
