"""Prints the table, which targets are missed and why, and writes them to results/models.md.

    python -m benchmarks.models [--splits 20] [--family ridge] [--quick] [--sizes]

The file is written by a run of everything only. The exit code is 0 whatever is missed: the table
says so, and a busy machine must not fail a build. River is optional; without it its rows say so.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from benchmarks.models.cases import CASES
from benchmarks.models.compare import compare
from benchmarks.models.sizes import render_sizes
from benchmarks.models.table import Row, render_missed, render_summary, render_table
from benchmarks.models.unlabelled import compare_groups, compare_outliers
from ml_runtime.registry import FAMILIES
from ml_runtime.warmup import warm_up

RESULTS: Final = Path(__file__).resolve().parent.parent / "results" / "models.md"
SPLITS: Final = 20
SPLITS_QUICK: Final = 3


def measure(families: list[str], splits: int) -> Iterator[Row]:
    """Yield the rows of the families, in the order of the registry."""
    for family in families:
        for case in CASES:
            if case.family == family:
                yield compare(case, splits)
        if family == "k_means":
            yield from compare_groups(splits)
        elif family in ("principal_components", "gaussian_mixture"):
            yield from compare_outliers(family, splits)


def describe_run(splits: int) -> str:
    """Return when, where and from what the figures are."""
    commit = _run_git("rev-parse", "--short", "HEAD") or "unknown"
    changed = " with changes" if _run_git("status", "--porcelain", "--untracked-files=no") else ""
    libraries = ", ".join(f"{name} {_find_version(name)}" for name in ("scikit-learn", "river"))
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {platform.machine()},"
        f" {os.cpu_count()} cores, Python {platform.python_version()}, {libraries}, at commit"
        f" {commit}{changed}. Seeds of the splits: 0 to {splits - 1}."
    )


EXPLANATION: Final = (
    "Accuracy and R² in points, the mean of all splits into two thirds to learn from and a third"
    " to be asked about, ± the standard error of the mean difference; inertia and AUC with the"
    " difference in percent. Learns: the twin's time for the same 64-sample batches ÷ ours;"
    " answers: the same for all that is asked at once. Medians of processor time, of runs in turn"
    " in one process, with one thread for linear algebra."
)


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [family.name for family in FAMILIES if family.tasks != ("none",)]
    parser.add_argument("--splits", type=int, default=0, help=f"random splits, usually {SPLITS}")
    parser.add_argument("--family", choices=names, help="this one only")
    parser.add_argument("--quick", action="store_true", help=f"{SPLITS_QUICK} splits")
    parser.add_argument("--sizes", action="store_true", help="times by batch size instead")
    options = parser.parse_args()
    splits = options.splits or (SPLITS_QUICK if options.quick else SPLITS)
    # Few passes on purpose: twins would warn of every one that they have not converged.
    warnings.simplefilter("ignore")
    families = [options.family] if options.family else names
    warm_up()
    if options.sizes:
        print("microseconds for one batch, medians\n")
        print(render_sizes(families))
        return
    rows = []
    for row in measure(families, splits):
        rows.append(row)
        print(f"{len(rows)} rows: {row.family}, {row.data}", file=sys.stderr)
    head = describe_run(splits)
    body = "\n\n".join((render_table(rows), render_missed(rows), render_summary(rows)))
    print(f"{head}\n\n{body}")
    if not options.family and not options.quick:
        missed = body.replace("\nMISSED", "  \nMISSED")
        RESULTS.write_text(f"# Models\n\n{head}\n\n{EXPLANATION}\n\n{missed}\n", encoding="utf-8")


def _run_git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _find_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
