"""What is said of where consensus stands."""

from __future__ import annotations

from consensus.events import (
    BlockExecuted,
    BlockValidated,
    PeerDisconnected,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.messages import (
    BlockResponse,
    CertificateBatch,
    CertificateMessage,
    PrePrepare,
    Status,
)
from consensus.recovery import Recovered
from consensus.report import (
    AwaitedBlock,
    BlockStage,
    CatchUpReport,
    EvidenceReport,
)
from consensus.report_builder import ASKED_RECENTLY_MS, PARTICIPATION_VIEWS
from consensus.watch import SeenEvidence
from primitives.certificates import VoteKind
from tests.helpers.consensus import (
    GENESIS,
    certify,
    make_header,
    make_pre_prepare,
    make_vote,
)
from tests.helpers.watched_consensus import WatchedBench

ROOT = b"r" * 32
FIRST = make_pre_prepare(make_header(GENESIS, 1, b"body"), b"body")
PREPARED = certify(VoteKind.PREPARE, 1, FIRST.block_id)
COMMITTED = certify(VoteKind.COMMIT, 1, FIRST.block_id, ROOT)
SECOND = make_pre_prepare(make_header(FIRST.header, 2), b"", PREPARED)


def settle(bench: WatchedBench, proposal: PrePrepare) -> None:
    """Have a block found valid and executed."""
    bench.step(BlockValidated(proposal.block_id, Verdict.VALID))
    bench.step(BlockExecuted(proposal.block_id, ROOT))


def test_a_new_node_reports_the_beginning() -> None:
    report = WatchedBench(view_timeout_ms=1_000, idle_limit_ms=10_000).report(after_ms=400)
    assert (report.epoch, report.view, report.leader, report.own_index) == (0, 1, 1, 0)
    assert (report.quorum, report.final_height, report.final_view) == (3, 0, 0)
    assert (report.final_age_ms, report.has_finalized) == (400, False)
    assert (report.waiting_ms, report.is_work_known) == (None, False)
    assert report.heartbeat_in_ms == 9_600
    assert [each.name for each in report.validators] == ["alpha", "beta", "gamma", "delta"]
    assert [each.is_self for each in report.validators] == [True, False, False, False]
    assert report.awaited is None
    assert report.catch_up is None
    assert report.halt is None
    assert [each.view for each in report.views] == [1]


def test_the_end_of_the_epoch_is_reported_if_there_is_one() -> None:
    assert WatchedBench().report().epoch_end_height is None
    assert WatchedBench(epoch_end_height=90).report().epoch_end_height == 90


def test_an_observer_is_nobody_among_the_validators() -> None:
    report = WatchedBench(own_index=None).report()
    assert report.own_index is None
    assert not any(each.is_self for each in report.validators)


def test_an_overdue_heartbeat_is_due_at_once() -> None:
    assert WatchedBench(idle_limit_ms=100).report(after_ms=500).heartbeat_in_ms == 0


def test_a_validator_is_reported_with_what_was_heard_of_it() -> None:
    bench = WatchedBench()
    bench.connect(2)
    bench.hear(2, Status(0, 5, 3, 5), after_ms=250)
    bench.hear(2, make_vote(VoteKind.VIEW_CHANGE, 1, validator=2), after_ms=1)
    seen = bench.report(after_ms=40).validators[2]
    assert (seen.is_connected, seen.connected_age_ms) == (True, 291)
    assert (seen.heard_message, seen.heard_view, seen.heard_age_ms) == ("VIEW-CHANGE", 1, 40)
    assert (seen.claimed_height, seen.votes) == (3, ("VIEW-CHANGE",))
    bench.step(PeerDisconnected(2), after_ms=10)
    gone = bench.report().validators[2]
    assert (gone.is_connected, gone.connected_age_ms) == (False, None)
    assert gone.heard_age_ms == 10
    unheard = bench.report().validators[3]
    assert (unheard.heard_message, unheard.heard_view, unheard.heard_age_ms) == (None, None, None)


def test_a_silent_leader_is_reported_until_it_is_heard() -> None:
    bench = WatchedBench()
    bench.hear(2, CertificateMessage(certify(VoteKind.VIEW_CHANGE, 1, signers=(0, 2, 3))))
    assert [each.is_skipped for each in bench.report().validators] == [False, True, False, False]
    bench.hear(1, make_vote(VoteKind.VIEW_CHANGE, 2, validator=1))
    assert not any(each.is_skipped for each in bench.report().validators)


def test_a_view_is_reported_with_the_votes_that_it_lacks() -> None:
    bench = WatchedBench()
    bench.hear(1, FIRST)
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    bench.hear(3, make_vote(VoteKind.PREPARE, 1, FIRST.block_id, validator=3))
    (view,) = bench.report().views
    assert (view.view, view.leader, view.has_proposal) == (1, 1, True)
    prepare = view.certificate(VoteKind.PREPARE)
    assert (prepare.kind, prepare.is_complete) == ("PREPARE", False)
    assert (prepare.voters, prepare.lacking) == ((0, 3), (1, 2))
    assert view.certificate(VoteKind.VIEW_CHANGE).lacking == (0, 1, 2, 3)


def test_a_complete_certificate_is_reported_as_one() -> None:
    bench = WatchedBench()
    bench.hear(1, CertificateMessage(PREPARED))
    current, last = bench.report().views
    assert (current.view, last.view) == (2, 1)
    assert current.has_proposal is False
    assert last.certificate(VoteKind.PREPARE).is_complete
    assert last.certificate(VoteKind.PREPARE).voters == (1, 2, 3)


def test_the_views_right_below_the_current_one_and_that_of_the_awaited_block_are_reported() -> None:
    bench = WatchedBench()
    bench.hear(1, CertificateMessage(PREPARED))
    for view in range(2, 10):
        bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, view)))
    assert [each.view for each in bench.report().views] == [10, 9, 8, 7, 1]


def test_the_awaited_block_is_followed_from_missing_to_executed() -> None:
    bench = WatchedBench()
    bench.hear(1, CertificateMessage(PREPARED))
    assert bench.report().awaited == AwaitedBlock(1, None, BlockStage.MISSING)
    bench.hear(2, FIRST)
    assert bench.report().awaited == AwaitedBlock(1, 1, BlockStage.JUDGING)
    assert bench.report().unfinal_with_transactions == 1
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    assert bench.report().awaited == AwaitedBlock(1, 1, BlockStage.EXECUTING)
    bench.step(BlockExecuted(FIRST.block_id, ROOT))
    assert bench.report().awaited == AwaitedBlock(1, 1, BlockStage.COMMITTING)
    bench.hear(1, CertificateMessage(COMMITTED))
    report = bench.report(after_ms=9)
    assert report.awaited is None
    assert (report.final_height, report.final_age_ms, report.has_finalized) == (1, 9, True)


def test_a_block_whose_ancestor_is_missing_is_missing() -> None:
    bench = WatchedBench()
    bench.hear(1, CertificateMessage(PREPARED))
    second = certify(VoteKind.PREPARE, 2, SECOND.block_id)
    bench.hear(1, CertificateBatch((second,)))
    bench.connect(1)
    bench.step(Ticked(), after_ms=200)
    bench.hear(1, BlockResponse(SECOND))
    report = bench.report()
    assert report.awaited == AwaitedBlock(2, 2, BlockStage.MISSING)
    assert report.unfinal_blocks == 1
    assert report.unfinal_with_transactions == 0


def test_who_voted_in_the_last_views_is_counted() -> None:
    bench = WatchedBench(own_index=None)
    parent, certificate = GENESIS, None
    for view in range(1, PARTICIPATION_VIEWS + 4):
        if view == 5:
            bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, view)))
            continue
        gap = [certify(VoteKind.VIEW_CHANGE, 5)] if view == 6 else []
        proposal = make_pre_prepare(make_header(parent, view), b"", certificate, gap)
        certificate = certify(VoteKind.PREPARE, view, proposal.block_id, signers=(1, 2, 3))
        parent = proposal.header
        bench.hear(1, CertificateMessage(certificate))
    for view in (17, 18):
        bench.hear(0, make_vote(VoteKind.VIEW_CHANGE, view, validator=0))
    report = bench.report()
    assert report.view == PARTICIPATION_VIEWS + 4
    assert report.recent_prepared_views == PARTICIPATION_VIEWS - 1
    assert [each.recent_votes for each in report.validators] == [2, 15, 15, 15]


def test_waiting_begins_with_work() -> None:
    bench = WatchedBench()
    bench.step(WorkChanged(True))
    report = bench.report(after_ms=70)
    assert (report.is_work_known, report.are_transactions_pending) == (True, True)
    assert report.waiting_ms == 70


def test_catching_up_is_reported_with_the_highest_claim_of_those_connected() -> None:
    bench = WatchedBench()
    bench.connect(1, 2, 3)
    bench.hear(1, Status(0, 9, 40, 9))
    bench.hear(2, Status(0, 9, 48, 9))
    bench.hear(3, Status(0, 9, 99, 9))
    bench.step(PeerDisconnected(3))
    bench.hear(1, CertificateMessage(certify(VoteKind.COMMIT, 9, b"z" * 32, ROOT)))
    assert bench.report().catch_up == CatchUpReport(0, 48, ())
    bench.step(Ticked(), after_ms=500)
    behind = bench.report(after_ms=ASKED_RECENTLY_MS).catch_up
    assert behind is not None
    assert behind.peers
    assert set(behind.peers) <= {1, 2}
    assert bench.report(after_ms=ASKED_RECENTLY_MS + 1).catch_up == CatchUpReport(0, 48, ())


def test_a_claim_of_no_more_than_we_have_says_nothing() -> None:
    bench = WatchedBench()
    bench.connect(1)
    bench.hear(1, CertificateMessage(certify(VoteKind.COMMIT, 9, b"z" * 32, ROOT)))
    assert bench.report().catch_up == CatchUpReport(0, None, ())


def test_probation_is_reported() -> None:
    bench = WatchedBench(recovered=Recovered(GENESIS, None, records_lost=True))
    report = bench.report()
    assert (report.is_on_probation, report.signs_above_view) == (True, None)
    bench.connect(1, 2, 3)
    assert bench.report().signs_above_view == 2
    for view in (1, 2):
        bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, view)))
    report = bench.report()
    assert (report.is_on_probation, report.signs_above_view) == (False, None)


def test_a_validator_that_may_not_sign_yet_observes() -> None:
    bench = WatchedBench(recovered=Recovered(GENESIS, None, sign_floor_view=2))
    report = bench.report()
    assert (report.is_on_probation, report.is_observing, report.signs_above_view) == (
        False,
        True,
        2,
    )
    bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, 1)))
    assert bench.report().is_observing
    bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, 2)))
    report = bench.report()
    assert (report.is_observing, report.signs_above_view) == (False, None)


def test_the_later_of_two_reasons_to_observe_counts() -> None:
    bench = WatchedBench(recovered=Recovered(GENESIS, None, records_lost=True, sign_floor_view=64))
    assert bench.report().signs_above_view is None
    bench.connect(1, 2, 3)
    assert bench.report().signs_above_view == 64


def test_halt_and_alarms_are_reported() -> None:
    bench = WatchedBench()
    bench.hear(1, FIRST)
    bench.hear(1, CertificateMessage(PREPARED))
    bench.hear(1, CertificateMessage(COMMITTED))
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    bench.step(BlockExecuted(FIRST.block_id, b"x" * 32))
    report = bench.report()
    assert report.halt is not None
    assert report.halt.code == "diverged"
    assert report.alarms == (("diverged", 1), ("state_root_differs", 1))


def test_evidence_is_reported_newest_first_and_by_name_if_there_is_one() -> None:
    bench = WatchedBench()
    keys = bench.bench.core.state.validators.public_keys
    bench.watch.evidence.append(SeenEvidence("DOUBLE-COMMIT", b"\xab" * 32, 0, 3))
    bench.watch.evidence.append(SeenEvidence("DOUBLE-PREPARE", keys[2], 1, 9))
    assert bench.report().evidence == (
        EvidenceReport("DOUBLE-PREPARE", "gamma", 1, 9),
        EvidenceReport("DOUBLE-COMMIT", "ab" * 8, 0, 3),
    )


def test_faults_of_peers_are_reported_in_order() -> None:
    bench = WatchedBench()
    bench.watch.peer_faults.update(["wrong_body", "bad_signature", "wrong_body"])
    assert bench.report().peer_faults == (("bad_signature", 1), ("wrong_body", 2))
