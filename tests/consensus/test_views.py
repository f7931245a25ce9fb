"""When views are given up, and whom nobody waits for."""

from __future__ import annotations

from dataclasses import replace

from consensus.actions import Action, Broadcast, DiscardBlocks, Persist
from consensus.events import (
    BlockExecuted,
    BlockValidated,
    MessageReceived,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.messages import CertificateMessage, PrePrepare, Vote
from consensus.parameters import VIEW_WINDOW
from consensus.records import decode_record
from primitives.certificates import VoteKind
from tests.helpers.consensus import (
    GENESIS,
    Bench,
    certify,
    make_header,
    make_pre_prepare,
    make_vote,
    of_kind,
)
from tests.helpers.consensus_network import Faults, Network

ROOT = b"r" * 32


def view_changes(actions: list[Action]) -> list[int]:
    messages = [each.message for each in of_kind(actions, Broadcast)]
    return [
        message.view
        for message in messages
        if isinstance(message, Vote) and message.kind is VoteKind.VIEW_CHANGE
    ]


def give_up(bench: Bench, view: int) -> list[Action]:
    return bench.step(MessageReceived(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, view))))


def make_proposal(view: int, body: bytes = b"body") -> PrePrepare:
    gap = [certify(VoteKind.VIEW_CHANGE, each) for each in range(1, view)]
    return make_pre_prepare(make_header(GENESIS, view, body), body, None, gap)


def test_a_silent_leader_is_given_up_when_the_timer_fires_and_once() -> None:
    bench = Bench(view_timeout_ms=1_000)
    bench.step(WorkChanged(True))
    assert not view_changes(bench.step(Ticked(), after_ms=999))
    actions = bench.step(Ticked(), after_ms=1)
    assert view_changes(actions) == [1]
    persisted = [decode_record(each.record).vote for each in actions if isinstance(each, Persist)]
    assert persisted == [make_vote(VoteKind.VIEW_CHANGE, 1, validator=0)]
    assert not of_kind(bench.step(Ticked(), after_ms=1), Persist)


def test_the_record_of_a_view_change_holds_the_certificate_of_the_entry() -> None:
    bench = Bench(view_timeout_ms=1_000)
    bench.step(WorkChanged(True))
    give_up(bench, 1)
    actions = bench.step(Ticked(), after_ms=1_600)
    records = [decode_record(each.record) for each in of_kind(actions, Persist)]
    assert records[0].certificates == (certify(VoteKind.VIEW_CHANGE, 1),)


def test_an_idle_validator_does_not_give_up_before_the_idle_limit() -> None:
    bench = Bench(view_timeout_ms=1_000, idle_limit_ms=10_000)
    assert not view_changes(bench.step(Ticked(), after_ms=10_999))
    assert view_changes(bench.step(Ticked(), after_ms=1)) == [1]


def test_view_changes_of_more_than_the_faulty_start_the_timer() -> None:
    bench = Bench(view_timeout_ms=1_000)
    bench.step(MessageReceived(2, make_vote(VoteKind.VIEW_CHANGE, 1, validator=2)))
    assert not view_changes(bench.step(Ticked(), after_ms=2_000))
    bench.step(MessageReceived(3, make_vote(VoteKind.VIEW_CHANGE, 1, validator=3)))
    assert view_changes(bench.step(Ticked(), after_ms=1_000)) == [1]


def test_an_unfinal_prepared_block_starts_the_timer() -> None:
    bench = Bench(view_timeout_ms=1_000)
    proposal = make_proposal(1)
    certificate = certify(VoteKind.PREPARE, 1, proposal.block_id)
    bench.step(MessageReceived(1, CertificateMessage(certificate)))
    assert set(view_changes(bench.step(Ticked(), after_ms=1_000))) == {2}


def test_the_leaders_own_view_change_is_followed_at_once() -> None:
    bench = Bench()
    actions = bench.step(MessageReceived(1, make_vote(VoteKind.VIEW_CHANGE, 1, validator=1)))
    assert view_changes(actions) == [1]


def test_a_quorum_of_view_changes_opens_the_next_view() -> None:
    bench = Bench()
    for validator in (2, 3):
        vote = make_vote(VoteKind.VIEW_CHANGE, 1, validator=validator)
        bench.step(MessageReceived(validator, vote))
    assert bench.core.state.view == 1
    vote = make_vote(VoteKind.VIEW_CHANGE, 1, validator=1)
    bench.step(MessageReceived(1, vote))
    assert bench.core.state.view == 2


def test_a_validator_that_gave_up_still_prepares_but_never_commits() -> None:
    bench = Bench(view_timeout_ms=1_000)
    bench.step(WorkChanged(True))
    bench.step(Ticked(), after_ms=1_000)
    proposal = make_proposal(1)
    bench.step(MessageReceived(1, proposal))
    bench.step(BlockValidated(proposal.block_id, Verdict.VALID))
    assert bench.core.state.safety.get_vote(VoteKind.PREPARE, 1) is not None
    bench.step(
        MessageReceived(1, CertificateMessage(certify(VoteKind.PREPARE, 1, proposal.block_id)))
    )
    bench.step(BlockExecuted(proposal.block_id, ROOT))
    assert bench.core.state.safety.get_vote(VoteKind.COMMIT, 1) is None


def test_timeouts_grow_while_views_bring_nothing() -> None:
    bench = Bench(view_timeout_ms=1_000)
    bench.step(WorkChanged(True))
    give_up(bench, 1)
    give_up(bench, 2)
    assert not view_changes(bench.step(Ticked(), after_ms=2_251))
    assert view_changes(bench.step(Ticked(), after_ms=1)) == [3]


def test_a_leader_that_was_silent_is_given_up_at_once_at_its_next_turn() -> None:
    bench = Bench()
    bench.step(WorkChanged(True))
    for view in (1, 2, 3, 4):
        give_up(bench, view)
    assert bench.core.state.view == 5
    assert bench.core.state.safety.get_vote(VoteKind.VIEW_CHANGE, 5) is not None


def test_a_skipped_turn_is_not_held_against_the_leader_again() -> None:
    bench = Bench()
    bench.step(WorkChanged(True))
    for view in range(1, 9):
        give_up(bench, view)
    assert bench.core.state.view == 9
    assert bench.core.state.safety.get_vote(VoteKind.VIEW_CHANGE, 9) is None


def test_a_fresh_vote_of_a_silent_leader_gives_it_its_turn_back() -> None:
    bench = Bench()
    bench.step(WorkChanged(True))
    for view in (1, 2, 3):
        give_up(bench, view)
    bench.step(MessageReceived(1, make_vote(VoteKind.VIEW_CHANGE, 4, validator=1)))
    give_up(bench, 4)
    assert bench.core.state.safety.get_vote(VoteKind.VIEW_CHANGE, 5) is None


def test_nobody_skips_itself() -> None:
    bench = Bench(own_index=1)
    for view in (1, 2, 3, 4):
        give_up(bench, view)
    assert bench.core.state.leaders.is_skipped(5)
    assert not view_changes(bench.step(WorkChanged(True)))


def test_an_idle_network_waits_for_a_marked_leader_like_for_any_other() -> None:
    bench = Bench(idle_limit_ms=10_000)
    for view in (1, 2, 3, 4):
        give_up(bench, view)
    assert bench.core.state.safety.get_vote(VoteKind.VIEW_CHANGE, 5) is None
    assert view_changes(bench.step(Ticked(), after_ms=10_000)) == [5]


def test_votes_of_views_too_far_ahead_or_behind_are_not_kept() -> None:
    bench = Bench()
    far = make_vote(VoteKind.VIEW_CHANGE, 1 + VIEW_WINDOW + 1, validator=2)
    assert bench.step(MessageReceived(2, far)) == []
    assert bench.core.state.log.find(far.view) is None
    near = make_vote(VoteKind.VIEW_CHANGE, 1 + VIEW_WINDOW, validator=2)
    bench.step(MessageReceived(2, near))
    assert bench.core.state.log.count_votes(VoteKind.VIEW_CHANGE, near.view) == 1
    give_up(bench, 500)
    old = make_vote(VoteKind.VIEW_CHANGE, 501 - VIEW_WINDOW, validator=2)
    bench.step(MessageReceived(2, old))
    assert bench.core.state.log.count_votes(VoteKind.VIEW_CHANGE, old.view) == 0


def test_votes_of_strangers_are_reported() -> None:
    bench = Bench()
    vote = make_vote(VoteKind.VIEW_CHANGE, 1, validator=2)
    assert len(bench.step(MessageReceived(2, replace(vote, validator=4)))) == 1


def test_old_proposals_that_nobody_prepared_are_dropped_and_handed_back() -> None:
    bench = Bench()
    held = make_proposal(1)
    late = make_pre_prepare(replace(held.header, timestamp_ms=bench.wall_ms + 10**6), held.body)
    bench.step(MessageReceived(1, late))
    actions: list[Action] = []
    for view in range(1, 10):
        actions += give_up(bench, view)
    assert of_kind(actions, DiscardBlocks) == [DiscardBlocks((late.block_id,))]


def test_an_idle_network_makes_heartbeat_blocks_and_no_other_views() -> None:
    network = Network().start()
    network.run(60_000)
    assert network.heights() == [5, 5, 5, 5]
    assert network.count_views() == 6


def test_an_idle_network_with_a_dead_leader_keeps_its_heartbeat() -> None:
    network = Network().start()
    network.nodes[2].crash()
    network.run(120_000)
    heights = [node.height for node in network.nodes if node.core is not None]
    assert min(heights) >= 8


def test_a_dead_leader_costs_one_timeout_and_then_nothing_for_a_rotation() -> None:
    network = Network().start()
    network.nodes[1].crash()
    network.submit(1)
    network.run_until(lambda: network.nodes[0].height == 1, 10_000)
    assert network.now_ms <= 1_000 + 200
    network.submit(*range(2, 30))
    started = network.now_ms
    network.run_until(lambda: network.nodes[0].height == 4, 10_000)
    assert network.now_ms - started < 500


def test_blocks_become_final_within_two_seconds_after_ten_minutes_without_quorum() -> None:
    network = Network().start()
    network.submit(1)
    network.run(500)
    network.faults = Faults(is_cut=lambda source, target: (source < 2) != (target < 2))
    network.submit(2)
    network.run(600_000)
    assert max(network.heights()) == 1
    network.faults = Faults()
    healed = network.now_ms
    assert network.run_until(lambda: min(network.heights()) >= 2, 10_000)
    assert network.now_ms - healed <= 2_000
