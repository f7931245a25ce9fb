"""What is remembered for people while a core takes its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.actions import RaiseAlarm, ReportEvidence, Send
from consensus.events import (
    BlockExecuted,
    BlockValidated,
    PeerConnected,
    PeerDisconnected,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.evidence import Evidence, EvidenceKind
from consensus.messages import (
    BlockRequest,
    BlockResponse,
    BlocksRequest,
    BlocksResponse,
    CertificateBatch,
    CertificateMessage,
    Message,
    Status,
)
from consensus.watch import EVIDENCE_REMEMBERED_MAX, Heard, PeerMemory, Watch
from primitives.certificates import VoteKind
from tests.helpers.consensus import (
    GENESIS,
    WALL_START_MS,
    certify,
    make_header,
    make_pre_prepare,
    make_public_key,
    make_vote,
    of_kind,
)
from tests.helpers.watched_consensus import WatchedBench

ROOT = b"r" * 32
PROPOSAL = make_pre_prepare(make_header(GENESIS, 1))
PREPARED = certify(VoteKind.PREPARE, 1, PROPOSAL.block_id)
SKIPPED = certify(VoteKind.VIEW_CHANGE, 1)


def memory(bench: WatchedBench, peer: int) -> PeerMemory:
    return bench.watch.peers[make_public_key(peer)]


def make_evidence(view: int) -> ReportEvidence:
    first = make_vote(VoteKind.PREPARE, view, b"a" * 32, validator=3)
    second = make_vote(VoteKind.PREPARE, view, b"b" * 32, validator=3)
    return ReportEvidence(Evidence(EvidenceKind.DOUBLE_PREPARE, 3, 0, view, first, second))


def finalize_first_block(bench: WatchedBench) -> None:
    bench.hear(1, PROPOSAL)
    bench.step(BlockValidated(PROPOSAL.block_id, Verdict.VALID))
    bench.hear(1, CertificateMessage(PREPARED))
    bench.step(BlockExecuted(PROPOSAL.block_id, ROOT))
    commit = certify(VoteKind.COMMIT, 1, PROPOSAL.block_id, ROOT)
    bench.hear(1, CertificateMessage(commit), after_ms=5)


@pytest.mark.parametrize(
    ("message", "name", "view"),
    [
        (PROPOSAL, "PRE-PREPARE", 1),
        (make_vote(VoteKind.VIEW_CHANGE, 7, validator=1), "VIEW-CHANGE", 7),
        (CertificateMessage(SKIPPED), "CERTIFICATE", 1),
        (CertificateBatch((SKIPPED,)), "CERTIFICATE-BATCH", None),
        (Status(0, 9, 3, 9), "STATUS", 9),
        (BlockRequest(b"i" * 32), "BLOCK-REQUEST", None),
        (BlockResponse(PROPOSAL), "BLOCK-RESPONSE", None),
        (BlocksRequest(1, 1), "BLOCKS-REQUEST", None),
        (BlocksResponse((), None), "BLOCKS-RESPONSE", None),
    ],
)
def test_the_last_message_of_a_validator_is_remembered(
    message: Message, name: str, view: int | None
) -> None:
    bench = WatchedBench()
    bench.hear(1, message, after_ms=30)
    assert memory(bench, 1).heard == Heard(name, view, 1_030)
    bench.hear(1, Status(0, 1, 0, 1), after_ms=20)
    assert memory(bench, 1).heard == Heard("STATUS", 1, 1_050)


@pytest.mark.parametrize("peer", [-1, 4, 1_000])
def test_whoever_is_no_validator_is_not_remembered(peer: int) -> None:
    bench = WatchedBench()
    bench.step(PeerConnected(peer))
    bench.hear(peer, Status(0, 1, 0, 1))
    bench.step(PeerDisconnected(peer))
    assert all(each == PeerMemory() for each in bench.watch.peers.values())


def test_connections_come_and_go_and_what_was_heard_stays() -> None:
    bench = WatchedBench()
    bench.step(PeerConnected(2), after_ms=7)
    assert memory(bench, 2).connected_ms == 1_007
    bench.hear(2, Status(0, 1, 12, 1))
    bench.step(PeerDisconnected(2))
    assert memory(bench, 2).connected_ms is None
    assert memory(bench, 2).claimed_height == 12


def test_the_clock_of_a_leader_is_read_from_the_first_arrival_of_its_proposal() -> None:
    bench = WatchedBench()
    ahead = make_pre_prepare(replace(PROPOSAL.header, timestamp_ms=WALL_START_MS + 400))
    bench.hear(1, ahead, after_ms=100)
    assert memory(bench, 1).clock_offset_ms == 300
    bench.hear(1, ahead, after_ms=5_000)
    assert list(memory(bench, 1).clock_samples_ms) == [300]


def test_a_clock_behind_ours_is_believed_after_some_proposals_and_the_promptest_counts() -> None:
    bench = WatchedBench()
    for number, late_ms in enumerate((90_000, 300, 20, 500), start=1):
        assert memory(bench, 1).clock_offset_ms is None
        header = replace(
            PROPOSAL.header, view=4 * number - 3, timestamp_ms=bench.bench.wall_ms - late_ms
        )
        bench.hear(1, make_pre_prepare(header))
    assert memory(bench, 1).clock_offset_ms == -20


def test_a_proposal_that_another_passes_on_says_nothing_about_a_clock() -> None:
    bench = WatchedBench()
    bench.hear(2, PROPOSAL)
    assert memory(bench, 1).clock_offset_ms is None
    assert memory(bench, 2).clock_offset_ms is None


def test_finality_is_timed_and_ends_the_wait() -> None:
    bench = WatchedBench()
    bench.step(WorkChanged(True))
    assert bench.watch.waiting_since_ms == 1_000
    bench.step(Ticked(), after_ms=10)
    assert bench.watch.waiting_since_ms == 1_000
    bench.step(WorkChanged(False))
    finalize_first_block(bench)
    assert bench.watch.final_ms == bench.bench.now_ms == 1_015
    assert bench.watch.waiting_since_ms is None


def test_the_wait_begins_anew_with_a_block_while_there_is_more_work() -> None:
    bench = WatchedBench()
    bench.step(WorkChanged(True))
    finalize_first_block(bench)
    assert bench.bench.core.state.pacemaker.work_since_ms is not None
    assert bench.watch.waiting_since_ms == bench.bench.now_ms == 1_005


def test_the_wait_goes_on_over_views_that_fail() -> None:
    bench = WatchedBench()
    bench.step(WorkChanged(True))
    bench.hear(1, CertificateMessage(SKIPPED), after_ms=2_000)
    bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, 2)), after_ms=2_000)
    assert bench.bench.core.state.view == 3
    assert bench.watch.waiting_since_ms == 1_000
    assert bench.watch.views_failed == 2


def test_failed_views_are_counted_on_after_a_block() -> None:
    bench = WatchedBench()
    finalize_first_block(bench)
    assert bench.watch.views_failed == 0
    for view in (2, 3):
        bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, view)))
    proposal = make_pre_prepare(
        make_header(PROPOSAL.header, 4),
        parent_certificate=PREPARED,
        gap=[certify(VoteKind.VIEW_CHANGE, view) for view in (2, 3)],
    )
    bench.hear(0, CertificateMessage(certify(VoteKind.PREPARE, 4, proposal.block_id)))
    bench.hear(0, proposal)
    bench.step(BlockValidated(proposal.block_id, Verdict.VALID))
    bench.step(BlockExecuted(proposal.block_id, ROOT))
    bench.hear(1, CertificateMessage(certify(VoteKind.COMMIT, 4, proposal.block_id, ROOT)))
    assert bench.bench.core.state.pacemaker.failures == 0
    bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, 5)))
    assert bench.watch.views_failed == 3


def test_the_alarm_of_a_halt_is_told_from_those_before_it() -> None:
    bench = WatchedBench()
    bench.hear(1, PROPOSAL)
    bench.step(BlockValidated(PROPOSAL.block_id, Verdict.VALID))
    bench.hear(1, CertificateMessage(PREPARED))
    commit = certify(VoteKind.COMMIT, 1, PROPOSAL.block_id, ROOT)
    bench.hear(1, CertificateMessage(commit))
    assert bench.watch.halt is None
    actions = bench.step(BlockExecuted(PROPOSAL.block_id, b"x" * 32))
    codes = [each.code for each in of_kind(actions, RaiseAlarm)]
    assert codes == ["state_root_differs", "diverged"]
    assert bench.watch.halt is not None
    assert bench.watch.halt.code == "diverged"
    assert bench.watch.alarms == {"state_root_differs": 1, "diverged": 1}
    bench.watch.note_step(Ticked(), [RaiseAlarm("later", "")], bench.bench.core.state)
    assert bench.watch.halt.code == "diverged"


def test_evidence_is_counted_and_the_last_pieces_are_kept() -> None:
    bench = WatchedBench()
    state = bench.bench.core.state
    for view in range(EVIDENCE_REMEMBERED_MAX + 5):
        bench.watch.note_step(Ticked(), [make_evidence(view)], state)
    assert bench.watch.evidence_count == EVIDENCE_REMEMBERED_MAX + 5
    assert len(bench.watch.evidence) == EVIDENCE_REMEMBERED_MAX
    last = bench.watch.evidence[-1]
    assert (last.kind, last.view) == ("DOUBLE-PREPARE", EVIDENCE_REMEMBERED_MAX + 4)
    assert last.public_key == make_public_key(3)


def test_faults_of_peers_are_counted_by_code() -> None:
    bench = WatchedBench()
    forged = replace(make_vote(VoteKind.PREPARE, 1, b"a" * 32, validator=2), signature=bytes(64))
    bench.hear(2, forged)
    bench.hear(3, forged)
    assert bench.watch.peer_faults == {"bad_signature": 2}


def test_whom_final_blocks_were_asked_of_is_remembered() -> None:
    bench = WatchedBench()
    bench.connect(2)
    state = bench.bench.core.state
    bench.bench.now_ms += 20
    bench.step(Ticked())
    bench.watch.note_step(Ticked(), [Send(2, BlocksRequest(1, 64))], state)
    assert memory(bench, 2).asked_ms == 1_020
    bench.watch.note_step(Ticked(), [Send(99, BlocksRequest(1, 64))], state)
    assert memory(bench, 1).asked_ms is None


def test_a_new_epoch_keeps_what_is_known_of_those_who_stay() -> None:
    watch = Watch()
    first = WatchedBench(watch=watch)
    first.connect(1, 3)
    second = WatchedBench(count=2, watch=watch)
    assert set(watch.peers) == {make_public_key(0), make_public_key(1)}
    assert memory(second, 1).connected_ms == 1_000
    assert watch.started_ms == 1_000


def test_a_watch_that_missed_the_start_of_an_epoch_does_no_harm() -> None:
    bench = WatchedBench()
    bench.watch.peers.clear()
    bench.connect(1)
    assert not bench.watch.peers
