"""Cables cut in every shape while clients work: what must stand still does, the rest goes on."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from tests.helpers.local_network import wait_for
from tests.processes.loaded_network import get_stillness_ms, run_loaded_network

pytestmark = pytest.mark.timeout(900)


STANDSTILL_MS = 8_000
"""Ten times as long as a view lasts; clients have work for every block."""


def test_one_validator_cut_off_loses_nothing_and_comes_back(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        for index in (0, 2):
            others = [number for number in range(4) if number != index]
            loaded.network.split([index], others)
            loaded.wait_for_progress([loaded.validators[number] for number in others])
            loaded.network.heal()
            loaded.wait_for_progress()


def test_nothing_becomes_final_without_a_quorum(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        loaded.network.split([0, 1], [2, 3])
        wait_for(lambda: get_stillness_ms(loaded.validators) >= STANDSTILL_MS, "a standstill", 180)
        loaded.network.heal()
        loaded.wait_for_progress()


def test_one_way_cuts_stop_nobody_for_good(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        for cuts in ([(0, 1), (0, 2), (0, 3)], [(1, 0), (2, 0), (3, 0)]):
            loaded.network.cut(cuts)
            loaded.wait_for_progress(loaded.validators[1:])
            loaded.network.heal()
            loaded.wait_for_progress()


def test_ring_of_seven_heals(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net", validators=7) as loaded:
        steps = product(range(7), (2, 3, 4, 5))
        far = [(index, (index + step) % 7) for index, step in steps]
        loaded.network.cut(far)
        # Nobody hears a quorum of five, and whatever was final before is all there is.
        wait_for(lambda: get_stillness_ms(loaded.validators) >= STANDSTILL_MS, "a standstill", 180)
        loaded.network.heal()
        loaded.wait_for_progress()


def test_flapping_cable_harms_nobody_else(tmp_path: Path) -> None:
    with run_loaded_network(tmp_path / "net") as loaded:
        for _ in range(8):
            loaded.network.hub.unplug(3)
            loaded.wait_for_progress(loaded.validators[:3], blocks=2)
            loaded.network.hub.plug(3)
            loaded.wait_for_progress(loaded.validators[:3], blocks=2)
        loaded.wait_for_progress()
