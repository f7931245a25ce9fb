"""Counting votes, forming and verifying certificates, finding contradictions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.evidence import EvidenceKind
from consensus.parameters import VIEW_WINDOW
from consensus.votes import VoteLog
from primitives.certificates import Certificate, VoteKind, verify_certificate
from primitives.errors import InvalidInputError
from tests.helpers.consensus import CHAIN_ID, certify, make_validators, make_vote, verify

ONE, OTHER, ROOT = (bytes([number]) * 32 for number in range(1, 4))
VALIDATORS = make_validators()


class CountingVerifier:
    """Counts how often a signature is looked at."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        self.calls += 1
        return verify(public_key, message, signature)


def make_log(final_view: int = 0, verifier: CountingVerifier | None = None) -> VoteLog:
    return VoteLog(VALIDATORS, CHAIN_ID, verifier or verify, final_view)


def add_prepares(log: VoteLog, view: int, block_id: bytes, *validators: int) -> Certificate | None:
    certificate = None
    for validator in validators:
        vote = make_vote(VoteKind.PREPARE, view, block_id, validator=validator)
        _, certificate = log.add_vote(vote)
    return certificate


def test_a_quorum_of_equal_votes_is_a_certificate_that_verifies() -> None:
    log = make_log()
    assert add_prepares(log, 1, ONE, 3, 0) is None
    certificate = add_prepares(log, 1, ONE, 2)
    assert certificate is not None
    assert certificate.signers == (0, 2, 3)
    verify_certificate(certificate, VALIDATORS, CHAIN_ID, verify)


def test_votes_for_different_blocks_do_not_add_up() -> None:
    log = make_log()
    assert add_prepares(log, 1, ONE, 0, 1) is None
    assert add_prepares(log, 1, OTHER, 2) is None
    assert add_prepares(log, 1, ONE, 3) is not None


def test_a_vote_more_than_needed_makes_no_second_certificate() -> None:
    log = make_log()
    certificate = add_prepares(log, 1, ONE, 0, 1, 2)
    assert certificate is not None
    log.add_certificate(certificate)
    assert add_prepares(log, 1, ONE, 3) is None
    assert log.count_votes(VoteKind.PREPARE, 1) == 4


def test_a_second_vote_is_reported_once_and_not_counted() -> None:
    log = make_log()
    add_prepares(log, 1, ONE, 0)
    double = make_vote(VoteKind.PREPARE, 1, OTHER, validator=0)
    evidence, _ = log.add_vote(double)
    assert [each.kind for each in evidence] == [EvidenceKind.DOUBLE_PREPARE]
    assert log.add_vote(double) == ([], None)
    assert log.count_votes(VoteKind.PREPARE, 1) == 1


def test_commit_and_view_change_contradict_whichever_comes_first() -> None:
    log = make_log()
    log.add_vote(make_vote(VoteKind.VIEW_CHANGE, 1, validator=0))
    evidence, _ = log.add_vote(make_vote(VoteKind.COMMIT, 1, ONE, ROOT, validator=0))
    assert [each.kind for each in evidence] == [EvidenceKind.COMMIT_AND_VIEW_CHANGE]


def test_signatures_seen_in_votes_are_not_verified_again_in_a_certificate() -> None:
    verifier = CountingVerifier()
    log = make_log(verifier=verifier)
    add_prepares(log, 1, ONE, 0, 1)
    log.check_certificate(certify(VoteKind.PREPARE, 1, ONE, signers=(0, 1, 2)))
    assert verifier.calls == 1


@pytest.mark.parametrize(
    "certificate",
    [
        certify(VoteKind.PREPARE, 1, ONE, signers=(0, 1)),
        certify(VoteKind.PREPARE, 1, ONE, signers=(0, 1, 1)),
        replace(certify(VoteKind.PREPARE, 1, ONE), view=2),
        replace(certify(VoteKind.PREPARE, 1, ONE), signatures=(bytes(64),) * 3),
        replace(certify(VoteKind.PREPARE, 1, OTHER), block_id=ONE),
        replace(certify(VoteKind.PREPARE, 1, ONE), signers=(0, 1, 9)),
    ],
)
def test_a_forged_certificate_is_refused_even_when_votes_are_known(
    certificate: Certificate,
) -> None:
    log = make_log()
    add_prepares(log, 1, ONE, 0, 1)
    with pytest.raises(InvalidInputError):
        log.check_certificate(certificate)


def test_votes_in_a_certificate_count_and_convict() -> None:
    log = make_log()
    add_prepares(log, 1, OTHER, 1)
    evidence = log.add_certificate(certify(VoteKind.PREPARE, 1, ONE, signers=(0, 1, 2)))
    assert [each.validator for each in evidence] == [1]
    assert log.holds_vote(make_vote(VoteKind.PREPARE, 1, ONE, validator=0))
    assert not log.holds_vote(make_vote(VoteKind.PREPARE, 1, ONE, validator=1))
    assert log.has_voted(VoteKind.PREPARE, 1, 2)
    assert not log.has_voted(VoteKind.PREPARE, 1, 3)
    assert not log.has_voted(VoteKind.PREPARE, 2, 3)


def test_the_highest_views_follow_the_certificates() -> None:
    log = make_log(final_view=2)
    log.add_certificate(certify(VoteKind.VIEW_CHANGE, 9))
    assert (log.highest_certified_view, log.highest_prepared_view) == (9, 2)
    log.add_certificate(certify(VoteKind.PREPARE, 5, ONE))
    log.add_certificate(certify(VoteKind.COMMIT, 4, OTHER, ROOT))
    assert (log.highest_certified_view, log.highest_prepared_view) == (9, 5)
    assert list(log.prepared_views) == [5]
    assert list(log.committed_views) == [4]
    log.set_final(4)
    assert not log.committed_views
    log.set_final(12)
    assert (log.highest_certified_view, log.highest_prepared_view) == (12, 12)
    assert not log.prepared_views


def test_a_certificate_of_a_final_view_changes_no_height() -> None:
    log = make_log(final_view=5)
    log.add_certificate(certify(VoteKind.PREPARE, 5, ONE))
    assert log.highest_certified_view == 5
    assert not log.prepared_views


def test_the_first_uncertified_view_lies_above_the_highest_prepared_one() -> None:
    log = make_log()
    log.add_certificate(certify(VoteKind.PREPARE, 3, ONE))
    assert log.compute_first_uncertified_view(4) == 4
    log.add_certificate(certify(VoteKind.VIEW_CHANGE, 4))
    log.add_certificate(certify(VoteKind.VIEW_CHANGE, 6))
    assert log.compute_first_uncertified_view(7) == 5
    log.add_certificate(certify(VoteKind.VIEW_CHANGE, 5))
    assert log.compute_first_uncertified_view(7) == 7


def test_a_blocks_certificate_is_a_prepared_or_a_commit_certificate_of_that_block() -> None:
    log = make_log()
    assert log.get_block_certificate(1, ONE) is None
    commit = certify(VoteKind.COMMIT, 1, ONE, ROOT)
    log.add_certificate(commit)
    assert log.get_block_certificate(1, ONE) == commit
    assert log.get_block_certificate(1, OTHER) is None


def test_views_far_below_the_final_one_are_forgotten() -> None:
    log = make_log()
    for view in range(1, 101):
        log.add_certificate(certify(VoteKind.VIEW_CHANGE, view))
    log.set_final(100)
    assert log.record_count == VIEW_WINDOW
    assert log.find(100 - VIEW_WINDOW) is None


def test_votes_far_below_the_current_view_are_forgotten_but_certificates_are_not() -> None:
    log = make_log()
    log.add_certificate(certify(VoteKind.VIEW_CHANGE, 1))
    log.forget_votes(2)
    assert log.count_votes(VoteKind.VIEW_CHANGE, 1) == 3
    log.forget_votes(VIEW_WINDOW + 2)
    log.forget_votes(VIEW_WINDOW + 1)
    assert log.count_votes(VoteKind.VIEW_CHANGE, 1) == 0
    assert log.get_certificate(VoteKind.VIEW_CHANGE, 1) is not None


COMMIT = certify(VoteKind.COMMIT, 1, ONE, ROOT)
PREPARED = certify(VoteKind.PREPARE, 1, ONE)
GIVEN_UP = certify(VoteKind.VIEW_CHANGE, 1)


@pytest.mark.parametrize(
    ("first", "second", "contradict"),
    [
        (COMMIT, GIVEN_UP, True),
        (GIVEN_UP, COMMIT, True),
        (PREPARED, GIVEN_UP, False),
        (PREPARED, COMMIT, False),
        (PREPARED, certify(VoteKind.PREPARE, 1, OTHER), True),
        (COMMIT, certify(VoteKind.PREPARE, 1, OTHER), True),
        (COMMIT, certify(VoteKind.COMMIT, 1, ONE, OTHER), True),
        (GIVEN_UP, GIVEN_UP, False),
    ],
)
def test_exactly_the_impossible_pairs_of_certificates_contradict(
    first: Certificate, second: Certificate, contradict: bool
) -> None:
    log = make_log()
    log.add_certificate(first)
    assert log.record(1).contradicts(second) is contradict
