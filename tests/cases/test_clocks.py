"""Wall clocks that jump, stand still or are an hour off stop nobody: waits are monotonic."""

from __future__ import annotations

import pytest

from tests.helpers.consensus_network import Network

HOUR_MS = 3_600_000
WRONG = 2


@pytest.mark.parametrize("skew_ms", [-HOUR_MS, HOUR_MS, -500, 500])
def test_one_clock_that_is_off_stops_nobody(skew_ms: int) -> None:
    network = Network(seed=5)
    network.nodes[WRONG].wall_skew_ms = skew_ms
    network.start()
    for number in range(1, 9):
        network.submit(number)
        network.run(3_000)
    assert min(network.heights()) >= 4


def test_clock_that_jumps_back_and_forth_stops_nobody() -> None:
    network = Network(seed=6).start()
    for number in range(1, 13):
        network.nodes[WRONG].wall_skew_ms = (0, -HOUR_MS, 600, HOUR_MS)[number % 4]
        network.submit(number)
        network.run(3_000)
    assert min(network.heights()) >= 6


def test_clock_that_stands_still_stops_nobody() -> None:
    network = Network(seed=7).start()
    for number in range(1, 9):
        network.nodes[WRONG].wall_skew_ms = -network.now_ms
        network.submit(number)
        network.run(3_000)
    assert min(network.heights()) >= 4
