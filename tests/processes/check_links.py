"""Slow, narrow and clogged links between validators while clients work, behind the fault proxy."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from tests.helpers.local_network import wait_for
from tests.processes.loaded_network import run_under_load
from tests.processes.proxied_network import run_proxied_network

pytestmark = pytest.mark.timeout(900)


def test_the_world_apart_is_slower_and_goes_on(tmp_path: Path) -> None:
    """Messages take 100 ms give or take 50; validators were told to expect 150."""
    with run_proxied_network(tmp_path / "net") as network, run_under_load(network) as loaded:
        for pair in permutations(range(4), 2):
            network.proxy.slow(*pair, delay_s=0.1, jitter_s=0.05)
        loaded.wait_for_progress(blocks=15)
        loaded.wait_for_work()


def test_link_that_takes_nothing_in_either_direction_is_lived_without(tmp_path: Path) -> None:
    with run_proxied_network(tmp_path / "net") as network, run_under_load(network) as loaded:
        for pair in ((0, 1), (1, 0)):
            passed = network.proxy.get_passed_bytes(*pair)
            network.proxy.cut(*pair)
            loaded.wait_for_progress(blocks=15)
            assert network.proxy.get_passed_bytes(*pair) <= passed + 64 * 1024
        network.heal()
        passed = network.proxy.get_passed_bytes(0, 1)
        wait_for(lambda: network.proxy.get_passed_bytes(0, 1) > passed, "a link again")


def test_narrow_link_holds_nobody_else_up(tmp_path: Path) -> None:
    """One validator hears 2 kB a second from each of the others."""
    with run_proxied_network(tmp_path / "net") as network, run_under_load(network) as loaded:
        for sender in (0, 1, 2):
            network.proxy.slow(sender, 3, bytes_per_second=2_000)
        loaded.wait_for_progress(loaded.validators[:3], blocks=15)
