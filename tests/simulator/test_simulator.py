"""A hundred seeds hold; the same seed runs the same; planted bugs are found."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.safety import SafetyGuard
from primitives.validator_set import ValidatorSet
from tests.simulator.checkers import InvariantBrokenError
from tests.simulator.simulation import Simulation

ROOT = Path(__file__).resolve().parent.parent.parent
SEEDS, SEEDS_PER_TEST = 100, 5
SEEDS_FOR_A_BUG = 40


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_seeds_break_nothing(first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        assert Simulation(seed).run().final_height > 0


@pytest.mark.parametrize("seed", [382, 386])
def test_seeds_that_once_broke_hold(seed: int) -> None:
    """An own proposal was restored without the parent that only others had recorded."""
    assert Simulation(seed).run().final_height > 0


@pytest.mark.parametrize("nodes", [1, 7])
def test_smaller_and_larger_networks_break_nothing(nodes: int) -> None:
    for seed in range(3):
        assert Simulation(seed, nodes).run().final_height > 0


def test_same_seed_runs_the_same_under_any_hash_seed() -> None:
    program = (
        "import json; from tests.simulator.simulation import Simulation;"
        "print(json.dumps([Simulation(seed).run().trace for seed in (1, 2)]))"
    )
    traces = []
    for hash_seed in ("0", "1"):
        finished = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        traces.append(json.loads(finished.stdout))
    assert traces[0] == traces[1]
    assert traces[0][0] != traces[0][1]


def find_break(make: Callable[[int], Simulation]) -> str:
    """Return what the first seed that breaks says; fail if none does."""
    for seed in range(SEEDS_FOR_A_BUG):
        try:
            make(seed).run()
        except InvariantBrokenError as error:
            return str(error)
    pytest.fail(f"none of {SEEDS_FOR_A_BUG} seeds found the planted bug")


def test_vote_that_leaves_before_it_is_on_disk_is_found() -> None:
    found = find_break(lambda seed: Simulation(seed, forgets_to_sync=True))
    assert "left before its record was on disk" in found


def test_quorum_of_too_few_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "quorum", property(lambda self: self.faults_max + 1))
    assert find_break(Simulation)


def test_amnesia_after_a_restart_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SafetyGuard, "restore", lambda self, vote: None)
    monkeypatch.setattr(SafetyGuard, "restore_proposal", lambda self, pre_prepare: None)
    assert find_break(Simulation)


def test_commit_beside_a_view_change_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.safety._OPPOSITES", {})
    assert "COMMIT_AND_VIEW_CHANGE" in find_break(Simulation)
