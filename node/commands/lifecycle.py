"""``quorate model …`` for owners: names, growth, files, uploads, evaluations, samples."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node.commands.inspect import print_transaction
from node.commands.keys import open_client
from node.commands.progress import show_progress
from node.commands.terminal import (
    ExitCode,
    OutputFormat,
    fail,
    print_answer,
    print_note,
    render_table,
)
from primitives.errors import InvalidInputError
from quorate.client import Client
from quorate.errors import NotFinalError, UnreachableError
from quorate.model_transfer import ImportReport

__all__ = [
    "diff_versions",
    "draw_samples",
    "evaluate_model",
    "export_model",
    "extend_model",
    "import_model",
    "list_aliases",
    "list_evaluations",
    "revert_model",
    "set_alias",
    "upload_model",
]

SEED_BYTES = 32
COLUMNS_SHOWN = 8


def set_alias(
    url: str, key: Path, model: str, alias: str, version: str | None, output: OutputFormat
) -> None:
    """Let a name stand for a version; without a version the name is taken away."""
    with open_client(url, key) as client:
        number = None if version is None else client.lifecycle.find_version(model, version)
        print_transaction(client.lifecycle.set_alias(model, alias, number), output)


def list_aliases(url: str, model: str, output: OutputFormat) -> None:
    """List the names of a model's versions."""
    with Client(url) as client:
        aliases = client.lifecycle.aliases(model)
    print_answer(aliases, render_table(["alias", "version"], list(aliases.items())), output)


def revert_model(url: str, key: Path, model: str, version: str, output: OutputFormat) -> None:
    """Go back to a version that has a name."""
    with open_client(url, key) as client:
        print_transaction(client.lifecycle.revert(model, version), output)


def diff_versions(url: str, model: str, first: str, second: str, output: OutputFormat) -> None:
    """Say by how much two versions differ, tensor by tensor."""
    with Client(url) as client:
        difference = client.lifecycle.diff(model, first, second)
    rows = [
        [each["tensor"], each["numbers"], each["changed"], each["largest"], f"{each['mean']:.6g}"]
        for each in difference["tensors"]
    ]
    headings = ["tensor", "numbers", "changed", "largest", "mean of changed"]
    text = f"{model}, version {difference['first']} to {difference['second']}\n"
    print_answer(difference, text + render_table(headings, rows), output)


def extend_model(
    url: str,
    key: Path,
    model: str,
    class_names: Sequence[str],
    feature_count: int | None,
    output: OutputFormat,
) -> None:
    """Add classes or features to a model."""
    if not class_names and feature_count is None:
        raise fail("give --class, --features or both", ExitCode.USAGE)
    with open_client(url, key) as client:
        extended = client.lifecycle.extend(
            model, class_names=class_names, feature_count=feature_count
        )
        print_transaction(extended, output)


def export_model(url: str, model: str, file: Path, version: str, output: OutputFormat) -> None:
    """Write the parameters of a version to a file."""
    with Client(url) as client:
        record = client.lifecycle.export(model, file, version)
    text = (
        f"{file}: version {record.version} of {model}, made at height {record.height}\n"
        f"digest {record.digest}, as on record"
    )
    print_answer({"file": str(file), **asdict(record)}, text, output)


def import_model(
    url: str,
    key: Path,
    name: str,
    file: Path,
    output: OutputFormat,
    *,
    clamps: bool,
    description: str,
    licence: str,
) -> None:
    """Create a model from a file; run again, goes on where it stopped."""
    with open_client(url, key) as client, _uploading() as progress:
        report = client.lifecycle.import_file(
            name, file, clamps=clamps, progress=progress, description=description, licence=licence
        )
    _print_report(report, output)


def upload_model(
    url: str, key: Path, model: str, file: Path, output: OutputFormat, *, clamps: bool
) -> None:
    """Put the parameters in a file into a model; run again, goes on where it stopped."""
    with open_client(url, key) as client, _uploading() as progress:
        report = client.lifecycle.upload_file(model, file, clamps=clamps, progress=progress)
    _print_report(report, output)


def list_evaluations(url: str, model: str, output: OutputFormat) -> None:
    """List the pieces of a validation set and how good versions were on them."""
    with Client(url) as client:
        pieces = client.lifecycle.pieces(model)
        evaluations = client.lifecycle.evaluations(model)
    if not pieces:
        text = "no validation set; see `quorate model validation commit`"
    else:
        shown = [
            [
                each["piece"],
                "hidden" if each["samples"] is None else each["samples"],
                each["commitment"][:16],
            ]
            for each in pieces
        ]
        text = render_table(["piece", "samples", "commitment"], shown)
    if evaluations:
        headings = ["version", "piece", "height", "samples", "accuracy", "loss"]
        text += "\n\n" + render_table(headings, [_show_evaluation(each) for each in evaluations])
    print_answer({"pieces": pieces, "evaluations": evaluations}, text, output)


def evaluate_model(url: str, key: Path, model: str, piece: int, output: OutputFormat) -> None:
    """Judge the version in force on a piece that was shown."""
    with open_client(url, key) as client:
        print_transaction(client.lifecycle.evaluate(model, piece), output)


def draw_samples(
    url: str, model: str, count: int, seed: str | None, version: str, output: OutputFormat
) -> None:
    """Show samples that a mixture draws from a seed."""
    chosen = secrets.token_bytes(SEED_BYTES) if seed is None else _read_seed(seed)
    with Client(url) as client:
        samples = client.lifecycle.samples(model, count, chosen, version)
    answer = {"model": model, "seed": chosen.hex(), "samples": samples.tolist()}
    more = ", …" if samples.shape[1] > COLUMNS_SHOWN else ""
    lines = [", ".join(f"{value:.6g}" for value in row[:COLUMNS_SHOWN]) + more for row in samples]
    print_answer(answer, "\n".join([f"seed {chosen.hex()}", *lines]), output)


@contextmanager
def _uploading() -> Iterator[Callable[[int, int], None]]:
    """Show how far an upload is and, if it is interrupted, say how to go on."""
    try:
        with show_progress("uploading") as progress:
            yield progress
    except (UnreachableError, NotFinalError, KeyboardInterrupt):
        print_note("what arrived stays on the ledger: the same command goes on where this stopped")
        raise


def _print_report(report: ImportReport, output: OutputFormat) -> None:
    """Print what became of an upload, and how far rounding moved its numbers."""
    finished = report.transaction
    answer = {
        "transaction": asdict(finished),
        "roundings": [asdict(each) for each in report.roundings],
        "notes": list(report.notes),
    }
    text = f"{finished.result['numbers']} numbers in force since height {finished.height}"
    if report.roundings:
        rows = [
            [each.name, f"{each.error_largest:.3g}", f"{each.error_bound:.3g}", each.clamped]
            for each in report.roundings
        ]
        headings = ["tensor", "largest error", "bound", "clamped"]
        text += "\n\n" + render_table(headings, rows)
    print_answer(answer, "\n".join([text, *report.notes]), output)


def _show_evaluation(each: dict[str, Any]) -> list[object]:
    accuracy, loss = each["accuracy"], each["mean_loss"]
    return [
        each["version"],
        each["piece"],
        each["height"],
        each["samples"],
        "-" if accuracy is None else f"{accuracy:.1%}",
        "-" if loss is None else f"{loss:.4f}",
    ]


def _read_seed(text: str) -> bytes:
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise InvalidInputError(
            "malformed",
            f"a seed has {2 * SEED_BYTES} hexadecimal digits, found {text[:80]!r}",
            field="seed",
            value=text[:80],
            limit=2 * SEED_BYTES,
        )
    return seed
