"""The rotation and the marks of silent leaders."""

from __future__ import annotations

from consensus.leader import LeaderSchedule


def test_leaders_rotate_with_the_view() -> None:
    schedule = LeaderSchedule(4)
    assert [schedule.leader(view) for view in range(6)] == [0, 1, 2, 3, 0, 1]


def test_a_silent_leader_is_skipped_at_its_next_turn_only() -> None:
    schedule = LeaderSchedule(4)
    schedule.mark_silent(5)
    assert not schedule.is_skipped(5)
    assert schedule.is_skipped(9)
    assert not schedule.is_skipped(13)
    assert not schedule.is_skipped(8)


def test_a_fresh_vote_clears_the_mark() -> None:
    schedule = LeaderSchedule(4)
    schedule.mark_silent(5)
    schedule.clear(1, 5)
    assert not schedule.is_skipped(9)


def test_an_old_vote_does_not_clear_the_mark() -> None:
    schedule = LeaderSchedule(4)
    schedule.mark_silent(5)
    schedule.clear(1, 4)
    schedule.clear(2, 9)
    assert schedule.is_skipped(9)
