"""Processes stopped, killed, out of disk, restored from a backup and started twice, under load."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.local_network import ValidatorProcess
from tests.helpers.local_network import get_height, get_json, wait_for, wait_for_height
from tests.processes.cabled_network import CabledNetwork, CabledValidator
from tests.processes.invariants import PATIENCE_S
from tests.processes.loaded_network import LoadedNetwork, run_loaded_network

pytestmark = pytest.mark.timeout(900)

STOPPED_S = 10
SMALL_DISK_MIB = 48
EXIT_PATIENCE_S = 30


@contextmanager
def stopped(loaded: LoadedNetwork[CabledNetwork], index: int) -> Iterator[None]:
    """Stop a node's process as SIGSTOP does: its connections stay open and say nothing."""
    validator = loaded.validators[index]
    loaded.signal(validator, signal.SIGSTOP)
    try:
        yield
    finally:
        loaded.signal(validator, signal.SIGCONT)


def wait_for_age(loaded: LoadedNetwork[CabledNetwork], at: int, seconds: int) -> None:
    """Wait until the chain is some seconds older, by the time in its blocks."""

    def get_time_ms() -> int:
        with_time = get_json(loaded.validators[at].url, "/api/v1/blocks?limit=1")
        return int(with_time["items"][0]["timestamp_ms"])

    begin_ms = get_time_ms()
    wait_for(lambda: get_time_ms() >= begin_ms + 1_000 * seconds, "older blocks", PATIENCE_S)


@pytest.mark.parametrize("who", ["leader", "other"])
def test_stopped_process_is_waited_for_by_nobody(tmp_path: Path, who: str) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        for _ in range(2):
            leader = loaded.get_leader(loaded.validators[0])
            victim = leader if who == "leader" else (leader + 2) % 4
            others = [each for index, each in enumerate(loaded.validators) if index != victim]
            with stopped(loaded, victim):
                loaded.wait_for_progress(others)
                wait_for_age(loaded, (victim + 1) % 4, STOPPED_S)
            loaded.wait_for_progress()


def test_validators_killed_again_and_again_forget_nothing(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        for turn in range(6):
            victim = loaded.validators[turn % 4]
            others = [each for each in loaded.validators if each is not victim]
            victim.kill()
            loaded.wait_for_progress(others, blocks=3)
            # Killed a second time while it starts, at a moment that differs each turn.
            victim.start()
            wait_for_height(others[0], get_height(others[0]) + turn)
            victim.kill()
            loaded.restart([victim])


def test_all_killed_at_once_go_on_where_they_were(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        for _ in range(3):
            loaded.wait_for_work()
            for validator in loaded.validators:
                loaded.signal(validator, signal.SIGKILL)
            for validator in loaded.validators:
                validator.kill()
            loaded.restart(loaded.validators)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Move a folder's contents to a small disk of its own."""
    contents = folder.with_name("moved")
    folder.rename(contents)
    folder.mkdir()
    size = f"size={SMALL_DISK_MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True)
    try:
        shutil.copytree(contents, folder, dirs_exist_ok=True)
        shutil.rmtree(contents)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that a disk has; return what takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def test_full_disk_stops_one_validator_cleanly_and_room_brings_it_back(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        victim, *others = loaded.validators
        victim.stop()
        with small_disk(victim.home.root / "data"):
            loaded.restart([victim])
            loaded.wait_for_progress()
            ballast = fill(victim.home.root / "data")
            wait_for(lambda: not victim.is_running(), "the end of the one without room", PATIENCE_S)
            assert victim.process is not None
            assert victim.process.returncode == 1
            assert "No space left" in victim.home.log_file.read_text()
            loaded.wait_for_progress(others)
            loaded.expected_lines += ["No space left", "consensus stops"]
            ballast.unlink()
            loaded.restart([victim])
            loaded.wait_for_progress()
            loaded.finish()


def test_old_backup_of_the_data_signs_nothing_twice(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        victim, *others = loaded.validators
        victim.stop()
        backup = tmp_path / "backup"
        shutil.copytree(victim.home.root / "data", backup)
        loaded.restart([victim])
        loaded.wait_for_progress(blocks=20)
        victim.kill()
        shutil.rmtree(victim.home.root / "data")
        shutil.copytree(backup, victim.home.root / "data")
        loaded.expected_lines += ["alarm records_lost"]
        loaded.restart([victim])
        assert "alarm records_lost" in victim.home.log_file.read_text()
        loaded.wait_for_progress()
        wait_for(lambda: votes(victim, others[0]), "a vote of the restored validator", PATIENCE_S)


def votes(validator: ValidatorProcess, observer: ValidatorProcess) -> bool:
    """Return whether the newest certificate that somebody else shows holds a validator's vote."""
    index = int(validator.name.removeprefix("validator"))
    block = get_json(observer.url, f"/api/v1/blocks/{get_height(observer)}")
    return index in block["certificate"]["signers"]


def test_second_process_with_one_home_is_refused(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        first = loaded.validators[1]
        assert isinstance(first, CabledValidator)
        before = first.home.log_file.stat().st_size
        second = CabledValidator(first.name, first.home, first.url)
        second.namespace = first.namespace
        second.start()
        try:
            assert second.process is not None
            assert second.process.wait(EXIT_PATIENCE_S) == 1
        finally:
            second.kill()
        assert (
            "two nodes must never share a key" in first.home.log_file.read_bytes()[before:].decode()
        )
        assert first.is_running()
        loaded.wait_for_progress()
