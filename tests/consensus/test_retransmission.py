"""Saying things again, and answering laggards."""

from __future__ import annotations

from consensus.actions import Action, Broadcast, Send
from consensus.events import (
    BlockBuilt,
    BlockExecuted,
    BlockValidated,
    MessageReceived,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.messages import (
    CertificateBatch,
    CertificateMessage,
    Message,
    PrePrepare,
    Status,
    Vote,
)
from consensus.parameters import CERTIFICATES_PER_MESSAGE_MAX
from primitives.certificates import Certificate, VoteKind
from tests.helpers.consensus import (
    GENESIS,
    Bench,
    body_root,
    certify,
    make_header,
    make_pre_prepare,
    make_vote,
    of_kind,
)

ROOT = b"r" * 32
FIRST = make_pre_prepare(make_header(GENESIS, 1, b"one"), b"one")
PREPARED = certify(VoteKind.PREPARE, 1, FIRST.block_id)
COMMITTED = certify(VoteKind.COMMIT, 1, FIRST.block_id, ROOT)


def learn(bench: Bench, certificate: Certificate, after_ms: int = 0) -> list[Action]:
    return bench.step(MessageReceived(2, CertificateMessage(certificate)), after_ms)


def said(actions: list[Action]) -> list[Message]:
    return [each.message for each in of_kind(actions, Broadcast)]


def finalize_first(bench: Bench) -> None:
    bench.step(MessageReceived(1, FIRST))
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    learn(bench, PREPARED)
    bench.step(BlockExecuted(FIRST.block_id, ROOT))
    learn(bench, COMMITTED)
    assert bench.core.state.tree.final == FIRST.header


def test_a_stuck_validator_repeats_its_votes_and_the_certificate_of_its_entry() -> None:
    bench = Bench(retransmit_ms=250)
    bench.step(MessageReceived(1, FIRST))
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    learn(bench, PREPARED)
    bench.step(BlockExecuted(FIRST.block_id, ROOT))
    second = make_pre_prepare(make_header(FIRST.header, 2, b"two"), b"two", PREPARED)
    bench.step(MessageReceived(2, second))
    bench.step(BlockValidated(second.block_id, Verdict.VALID))
    assert said(bench.step(Ticked(), after_ms=250)) == [
        CertificateMessage(PREPARED),
        make_vote(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, validator=0),
        make_vote(VoteKind.PREPARE, 2, second.block_id, validator=0),
        Status(0, 2, 0, 2),
    ]


def test_a_view_change_is_repeated_byte_for_byte() -> None:
    bench = Bench(view_timeout_ms=1_000, retransmit_ms=250)
    bench.step(WorkChanged(True))
    bench.step(Ticked(), after_ms=1_000)
    expected = make_vote(VoteKind.VIEW_CHANGE, 1, validator=0)
    assert expected in said(bench.step(Ticked(), after_ms=2_000))


def test_a_leader_repeats_its_proposal_to_those_who_have_not_prepared_it() -> None:
    bench = Bench(own_index=1, retransmit_ms=250)
    bench.step(WorkChanged(True))
    built = BlockBuilt(1, GENESIS.block_id, b"b", body_root(b"b"), bench.wall_ms)
    proposal = said(bench.step(built))[0]
    assert isinstance(proposal, PrePrepare)
    prepare = make_vote(VoteKind.PREPARE, 1, proposal.block_id, validator=3)
    bench.step(MessageReceived(3, prepare))
    repeated = of_kind(bench.step(Ticked(), after_ms=250), Send)
    assert repeated == [Send(0, proposal), Send(2, proposal)]


def test_an_idle_validator_only_says_how_far_it_is() -> None:
    bench = Bench(retransmit_ms=250, status_interval_ms=2_000)
    assert said(bench.step(Ticked(), after_ms=250)) == [Status(0, 1, 0, 1)]
    assert said(bench.step(Ticked(), after_ms=1_999)) == []
    assert said(bench.step(Ticked(), after_ms=1)) == [Status(0, 1, 0, 1)]


def test_a_laggard_is_answered_with_the_certificates_that_it_lacks() -> None:
    bench = Bench()
    finalize_first(bench)
    gap = [certify(VoteKind.VIEW_CHANGE, view) for view in (2, 3)]
    for certificate in gap:
        learn(bench, certificate)
    answer = bench.step(MessageReceived(3, Status(0, 1, 0, 1)), after_ms=1)
    assert answer == [Send(3, CertificateBatch((COMMITTED, *gap)))]


def test_a_laggard_in_views_alone_gets_no_commit_certificate() -> None:
    bench = Bench()
    finalize_first(bench)
    gap = certify(VoteKind.VIEW_CHANGE, 2)
    learn(bench, gap)
    answer = bench.step(MessageReceived(3, Status(0, 2, 1, 2)), after_ms=1)
    assert answer == [Send(3, CertificateBatch((gap,)))]


def test_a_hole_below_the_view_of_a_peer_is_filled() -> None:
    bench = Bench()
    for view in (1, 2, 3):
        learn(bench, certify(VoteKind.VIEW_CHANGE, view))
    answer = bench.step(MessageReceived(3, Status(0, 4, 0, 2)), after_ms=1)
    expected = tuple(certify(VoteKind.VIEW_CHANGE, view) for view in (2, 3))
    assert answer == [Send(3, CertificateBatch(expected))]


def test_an_answer_is_bounded_and_rare() -> None:
    bench = Bench(answer_interval_ms=100)
    for view in range(1, 101):
        learn(bench, certify(VoteKind.VIEW_CHANGE, view))
    status = MessageReceived(3, Status(0, 1, 0, 1))
    ((message,),) = [[each.message for each in of_kind(bench.step(status, 1), Send)]]
    assert isinstance(message, CertificateBatch)
    assert len(message.certificates) == CERTIFICATES_PER_MESSAGE_MAX - 1
    assert of_kind(bench.step(status, after_ms=50), Send) == []
    assert of_kind(bench.step(status, after_ms=50), Send)


def test_what_is_not_known_cannot_be_answered() -> None:
    bench = Bench()
    learn(bench, certify(VoteKind.VIEW_CHANGE, 5))
    assert bench.step(MessageReceived(3, Status(0, 5, 0, 1)), after_ms=1) == [
        Send(3, CertificateBatch((certify(VoteKind.VIEW_CHANGE, 5),)))
    ]
    bench = Bench()
    learn(bench, certify(VoteKind.VIEW_CHANGE, 5))
    bench.core.state.log.record(5).certificates.clear()
    assert bench.step(MessageReceived(3, Status(0, 5, 0, 1)), after_ms=1) == []


def test_a_peer_that_is_ahead_is_told_how_far_we_are() -> None:
    bench = Bench()
    assert bench.step(MessageReceived(3, Status(0, 9, 7, 9)), after_ms=1) == [
        Send(3, Status(0, 1, 0, 1))
    ]


def test_a_peer_that_is_as_far_is_not_answered() -> None:
    bench = Bench()
    assert bench.step(MessageReceived(3, Status(0, 1, 0, 1)), after_ms=1) == []


def test_a_claim_of_height_alone_starts_nothing() -> None:
    """A peer that lies about its height cannot make us ask for blocks or stop signing."""
    bench = Bench()
    bench.step(MessageReceived(3, Status(0, 10**9, 10**9, 10**9)))
    bench.step(Ticked(), after_ms=100)
    assert not bench.core.state.is_behind
    assert bench.core.state.safety.is_on


def test_a_batch_is_taken_but_not_passed_on() -> None:
    bench = Bench()
    batch = CertificateBatch(tuple(certify(VoteKind.VIEW_CHANGE, view) for view in (1, 2)))
    assert bench.step(MessageReceived(3, batch)) == []
    assert bench.core.state.view == 3


def test_a_batch_is_read_up_to_its_first_forgery() -> None:
    bench = Bench()
    forged = certify(VoteKind.VIEW_CHANGE, 1, signers=(0, 1))
    batch = CertificateBatch((forged, certify(VoteKind.VIEW_CHANGE, 2)))
    assert len(bench.step(MessageReceived(3, batch))) == 1
    assert bench.core.state.view == 1


def test_a_certificate_is_passed_on_once() -> None:
    bench = Bench()
    gap = certify(VoteKind.VIEW_CHANGE, 1)
    assert said(learn(bench, gap)) == [CertificateMessage(gap)]
    assert learn(bench, gap) == []
    other_signers = certify(VoteKind.VIEW_CHANGE, 1, signers=(1, 2, 3))
    assert learn(bench, other_signers) == []


def test_own_votes_are_those_of_validators_only() -> None:
    bench = Bench(own_index=None)
    bench.step(WorkChanged(True))
    spoken = said(bench.step(Ticked(), after_ms=60_000))
    assert not [message for message in spoken if isinstance(message, Vote)]
