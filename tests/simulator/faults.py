"""Which faults one seed inflicts: a random subset of all kinds, each with random strength (swarm).

Source of the idea: Groce et al., "Swarm Testing", ISSTA 2012; the ranges follow TigerBeetle's VOPR.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

__all__ = ["Crash", "FaultPlan", "Partition", "make_plan"]

THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Partition:
    """From ``start_ms`` to ``end_ms`` nothing goes from ``sources`` to ``targets``."""

    start_ms: int
    end_ms: int
    sources: frozenset[int]
    targets: frozenset[int]


@dataclass(frozen=True, slots=True)
class Crash:
    """A node dies at its ``boundary``-th effect after ``at_ms``; ``down_ms`` later it is back."""

    node: int
    at_ms: int
    boundary: int
    down_ms: int


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The faults of one run.

    Parameters
    ----------
    duration_ms
        How long faults go on; then everything heals.
    loss, duplication, spikes
        In thousandths of all messages.
    delay_ms, spike_ms
        Least and most one-way delay, usually and in a spike.
    execution_ms
        Least and most time to execute a block.
    skew_ms
        By node, how far its wall clock is off.
    partitions, crashes
        When, and whom.
    equivocator
        A node that, as leader, proposes two different blocks to two halves of the others.
    """

    duration_ms: int
    loss: int
    duplication: int
    spikes: int
    delay_ms: tuple[int, int]
    spike_ms: tuple[int, int]
    execution_ms: tuple[int, int]
    skew_ms: tuple[int, ...]
    partitions: tuple[Partition, ...]
    crashes: tuple[Crash, ...]
    equivocator: int | None


def make_plan(random: Random, nodes: int) -> FaultPlan:
    """Draw the faults of one run for a number of nodes."""

    def maybe(low: int, high: int) -> int:
        return random.randint(low, high) if random.random() < 0.5 else 0

    duration_ms = random.randint(5_000, 40_000)
    slow = random.choice((10, 40, 150))
    faults_max = (nodes - 1) // 3
    return FaultPlan(
        duration_ms=duration_ms,
        loss=maybe(1, 300),
        duplication=maybe(1, 500),
        spikes=maybe(1, 50),
        delay_ms=(1, slow),
        spike_ms=(slow, 20 * slow + 1_000),
        execution_ms=(0, random.choice((2, 50, 400))),
        skew_ms=tuple(maybe(-400, 400) for _ in range(nodes)),
        partitions=tuple(_make_partitions(random, nodes, duration_ms)),
        crashes=tuple(_make_crashes(random, nodes, duration_ms)),
        equivocator=random.randrange(nodes) if faults_max and random.random() < 0.2 else None,
    )


def _make_partitions(random: Random, nodes: int, duration_ms: int) -> list[Partition]:
    partitions = []
    for _ in range(random.choice((0, 0, 1, 3, 6))):
        start_ms = random.randrange(duration_ms)
        end_ms = start_ms + random.choice((200, 2_000, 10_000))
        side = frozenset(index for index in range(nodes) if random.random() < 0.5)
        rest = frozenset(range(nodes)) - side
        partitions.append(Partition(start_ms, end_ms, side, rest))
        if random.random() < 0.6:
            partitions.append(Partition(start_ms, end_ms, rest, side))
    return partitions


def _make_crashes(random: Random, nodes: int, duration_ms: int) -> list[Crash]:
    crashes = [
        Crash(
            node=random.randrange(nodes),
            at_ms=random.randrange(duration_ms),
            boundary=random.randrange(40),
            down_ms=random.choice((0, 50, 1_000, 10_000)),
        )
        for _ in range(random.choice((0, 0, 2, 6, 12)))
    ]
    if random.random() < 0.15:
        at_ms = random.randrange(duration_ms)
        crashes += [Crash(node, at_ms, 0, random.randrange(500)) for node in range(nodes)]
    return crashes
