"""``quorate contribute``, ``refund``, ``report`` and ``claim``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from node.commands.inspect import print_transaction
from node.commands.keys import open_client
from node.commands.tables import (
    read_cells,
    read_labelled,
    read_numbers,
    read_sample_numbers,
)
from node.commands.terminal import OutputFormat, print_answer, render_table
from quorate.records import Model

__all__ = [
    "claim_contribution",
    "contribute_file",
    "read_samples",
    "refund_contribution",
    "report_contribution",
]

BATCH_SAMPLES = 256
"""Samples of one transaction; each is judged alone, so the cut does not matter."""


def contribute_file(
    url: str, key: Path, model: str, file: Path, max_deposit: int | None, output: OutputFormat
) -> None:
    """Send every line of a CSV file, in as many transactions as needed."""
    done = []
    with open_client(url, key) as client:
        features, labels = read_samples(client.model(model), file)
        starts = range(0, len(features), BATCH_SAMPLES)
        shown = track(
            starts,
            "sending",
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        for start in shown:
            batch = slice(start, start + BATCH_SAMPLES)
            # Names of classes may look like numbers, so they always go as names.
            given = None if labels is None else labels[batch]
            done.append(client.contribute(model, features[batch], given, max_deposit=max_deposit))
    rows = [
        [
            each.result["sequence"],
            each.height,
            each.result["samples"],
            each.result["correct"],
            each.result["deposit"],
        ]
        for each in done
    ]
    headings = ["contribution", "height", "samples", "known before", "deposit"]
    print_answer([asdict(each) for each in done], render_table(headings, rows), output)


def read_samples(model: Model, file: Path) -> tuple[list[Any], list[Any] | None]:
    """Return the samples of a CSV file, and their last column where the model learns from it.

    Raises
    ------
    InvalidInputError
        ``malformed`` or ``empty_batch``, naming file and line.
    """
    if model.encoder.takes in ("texts", "categories"):
        cells = read_cells(file)
        rows = [row[:-1] for row in cells]
        texts = [row[0] for row in rows] if model.encoder.takes == "texts" else rows
        return texts, [row[-1].strip() for row in cells]
    if model.task not in ("classification", "regression"):
        return read_numbers(file), None
    features, labels = read_labelled(file)
    return features, [float(each) for each in labels] if model.task == "regression" else labels


def refund_contribution(
    url: str, key: Path, model: str, sequence: int, samples: str, output: OutputFormat
) -> None:
    """Take back the deposit of own samples."""
    numbers = read_sample_numbers(samples)
    with open_client(url, key) as client:
        print_transaction(client.refund(model, sequence, numbers), output)


def report_contribution(
    url: str, key: Path, model: str, sequence: int, samples: str, output: OutputFormat
) -> None:
    """Report samples of somebody else."""
    numbers = read_sample_numbers(samples)
    with open_client(url, key) as client:
        print_transaction(client.report(model, sequence, numbers), output)


def claim_contribution(
    url: str, key: Path, model: str, sequence: int, output: OutputFormat
) -> None:
    """Take what is left of a deposit."""
    with open_client(url, key) as client:
        print_transaction(client.claim(model, sequence), output)
