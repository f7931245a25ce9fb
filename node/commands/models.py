"""``quorate model …`` and ``quorate predict``."""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ml_runtime.encoders import decode_encoder
from node.commands.inspect import print_transaction
from node.commands.keys import open_client
from node.commands.tables import read_numbers, read_row, read_texts
from node.commands.terminal import ExitCode, OutputFormat, fail, print_answer, render_table
from node.commands.terms_wording import describe_terms
from primitives.errors import InvalidInputError
from quorate.bodies import Incentive, Policies
from quorate.client import Client
from quorate.records import Prediction

__all__ = [
    "create_model",
    "list_families",
    "list_models",
    "list_versions",
    "predict",
    "read_description",
    "show_model",
]

_REQUIRED = ("name", "family", "feature_count")
_OPTIONAL = (
    "class_names",
    "layout",
    "parameters",
    "scale",
    "offset",
    "incentive",
    "description",
    "licence",
    "guidelines",
    "encoder",
    "groups",
    "tensors",
    "policies",
)


def create_model(url: str, key: Path, file: Path, output: OutputFormat) -> None:
    """Create the model that a TOML file describes."""
    settings = read_description(file)
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
            model.task,
            model.version,
            model.samples,
            _show_share(model.accuracy),
        ]
        for model in models
    ]
    headings = ["model", "family", "for", "version", "samples", "accuracy"]
    text = render_table(headings, rows) if rows else "no models yet; see `quorate model create`"
    print_answer([model.raw for model in models], text, output)


def show_model(url: str, name: str, output: OutputFormat) -> None:
    """Show everything about one model."""
    with Client(url) as client:
        model = client.model(name)
    rows: list[list[object]] = [
        ["family", f"{model.family}, {model.layout}, {model.feature_count} features"],
        ["for", model.task],
        ["classes", ", ".join(model.class_names) or "none"],
        ["owner", model.owner],
        ["licence", model.licence or "none stated"],
        ["version", model.version],
        ["learnt", f"{model.samples} samples in {model.contributions} contributions"],
        ["accuracy", f"{_show_share(model.accuracy)} before learning"],
    ]
    rows += [[name, sentence] for name, sentence in describe_terms(model.incentive)]
    if model.raw["open_campaign"] is not None:
        number = model.raw["open_campaign"]
        rows.append(["campaign", f"{number} is open; see `quorate campaign show {name}`"])
    text = f"{model.name}\n" + "\n".join(f"  {name:<10} {value}" for name, value in rows)
    counts = [*model.raw["progress"]["by_class"], *model.raw["progress"]["by_group"]]
    if counts:
        shown = [[each["name"], each["judged"], _show_share(each["accuracy"])] for each in counts]
        text += "\n\n" + render_table(["class or group", "samples", "accuracy"], shown)
    print_answer(model.raw, text, output)


def list_families(url: str, output: OutputFormat) -> None:
    """List the families of models, with what they are for."""
    with Client(url) as client:
        families = client.lifecycle.families()
    rows = [
        [each["name"], ", ".join(each["tasks"]), ", ".join(each["layouts"]), _list_skills(each)]
        for each in families
    ]
    headings = ["family", "for", "samples", "can"]
    print_answer(families, render_table(headings, rows), output)


def _list_skills(family: dict[str, Any]) -> str:
    skills = ("unlearns", "merges", "grows_classes", "grows_features", "decays")
    return ", ".join(skill.replace("_", " ") for skill in skills if family[skill]) or "-"


def list_versions(url: str, name: str, output: OutputFormat) -> None:
    """List the versions of a model, newest first."""
    with Client(url) as client:
        versions = client.versions(name)
    rows = [
        [
            each.version,
            each.height,
            each.samples,
            _show_share(each.accuracy),
            "-" if each.mean_loss is None else f"{each.mean_loss:.4f}",
            each.origin,
            each.digest[:16],
        ]
        for each in versions
    ]
    headings = ["version", "height", "samples", "accuracy", "loss", "origin", "digest"]
    print_answer([asdict(each) for each in versions], render_table(headings, rows), output)


def predict(
    url: str,
    name: str,
    features: str | None,
    file: Path | None,
    output: OutputFormat,
    *,
    height: int | None,
    version: str | None,
) -> None:
    """Ask a model about one sample, or about every line of a CSV file."""
    if (features is None) == (file is None):
        raise fail("give either --features or --file", ExitCode.USAGE)
    if height is not None and version is not None:
        raise fail("give a --version or a --height, not both", ExitCode.USAGE)
    with Client(url) as client:
        rows: Any
        takes = client.model(name).encoder.takes
        if takes in ("texts", "categories"):
            rows = read_texts(features, file, takes)
        else:
            rows = [read_row(features)] if features is not None else read_numbers(file or Path())
        prediction = client.predict(name, rows, version=version, height=height)
    text = _show_prediction(prediction)
    text += f"\nfrom version {prediction.version} at height {prediction.height}"
    print_answer(asdict(prediction), text, output)


def _show_prediction(prediction: Prediction) -> str:
    if prediction.values:
        values = [[index, f"{value:.6g}"] for index, value in enumerate(prediction.values)]
        return render_table(["sample", "value"], values)
    names = prediction.class_names or prediction.labels
    table = [
        [index, name, f"{max(probabilities):.3f}"]
        for index, (name, probabilities) in enumerate(
            zip(names, prediction.probabilities, strict=True)
        )
    ]
    heading = "class" if prediction.class_names else "group"
    return render_table(["sample", heading, "probability"], table)


def read_description(file: Path) -> dict[str, Any]:
    """Return the arguments of ``Client.create_model`` that a TOML file holds."""
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidInputError("malformed", f"{file}: {why}", field="file") from error
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
        if "policies" in settings:
            settings["policies"] = Policies(**settings["policies"])
        if "tensors" in settings:
            tensors = settings["tensors"].items()
            settings["tensors"] = {name: tuple(shape) for name, shape in tensors}
    except (TypeError, AttributeError) as error:
        raise InvalidInputError(
            "malformed", f"{file}: incentive, policies or tensors: {error}", field="file"
        ) from error
    if "encoder" in settings:
        settings["encoder"] = decode_encoder(settings["encoder"])
    return settings


def _show_share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
