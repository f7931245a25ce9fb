from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.frames import Channel, get_cap_bytes
from p2p.rate_limit import InboundLimits, TokenBucket

STEPS = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=50)


@given(STEPS)
def test_never_more_is_taken_than_the_rate_and_the_burst_allow(
    steps: list[tuple[float, float]],
) -> None:
    bucket, now_s, taken = TokenBucket(rate=3, burst=5), 0.0, 0.0
    for tokens, pause_s in steps:
        now_s += pause_s
        if bucket.take(tokens, now_s):
            taken += tokens
        assert taken <= 5 + 3 * now_s + 1e-6


@given(STEPS)
def test_who_waits_as_told_never_spends_more_than_the_rate_and_the_burst_allow(
    steps: list[tuple[float, float]],
) -> None:
    bucket, now_s, spent = TokenBucket(rate=3, burst=5), 0.0, 0.0
    for tokens, pause_s in steps:
        spent += tokens
        now_s += pause_s + bucket.spend(tokens, now_s + pause_s)
        assert spent <= 5 + 3 * now_s + 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(rate=1, burst=1)
    assert bucket.take(1, 100.0)
    assert not bucket.take(1, 50.0)


@pytest.mark.parametrize("channel", [channel for channel in Channel if channel.name != "HELLO"])
def test_the_largest_frame_of_a_channel_passes_at_once(channel: Channel) -> None:
    assert InboundLimits().charge(channel, get_cap_bytes(channel), now_s=0.0) == 0.0


def test_a_channel_that_agreement_needs_is_slowed_and_loses_nothing() -> None:
    limits = InboundLimits()
    waits = [limits.charge(Channel.CONSENSUS_VOTE, 200, now_s=0.0) for _ in range(10_000)]
    assert waits[0] == 0.0
    assert waits[-1] == pytest.approx((10_000 - 4_000) / 4_000)


def test_transactions_beyond_the_rate_are_dropped() -> None:
    limits = InboundLimits()
    verdicts = [limits.charge(Channel.TRANSACTION, 200, now_s=0.0) for _ in range(10_000)]
    assert verdicts[0] == 0.0
    assert verdicts[-1] is None
    assert limits.charge(Channel.TRANSACTION, 200, now_s=1.0) == 0.0


def test_one_channel_does_not_use_up_another() -> None:
    limits = InboundLimits()
    while limits.charge(Channel.TRANSACTION, 1024, now_s=0.0) is not None:
        pass
    assert limits.charge(Channel.CONSENSUS_VOTE, 200, now_s=0.0) == 0.0
