"""What providers and contributors type, against a real API: text, JSON, files, exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import quorate
from node.cli import application
from node.commands import campaigns
from node.storage.keystore import save_seed
from quorate.campaign_audit import CampaignAudit
from quorate.connection import Connection
from tests.helpers import learning
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import CLASS_NAMES, connect, make_rows

MARKET = quorate.Incentive("prediction_market")
DRAW_BLOCKS = 9
HOUR_MS = 3_600_000
Run = Callable[..., str]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiScene]:
    with run_api(tmp_path_factory.mktemp("api")) as running:
        alice = connect(running, running.chain.network.accounts[0])
        for name in ("sides", "broken", "idle"):
            learning.create(alice, name, incentive=MARKET)
        yield running


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the key files of three accounts with money."""
    folder = tmp_path_factory.mktemp("keys")
    files = {name: folder / f"{name}.json" for name in ("alice", "bob", "carol")}
    for number, file in enumerate(files.values()):
        save_seed(file, sha256(f"account {number}".encode()).digest())
    return {name: str(file) for name, file in files.items()}


@pytest.fixture
def run(scene: ApiScene, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command as Alice and returns what it prints."""
    begin = Connection.__init__

    def begin_in_process(self: Connection, url: str, **options: Any) -> None:
        begin(self, url, **{**options, "transport": scene.http._transport})

    monkeypatch.setattr(Connection, "__init__", begin_in_process)
    monkeypatch.setenv("QUORATE_URL", "http://node")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object, code: int = 0, says: str = "", key: str = "alice") -> str:
        finished = CliRunner().invoke(
            application, [str(each) for each in arguments], env={"QUORATE_KEY": keys[key]}
        )
        assert finished.exit_code == code, finished.output
        assert says in finished.stderr
        if finished.exception is not None:
            assert isinstance(finished.exception, SystemExit)
        return finished.stdout

    return call


def write_samples(file: Path, shift: int = 0, seed: int = 1) -> Path:
    rows, labels = make_rows(60, seed)
    names = np.array(CLASS_NAMES)[(labels + shift) % 3]
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), name])
        for row, name in zip(rows, names, strict=True)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def wait_for_draw(scene: ApiScene) -> None:
    for _ in range(DRAW_BLOCKS):
        scene.run()


def pass_time(scene: ApiScene, duration_ms: int) -> None:
    scene.run(timestamp_ms=scene.chain.tip_header.timestamp_ms + duration_ms)


def test_a_market_is_run_from_the_shell(run: Run, scene: ApiScene, tmp_path: Path) -> None:
    hidden = write_samples(tmp_path / "hidden.csv")
    good = write_samples(tmp_path / "good.csv", seed=2)
    bad = write_samples(tmp_path / "bad.csv", shift=1, seed=3)
    folder = tmp_path / "kept" / "secret"
    assert "no campaign is open" in run("campaign", "list")
    assert "has had no campaign" in run("campaign", "list", "sides")
    run("contribute", "sides", good, key="bob", code=4, says="sides has had no campaign so far")
    opening = ("campaign", "open", "sides", hidden, "--folder", folder, "--rule", "market_grouped")
    opening += ("--bounty", 1_000, "--stake", 10, "--length", "1h", "--reveal-wait", "10m")
    opened = run(*opening, "--pieces", 4)
    (file,) = folder.iterdir()
    assert str(file) in opened
    assert f"quorate campaign reveal sides --folder {folder}" in opened
    assert "4 pieces of 15 to 15 samples" in opened
    assert "phase        draw" in run("campaign", "show", "sides")
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert json.loads(file.read_text())["model"] == "sides"
    run("contribute", "sides", good, key="bob", code=4, says="The block at height")
    reveal = ("campaign", "reveal", "sides", "--folder", folder)
    run(*reveal, "--timeout", 0, code=3, says="nothing was shown yet")

    wait_for_draw(scene)
    assert "which was drawn" in run(*reveal)
    run(*reveal, code=1, says="in the phase participation")
    run("contribute", "sides", good, "--max-deposit", 9, key="bob", code=4, says="a stake of 10")
    sent = json.loads(run("contribute", "sides", good, "-o", "json", key="bob"))
    assert [each["result"]["deposit"] for each in sent] == ["10"]
    run("contribute", "sides", bad, key="carol")
    assert "nothing is due" in run("campaign", "advance", "sides", key="carol")
    assert "participation" in run("campaign", "list")
    assert "campaign   0 is open" in run("model", "show", "sides")
    pass_time(scene, HOUR_MS)
    assert "phase        reveal" in run("campaign", "advance", "sides", key="carol")

    run("campaign", "verify", "sides", code=1, says="nobody was paid yet")
    run("campaign", "reveal", "sides", "--folder", tmp_path, code=1, says="wrote it")
    shown = json.loads(run(*reveal, "-o", "json"))
    assert len(shown["shown"]) == 3
    told = run("campaign", "show", "sides")
    assert "evaluation   0 of about" in told
    assert "next         quorate campaign advance sides" in told
    assert "settled" in run("campaign", "advance", "sides", "--items", 3, key="carol")
    told = run("campaign", "show", "sides", 0)
    assert "4 of 4 pieces shown" in told
    assert [line.split()[-1] for line in told.splitlines()[-2:]] == ["yes", "no"]
    assert "provider got" in told
    assert "to the unit" in run("campaign", "verify", "sides")
    assert json.loads(run("campaign", "verify", "sides", 0, "-o", "json"))["is_right"] is True
    assert json.loads(run("campaign", "list", "sides", "-o", "json"))[0]["phase"] == "settled"
    run("campaign", "show", "sides", 1, code=4, says="unknown_campaign")
    run(*reveal, code=1, says="in the phase settled")


def test_secrets_of_what_was_refused_are_not_kept(run: Run, tmp_path: Path) -> None:
    good, folder = write_samples(tmp_path / "good.csv"), tmp_path / "kept"
    opening = ("campaign", "open", "idle", good, "--folder", folder, "--bounty", 10)
    run(*opening, "--rule", "market_single", code=4, says="campaign.stake must be at least 1")
    run(*opening, "--rule", "shapley", code=4, says="wrong_rule")
    run(*opening, "--rule", "shapley", "--pieces", 61, code=1, says="too few for 61 pieces")
    run(*opening, "--rule", "shapley", "--stake", 2**64, code=1, says="found one of 65 bits")
    run(*opening, "--rule", "shapley", "--length", f"{2**60}d", code=1, says="must lie in")
    run(*opening, "--rule", "shapley", "--length", "soon", code=1, says="90s, 30m, 12h or 7d")
    run(*opening, "--rule", "shapley", "--length", "²d", code=1, says="90s, 30m, 12h or 7d")
    run(*opening, "--rule", "market_single", "--stake", 1, key="bob", code=4, says="not_owner")
    assert list(folder.iterdir()) == []


def test_a_broken_file_of_secrets_is_named_and_the_draw_is_waited_for(
    run: Run, scene: ApiScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = write_samples(tmp_path / "good.csv")
    opening = ("campaign", "open", "broken", good, "--folder", tmp_path / "kept")
    opened = json.loads(
        run(*opening, "--rule", "market_single", "--stake", 1, "--bounty", 9, "-o", "json")
    )
    assert opened["samples"] == [6] * 10
    file = Path(opened["secrets"])
    whole = file.read_text()
    for text, says in (("{}", "no secrets of a campaign"), ("nonsense", "is no JSON")):
        file.write_text(text)
        reveal = ("campaign", "reveal", "broken", "--folder", file.parent)
        run(*reveal, code=1, says=says)
    file.write_text(whole)

    def make_block(_pause_s: float) -> None:
        scene.run()

    # A block comes whenever the command pauses.
    clock = SimpleNamespace(sleep=make_block, monotonic=time.monotonic)
    monkeypatch.setattr(campaigns, "time", clock)
    assert "which was drawn" in run(*reveal)


def test_a_wrong_settlement_is_said_with_an_exit_code(
    run: Run, scene: ApiScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = CampaignAudit("idle", 3, "settled", ("returned is 0, by the rule 5",), (), 5, 0)
    monkeypatch.setattr("quorate.campaigns.Campaigns.verify", lambda *_: audit)
    told = run("campaign", "verify", "idle", code=1, says="not what the rule says")
    assert "returned is 0, by the rule 5" in told


def test_durations_have_units() -> None:
    assert [campaigns.read_duration(each) for each in ("90s", "30m", "12h", "7d")] == [
        90_000,
        1_800_000,
        43_200_000,
        604_800_000,
    ]
