"""Detectors of change in a stream of errors, one sample at a time, in Q32.

A state is a vector whose places are named below; ``marks`` says of each sample what it brought.
Counters stay below 2^30, which keeps every number here below 2^62: a count shifted by 32 bits, the
digits of a long division (`deviation`), and the discounted sum of Page and Hinkley, which cannot
exceed 10,000 · (1.005 · 2^32 + 1) < 2^46. Source: docs/spec/ml.md §9.2.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from ml_runtime.kernels.scalars import divide_rounded, square_root

__all__ = ["deviation", "watch_ddm", "watch_page_hinkley"]

# Compiled together with, see scalars.py:
# scalars.py 4a137c7b34e5
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False}

_VECTOR = "int64[::1]"

_WARNING, _DRIFT = 1, 2
_WARM_UP = 30
_SAMPLES_MAX = (1 << 30) - 1

# Places of a state: both detectors begin with samples and errors.
_SAMPLES, _ERRORS = 0, 1
_RATE_LOWEST, _DEVIATION_LOWEST, _WARNED = 2, 3, 4
_SUM, _SUM_LOWEST = 2, 3

_RATE_UNKNOWN = 1 << 33
_TOLERATED = 21_474_836
_THRESHOLD = 50 << 32
_MEMORY = 10_000


@njit("int64(int64, int64)", **_OPTIONS)
def deviation(errors: int, samples: int) -> Any:
    """Return ⌊√⌊errors · (samples - errors) · 2^64 / samples³⌋⌋, exactly; samples below 2^30.

    Dividing by n three times, each time rounded down, is dividing by n³. The first quotient is
    written in digits of 32 bits, so that a remainder and the next digit stay below 2^62.
    """
    product = errors * (samples - errors)
    # At most n/4, so this digit of the second quotient is 0 and all of it is the remainder.
    highest = product // samples
    rest = (product % samples) << 32
    middle = rest // samples
    lowest = ((rest % samples) << 32) // samples
    rest = (highest << 32) | middle
    middle = rest // samples
    lowest = (((rest % samples) << 32) | lowest) // samples
    highest = middle // samples
    lowest = (((middle % samples) << 32) | lowest) // samples
    return square_root((highest << 32) | lowest)


@njit(f"void({_VECTOR}, {_VECTOR}, {_VECTOR})", **_OPTIONS)
def watch_ddm(state: Any, errors: Any, marks: Any) -> None:
    """Watch with the drift detection method; marks: 1 a warning begins, 2 a drift."""
    for sample in range(len(errors)):
        marks[sample] = 0
        state[_SAMPLES] += 1
        state[_ERRORS] += errors[sample]
        drifted = False
        if state[_SAMPLES] > _WARM_UP:
            rate = (state[_ERRORS] << 32) // state[_SAMPLES]
            spread = deviation(state[_ERRORS], state[_SAMPLES])
            if rate + spread <= state[_RATE_LOWEST] + state[_DEVIATION_LOWEST]:
                state[_RATE_LOWEST], state[_DEVIATION_LOWEST] = rate, spread
            beyond = rate + spread - state[_RATE_LOWEST]
            if beyond > 3 * state[_DEVIATION_LOWEST]:
                marks[sample] = _DRIFT
                drifted = True
            elif beyond > 2 * state[_DEVIATION_LOWEST]:
                if state[_WARNED] == 0:
                    marks[sample] = _WARNING
                state[_WARNED] = 1
            else:
                state[_WARNED] = 0
        if drifted or state[_SAMPLES] == _SAMPLES_MAX:
            state[:] = 0
            state[_RATE_LOWEST] = _RATE_UNKNOWN


@njit(f"void({_VECTOR}, {_VECTOR}, {_VECTOR})", **_OPTIONS)
def watch_page_hinkley(state: Any, errors: Any, marks: Any) -> None:
    """Watch with the test of Page and Hinkley for an increase; marks: 2 a drift."""
    for sample in range(len(errors)):
        marks[sample] = 0
        state[_SAMPLES] += 1
        state[_ERRORS] += errors[sample]
        mean = divide_rounded(state[_ERRORS] << 32, state[_SAMPLES])
        kept = state[_SUM] - divide_rounded(state[_SUM], _MEMORY)
        state[_SUM] = kept + (errors[sample] << 32) - mean - _TOLERATED
        state[_SUM_LOWEST] = min(state[_SUM_LOWEST], state[_SUM])
        if state[_SAMPLES] >= _WARM_UP and state[_SUM] - state[_SUM_LOWEST] > _THRESHOLD:
            marks[sample] = _DRIFT
        if marks[sample] == _DRIFT or state[_SAMPLES] == _SAMPLES_MAX:
            state[:] = 0
