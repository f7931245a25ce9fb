"""Which faults one seed inflicts: a random subset of all kinds, each with random strength (swarm).

A fault is one record, so that a failing run can be run again without some of them. Source of the
idea: Groce et al., "Swarm Testing", ISSTA 2012; the ranges follow TigerBeetle's VOPR.

Faults that a correct validator cannot hide (a Byzantine validator, a lost log, an old backup, a
flipped bit, another state root) strike at most f validators of a run, the *faulty* ones. Everything
else may strike everyone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

__all__ = ["BYZANTINE", "FULL_RUN", "Fault", "Kind", "draw_faults"]

FULL_RUN = 2**40
"""End of a fault that nothing heals."""


class Kind(StrEnum):
    """What goes wrong."""

    LOSS = "messages lost"
    DUPLICATION = "messages duplicated"
    SPIKES = "messages delayed beyond the timeout"
    SLOW = "links slow"
    REORDER = "messages reordered"
    SPLIT = "partition both ways"
    ONE_WAY = "partition one way"
    RING = "partition to a ring"
    BRIDGE = "partition with a bridge"
    FLAPPING = "partition flapping"
    CLOG = "link clogged"
    BANDWIDTH = "bandwidth capped"
    CRASH = "crash"
    CRASH_LOOP = "crash loop"
    POWER_LOSS = "crash of all"
    PAUSE = "pause"
    LATE_START = "started late, with nothing"
    SKEW = "clock skewed"
    CLOCK_JUMP = "clock off by up to an hour"
    CLOCK_BACK = "clock set back"
    CLOCK_FROZEN = "clock frozen"
    DISK_FULL = "disk full"
    SYNC_FAILS = "sync fails"
    EXECUTION_SLOW = "execution slow"
    EXECUTION_FAILS = "execution fails"
    BIT_FLIP = "bit flipped in the log"
    LOG_LOST = "log lost, key kept"
    DISK_LOST = "disk lost, key kept"
    OLD_BACKUP = "old backup restored"
    DIVERGENCE = "other state root"
    EQUIVOCATION = "equivocating proposals"
    WITHHELD_PROPOSAL = "proposals withheld"
    LATE_PROPOSAL = "proposals late"
    BAD_PROPOSAL = "bad proposals"
    DOUBLE_VOTE = "double votes"
    COMMIT_AND_VIEW_CHANGE = "COMMIT with VIEW-CHANGE"
    WITHHELD_VOTES = "votes withheld"
    FUTURE_FLOOD = "flood of votes for future views"
    GARBAGE = "garbage"
    REPLAY = "old messages replayed"
    WRONG_ROOT = "COMMIT with a wrong root"
    HEIGHT_LIES = "lies about heights"
    BAD_BLOCKS = "bad blocks in block sync"
    FORGED_CERTIFICATE = "forged certificates"
    IMPERSONATION = "votes in another's name"
    SEATLESS_VOTE = "votes without a seat in the epoch"


BYZANTINE = frozenset(
    {
        Kind.EQUIVOCATION,
        Kind.WITHHELD_PROPOSAL,
        Kind.LATE_PROPOSAL,
        Kind.BAD_PROPOSAL,
        Kind.DOUBLE_VOTE,
        Kind.COMMIT_AND_VIEW_CHANGE,
        Kind.WITHHELD_VOTES,
        Kind.FUTURE_FLOOD,
        Kind.GARBAGE,
        Kind.REPLAY,
        Kind.WRONG_ROOT,
        Kind.HEIGHT_LIES,
        Kind.BAD_BLOCKS,
        Kind.FORGED_CERTIFICATE,
        Kind.IMPERSONATION,
        Kind.SEATLESS_VOTE,
    }
)
"""What only a Byzantine validator does."""

SPELLS = 3

_DISK_LOSSES = (Kind.BIT_FLIP, Kind.LOG_LOST, Kind.DISK_LOST, Kind.OLD_BACKUP)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Parameters
    ----------
    kind : what.
    start_ms, end_ms : when; what it is depends on the kind (a crash ends with the restart).
    nodes, others : whom it strikes; a one-way cut is from `nodes` to `others`.
    amount : how much, in thousandths, milliseconds, bytes or effects.
    """

    kind: Kind
    start_ms: int
    end_ms: int
    nodes: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    amount: int = 0

    def __str__(self) -> str:
        end = "" if self.end_ms >= FULL_RUN else str(self.end_ms)
        text = f"{self.kind.value}, {self.start_ms}-{end} ms"
        if self.nodes:
            text += f", nodes {list(self.nodes)}"
        if self.others:
            text += f" to {list(self.others)}"
        return text + (f", {self.amount}" if self.amount else "")


class _Draft:
    """Faults of one run while they are drawn."""

    def __init__(self, random: Random, nodes: int, duration_ms: int, longest_ms: int) -> None:
        self.random = random
        self.nodes = nodes
        self.duration_ms = duration_ms
        self.longest_ms = longest_ms
        self.faults: list[Fault] = []

    @property
    def is_short(self) -> bool:
        """Whether the longest fault may take the whole run."""
        return self.duration_ms == self.longest_ms

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def add(
        self,
        kind: Kind,
        nodes: tuple[int, ...] = (),
        others: tuple[int, ...] = (),
        amount: int = 0,
        length_ms: int | None = None,
    ) -> None:
        """Add a fault at a random time."""
        start_ms = self.random.randrange(self.duration_ms)
        if length_ms is None:
            length_ms = self.random.choice((200, 2_000, 10_000, self.longest_ms))
        self.faults.append(Fault(kind, start_ms, start_ms + length_ms, nodes, others, amount))

    def add_throughout(self, kind: Kind, nodes: tuple[int, ...] = (), amount: int = 0) -> None:
        """Add a fault that goes on all the time; in a long run, in spells."""
        if self.is_short or kind is Kind.SKEW:
            self.faults.append(Fault(kind, 0, self.duration_ms, nodes, (), amount))
            return
        for _ in range(SPELLS):
            self.add(kind, nodes, amount=amount)

    def any_node(self) -> tuple[int]:
        return (self.random.randrange(self.nodes),)

    def split(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        side = tuple(index for index in range(self.nodes) if self.chance(0.5))
        return side, tuple(index for index in range(self.nodes) if index not in side)

    def shuffled(self) -> tuple[int, ...]:
        return tuple(self.random.sample(range(self.nodes), self.nodes))


def draw_faults(
    random: Random,
    nodes: int,
    duration_ms: int,
    *,
    often: int,
    faulty: tuple[int, ...],
    newcomers: tuple[int, ...] = (),
) -> list[Fault]:
    """Draw the faults of one run.

    Parameters
    ----------
    random : the only source of chance.
    nodes : how many there are.
    duration_ms : how long faults go on; then everything heals that can.
    often : how many of each kind that strikes more than once, about.
    faulty : those that may be struck by what only a faulty validator does.
    newcomers : those that may start late.
    """
    draft = _Draft(random, nodes, duration_ms, longest_ms=min(duration_ms, 600_000))
    groups: list[Callable[[_Draft, int], None]] = [
        _add_weather,
        _add_partitions,
        _add_crashes,
        _add_clocks,
        _add_disks,
        _add_execution,
    ]
    for group in groups:
        if draft.chance(0.6):
            group(draft, often)
    for node in newcomers:
        if draft.chance(0.5):
            length_ms = draft.random.randint(1, duration_ms)
            draft.faults.append(Fault(Kind.LATE_START, 0, length_ms, (node,)))
    if faulty:
        _add_faulty(draft, faulty)
    draft.faults.sort(key=lambda fault: (fault.start_ms, fault.kind.value, fault.nodes))
    return draft.faults


def _add_weather(draft: _Draft, often: int) -> None:
    """Loss and delay all the time, or in spells."""
    strengths = ((Kind.LOSS, 300), (Kind.DUPLICATION, 500), (Kind.SPIKES, 50), (Kind.REORDER, 500))
    for kind, most in strengths:
        if not draft.chance(0.5):
            continue
        if often > 1 and draft.chance(0.5):
            for _ in range(often):
                draft.add(kind, amount=draft.random.randint(1, most))
        else:
            draft.add_throughout(kind, amount=draft.random.randint(1, most))
    if draft.chance(0.4):
        draft.add_throughout(Kind.SLOW, amount=draft.random.choice((40, 150, 400)))
    if draft.chance(0.3):
        for _ in range(often):
            draft.add(Kind.BANDWIDTH, draft.any_node(), amount=draft.random.choice((1, 10, 100)))


def _add_partitions(draft: _Draft, often: int) -> None:
    for _ in range(draft.random.choice((1, often, 2 * often))):
        kind = draft.random.choice(
            (Kind.SPLIT, Kind.ONE_WAY, Kind.RING, Kind.BRIDGE, Kind.FLAPPING, Kind.CLOG)
        )
        side, rest = draft.split()
        if kind in (Kind.RING, Kind.BRIDGE):
            draft.add(kind, draft.shuffled())
        elif kind is Kind.CLOG:
            draft.add(kind, draft.any_node(), draft.any_node())
        else:
            draft.add(kind, side, rest, amount=draft.random.choice((100, 700, 3_000)))


def _add_crashes(draft: _Draft, often: int) -> None:
    for _ in range(draft.random.choice((1, 2 * often, 4 * often))):
        down_ms = draft.random.choice((0, 50, 1_000, 10_000))
        boundary = draft.random.randrange(60)
        draft.add(Kind.CRASH, draft.any_node(), amount=boundary, length_ms=1_000 + down_ms)
    if draft.chance(0.3):
        draft.add(Kind.CRASH_LOOP, draft.any_node(), amount=draft.random.choice((1, 10, 100)))
    if draft.chance(0.3):
        draft.add(Kind.POWER_LOSS, tuple(range(draft.nodes)), length_ms=500)
    if draft.chance(0.5):
        for _ in range(often):
            draft.add(Kind.PAUSE, draft.any_node())


def _add_clocks(draft: _Draft, often: int) -> None:
    del often
    for node in range(draft.nodes):
        if draft.chance(0.5):
            draft.add_throughout(Kind.SKEW, (node,), draft.random.randint(-240, 240))
    if draft.chance(0.4):
        draft.add(Kind.CLOCK_BACK, draft.any_node(), amount=draft.random.randint(1, 5_000))
    if draft.chance(0.4):
        draft.add(Kind.CLOCK_FROZEN, draft.any_node())
    if draft.chance(0.4):
        # One clock at most: with more than f of them ahead, a block of the future may be prepared.
        draft.add(
            Kind.CLOCK_JUMP,
            draft.any_node(),
            amount=draft.random.choice((-3_600_000, -60_000, 60_000, 3_600_000)),
        )


def _add_disks(draft: _Draft, often: int) -> None:
    for _ in range(often):
        if draft.chance(0.5):
            draft.add(Kind.DISK_FULL, draft.any_node(), amount=draft.random.choice((0, 300, 9_000)))
        if draft.chance(0.5):
            draft.add(Kind.SYNC_FAILS, draft.any_node())


def _add_execution(draft: _Draft, often: int) -> None:
    for _ in range(often):
        if draft.chance(0.5):
            draft.add(Kind.EXECUTION_SLOW, draft.any_node(), amount=draft.random.choice((50, 900)))
        if draft.chance(0.3):
            draft.add(Kind.EXECUTION_FAILS, draft.any_node())
    if draft.chance(0.5):
        draft.add_throughout(Kind.EXECUTION_SLOW, tuple(range(draft.nodes)), amount=50)


def _add_faulty(draft: _Draft, faulty: tuple[int, ...]) -> None:
    """Let each faulty validator be Byzantine, or lose what it must not lose, or diverge."""
    for node in faulty:
        choice = draft.random.random()
        if choice < 0.55:
            kinds = sorted(BYZANTINE)
            chosen = draft.random.sample(kinds, draft.random.choice((1, 2, 4, 8)))
            lasts = draft.chance(0.5)
            for kind in chosen:
                draft.add_throughout(kind, (node,), draft.random.choice((100, 500, 1_000)))
                if lasts and draft.is_short:
                    draft.faults[-1] = replace(draft.faults[-1], end_ms=FULL_RUN)
        elif choice < 0.85:
            kind = draft.random.choice(_DISK_LOSSES)
            draft.add(kind, (node,), amount=draft.random.choice((500, 5_000)))
        else:
            draft.add(Kind.DIVERGENCE, (node,))
