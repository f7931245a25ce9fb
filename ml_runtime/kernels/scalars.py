"""The numbers that every kernel is made of: rounding, clamping, logarithm, power, root, chance.

Every other file of kernels says in its first comment which text of this file it was compiled with:
the compiler's cache looks at nothing but a kernel's own file, so a change here has to be a change
there. A test holds the two together. Source: docs/spec/ml.md §1, §2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = [
    "clamp",
    "divide_rounded",
    "exp2_q16",
    "log2_q16",
    "mix64",
    "square_root",
]

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_TABLE = "Array(int64, 1, 'C', readonly=True)"


@njit("int64(int64, int64)", **_OPTIONS)
def divide_rounded(value: int, divisor: int) -> Any:
    """Return value / divisor, rounded to nearest, halves up; divisor > 0."""
    return (value + divisor // 2) // divisor


@njit(f"int64(int64, {_TABLE})", **_OPTIONS)
def log2_q16(value: int, table: Any) -> Any:
    """Return log2 of a positive integer, Q16; linear between 256 steps of an octave."""
    # Below 1 there is no logarithm, and the table would be read outside of itself.
    value = max(value, 1)
    exponent = 0
    for bits in (32, 16, 8, 4, 2, 1):
        if value >> (exponent + bits) > 0:
            exponent += bits
    # The mantissa in Q24, in [2^24, 2^25).
    mantissa = value << (24 - exponent) if exponent <= 24 else value >> (exponent - 24)
    step = (mantissa >> 16) - 256
    rest = mantissa & 65535
    low = table[step]
    return (exponent << 16) + low + (((table[step + 1] - low) * rest + 32768) >> 16)


@njit(f"int64(int64, {_TABLE})", **_OPTIONS)
def exp2_q16(value: int, table: Any) -> Any:
    """Return 2^(value / 65536) in Q16 for value ≤ 0; below 2^-32 it is 0."""
    whole = -(value >> 16)
    if whole > 32:
        return 0
    fraction = value & 65535
    step = fraction >> 8
    low = table[step]
    power = low + (((table[step + 1] - low) * (fraction & 255) + 128) >> 8)
    return (power + ((1 << whole) >> 1)) >> whole


@njit("int64(int64, int64)", **_OPTIONS)
def clamp(value: int, limit: int) -> Any:
    """Return the nearest number to value in [-limit, limit]."""
    if value > limit:
        return limit
    if value < -limit:
        return -limit
    return value


@njit("int64(int64)", **_OPTIONS)
def square_root(value: int) -> Any:
    """Return the largest integer whose square is at most value; 0 for what is not positive."""
    if value <= 0:
        return 0
    bits = 0
    for step in (32, 16, 8, 4, 2, 1):
        if value >> (bits + step) > 0:
            bits += step
    root = 1 << (bits // 2 + 1)
    following = (root + value // root) // 2
    while following < root:
        root = following
        following = (root + value // root) // 2
    return root


@njit("uint64(uint64)", **_OPTIONS)
def mix64(counter: Any) -> Any:
    """Return a number that looks random for each counter (SplitMix64, Steele et al. 2014)."""
    mixed = counter * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
