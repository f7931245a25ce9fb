"""How a model of sums forgets: counts shrink by a rule, and sums with them.

A count n becomes n' = n · (2^shift - 1) / 2^shift, rounded to nearest, halves up, by the one rule
of docs/spec/ml.md §1. Everything that was summed over these n samples is then multiplied by n' / n
and not by the same fraction once more: means, which are what models are asked for, would otherwise
drift away from the data whenever a count is rounded, and a class with fewer than 2^(shift - 1)
samples, whose count rounds to itself, would lose its sums and be taken for one of zeros.

1. A sum of at most L a sample stays one: n' / n is rounded down to 30 bits, so |v| ≤ L · n gives
   |v · n' / n| ≤ L · n', which is an integer, so rounding to nearest does not pass it. The same
   holds from below for sums that cannot be negative.
2. n' = n for n ≤ 2^(shift - 1), and then no sum changes: a class that was learnt stays known.
3. Nothing leaves int64: v is cut into digits of 30 bits, so |v| < 2^62 gives products of at most
   2^62, and their sum is no larger than v itself.
4. Rounding moves an entry by half a unit each time, old halves fade with the rest, and no more
   than 2^shift units are left in the long run. That is nothing to sums in Q16, but something to
   sums that count (Bernoulli naive Bayes): forget strongly and rarely, not gently and often.

Source: docs/spec/ml.md §9.4.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.fixed_point import shift_right_rounded
from ml_runtime.samples import Integers
from primitives.errors import InvalidInputError

__all__ = ["SHIFT_MAX", "check_shift", "decay_counts", "scale_sums"]

SHIFT_MAX: Final = 16
"""A model loses at least one part in 65,536; what is rounded stays below one in Q16."""

_RATIO_BITS: Final = 30
_DIGIT: Final = (1 << _RATIO_BITS) - 1


def check_shift(shift: int) -> None:
    """Check how much is to be forgotten.

    Raises
    ------
    InvalidInputError
        ``shift_out_of_range`` unless it is 1 (half) to `SHIFT_MAX`.
    """
    if not 1 <= shift <= SHIFT_MAX:
        raise InvalidInputError(
            "shift_out_of_range",
            f"a model keeps all but one part in 2^shift, shift from 1 to {SHIFT_MAX}; found"
            f" {shift}",
            field="shift",
            value=shift,
            limit=SHIFT_MAX if shift > SHIFT_MAX else 1,
        )


def decay_counts(counts: Integers, shift: int, *, margin: int = 0) -> Integers:
    """Shrink counts in place and return by what sums over their samples are to be multiplied.

    Parameters
    ----------
    counts
        int64[m], not negative.
    shift
        A checked one: all but one part in 2^shift stays.
    margin
        How much less than n' samples' worth, in 2^-30 of a sample, sums have to be afterwards, to
        leave room for what is added to them; below 2^30.

    Returns
    -------
    int64[m], Q30: ⌊(n' · 2^30 - margin) / n⌋; 2^30 where the count stays.

    Examples
    --------
    >>> counts = np.array([0, 1, 3, 100])
    >>> ratios = decay_counts(counts, 1)
    >>> counts.tolist(), [int(ratio * 100) >> 30 for ratio in ratios]
    ([0, 1, 2, 50], [100, 100, 66, 50])
    """
    ratios = np.empty_like(counts)
    # Integers without a bound: a count of 2^46 and 30 more bits do not fit into 64.
    for place, count in enumerate(counts.tolist()):
        kept = count + shift_right_rounded(-count, shift)
        counts[place] = kept
        whole = kept == count
        ratios[place] = 1 << 30 if whole else ((kept << _RATIO_BITS) - margin) // count
    return ratios


def scale_sums(sums: Integers, ratios: Integers) -> None:
    """Multiply sums by ratios of `decay_counts`, each rounded to nearest, halves up, in place.

    Parameters
    ----------
    sums
        int64 of any shape, below 2^62 in absolute value.
    ratios
        Of a shape that fits to it.
    """
    lower = sums & _DIGIT
    lower *= ratios
    lower += 1 << (_RATIO_BITS - 1)
    lower >>= _RATIO_BITS
    sums >>= _RATIO_BITS
    sums *= ratios
    sums += lower
