"""Validators that lost everything, among others: never a double vote, and soon back.

The network checks every vote that leaves against all that left before, over all lives of a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import pytest

from consensus.recovery import Recovered
from primitives.certificates import Certificate
from primitives.header import BlockHeader
from tests.helpers import consensus_network
from tests.helpers.consensus import make_parameters
from tests.helpers.consensus_network import Disk, Faults, Network, Node

STANDSTILL_MS = 60_000


def lose_disk(node: Node) -> None:
    node.crash()
    node.disk = Disk()


def restart_observing(node: Node, *, observing: bool = True) -> None:
    def recover(
        header: BlockHeader, certificate: Certificate | None, records: Sequence[bytes]
    ) -> Recovered:
        return Recovered(header, certificate, records, records_lost=observing)

    with patch.object(consensus_network, "Recovered", recover):
        node.start()
    node.schedule_tick()


def is_voting(node: Node) -> bool:
    return node.core is not None and node.core.state.safety.vote_count > 0


def is_on_probation(node: Node) -> bool:
    return node.core is not None and node.core.state.is_on_probation


def run_busy(network: Network, duration_ms: int, first: int) -> None:
    """Let time pass with a new transaction every now and then."""
    for number in range(duration_ms // 200):
        network.submit(first + number)
        network.run(200)


def make_network(seed: int, validators: int = 4) -> Network:
    network = Network(seed, validators, faults=Faults(loss=50, duplication=50))
    return network.start()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("validators", [4, 7])
def test_whoever_lost_its_disk_votes_again_and_never_twice(seed: int, validators: int) -> None:
    network = make_network(seed, validators)
    for round_number in range(2):
        run_busy(network, 1_000 + 370 * seed, 10_000 * round_number)
        patient = network.nodes[(seed + round_number) % validators]
        lose_disk(patient)
        network.run(300 * (seed % 4))
        restart_observing(patient)
        assert network.run_until(lambda node=patient: not is_on_probation(node), 60_000)  # type: ignore[misc]
        network.submit(10_000 * round_number + 9_999)
        assert network.run_until(lambda node=patient: is_voting(node), 60_000)  # type: ignore[misc]
    assert [node.evidence for node in network.nodes] == [[]] * validators


def test_without_observing_it_would_vote_twice() -> None:
    """The tests above can fail."""
    found = 0
    for seed in range(4):
        network = make_network(seed)
        run_busy(network, 1_000 + 370 * seed, 0)
        patient = network.nodes[seed % 4]
        lose_disk(patient)
        try:
            restart_observing(patient, observing=False)
            run_busy(network, 3_000, 10_000)
        except AssertionError:
            found += 1
    assert found


@pytest.mark.parametrize("seed", range(2))
def test_with_another_one_down_the_network_stands_still_until_that_is_back(seed: int) -> None:
    network = make_network(seed)
    run_busy(network, 2_000, 0)
    dead, patient = network.nodes[0], network.nodes[1]
    dead.crash()
    run_busy(network, 1_000, 1_000)
    lose_disk(patient)
    restart_observing(patient)
    network.submit(5_000)
    network.run(5_000)
    before = max(network.heights())
    network.run(STANDSTILL_MS)
    assert max(network.heights()) == before
    assert is_on_probation(patient)
    dead.start()
    dead.schedule_tick()
    assert network.run_until(lambda: not is_on_probation(patient), 60_000)
    assert network.run_until(lambda: min(network.heights()) > before, 60_000)


@pytest.mark.parametrize("seed", range(2))
def test_two_at_once_stand_still_and_nothing_final_changes(seed: int) -> None:
    network = make_network(seed)
    run_busy(network, 2_000 + 170 * seed, 0)
    patients = network.nodes[:2]
    kept = [list(node.disk.blocks) for node in network.nodes[2:]]
    for node in patients:
        lose_disk(node)
    for node in patients:
        restart_observing(node)
    network.submit(5_000)
    network.run(STANDSTILL_MS)
    assert all(is_on_probation(node) for node in patients)
    for node, blocks in zip(network.nodes[2:], kept, strict=True):
        assert node.disk.blocks[: len(blocks)] == blocks


def test_an_idle_network_lets_it_vote_again_after_two_blocks() -> None:
    network = Network(3, parameters=make_parameters(idle_limit_ms=10_000)).start()
    network.run(60_000)
    patient = network.nodes[2]
    lose_disk(patient)
    restart_observing(patient)
    assert network.run_until(lambda: not is_on_probation(patient), 35_000)
