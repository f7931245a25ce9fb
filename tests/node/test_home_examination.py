"""A node's folder, looked at from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from node.home import NodeHome
from node.home_examination import (
    FREE_BYTES_MIN,
    Finding,
    FindingState,
    examine_home,
    find_holder,
    is_paused,
    read_log_tail,
)
from node.network_files import NetworkPlan, lay_out_network
from node.storage.home_lock import HomeLock
from node.storage.wal import WriteAheadLog


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    plan = NetworkPlan(
        folder=tmp_path / "net",
        chain_name="test",
        p2p_endpoints=(("127.0.0.1", 1),),
        api_endpoints=(("127.0.0.1", 2),),
        accounts=(),
    )
    return lay_out_network(plan)[0].home


def examine(home: NodeHome) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine_home(home)}


def fill_log(home: NodeHome) -> Path:
    log = WriteAheadLog(home.wal_folder)
    for number in range(5):
        log.append(b"record %d" % number, number)
        log.sync()
    log.close()
    return next(home.wal_folder.glob("*.wal"))


def list_files(home: NodeHome) -> dict[str, tuple[bytes, int]]:
    return {
        str(file): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in home.root.rglob("*")
        if file.is_file()
    }


def test_a_fresh_home_is_well_and_is_left_as_it_is(home: NodeHome) -> None:
    before = list_files(home)
    found = examine(home)
    assert {each.state for each in found.values()} == {FindingState.OK}
    assert "never run" in found["data"].text
    assert "no write-ahead log yet" in found["wal"].text
    assert list_files(home) == before


def test_a_home_that_is_not_there_is_all_that_is_said(tmp_path: Path) -> None:
    found = examine(NodeHome(tmp_path / "nothing"))
    assert [each.state for each in found.values()] == [FindingState.FAILED]
    assert "there is no folder" in found["folder"].text


def test_missing_files_are_named(home: NodeHome) -> None:
    home.genesis_file.unlink()
    found = examine(home)["files"]
    assert (found.state, found.text.split()[0]) == (FindingState.FAILED, "config/genesis.json")


def test_a_key_that_others_can_read_is_named(home: NodeHome) -> None:
    home.validator_key_file.chmod(0o644)
    found = examine(home)["keys"]
    assert found.state is FindingState.WARNING
    assert "validator.json can be read by other users" in found.text


def test_a_log_is_read_through_in_a_copy(home: NodeHome) -> None:
    fill_log(home)
    before = list_files(home)
    found = examine(home)["wal"]
    assert found.state is FindingState.OK
    assert "1 segment" in found.text
    assert found.text.endswith("5 records, all read back")
    assert list_files(home) == before


def test_a_torn_end_is_not_mended_by_looking_at_it(home: NodeHome) -> None:
    segment = fill_log(home)
    with segment.open("ab") as file:
        file.write(b"qrec half a rec")
    before = list_files(home)
    assert examine(home)["wal"].state is FindingState.OK
    assert list_files(home) == before


def test_a_damaged_log_is_told_with_the_path_of_the_original(home: NodeHome) -> None:
    segment = fill_log(home)
    data = bytearray(segment.read_bytes())
    data[data.index(b"record 1")] ^= 1
    segment.write_bytes(data)
    found = examine(home)["wal"]
    assert found.state is FindingState.FAILED
    assert str(segment) in found.text
    assert "quorate-doctor" not in found.text


def test_the_log_of_a_running_node_is_only_measured(home: NodeHome) -> None:
    fill_log(home)
    with HomeLock(home.root):
        found = examine(home)["wal"]
    assert found.state is FindingState.OK
    assert "records" not in found.text


def test_a_data_folder_that_cannot_be_written_is_named(
    home: NodeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_log(home)
    # Tests may run as root, for whom every folder can be written.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != home.wal_folder)
    found = examine(home)["data"]
    assert (found.state, found.text.split()[0]) == (FindingState.FAILED, "data/wal")


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    ("free", "state"),
    [(FREE_BYTES_MIN, FindingState.OK), (FREE_BYTES_MIN - 1, FindingState.WARNING)],
)
def test_a_disk_that_is_nearly_full_is_a_warning(
    home: NodeHome, monkeypatch: pytest.MonkeyPatch, free: int, state: FindingState
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 * FREE_BYTES_MIN, 0, free))
    assert examine(home)["disk"].state is state


def test_the_holder_of_a_home_is_found_without_taking_its_lock(home: NodeHome) -> None:
    assert find_holder(home) is None
    assert not (home.root / "lock").exists()
    with HomeLock(home.root):
        assert find_holder(home) == str(os.getpid())
    assert find_holder(home) is None
    with HomeLock(home.root):
        pass


def test_a_paused_process_is_told_from_one_that_runs() -> None:
    assert not is_paused(str(os.getpid()))
    assert not is_paused("unknown")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        os.kill(child.pid, signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert is_paused(str(child.pid))
        child.kill()
    assert not is_paused(str(child.pid))


def test_the_end_of_the_log_is_read_as_people_write_it(home: NodeHome) -> None:
    assert read_log_tail(home, 3) == []
    line = {"time": "2026-01-02T03:04:05.678+00:00", "level": "error", "message": "alarm fork"}
    home.log_file.write_text(f"first\nTraceback\n[1]\n{json.dumps(line)}\n", encoding="utf-8")
    assert read_log_tail(home, 3) == ["Traceback", "[1]", "03:04:05 error    alarm fork"]
