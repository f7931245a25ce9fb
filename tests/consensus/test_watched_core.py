"""A watched core does what any core does, and is seen doing it."""

from __future__ import annotations

from consensus.events import MessageReceived, PeerConnected, WorkChanged
from consensus.messages import Status
from consensus.recovery import Recovered
from consensus.watch import Heard, Watch
from consensus.watched_core import WatchedCore
from tests.helpers.consensus import (
    GENESIS,
    Bench,
    make_parameters,
    make_public_key,
    make_signer,
    make_validators,
    verify,
)


def test_every_step_is_seen_and_answered_as_by_a_core() -> None:
    plain, watch = Bench(), Watch()
    core = WatchedCore(
        make_parameters(),
        make_validators(),
        0,
        make_signer(0),
        Recovered(GENESIS, None),
        verify,
        watch=watch,
    )
    assert core.start(plain.clock) == plain.started
    for event in (
        PeerConnected(2),
        MessageReceived(2, Status(0, 1, 4, 1)),
        WorkChanged(True),
    ):
        assert plain.step(event, after_ms=5) == core.step(event, plain.clock)
    memory = watch.peers[make_public_key(2)]
    assert watch.started_ms == 1_000
    assert memory.connected_ms == 1_005
    assert memory.heard == Heard("STATUS", 1, 1_010)
    assert watch.waiting_since_ms == 1_015
    assert watch.signs_above_view is None


def test_where_a_probation_ends_is_seen() -> None:
    bench, watch = Bench(), Watch()
    core = WatchedCore(
        make_parameters(),
        make_validators(),
        0,
        make_signer(0),
        Recovered(GENESIS, None, records_lost=True),
        verify,
        watch=watch,
    )
    core.start(bench.clock)
    assert watch.signs_above_view is None
    for peer in (1, 2, 3):
        core.step(MessageReceived(peer, Status(0, 1, 0, 1)), bench.clock)
    assert watch.signs_above_view == core.probation.signs_above_view == 2
