"""What waits to be sent to one peer: bounded, votes first, transactions dropped first.

Pure: the connection's writer takes from it, everybody else puts. A peer that does not take what is
sent to it fills its queue and is reset by the connection; nobody waits for it.
"""

from __future__ import annotations

from collections import deque

from p2p.frames import Channel

__all__ = ["QUEUE_BYTES_MAX", "OutboundQueue"]

QUEUE_BYTES_MAX = 16 * 1024 * 1024
"""Bytes that may wait for one peer before the connection counts as stuck."""

DROPPABLE_BYTES_MAX = 4 * 1024 * 1024
"""Beyond this, transactions are not queued at all: they reach the peer inside a block."""

FRAME_COST_BYTES = 64
"""What a waiting frame costs beside its bytes; without it, tiny frames were free."""


class OutboundQueue:
    """Frames for one peer, by channel.

    Attributes
    ----------
    dropped : frames that were not queued for want of room.
    """

    def __init__(self) -> None:
        self._frames: dict[Channel, deque[bytes]] = {channel: deque() for channel in Channel}
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return sum(map(len, self._frames.values()))

    @property
    def size_bytes(self) -> int:
        """Bytes that wait, with what it costs to keep them."""
        return self._bytes

    def put(self, channel: Channel, frame: bytes) -> bool:
        """Queue a frame; return False when the peer is stuck and its connection must be reset."""
        size = self._bytes + len(frame) + FRAME_COST_BYTES
        if channel is Channel.TRANSACTION and size > DROPPABLE_BYTES_MAX:
            self.dropped += 1
            return True
        if size > QUEUE_BYTES_MAX:
            self.dropped += 1
            return False
        self._frames[channel].append(frame)
        self._bytes = size
        return True

    def take(self, bytes_max: int) -> bytes:
        """Return the most urgent frames, joined: at least one if any waits, up to ``bytes_max``."""
        taken: list[bytes] = []
        size = 0
        for waiting in self._frames.values():
            while waiting and (not taken or size + len(waiting[0]) <= bytes_max):
                frame = waiting.popleft()
                taken.append(frame)
                size += len(frame)
            if waiting:
                break
        self._bytes -= size + FRAME_COST_BYTES * len(taken)
        return b"".join(taken)

    def clear(self) -> None:
        """Forget everything that waits."""
        for waiting in self._frames.values():
            waiting.clear()
        self._bytes = 0
