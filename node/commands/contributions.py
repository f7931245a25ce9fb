"""``quorate contribute``, ``refund``, ``report`` and ``claim``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import track

from node.commands.inspect import print_transaction
from node.commands.keys import open_client
from node.commands.tables import read_labelled, read_sample_numbers
from node.commands.terminal import OutputFormat, print_answer, render_table

__all__ = ["claim_contribution", "contribute_file", "refund_contribution", "report_contribution"]

BATCH_SAMPLES = 256
"""Samples of one transaction; each is judged alone, so the cut does not matter."""


def contribute_file(
    url: str, key: Path, model: str, file: Path, max_deposit: int | None, output: OutputFormat
) -> None:
    """Send every line of a CSV file, in as many transactions as needed."""
    features, classes = read_labelled(file)
    starts = range(0, len(features), BATCH_SAMPLES)
    done = []
    with open_client(url, key) as client:
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
            sent = client.contribute(
                model, features[batch], classes[batch], max_deposit=max_deposit
            )
            done.append(sent)
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
