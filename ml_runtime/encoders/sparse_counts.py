"""Counts by feature into sparse samples: what all encoders of texts and categories end with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ml_runtime.encoders.encoder import VALUE_MAX, make_range_refusal
from ml_runtime.samples import SparseSamples

__all__ = ["build_samples"]


def build_samples(
    counts: Iterable[Mapping[int, int]], weight: int, feature_count: int
) -> SparseSamples:
    """Return one sample for each mapping from a feature to its count.

    Parameters
    ----------
    counts
        By feature; a count of zero is left out.
    weight
        What one counts for, Q16, positive.
    feature_count
        Of the samples; above every feature.

    Raises
    ------
    InvalidInputError
        ``feature_out_of_range`` if a count times the weight exceeds 2^48.
    """
    row_starts, indices, values = [0], [], []
    for position, row in enumerate(counts):
        for index in sorted(row):
            value = row[index] * weight
            if abs(value) > VALUE_MAX:
                raise make_range_refusal(f"rows[{position}]", value >> 16)
            if value:
                indices.append(index)
                values.append(value)
        row_starts.append(len(indices))
    return SparseSamples(
        np.array(row_starts, dtype=np.int64),
        np.array(indices, dtype=np.int64),
        np.array(values, dtype=np.int64),
        feature_count,
    )
