"""Commands about the life of a model: names, growth, files, validation, samples.

Names, options and help; what a command does is in ``node/commands/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli_options import DEFAULT_URL, Key, Model, Output, Url
from node.commands.terminal import ExitCode, OutputFormat, fail, handles_problems

__all__ = ["model_commands"]

model_commands = typer.Typer(help="Create, look at and look after models.", no_args_is_help=True)
validation_commands = typer.Typer(
    help="Judge models on samples that nobody saw before.", no_args_is_help=True
)
model_commands.add_typer(validation_commands, name="validation")

Version = Annotated[
    str, typer.Option("--version", help="Version of the model, by number or alias.")
]
Piece = Annotated[int, typer.Argument(min=0, help="Number of the piece.", show_default=False)]
ModelFile = Annotated[
    Path,
    typer.Argument(
        help="Ends in .safetensors, .npz or .json, which says the format.", show_default=False
    ),
]
Clamp = Annotated[
    bool,
    typer.Option(
        "--clamp", help="Replace floats that do not fit by the nearest that do, and count them."
    ),
]


@model_commands.command("alias")
@handles_problems
def model_alias(
    model: Model,
    name: Annotated[
        str, typer.Argument(help="Name for a version: a-z, 0-9 and -.", show_default=False)
    ],
    key: Key,
    version: Annotated[
        str | None,
        typer.Argument(help="Version that gets the name, by number or name.", show_default=False),
    ] = None,
    *,
    remove: Annotated[bool, typer.Option("--remove", help="Take the name away.")] = False,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Give a version a name that predictions can ask for, or take it away."""
    from node.commands.lifecycle import set_alias

    if remove == (version is not None):
        raise fail("give either a version or --remove", ExitCode.USAGE)
    set_alias(url, key, model, name, version, output)


@model_commands.command("aliases")
@handles_problems
def model_aliases(model: Model, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """List the names of a model's versions."""
    from node.commands.lifecycle import list_aliases

    list_aliases(url, model, output)


@model_commands.command("revert")
@handles_problems
def model_revert(
    model: Model,
    version: Annotated[
        str,
        typer.Argument(
            help="Version that has a name, by number or by that name.", show_default=False
        ),
    ],
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Go back to the parameters of a version; they become a new version."""
    from node.commands.lifecycle import revert_model

    revert_model(url, key, model, version, output)


@model_commands.command("diff")
@handles_problems
def model_diff(
    model: Model,
    first: Annotated[
        str, typer.Argument(metavar="FROM", help="Number or alias.", show_default=False)
    ],
    second: Annotated[str, typer.Argument(metavar="TO", help="Number or alias.")] = "latest",
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Say by how much the parameters of two versions differ."""
    from node.commands.lifecycle import diff_versions

    diff_versions(url, model, first, second, output)


@model_commands.command("extend")
@handles_problems
def model_extend(
    model: Model,
    key: Key,
    class_name: Annotated[
        list[str] | None, typer.Option("--class", help="Name of a new class; repeatable.")
    ] = None,
    features: Annotated[
        int | None, typer.Option(min=1, help="How many features a sample shall have from now on.")
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Add classes, or features of a sparse model, as its growth policy allows."""
    from node.commands.lifecycle import extend_model

    extend_model(url, key, model, class_name or (), features, output)


@model_commands.command("export")
@handles_problems
def model_export(
    model: Model,
    file: ModelFile,
    version: Version = "latest",
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Write the parameters of a version to a file, checked against the digest on record.

    A file that is there is replaced.
    """
    from node.commands.lifecycle import export_model

    export_model(url, model, file, version, output)


@model_commands.command("import")
@handles_problems
def model_import(
    file: ModelFile,
    *,
    name: Annotated[str, typer.Option(help="Name of the new model.")],
    key: Key,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    licence: Annotated[str, typer.Option(help="SPDX expression.")] = "",
    clamp: Clamp = False,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Create a model from a file. Can be interrupted and run again.

    A file of `model export` becomes the model that it was; other tensors become a model that is
    trained elsewhere. For other settings, use `model create`, then `model upload`.
    """
    from node.commands.lifecycle import import_model

    import_model(
        url, key, name, file, output, clamps=clamp, description=description, licence=licence
    )


@model_commands.command("upload")
@handles_problems
def model_upload(
    model: Model,
    file: ModelFile,
    key: Key,
    clamp: Clamp = False,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Replace the parameters of your model by those in a file. Can be interrupted and run again."""
    from node.commands.lifecycle import upload_model

    upload_model(url, key, model, file, output, clamps=clamp)


@model_commands.command("evaluations")
@handles_problems
def model_evaluations(
    model: Model, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT
) -> None:
    """List the pieces of a validation set, and how good versions were on them."""
    from node.commands.lifecycle import list_evaluations

    list_evaluations(url, model, output)


@model_commands.command("evaluate")
@handles_problems
def model_evaluate(
    model: Model,
    piece: Piece,
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Judge the version in force on a piece of the validation set that was shown."""
    from node.commands.lifecycle import evaluate_model

    evaluate_model(url, key, model, piece, output)


@validation_commands.command("commit")
@handles_problems
def validation_commit(
    model: Model,
    samples: Annotated[
        Path,
        typer.Argument(
            metavar="CSV",
            help="Features, then the class in the last column, as for `contribute`.",
            show_default=False,
        ),
    ],
    *,
    keep: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Where the pieces go; secret until they are shown."),
    ],
    pieces: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Commit to samples without showing them: later nobody can say that they were chosen.

    The pieces and their salts are kept in FOLDER. A piece whose file is lost can never be shown.
    """
    from node.commands.validation import commit_validation

    commit_validation(url, key, model, samples, output, piece_count=pieces, folder=keep)


@validation_commands.command("show")
@handles_problems
def validation_show(
    model: Model,
    piece: Piece,
    file: Annotated[Path, typer.Argument(help="File of `validation commit`.", show_default=False)],
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show a piece to everybody, and judge the version in force on it."""
    from node.commands.validation import show_validation

    show_validation(url, key, model, piece, file, output)


@model_commands.command("samples")
@handles_problems
def model_samples(
    model: Model,
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    seed: Annotated[
        str | None,
        typer.Option(help="64 hexadecimal digits; the same draw the same. Default: by chance."),
    ] = None,
    version: Version = "latest",
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show samples that a mixture generates; free, needs no key."""
    from node.commands.lifecycle import draw_samples

    draw_samples(url, model, count, seed, version, output)
