"""Twin of ml_runtime/kernels/neighbours.py."""

from __future__ import annotations

from ml_runtime.fixed_point import ONE, divide_rounded
from ml_runtime.samples import Integers

__all__ = ["ask_neighbours"]


def ask_neighbours(
    products: Integers, norms: Integers, targets: Integers, count: int, out: Integers
) -> None:
    """Write the votes for every class, Q16 each, or the mean target."""
    out[:] = 0
    for row, given in enumerate(products):
        distances = [
            int(norm) - 2 * int(product) for norm, product in zip(norms, given, strict=True)
        ]
        # Sorting is stable: of those equally near, the lower place comes first.
        places = sorted(range(len(distances)), key=distances.__getitem__)[:count]
        nearest = [int(targets[place]) for place in places]
        if out.shape[1] == 1:
            out[row, 0] = divide_rounded(sum(nearest), max(len(nearest), 1))
        else:
            for label in nearest:
                out[row, label] += ONE
