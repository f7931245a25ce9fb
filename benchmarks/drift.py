"""Measures how soon drift is found and how often it is called without any, next to River.

Every stream has 2,000 samples with 5 % of errors and 4,000 with as many as the table says; the
stationary ones stay as they were. The delay is the median number of samples from the change to
the first drift after it; a false alarm is a drift before it, and on a stationary stream any.
River's detectors, whose decisions ours should equal, are asked if River can be imported.

    python benchmarks/drift.py [--seeds 100]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ml_runtime.drift import DDM, DETECTOR_NAMES, PAGE_HINKLEY, new_detector, watch

try:
    from river.drift import PageHinkley, binary
except ImportError:
    RIVER: dict[int, Callable[[], Any]] = {}
else:
    RIVER = {DDM: binary.DDM, PAGE_HINKLEY: lambda: PageHinkley(mode="up")}

BEFORE, AFTER = 2_000, 4_000
RATE = 0.05
RATES_AFTER = (0.15, 0.30, 0.50)

Detect = Callable[[np.ndarray], list[int]]


def detect_ours(kind: int) -> Detect:
    return lambda errors: list(watch(kind, new_detector(kind), errors).drifts)


def detect_river(kind: int) -> Detect:
    def detect(errors: np.ndarray) -> list[int]:
        detector, drifts = RIVER[kind](), []
        for place, error in enumerate(errors.tolist()):
            detector.update(error)
            if detector.drift_detected:
                drifts.append(place)
        return drifts

    return detect


def make_errors(seed: int, rate: float, rate_after: float) -> np.ndarray:
    """Return a stream whose errors become as frequent as ``rate_after``."""
    rates = np.repeat([rate, rate_after], [BEFORE, AFTER])
    return (np.random.default_rng(seed).random(len(rates)) < rates).astype(np.int64)


def measure(detect: Detect, seeds: int, rate: float, rate_after: float) -> str:
    """Return the columns of a row: found, median delay, streams and number of false alarms."""
    delays: list[int] = []
    alarms: list[int] = []
    for seed in range(seeds):
        drifts = detect(make_errors(seed, rate, rate_after))
        changed = BEFORE if rate_after > rate else BEFORE + AFTER
        alarms.append(sum(place < changed for place in drifts))
        delays += [place - changed for place in drifts if place >= changed][:1]
    delay = f"{statistics.median(delays):.0f}" if delays else "-"
    found = f"{len(delays)}" if rate_after > rate else "-"
    return f"{found:>8}{delay:>8}{sum(each > 0 for each in alarms):>10}{sum(alarms):>9}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    options = parser.parse_args()
    print(f"{options.seeds} streams each; false alarms: in how many of them, and how many\n")
    headings = f"{'found':>8}{'delay':>8}{'alarmed':>10}{'alarms':>9}"
    print(f"{'errors':<14}{'detector':<15}{'by':<8}{headings}")
    # Two stationary streams: what a detector calls a drift depends on how frequent errors are.
    changes = [(RATE, after) for after in RATES_AFTER] + [(RATE, RATE), (0.2, 0.2)]
    for rate, rate_after in changes:
        for kind, name in DETECTOR_NAMES.items():
            asked = {"ours": detect_ours(kind)}
            if kind in RIVER:
                asked["river"] = detect_river(kind)
            for by, detect in asked.items():
                row = measure(detect, options.seeds, rate, rate_after)
                print(f"{rate:>4.0%} → {rate_after:<7.0%}{name:<15}{by:<8}{row}")


if __name__ == "__main__":
    main()
