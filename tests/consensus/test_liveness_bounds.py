"""How long the network stands still at most, in simulated time: after an outage, and for a leader.

The figures are those that docs/testing.md promises. Δ is half of ``view_timeout_ms``.
"""

from __future__ import annotations

import pytest

from tests.helpers.consensus import make_parameters
from tests.helpers.consensus_network import Network

HOUR_MS = 3_600_000
TWO_DELTA_MS = 300
FIRST_BLOCK_MS_MAX = 2_000
HOPS_MS_MAX = 100
"""Three hops and the execution of this network's nodes."""


def make_network(seed: int) -> Network:
    parameters = make_parameters(view_timeout_ms=TWO_DELTA_MS, idle_limit_ms=5_000)
    network = Network(seed=seed, parameters=parameters).start()
    network.submit(1)
    network.run(5_000)
    return network


def measure_first_block_ms(network: Network) -> int:
    """Let time pass until a block becomes final; return how long that took."""
    height, start_ms = max(network.heights()), network.now_ms
    assert network.run_until(lambda: max(network.heights()) > height, 60_000)
    return network.now_ms - start_ms


@pytest.mark.parametrize("is_pending", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_quorum_that_returns_after_an_hour_makes_a_block_within_two_seconds(
    seed: int, is_pending: bool
) -> None:
    network = make_network(seed)
    network.faults.is_cut = lambda source, target: (source < 2) != (target < 2)
    if is_pending:
        network.submit(2)
    network.run(HOUR_MS + 337 * seed)
    network.faults.is_cut = lambda source, target: False
    assert measure_first_block_ms(network) <= FIRST_BLOCK_MS_MAX


@pytest.mark.parametrize("returning", range(1, 4))
@pytest.mark.parametrize("lag_ms", [0, 400, 3_000])
def test_so_does_a_quorum_that_is_still_without_one_validator(returning: int, lag_ms: int) -> None:
    network = make_network(returning)
    away = {0}
    network.faults.is_cut = lambda source, target: source in away or target in away
    network.submit(2)
    network.run(lag_ms)
    away.add(returning)
    network.submit(3)
    network.run(HOUR_MS // 6)
    away.discard(returning)
    assert measure_first_block_ms(network) <= FIRST_BLOCK_MS_MAX


@pytest.mark.parametrize("dead", range(4))
def test_dead_leader_costs_two_delta_the_first_time_and_less_later(dead: int) -> None:
    network = make_network(dead)
    network.faults.is_cut = lambda source, target: dead in (source, target)
    waits = []
    for number in range(2, 14):
        network.submit(number)
        waits.append(measure_first_block_ms(network))
    assert max(waits) <= TWO_DELTA_MS + HOPS_MS_MAX
    assert sum(wait > TWO_DELTA_MS for wait in waits) <= len(waits) // 4
