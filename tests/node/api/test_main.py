"""The command that starts the API process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node.api import __main__ as command


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "start_logging", lambda level: None)


def make_arguments(folder: Path, *more: str) -> list[str]:
    return ["--socket", str(folder / "feed.sock"), "--home", str(folder / "api"), *more]


def test_it_serves_where_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: dict[str, Any] = {}
    monkeypatch.setattr(command.uvicorn, "run", lambda app, **given: served.update(given, app=app))
    arguments = make_arguments(tmp_path, "--host", "::1", "--port", "81", "--serve-payloads")
    assert command.main(arguments) == 0
    assert (served["host"], served["port"]) == ("::1", 81)
    assert served["app"].state.service.serves_payloads
    served["app"].state.service.follower.close()


def test_it_ends_with_its_parent_if_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watching: list[Any] = []
    monkeypatch.setattr(command.uvicorn, "run", lambda app, **_: app.state.service.follower.close())
    monkeypatch.setattr(command, "watch_parent", watching.append)
    assert command.main(make_arguments(tmp_path)) == 0
    assert watching == []
    assert command.main(make_arguments(tmp_path, "--exit-with-parent")) == 0
    killed: list[Any] = []
    monkeypatch.setattr(command.os, "kill", lambda *what: killed.append(what))
    watching[0]()
    assert killed == [(command.os.getpid(), command.signal.SIGTERM)]


def test_a_store_that_does_not_open_is_a_failure(tmp_path: Path) -> None:
    folder = tmp_path / "api"
    (folder / "store-000001").mkdir(parents=True)
    (folder / "current").write_text("store-000001")
    (folder / "store-000001" / "CURRENT").write_text("nonsense")
    assert command.main(make_arguments(tmp_path)) == 1
