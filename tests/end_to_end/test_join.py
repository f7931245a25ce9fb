"""An organisation joins with nothing but an invite, changes its keys, and is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ledger.parameters import Parameters
from ledger.reader import LedgerReader
from node.home import NodeHome
from node.local_network import LocalNetwork, ValidatorProcess, find_free_ports
from node.storage.leveldb import LevelKeyValueStore
from quorate.client import Client
from quorate.errors import UnreachableError
from tests.helpers.local_network import HOST, get_height, get_json, run_network, wait_for

EPOCH_LENGTH = 10
SHORT_EPOCHS = Parameters(epoch_length=EPOCH_LENGTH, unfinal_blocks_max=3)
PATIENCE_S = 120


def quorate(
    *arguments: object, check: bool = True, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run the command line as an operator would, with these settings and no others."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("QUORATE")
    }
    environment |= {f"QUORATE_{name}": str(value) for name, value in settings.items()}
    finished = subprocess.run(
        [sys.executable, "-m", "node", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if check:
        assert finished.returncode == 0, finished.stderr
    return finished


def ask(*arguments: object) -> Any:
    return json.loads(quorate(*arguments, "--output", "json").stdout)


class Consortium:
    """A network of four, and those that want to join it."""

    def __init__(self, network: LocalNetwork, folder: Path) -> None:
        self.network = network
        self.folder = folder

    @property
    def first(self) -> ValidatorProcess:
        return self.network.validators[0]

    def key(self, index: int) -> Path:
        return self.network.validators[index].home.account_key_file

    def invite(self, name: str, *options: object) -> str:
        signed = ("--key", self.key(0), "--url", self.first.url)
        return str(ask("invite", "create", "--org", name, *signed, *options)["invite"])

    def join(self, invite: str, name: str) -> ValidatorProcess:
        """Join, as its operator does; return the node, which is not started."""
        home = NodeHome(self.folder / name)
        p2p_port, api_port = find_free_ports(HOST, 2)
        where = ("--endpoint", f"{HOST}:{p2p_port}", "--api-port", api_port)
        told = quorate("join", invite, "--home", home.root, *where, "--plain", "-o", "json")
        assert "the request is in the ledger as proposal" in told.stderr
        assert json.loads(told.stdout)["proposal"] >= 1
        settings = home.config_file.read_text()
        home.config_file.write_text(settings + "\n[consensus]\nidle_interval_ms = 200\n")
        return ValidatorProcess(name, home, f"http://{HOST}:{api_port}")

    def vote(self, number: int, voters: tuple[int, ...] = (0, 1, 2)) -> None:
        for index in voters:
            node = self.network.validators[index]
            wait_for(lambda: is_known(node, number), f"proposal {number}")  # noqa: B023
            signed = ("--key", self.key(index), "--url", node.url)
            quorate("proposal", "vote", number, "--yes", *signed)

    def names(self) -> list[str]:
        answer = ask("validator", "list", "--url", self.first.url)
        return [each["name"] for each in answer["validators"]]

    def signers(self) -> list[int]:
        block = get_json(self.first.url, f"/api/v1/blocks/{get_height(self.first)}")
        return list(block["certificate"]["signers"])

    def wait_for_names(self, *names: str) -> None:
        wait_for(lambda: set(self.names()) == set(names), f"validators {names}", PATIENCE_S)


def is_known(node: ValidatorProcess, number: int) -> bool:
    try:
        with Client(node.url) as client:
            return any(each.number == number for each in client.governance.proposals())
    except UnreachableError:
        return False


@contextmanager
def running(tmp_path: Path) -> Iterator[Consortium]:
    with run_network(tmp_path / "net", idle_interval_ms=200, parameters=SHORT_EPOCHS) as network:
        yield Consortium(network, tmp_path)


FIRST_FOUR = ("validator0", "validator1", "validator2", "validator3")


@pytest.mark.slow
def test_organisation_joins_votes_changes_its_keys_and_is_removed(tmp_path: Path) -> None:
    with running(tmp_path) as consortium:
        invite = consortium.invite("Clinic B")
        assert ask("invite", "show", invite)["name"] == "Clinic B"
        clinic = consortium.join(invite, "clinic")
        clinic.start()
        consortium.network.validators.append(clinic)
        consortium.vote(1)
        consortium.wait_for_names(*FIRST_FOUR, "Clinic B")
        wait_for(lambda: 4 in consortium.signers(), "the newcomer's vote in blocks", PATIENCE_S)

        home, url = ("--home", clinic.home.root), ("--url", clinic.url)
        wait_for(clinic.is_ready, "the newcomer's API")
        old_seat = ask("validator", "list", *url)["validators"][4]["public_key"]
        quorate("keys", "rotate-transport", *home, *url, "--plain")
        quorate("keys", "rotate-validator", *home, *url, "--plain")
        wait_for(
            lambda: ask("validator", "list", *url)["validators"][4]["public_key"] != old_seat,
            "the newcomer's other key",
            PATIENCE_S,
        )
        wait_for(lambda: 4 in consortium.signers(), "a vote by the other key", PATIENCE_S)

        thief = ("--home", tmp_path / "thief", "--endpoint", "h:1", "--plain")
        again = quorate("join", invite, *thief, check=False)
        assert again.returncode == 1
        assert "no node of the invite let us in" in again.stderr

        quorate("proposal", "create", "--remove", "Clinic B", "--key", consortium.key(0),
                "--url", consortium.first.url)  # fmt: skip
        consortium.vote(2, (1, 2, 3))
        consortium.wait_for_names(*FIRST_FOUR)
        height = get_height(consortium.first)
        wait_for(lambda: get_height(consortium.first) > height + EPOCH_LENGTH, "blocks without it")
        members = ask("member", "list", "--url", consortium.first.url)
        assert [each["roles"] for each in members if each["name"] == "Clinic B"] == [[]]
        wait_for(
            lambda: b"removed this organisation" in clinic.home.log_file.read_bytes(), "its log"
        )


@pytest.mark.slow
def test_reader_joins_without_a_vote_and_a_member_leaves(tmp_path: Path) -> None:
    with running(tmp_path) as consortium:
        invite = consortium.invite("Auditor", "--role", "auditor,reader")
        home = NodeHome(tmp_path / "auditor")
        (api_port,) = find_free_ports(HOST, 1)
        quorate("join", invite, "--home", home.root, "--api-port", api_port, "--plain")
        assert not home.validator_key_file.exists()
        auditor = ValidatorProcess("auditor", home, f"http://{HOST}:{api_port}")
        auditor.start()
        consortium.network.validators.append(auditor)
        consortium.vote(1)
        last = consortium.network.validators[3]
        quorate("validator", "leave", "--key", consortium.key(3), "--url", last.url)
        consortium.wait_for_names(*FIRST_FOUR[:3])
        height = get_height(consortium.first)
        for node in (last, auditor):
            wait_for(lambda: get_height(node) > height, f"{node.name} to follow")  # noqa: B023
        members = ask("member", "list", "--url", auditor.url)
        assert members[-1]["roles"] == ["reader", "auditor"]


@pytest.mark.slow
def test_newcomer_that_is_far_behind_joins_by_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_SNAPSHOTS__INTERVAL", "10")
    with running(tmp_path) as consortium:
        wait_for(lambda: get_height(consortium.first) > 6 * EPOCH_LENGTH, "a longer chain")
        invite = consortium.invite("Far away", "--role", "reader")
        home = NodeHome(tmp_path / "far")
        quorate("join", invite, "--home", home.root, "--plain", SNAPSHOTS__THRESHOLD=30)
        database = LevelKeyValueStore(home.ledger_folder)
        assert LedgerReader(database).base_height() > 0
        database.close()
        assert ask("proposal", "show", 1, "--url", consortium.first.url)["status"] == "open"


@pytest.mark.slow
def test_nodes_that_are_too_old_stop_before_the_upgrade_and_newer_ones_go_on(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as consortium:
        height = get_height(consortium.first)
        quorate("proposal", "create", "--upgrade", f"2@{height + 3 * EPOCH_LENGTH}",
                "--key", consortium.key(0), "--url", consortium.first.url)  # fmt: skip
        consortium.vote(1, (1, 2))
        wait_for(
            lambda: get_json(consortium.first.url, "/api/v1/protocol")["next_version"] == 2,
            "the announcement",
        )
        protocol = get_json(consortium.first.url, "/api/v1/protocol")
        assert protocol["version"] == 1
        assert protocol["is_supported"] is False
        for node in consortium.network.validators:
            wait_for(lambda: not node.is_running(), f"{node.name} to stop", PATIENCE_S)  # noqa: B023
            assert "install a newer release" in node.read_log_tail()
        newer = (
            "import primitives.header as header; header.PROTOCOL_VERSION_MAX = 2;"
            "from node.cli import main; main()"
        )
        commands = [
            [sys.executable, "-c", newer, "start", "--home", str(node.home.root)]
            for node in consortium.network.validators
        ]
        processes = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for command in commands
        ]
        try:
            first = protocol["next_height"]
            wait_for(
                lambda: get_height(consortium.first) > first, "blocks of version 2", PATIENCE_S
            )
            header = get_json(consortium.first.url, f"/api/v1/blocks/{first}")
            assert header["protocol_version"] == 2
            assert get_json(consortium.first.url, "/api/v1/protocol")["version"] == 2
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


def test_invites_that_are_no_good_are_refused_with_the_reason(tmp_path: Path) -> None:
    with running(tmp_path) as consortium:
        invite = consortium.invite("Clinic B", "--expires", "1m")
        home = ("--home", tmp_path / "clinic", "--endpoint", "h:1", "--plain")
        for text, reason in (
            ("hello", "an invite begins with qinvite1"),
            (invite[:-1], "copy it"),
            (invite[:80] + ("A" if invite[80] != "A" else "B") + invite[81:], "copy it"),
        ):
            refused = quorate("join", text, *home, check=False)
            assert refused.returncode == 1
            assert reason in refused.stderr
        no_endpoint = quorate("join", invite, "--home", tmp_path / "c", "--plain", check=False)
        assert "--endpoint" in no_endpoint.stderr
        taken = quorate(
            "join", invite, "--home", consortium.first.home.root, *home[2:], check=False
        )
        assert "is the home of a node already" in taken.stderr
        stranger = quorate("invite", "create", "--org", "X", "--key",
                           tmp_path / "net" / "accounts" / "alice.json",
                           "--url", consortium.first.url, check=False)  # fmt: skip
        assert "a member with a vote must invite" in stranger.stderr
