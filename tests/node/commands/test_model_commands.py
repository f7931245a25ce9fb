"""What owners type about a model's life, against a real API: text, JSON, files, exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quorate
from quorate.model_files import decode_safetensors
from tests.helpers import learning
from tests.helpers.api import ApiScene, run_api
from tests.helpers.commands import Run, ask_json, make_runner, save_keys
from tests.helpers.learning import CLASS_NAMES, connect, make_rows

KARMA_ALONE = quorate.Incentive("points", 0, 1_500, 5_000, 9_000)
ROWS, LABELS = make_rows(60)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiScene]:
    with run_api(tmp_path_factory.mktemp("api")) as running:
        alice = connect(running, running.chain.network.accounts[0])
        learning.create(alice, "sides", incentive=KARMA_ALONE)
        alice.contribute("sides", ROWS[:30], LABELS[:30])
        growing = quorate.Policies(growth="owner")
        learning.create(alice, "growing", layout="sparse", policies=growing, incentive=KARMA_ALONE)
        yield running


@pytest.fixture(scope="module")
def alice(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[0])


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the key files of two accounts with money."""
    names = {"alice": "account 0", "bob": "account 1"}
    return save_keys(tmp_path_factory.mktemp("keys"), names)


@pytest.fixture
def run(scene: ApiScene, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a command as Alice and returns what it prints."""
    return make_runner(scene, keys, monkeypatch)


def write_samples(file: Path, count: int = 30) -> Path:
    names = np.array(CLASS_NAMES)[LABELS]
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), name])
        for row, name in zip(ROWS[:count], names[:count], strict=True)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_versions_get_names_are_compared_asked_and_gone_back_to(
    run: Run, alice: quorate.Client
) -> None:
    assert "ok at height" in run("model", "alias", "sides", "champion", "1")
    alice.contribute("sides", ROWS[30:], (LABELS[30:] + 1) % 3)
    assert ask_json(run, "model", "aliases", "sides")["champion"] == 1
    assert "champion        1" in run("model", "aliases", "sides")
    difference = ask_json(run, "model", "diff", "sides", "champion")
    assert (difference["first"], difference["second"]) == (1, 2)
    assert "version 0 to 1" in run("model", "diff", "sides", "0", "champion")
    features = ",".join(str(value) for value in ROWS[0])
    for version, number in (("champion", 1), ("0", 0), ("latest", 2)):
        answer = ask_json(run, "predict", "sides", "-f", features, "--version", version)
        assert answer["version"] == number
    run("model", "alias", "sides", "second", "champion")
    run("model", "revert", "sides", "second")
    assert alice.versions("sides")[0].origin == "reverted"
    run("model", "revert", "sides", "1")
    run("model", "alias", "sides", "second", "--remove")
    assert "second" not in ask_json(run, "model", "aliases", "sides")
    run("model", "alias", "sides", "champion", code=2, says="a version or --remove")
    run("model", "alias", "sides", "champion", "1", "--remove", code=2, says="--remove")
    run("model", "revert", "sides", "nameless", code=1, says="no alias 'nameless'")
    run("model", "revert", "sides", "2", code=4, says="version_not_held")
    run("model", "revert", "sides", "1", code=4, says="not_owner", key="bob")
    run("model", "diff", "sides", "0", "nameless", code=4, says="unknown_version")
    ask = ("predict", "sides", "-f", features)
    run(*ask, "--version", "nameless", code=4, says="unknown_version")
    run(*ask, "--version", "1", "--height", "1", code=2, says="not both")


def test_classes_and_features_are_added(run: Run, alice: quorate.Client) -> None:
    grown = ask_json(
        run, "model", "extend", "growing", "--class", "up", "--class", "down", "--features", 8
    )
    assert grown["result"] == {"class_count": 5, "feature_count": 8}
    assert alice.model("growing").class_names[-2:] == ("up", "down")
    run("model", "extend", "growing", code=2, says="--class, --features or both")
    run("model", "extend", "sides", "--class", "up", code=4, says="cannot_grow")


@pytest.mark.parametrize("ending", ["safetensors", "json"])
def test_a_model_is_exported_and_imported(
    run: Run, alice: quorate.Client, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"model.{ending}"
    assert "as on record" in run("model", "export", "sides", file, "--version", "1")
    told = ask_json(run, "model", "export", "sides", file, "--version", "1")
    assert (told["version"], told["file"]) == (1, str(file))
    name = f"copy-{ending}"
    made = ask_json(run, "model", "import", file, "--name", name, "--licence", "CC0-1.0")
    assert made["transaction"]["status"] == "ok"
    assert (made["roundings"], made["notes"]) == ([], [])
    assert alice.versions(name)[0].digest == told["digest"]
    assert alice.model(name).licence == "CC0-1.0"
    run("model", "import", file, "--name", name, code=1, says="is at version 1")
    run("model", "export", "sides", tmp_path / "model.pt", code=1, says="must end in")
    run("model", "export", "sides", file, "--version", "99", code=4, says="unknown_version")
    run("model", "export", "nobody", file, code=4, says="unknown_model")
    run("model", "import", tmp_path / "absent.json", "--name", "x", code=1, says="absent.json")


def test_floats_are_uploaded_and_how_far_they_moved_is_said(
    run: Run, alice: quorate.Client, tmp_path: Path
) -> None:
    file = tmp_path / "body.npz"
    np.savez(file, body=np.linspace(0, 1, 7), head=np.array([1e12]))
    run("model", "import", file, "--name", "body", code=1, says="its bounds are")
    text = run("model", "import", file, "--name", "body", "--clamp")
    assert "8 numbers in force" in text
    assert "external_tensors.body" in text
    np.savez(file, body=np.zeros(7), head=np.array([0.5]))
    replaced = ask_json(run, "model", "upload", "body", file)
    assert [each["clamped"] for each in replaced["roundings"]] == [0, 0]
    run("model", "export", "body", tmp_path / "back.safetensors")
    back = decode_safetensors((tmp_path / "back.safetensors").read_bytes())
    assert back.tensors["head"].tolist() == [1 << 15]
    run("model", "upload", "body", file, code=4, says="not_owner", key="bob")
    run("model", "upload", "sides", file, code=1, says="has the tensors")
    file.write_bytes(b"no archive")
    run("model", "upload", "body", file, code=1, says="archive cannot be read")


def test_an_interrupted_upload_says_how_to_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "stopped.npz"
    np.savez(file, body=np.arange(50.0))
    monkeypatch.setattr("quorate.model_transfer.PART_NUMBERS", 10)
    with monkeypatch.context() as patched:
        wait = quorate.Client.wait
        waited: list[str] = []

        def stop_after_three(self: quorate.Client, name: str, **options: Any) -> Any:
            if len(waited) == 3:
                raise quorate.NotFinalError(name, 1.0)
            waited.append(name)
            return wait(self, name, **options)

        patched.setattr(quorate.Client, "wait", stop_after_three)
        run("model", "import", file, "--name", "stopped", code=3, says="goes on where this stopped")
    assert "50 numbers in force" in run("model", "import", file, "--name", "stopped")


def test_a_validation_set_is_committed_kept_shown_and_asked_again(
    run: Run, alice: quorate.Client, tmp_path: Path
) -> None:
    learning.create(alice, "judged", incentive=KARMA_ALONE)
    samples, folder = write_samples(tmp_path / "samples.csv"), tmp_path / "kept" / "secret"
    assert "no validation set" in run("model", "evaluations", "judged")
    options = ("--pieces", 4, "--keep", folder)
    committed = ask_json(run, "model", "validation", "commit", "judged", samples, *options)
    assert [(each["piece"], each["samples"]) for each in committed] == [
        (0, 8),
        (1, 8),
        (2, 7),
        (3, 7),
    ]
    files = [Path(each["file"]) for each in committed]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert run("model", "evaluations", "judged").count("hidden") == 4
    run("model", "evaluate", "judged", 1, code=4, says="not_shown")
    show = ("model", "validation", "show", "judged")
    run(*show, 0, files[1], code=1, says="holds piece 1 of the validation set")
    run(*show, 9, files[1], code=1, says="not piece 9")
    run("model", "validation", "show", "sides", 0, files[1], code=1, says="for 'judged'")
    run(*show, 1, files[1], code=4, says="not_owner", key="bob")
    assert ask_json(run, *show, 1, files[1])["result"]["samples"] == 8
    run(*show, 1, files[1], code=4, says="already_shown")
    alice.contribute("judged", ROWS, LABELS)
    run("model", "evaluate", "judged", 1, key="bob")
    told = ask_json(run, "model", "evaluations", "judged")
    assert [each["version"] for each in told["evaluations"]] == [0, 1]
    assert [each["samples"] for each in told["pieces"]] == [None, 8, None, None]
    assert "100.0%" in run("model", "evaluations", "judged")
    run("model", "evaluate", "judged", 9, code=4, says="unknown_piece")


def test_pieces_that_could_not_be_shown_or_were_refused_are_not_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples, folder = write_samples(tmp_path / "samples.csv"), tmp_path / "kept"
    commit = ("model", "validation", "commit", "sides", samples, "--keep", folder)
    run(*commit, "--pieces", 31, code=1, says="too few for 31 pieces")
    run(*commit, code=4, says="not_owner", key="bob")
    assert list(folder.iterdir()) == []
    wide = tmp_path / "wide.csv"
    write_samples(wide)
    wide.write_text(wide.read_text() * 600)
    run(*commit[:4], wide, *commit[5:], code=1, says="cut the samples into more pieces")
    assert list(folder.iterdir()) == []
    for text in ("{}", "[]", "nonsense", '{"format": "quorate-validation-piece", "version": 1}'):
        (tmp_path / "piece.json").write_text(text)
        run(
            *("model", "validation", "show", "sides", 0, tmp_path / "piece.json"),
            code=1,
            says="is no piece of a validation set",
        )


def test_a_mixture_shows_samples_from_a_seed(run: Run, alice: quorate.Client) -> None:
    settings = {"groups": 3, "seed_samples": 60}
    learning.create(alice, "odd", family="gaussian_mixture", class_names=(), parameters=settings)
    alice.contribute("odd", ROWS)
    seed = "5a" * 32
    told = ask_json(run, "model", "samples", "odd", "--count", 3, "--seed", seed)
    assert (told["seed"], np.shape(told["samples"])) == (seed, (3, ROWS.shape[1]))
    assert np.abs(told["samples"]).max() < 4
    assert told == ask_json(run, "model", "samples", "odd", "--count", 3, "--seed", seed)
    lines = run("model", "samples", "odd").splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("seed ")
    run("model", "samples", "odd", "--seed", "5a", code=1, says="64 hexadecimal digits")
    run("model", "samples", "sides", code=4, says="unsupported")
