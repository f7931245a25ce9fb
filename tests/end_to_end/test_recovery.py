"""A validator that is killed at any effect goes on as if nothing had been."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
