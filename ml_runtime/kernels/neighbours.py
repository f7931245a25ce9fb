"""The nearest of the samples that are kept, and what they say. Source: docs/spec/ml.md §4.8."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ml_runtime.kernels.scalars import divide_rounded

__all__ = ["ask_neighbours"]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"


@njit(f"void({_MATRIX}, {_VECTOR}, {_VECTOR}, int64, {_MATRIX})", **_OPTIONS)
def ask_neighbours(products: Any, norms: Any, targets: Any, count: int, out: Any) -> None:
    """Write the votes for every class, Q16 each, or the mean target if ``out`` has one column.

    ``products`` are those of samples with what is kept, ``norms`` the squared lengths of what is
    kept. Of those equally near, the one kept in the lower place is asked.
    """
    count = min(count, products.shape[1])
    distances = np.empty(count, dtype=np.int64)
    places = np.empty(count, dtype=np.int64)
    for sample in range(products.shape[0]):
        found = 0
        for place in range(products.shape[1]):
            distance = norms[place] - 2 * products[sample, place]
            if found == count and distance >= distances[found - 1]:
                continue
            if found < count:
                found += 1
            slot = found - 1
            while slot > 0 and distances[slot - 1] > distance:
                distances[slot] = distances[slot - 1]
                places[slot] = places[slot - 1]
                slot -= 1
            distances[slot] = distance
            places[slot] = place
        out[sample] = 0
        if out.shape[1] == 1:
            total = 0
            for slot in range(found):
                total += targets[places[slot]]
            out[sample, 0] = divide_rounded(total, max(found, 1))
        else:
            for slot in range(found):
                out[sample, targets[places[slot]]] += 65536
