"""Twins of ml_runtime/kernels/scalars.py, on integers of any size."""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.fixed_point import shift_right_rounded
from ml_runtime.samples import Integers

__all__ = [
    "exp2_q16",
    "log2_q16",
    "mix64",
    "to_dense",
]

MANTISSA_BITS: Final = 24
EXPONENT_MAX: Final = 32
_MASK: Final = 2**64 - 1


def log2_q16(value: int, table: Integers) -> int:
    """Return log2 of an integer, Q16; what is below 1 counts as 1."""
    value = max(value, 1)
    exponent = value.bit_length() - 1
    mantissa = value << MANTISSA_BITS >> exponent
    step, rest = (mantissa >> 16) - 256, mantissa & 65535
    low, high = int(table[step]), int(table[step + 1])
    return (exponent << 16) + low + shift_right_rounded((high - low) * rest, 16)


def exp2_q16(value: int, table: Integers) -> int:
    """Return 2^(value / 65536) in Q16 for value ≤ 0."""
    whole = -(value >> 16)
    if whole > EXPONENT_MAX:
        return 0
    step, rest = (value & 65535) >> 8, value & 255
    low, high = int(table[step]), int(table[step + 1])
    return shift_right_rounded(low + shift_right_rounded((high - low) * rest, 8), whole)


def to_dense(row_starts: Integers, indices: Integers, values: Integers, columns: int) -> Integers:
    """Return sparse samples as rows of all their features."""
    dense = np.zeros((len(row_starts) - 1, columns), dtype=np.int64)
    rows = np.repeat(np.arange(len(row_starts) - 1), np.diff(row_starts))
    dense[rows, indices] = values
    return dense


def mix64(counter: int) -> int:
    """Return a number below 2^64 that looks random for each counter."""
    mixed = (counter + 1) * 0x9E3779B97F4A7C15 & _MASK
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    return mixed ^ mixed >> 31
