"""Twins of ml_runtime/kernels/drift.py, on integers of any size."""

from __future__ import annotations

from math import isqrt
from typing import Final

from ml_runtime.fixed_point import divide_rounded
from ml_runtime.samples import Integers

__all__ = ["deviation", "watch_ddm", "watch_page_hinkley"]

WARNING: Final = 1
DRIFT: Final = 2
WARM_UP: Final = 30
SAMPLES_MAX: Final = (1 << 30) - 1
ONE: Final = 1 << 32


def deviation(errors: int, samples: int) -> int:
    """Return the standard deviation of an error rate, Q32, rounded down."""
    return isqrt((errors * (samples - errors) << 64) // samples**3)


def watch_ddm(state: Integers, errors: Integers, marks: Integers) -> None:
    """Watch with the drift detection method."""
    beginning = [0, 0, 2 * ONE, 0, 0]
    samples, wrong, rate_lowest, deviation_lowest, warned = (int(each) for each in state)
    for place, error in enumerate(errors.tolist()):
        mark, warns = 0, 0
        samples, wrong = samples + 1, wrong + error
        if samples > WARM_UP:
            rate, spread = wrong * ONE // samples, deviation(wrong, samples)
            if rate + spread <= rate_lowest + deviation_lowest:
                rate_lowest, deviation_lowest = rate, spread
            if rate + spread > rate_lowest + 3 * deviation_lowest:
                mark = DRIFT
            elif rate + spread > rate_lowest + 2 * deviation_lowest:
                mark, warns = (0 if warned else WARNING), 1
        warned = warns
        if mark == DRIFT or samples == SAMPLES_MAX:
            samples, wrong, rate_lowest, deviation_lowest, warned = beginning
        marks[place] = mark
    state[:] = samples, wrong, rate_lowest, deviation_lowest, warned


def watch_page_hinkley(state: Integers, errors: Integers, marks: Integers) -> None:
    """Watch with the test of Page and Hinkley for an increase."""
    samples, wrong, total, lowest = (int(each) for each in state)
    for place, error in enumerate(errors.tolist()):
        samples, wrong = samples + 1, wrong + error
        total -= divide_rounded(total, 10_000)
        total += error * ONE - divide_rounded(wrong * ONE, samples) - 5 * ONE // 1000
        lowest = min(lowest, total)
        drifted = samples >= WARM_UP and total - lowest > 50 * ONE
        if drifted or samples == SAMPLES_MAX:
            samples = wrong = total = lowest = 0
        marks[place] = DRIFT if drifted else 0
    state[:] = samples, wrong, total, lowest
