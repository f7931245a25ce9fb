from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2p.frames import Channel
from p2p.outbound_queue import (
    DROPPABLE_BYTES_MAX,
    FRAME_COST_BYTES,
    QUEUE_BYTES_MAX,
    OutboundQueue,
)

MEBIBYTE = 1024 * 1024


def test_votes_leave_first_whatever_was_put_first() -> None:
    queue = OutboundQueue()
    for channel in (Channel.TRANSACTION, Channel.SYNC, Channel.CONSENSUS_PROPOSAL):
        assert queue.put(channel, channel.name.encode())
    queue.put(Channel.CONSENSUS_VOTE, b"vote")
    assert [queue.take(1) for _ in range(4)] == [
        b"vote",
        b"CONSENSUS_PROPOSAL",
        b"SYNC",
        b"TRANSACTION",
    ]
    assert queue.take(1) == b""


@given(
    st.lists(st.tuples(st.sampled_from(Channel), st.binary(min_size=1, max_size=20)), max_size=30),
    st.integers(1, 60),
)
def test_everything_put_leaves_once_in_the_order_of_channels(
    frames: list[tuple[Channel, bytes]], bytes_max: int
) -> None:
    queue = OutboundQueue()
    for channel, frame in frames:
        assert queue.put(channel, frame)
    assert len(queue) == len(frames)
    taken = []
    while queue:
        taken.append(queue.take(bytes_max))
        assert taken[-1]
        assert len(taken[-1]) <= max(bytes_max, 20)
    ordered = sorted(frames, key=lambda pair: pair[0])
    assert b"".join(taken) == b"".join(frame for _, frame in ordered)
    assert queue.size_bytes == 0


def test_transactions_are_dropped_long_before_the_peer_counts_as_stuck() -> None:
    queue = OutboundQueue()
    frame = bytes(MEBIBYTE)
    for _ in range(100):
        assert queue.put(Channel.TRANSACTION, frame)
    assert queue.size_bytes <= DROPPABLE_BYTES_MAX
    assert queue.dropped == 100 - len(queue)
    assert queue.put(Channel.CONSENSUS_VOTE, b"vote")


def test_a_peer_that_takes_nothing_is_stuck_at_the_bound() -> None:
    queue = OutboundQueue()
    frame = bytes(MEBIBYTE)
    accepted = 0
    while queue.put(Channel.SYNC, frame):
        accepted += 1
    assert accepted == QUEUE_BYTES_MAX // (MEBIBYTE + FRAME_COST_BYTES)
    queue.clear()
    assert (len(queue), queue.size_bytes) == (0, 0)
    assert queue.put(Channel.SYNC, frame)


def test_tiny_frames_are_not_free() -> None:
    queue = OutboundQueue()
    count = 0
    while queue.put(Channel.CONSENSUS_VOTE, b"v"):
        count += 1
    assert count <= QUEUE_BYTES_MAX // FRAME_COST_BYTES
