"""The commands that people type, against a real node: text, JSON, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.local_network import LocalNetwork
from tests.helpers.local_network import run_network

ROOT = Path(__file__).resolve().parent.parent.parent
MODEL_FILE = """
name = "shapes"
family = "nearest_centroid"
feature_count = 2
class_names = ["low", "high"]
[incentive]
mechanism = "deposit_refund_take"
weight = 5
refund_wait_ms = 0
owner_wait_ms = 3600000
any_wait_ms = 3600000
"""


def run(arguments: list[str], url: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "node", *arguments]
    environment = {**os.environ, "QUORATE_URL": url, "NO_COLOR": "1", "COLUMNS": "100"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    folder = tmp_path_factory.mktemp("cli") / "net"
    with run_network(folder, validators=1, accounts=("alice", "bob")) as running:
        yield running


@pytest.fixture(scope="module")
def url(network: LocalNetwork) -> str:
    return network.validators[0].url


@pytest.fixture(scope="module")
def key(network: LocalNetwork) -> str:
    return str(network.validators[0].home.root.parent / "accounts" / "alice.json")


def test_model_is_created_taught_asked_and_settled_from_the_shell(
    url: str, key: str, tmp_path: Path
) -> None:
    (tmp_path / "model.toml").write_text(MODEL_FILE)
    rows = [f"{value:.2f},{value:.2f},{'high' if value > 0.5 else 'low'}" for value in (0.1, 0.9)]
    (tmp_path / "samples.csv").write_text("x,y,class\n" + "\n".join(rows * 3) + "\n")
    (tmp_path / "questions.csv").write_text("0.05,0.0\n0.95,1.0\n")

    def ask(*arguments: str, code: int = 0) -> str:
        finished = run(list(arguments), url)
        assert finished.returncode == code, finished.stderr
        return finished.stdout

    assert "ok at height" in ask("model", "create", str(tmp_path / "model.toml"), "--key", key)
    assert "shapes" in ask("model", "list")
    sent = json.loads(
        ask("contribute", "shapes", str(tmp_path / "samples.csv"), "--key", key, "-o", "json")
    )
    assert sent[0]["result"]["samples"] == 6
    assert "learnt     6 samples in 1 contributions" in ask("model", "show", "shapes")
    versions = json.loads(ask("model", "versions", "shapes", "-o", "json"))
    assert [version["version"] for version in versions] == [1, 0]
    answer = json.loads(
        ask("predict", "shapes", "--file", str(tmp_path / "questions.csv"), "-o", "json")
    )
    assert answer["class_names"] == ["low", "high"]
    before = ask("predict", "shapes", "-f", "0.9,0.9", "--height", str(versions[1]["height"]))
    assert "version 0" in before
    refunded = json.loads(ask("refund", "shapes", "0", "--key", key, "-o", "json"))
    assert refunded["result"]["samples"] == 6
    assert "ok at height" in ask("tx", "show", refunded["transaction_id"])
    again = run(["refund", "shapes", "0", "--key", key], url)
    assert again.returncode == 4
    assert "already_claimed" in again.stderr
    account = re.search(r"qr1\w+", ask("keys", "show", key))
    assert account is not None
    assert "karma" in ask("account", account.group())
    assert "ready       yes" in ask("status")


def test_money_is_sent_from_the_shell(url: str, key: str, network: LocalNetwork) -> None:
    other = network.validators[0].home.root.parent / "accounts" / "bob.json"
    shown = json.loads(run(["keys", "show", str(other), "-o", "json"]).stdout)
    before = json.loads(run(["account", shown["account"], "-o", "json"], url).stdout)["balance"]
    sent = run(["transfer", shown["account"], "7", "--key", key], url)
    assert sent.returncode == 0, sent.stderr
    after = json.loads(run(["account", shown["account"], "-o", "json"], url).stdout)["balance"]
    assert after == before + 7


def test_stakes_and_sponsors_from_the_shell(
    url: str, key: str, network: LocalNetwork, tmp_path: Path
) -> None:
    def ask(*arguments: str) -> str:
        finished = run(list(arguments), url)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    validator = network.validators[0].name
    ask("stake", "add", validator, "1000", "--key", key)
    leaving = json.loads(ask("stake", "remove", validator, "--key", key, "-o", "json"))
    assert leaving["result"]["tokens"] == "1000"
    assert f"from height {leaving['withdrawable_height']} on" in ask("stake", "mine", "--key", key)

    (tmp_path / "model.toml").write_text(MODEL_FILE.replace("shapes", "sponsored"))
    ask("model", "create", str(tmp_path / "model.toml"), "--key", key)
    (tmp_path / "samples.csv").write_text("0.1,0.1,low\n0.9,0.9,high\n")
    newcomer, request = str(tmp_path / "new.json"), str(tmp_path / "request.json")
    ask("keys", "new", newcomer, "--plain")
    sponsor = json.loads(ask("keys", "show", key, "-o", "json"))["account"]
    asked = ("--key", newcomer, "--ask-sponsor", sponsor, "--save", request)
    ask("contribute", "sponsored", str(tmp_path / "samples.csv"), *asked)
    assert "labels: 1 'low', 1 'high'" in ask("sponsor", "show", request)
    assert "samples              2" in ask("sponsor", "sign", request, "--key", key)
    ask("refund", "sponsored", "0", "--key", newcomer)
    board = json.loads(ask("leaderboard", "--model", "sponsored", "-o", "json"))
    newcomers = json.loads(ask("keys", "show", newcomer, "-o", "json"))["account"]
    assert newcomers in {each["account"] for each in board}
    assert "First step" in ask("badges", newcomers)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["status", "--url", "http://127.0.0.1:9"], 3, "no answer"),
        (["predict", "unknown", "-f", "1"], 4, "unknown_model"),
        (["predict", "unknown"], 2, "either --features or --file"),
        (["predict", "shapes", "-f", "one"], 1, "numbers separated by commas"),
        (["tx", "show", "00"], 4, "transaction_id"),
        (["model", "create", "nowhere.toml", "--key", "nowhere.json"], 1, "nowhere.toml"),
        (["keys", "show", "nowhere.json"], 1, "no key file"),
        (["start", "--home", "nowhere"], 1, "quorate init"),
        (["unknown"], 2, "No such command"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line_with_its_exit_code(
    url: str, arguments: list[str], code: int, says: str
) -> None:
    finished = run(arguments, url)
    assert finished.returncode == code, finished.stderr
    assert says in finished.stderr
    assert "Traceback" not in finished.stderr


def test_keys_are_made_once_and_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    made = run(["keys", "new", str(file), "--plain", "-o", "json"])
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["is_encrypted"] is False
    assert file.stat().st_mode & 0o777 == 0o600
    again = run(["keys", "new", str(file), "--plain"])
    assert again.returncode == 1
    assert "never written over" in again.stderr
    without_terminal = run(["keys", "new", str(tmp_path / "other.json")])
    assert without_terminal.returncode == 1
    assert "password" in without_terminal.stderr


def test_second_node_with_the_same_home_is_refused(network: LocalNetwork) -> None:
    home = str(network.validators[0].home.root)
    finished = run(["start", "--home", home])
    assert finished.returncode == 1
    assert "in use" in finished.stderr


def test_network_is_laid_out_once(tmp_path: Path) -> None:
    arguments = ["init", "--folder", str(tmp_path / "net"), "--validators", "2"]
    assert run(arguments).returncode == 0
    again = run(arguments)
    assert again.returncode == 1
    assert "not empty" in again.stderr


@pytest.mark.slow
def test_demonstration_learns_pays_the_honest_and_costs_the_flipper(tmp_path: Path) -> None:
    finished = run(["devnet", "--demo", "--exit", "--folder", str(tmp_path / "net"), "--port", "0"])
    assert finished.returncode == 0, finished.stderr
    accuracies = [float(found) for found in re.findall(r"accuracy\s+([\d.]+)%", finished.stdout)]
    assert accuracies[-1] > 85
    assert accuracies[-1] > accuracies[0]
    balances = dict(re.findall(r"(clinic-\w+|flipper)\s+\d+\s+\d+\s+([+-][\d,]+)", finished.stdout))
    changes = {name: int(text.replace(",", "")) for name, text in balances.items()}
    assert changes.pop("flipper") < 0
    assert len(changes) == 3
    assert all(change >= 0 for change in changes.values())
    assert "/v2/models/digits/infer" in finished.stdout
