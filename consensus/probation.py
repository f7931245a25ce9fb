"""What a validator does that has lost its records: watch until it cannot contradict itself.

Let u0 be the last view in which it may have signed. It had entered u0 by a certificate of view
u0 - 1, so a quorum had signed in that view: besides itself, and f that may lie, at least n - 2f - 1
correct others, and none of those is in a lower view now. Any 2f + 1 others have one of them among
them. So it listens until 2f + 1 others have each reported a view that it has reached by
certificates itself; its own view u is then at least u0 - 1, and it may sign above u + 1. Views that
are merely claimed, without certificates that lead there, count for nothing, so a liar cannot
prolong this. With fewer than 2f + 1 others it cannot be known, and an operator has to decide.

Views go on from epoch to epoch, but the validators change, so the next epoch is another matter: it
may have signed there too. It cannot have if it had heard enough when its view was below that of the
epoch's last block: had it seen that block final, a quorum had committed it and was above that view
already.

Records may also be lost without anybody noticing, when a whole machine is set back to an earlier
state; and the key may be at work elsewhere. Both show when others have a vote of ours, above the
final view, that we do not know. The first time may be a loss; one above what may be signed again
after a loss can only come from another process. Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from consensus.actions import RaiseAlarm
from consensus.messages import Vote
from consensus.state import State
from primitives.certificates import Certificate, VoteKind

__all__ = ["Probation"]


class Probation:
    """Keeps the signer off after a loss of records.

    Parameters
    ----------
    state : shared by the parts of the core.
    records_lost : whether it is known at the start that there is something to wait for. A sole
        validator has no one to watch and contradicts no one, so for it there is not.
    lost_votes_accepted : its operator lets it vote at once, as one of the f that may be faulty.
    """

    def __init__(
        self, state: State, *, records_lost: bool, lost_votes_accepted: bool = False
    ) -> None:
        self._state = state
        # Validators seen in a view that we had reached too. At most n entries.
        self._caught_up_with: set[int] = set()
        self._caught_up_in_view: int | None = None
        self._is_waived = lost_votes_accepted or state.validators.count == 1
        self._records_lost = records_lost and not self._is_waived
        state.is_on_probation = self._records_lost
        state.update_signing()

    @property
    def signs_above_view(self) -> int | None:
        """The view that has to be left behind; None while that is not known, or nothing is lost."""
        return None if self._caught_up_in_view is None else self._caught_up_in_view + 1

    def reaches_beyond(self, final_view: int) -> bool:
        """Say whether a core that follows this one begins on probation as well.

        Parameters
        ----------
        final_view : view of the final block on which it begins: the last one of this epoch, or any
            other if it follows in the same epoch. In that case its floor is what had to be left
            behind.
        """
        caught_up = self._caught_up_in_view
        return self._records_lost and (caught_up is None or caught_up >= final_view)

    def note(self, peer: int, view: int) -> None:
        """Take the view that a peer is in."""
        state = self._state
        if not state.is_on_probation or self._caught_up_in_view is not None:
            return
        is_other = peer != state.own_index and 0 <= peer < state.validators.count
        if is_other and view <= state.view:
            self._caught_up_with.add(peer)
        if len(self._caught_up_with) > 2 * state.validators.faults_max:
            self._caught_up_in_view = state.view

    def on_vote(self, vote: Vote) -> None:
        """Look at a genuine vote that a peer sent: one of our own that we do not know is bad."""
        if vote.validator == self._state.own_index:
            self._meet(vote.kind, vote.view, vote.block_id, vote.state_root)

    def on_certificate(self, certificate: Certificate) -> None:
        """Look at a verified certificate that a peer sent, for a vote of our own in it."""
        if self._state.own_index in certificate.signers:
            self._meet(
                certificate.kind, certificate.view, certificate.block_id, certificate.state_root
            )

    def update(self) -> None:
        """End the probation if it is time."""
        state, above = self._state, self.signs_above_view
        if state.is_on_probation and above is not None and state.view > above:
            state.is_on_probation = False
            # Not even a COMMIT for an older block.
            state.safety.raise_floor(above)
            state.update_signing()

    def _meet(self, kind: VoteKind, view: int, block_id: bytes, state_root: bytes) -> None:
        """Take note that a vote of our own exists."""
        state = self._state
        if self._is_waived or view <= state.safety.floor_view:
            return
        own = state.safety.get_vote(kind, view)
        if own is not None and (own.block_id, own.state_root) == (block_id, state_root):
            return
        if not self._records_lost:
            self._begin(view)
        elif self.signs_above_view is not None and view > self.signs_above_view:
            state.halt(
                "key_used_elsewhere",
                f"this validator key signed a {kind.name} in view {view}, and not here: another"
                " process uses it; stop all of them but one",
            )

    def _begin(self, view: int) -> None:
        state = self._state
        self._records_lost = state.is_on_probation = True
        state.update_signing()
        state.emit(
            RaiseAlarm(
                "own_votes_unknown",
                f"others hold a vote of this validator in view {view} that its records do not"
                " know: they are an old copy, or another process uses the key; nothing is signed"
                " until that is past",
            )
        )
