"""Who leads a view, and whose turn need not be waited for.

Leaders rotate with every view. A leader that stayed silent is marked, and its next turn is given
up at once instead of after a timeout. The mark is local and never touches safety: it only moves
the moment at which this validator's timer fires. Source: docs/spec/consensus.md §6.
"""

from __future__ import annotations

__all__ = ["LeaderSchedule"]


class LeaderSchedule:
    """The rotation and the marks of silent leaders.

    Parameters
    ----------
    count : validators, ≥ 1.
    """

    __slots__ = ("_count", "_silent_since")

    def __init__(self, count: int) -> None:
        self._count = count
        # Validator index → view in which it was silent. At most one entry per validator.
        self._silent_since: dict[int, int] = {}

    def leader(self, view: int) -> int:
        """Return the index of the validator that leads a view."""
        return view % self._count

    def mark_silent(self, view: int) -> None:
        """Remember that the leader of a view let it pass without a proposal."""
        self._silent_since[self.leader(view)] = view

    def is_skipped(self, view: int) -> bool:
        """Say whether the view's leader is marked; a mark lapses after one rotation."""
        marked_view = self._silent_since.get(self.leader(view))
        return marked_view is not None and marked_view < view <= marked_view + self._count

    def clear(self, validator: int, view: int) -> None:
        """Take back a mark because its validator has signed something for a view not older."""
        marked_view = self._silent_since.get(validator)
        if marked_view is not None and view >= marked_view:
            del self._silent_since[validator]
