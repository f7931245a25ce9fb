"""What a validator does that has lost its records: watch until it cannot contradict itself.

It may have signed for any view up to the one it had reached, which was hardly ahead of what others
report now. So it signs nothing until a block is final that lies `VIEW_WINDOW` views above what
f + 1 others report. Source: docs/spec/consensus.md §7.
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
        # Validator index → the view it first reported. At most n entries.
        self._reports: dict[int, int] = {}
        self._signs_above: int | None = None
        state.is_on_probation = records_lost and state.validators.count > 1
        state.update_signing()

    def note(self, peer: int, view: int) -> None:
        """Take the view that a peer is in."""
        state = self._state
        if not state.is_on_probation or self._signs_above is not None:
            return
        if peer == state.own_index or not 0 <= peer < state.validators.count:
            return
        self._reports.setdefault(peer, view)
        faults = state.validators.faults_max
        if len(self._reports) >= state.validators.quorum - 1 and len(self._reports) > faults:
            # At least one of the f + 1 highest reports is a correct validator's.
            highest = sorted(self._reports.values(), reverse=True)
            self._signs_above = highest[faults] + VIEW_WINDOW

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
