"""The current view and every wait that belongs to it.

A view's timer runs while work is known, else from the idle limit, so that an idle network makes a
block now and then and not views. Timeouts grow with every view that brought no progress and fall
back when a block becomes final. All times are monotonic milliseconds.
Source: docs/spec/consensus.md §6.
"""

from __future__ import annotations

from consensus.parameters import Parameters

__all__ = ["Pacemaker"]


class Pacemaker:
    """When to propose, to give up, and to send again.

    Parameters
    ----------
    parameters : the waits.
    view : the view to begin in.

    Attributes
    ----------
    view : the current one.
    failures : views without progress since the last final block.
    work_since_ms : since when work has been known in this view; None if none is.
    proposal_seen : the leader has proposed; whoever has is given half a timeout more.
    """

    def __init__(self, parameters: Parameters, view: int) -> None:
        self._parameters = parameters
        self._entered_ms = 0
        self._last_block_ms = 0
        self._retransmit_wait_ms = parameters.retransmit_ms
        self.view = view
        self.failures = 0
        self.work_since_ms: int | None = None
        self.proposal_seen = False
        self.retransmit_at_ms = 0

    @property
    def timeout_ms(self) -> int:
        """The timeout that applies now."""
        return self._parameters.compute_timeout_ms(self.failures)

    @property
    def idle_until_ms(self) -> int:
        """When a view without work begins to count as one with work."""
        return max(self._entered_ms, self._last_block_ms + self._parameters.idle_limit_ms)

    @property
    def running_since_ms(self) -> int:
        """When the view's timer began or will begin to run."""
        idle_until = self.idle_until_ms
        return idle_until if self.work_since_ms is None else min(self.work_since_ms, idle_until)

    @property
    def grace_until_ms(self) -> int:
        """Until when a leader does not propose an empty block.

        In the normal case the last block becomes final meanwhile and the reason lapses.
        """
        return min(self.running_since_ms + self.timeout_ms // 2, self.idle_until_ms)

    def start(self, now_ms: int) -> None:
        """Begin all waits."""
        self._last_block_ms = self._entered_ms = now_ms
        self.retransmit_at_ms = now_ms + self._retransmit_wait_ms

    def enter(self, view: int, now_ms: int) -> None:
        """Begin a view."""
        self.view = view
        self._entered_ms = now_ms
        self.proposal_seen = False
        if self.work_since_ms is not None:
            self.work_since_ms = now_ms
        self._retransmit_wait_ms = self._parameters.retransmit_ms
        self.retransmit_at_ms = now_ms + self._retransmit_wait_ms

    def note_block(self, now_ms: int) -> None:
        """Note that the network has made a block."""
        self._last_block_ms = now_ms

    def note_failure(self) -> None:
        """Note that a view ended without progress."""
        self.failures += 1

    def note_progress(self) -> None:
        """Note that a block became final."""
        self.failures = 0

    def set_work(self, known: bool, now_ms: int) -> None:
        """Note whether there is a reason for this view to end in a block."""
        if not known:
            self.work_since_ms = None
        elif self.work_since_ms is None:
            self.work_since_ms = now_ms
            self._retransmit_wait_ms = self._parameters.retransmit_ms
            self.retransmit_at_ms = min(
                self.retransmit_at_ms, now_ms + self._parameters.retransmit_ms
            )

    def compute_deadline_ms(self, *, leader_skipped: bool) -> int:
        """Return when to give the view up."""
        if leader_skipped and not self.proposal_seen:
            return self.running_since_ms
        timeout = self.timeout_ms
        return self.running_since_ms + (timeout + timeout // 2 if self.proposal_seen else timeout)

    def compute_proposal_ms(self, *, transactions_pending: bool) -> int:
        """Return when the leader of this view is to propose."""
        return self._entered_ms if transactions_pending else self.grace_until_ms

    def note_retransmission(self, now_ms: int) -> None:
        """Begin the wait for the next retransmission, which is longer than the last."""
        if self.work_since_ms is None:
            self.retransmit_at_ms = now_ms + self._parameters.status_interval_ms
            return
        self.retransmit_at_ms = now_ms + self._retransmit_wait_ms
        longer = self._retransmit_wait_ms + self._retransmit_wait_ms // 2
        self._retransmit_wait_ms = min(longer, self._parameters.retransmit_max_ms)
