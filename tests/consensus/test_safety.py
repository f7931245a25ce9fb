"""The rules S1 to S6: each one refuses, and what was signed is in the record."""

from __future__ import annotations

import pytest

from consensus.errors import ContradictoryRecordsError
from consensus.messages import PrePrepare
from consensus.records import decode_record
from consensus.safety import SafetyGuard
from primitives.certificates import VoteKind
from primitives.errors import InvariantViolationError
from tests.helpers.consensus import (
    CHAIN_ID,
    GENESIS,
    certify,
    make_header,
    make_pre_prepare,
    make_signer,
    make_vote,
    verify,
)

ROOT = b"r" * 32


def make_guard(own_index: int | None = 1, floor: int = 0) -> SafetyGuard:
    signer = None if own_index is None else make_signer(own_index)
    return SafetyGuard(CHAIN_ID, 0, own_index, signer, floor)


def make_proposal(view: int, body: bytes = b"") -> PrePrepare:
    return make_pre_prepare(make_header(GENESIS, view, body), body)


def prepared(view: int, body: bytes = b"") -> object:
    return certify(VoteKind.PREPARE, view, make_proposal(view, body).block_id)


def propose(guard: SafetyGuard, view: int, body: bytes = b"") -> object:
    return guard.sign_proposal(make_header(GENESIS, view, body), body, None, ())


def test_s1_a_second_proposal_for_a_view_is_refused() -> None:
    guard = make_guard()
    signed = propose(guard, 5)
    assert signed is not None
    assert propose(guard, 5, b"other") is None
    assert propose(guard, 9) is not None
    assert guard.get_proposal(5) == make_proposal(5)


def test_s2_a_second_prepare_in_a_view_is_refused() -> None:
    guard = make_guard()
    assert guard.sign_prepare(make_proposal(5), ()) is not None
    assert guard.sign_prepare(make_proposal(5, b"other"), ()) is None
    assert guard.sign_prepare(make_proposal(5), ()) is None


def test_s3_a_second_commit_in_a_view_is_refused() -> None:
    guard = make_guard()
    certificate = certify(VoteKind.PREPARE, 5, b"b" * 32)
    assert guard.sign_commit(certificate, ROOT, ()) is not None
    assert guard.sign_commit(certificate, b"s" * 32, ()) is None


def test_s3_a_commit_without_a_prepared_certificate_is_our_own_bug() -> None:
    with pytest.raises(InvariantViolationError):
        make_guard().sign_commit(certify(VoteKind.COMMIT, 5, b"b" * 32, ROOT), ROOT, ())


def test_s4_a_commit_after_a_view_change_is_refused() -> None:
    guard = make_guard()
    assert guard.sign_view_change(5, ()) is not None
    assert guard.sign_commit(certify(VoteKind.PREPARE, 5, b"b" * 32), ROOT, ()) is None


def test_s4_a_view_change_after_a_commit_is_refused() -> None:
    guard = make_guard()
    assert guard.sign_commit(certify(VoteKind.PREPARE, 5, b"b" * 32), ROOT, ()) is not None
    assert guard.sign_view_change(5, ()) is None


def test_a_prepare_does_not_stand_in_the_way_of_a_view_change_nor_the_reverse() -> None:
    guard = make_guard()
    assert guard.sign_prepare(make_proposal(5), ()) is not None
    assert guard.sign_view_change(5, ()) is not None
    assert guard.sign_view_change(6, ()) is not None
    assert guard.sign_prepare(make_proposal(6), ()) is not None


def test_s5_nothing_is_signed_at_or_below_the_floor() -> None:
    guard = make_guard(floor=5)
    assert propose(guard, 5) is None
    assert guard.sign_prepare(make_proposal(5), ()) is None
    assert guard.sign_commit(certify(VoteKind.PREPARE, 4, b"b" * 32), ROOT, ()) is None
    assert guard.sign_view_change(5, ()) is None
    assert guard.sign_view_change(6, ()) is not None


def test_s5_raising_the_floor_forgets_what_lies_below_and_signs_it_no_more() -> None:
    guard = make_guard()
    guard.sign_view_change(4, ())
    guard.sign_view_change(6, ())
    propose(guard, 5)
    guard.raise_floor(5)
    guard.raise_floor(3)
    assert guard.floor_view == 5
    assert guard.vote_count == 1
    assert guard.get_proposal(5) is None
    assert guard.sign_view_change(4, ()) is None


def test_s6_nothing_is_signed_while_switched_off() -> None:
    guard = make_guard()
    guard.switch(on=False)
    assert propose(guard, 5) is None
    assert guard.sign_view_change(5, ()) is None
    guard.switch(on=True)
    assert guard.sign_view_change(5, ()) is not None


def test_an_observer_signs_nothing_even_if_switched_on() -> None:
    guard = make_guard(own_index=None)
    guard.switch(on=True)
    assert not guard.is_on
    assert guard.sign_view_change(5, ()) is None
    assert propose(guard, 5) is None


def test_a_validator_without_signer_is_our_own_bug() -> None:
    with pytest.raises(InvariantViolationError):
        SafetyGuard(CHAIN_ID, 0, 1, None, 0)


def test_a_proposal_in_another_name_is_our_own_bug() -> None:
    with pytest.raises(InvariantViolationError):
        propose(make_guard(own_index=1), 6)


def test_the_record_of_a_vote_holds_it_and_all_it_relied_on() -> None:
    guard = make_guard()
    proposal = make_proposal(5)
    signed = guard.sign_prepare(proposal, [proposal])
    assert signed is not None
    vote, record = signed
    assert record.view == 5
    assert decode_record(record.record).vote == vote
    assert decode_record(record.record).pre_prepares == (proposal,)
    assert verify(b"", b"", b"") is False
    certificate = certify(VoteKind.PREPARE, 5, proposal.block_id)
    committed = guard.sign_commit(certificate, ROOT, ())
    assert committed is not None
    assert decode_record(committed[1].record).certificates == (certificate,)


def test_signatures_are_over_the_vote() -> None:
    signed = make_guard().sign_view_change(5, ())
    assert signed is not None
    assert signed[0] == make_vote(VoteKind.VIEW_CHANGE, 5, validator=1)


def test_restored_votes_are_said_again_and_not_contradicted() -> None:
    guard = make_guard()
    vote = make_vote(VoteKind.PREPARE, 5, b"b" * 32, validator=1)
    guard.restore(vote)
    guard.restore(vote)
    assert guard.get_vote(VoteKind.PREPARE, 5) == vote
    assert guard.sign_prepare(make_proposal(5), ()) is None


def test_restored_votes_below_the_floor_are_left_out() -> None:
    guard = make_guard(floor=5)
    guard.restore(make_vote(VoteKind.VIEW_CHANGE, 5, validator=1))
    guard.restore_proposal(make_proposal(5))
    assert guard.vote_count == 0
    assert guard.get_proposal(5) is None


def test_contradicting_records_are_found() -> None:
    guard = make_guard()
    guard.restore(make_vote(VoteKind.COMMIT, 5, b"b" * 32, ROOT, validator=1))
    with pytest.raises(ContradictoryRecordsError):
        guard.restore(make_vote(VoteKind.VIEW_CHANGE, 5, validator=1))
    with pytest.raises(ContradictoryRecordsError):
        guard.restore(make_vote(VoteKind.COMMIT, 5, b"c" * 32, ROOT, validator=1))


def test_two_own_proposals_in_the_records_are_found() -> None:
    guard = make_guard()
    guard.restore_proposal(make_proposal(5))
    guard.restore_proposal(make_proposal(5))
    with pytest.raises(ContradictoryRecordsError):
        guard.restore_proposal(make_proposal(5, b"other"))


def test_the_highest_commit_is_found() -> None:
    guard = make_guard()
    assert guard.find_highest_commit() is None
    for view in (5, 9, 7):
        guard.sign_commit(certify(VoteKind.PREPARE, view, b"b" * 32), ROOT, ())
    highest = guard.find_highest_commit()
    assert highest is not None
    assert highest.view == 9
