"""A network on one machine outlives some of its validators, and touches no other network."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from node.commands.devnet import MARKER, DevnetOptions, run_devnet
from node.home import NodeHome
from node.local_network import (
    LocalNetwork,
    LocalNetworkError,
    ValidatorProcess,
    check_ports_free,
)
from node.storage.home_lock import HomeLock
from primitives.errors import InvalidInputError


def make_process(folder: Path, name: str, program: str) -> ValidatorProcess:
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    return ValidatorProcess(name, NodeHome(folder / name), "http://127.0.0.1:1", process)


def test_watching_goes_on_until_the_last_validator_has_ended(tmp_path: Path) -> None:
    first = make_process(tmp_path, "validator0", "")
    last = make_process(tmp_path, "validator1", "import sys; sys.stdin.read()")
    ended: list[str] = []

    def note_end(validator: ValidatorProcess) -> None:
        ended.append(validator.name)
        last.kill()

    with pytest.raises(LocalNetworkError, match="no validator runs any more"):
        LocalNetwork([first, last]).watch(note_end)
    assert ended[0] == "validator0"
    assert sorted(ended) == ["validator0", "validator1"]


def test_a_port_that_another_server_holds_is_refused_and_nothing_is_cleared(
    tmp_path: Path,
) -> None:
    (tmp_path / MARKER).touch()
    (tmp_path / "kept").touch()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        options = DevnetOptions(tmp_path, 1, port, False, True, False)
        with pytest.raises(LocalNetworkError, match=rf"port {port} .*--port"):
            run_devnet(options)
    assert (tmp_path / "kept").exists()
    check_ports_free("127.0.0.1", [port])


def test_a_folder_whose_validators_run_is_not_cleared(tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    with HomeLock(tmp_path / "validator0"), pytest.raises(InvalidInputError) as caught:
        run_devnet(DevnetOptions(tmp_path, 1, 0, False, True, False))
    assert caught.value.code == "home_in_use"
    assert (tmp_path / MARKER).exists()
