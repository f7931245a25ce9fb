"""Options that several commands share, and the names by which people give them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.commands.terminal import OutputFormat

__all__ = [
    "AMOUNT_MAX",
    "DEFAULT_URL",
    "Home",
    "Key",
    "Model",
    "OptionalKey",
    "Output",
    "PasswordFile",
    "Plain",
    "Samples",
    "Sequence",
    "Url",
]

DEFAULT_URL = "http://127.0.0.1:8080"
AMOUNT_MAX = 2**63 - 1
"""Most money or shares that the ledger can count."""

Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How to print the answer.")]
Url = Annotated[
    str,
    typer.Option(
        "--url", envvar="QUORATE_URL", help="Node to talk to, for example http://127.0.0.1:8080."
    ),
]
Key = Annotated[
    Path,
    typer.Option(
        "--key",
        envvar="QUORATE_KEY",
        help="Key file of the account that signs.",
        show_default=False,
    ),
]
OptionalKey = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="QUORATE_KEY",
        help="Key file of the account that acts or is asked about.",
        show_default=False,
    ),
]
Home = Annotated[
    Path,
    typer.Option("--home", envvar="QUORATE_HOME", help="Folder of the node.", show_default=False),
]
Model = Annotated[str, typer.Argument(help="Name of the model.", show_default=False)]
Sequence = Annotated[int, typer.Argument(help="Number of the contribution.", show_default=False)]
Samples = Annotated[
    str,
    typer.Option(
        "--samples", help="Numbers of samples, such as 0,3,5-9. Empty: every one that qualifies."
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        help="File with the password of the key files; default: the environment, the container's"
        " secret, a prompt.",
        show_default=False,
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="Do not encrypt new keys; for trials only.")]
