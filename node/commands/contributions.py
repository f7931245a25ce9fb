"""``quorate contribute``, ``refund``, ``report`` and ``claim``."""

from __future__ import annotations

import json
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
from node.commands.terminal import OutputFormat, fail, print_answer, render_table
from node.storage.durable_files import create_private_file
from primitives.errors import InvalidInputError
from quorate.records import Model

__all__ = [
    "ask_sponsor",
    "claim_contribution",
    "contribute_file",
    "read_samples",
    "refund_contribution",
    "report_contribution",
]

BATCH_SAMPLES = 256
"""Samples of one transaction; each is judged alone, so the cut does not matter."""


def contribute_file(
    url: str,
    key: Path,
    model: str,
    file: Path,
    max_deposit: int | None,
    output: OutputFormat,
    *,
    karma: int = 0,
) -> None:
    """Send every line of a CSV file, in as many transactions as needed.

    Points of karma that may be staked are spread evenly over the samples.
    """
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
            staked = _share_karma(karma, start, len(features))
            done.append(
                client.contribute(
                    model, features[batch], given, max_deposit=max_deposit, karma=staked
                )
            )
    rows = [
        [
            each.result["sequence"],
            each.height,
            each.result["samples"],
            each.result["correct"],
            each.result["deposit"],
            each.result["karma_per_sample"] * each.result["samples"],
        ]
        for each in done
    ]
    headings = ["contribution", "height", "samples", "known before", "deposit", "karma"]
    print_answer([asdict(each) for each in done], render_table(headings, rows), output)


def ask_sponsor(
    url: str,
    key: Path,
    model: str,
    file: Path,
    output: OutputFormat,
    *,
    sponsor: str,
    save: Path,
    max_deposit: int | None,
    karma: int,
) -> None:
    """Write a request to a sponsor, with every line of a CSV file; sends nothing."""
    if save.exists():
        raise fail(f"{save} exists; a request is never written over another file")
    with open_client(url, key) as client:
        features, labels = read_samples(client.model(model), file)
        limit = client.governance.parameters()["samples_per_contribution_max"]
        if len(features) > limit:
            raise InvalidInputError(
                "too_many_samples",
                f"{file} holds {len(features)} samples, a request is one contribution of at most"
                f" {limit}",
                field="file",
                value=len(features),
                limit=limit,
            )
        request = client.sponsorship.ask(
            sponsor, model, features, labels, max_deposit=max_deposit, karma=karma
        )
    create_private_file(save, (json.dumps(request.to_json(), indent=2) + "\n").encode())
    content = request.content
    answer = {
        "file": str(save),
        "sponsor": sponsor,
        "samples": len(features),
        "nonce": content.nonce,
        "valid_until_height": content.valid_until_height,
    }
    text = (
        f"{save}: {len(features)} samples to {model}, for {sponsor} to look at with `quorate"
        f" sponsor show` and to send with `quorate sponsor sign`, up to height"
        f" {content.valid_until_height}\nsend nothing else from this account until then: it would"
        f" take the nonce {content.nonce} of the request, which is worth nothing afterwards"
    )
    print_answer(answer, text, output)


def _share_karma(karma: int, start: int, total: int) -> int:
    """Return the points for the batch that begins at a sample, in proportion to its samples."""
    stop = min(start + BATCH_SAMPLES, total)
    return karma * stop // total - karma * start // total


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
