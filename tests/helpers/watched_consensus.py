"""A core under test with somebody who watches it, and the report that comes of it."""

from __future__ import annotations

from consensus.actions import Action
from consensus.events import Event, MessageReceived, PeerConnected
from consensus.messages import Message, Status
from consensus.recovery import Recovered
from consensus.report import ConsensusReport
from consensus.report_builder import build_report
from consensus.watch import Watch
from tests.helpers.consensus import Bench

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta")


class WatchedBench:
    """A bench that tells a watch of every step, as the driver does."""

    def __init__(
        self,
        own_index: int | None = 0,
        count: int = 4,
        recovered: Recovered | None = None,
        *,
        watch: Watch | None = None,
        **changes: int,
    ) -> None:
        self.bench = Bench(own_index, count, recovered, start=True, **changes)
        self.watch = watch or Watch()
        self.watch.note_start(self.bench.started, self.bench.core.state)
        self.names = NAMES[:count]

    def step(self, event: Event, after_ms: int = 0) -> list[Action]:
        actions = self.bench.step(event, after_ms)
        self.watch.note_step(event, actions, self.bench.core.state)
        self.watch.signs_above_view = self.bench.core.probation.signs_above_view
        return actions

    def hear(self, peer: int, message: Message, after_ms: int = 0) -> list[Action]:
        return self.step(MessageReceived(peer, message), after_ms)

    def connect(self, *peers: int) -> None:
        """Let peers connect and say where they are."""
        for peer in peers:
            self.step(PeerConnected(peer))
            self.hear(peer, Status(0, 1, 0, 1))

    def report(self, after_ms: int = 0) -> ConsensusReport:
        state = self.bench.core.state
        return build_report(state, self.watch, self.names, self.bench.now_ms + after_ms)
