"""A validator that is killed goes on as if nothing had been; one that lost something makes up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node.local_network import LocalNetwork, ValidatorProcess
from tests.helpers.local_network import (
    get_height,
    get_json,
    run_network,
    wait_for,
    wait_for_height,
)

ROOT = Path(__file__).resolve().parent.parent.parent
PROCESSES = 2
EFFECTS_MIN = 150
"""The script has more; a harness that misses effects must not go unnoticed."""


def kill_everywhere(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return what the script comes to, and what became of a kill at each of its effects."""
    running = []
    for number in range(PROCESSES):
        own = folder / str(number)
        own.mkdir()
        command = [sys.executable, "-m", "tests.helpers.crashing_validator", str(own)]
        command += [str(1 + number), str(PROCESSES)]
        running.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
    try:
        outputs = [process.communicate()[0] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * PROCESSES
    lines = [[json.loads(line) for line in output.splitlines()] for output in outputs]
    lives = [life for own in lines for life in own[1:]]
    return lines[0][0], sorted(lives, key=lambda life: life["effect"])


@pytest.mark.slow
def test_a_validator_killed_at_any_effect_loses_nothing_and_contradicts_nothing(
    tmp_path: Path,
) -> None:
    expected, lives = kill_everywhere(tmp_path)
    assert [life["effect"] for life in lives] == list(range(1, len(lives) + 1))
    assert len(lives) >= EFFECTS_MIN
    complaints = []
    for life in lives:
        effect = life["effect"]
        if "error" in life:
            complaints.append(f"effect {effect}: does not start again: {life['error']}")
            continue
        wrong = [*life["contradictions"], *life["broken"], *life["alarms"]]
        wrong += [f"forgot {vote}" for vote in life["forgotten"]]
        if life["history"] not in ("new", "whole") or life["observes"] or life["probation"]:
            wrong.append(f"takes its own log for {life['history']}")
        if (life["height"], life["root"]) != (expected["height"], expected["root"]):
            wrong.append(f"ends at height {life['height']} with another chain")
        complaints += [f"effect {effect}: {each}" for each in wrong]
    assert not complaints, "\n" + "\n".join(complaints)


class Patient:
    """The first validator of a network, to which things happen while it is down."""

    def __init__(self, network: LocalNetwork) -> None:
        self.process: ValidatorProcess = network.validators[0]
        self.other: ValidatorProcess = network.validators[1]
        self.data = self.process.home.root / "data"

    def kill(self) -> None:
        self.process.kill()
        self._said = len(self._log)

    def return_to_voting(self) -> str:
        """Start it and wait until it is in a certificate again; return what it said meanwhile."""
        height = get_height(self.other)
        self.process.start()
        wait_for_height(self.process, height)
        wait_for(lambda: self._is_voting_above(height), "a vote of the validator")
        path = f"/api/v1/blocks/{height}"
        block = wait_for(lambda: get_json(self.process.url, path), f"block {height} here")
        assert block["state_root"] == get_json(self.other.url, path)["state_root"]
        return self._log[self._said :]

    def _is_voting_above(self, height: int) -> bool:
        latest = get_height(self.other)
        block = get_json(self.other.url, f"/api/v1/blocks/{latest}")
        return latest > height and 0 in block["certificate"]["signers"]

    @property
    def _log(self) -> str:
        return self.process.home.log_file.read_text(encoding="utf-8", errors="replace")


@pytest.mark.slow
def test_a_validator_finds_out_what_it_lost_and_comes_back(tmp_path: Path) -> None:
    with run_network(tmp_path / "net", idle_interval_ms=100) as network:
        patient = Patient(network)
        wait_for_height(patient.process, 3)

        patient.kill()
        backup = Path(shutil.copytree(patient.data, tmp_path / "backup"))
        assert "alarm" not in patient.return_to_voting()

        patient.kill()
        shutil.rmtree(patient.data)
        shutil.copytree(backup, patient.data)
        assert "alarm records_lost: the log of what was signed is an old copy" in (
            patient.return_to_voting()
        )

        patient.kill()
        (patient.data / "ledger" / "CURRENT").unlink()
        said = patient.return_to_voting()
        assert "alarm ledger_damaged" in said
        assert "alarm records_lost" not in said

        patient.kill()
        shutil.rmtree(patient.data)
        assert "alarm records_lost: the log of what was signed is gone" in (
            patient.return_to_voting()
        )
