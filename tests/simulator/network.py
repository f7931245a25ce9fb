"""The links between nodes: when a message arrives, if it does.

A healthy link delivers in order after a small delay. Each fault that is active just now takes
something away from that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

from tests.simulator.faults import Fault, Kind

__all__ = ["LINK_KINDS", "Network"]

LINK_KINDS = frozenset(
    {
        Kind.LOSS,
        Kind.DUPLICATION,
        Kind.SPIKES,
        Kind.SLOW,
        Kind.REORDER,
        Kind.SPLIT,
        Kind.ONE_WAY,
        Kind.RING,
        Kind.BRIDGE,
        Kind.FLAPPING,
        Kind.CLOG,
        Kind.BANDWIDTH,
    }
)

DELAY_MS_MAX = 10
SPIKE_MS_MAX = 4_000
REORDER_MS_MAX = 200
BACKLOG_MS_MAX = 5_000

_STRENGTHS = (Kind.LOSS, Kind.DUPLICATION, Kind.SPIKES, Kind.REORDER, Kind.SLOW)

Link = tuple[int, int]


class Network:
    """All links.

    Parameters
    ----------
    random : the only source of chance.
    nodes : how many ends there are.
    counts : of faults that struck.
    """

    def __init__(self, random: Random, nodes: int, counts: Counter[str]) -> None:
        self._random = random
        self._nodes = nodes
        self._counts = counts
        self._active: list[Fault] = []
        self._strengths: dict[Kind, int] = dict.fromkeys(_STRENGTHS, 0)
        self._cut: dict[Link, Kind] = {}
        self._flapping: list[tuple[Fault, frozenset[Link]]] = []
        self._clogged_until: dict[Link, int] = {}
        self._bytes_per_ms: dict[int, int] = {}
        self._free_at_ms: dict[int, int] = {}
        self._last_arrival_ms: dict[Link, int] = {}

    def begin(self, fault: Fault) -> None:
        """Let a fault of the links begin."""
        self._active.append(fault)
        self._refresh()

    def end(self, fault: Fault) -> None:
        """Let it end."""
        if fault in self._active:
            self._active.remove(fault)
            self._refresh()

    def heal(self) -> None:
        """End all faults."""
        self._active.clear()
        self._refresh()

    def route(self, source: int, target: int, size: int, now_ms: int) -> tuple[int, ...]:
        """Return when the copies of a message arrive; none if it is lost."""
        link = (source, target)
        if not self._active:
            return (self._keep_order(link, now_ms + self._draw(DELAY_MS_MAX)),)
        if self._is_lost(link, now_ms):
            return ()
        arrival_ms = now_ms + self._draw(max(DELAY_MS_MAX, self._strengths[Kind.SLOW]))
        if self._strikes(Kind.SPIKES):
            arrival_ms += self._draw(SPIKE_MS_MAX)
        arrival_ms = max(arrival_ms, self._clogged_until.get(link, 0))
        rate = self._bytes_per_ms.get(source)
        if rate is not None:
            free_ms = max(self._free_at_ms.get(source, 0), now_ms) + size // rate
            if free_ms > now_ms + BACKLOG_MS_MAX:
                self._counts[Kind.BANDWIDTH.value] += 1
                return ()
            self._free_at_ms[source] = free_ms
            arrival_ms = max(arrival_ms, free_ms)
        if self._strikes(Kind.REORDER):
            arrival_ms += self._draw(REORDER_MS_MAX)
        else:
            arrival_ms = self._keep_order(link, arrival_ms)
        if self._strikes(Kind.DUPLICATION):
            return (arrival_ms, arrival_ms + self._draw(REORDER_MS_MAX))
        return (arrival_ms,)

    def _draw(self, most: int) -> int:
        return 1 + int(self._random.random() * most)

    def _strikes(self, kind: Kind) -> bool:
        strength = self._strengths[kind]
        if strength and self._random.random() * 1000 < strength:
            self._counts[kind.value] += 1
            return True
        return False

    def _keep_order(self, link: Link, arrival_ms: int) -> int:
        arrival_ms = max(arrival_ms, self._last_arrival_ms.get(link, 0))
        self._last_arrival_ms[link] = arrival_ms
        return arrival_ms

    def _is_lost(self, link: Link, now_ms: int) -> bool:
        kind = self._cut.get(link)
        if kind is not None:
            self._counts[kind.value] += 1
            return True
        for fault, links in self._flapping:
            if link in links and now_ms // max(fault.amount, 1) % 2:
                self._counts[fault.kind.value] += 1
                return True
        return self._strikes(Kind.LOSS)

    def _refresh(self) -> None:
        """Compute what the active faults come to together."""
        self._strengths = dict.fromkeys(_STRENGTHS, 0)
        self._cut.clear()
        self._flapping.clear()
        self._clogged_until.clear()
        self._bytes_per_ms.clear()
        for fault in self._active:
            if fault.kind in self._strengths:
                self._strengths[fault.kind] = max(self._strengths[fault.kind], fault.amount)
            elif fault.kind is Kind.BANDWIDTH:
                self._bytes_per_ms.update(dict.fromkeys(fault.nodes, fault.amount))
            elif fault.kind is Kind.CLOG:
                self._clogged_until.update(dict.fromkeys(_cross(fault), fault.end_ms))
            elif fault.kind is Kind.FLAPPING:
                self._flapping.append((fault, frozenset(_both_ways(fault))))
            else:
                self._cut.update(dict.fromkeys(self._cut_links(fault), fault.kind))

    def _cut_links(self, fault: Fault) -> Iterator[Link]:
        if fault.kind is Kind.ONE_WAY:
            yield from _cross(fault)
        elif fault.kind is Kind.SPLIT:
            yield from _both_ways(fault)
        else:
            yield from self._cut_shape(fault)

    def _cut_shape(self, fault: Fault) -> Iterator[Link]:
        """Cut all but a ring, or all between two halves but what goes through one node."""
        order = fault.nodes
        count = len(order)
        for first in range(count):
            for second in range(count):
                if first == second:
                    continue
                if fault.kind is Kind.RING:
                    whole = abs(first - second) in (1, count - 1)
                else:
                    middle = count // 2
                    whole = middle in (first, second) or (first < middle) == (second < middle)
                if not whole:
                    yield order[first], order[second]


def _cross(fault: Fault) -> Iterator[Link]:
    return ((source, target) for source in fault.nodes for target in fault.others)


def _both_ways(fault: Fault) -> Iterator[Link]:
    for source, target in _cross(fault):
        yield source, target
        yield target, source
