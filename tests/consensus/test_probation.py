"""Nothing is signed that might contradict what was forgotten, and not for longer than that."""

from __future__ import annotations

import pytest

from consensus.actions import Broadcast, BuildBlock, RaiseAlarm
from consensus.events import MessageReceived, Ticked, WorkChanged
from consensus.messages import CertificateMessage, Status, Vote
from consensus.probation import Probation
from consensus.recovery import Recovered
from primitives.certificates import VoteKind
from tests.helpers.consensus import GENESIS, Bench, certify, make_vote, of_kind

ROOT = b"r" * 32
BLOCK = b"b" * 32
OTHER = b"o" * 32


def lose_records(count: int = 4) -> Bench:
    bench = Bench(count=count, recovered=Recovered(GENESIS, None, (), records_lost=True))
    bench.step(WorkChanged(True))
    return bench


def enter(bench: Bench, view: int, count: int = 4) -> None:
    """Show a validator the certificate that lets it enter a view."""
    signers = range(1, 1 + count - (count - 1) // 3)
    certificate = certify(VoteKind.VIEW_CHANGE, view - 1, signers=signers)
    bench.step(MessageReceived(2, CertificateMessage(certificate)))


def hear(bench: Bench, peer: int, view: int) -> None:
    bench.step(MessageReceived(peer, Status(0, view, 0, view)))


def votes(bench: Bench) -> list[Vote]:
    """Return what a validator signs once it would have given up its view."""
    actions = bench.step(Ticked(), after_ms=60_000)
    said = [each.message for each in of_kind(actions, Broadcast)]
    return [message for message in said if isinstance(message, Vote) and message.validator == 0]


def alarms(probation: Probation, bench: Bench) -> list[str]:
    """Return the alarms that were raised outside of a step."""
    raised = of_kind(bench.core.state.actions, RaiseAlarm)
    bench.core.state.actions.clear()
    return [alarm.code for alarm in raised]


def test_it_signs_again_two_views_after_it_caught_up_with_all_that_must_be_heard() -> None:
    bench = lose_records()
    enter(bench, 9)
    for peer in (1, 2, 3):
        assert votes(bench) == []
        hear(bench, peer, 9)
    assert votes(bench) == []
    enter(bench, 10)
    assert votes(bench) == []
    enter(bench, 11)
    assert not bench.core.state.is_on_probation
    assert {vote.view for vote in votes(bench)} == {11}
    assert bench.core.state.safety.floor_view == 10, "no COMMIT for an older block either"


def test_a_liar_and_a_laggard_do_not_end_it_while_the_third_may_be_far_ahead() -> None:
    """Once q - 1 others and a wait were enough: the views of the third were signed in twice."""
    bench = lose_records()
    hear(bench, 1, 1)
    hear(bench, 2, 1)
    for view in range(2, 200, 7):
        enter(bench, view)
        assert votes(bench) == []
    assert bench.core.state.is_on_probation


def test_claimed_views_without_certificates_count_for_nothing() -> None:
    bench = lose_records()
    for peer in (1, 2, 3):
        hear(bench, peer, 10**9)
    enter(bench, 100)
    assert votes(bench) == []
    for peer in (1, 2, 3):
        hear(bench, peer, 100)
    enter(bench, 102)
    assert votes(bench) != []


def test_only_other_validators_are_heard_and_each_once() -> None:
    bench = lose_records()
    for peer in (0, 1, 1, 2, 2, 4, 9):
        hear(bench, peer, 1)
    enter(bench, 50)
    assert votes(bench) == []


def test_of_seven_it_hears_five_others_and_two_may_be_silent() -> None:
    bench = lose_records(count=7)
    for peer in (2, 3, 4, 5):
        hear(bench, peer, 1)
    enter(bench, 4, count=7)
    assert bench.core.state.is_on_probation
    hear(bench, 6, 3)
    hear(bench, 1, 10**6)
    enter(bench, 5, count=7)
    assert bench.core.state.is_on_probation
    enter(bench, 6, count=7)
    assert not bench.core.state.is_on_probation


def test_a_sole_validator_without_records_has_no_one_to_watch() -> None:
    bench = Bench(count=1, recovered=Recovered(GENESIS, None, (), records_lost=True))
    assert of_kind(bench.step(WorkChanged(True)), BuildBlock)
    probation = Probation(bench.core.state, records_lost=True)
    probation.on_vote(make_vote(VoteKind.PREPARE, 5, BLOCK, validator=0))
    assert alarms(probation, bench) == []


def make_probation(
    *, records_lost: bool = False, accepted: bool = False
) -> tuple[Bench, Probation]:
    bench = Bench()
    state = bench.core.state
    return bench, Probation(state, records_lost=records_lost, lost_votes_accepted=accepted)


def catch_up(bench: Bench, probation: Probation, view: int) -> None:
    enter(bench, view)
    for peer in (1, 2, 3):
        probation.note(peer, view)


def test_what_must_be_left_behind_is_said() -> None:
    bench, probation = make_probation(records_lost=True)
    assert probation.signs_above_view is None
    catch_up(bench, probation, 7)
    assert probation.signs_above_view == 8


@pytest.mark.parametrize(("end_view", "reaches"), [(6, True), (7, True), (8, False)])
def test_what_follows_is_free_if_it_begins_above_the_view_in_which_enough_were_heard(
    end_view: int, reaches: bool
) -> None:
    bench, probation = make_probation(records_lost=True)
    assert probation.reaches_beyond(end_view)
    catch_up(bench, probation, 7)
    assert probation.reaches_beyond(end_view) == reaches
    enter(bench, 20)
    probation.update()
    assert not bench.core.state.is_on_probation
    assert probation.reaches_beyond(end_view) == reaches


def test_nothing_reaches_beyond_the_epoch_if_nothing_was_lost() -> None:
    _, probation = make_probation()
    assert not probation.reaches_beyond(1)
    _, probation = make_probation(records_lost=True, accepted=True)
    assert not probation.reaches_beyond(1)


def test_a_vote_of_our_own_that_we_do_not_know_ends_our_signing() -> None:
    bench, probation = make_probation()
    enter(bench, 3)
    probation.on_vote(make_vote(VoteKind.PREPARE, 3, BLOCK, validator=1))
    assert not bench.core.state.is_on_probation
    probation.on_vote(make_vote(VoteKind.PREPARE, 3, BLOCK, validator=0))
    assert bench.core.state.is_on_probation
    assert alarms(probation, bench) == ["own_votes_unknown"]
    assert votes(bench) == []
    catch_up(bench, probation, 5)
    enter(bench, 7)
    probation.update()
    assert not bench.core.state.is_on_probation


def test_a_certificate_with_a_vote_of_ours_that_we_do_not_know_ends_our_signing() -> None:
    bench, probation = make_probation()
    probation.on_certificate(certify(VoteKind.COMMIT, 3, BLOCK, ROOT, signers=(1, 2, 3)))
    assert not bench.core.state.is_on_probation
    probation.on_certificate(certify(VoteKind.COMMIT, 3, BLOCK, ROOT, signers=(0, 1, 2)))
    assert bench.core.state.is_on_probation


@pytest.mark.parametrize("view", [3, 4])
def test_votes_that_we_know_and_those_below_the_floor_mean_nothing(view: int) -> None:
    bench, probation = make_probation()
    safety = bench.core.state.safety
    prepared = certify(VoteKind.PREPARE, 4, BLOCK)
    signed = safety.sign_commit(prepared, ROOT, ())
    assert signed is not None
    safety.raise_floor(3)
    probation.on_vote(make_vote(VoteKind.COMMIT, view, BLOCK, ROOT, validator=0))
    probation.on_certificate(certify(VoteKind.COMMIT, view, BLOCK, ROOT, signers=(0, 1, 2)))
    assert not bench.core.state.is_on_probation


@pytest.mark.parametrize(("block", "root"), [(OTHER, ROOT), (BLOCK, OTHER)])
def test_a_vote_for_something_else_is_not_the_one_we_know(block: bytes, root: bytes) -> None:
    bench, probation = make_probation()
    bench.core.state.safety.sign_commit(certify(VoteKind.PREPARE, 4, BLOCK), ROOT, ())
    probation.on_certificate(certify(VoteKind.COMMIT, 4, block, root, signers=(0, 1, 2)))
    assert bench.core.state.is_on_probation


def test_forgotten_votes_are_no_news_to_a_validator_that_lost_its_records() -> None:
    bench, probation = make_probation(records_lost=True)
    probation.on_vote(make_vote(VoteKind.PREPARE, 30, BLOCK, validator=0))
    catch_up(bench, probation, 7)
    probation.on_vote(make_vote(VoteKind.PREPARE, 8, BLOCK, validator=0))
    assert alarms(probation, bench) == []
    assert not bench.core.state.is_halted


def test_a_vote_that_cannot_be_a_forgotten_one_betrays_another_process() -> None:
    bench, probation = make_probation(records_lost=True)
    catch_up(bench, probation, 7)
    probation.on_vote(make_vote(VoteKind.PREPARE, 9, BLOCK, validator=0))
    assert alarms(probation, bench) == ["key_used_elsewhere"]
    assert bench.core.state.is_halted
    probation.on_vote(make_vote(VoteKind.PREPARE, 10, BLOCK, validator=0))
    assert alarms(probation, bench) == []


def test_an_operator_may_accept_the_loss() -> None:
    bench, probation = make_probation(records_lost=True, accepted=True)
    assert not bench.core.state.is_on_probation
    probation.on_vote(make_vote(VoteKind.PREPARE, 9, BLOCK, validator=0))
    assert not bench.core.state.is_on_probation
    bench.step(WorkChanged(True))
    assert votes(bench) != []
