"""One correct core as a state machine: its states are numbered, its transitions remembered.

A core is deterministic, so what an event does to it needs to be found out once. A state is reached
again by feeding the events that led there to a new core; two states are the same if the facts in
them are (`tests.model_check.replica.fingerprint`).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from primitives.certificates import VoteKind
from tests.model_check.replica import Replica, fingerprint
from tests.model_check.universe import (
    GENESIS_NUMBER,
    Universe,
    iterate_bits,
)

__all__ = ["LocalState", "LocalSystem", "Reduction"]


@dataclass(slots=True)
class LocalState:
    """A state of one core.

    Parameters
    ----------
    number : within its system.
    path : events that lead here.
    sent : subjects voted for and blocks proposed, as bits.
    taken : blocks that were seen as proposals, as event bits.
    final : number of its last final block.
    candidates : events that may change the state; those found not to are taken out.
    eager : those of them that only add knowledge; a reduced search lets them happen at once.
    leaving : those that end the view.
    successors : by event.
    """

    number: int
    path: tuple[int, ...]
    sent: int
    taken: int
    final: int
    candidates: int
    eager: int
    leaving: int
    successors: dict[int, LocalState]


@dataclass(frozen=True, slots=True)
class Reduction:
    """What a search leaves out because something else that it does allows at least as much.

    Parameters
    ----------
    is_on : knowledge of earlier views comes at once (but to those who lead a later one, since it
        decides what they propose); views are entered one by one; a block is seen when it can be
        prepared; a view is not left as long as a Byzantine block can be prepared in it.
    finality : cores learn commit certificates. They can exist in any case.
    restarts_max : how often a core may die and come back.
    """

    is_on: bool = True
    finality: bool = False
    restarts_max: int = 0


class LocalSystem:
    """The states of a correct validator.

    Parameters
    ----------
    universe : numbers blocks and subjects.
    index : its validator index.
    reduction : what to leave out.
    """

    def __init__(self, universe: Universe, index: int, reduction: Reduction) -> None:
        self.universe = universe
        self.index = index
        self.reduction = reduction
        self.states: list[LocalState] = []
        self.transitions = 0
        self._by_fingerprint: dict[Hashable, LocalState] = {}
        self.initial = self._note(Replica(universe, index), ())

    def advance(self, state: LocalState, position: int) -> LocalState:
        """Return the state after an event; the same if the event changes nothing."""
        found = state.successors.get(position)
        if found is not None:
            return found
        replica = self.replay(state)
        replica.happen(position)
        self.transitions += 1
        if self.reduction.is_on and replica.sent == state.sent and self._is_block(position):
            # A block that waits for its justification: it can as well be seen when that is here.
            state.candidates &= ~(1 << position)
            return state
        found = self._note(replica, (*state.path, position))
        state.successors[position] = found
        if found is state:
            state.candidates &= ~(1 << position)
        return found

    def replay(self, state: LocalState) -> Replica:
        """Return a core in a state."""
        return self.replay_path(state.path)

    def replay_path(self, path: tuple[int, ...]) -> Replica:
        """Return a core to which events have happened."""
        replica = Replica(self.universe, self.index)
        for position in path:
            replica.happen(position)
        return replica

    def list_preparable(self, state: LocalState) -> int:
        """List the Byzantine blocks that a core in this state would prepare, as event bits."""
        blocks = state.candidates & self.universe.always & (self.universe.timeout_mask - 1)
        return sum(
            1 << position
            for position in iterate_bits(blocks)
            if self.advance(state, position) is not state
        )

    def _is_block(self, position: int) -> bool:
        return len(self.universe.subjects) <= position < self.universe.timeout

    def _note(self, replica: Replica, path: tuple[int, ...]) -> LocalState:
        key: Hashable = (fingerprint(replica), replica.sent)
        if replica.restarts < self.reduction.restarts_max:
            # What is on disk matters as long as it may be read again.
            key = (key, replica.restarts, frozenset(replica.records))
        state = self._by_fingerprint.get(key)
        if state is None:
            final = replica.core.state.tree.final.block_id
            certificates = self._list_certificates(replica)
            eager = leaving = 0
            if self.reduction.is_on:
                certificates, eager, leaving = self._sort_out(replica, certificates)
            state = LocalState(
                len(self.states),
                path,
                replica.sent,
                self._list_taken(replica),
                self.universe.numbers.get(final, GENESIS_NUMBER),
                certificates | self._list_others(replica),
                eager,
                leaving,
                {},
            )
            self._by_fingerprint[key] = state
            self.states.append(state)
        return state

    def _sort_out(self, replica: Replica, certificates: int) -> tuple[int, int, int]:
        """Take out what is not needed; return the rest, and what in it is eager and leaving."""
        universe, view = self.universe, replica.core.state.view
        leads_later = self.index in universe.leaders[view - 1 :]
        kept = eager = leaving = 0
        for position in iterate_bits(certificates):
            subject = universe.subjects[position]
            if subject.kind is VoteKind.COMMIT and not self.reduction.finality:
                continue
            if subject.view == view:
                leaving |= 1 << position
            elif subject.view > view:
                continue
            elif subject.kind is not VoteKind.COMMIT and not leads_later:
                eager |= 1 << position
            kept |= 1 << position
        return kept, eager, leaving

    def _list_taken(self, replica: Replica) -> int:
        universe = self.universe
        taken = 0
        for view in range(1, universe.views + 1):
            record = replica.core.state.log.find(view)
            if record is not None and record.proposal is not None:
                number = universe.numbers[record.proposal.header.block_id]
                taken |= 1 << universe.position_of_block(number)
        return taken

    def _list_certificates(self, replica: Replica) -> int:
        """List the certificates that can mean something to a core in this state."""
        universe, state = self.universe, replica.core.state
        # A commit certificate is learnt after the prepared one, and so with its block.
        return sum(
            1 << position
            for position, subject in enumerate(universe.subjects)
            if not state.is_halted
            and (
                subject.kind is not VoteKind.COMMIT
                or state.tree.get_chain(universe.blocks[subject.block].block_id)
            )
        )

    def _list_others(self, replica: Replica) -> int:
        """List the restart, the blocks of the view, and the timeout if the view is in bounds."""
        universe, state = self.universe, replica.core.state
        restart = (replica.restarts < self.reduction.restarts_max) << universe.restart
        if state.is_halted or state.view > universe.views:
            return restart
        return (
            restart
            | universe.timeout_mask
            | sum(
                1 << universe.position_of_block(number)
                for number, block in enumerate(universe.blocks)
                if block.header.view == state.view
            )
        )
