"""``quorate model …`` and ``quorate predict``."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from node.commands.inspect import print_transaction
from node.commands.keys import open_client
from node.commands.tables import read_numbers, read_row
from node.commands.terminal import ExitCode, OutputFormat, fail, print_answer, render_table
from primitives.errors import InvalidInputError
from quorate.bodies import Incentive
from quorate.client import Client

__all__ = ["create_model", "list_models", "list_versions", "predict", "show_model"]

_REQUIRED = ("name", "family", "feature_count", "class_names")
_OPTIONAL = (
    "layout",
    "parameters",
    "scale",
    "offset",
    "incentive",
    "description",
    "licence",
    "guidelines",
)


def create_model(url: str, key: Path, file: Path, output: OutputFormat) -> None:
    """Create the model that a TOML file describes."""
    settings = _read_description(file)
    with open_client(url, key) as client:
        print_transaction(client.create_model(**settings), output)


def list_models(url: str, output: OutputFormat) -> None:
    """List all models by name."""
    with Client(url) as client:
        models = client.models()
    rows = [
        [
            model.name,
            model.family,
            len(model.class_names),
            model.version,
            model.samples,
            _show_share(model.accuracy),
        ]
        for model in models
    ]
    headings = ["model", "family", "classes", "version", "samples", "accuracy"]
    text = render_table(headings, rows) if rows else "no models yet; see `quorate model create`"
    print_answer([model.raw for model in models], text, output)


def show_model(url: str, name: str, output: OutputFormat) -> None:
    """Show everything about one model."""
    with Client(url) as client:
        model = client.model(name)
    terms = model.incentive
    rows: list[list[object]] = [
        ["family", f"{model.family}, {model.layout}, {model.feature_count} features"],
        ["classes", ", ".join(model.class_names)],
        ["owner", model.owner],
        ["licence", model.licence or "none stated"],
        ["version", model.version],
        ["learnt", f"{model.samples} samples in {model.contributions} contributions"],
        ["accuracy", f"{_show_share(model.accuracy)} before learning"],
        ["incentive", f"{terms.mechanism}, weight {terms.weight}"],
        [
            "waits",
            f"refund {terms.refund_wait_ms / 1000:g} s, owner {terms.owner_wait_ms / 1000:g} s,"
            f" anybody {terms.any_wait_ms / 1000:g} s",
        ],
    ]
    text = f"{model.name}\n" + "\n".join(f"  {name:<10} {value}" for name, value in rows)
    print_answer(model.raw, text, output)


def list_versions(url: str, name: str, output: OutputFormat) -> None:
    """List the versions of a model, newest first."""
    with Client(url) as client:
        versions = client.versions(name)
    rows = [
        [each.version, each.height, each.samples, _show_share(each.accuracy), each.digest[:16]]
        for each in versions
    ]
    headings = ["version", "height", "samples", "accuracy", "digest"]
    print_answer([asdict(each) for each in versions], render_table(headings, rows), output)


def predict(
    url: str,
    name: str,
    features: str | None,
    file: Path | None,
    height: int | None,
    output: OutputFormat,
) -> None:
    """Ask a model about one sample, or about every line of a CSV file."""
    if (features is None) == (file is None):
        raise fail("give either --features or --file", ExitCode.USAGE)
    rows = [read_row(features)] if features is not None else read_numbers(file or Path())
    with Client(url) as client:
        prediction = client.predict(name, rows, height=height)
    table = [
        [index, label, f"{max(probabilities):.3f}"]
        for index, (label, probabilities) in enumerate(
            zip(prediction.class_names, prediction.probabilities, strict=True)
        )
    ]
    text = render_table(["sample", "class", "probability"], table)
    text += f"\nfrom version {prediction.version} at height {prediction.height}"
    print_answer(asdict(prediction), text, output)


def _read_description(file: Path) -> dict[str, Any]:
    """Return the arguments of ``Client.create_model`` that a TOML file holds."""
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError("malformed", f"{file}: {error}", field="file") from error
    missing = [name for name in _REQUIRED if name not in settings]
    unknown = [name for name in settings if name not in (*_REQUIRED, *_OPTIONAL)]
    if missing or unknown:
        raise InvalidInputError(
            "malformed",
            f"{file}: missing {', '.join(missing) or 'nothing'}, unknown"
            f" {', '.join(unknown) or 'nothing'}; see examples/digits.toml",
            field="file",
        )
    try:
        if "incentive" in settings:
            settings["incentive"] = Incentive(**settings["incentive"])
    except TypeError as error:
        raise InvalidInputError(
            "malformed", f"{file}: incentive: {error}", field="incentive"
        ) from error
    return settings


def _show_share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
