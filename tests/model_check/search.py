"""Breadth-first search through what three correct cores can do together, whatever the fourth does.

Messages are a set that only grows: what was sent can arrive at any core at any later time, in any
order, any number of times or never. A Byzantine validator signs everything that it can sign, so a
certificate exists as soon as the correct validators alone fill it up to the Byzantine votes. Giving
up a view needs no reason.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from primitives.certificates import VoteKind
from tests.model_check.local import LocalState, LocalSystem, Reduction
from tests.model_check.replica import Replica
from tests.model_check.universe import GENESIS_NUMBER, VALIDATORS, Universe, iterate_bits

__all__ = ["Result", "Search", "Violation"]

REDUCED = Reduction()
BRANCHES = "two final blocks on different branches"

Contradiction = tuple[str, int, int]
"""What is wrong, and the events that stand for the two certificates."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A property that does not hold.

    Parameters
    ----------
    text : which.
    first, second : events that stand for the certificates that contradict each other.
    paths : what happened to each correct validator.
    """

    text: str
    first: int
    second: int
    paths: tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class Result:
    """What a search came to.

    Parameters
    ----------
    leaders : what was searched.
    states, transitions, depth : of the three cores together.
    local_states : of single cores; core_runs : how often a core was run to find them.
    seconds : it took.
    forks : states with contradicting certificates, where more than f are Byzantine.
    is_exhausted : there is nothing else within the bound.
    violations : of the properties.
    """

    leaders: tuple[int, ...]
    states: int = 0
    transitions: int = 0
    depth: int = 0
    local_states: int = 0
    core_runs: int = 0
    seconds: float = 0.0
    forks: int = 0
    is_exhausted: bool = False
    violations: list[Violation] = field(default_factory=list)


class Search:
    """One search.

    Parameters
    ----------
    leaders : of views 1, 2, …; validators below `byzantine` are the Byzantine ones.
    byzantine : how many.
    states_max : give up beyond.
    violations_max : stop after so many different ones.
    """

    def __init__(
        self,
        leaders: tuple[int, ...],
        *,
        byzantine: int = 1,
        reduction: Reduction = REDUCED,
        states_max: int = 10_000_000,
        violations_max: int = 1,
        deadline_s: float = 1e9,
    ) -> None:
        self.universe = Universe(leaders, byzantine)
        self.reduction = reduction
        self.states_max = states_max
        self.violations_max = violations_max
        self.deadline_s = deadline_s
        self.correct = range(byzantine, 4)
        # Correct validators that lead no view can be exchanged, so one system serves them all.
        followers = [each for each in self.correct if each not in leaders]
        systems = {
            each: LocalSystem(self.universe, each, reduction)
            for each in self.correct
            if each in leaders or each == followers[0]
        }
        self.first_follower = len(self.correct) - len(followers)
        self.order = [each for each in self.correct if each in leaders] + followers
        self.systems = [systems[each if each in leaders else followers[0]] for each in self.order]
        # Correct votes that a certificate needs besides those of the Byzantine.
        self.needed = VALIDATORS.quorum - byzantine
        self._checked: dict[tuple[int, frozenset[int]], Contradiction | None] = {}
        self._reported: set[Contradiction] = set()

    def run(self) -> Result:
        """Search until there is nothing new."""
        result = Result(self.universe.leaders)
        started = time.monotonic()
        initial = tuple(system.initial for system in self.systems)
        seen = {self._key(initial)}
        level = [initial]
        while level:
            following: list[tuple[LocalState, ...]] = []
            for state in level:
                for successor in self._expand(state):
                    result.transitions += 1
                    key = self._key(successor)
                    if key not in seen:
                        seen.add(key)
                        following.append(successor)
                        self._check(successor, result)
                if (
                    len(result.violations) >= self.violations_max
                    or len(seen) > self.states_max
                    or time.monotonic() - started > self.deadline_s
                ):
                    return self._finish(result, len(seen), started)
            level = following
            result.depth += bool(level)
        result.is_exhausted = True
        return self._finish(result, len(seen), started)

    def _finish(self, result: Result, states: int, started: float) -> Result:
        systems = {id(system): system for system in self.systems}.values()
        result.states = states
        result.local_states = sum(len(system.states) for system in systems)
        result.core_runs = sum(system.transitions for system in systems)
        result.seconds = time.monotonic() - started
        return result

    def _key(self, state: tuple[LocalState, ...]) -> int:
        leading = state[: self.first_follower]
        following = sorted(each.number for each in state[self.first_follower :])
        key = 0
        for number in [*(each.number for each in leading), *following]:
            key = key << 24 | number
        return key

    @property
    def certified_sets(self) -> set[int]:
        """What certificates could exist side by side in the states that were seen."""
        return {certified for certified, _ in self._checked}

    def certified(self, state: tuple[LocalState, ...]) -> int:
        """Return the subjects for which a certificate can exist."""
        if self.needed == 1:
            certified = 0
            for each in state:
                certified |= each.sent
        else:
            first, second, third = (each.sent for each in state)
            certified = first & second | first & third | second & third
        return certified & self.universe.subjects_mask

    def _expand(self, state: tuple[LocalState, ...]) -> Iterator[tuple[LocalState, ...]]:
        universe = self.universe
        shown = taken = 0
        for each in state:
            shown |= each.sent & ~universe.subjects_mask
            taken |= each.taken
        available = self.certified(state) | shown | universe.always
        for rival, first in universe.rivals.items():
            # Two blocks that differ in the body alone can be exchanged: the first is used first.
            if not taken >> universe.position_of_block(first) & 1:
                available &= ~(1 << universe.position_of_block(rival))
        for place, (system, local) in enumerate(zip(self.systems, state, strict=True)):
            events = available & local.candidates
            if self.reduction.is_on and local.leaving & events:
                preparable = system.list_preparable(local)
                if preparable & available:
                    events &= ~local.leaving
            for position in iterate_bits(events & local.candidates):
                successor = system.advance(local, position)
                if successor is not local:
                    yield self._settle((*state[:place], successor, *state[place + 1 :]))

    def _settle(self, state: tuple[LocalState, ...]) -> tuple[LocalState, ...]:
        """Let happen at once what only adds knowledge."""
        if not self.reduction.is_on:
            return state
        cores = list(state)
        changed = True
        while changed:
            changed = False
            certified = self.certified(tuple(cores))
            for place, system in enumerate(self.systems):
                local = cores[place]
                for position in iterate_bits(certified & local.eager & local.candidates):
                    local = system.advance(local, position)
                if local is not cores[place]:
                    cores[place] = local
                    changed = True
        return tuple(cores)

    def _check(self, state: tuple[LocalState, ...], result: Result) -> None:
        certified = self.certified(state)
        finals = frozenset([each.final for each in state])
        if (certified, finals) not in self._checked:
            found = self._find_contradiction(certified) or self._find_fork(certified, finals)
            self._checked[certified, finals] = found
        found = self._checked[certified, finals]
        if found is None:
            return
        if self.universe.byzantine > VALIDATORS.faults_max:
            result.forks += 1
            found = self._find_unaccountable(found, state)
        if found is not None and found not in self._reported:
            self._reported.add(found)
            paths = tuple(each.path for each in state)
            result.violations.append(Violation(*found, paths))

    def _find_fork(self, certified: int, finals: frozenset[int]) -> Contradiction | None:
        """Return a block that a core has made final without a certificate of it or a descendant."""
        universe = self.universe
        committed = [
            universe.subjects[position].block
            for position in iterate_bits(certified)
            if universe.subjects[position].kind is VoteKind.COMMIT
        ]
        for final in finals - {GENESIS_NUMBER}:
            if not any(universe.is_ancestor(final, block) for block in committed):
                return f"block {universe.name(final)} is final and not committed", -1, -1
        return None

    def _find_contradiction(self, certified: int) -> Contradiction | None:
        """Return two certificates that contradict each other, those of one view first."""
        universe = self.universe
        branches = None
        positions = list(iterate_bits(certified))
        for place, first in enumerate(positions):
            for second in positions[:place]:
                one, other = universe.subjects[first], universe.subjects[second]
                kinds = {one.kind, other.kind}
                if one.view == other.view:
                    if kinds == {VoteKind.COMMIT, VoteKind.VIEW_CHANGE}:
                        return "a view is committed and given up", second, first
                    if kinds == {VoteKind.PREPARE}:
                        return "two prepared certificates of a view", second, first
                elif kinds == {VoteKind.COMMIT} and not (
                    universe.is_ancestor(one.block, other.block)
                    or universe.is_ancestor(other.block, one.block)
                ):
                    branches = (BRANCHES, second, first)
        return branches

    def _find_unaccountable(
        self, found: Contradiction, state: tuple[LocalState, ...]
    ) -> Contradiction | None:
        """Show both certificates to a correct core; return what it does not name the culprits of.

        The certificates hold the votes of the Byzantine validators and no more of correct ones
        than they need, so that as few as possible can be named.
        """
        text, first, second = found
        if text == BRANCHES:
            return "two final blocks without two certificates of one view", first, second
        auditor = Replica(self.universe, self.correct[-1])
        for position in (first, second):
            voters = [
                index
                for index, local in zip(self.order, state, strict=True)
                if local.sent >> position & 1
            ]
            signers = (*range(self.universe.byzantine), *sorted(voters)[: self.needed])
            auditor.happen(position, signers)
        named = {each.validator for each in auditor.evidence}
        if named <= set(range(self.universe.byzantine)) and len(named) > VALIDATORS.faults_max:
            return None
        return f"{text}, but evidence names {sorted(named)}", first, second
