"""The exact solution of a system of linear equations in integers, rounded once.

Cramer's rule says that matrix⁻¹ · right is a matrix of fractions over the determinant. Numerators
and determinant are computed modulo primes below 2^31 until the product of the primes exceeds twice
what Hadamard's inequality allows, and put together by the Chinese remainder theorem. Which primes
were taken cannot be seen in the result. Source: docs/spec/ml.md §4.7.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import isqrt
from typing import Final

import numpy as np

from ml_runtime.fixed_point import clamp
from ml_runtime.kernels import exact
from ml_runtime.samples import Integers
from primitives.errors import InvariantViolationError

__all__ = ["primes_needed", "solve_rounded"]

PRIME_BITS: Final = 30
"""Every prime that is taken is above 2^30."""

PRIMES_MAX: Final = 4_096


def primes_needed(size: int, entry_bits: int) -> int:
    """Return how many primes a system of ``size`` equations can need.

    Parameters
    ----------
    entry_bits
        No entry of matrix and right side reaches 2 to this power.
    """
    bits = (size + 1) * (entry_bits + (size.bit_length() + 1) // 2) + 2
    return -(-bits // PRIME_BITS) + 1


def solve_rounded(
    matrix: Integers, right: Integers, fraction_bits: int, limit: int = 1 << 62
) -> Integers:
    """Return matrix⁻¹ · right times 2^fraction_bits, each entry rounded to nearest, halves up.

    Parameters
    ----------
    matrix
        int64[n, n], symmetric and positive definite.
    right
        int64[n, k].
    limit
        Entries are clamped to it; a node must not stop because a solution is large.

    Raises
    ------
    InvariantViolationError
        If the matrix is singular.
    """
    determinant, numerators = _solve(matrix, right)
    doubled = 2 * determinant
    rounded = [
        clamp(((numerator << (fraction_bits + 1)) + determinant) // doubled, limit)
        for numerator in numerators
    ]
    return np.array(rounded, dtype=np.int64).reshape(right.shape)


def _solve(matrix: Integers, right: Integers) -> tuple[int, list[int]]:
    """Return the determinant and, row by row, the numerators over it."""
    bound = 2 * _hadamard(matrix, right) + 1
    modulus, parts = 1, []
    out = np.empty_like(right)
    for prime in _primes():
        determinant = int(exact.solve_modulo(matrix, right, prime, out))
        if determinant:
            parts.append((prime, [determinant, *out.reshape(-1).tolist()]))
            modulus *= prime
            if modulus > bound:
                break
    else:
        raise InvariantViolationError(f"a matrix of size {len(matrix)} is singular")
    shares = [_share(modulus, prime) for prime, _ in parts]
    numbers = []
    for remainders in zip(*(values for _, values in parts), strict=True):
        whole = sum(share * rest for share, rest in zip(shares, remainders, strict=True)) % modulus
        numbers.append(whole - modulus if whole > modulus // 2 else whole)
    return numbers[0], numbers[1:]


def _share(modulus: int, prime: int) -> int:
    """Return the number that is 1 modulo the prime and 0 modulo all others."""
    others = modulus // prime
    return others * pow(others, -1, prime)


def _hadamard(matrix: Integers, right: Integers) -> int:
    """Return a bound of determinant and numerators: the product of the lengths of all columns."""
    bound = 1
    columns = [*matrix.T.tolist(), *right.T.tolist()]
    lengths = [isqrt(sum(entry * entry for entry in column)) + 1 for column in columns]
    for length in lengths[: len(matrix)]:
        bound *= length
    return bound * max(lengths[len(matrix) :], default=1)


def _primes() -> Iterator[int]:
    """Yield the primes below 2^31, largest first, as many as any model can need."""
    for index in range(PRIMES_MAX):
        yield _prime(index)


@lru_cache(maxsize=PRIMES_MAX)
def _prime(index: int) -> int:
    candidate = (1 << 31) - 1 if index == 0 else _prime(index - 1) - 2
    while not _is_prime(candidate):
        candidate -= 2
    return candidate


def _is_prime(number: int) -> bool:
    """Say whether an odd number below 2^32 is prime (Miller-Rabin; Jaeschke's three bases)."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for witness in (2, 7, 61):
        power = pow(witness, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True
