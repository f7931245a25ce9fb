"""What a validator does that has lost its records: watch until it cannot contradict itself.

It may have signed for any view up to the one it had reached, and the others were then hardly
behind. So it first catches up by certificates with as many validators as surely answer, and then
signs nothing until a block is final that lies `VIEW_WINDOW` views above that point. Views that are
merely claimed, without certificates that lead there, count for nothing, so a liar cannot prolong
it. Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from consensus.parameters import VIEW_WINDOW
from consensus.state import State

__all__ = ["Probation"]


class Probation:
    """Keeps the signer off after a loss of records.

    Parameters
    ----------
    state : shared by the parts of the core.
    records_lost : whether there is anything to do. A sole validator has no one to watch and
        contradicts no one, so for it there is not.
    """

    def __init__(self, state: State, *, records_lost: bool) -> None:
        self._state = state
        # Validators seen in a view that we had reached too. At most n entries.
        self._caught_up_with: set[int] = set()
        self._signs_above: int | None = None
        state.is_on_probation = records_lost and state.validators.count > 1
        state.update_signing()

    def note(self, peer: int, view: int) -> None:
        """Take the view that a peer is in."""
        state = self._state
        if not state.is_on_probation or self._signs_above is not None:
            return
        is_other = peer != state.own_index and 0 <= peer < state.validators.count
        if is_other and view <= state.view:
            self._caught_up_with.add(peer)
        if len(self._caught_up_with) >= state.validators.quorum - 1:
            self._signs_above = state.view + VIEW_WINDOW

    def update(self) -> None:
        """End the probation if it is time."""
        state = self._state
        if (
            state.is_on_probation
            and self._signs_above is not None
            and state.log.final_view > self._signs_above
        ):
            state.is_on_probation = False
            state.update_signing()
