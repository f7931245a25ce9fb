"""Runs every simulation that docs/incentives.md shows, and writes its tables and pictures.

Into docs/incentives/: results.md with a table for each question, the mean over the seeds and the
range in brackets; one SVG for each picture. The data set of scikit-learn goes into a temporary
file first, as anybody's own would. About 20 minutes of one core.

    python -m benchmarks.incentives [--seeds 5] [--only published,families] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from sklearn.datasets import load_breast_cancer

from benchmarks.incentives.campaign_tables import make_campaign_tables
from benchmarks.incentives.table import Case, Table
from ml_runtime.warmup import warm_up
from node.agents.data_sets import load_data
from node.agents.outcome import Outcome
from node.agents.report_page import draw_accuracy, draw_balances
from node.agents.simulation import simulate
from node.commands.agents import AgentsOptions, make_command, make_settings

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "incentives"
CANCER_FILE: Final = "breast-cancer.npz"
HALF_HOURLY: Final = tuple(
    f"{kind}.wait_mean_s=1800"
    for kind in ("honest", "noisy", "sybil", "free_rider", "echo", "copycat")
)
"""Twice as many agents as usual at the usual pace would price each other out."""

CANDIDATES: Final = (
    "honest",
    "sybil",
    "noisy",
    "lazy",
    "free_rider",
    "echo",
    "copycat",
    "caller",
)

ATTACKS: Final = (
    "honest=2,label_flipper=1",
    "honest=2,label_flipper=2",
    "honest=1,label_flipper=2",
)


def money_columns(outcome: Outcome, _kind: str) -> list[float]:
    """Return percent of honest and flipping agents, and the accuracy at both ends."""
    curves = outcome.curves
    both = [outcome.mean_percent(kind) for kind in ("honest", "label_flipper")]
    return [*both, curves.accuracy[0], curves.accuracy[-1]]


def candidate_columns(outcome: Outcome, kind: str) -> list[float]:
    """Return what the last agent of a kind has, next to the honest ones, and why."""
    row = [row for row in outcome.rows if row.kind == kind][-1]
    others = [each.percent for each in outcome.rows if each.kind == "honest" and each != row]
    share = 100 * row.validated / row.samples if row.samples else 0.0
    accuracy = outcome.curves.accuracy[-1]
    return [row.percent, mean(others), row.samples, share, row.lost, row.taken, accuracy]


def karma_columns(outcome: Outcome, kind: str) -> list[float]:
    """Return the karma of the last agent of a kind, next to an honest one."""
    row = [row for row in outcome.rows if row.kind == kind][-1]
    others = [each.karma for each in outcome.rows if each.kind == "honest" and each != row]
    return [row.karma, mean(others), row.samples, row.validated, row.reported]


MONEY: Final = ("honest, % of start", "flippers, % of start", "accuracy before", "after")
CANDIDATE: Final = (
    "it has, % of start",
    "honest others, %",
    "samples sent",
    "validated %",
    "lost, coins",
    "taken, coins",
    "accuracy after",
)


def make_tables(cancer: str) -> list[Table]:
    """Return all tables."""
    return [
        Table(
            "published",
            "As published: one honest and one bad agent, generated reviews",
            "A sparse perceptron on 1,000 words; prices ten times the published ones.",
            [Case("reviews", AgentsOptions(scenario="published"))],
            MONEY,
            money_columns,
            pictures=1,
        ),
        Table(
            "data",
            "Three honest agents and one that flips labels",
            "Ten days of contributions every ten minutes (the flipper every hour).",
            [
                Case("digits, perceptron", AgentsOptions(data="digits")),
                Case("reviews, sparse perceptron", AgentsOptions(data="words")),
                Case("breast cancer, perceptron", AgentsOptions(data=cancer)),
            ],
            MONEY,
            money_columns,
            pictures=3,
        ),
        Table(
            "families",
            "The same on digits with other families of models",
            "Does it matter how a model learns from one sample?",
            [
                Case(family, AgentsOptions(family=family))
                for family in ("gaussian_naive_bayes", "nearest_centroid", "nearest_neighbours")
            ],
            MONEY,
            money_columns,
            seeds=3,
        ),
        Table(
            "attack",
            "Flippers who come as often as honest agents",
            "Every ten minutes each, deposits of 50±10, ten days.",
            [_attack(data, more) for data in ("digits", "words") for more in ATTACKS],
            MONEY,
            money_columns,
            seeds=3,
        ),
        _compare("digits", 10, 5),
        _compare("words", 5, 3),
        Table(
            "points",
            "Points: karma of one agent beside two honest ones and a flipper, digits, 3 days",
            "No money moves; karma counts validated samples and right reports.",
            [Case(kind, _candidate(kind, "digits", "points", 3), kind) for kind in CANDIDATES],
            ("its karma", "karma of an honest one", "samples sent", "validated", "reported"),
            karma_columns,
            seeds=3,
        ),
        *make_campaign_tables(),
    ]


def _attack(data: str, agents: str) -> Case:
    habits = ("wait_mean_s=600", "deposit_mean=50", "deposit_sd=10")
    changed = tuple(f"label_flipper.{habit}" for habit in habits)
    return Case(f"{data}, {agents}", AgentsOptions(data=data, agents=agents, habits=changed))


def _compare(data: str, days: float, seeds: int) -> Table:
    return Table(
        f"strategies-{data}",
        f"One agent of each kind beside two honest ones and a flipper, {data}, {days:g} days",
        "Everybody but the flipper, the lazy and the caller comes every half hour. The first line"
        " is a third honest agent: what the others would have as honest ones.",
        [
            Case(kind, _candidate(kind, data, "deposit_refund_take", days), kind)
            for kind in CANDIDATES
        ],
        CANDIDATE,
        candidate_columns,
        seeds=seeds,
    )


def _candidate(kind: str, data: str, mechanism: str, days: float) -> AgentsOptions:
    more = "honest=3,label_flipper=1" if kind == "honest" else f"honest=2,label_flipper=1,{kind}=1"
    weight = 0 if mechanism == "points" else 100
    kinds = {"honest", kind}
    habits = tuple(each for each in HALF_HOURLY if each.partition(".")[0] in kinds)
    return AgentsOptions(
        agents=more, data=data, days=days, mechanism=mechanism, weight=weight, habits=habits
    )


@cache
def run_options(options: AgentsOptions, seed: int) -> Outcome:
    """Run options with a seed; tables may ask for the same run."""
    settings = make_settings(replace(options, seed=seed))
    began = time.monotonic()
    outcome = simulate(settings, load_data(settings.data, seed), lambda _done, _total: None)
    seconds = time.monotonic() - began
    count = outcome.ledger.transactions
    said = f"  {make_command(options, None)} --seed {seed}: {count} transactions in {seconds:.0f} s"
    print(said, file=sys.stderr, flush=True)
    return outcome


def write_table(table: Table, seeds: Sequence[int], folder: Path) -> Iterator[str]:
    """Run a table; yield its lines, and write its pictures."""
    yield f"## {table.title}\n\n{table.text} Seeds 1 to {len(seeds)}.\n"
    yield f"| | {' | '.join(table.headings)} |"
    yield "|---|" + "---|" * len(table.headings)
    commands = []
    for place, case in enumerate(table.cases):
        outcomes = [run_options(case.options, seed) for seed in seeds]
        numbers = [table.columns(outcome, case.kind) for outcome in outcomes]
        cells = [_summarise(column) for column in zip(*numbers, strict=True)]
        yield f"| {case.name} | {' | '.join(cells)} |"
        command = make_command(case.options, None)
        command = command.replace(str(Path(case.options.data or "").parent) + "/", "")
        commands += [command] if command not in commands else []
        if place < table.pictures:
            name = f"{table.name}-{place + 1}"
            write_pictures(outcomes[0], folder, name)
    yield "\n```\n" + "\n".join(f"{command} --seed N" for command in commands) + "\n```\n"


def write_pictures(outcome: Outcome, folder: Path, name: str) -> None:
    """Write the curves of one run."""
    drawn = {"accuracy": draw_accuracy(outcome), "balances": draw_balances(outcome)}
    for what, picture in drawn.items():
        (folder / f"{name}-{what}.svg").write_text(picture + "\n", encoding="utf-8")


def _summarise(values: Sequence[float]) -> str:
    digits = 0 if max(abs(value) for value in values) >= 1_000 else 1
    middle, low, high = (f"{each:.{digits}f}" for each in (mean(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def main() -> None:
    """Run what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, help="the same number for every table")
    parser.add_argument("--only", default="", help="names of tables; then results.md stays")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    warm_up()
    with tempfile.TemporaryDirectory() as temporary:
        cancer = load_breast_cancer()
        file = Path(temporary) / CANCER_FILE
        np.savez(file, features=cancer.data, labels=cancer.target_names[cancer.target])
        tables = make_tables(str(file))
        names = options.only.split(",") if options.only else [table.name for table in tables]
        asked = [table for table in tables if table.name in names]
        lines = [
            "# What came of the simulations\n",
            "Made by `make incentives`; [what it means](../incentives.md). Each cell is the mean"
            " of all seeds and, in brackets, the lowest and the highest.\n",
        ]
        for table in asked:
            seeds = range(1, (options.seeds or table.seeds) + 1)
            for line in write_table(table, seeds, options.folder):
                print(line, flush=True)
                lines.append(line)
    text = "\n".join(lines)
    if not options.only:
        (options.folder / "results.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
