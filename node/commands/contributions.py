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
from node.commands.terminal import OutputFormat, fail, print_answer, print_note, render_table
from node.storage.durable_files import create_private_file
from primitives.errors import InvalidInputError, QuorateError
from quorate.client import CAMPAIGN_MECHANISMS, Client
from quorate.errors import TransactionFailedError
from quorate.records import Model, Transaction

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

_CAMPAIGN_CODES = frozenset({"no_campaign", "insufficient_deposit"})


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
    done: list[Transaction] = []
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
            staked = _share_karma(karma, start, size, len(features))
            try:
                sent = client.contribute(
                    model, features[batch], given, max_deposit=max_deposit, karma=staked
                )
            except QuorateError as error:
                if isinstance(error, TransactionFailedError):
                    _explain(client, model, error)
                if done:
                    # What these hold is held, whatever became of the rest.
                    _print_contributions(done, output)
                    print_note(
                        f"samples from number {start + 1} on are not contributed: send only those"
                        " when you try again, the ones before are in the contributions above"
                    )
                raise
            done.append(sent)
    _print_contributions(done, output)


def _print_contributions(done: list[Transaction], output: OutputFormat) -> None:
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


def _share_karma(karma: int, start: int, size: int, total: int) -> int:
    """Return the points for the batch that begins at a sample, in proportion to its samples."""
    stop = min(start + size, total)
    return karma * stop // total - karma * start // total


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
            " back with what the samples were worth; in a prediction market less if they did harm."
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
    return features, _read_targets(file, labels) if model.task == "regression" else labels


def _read_targets(file: Path, texts: list[str]) -> list[float]:
    """Return the last column of a file as numbers; raises ``malformed`` with what is none."""
    targets = []
    for number, text in enumerate(texts, 1):
        try:
            targets.append(float(text))
        except ValueError as error:
            raise InvalidInputError(
                "malformed",
                f"{file}, sample {number}: the last column must be a number, found {text!r}",
                field="file",
                value=text,
            ) from error
    return targets


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
