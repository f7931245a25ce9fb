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
from node.commands.terminal import OutputFormat, print_answer, print_note, render_table
from quorate.client import CAMPAIGN_MECHANISMS, Client
from quorate.errors import TransactionFailedError
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

_CAMPAIGN_CODES = frozenset({"no_campaign", "insufficient_deposit"})


def contribute_file(
    url: str, key: Path, model: str, file: Path, max_deposit: int | None, output: OutputFormat
) -> None:
    """Send every line of a CSV file, in as many transactions as needed."""
    done = []
    with open_client(url, key) as client:
        described = client.model(model)
        features, labels = read_samples(described, file)
        size = _choose_batch_size(client, described)
        starts = range(0, len(features), size)
        shown = track(
            starts,
            "sending",
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        for start in shown:
            batch = slice(start, start + size)
            # Names of classes may look like numbers, so they always go as names.
            given = None if labels is None else labels[batch]
            try:
                sent = client.contribute(model, features[batch], given, max_deposit=max_deposit)
            except TransactionFailedError as error:
                _explain(client, model, error)
                raise
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


def _choose_batch_size(client: Client, model: Model) -> int:
    """Return how many samples go into one contribution: in a campaign each costs a stake."""
    if model.incentive.mechanism not in CAMPAIGN_MECHANISMS:
        return BATCH_SAMPLES
    return int(client.status().raw["parameters"]["samples_per_contribution_max"])


def _explain(client: Client, model: str, error: TransactionFailedError) -> None:
    """Say what a campaign asks of contributors when a contribution to one had no effect."""
    newest = client.campaigns.list(model, 1) if error.code in _CAMPAIGN_CODES else []
    if error.code == "no_campaign":
        print_note(
            f"{model} learns in campaigns: a contribution to one puts in its stake, which comes"
            " back with what the samples were worth, or less if they did harm."
        )
        print_note(newest[0].next_sentence if newest else f"{model} has had no campaign so far.")
    elif newest and newest[0].is_open:
        print_note(
            f"each contribution to campaign {newest[0].number} of {model} puts in a stake"
            f" of {newest[0].stake}, whatever it holds; --max-deposit must allow for it"
        )


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
