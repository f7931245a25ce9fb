"""Entering views and giving them up.

Source: docs/spec/consensus.md §6.
"""

from __future__ import annotations

from consensus.actions import DiscardBlocks
from consensus.blocks import UNPREPARED_VIEWS_MAX
from consensus.state import State
from consensus.tally import Tally
from primitives.certificates import Certificate, VoteKind

__all__ = ["Views"]


class Views:
    """Moves from view to view.

    Parameters
    ----------
    state, tally : parts of the core.
    """

    def __init__(self, state: State, tally: Tally) -> None:
        self._state = state
        self._tally = tally

    def enter(self) -> bool:
        """Enter the view above the highest certified one; say whether that is news."""
        state = self._state
        left, certified = state.view, state.log.highest_certified_view
        if certified < left:
            return False
        record = state.log.record(certified)
        if record.block_certificate is not None:
            state.pacemaker.note_block(state.now_ms)
            if self._is_saturated():
                state.pacemaker.note_failure()
        else:
            state.pacemaker.note_failure()
            if certified == left and not self._was_leader_heard(left):
                state.leaders.mark_silent(left)
        state.pacemaker.enter(certified + 1, state.now_ms)
        state.log.forget_votes(certified + 1)
        dropped = state.tree.drop_unprepared(certified + 1 - UNPREPARED_VIEWS_MAX)
        if dropped:
            state.emit(DiscardBlocks(dropped))
        return True

    def update_work(self) -> None:
        """Find out whether there is a reason for the current view to end in a block."""
        state = self._state
        known = (
            state.transactions_pending
            or state.pacemaker.proposal_seen
            or state.log.highest_prepared_view > state.log.final_view
            or state.log.count_votes(VoteKind.VIEW_CHANGE, state.view) > state.validators.faults_max
        )
        state.pacemaker.set_work(known, state.now_ms)

    def give_up(self) -> bool:
        """Send a VIEW-CHANGE if it is time; say whether it was sent."""
        state = self._state
        signed = None
        if self._has_reason():
            signed = state.safety.sign_view_change(state.view, self._entry_certificates())
        if signed is None:
            return False
        self._tally.cast(signed)
        return True

    def compute_deadline_ms(self) -> int | None:
        """Return when the current view is given up; None if it was, or nothing is signed."""
        state = self._state
        given_up = state.safety.get_vote(VoteKind.VIEW_CHANGE, state.view) is not None
        if given_up or not state.safety.is_on:
            return None
        return state.pacemaker.compute_deadline_ms(leader_skipped=self._is_leader_skipped())

    def _has_reason(self) -> bool:
        state = self._state
        deadline_ms = self.compute_deadline_ms()
        if deadline_ms is None:
            return False
        if state.now_ms >= deadline_ms:
            return True
        record = state.log.find(state.view)
        return record is not None and (
            record.refused or state.leader in record.votes[VoteKind.VIEW_CHANGE]
        )

    def _entry_certificates(self) -> tuple[Certificate, ...]:
        record = self._state.log.find(self._state.view - 1)
        return () if record is None else tuple(record.certificates.values())

    def _is_leader_skipped(self) -> bool:
        state = self._state
        return state.leader != state.own_index and state.leaders.is_skipped(state.view)

    def _was_leader_heard(self, view: int) -> bool:
        """Say whether the leader proposed, or had no chance because its turn was skipped."""
        state = self._state
        return state.pacemaker.proposal_seen or state.leaders.is_skipped(view)

    def _is_saturated(self) -> bool:
        """Say whether blocks are made and prepared but do not become final."""
        state = self._state
        return len(state.log.prepared_views) > state.parameters.unfinal_blocks_max
