"""The transition system of ``docs/spec/votes.tla``, executed breadth first without the core.

``python -m tests.model_check.vote_rules`` prints how many states it has. The names are those of the
specification; sets of votes and of blocks are integers, one bit per subject and per block.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["VoteRules", "explore"]

GENESIS = 0
NAMES = ("propose", "prepare", "commit", "view_change", "enter_view")

State = tuple[tuple[tuple[int, int], ...], int]
"""(view, votes cast) of each correct validator, and the blocks that correct leaders proposed."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block by its number; the parent is another number, 0 is genesis."""

    view: int
    parent: int


class VoteRules:
    """Constants and actions.

    Parameters
    ----------
    leaders : of views 1, 2, …; validators below `byzantine` are Byzantine.
    byzantine : how many.
    bodies : in how many ways blocks on one parent may differ.
    count : all validators.
    """

    def __init__(
        self, leaders: tuple[int, ...], byzantine: int = 1, bodies: int = 2, count: int = 4
    ) -> None:
        self.leaders = leaders
        self.views = range(1, len(leaders) + 1)
        self.byzantine = byzantine
        self.faults_max = (count - 1) // 3
        self.needed = count - self.faults_max - byzantine
        # Correct validators that lead nothing come last and can be exchanged.
        self.correct = sorted(range(byzantine, count), key=lambda each: each not in leaders)
        self.leading = sum(each in leaders for each in self.correct)
        self.blocks = [Block(0, GENESIS)]
        for view in self.views:
            parents = range(len(self.blocks))
            self.blocks += [Block(view, parent) for parent in parents for _ in range(bodies)]
        self.numbers = range(1, len(self.blocks))
        self.in_view = {
            view: [each for each in self.numbers if self.blocks[each].view == view]
            for view in self.views
        }
        self.commits = {view: self._any_of(self.commit_bit, view) for view in self.views}
        self.prepares = {view: self._any_of(self.prepare_bit, view) for view in self.views}
        self.proposals = {
            view: sum(1 << each for each in self.in_view[view]) for view in self.views
        }

    def prepare_bit(self, block: int) -> int:
        """Return the subject PREPARE of a block."""
        return 1 << 2 * block

    def commit_bit(self, block: int) -> int:
        """Return the subject COMMIT of a block."""
        return 2 << 2 * block

    def give_up_bit(self, view: int) -> int:
        """Return the subject VIEW-CHANGE of a view."""
        return 1 << 2 * len(self.blocks) + view

    def _any_of(self, bit: Callable[[int], int], view: int) -> int:
        return sum(bit(block) for block in self.in_view[view])

    def certified(self, state: State) -> int:
        """Return the subjects that enough correct validators voted for."""
        reached = [-1] + [0] * self.needed
        for _, votes in state[0]:
            for level in range(self.needed, 0, -1):
                reached[level] |= reached[level - 1] & votes
        return reached[self.needed]

    def is_justified(self, block: int, certified: int) -> bool:
        """Say whether the parent is prepared and each view between was given up."""
        parent = self.blocks[block].parent
        gap = range(self.blocks[parent].view + 1, self.blocks[block].view)
        return (parent == GENESIS or bool(certified & self.prepare_bit(parent))) and all(
            certified & self.give_up_bit(view) for view in gap
        )

    def is_ancestor(self, ancestor: int, block: int) -> bool:
        """Say whether a block is another or descends from it."""
        while block not in (ancestor, GENESIS):
            block = self.blocks[block].parent
        return block == ancestor

    def next_states(self, state: State) -> Iterator[tuple[str, State]]:
        """Take every action of every correct validator."""
        cores, proposals = state
        certified = self.certified(state)
        for place, (view, votes) in enumerate(cores):
            if view in self.views and self.leaders[view - 1] == self.correct[place]:
                for block in self._propose(view, proposals, certified):
                    yield "propose", (cores, proposals | 1 << block)
            moves = [
                *(("prepare", view, votes | bit) for bit in self._prepare(view, votes, state)),
                *(("commit", view, votes | bit) for bit in self._commit(view, votes, certified)),
                *(("view_change", view, votes | bit) for bit in self._view_change(view, votes)),
                *(("enter_view", later, votes) for later in self._enter(view, certified)),
            ]
            for name, new_view, new_votes in moves:
                changed = (*cores[:place], (new_view, new_votes), *cores[place + 1 :])
                yield name, (self.normalize(changed), proposals)

    def normalize(self, cores: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        """Order those correct validators that can be exchanged."""
        return (*cores[: self.leading], *sorted(cores[self.leading :]))

    def _propose(self, view: int, proposals: int, certified: int) -> Iterator[int]:
        if not proposals & self.proposals[view]:
            yield from (each for each in self.in_view[view] if self.is_justified(each, certified))

    def _prepare(self, view: int, votes: int, state: State) -> Iterator[int]:
        if view not in self.views or votes & self.prepares[view]:
            return
        certified = self.certified(state)
        is_byzantine = self.leaders[view - 1] < self.byzantine
        for block in self.in_view[view]:
            if (is_byzantine or state[1] >> block & 1) and self.is_justified(block, certified):
                yield self.prepare_bit(block)

    def _commit(self, view: int, votes: int, certified: int) -> Iterator[int]:
        for block in self.numbers:
            own = self.blocks[block].view
            if (
                certified & self.prepare_bit(block)
                and view > own
                and not votes & (self.commits[own] | self.give_up_bit(own))
            ):
                yield self.commit_bit(block)

    def _view_change(self, view: int, votes: int) -> Iterator[int]:
        if view in self.views and not votes & (self.commits[view] | self.give_up_bit(view)):
            yield self.give_up_bit(view)

    def _enter(self, view: int, certified: int) -> Iterator[int]:
        for left in range(view, len(self.leaders) + 1):
            opening = self.give_up_bit(left) | self.prepares[left] | self.commits[left]
            if certified & opening:
                yield left + 1

    def find_violations(self, state: State) -> list[str]:
        """Return the invariants that do not hold, and the accountability of a fork if one is."""
        certified = self.certified(state)
        prepared = [each for each in self.numbers if certified & self.prepare_bit(each)]
        committed = [each for each in self.numbers if certified & self.commit_bit(each)]
        view_of = {each: self.blocks[each].view for each in self.numbers}
        broken = {
            "OnePreparedBlock": len({view_of[each] for each in prepared}) < len(prepared),
            "NeverBothCommittedAndGivenUp": any(
                certified & self.give_up_bit(view_of[each]) for each in committed
            ),
            "PreparedAboveCommitted": any(
                view_of[above] > view_of[below] and not self.is_ancestor(below, above)
                for below in committed
                for above in prepared
            ),
            "Agreement": any(
                not (self.is_ancestor(one, other) or self.is_ancestor(other, one))
                for one in committed
                for other in committed
            ),
        }
        found = [name for name, is_broken in broken.items() if is_broken]
        if self.byzantine > self.faults_max:
            same_view = "OnePreparedBlock" in found or "NeverBothCommittedAndGivenUp" in found
            is_fork_alone = "Agreement" in found and not same_view
            found = ["Accountability"] if is_fork_alone else []
        return found + ["Accountability"] * any(map(self._contradicts_itself, state[0]))

    def _contradicts_itself(self, core: tuple[int, int]) -> bool:
        """Say whether a correct validator would be named in evidence."""
        votes = core[1]
        return any(
            (votes & self.prepares[view]).bit_count() > 1
            or (votes & (self.commits[view] | self.give_up_bit(view))).bit_count() > 1
            for view in self.views
        )


@dataclass(slots=True)
class Explored:
    """What there was: states, transitions, depth, violated invariants, actions that occurred."""

    states: int
    transitions: int
    depth: int
    violations: set[str]
    actions: set[str]
    is_exhausted: bool


def explore(rules: VoteRules, states_max: int = 10_000_000) -> Explored:
    """Go through all states, breadth first."""
    initial: State = (((1, 0),) * len(rules.correct), 0)
    seen = {initial}
    level = [initial]
    found = Explored(1, 0, 0, set(), set(), True)
    while level:
        following = []
        for state in level:
            for name, successor in rules.next_states(state):
                found.transitions += 1
                if successor not in seen:
                    seen.add(successor)
                    following.append(successor)
                    found.actions.add(name)
                    found.violations.update(rules.find_violations(successor))
            if len(seen) > states_max:
                found.is_exhausted = False
                found.states = len(seen)
                return found
        level = following
        found.depth += bool(level)
    found.states = len(seen)
    return found


def main() -> int:
    """Print the states for a few schedules; return 1 if an invariant does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--bodies", type=int, default=2)
    parser.add_argument("--states", type=int, default=5_000_000, help="stop beyond")
    options = parser.parse_args()
    schedules = [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 2), (1, 2, 3), (0, 1, 2), (0, 0, 0)]
    broken = 0
    for byzantine in (1, 2):
        for leaders in schedules:
            if len(leaders) > options.views or max(leaders) not in (0, *range(byzantine, 4)):
                continue
            since = time.monotonic()
            found = explore(VoteRules(leaders, byzantine, options.bodies), options.states)
            names = "".join("B" if each < byzantine else str(each) for each in leaders)
            broken += len(found.violations)
            print(
                f"{byzantine} Byzantine, leaders {names:<4} {found.states:>9} states"
                f" {found.transitions:>10} transitions, depth {found.depth},"
                f" {time.monotonic() - since:.1f} s,"
                f" {'exhausted' if found.is_exhausted else 'stopped'},"
                f" violated: {sorted(found.violations) or 'nothing'}",
                flush=True,
            )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
