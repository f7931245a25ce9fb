"""The waits of a view."""

from __future__ import annotations

from consensus.pacemaker import Pacemaker
from tests.helpers.consensus import make_parameters


def make_pacemaker() -> Pacemaker:
    pacemaker = Pacemaker(
        make_parameters(
            view_timeout_ms=1_000,
            idle_limit_ms=8_000,
            retransmit_ms=200,
            retransmit_max_ms=400,
            status_interval_ms=2_000,
        ),
        view=1,
    )
    pacemaker.start(10_000)
    return pacemaker


def test_an_idle_view_is_given_up_a_timeout_after_the_idle_limit() -> None:
    pacemaker = make_pacemaker()
    assert pacemaker.compute_deadline_ms(leader_skipped=False) == 10_000 + 8_000 + 1_000
    assert pacemaker.compute_proposal_ms(transactions_pending=False) == 18_000


def test_work_starts_the_timer() -> None:
    pacemaker = make_pacemaker()
    pacemaker.set_work(known=True, now_ms=12_000)
    pacemaker.set_work(known=True, now_ms=12_500)
    assert pacemaker.compute_deadline_ms(leader_skipped=False) == 13_000
    pacemaker.set_work(known=False, now_ms=12_600)
    assert pacemaker.compute_deadline_ms(leader_skipped=False) == 19_000


def test_a_leader_that_has_proposed_gets_half_a_timeout_more() -> None:
    pacemaker = make_pacemaker()
    pacemaker.set_work(known=True, now_ms=12_000)
    pacemaker.proposal_seen = True
    assert pacemaker.compute_deadline_ms(leader_skipped=True) == 13_500


def test_a_skipped_leader_gets_no_time_once_there_is_work() -> None:
    pacemaker = make_pacemaker()
    assert pacemaker.compute_deadline_ms(leader_skipped=True) == 18_000
    pacemaker.set_work(known=True, now_ms=12_000)
    assert pacemaker.compute_deadline_ms(leader_skipped=True) == 12_000


def test_pending_transactions_are_proposed_at_once_and_empty_blocks_after_a_grace() -> None:
    pacemaker = make_pacemaker()
    pacemaker.set_work(known=True, now_ms=12_000)
    assert pacemaker.compute_proposal_ms(transactions_pending=True) == 10_000
    assert pacemaker.compute_proposal_ms(transactions_pending=False) == 12_500


def test_a_heartbeat_is_due_an_idle_limit_after_the_last_block_whatever_views_passed() -> None:
    pacemaker = make_pacemaker()
    pacemaker.note_block(11_000)
    pacemaker.enter(2, 11_000)
    assert pacemaker.compute_proposal_ms(transactions_pending=False) == 19_000
    pacemaker.enter(3, 20_500)
    assert pacemaker.compute_proposal_ms(transactions_pending=False) == 20_500


def test_timeouts_grow_with_failures_and_fall_back_on_progress() -> None:
    pacemaker = make_pacemaker()
    pacemaker.note_failure()
    pacemaker.note_failure()
    assert pacemaker.timeout_ms == 2_252
    pacemaker.note_progress()
    assert pacemaker.timeout_ms == 1_000


def test_entering_a_view_with_work_starts_its_timer_anew() -> None:
    pacemaker = make_pacemaker()
    pacemaker.set_work(known=True, now_ms=12_000)
    pacemaker.enter(2, 12_900)
    assert pacemaker.compute_deadline_ms(leader_skipped=False) == 13_900


def test_retransmissions_become_rarer_up_to_a_limit() -> None:
    pacemaker = make_pacemaker()
    pacemaker.set_work(known=True, now_ms=10_000)
    due = []
    now_ms = pacemaker.retransmit_at_ms
    for _ in range(4):
        pacemaker.note_retransmission(now_ms)
        due.append(pacemaker.retransmit_at_ms - now_ms)
        now_ms = pacemaker.retransmit_at_ms
    assert due == [200, 300, 400, 400]


def test_an_idle_view_speaks_at_the_pace_of_status() -> None:
    pacemaker = make_pacemaker()
    pacemaker.note_retransmission(10_200)
    assert pacemaker.retransmit_at_ms == 12_200
    pacemaker.set_work(known=True, now_ms=10_300)
    assert pacemaker.retransmit_at_ms == 10_500
