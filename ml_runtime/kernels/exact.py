"""Systems of linear equations, solved modulo a prime, and principal axes of a covariance.

An exact rational solution is put together from its remainders modulo enough primes
(ml_runtime/exact_solve.py). Products are reduced as Montgomery showed (Math. Comp. 44, 1985), with
R = 2^32 and primes below 2^31. Source: docs/spec/ml.md §4.7, §4.12.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ml_runtime.kernels.scalars import divide_rounded, mix64, square_root

__all__ = ["principal_axes", "residuals", "solve_modulo"]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_MATRIX = "int64[:, ::1]"
_VECTOR = "int64[::1]"
_PLACES = "uint64[:, ::1]"


@njit("uint64(uint64, uint64, uint64, uint64)", **_OPTIONS)
def _multiply(left: Any, right: Any, prime: Any, inverse: Any) -> Any:
    """Return left · right / 2^32 modulo the prime; ``inverse`` is -1/prime modulo 2^32."""
    # The masks change nothing, but say that 32 bits are multiplied, of which processors do several
    # at once; so does a minimum, in which a difference below zero wraps and loses.
    mask = np.uint64(0xFFFFFFFF)
    product = (left & mask) * (right & mask)
    factor = ((product & mask) * (inverse & mask)) & mask
    reduced = (product + factor * (prime & mask)) >> np.uint64(32)
    return min(reduced, reduced - prime)


@njit("uint64(uint64, uint64, uint64, uint64)", **_OPTIONS)
def _power(value: Any, exponent: Any, prime: Any, inverse: Any) -> Any:
    """Return value to the exponent, in Montgomery's form, for an exponent of at least 1."""
    result = value
    started = False
    while exponent > np.uint64(0):
        if exponent & np.uint64(1):
            result = _multiply(result, value, prime, inverse) if started else value
            started = True
        value = _multiply(value, value, prime, inverse)
        exponent >>= np.uint64(1)
    return result


@njit("void(uint64[::1], uint64[::1], uint64, uint64, uint64)", **_OPTIONS)
def _add_row(row: Any, other: Any, factor: Any, prime: Any, inverse: Any) -> None:
    """Add another row times a factor to a row, modulo the prime."""
    for column in range(len(row)):
        changed = row[column] + _multiply(factor, other[column], prime, inverse)
        row[column] = min(changed, changed - prime)


@njit(f"void({_MATRIX}, int64, uint64, {_PLACES}, int64)", **_OPTIONS)
def _load(matrix: Any, prime: int, inverse: Any, table: Any, first: int) -> None:
    """Write the entries of a matrix, modulo the prime and in Montgomery's form, into the table."""
    square = np.uint64((1 << 32) % prime)
    square = np.uint64(square * square % np.uint64(prime))
    for row in range(matrix.shape[0]):
        for column in range(matrix.shape[1]):
            rest = np.uint64(matrix[row, column] % prime)
            table[row, first + column] = _multiply(rest, square, np.uint64(prime), inverse)


@njit(f"int64({_MATRIX}, {_MATRIX}, int64, {_MATRIX})", **_OPTIONS)
def solve_modulo(matrix: Any, right: Any, prime: int, out: Any) -> Any:
    """Write det · matrix⁻¹ · right modulo a prime below 2^31; return det modulo it.

    Returns 0, and writes nothing, when a pivot is 0: another prime has to be taken.
    """
    size, count = matrix.shape[0], right.shape[1]
    table = np.empty((size, size + count), dtype=np.uint64)
    modulus = np.uint64(prime)
    mask = np.uint64(0xFFFFFFFF)
    inverse = np.uint64(1)
    for _ in range(5):
        # Newton's steps double the right bits of 1/prime modulo 2^32.
        inverse = inverse * (np.uint64(2) - modulus * inverse) & mask
    inverse = (np.uint64(1 << 32) - inverse) & mask
    _load(matrix, prime, inverse, table, 0)
    _load(right, prime, inverse, table, size)
    determinant = np.uint64((1 << 32) % prime)
    for pivot in range(size):
        value = table[pivot, pivot]
        if value == np.uint64(0):
            return 0
        determinant = _multiply(determinant, value, modulus, inverse)
        turned = _power(value, np.uint64(prime - 2), modulus, inverse)
        for column in range(pivot + 1, size + count):
            table[pivot, column] = _multiply(table[pivot, column], turned, modulus, inverse)
        for row in range(pivot + 1, size):
            factor = modulus - table[row, pivot]
            _add_row(table[row, pivot + 1 :], table[pivot, pivot + 1 :], factor, modulus, inverse)
    for pivot in range(size - 1, 0, -1):
        for row in range(pivot):
            factor = modulus - table[row, pivot]
            _add_row(table[row, size:], table[pivot, size:], factor, modulus, inverse)
    for row in range(size):
        for column in range(count):
            whole = _multiply(table[row, size + column], determinant, modulus, inverse)
            out[row, column] = np.int64(_multiply(whole, np.uint64(1), modulus, inverse))
    return np.int64(_multiply(determinant, np.uint64(1), modulus, inverse))


@njit(f"void({_MATRIX}, {_MATRIX}, int64)", **_OPTIONS)
def principal_axes(covariance: Any, axes: Any, sweeps: int) -> None:
    """Write the axes of the largest spread, Q20, one a row: orthogonal iteration, fixed sweeps.

    ``covariance`` is Q24, below 2^31. Each axis is scaled before it is squared, so that with up
    to 1,024 features nothing reaches 2^62.
    """
    count, size = axes.shape
    moved = np.empty(size, dtype=np.int64)
    for axis in range(count):
        for column in range(size):
            noise = mix64(np.uint64(axis * size + column)) >> np.uint64(44)
            axes[axis, column] = np.int64(noise) - (1 << 19)
    for _ in range(sweeps):
        for axis in range(count):
            largest = 0
            for row in range(size):
                total = 0
                for column in range(size):
                    total += covariance[row, column] * axes[axis, column]
                moved[row] = total
                largest = max(largest, abs(total))
            shift = 0
            while largest >> shift >= 1 << 26:
                shift += 1
            for row in range(size):
                moved[row] = (moved[row] + ((1 << shift) >> 1)) >> shift
            for earlier in range(axis):
                product = 0
                for column in range(size):
                    product += moved[column] * axes[earlier, column]
                product = (product + (1 << 19)) >> 20
                for column in range(size):
                    moved[column] -= (product * axes[earlier, column] + (1 << 19)) >> 20
            squared = 0
            for column in range(size):
                squared += moved[column] * moved[column]
            length = max(square_root(squared), 1)
            for column in range(size):
                axes[axis, column] = divide_rounded(moved[column] << 20, length)


@njit(f"void({_VECTOR}, {_MATRIX}, {_MATRIX}, {_VECTOR})", **_OPTIONS)
def residuals(mean: Any, axes: Any, features: Any, out: Any) -> None:
    """Write the squared distance of each sample to the plane of the axes, Q16; mean in Q12."""
    size = features.shape[1]
    offset = np.empty(size, dtype=np.int64)
    for sample in range(features.shape[0]):
        left = 0
        for column in range(size):
            offset[column] = ((features[sample, column] + 8) >> 4) - mean[column]
            left += offset[column] * offset[column]
        left <<= 8
        for axis in range(axes.shape[0]):
            product = 0
            for column in range(size):
                product += offset[column] * axes[axis, column]
            product = (product + 32768) >> 16
            left -= product * product
        out[sample] = max((left + 32768) >> 16, 0)
