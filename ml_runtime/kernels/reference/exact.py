"""Twins of ml_runtime/kernels/exact.py."""

from __future__ import annotations

from math import isqrt

import numpy as np

from ml_runtime.fixed_point import divide_rounded
from ml_runtime.kernels.reference.scalars import mix64
from ml_runtime.samples import Integers

__all__ = ["principal_axes", "residuals", "solve_modulo"]


def solve_modulo(matrix: Integers, right: Integers, prime: int, out: Integers) -> int:
    """Write det · matrix⁻¹ · right modulo a prime; return det modulo it, 0 for a pivot of 0."""
    size = len(matrix)
    table = [
        [int(entry) % prime for entry in (*row, *more)]
        for row, more in zip(matrix, right, strict=True)
    ]
    determinant = 1
    for pivot in range(size):
        value = table[pivot][pivot]
        if value == 0:
            return 0
        determinant = determinant * value % prime
        turned = pow(value, -1, prime)
        table[pivot] = [entry * turned % prime for entry in table[pivot]]
        for row in range(size):
            if row != pivot:
                factor = table[row][pivot]
                table[row] = [
                    (entry - factor * other) % prime
                    for entry, other in zip(table[row], table[pivot], strict=True)
                ]
    for row in range(size):
        out[row] = [entry * determinant % prime for entry in table[row][size:]]
    return determinant


def principal_axes(covariance: Integers, axes: Integers, sweeps: int) -> None:
    """Write the axes of the largest spread, Q20, one a row."""
    count, size = axes.shape
    rows = [[int(entry) for entry in row] for row in covariance]
    found = [
        [(mix64(axis * size + column) >> 44) - (1 << 19) for column in range(size)]
        for axis in range(count)
    ]
    for _ in range(sweeps):
        for axis in range(count):
            moved = [_dot(row, found[axis]) for row in rows]
            largest = max(abs(entry) for entry in moved)
            shift = max(largest.bit_length() - 26, 0)
            moved = [(entry + (1 << shift >> 1)) >> shift for entry in moved]
            for earlier in found[:axis]:
                product = (_dot(moved, earlier) + (1 << 19)) >> 20
                moved = [
                    entry - ((product * other + (1 << 19)) >> 20)
                    for entry, other in zip(moved, earlier, strict=True)
                ]
            length = max(isqrt(_dot(moved, moved)), 1)
            found[axis] = [divide_rounded(entry << 20, length) for entry in moved]
    axes[:] = np.array(found, dtype=np.int64)


def residuals(mean: Integers, axes: Integers, features: Integers, out: Integers) -> None:
    """Write the squared distance of each sample to the plane of the axes, Q16."""
    for row, sample in enumerate(features):
        offset = [int(entry) for entry in ((sample + 8) >> 4) - mean]
        left = _dot(offset, offset) << 8
        for axis in axes:
            product = (_dot(offset, [int(entry) for entry in axis]) + 32768) >> 16
            left -= product * product
        out[row] = max((left + 32768) >> 16, 0)


def _dot(left: list[int], right: list[int]) -> int:
    return sum(one * other for one, other in zip(left, right, strict=True))
