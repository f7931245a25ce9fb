"""Whole networks under seeded faults: one chain, no double vote, and progress after healing.

The checkers in the test network run all the time; these tests choose the weather.
"""

from __future__ import annotations

from random import Random

import pytest

from consensus.parameters import VIEW_WINDOW
from tests.helpers.consensus_network import Faults, Network


def heal(network: Network) -> None:
    network.faults = Faults()
    for node in network.nodes:
        node.execution_ms = (1, 10)
        if node.core is None and node.identity not in network.byzantine:
            node.start()
            node.schedule_tick()


def demand_progress(network: Network, limit_ms: int = 30_000) -> None:
    """A healed network makes everything final that was ever submitted, everywhere."""
    network.submit(10**6 + network.now_ms)
    submitted = set(network.transactions)

    def is_done() -> bool:
        return (
            all(node.transactions_in(node.disk.blocks) >= submitted for node in network.honest)
            and len(set(network.heights())) == 1
        )

    assert network.run_until(is_done, limit_ms), network.heights()
    for node in network.honest:
        assert node.core is not None
        assert node.core.state.log.record_count <= 3 * VIEW_WINDOW
        assert node.core.state.safety.vote_count <= 3 * VIEW_WINDOW


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 10])
def test_networks_of_any_size_agree(count: int) -> None:
    network = Network(seed=count, validators=count, observers=1).start()
    network.submit(*range(40))
    demand_progress(network)
    assert all(not node.alarms and not node.peer_faults for node in network.nodes)


def test_every_height_has_the_same_root_everywhere() -> None:
    network = Network(seed=11, observers=1).start()
    network.submit(*range(50))
    demand_progress(network)
    roots = {tuple(node.disk.roots) for node in network.nodes}
    assert len(roots) == 1


def test_blocks_become_final_in_three_hops_and_follow_each_other_in_two() -> None:
    network = Network(seed=12, faults=Faults(delay_ms=(100, 100))).start()
    for node in network.nodes:
        node.execution_ms = (0, 0)
    network.submit(*range(1, 60))
    network.run_until(lambda: min(network.heights()) >= 1, 10_000)
    assert network.now_ms <= 300 + 20
    network.run_until(lambda: min(network.heights()) >= 10, 10_000)
    assert network.now_ms <= 300 + 9 * 200 + 100


def test_execution_slower_than_agreement_slows_blocks_down_and_loses_none() -> None:
    network = Network(seed=13).start()
    for node in network.nodes:
        node.execution_ms = (300, 400)
    network.submit(*range(200))
    network.run(3_000)
    for node in network.nodes:
        assert node.core is not None
        tree = node.core.state.tree
        assert tree.count_non_empty(list(tree._entries.values())) <= 2 * 8
    demand_progress(network)


def make_weather(random: Random, network: Network) -> None:
    """Change one thing about the network, or about a node."""
    choice = random.random()
    if choice < 0.35:
        first = len(network.transactions)
        network.submit(*range(first, first + random.randint(1, 20)))
    elif choice < 0.5:
        random.choice(network.nodes).crash()
    elif choice < 0.65:
        for node in network.nodes:
            if node.core is None:
                node.start()
                node.schedule_tick()
    elif choice < 0.75:
        for node in network.nodes:
            node.crash()
        for node in network.nodes:
            node.start()
            node.schedule_tick()
    else:
        side = {node.index for node in network.nodes if random.random() < 0.5}
        one_way = random.random() < 0.5
        network.faults.is_cut = lambda source, target: (
            (source in side and target not in side)
            or (not one_way and source not in side and target in side)
        )


@pytest.mark.parametrize("seed", range(60))
def test_loss_duplication_partitions_crashes_and_skew_break_nothing(seed: int) -> None:
    random = Random(seed)
    network = Network(seed, validators=random.choice([1, 4, 4, 4, 5, 7]), observers=seed % 2)
    least = random.choice([1, 5, 50])
    network.faults = Faults(
        delay_ms=(least, least + random.choice([1, 30, 400])),
        loss=random.choice([0, 50, 300]),
        duplication=random.choice([0, 200]),
    )
    for node in network.nodes:
        node.wall_skew_ms = random.choice([0, -400, 400])
        node.execution_ms = random.choice([(0, 1), (1, 10), (100, 1_500)])
    network.start()
    for _ in range(random.randint(3, 12)):
        make_weather(random, network)
        network.run(random.choice([50, 500, 3_000]))
    heal(network)
    demand_progress(network)
    for node in network.nodes:
        assert not (node.alarms or node.peer_faults or node.evidence)


@pytest.mark.parametrize("seed", range(40))
def test_twins_of_up_to_f_validators_break_nothing_and_only_they_are_named(seed: int) -> None:
    random = Random(seed)
    count = random.choice([4, 4, 7])
    twins = tuple(random.sample(range(count), random.randint(1, (count - 1) // 3)))
    network = Network(seed, validators=count, twins=twins)
    network.faults = Faults(delay_ms=(5, random.choice([6, 40])), loss=random.choice([0, 50]))
    network.start()
    honest = {node.index for node in network.honest}
    for _ in range(random.randint(3, 8)):
        side = {node.index for node in network.nodes if random.random() < 0.5}
        split_all = random.random() < 0.3
        network.faults.is_cut = lambda source, target, side=side, split_all=split_all: (
            (source in side) != (target in side) and (split_all or not {source, target} <= honest)
        )
        first = len(network.transactions)
        network.submit(*range(first, first + random.randint(1, 10)))
        network.run(random.choice([50, 300, 1_500]))
    for node in network.nodes:
        if node.identity in twins:
            node.crash()
    heal(network)
    demand_progress(network)
    for node in network.honest:
        assert not node.alarms
        assert {each.validator for each in node.evidence} <= set(twins)
        assert {each.peer for each in node.peer_faults} <= set(twins)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_gives_the_same_run_twice(seed: int) -> None:
    chains = []
    for _ in range(2):
        network = Network(seed, faults=Faults(loss=100)).start()
        network.submit(*range(30))
        network.run(3_000)
        chains.append((network.now_ms, network.chain, network.heights()))
    assert chains[0] == chains[1]
