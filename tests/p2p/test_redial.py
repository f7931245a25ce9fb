from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2p.redial import PAUSE_S_MAX, PAUSE_S_MIN, STABLE_S, RedialBackoff


@given(
    st.floats(0, 1, exclude_max=True),
    st.lists(st.floats(0, STABLE_S, exclude_max=True), max_size=9),
)
def test_pauses_grow_to_the_cap_and_are_cut_by_at_most_half(
    draw: float, lasted: list[float]
) -> None:
    backoff = RedialBackoff(lambda: draw)
    for count, lasted_s in enumerate(lasted):
        longest = min(PAUSE_S_MIN * 2**count, PAUSE_S_MAX)
        assert longest / 2 <= backoff.compute_pause_s(lasted_s) <= longest


def test_a_connection_that_fails_at_once_does_not_shorten_the_pause() -> None:
    backoff = RedialBackoff(lambda: 0.0)
    pauses = [backoff.compute_pause_s(lasted_s=0.01) for _ in range(10)]
    assert pauses[-1] == PAUSE_S_MAX


def test_a_good_connection_makes_the_pause_short_again() -> None:
    backoff = RedialBackoff(lambda: 0.0)
    for _ in range(10):
        backoff.compute_pause_s(lasted_s=0.0)
    assert backoff.compute_pause_s(lasted_s=STABLE_S) == PAUSE_S_MIN
