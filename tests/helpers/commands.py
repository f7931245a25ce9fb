"""The command line in this process, against the API of a scene."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli import application
from node.storage.keystore import save_seed
from quorate.connection import Connection
from tests.helpers.api import ApiScene

Run = Callable[..., str]


def save_keys(folder: Path, names: Mapping[str, str]) -> dict[str, str]:
    """Write key files, and return them by name.

    Parameters
    ----------
    folder : where they go.
    names : for each name, what the key is made of: ``account 0``, ``member 1``.
    """
    files = {name: folder / f"{name}.json" for name in names}
    for name, file in files.items():
        save_seed(file, sha256(names[name].encode()).digest())
    return {name: str(file) for name, file in files.items()}


def make_runner(scene: ApiScene, keys: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command, as the first key's owner unless it names another.

    It returns what the command prints, and checks its exit code and what it says beside it.
    """
    begin = Connection.__init__

    def begin_in_process(self: Connection, url: str, **options: Any) -> None:
        begin(self, url, **{**options, "transport": scene.http._transport})

    monkeypatch.setattr(Connection, "__init__", begin_in_process)
    monkeypatch.setenv("QUORATE_URL", "http://node")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("QUORATE_KEY", raising=False)
    first = next(iter(keys))

    def call(*arguments: object, code: int = 0, says: str = "", key: str | None = first) -> str:
        environment = {} if key is None else {"QUORATE_KEY": keys[key]}
        finished = CliRunner().invoke(
            application, [str(each) for each in arguments], env=environment
        )
        assert finished.exit_code == code, finished.output
        assert says in finished.stderr
        if finished.exception is not None:
            assert isinstance(finished.exception, SystemExit)
        return finished.stdout

    return call


def ask_json(run: Run, *arguments: object, **options: Any) -> Any:
    """Return what a command prints for machines."""
    return json.loads(run(*arguments, "-o", "json", **options))
