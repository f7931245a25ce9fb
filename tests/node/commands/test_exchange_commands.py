"""What people type to hold and to win an exchange, against a real API: text, files, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import quorate
from node.cli import application
from node.commands.exchanges import read_duration
from node.storage.keystore import save_seed
from quorate.connection import Connection
from quorate.errors import NotFinalError
from quorate.exchanges import Exchanges
from tests.helpers import learning
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import CLASS_NAMES, connect, make_rows

KARMA_ALONE = quorate.Incentive("points", 0, 1_500, 5_000, 9_000)
ROWS, LABELS = make_rows(60)
Run = Callable[..., str]
NAMES = ("host", "alice", "bob")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path) as running:
        host, alice, bob = (connect(running, each) for each in running.chain.network.accounts[:3])
        learning.create(host, "like", incentive=KARMA_ALONE)
        for client, name, shift in ((alice, "good", 0), (bob, "bad", 1)):
            learning.create(client, name, incentive=KARMA_ALONE)
            client.contribute(name, ROWS[:30], (LABELS[:30] + shift) % 3)
        yield running


@pytest.fixture
def run(scene: ApiScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command as somebody and returns what it prints."""
    for number, name in enumerate(NAMES):
        save_seed(tmp_path / f"{name}.json", sha256(f"account {number}".encode()).digest())
    begin = Connection.__init__

    def begin_in_process(self: Connection, url: str, **options: Any) -> None:
        begin(self, url, **{**options, "transport": scene.http._transport})

    monkeypatch.setattr(Connection, "__init__", begin_in_process)
    monkeypatch.setenv("QUORATE_URL", "http://node")
    monkeypatch.setenv("COLUMNS", "200")

    def call(who: str, *arguments: object, code: int = 0, says: str = "") -> str:
        finished = CliRunner().invoke(
            application,
            ["exchange", *(str(each) for each in arguments)],
            env={"QUORATE_KEY": str(tmp_path / f"{who}.json")},
        )
        assert finished.exit_code == code, finished.output
        assert says in finished.stderr
        if finished.exception is not None:
            assert isinstance(finished.exception, SystemExit)
        return finished.stdout

    return call


def ask_json(run: Run, who: str, *arguments: object) -> Any:
    return json.loads(run(who, *arguments, "-o", "json"))


def write_samples(folder: Path) -> Path:
    file = folder / "test-set.csv"
    names = np.array(CLASS_NAMES)[LABELS]
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), name])
        for row, name in zip(ROWS[30:], names[30:], strict=True)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def open_cup(run: Run, folder: Path, *options: object) -> Any:
    asked: tuple[object, ...] = ("open", "cup", write_samples(folder), "--like", "like")
    terms = ("--bounty", 1_000, "--threshold", 0.5, "--stake", 10, "--pieces", 3)
    times = ("--length", "10s", "--reveal-wait", "1m", "--keep", folder / "secret")
    return ask_json(run, "host", *asked, *terms, *times, *options)


def go_on(scene: ApiScene, run: Run, field: str) -> None:
    """Let the next block have a time that the exchange names."""
    scene.run(timestamp_ms=ask_json(run, "host", "show", "cup")[field])


def test_a_bounty_is_held_out_and_won_from_the_shell(
    scene: ApiScene, run: Run, tmp_path: Path
) -> None:
    assert "no exchanges" in run("bob", "list")
    opened = open_cup(run, tmp_path, "--description", "Which pair is high?")
    pieces = [Path(each["file"]) for each in opened["pieces"]]
    assert [each["piece"] for each in opened["pieces"]] == [0, 1, 2]
    assert {file.stat().st_mode & 0o777 for file in pieces} == {0o600}
    assert "submitting" in run("bob", "list", "--status", "open")
    shown = run("bob", "show", "cup")
    assert "classification of 3 classes, 6 dense features, accuracy of at least 50.0%" in shown
    assert "Which pair is high?" in shown

    sealed = {}
    for who, model in (("bob", "bad"), ("alice", "good")):
        told = ask_json(run, who, "submit", "cup", model, "--keep", tmp_path / who)
        sealed[who] = Path(told["file"])
        assert sealed[who].stat().st_mode & 0o777 == 0o600
    assert run("bob", "show", "cup").count("sealed") == 2
    run("alice", "reveal", sealed["alice"], code=1, says="is submitting, not opening")
    run("host", "show-piece", *pieces, code=1, says="is submitting, not showing")
    go_on(scene, run, "deadline_ms")
    run("bob", "reveal", sealed["alice"], code=1, says="can open what it submitted")
    run("alice", "reveal", sealed["alice"], says="1 of 2 models are opened")
    run("bob", "reveal", sealed["bob"], says="The organiser shows the test set")
    run("host", "show-piece", pieces[1], code=1, says="piece 0 of 'cup' is to be shown next")
    assert [each["piece"] for each in ask_json(run, "host", "show-piece", pieces[0])] == [0]
    text = run("host", "show-piece", *reversed(pieces), says="quorate exchange advance cup")
    assert text.splitlines()[1].split()[:2] == ["1", "10"]
    assert "shown before" in run("host", "show-piece", pieces[0])
    final = run("bob", "advance", "cup", "--items", 4)
    assert "won the bounty" in final
    assert "1010" in final
    assert ask_json(run, "bob", "advance", "cup")["status"] == "won"
    assert "won" in run("bob", "list")


def test_the_texts_say_what_to_do_next(scene: ApiScene, run: Run, tmp_path: Path) -> None:
    terms = ("--like", "like", "--bounty", 5, "--threshold", 0.5, "--length", "10s")
    keep = ("--reveal-wait", "60s", "--keep", tmp_path / "secret")
    asked = ("open", "cup", write_samples(tmp_path), *terms, *keep)
    assert "cup is open: Models are submitted until" in run(
        "host", *asked, says="quorate exchange show-piece"
    )
    submit = ("submit", "cup", "good", "--keep", tmp_path)
    assert "sealed; 0 are held" in run("alice", *submit, says="quorate exchange reveal")
    go_on(scene, run, "deadline_ms")
    go_on(scene, run, "reveals_end_ms")
    assert "No model was opened in time" in run("bob", "advance", "cup")


def test_a_second_submission_says_that_the_first_is_gone(
    scene: ApiScene, run: Run, tmp_path: Path
) -> None:
    open_cup(run, tmp_path)
    submit = ("submit", "cup", "good", "--keep", tmp_path / "own")
    first = ask_json(run, "alice", *submit)["file"]
    run("alice", *submit, says="takes the place of what you submitted before")
    go_on(scene, run, "deadline_ms")
    run("alice", "reveal", first, code=1, says="submitted another model after this one")


def test_what_is_not_yours_or_not_there_is_refused_in_words(run: Run, tmp_path: Path) -> None:
    open_cup(run, tmp_path)
    own = tmp_path / "own"
    run("bob", "submit", "cup", "good", "--keep", own, code=1, says="only its owner can open it")
    assert not own.exists()
    run("bob", "advance", "cup", code=4, says="too_early: Models are submitted until 20")
    missing = tmp_path / "missing.json"
    run("bob", "reveal", missing, code=1, says=f"error: {missing}: No such file or directory")
    terms = ("--like", "like", "--bounty", 1, "--keep", own, "--threshold", 1.5)
    samples = write_samples(tmp_path)
    run("host", "open", "mug", samples, *terms, code=1, says="must lie in 0 to 1, found 1.5")
    missing = tmp_path / "missing.csv"
    run("host", "open", "mug", missing, *terms, code=1, says=f"{missing}: No such file or dir")


def test_a_version_with_a_name_is_opened_after_the_model_learnt_more(
    scene: ApiScene, run: Run, tmp_path: Path
) -> None:
    open_cup(run, tmp_path)
    submit = ("submit", "cup", "good", "--keep", tmp_path / "own")
    run("alice", *submit, "--alias", "Not a name", code=4, says="model name")
    assert list((tmp_path / "own").iterdir()) == []
    told = ask_json(run, "alice", *submit, "--alias", "spring")
    connect(scene, scene.chain.network.accounts[2]).contribute("good", ROWS[:30], LABELS[:30])
    go_on(scene, run, "deadline_ms")
    run("alice", "reveal", told["file"], says="The organiser shows the test set")
    assert ask_json(run, "alice", "show", "cup")["submissions"][0]["version"] == told["version"]


def test_files_of_what_was_refused_are_not_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, own = tmp_path / "secret", tmp_path / "own"
    samples = write_samples(tmp_path)
    terms = ("--like", "like", "--threshold", 0.5, "--keep", secret)
    run(
        "host", "open", "../cup", samples, *terms, "--bounty", 1, code=1, says="name of an exchange"
    )
    run("host", "open", "cup", samples, *terms, "--bounty", 10**12, code=4, says="insufficient")
    run("host", "open", "cup", samples, *terms, "--bounty", 2**63, code=1, says="lie in [1")
    run("host", "open", "cup", samples, *terms, "--bounty", 2**64, code=1, says="one of 65 bits")
    assert list(secret.iterdir()) == []
    more = ("--bounty", 1, "--length", "soon")
    run("host", "open", "cup", samples, *terms, *more, code=1, says="such as 12h")
    open_cup(run, tmp_path)
    run("host", "submit", "cup", "like", "--keep", own, code=4, says="own_exchange")
    assert list(own.iterdir()) == []

    def stay_pending(*_: Any, **__: Any) -> None:
        raise NotFinalError("00", 1)

    # What may still become final must be there to be opened.
    monkeypatch.setattr(Exchanges, "submit_sealed", stay_pending)
    run("alice", "submit", "cup", "good", "--keep", own, code=3, says="not final")
    assert len(list(own.iterdir())) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "nonsense",
        '{"format": "quorate-sealed-model", "version": 1}',
        '{"format": "quorate-exchange-piece", "version": 1, "payload": "", "salt": "00"}',
    ],
)
def test_files_of_another_form_are_refused(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "file.json"
    file.write_text(text)
    run("alice", "reveal", file, code=1, says="is no sealed model")
    run("alice", "show-piece", file, code=1, says="is no piece of a test set")


def test_pieces_of_two_exchanges_are_not_mixed(run: Run, tmp_path: Path) -> None:
    first = Path(open_cup(run, tmp_path)["pieces"][0]["file"])
    second = tmp_path / "other.json"
    second.write_text(first.read_text().replace('"cup"', '"mug"'))
    run("host", "show-piece", first, second, code=1, says="pieces for cup and mug")


def test_durations_have_a_unit() -> None:
    assert [read_duration(text) for text in ("90s", "15m", "12h", "7d")] == [
        90_000,
        900_000,
        43_200_000,
        604_800_000,
    ]
    with pytest.raises(quorate.InvalidInputError, match="found '15'"):
        read_duration("15")


def test_loss_and_losers_are_described(scene: ApiScene, run: Run, tmp_path: Path) -> None:
    opened = open_cup(run, tmp_path, "--metric", "loss", "--threshold", 0.0001)
    sealed = ask_json(run, "bob", "submit", "cup", "bad", "--keep", tmp_path)["file"]
    assert "loss up to 0.000106812" in run("bob", "show", "cup")
    go_on(scene, run, "deadline_ms")
    run("bob", "reveal", sealed)
    run("host", "show-piece", *(each["file"] for each in opened["pieces"]))
    assert "below" in run("bob", "advance", "cup")
