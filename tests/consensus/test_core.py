"""One core in the normal case, and what it owes its driver."""

from __future__ import annotations

import pytest

from consensus.actions import (
    Broadcast,
    BuildBlock,
    DiscardBlocks,
    ExecuteBlock,
    FinalizeBlocks,
    Persist,
    PruneRecords,
    ReportPeer,
    Send,
    ValidateBlock,
)
from consensus.core import Core
from consensus.events import (
    BlockBuilt,
    BlockExecuted,
    BlockValidated,
    MessageReceived,
    PeerConnected,
    PeerDisconnected,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.messages import CertificateMessage, PrePrepare, Status, Vote
from consensus.records import decode_record
from consensus.recovery import Recovered
from primitives.certificates import VoteKind
from primitives.errors import InvariantViolationError
from tests.helpers.consensus import (
    EMPTY_BODY_ROOT,
    GENESIS,
    Bench,
    body_root,
    certify,
    make_header,
    make_parameters,
    make_pre_prepare,
    make_validators,
    make_vote,
    of_kind,
    verify,
)

ROOT = b"r" * 32
PROPOSAL = make_pre_prepare(make_header(GENESIS, 1, b"body"), b"body")


def receive(bench: Bench, proposal: PrePrepare = PROPOSAL) -> None:
    """Bring a proposal to the point at which the driver has found it valid."""
    actions = bench.step(MessageReceived(proposal.header.proposer, proposal))
    assert of_kind(actions, ValidateBlock) == [ValidateBlock(proposal.block, certified=False)]


def prepare_votes(*validators: int, proposal: PrePrepare = PROPOSAL) -> list[Vote]:
    view, block_id = proposal.header.view, proposal.block_id
    return [make_vote(VoteKind.PREPARE, view, block_id, validator=each) for each in validators]


def test_a_valid_proposal_is_persisted_whole_then_prepared_then_executed() -> None:
    bench = Bench(own_index=0)
    receive(bench)
    actions = bench.step(BlockValidated(PROPOSAL.block_id, Verdict.VALID))
    record, broadcast, execute = actions
    vote = prepare_votes(0)[0]
    assert isinstance(record, Persist)
    assert decode_record(record.record).vote == vote
    assert decode_record(record.record).pre_prepares == (PROPOSAL,)
    assert broadcast == Broadcast(vote)
    assert execute == ExecuteBlock(PROPOSAL.block)


def test_a_prepared_certificate_is_passed_on_and_opens_the_next_view_at_once() -> None:
    bench = Bench(own_index=0)
    receive(bench)
    bench.step(BlockValidated(PROPOSAL.block_id, Verdict.VALID))
    bench.step(MessageReceived(1, prepare_votes(1)[0]))
    actions = bench.step(MessageReceived(2, prepare_votes(2)[0]))
    certificate = certify(VoteKind.PREPARE, 1, PROPOSAL.block_id, signers=(0, 1, 2))
    assert actions == [Broadcast(CertificateMessage(certificate))]
    assert bench.core.state.view == 2


def test_execution_and_certificate_together_make_a_commit_with_the_state_root() -> None:
    bench = Bench(own_index=0)
    receive(bench)
    bench.step(BlockValidated(PROPOSAL.block_id, Verdict.VALID))
    for vote in prepare_votes(1, 2):
        bench.step(MessageReceived(vote.validator, vote))
    record, broadcast = bench.step(BlockExecuted(PROPOSAL.block_id, ROOT))
    assert broadcast == Broadcast(
        make_vote(VoteKind.COMMIT, 1, PROPOSAL.block_id, ROOT, validator=0)
    )
    assert isinstance(record, Persist)
    assert decode_record(record.record).certificates == (
        certify(VoteKind.PREPARE, 1, PROPOSAL.block_id, signers=(0, 1, 2)),
    )


def test_a_commit_certificate_makes_the_block_final_and_prunes_its_records() -> None:
    bench = Bench(own_index=0)
    receive(bench)
    bench.step(BlockValidated(PROPOSAL.block_id, Verdict.VALID))
    for vote in prepare_votes(1, 2):
        bench.step(MessageReceived(vote.validator, vote))
    bench.step(BlockExecuted(PROPOSAL.block_id, ROOT))
    commits = [
        make_vote(VoteKind.COMMIT, 1, PROPOSAL.block_id, ROOT, validator=each) for each in (1, 2)
    ]
    bench.step(MessageReceived(1, commits[0]))
    actions = bench.step(MessageReceived(2, commits[1]))
    certificate = certify(VoteKind.COMMIT, 1, PROPOSAL.block_id, ROOT, signers=(0, 1, 2))
    assert actions == [
        Broadcast(CertificateMessage(certificate)),
        FinalizeBlocks((PROPOSAL.block,), certificate),
        PruneRecords(2),
    ]
    assert bench.core.state.tree.final == PROPOSAL.header


def test_the_leader_builds_proposes_and_prepares_its_own_block() -> None:
    bench = Bench(own_index=1)
    actions = bench.step(WorkChanged(True))
    assert actions == [BuildBlock(1, GENESIS, must_be_empty=False)]
    assert bench.step(Ticked()) == []
    wall = bench.wall_ms
    built = BlockBuilt(1, GENESIS.block_id, b"body", body_root(b"body"), wall)
    record, proposal, vote_record, vote, execute = bench.step(built)
    assert isinstance(proposal, Broadcast)
    assert isinstance(proposal.message, PrePrepare)
    header = proposal.message.header
    assert (header.height, header.view, header.timestamp_ms) == (1, 1, wall)
    assert isinstance(record, Persist)
    assert decode_record(record.record).pre_prepares == (proposal.message,)
    assert isinstance(vote_record, Persist)
    assert decode_record(vote_record.record).pre_prepares == ()
    assert isinstance(vote, Broadcast)
    assert vote.message == make_vote(VoteKind.PREPARE, 1, header.block_id, validator=1)
    assert isinstance(execute, ExecuteBlock)
    assert bench.step(Ticked()) == []


def test_a_header_is_always_later_than_its_parents() -> None:
    bench = Bench(own_index=1)
    bench.step(WorkChanged(True))
    actions = bench.step(BlockBuilt(1, GENESIS.block_id, b"b", body_root(b"b"), 5))
    proposals = [each.message for each in of_kind(actions, Broadcast)]
    assert isinstance(proposals[0], PrePrepare)
    assert proposals[0].header.timestamp_ms == GENESIS.timestamp_ms + 1


def test_an_empty_block_without_need_is_put_off_until_new_work_comes() -> None:
    bench = Bench(own_index=1)
    bench.step(WorkChanged(True))
    empty = BlockBuilt(1, GENESIS.block_id, b"", EMPTY_BODY_ROOT, bench.wall_ms)
    assert bench.step(empty) == []
    assert bench.step(Ticked()) == []
    assert bench.step(WorkChanged(True)) == [BuildBlock(1, GENESIS, must_be_empty=False)]
    bench.step(empty)
    assert of_kind(bench.step(Ticked(), after_ms=600), BuildBlock)
    assert of_kind(bench.step(empty), Broadcast)


@pytest.mark.parametrize(
    "built",
    [
        BlockBuilt(5, GENESIS.block_id, b"b", body_root(b"b"), 5),
        BlockBuilt(1, b"?" * 32, b"b", body_root(b"b"), 5),
    ],
)
def test_a_block_that_was_not_asked_for_is_not_proposed(built: BlockBuilt) -> None:
    bench = Bench(own_index=1)
    assert bench.step(built) == []
    bench.step(WorkChanged(True))
    assert bench.step(built) == []


def test_a_block_built_too_late_is_not_proposed() -> None:
    bench = Bench(own_index=1)
    bench.step(WorkChanged(True))
    bench.step(MessageReceived(2, CertificateMessage(certify(VoteKind.VIEW_CHANGE, 1))))
    assert bench.step(BlockBuilt(1, GENESIS.block_id, b"b", body_root(b"b"), 5)) == []


def test_a_sole_validator_decides_alone() -> None:
    bench = Bench(own_index=0, count=1)
    bench.step(WorkChanged(True))
    body = b"body"
    for _ in range(3):
        parent = bench.core.state.tree.final
        view = bench.core.state.view
        built = BlockBuilt(view, parent.block_id, body, body_root(body), bench.wall_ms)
        actions = bench.step(built)
        block_id = of_kind(actions, ExecuteBlock)[0].block.block_id
        actions = bench.step(BlockExecuted(block_id, ROOT))
        assert of_kind(actions, FinalizeBlocks)[0].blocks[0].block_id == block_id
    assert bench.core.state.tree.final.height == 3


def test_an_observer_follows_without_a_word_but_status() -> None:
    bench = Bench(own_index=None)
    assert bench.started == [Broadcast(Status(0, 1, 0, 1))]
    bench.step(WorkChanged(True))
    bench.step(MessageReceived(1, PROPOSAL))
    certificate = certify(VoteKind.PREPARE, 1, PROPOSAL.block_id)
    actions = bench.step(MessageReceived(2, CertificateMessage(certificate)))
    assert of_kind(actions, ValidateBlock) == [ValidateBlock(PROPOSAL.block, certified=True)]
    actions = bench.step(BlockValidated(PROPOSAL.block_id, Verdict.VALID))
    assert of_kind(actions, ExecuteBlock)
    assert bench.step(BlockExecuted(PROPOSAL.block_id, ROOT)) == []
    final = certify(VoteKind.COMMIT, 1, PROPOSAL.block_id, ROOT)
    actions = bench.step(MessageReceived(2, CertificateMessage(final)))
    assert of_kind(actions, FinalizeBlocks)
    actions = bench.step(Ticked(), after_ms=60_000)
    assert {type(each.message) for each in of_kind(actions, Broadcast)} <= {
        Status,
        CertificateMessage,
    }


def test_answers_of_the_driver_that_nobody_waits_for_are_ignored() -> None:
    bench = Bench(own_index=0)
    assert bench.step(BlockValidated(b"?" * 32, Verdict.VALID)) == []
    assert bench.step(BlockExecuted(b"?" * 32, ROOT)) == []
    receive(bench)
    assert bench.step(BlockExecuted(PROPOSAL.block_id, ROOT)) == []
    bench.step(BlockValidated(PROPOSAL.block_id, Verdict.VALID))
    assert bench.step(BlockValidated(PROPOSAL.block_id, Verdict.INVALID)) == []
    assert bench.core.state.tree.find(PROPOSAL.block_id) is not None


def test_the_deadline_lies_always_ahead() -> None:
    bench = Bench(own_index=1)
    for _ in range(50):
        deadline = bench.core.next_deadline()
        assert deadline is not None
        assert deadline > bench.now_ms
        bench.step(Ticked(), after_ms=deadline - bench.now_ms)


def test_a_core_is_started_once_and_before_it_takes_events() -> None:
    bench = Bench(start=False)
    with pytest.raises(InvariantViolationError):
        bench.step(Ticked())
    bench.core.start(bench.clock)
    with pytest.raises(InvariantViolationError):
        bench.core.start(bench.clock)


def test_a_validator_needs_a_signer() -> None:
    with pytest.raises(InvariantViolationError):
        Core(make_parameters(), make_validators(), 0, None, Recovered(GENESIS, None), verify)


def test_peers_come_and_go() -> None:
    bench = Bench(own_index=0)
    actions = bench.step(PeerConnected(2))
    assert actions == [Send(2, Status(0, 1, 0, 1))]
    assert bench.step(PeerDisconnected(2)) == []
    assert len(bench.core.state.peers) == 0


def test_a_peer_that_connects_is_told_what_it_may_have_missed() -> None:
    bench = Bench(own_index=1)
    bench.step(WorkChanged(True))
    built = BlockBuilt(1, GENESIS.block_id, b"b", body_root(b"b"), bench.wall_ms)
    bench.step(built)
    messages = [each.message for each in of_kind(bench.step(PeerConnected(3)), Send)]
    assert [type(message) for message in messages] == [Vote, PrePrepare, Status]


def test_a_wrong_signature_is_reported_and_nothing_else_happens() -> None:
    bench = Bench(own_index=0)
    forged = make_vote(VoteKind.PREPARE, 1, b"b" * 32, validator=2)
    bad = Vote(forged.kind, 0, 2, forged.block_id, forged.state_root, 2, forged.signature)
    assert bench.step(MessageReceived(3, bad)) == [ReportPeer(3, "bad_signature")]
    assert bench.core.state.log.count_votes(VoteKind.PREPARE, 2) == 0


def test_a_skipped_block_that_lost_is_handed_back() -> None:
    """A rival of the block that became final will never be."""
    bench = Bench(own_index=0)
    receive(bench)
    bench.step(BlockValidated(PROPOSAL.block_id, Verdict.VALID))
    gap = certify(VoteKind.VIEW_CHANGE, 1)
    rival = make_pre_prepare(make_header(GENESIS, 2, b"rival"), b"rival", None, [gap])
    receive(bench, rival)
    bench.step(BlockValidated(rival.block_id, Verdict.VALID))
    for vote in prepare_votes(1, 2, proposal=rival):
        bench.step(MessageReceived(vote.validator, vote))
    bench.step(BlockExecuted(rival.block_id, ROOT))
    final = certify(VoteKind.COMMIT, 2, rival.block_id, ROOT)
    actions = bench.step(MessageReceived(2, CertificateMessage(final)))
    assert of_kind(actions, DiscardBlocks) == [DiscardBlocks((PROPOSAL.block_id,))]


def test_an_event_that_is_none_is_our_own_bug() -> None:
    bench = Bench()
    with pytest.raises(AssertionError):
        bench.step("event")
    with pytest.raises(AssertionError):
        bench.step(MessageReceived(1, "message"))


def test_rules_that_never_settle_do_not_hang_the_node() -> None:
    bench = Bench()
    bench.core._rules = (lambda: True,)
    assert bench.step(Ticked()) == []
