"""What one seed stands for: the network, its pace, its validators and its faults.

Four profiles. *short*: many blocks and many faults in a few seconds. *soak*: hours at the pace of a
quiet network, with a fault now and then. *full*: as short, over the real ledger. *overfaulty*: more
validators are Byzantine than can be tolerated, as twins on both sides of a partition; then forks
are right, and so is evidence of whom they are the fault of.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.simulator.epoch_plan import EpochPlan
from tests.simulator.faults import BYZANTINE, Fault, Kind, draw_faults

__all__ = ["PROFILES", "Scenario", "draw_scenario"]

PROFILES = ("short", "soak", "full", "overfaulty")
_WEIGHTS = (69, 15, 10, 6)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run's circumstances.

    Parameters
    ----------
    profile : one of `PROFILES`.
    validators : of the first epoch.
    nodes : all of them, but twins; those above the validators observe or join later.
    twins : identities of nodes that run twice.
    plan : validators by epoch.
    duration_ms : how long faults go on.
    view_timeout_ms, idle_limit_ms, status_interval_ms : of the core.
    submit_interval_ms : mean time between transactions.
    segment_bytes_max : of the write-ahead log.
    faulty : nodes that may be struck by what only a faulty validator does.
    faults : all of them, in order.
    """

    profile: str
    validators: int
    nodes: int
    twins: tuple[int, ...]
    plan: EpochPlan
    duration_ms: int
    view_timeout_ms: int
    idle_limit_ms: int
    status_interval_ms: int
    submit_interval_ms: int
    segment_bytes_max: int
    faulty: tuple[int, ...]
    faults: tuple[Fault, ...]

    @property
    def byzantine(self) -> frozenset[int]:
        """Nodes of which nothing is demanded."""
        found = {fault.nodes[0] for fault in self.faults if fault.kind in BYZANTINE}
        return frozenset(found | set(self.twins))


def draw_scenario(seed: int, profile: str | None = None, validators: int | None = None) -> Scenario:
    """Draw what a seed stands for; the same seed always stands for the same.

    Parameters
    ----------
    seed : any integer.
    profile, validators : instead of what would be drawn.
    """
    random = Random(f"scenario {seed}")
    drawn = random.choices(PROFILES, _WEIGHTS)[0]
    profile = profile or drawn
    count = random.choice((4, 4, 4, 4, 5, 6, 7, 7, 10, 1, 2, 3))
    if profile != "short":
        count = 7 if count == 7 and profile == "overfaulty" else 4
    count = validators or count
    if profile == "overfaulty":
        return _draw_overfaulty(random, seed, count)
    with_epochs = count >= 4 and random.random() < 0.4
    length = random.randint(5, 20) if with_epochs else None
    others = random.randint(0, 2) if with_epochs else int(random.random() < 0.2)
    nodes = count if profile == "full" else count + others
    tolerated = 1 if with_epochs else (count - 1) // 3
    strikes = random.random() < 0.7
    faulty = tuple(random.sample(range(count), tolerated)) if strikes else ()
    is_soak = profile == "soak"
    hour_ms = 3_600_000
    duration_ms = random.randint(hour_ms, 6 * hour_ms) if is_soak else random.randint(5_000, 40_000)
    faults = draw_faults(
        random,
        nodes,
        duration_ms,
        often=random.choice((2, 6)) if is_soak else 1,
        faulty=faulty,
        newcomers=tuple(range(count, nodes)),
    )
    return Scenario(
        profile=profile,
        validators=count,
        nodes=nodes,
        twins=(),
        plan=EpochPlan(count, nodes, length, f"epochs {seed}"),
        duration_ms=duration_ms,
        view_timeout_ms=random.choice((500, 1_000)) if is_soak else 300,
        idle_limit_ms=random.choice((30_000, 60_000)) if is_soak else 2_000,
        status_interval_ms=20_000 if is_soak else 2_000,
        submit_interval_ms=random.choice((60_000, 300_000)) if is_soak else 400,
        segment_bytes_max=random.choice((500, 5_000, 50_000)),
        faulty=faulty,
        faults=tuple(faults),
    )


def _draw_overfaulty(random: Random, seed: int, count: int) -> Scenario:
    """Draw f + 1 twins, one of each pair on either side of a partition for a few views."""
    tolerated = (count - 1) // 3
    identities = tuple(random.sample(range(count), tolerated + 1))
    others = [node for node in range(count) if node not in identities]
    random.shuffle(others)
    half = len(others) // 2
    second = tuple(range(count, count + len(identities)))
    side = (*identities, *others[:half])
    rest = (*second, *others[half:])
    start_ms = random.randint(0, 3_000)
    length_ms = random.choice((1_000, 3_000, 6_000))
    cut = Fault(Kind.SPLIT, start_ms, start_ms + length_ms, tuple(side), tuple(rest))
    return Scenario(
        profile="overfaulty",
        validators=count,
        nodes=count,
        twins=identities,
        plan=EpochPlan(count, count, None, f"epochs {seed}"),
        duration_ms=start_ms + length_ms + 1_000,
        view_timeout_ms=300,
        idle_limit_ms=2_000,
        status_interval_ms=2_000,
        submit_interval_ms=400,
        segment_bytes_max=5_000,
        faulty=identities,
        faults=(cut,),
    )
