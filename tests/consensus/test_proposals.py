"""Which proposals are prepared, which are held back, which end the view."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.actions import (
    Action,
    Broadcast,
    BuildBlock,
    ReportEvidence,
    ReportPeer,
    ValidateBlock,
)
from consensus.events import (
    BlockBuilt,
    BlockExecuted,
    BlockValidated,
    MessageReceived,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.evidence import EvidenceKind
from consensus.messages import CertificateMessage, PrePrepare, Vote
from consensus.parameters import GAP_CERTIFICATES_MAX
from primitives.certificates import Certificate, VoteKind
from primitives.errors import InvariantViolationError
from primitives.header import BlockHeader
from tests.helpers.consensus import (
    EMPTY_BODY_ROOT,
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
GAP = certify(VoteKind.VIEW_CHANGE, 1)


def prepared(proposal: PrePrepare) -> Certificate:
    return certify(VoteKind.PREPARE, proposal.header.view, proposal.block_id)


def child(
    parent: PrePrepare, view: int, body: bytes = b"child", gap: tuple[Certificate, ...] = ()
) -> PrePrepare:
    return make_pre_prepare(make_header(parent.header, view, body), body, prepared(parent), gap)


def propose(bench: Bench, proposal: PrePrepare) -> list[Action]:
    return bench.step(MessageReceived(proposal.header.proposer, proposal))


def is_put_to_driver(actions: list[Action]) -> bool:
    return bool(of_kind(actions, ValidateBlock))


def own_votes(actions: list[Action]) -> list[Vote]:
    messages = [each.message for each in of_kind(actions, Broadcast)]
    return [message for message in messages if isinstance(message, Vote)]


def accept(bench: Bench, proposal: PrePrepare) -> None:
    """Let a proposal be received, found valid and prepared by a quorum."""
    assert is_put_to_driver(propose(bench, proposal))
    bench.step(BlockValidated(proposal.block_id, Verdict.VALID))
    bench.step(MessageReceived(2, CertificateMessage(prepared(proposal))))


def with_header(proposal: PrePrepare, **changes: object) -> PrePrepare:
    header = replace(proposal.header, **changes)
    return make_pre_prepare(
        header, proposal.body, proposal.parent_certificate, proposal.view_change_certificates
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"chain_id": b"other chain".ljust(32)},
        {"protocol_version": 2},
        {"next_validators_hash": b"n" * 32},
        {"proposer": 2},
        {"parent_view": 1},
    ],
)
def test_a_header_of_another_chain_or_leader_is_reported(changes: dict[str, object]) -> None:
    bench = Bench()
    assert propose(bench, with_header(FIRST, **changes))[0] == ReportPeer(
        with_header(FIRST, **changes).header.proposer, "unacceptable_proposal"
    )


@pytest.mark.parametrize(
    "proposal",
    [
        replace(FIRST, body=b"x" * 101),
        replace(child(FIRST, 2), parent_certificate=GAP),
        replace(child(FIRST, 2), parent_certificate=replace(prepared(FIRST), view=0)),
        replace(child(FIRST, 2), parent_certificate=certify(VoteKind.PREPARE, 1, b"b" * 32)),
        replace(child(FIRST, 5), view_change_certificates=(prepared(FIRST),)),
        replace(child(FIRST, 5), view_change_certificates=(GAP,)),
        replace(
            child(FIRST, 5),
            view_change_certificates=(certify(VoteKind.VIEW_CHANGE, 5),),
        ),
        replace(
            child(FIRST, 5),
            view_change_certificates=(
                certify(VoteKind.VIEW_CHANGE, 3),
                certify(VoteKind.VIEW_CHANGE, 2),
            ),
        ),
    ],
)
def test_an_impossible_justification_is_reported(proposal: PrePrepare) -> None:
    bench = Bench(body_bytes_max=100)
    actions = propose(bench, proposal)
    assert ReportPeer(proposal.header.proposer, "unacceptable_proposal") in actions


def test_a_proposal_with_a_wrong_signature_is_reported() -> None:
    bench = Bench()
    assert propose(bench, replace(FIRST, signature=bytes(64))) == [ReportPeer(1, "bad_signature")]


def test_a_proposal_from_another_than_its_leader_is_ignored() -> None:
    bench = Bench()
    assert bench.step(MessageReceived(2, FIRST)) == []
    assert is_put_to_driver(propose(bench, FIRST))


def test_the_same_proposal_again_changes_nothing() -> None:
    bench = Bench()
    propose(bench, FIRST)
    assert propose(bench, FIRST) == []
    bench.step(BlockValidated(FIRST.block_id, Verdict.INVALID))
    assert propose(bench, FIRST) == []


def test_a_second_proposal_for_a_view_is_evidence_once_and_never_prepared() -> None:
    bench = Bench()
    propose(bench, FIRST)
    rival = make_pre_prepare(make_header(GENESIS, 1, b"rival"), b"rival")
    evidence = of_kind(propose(bench, rival), ReportEvidence)[0].evidence
    assert (evidence.kind, evidence.validator) == (EvidenceKind.DOUBLE_PROPOSAL, 1)
    assert propose(bench, rival) == []
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    assert bench.core.state.tree.find(rival.block_id) is None


def test_certificates_in_a_proposal_move_a_laggard_on() -> None:
    bench = Bench()
    accept(bench, FIRST)
    later = child(FIRST, 3, gap=(certify(VoteKind.VIEW_CHANGE, 2),))
    assert is_put_to_driver(propose(bench, later))
    assert bench.core.state.view == 3


def test_a_forged_certificate_in_a_proposal_is_reported_and_the_view_is_not_given_up() -> None:
    bench = Bench()
    accept(bench, FIRST)
    forged = certify(VoteKind.VIEW_CHANGE, 2, signers=(0, 1))
    assert propose(bench, child(FIRST, 3, gap=(forged,))) == [ReportPeer(3, "too_few_signers")]
    other = replace(prepared(FIRST), signatures=(bytes(64),) * 3)
    bench = Bench()
    assert propose(bench, replace(child(FIRST, 2), parent_certificate=other)) == [
        ReportPeer(2, "bad_signature")
    ]


def test_a_proposal_that_skips_a_view_without_certificate_is_not_taken() -> None:
    bench = Bench()
    accept(bench, FIRST)
    assert not is_put_to_driver(propose(bench, child(FIRST, 3)))
    assert bench.core.state.view == 2


def test_a_proposal_whose_gap_is_known_here_need_not_carry_it() -> None:
    bench = Bench()
    accept(bench, FIRST)
    given_up = certify(VoteKind.VIEW_CHANGE, 2)
    bench.step(MessageReceived(3, CertificateMessage(given_up)))
    assert is_put_to_driver(propose(bench, child(FIRST, 3)))


def test_a_proposal_on_an_old_parent_skipping_a_view_not_given_up_is_held() -> None:
    """The planted fault "a skipped gap": views 2 is prepared, the leader of 3 builds on view 1."""
    bench = Bench()
    accept(bench, FIRST)
    second = child(FIRST, 2)
    accept(bench, second)
    assert bench.core.state.view == 3
    assert not is_put_to_driver(propose(bench, child(FIRST, 3)))


def test_a_proposal_waits_for_its_parent_to_be_judged() -> None:
    bench = Bench()
    propose(bench, FIRST)
    assert not is_put_to_driver(propose(bench, child(FIRST, 2)))
    assert is_put_to_driver(bench.step(BlockValidated(FIRST.block_id, Verdict.VALID)))


def test_a_proposal_on_an_unknown_parent_waits_for_it() -> None:
    bench = Bench()
    second = child(FIRST, 2)
    assert not is_put_to_driver(propose(bench, second))
    assert bench.core.state.view == 2
    propose(bench, FIRST)
    actions = bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    assert of_kind(actions, ValidateBlock) == [ValidateBlock(second.block, certified=False)]


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 3},
        {"timestamp_ms": FIRST.header.timestamp_ms},
        {"timestamp_ms": FIRST.header.timestamp_ms - 1},
    ],
)
def test_a_header_that_contradicts_its_parent_ends_the_view_at_once(
    changes: dict[str, object],
) -> None:
    bench = Bench()
    accept(bench, FIRST)
    actions = propose(bench, with_header(child(FIRST, 2), **changes))
    assert own_votes(actions) == [make_vote(VoteKind.VIEW_CHANGE, 2, validator=0)]


def test_a_parent_view_that_is_not_the_parents_ends_the_view_at_once() -> None:
    bench = Bench()
    accept(bench, FIRST)
    wrong = replace(with_header(child(FIRST, 2), parent_view=0), parent_certificate=None)
    assert [vote.kind for vote in own_votes(propose(bench, wrong))] == [VoteKind.VIEW_CHANGE]


def test_an_invalid_block_ends_the_view_at_once() -> None:
    bench = Bench()
    propose(bench, FIRST)
    actions = bench.step(BlockValidated(FIRST.block_id, Verdict.INVALID))
    assert own_votes(actions) == [make_vote(VoteKind.VIEW_CHANGE, 1, validator=0)]


def test_a_block_that_cannot_be_judged_yet_is_judged_again() -> None:
    bench = Bench(validate_retry_ms=100)
    propose(bench, FIRST)
    assert bench.step(BlockValidated(FIRST.block_id, Verdict.RETRY)) == []
    assert bench.core.next_deadline() == bench.now_ms + 100
    assert not is_put_to_driver(bench.step(Ticked(), after_ms=99))
    assert is_put_to_driver(bench.step(Ticked(), after_ms=1))


def test_a_block_from_the_future_waits_until_its_time_has_come() -> None:
    bench = Bench(timestamp_precision_ms=500)
    early = with_header(FIRST, timestamp_ms=bench.wall_ms + 700)
    assert not is_put_to_driver(propose(bench, early))
    assert bench.core.next_deadline() == bench.now_ms + 200
    assert not is_put_to_driver(bench.step(Ticked(), after_ms=199))
    assert is_put_to_driver(bench.step(Ticked(), after_ms=1))


def test_beyond_k_unfinal_blocks_only_an_empty_one_is_taken() -> None:
    bench = Bench(unfinal_blocks_max=2)
    accept(bench, FIRST)
    second = child(FIRST, 2)
    accept(bench, second)
    assert not is_put_to_driver(propose(bench, child(second, 3)))
    bench = Bench(unfinal_blocks_max=2)
    accept(bench, FIRST)
    accept(bench, second)
    empty = child(second, 3, body=b"")
    accept(bench, empty)
    accept(bench, make_pre_prepare(make_header(empty.header, 4, b""), b"", prepared(empty)))


def test_a_held_block_is_taken_once_its_ancestors_are_final() -> None:
    bench = Bench(unfinal_blocks_max=1)
    accept(bench, FIRST)
    second = child(FIRST, 2)
    assert not is_put_to_driver(propose(bench, second))
    bench.step(BlockExecuted(FIRST.block_id, ROOT))
    final = certify(VoteKind.COMMIT, 1, FIRST.block_id, ROOT)
    assert is_put_to_driver(bench.step(MessageReceived(2, CertificateMessage(final))))


def test_a_validator_holds_a_bounded_number_of_blocks_on_all_branches() -> None:
    bench = Bench(held_blocks_max=1)
    propose(bench, FIRST)
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    rival = make_pre_prepare(make_header(GENESIS, 2, b"rival"), b"rival", None, (GAP,))
    assert not is_put_to_driver(propose(bench, rival))
    empty = make_pre_prepare(make_header(GENESIS, 2, b""), b"", None, (GAP,))
    bench = Bench(held_blocks_max=1)
    propose(bench, FIRST)
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    assert is_put_to_driver(propose(bench, empty))


def lead(bench: Bench, body: bytes = b"mine") -> PrePrepare:
    """Let the core under test propose in the current view."""
    building = of_kind(bench.step(WorkChanged(True)), BuildBlock)[0]
    built = BlockBuilt(
        building.view, building.parent.block_id, body, body_root(body), bench.wall_ms
    )
    proposal = of_kind(bench.step(built), Broadcast)[0].message
    assert isinstance(proposal, PrePrepare)
    return proposal


def test_a_leader_builds_on_the_highest_prepared_block() -> None:
    bench = Bench(own_index=2)
    accept(bench, FIRST)
    proposal = lead(bench)
    assert proposal.header.parent_id == FIRST.block_id
    assert proposal.parent_certificate == prepared(FIRST)
    assert proposal.view_change_certificates == ()


def test_a_leader_ships_the_certificates_of_the_views_it_skips() -> None:
    bench = Bench(own_index=3)
    accept(bench, FIRST)
    given_up = certify(VoteKind.VIEW_CHANGE, 2, signers=(0, 1, 2))
    bench.step(MessageReceived(1, CertificateMessage(given_up)))
    proposal = lead(bench)
    assert proposal.header.parent_view == 1
    assert proposal.view_change_certificates == (given_up,)


def test_a_leader_ships_the_highest_certificates_of_a_long_gap() -> None:
    bench = Bench(own_index=2)
    count = GAP_CERTIFICATES_MAX + 17
    for view in range(1, count + 1):
        bench.step(
            MessageReceived(
                1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, view, signers=(0, 1, 3)))
            )
        )
    views = [each.view for each in lead(bench).view_change_certificates]
    assert views == list(range(count + 1 - GAP_CERTIFICATES_MAX, count + 1))


def test_a_leader_that_lacks_the_certificate_of_a_view_does_not_build() -> None:
    bench = Bench(own_index=3)
    bench.step(
        MessageReceived(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, 2, signers=(0, 1, 2))))
    )
    assert bench.core.state.view == 3
    assert not of_kind(bench.step(WorkChanged(True)), BuildBlock)


def test_a_leader_that_lacks_the_prepared_block_builds_below_it_only_if_the_view_was_given_up() -> (
    None
):
    bench = Bench(own_index=2)
    certificate = certify(VoteKind.PREPARE, 1, FIRST.block_id, signers=(0, 1, 3))
    bench.step(MessageReceived(1, CertificateMessage(certificate)))
    assert not of_kind(bench.step(WorkChanged(True)), BuildBlock)
    gap = certify(VoteKind.VIEW_CHANGE, 1, signers=(0, 1, 3))
    actions = bench.step(MessageReceived(1, CertificateMessage(gap)))
    assert of_kind(actions, BuildBlock) == [BuildBlock(2, GENESIS, must_be_empty=False)]


def test_a_leader_on_the_final_block_ships_its_commit_certificate() -> None:
    bench = Bench(own_index=2)
    final = certify(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, signers=(0, 1, 3))
    propose(bench, FIRST)
    bench.step(MessageReceived(1, CertificateMessage(final)))
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    bench.step(BlockExecuted(FIRST.block_id, ROOT))
    assert bench.core.state.tree.final == FIRST.header
    assert lead(bench).parent_certificate == final


def test_a_leader_beyond_k_builds_an_empty_block_at_the_pace_of_timeouts() -> None:
    bench = Bench(own_index=2, unfinal_blocks_max=1, view_timeout_ms=1_000)
    bench.step(WorkChanged(True))
    accept(bench, FIRST)
    assert not of_kind(bench.step(Ticked()), BuildBlock)
    building = of_kind(bench.step(Ticked(), after_ms=500), BuildBlock)
    assert [(each.view, each.must_be_empty) for each in building] == [(2, True)]
    full = BlockBuilt(2, FIRST.block_id, b"full", body_root(b"full"), bench.wall_ms)
    with pytest.raises(InvariantViolationError):
        bench.step(full)


def test_a_leader_proposes_an_empty_block_for_one_that_does_not_become_final() -> None:
    bench = Bench(own_index=2, view_timeout_ms=1_000)
    accept(bench, FIRST)
    assert not of_kind(bench.step(Ticked(), after_ms=499), BuildBlock)
    assert of_kind(bench.step(Ticked(), after_ms=1), BuildBlock)
    built = BlockBuilt(2, FIRST.block_id, b"", EMPTY_BODY_ROOT, bench.wall_ms)
    assert of_kind(bench.step(built), Broadcast)


def test_a_parent_that_lost_while_the_block_was_built_is_not_proposed_upon() -> None:
    bench = Bench(own_index=3)
    for view in (1, 2):
        bench.step(
            MessageReceived(
                1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, view, signers=(0, 1, 2)))
            )
        )
    bench.step(WorkChanged(True))
    second = make_pre_prepare(make_header(GENESIS, 2, b"second"), b"second", None, (GAP,))
    certificate = certify(VoteKind.PREPARE, 2, second.block_id, signers=(0, 1, 2))
    bench.step(MessageReceived(2, CertificateMessage(certificate)))
    propose(bench, second)
    bench.step(BlockValidated(second.block_id, Verdict.VALID))
    bench.step(BlockExecuted(second.block_id, ROOT))
    bench.core.state.log.record(2).certificates.pop(VoteKind.VIEW_CHANGE)
    final = certify(VoteKind.COMMIT, 2, second.block_id, ROOT, signers=(0, 1, 2))
    bench.step(MessageReceived(2, CertificateMessage(final)))
    assert bench.core.state.tree.final == second.header
    built = BlockBuilt(3, GENESIS.block_id, b"late", body_root(b"late"), bench.wall_ms)
    actions = bench.step(built)
    assert not own_votes(actions)
    assert of_kind(actions, BuildBlock)[0].parent == second.header


def test_a_switched_off_leader_drops_what_was_built() -> None:
    bench = Bench(own_index=1)
    bench.step(WorkChanged(True))
    unknown = certify(VoteKind.COMMIT, 1, b"?" * 32, ROOT)
    bench.step(MessageReceived(2, CertificateMessage(replace(unknown, view=1))))
    built = BlockBuilt(1, GENESIS.block_id, b"late", body_root(b"late"), bench.wall_ms)
    assert not own_votes(bench.step(built))


def test_headers_are_children_of_the_block_they_name() -> None:
    header: BlockHeader = child(FIRST, 2).header
    assert (header.height, header.parent_view) == (2, 1)


def test_a_leader_that_is_switched_off_between_question_and_answer_signs_nothing() -> None:
    bench = Bench(own_index=1)
    bench.step(WorkChanged(True))
    bench.core.state.safety.switch(on=False)
    built = BlockBuilt(1, GENESIS.block_id, b"late", body_root(b"late"), bench.wall_ms)
    bench.core._proposals.on_built(built)
    assert bench.core.state.actions == []


def test_a_prepare_that_safety_refuses_is_not_sent() -> None:
    bench = Bench()
    propose(bench, FIRST)
    bench.core.state.safety.restore(make_vote(VoteKind.PREPARE, 1, b"b" * 32, validator=0))
    assert own_votes(bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))) == []
