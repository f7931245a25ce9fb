"""Validators behind a fault proxy: cut off, clogged and delayed while clients work."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from tests.helpers.local_network import get_height, wait_for, wait_for_height
from tests.processes.loaded_network import get_stillness_ms, run_under_load
from tests.processes.proxied_network import run_proxied_network


@pytest.mark.slow
def test_clients_lose_nothing_to_a_cut_a_clogged_link_and_delay(tmp_path: Path) -> None:
    with run_proxied_network(tmp_path / "net") as network, run_under_load(network) as loaded:
        proxy, others = network.proxy, loaded.validators[1:]

        network.split([0], [1, 2, 3])
        loaded.wait_for_progress(others)
        network.heal()
        loaded.wait_for_progress()

        # Validator 1 takes nothing from validator 2: accepts, never reads.
        passed = proxy.get_passed_bytes(2, 1)
        proxy.cut(2, 1)
        loaded.wait_for_progress()
        network.heal()
        wait_for(lambda: proxy.get_passed_bytes(2, 1) > passed, "a link that is not clogged")

        for pair in permutations(range(4), 2):
            proxy.slow(*pair, delay_s=0.05, jitter_s=0.02)
        loaded.wait_for_progress(blocks=3)


@pytest.mark.slow
def test_two_halves_make_nothing_final(tmp_path: Path) -> None:
    with run_proxied_network(tmp_path / "net", idle_interval_ms=200) as network:
        network.split([0, 1], [2, 3])
        # Whatever is fewer than twenty heartbeats without a block is no standstill.
        wait_for(lambda: get_stillness_ms(network.validators) >= 4_000, "a standstill")
        height = max(get_height(each) for each in network.validators)
        network.heal()
        for validator in network.validators:
            wait_for_height(validator, height + 3)
