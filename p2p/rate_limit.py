"""How much a peer may send: a token bucket for the frames and one for the bytes of each channel.

Time is an argument. A peer that sends more than it may is read more slowly, which fills its own
queue; nothing is lost that agreement needs. Transactions beyond the rate are dropped instead, so
that they never hold up the votes behind them. Source: docs/spec/p2p.md §4.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from p2p.frames import Channel

__all__ = ["InboundLimits", "TokenBucket"]

_MEBIBYTE: Final = 1024 * 1024


class _Rate(NamedTuple):
    frames_per_second: int
    bytes_per_second: int


# Each is several times what a correct peer sends in a network of 100 validators. The burst is one
# second's worth and at least the largest frame.
_RATES: Final = {
    Channel.HELLO: _Rate(1, 4 * 1024),
    Channel.CONSENSUS_VOTE: _Rate(4_000, 4 * _MEBIBYTE),
    Channel.CONSENSUS_CERTIFICATE: _Rate(2_000, 16 * _MEBIBYTE),
    Channel.CONSENSUS_PROPOSAL: _Rate(200, 64 * _MEBIBYTE),
    Channel.SYNC: _Rate(400, 64 * _MEBIBYTE),
    Channel.TRANSACTION: _Rate(2_000, 32 * _MEBIBYTE),
    Channel.PING: _Rate(20, 4 * 1024),
    Channel.SNAPSHOT: _Rate(100, 64 * _MEBIBYTE),
}
_LOSSY_CHANNELS: Final = frozenset({Channel.TRANSACTION})


class TokenBucket:
    """Tokens that refill at a steady rate up to a burst.

    Parameters
    ----------
    rate
        Tokens per second, > 0.
    burst
        Most tokens that can gather, > 0; the bucket begins full.

    Examples
    --------
    >>> bucket = TokenBucket(rate=1, burst=2)
    >>> [bucket.take(1, now_s) for now_s in (0.0, 0.0, 0.5, 1.5)]
    [True, True, False, True]
    >>> TokenBucket(rate=2, burst=2).spend(5, now_s=0.0)
    1.5
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated_s")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated_s: float | None = None

    def take(self, tokens: float, now_s: float) -> bool:
        """Take tokens if there are enough; say whether they were taken.

        Parameters
        ----------
        tokens
            How many, ≥ 0.
        now_s
            A monotonic time in seconds.
        """
        self._refill(now_s)
        if tokens > self._tokens:
            return False
        self._tokens -= tokens
        return True

    def spend(self, tokens: float, now_s: float) -> float:
        """Take tokens, whether or not there are enough; return the seconds until none is owed.

        Parameters
        ----------
        tokens
            How many, ≥ 0.
        now_s
            A monotonic time in seconds.
        """
        self._refill(now_s)
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._rate)

    def _refill(self, now_s: float) -> None:
        if self._updated_s is not None:
            gained = max(0.0, now_s - self._updated_s) * self._rate
            self._tokens = min(self._burst, self._tokens + gained)
        self._updated_s = now_s


class InboundLimits:
    """What one peer may send us; kept across its connections, or a new one would be a new start.

    Parameters
    ----------
    divisor
        It may send this part of what a member may; bursts of bytes are the same.
    """

    def __init__(self, divisor: int = 1) -> None:
        self._buckets = {
            channel: (
                TokenBucket(
                    rate.frames_per_second / divisor, max(1, rate.frames_per_second / divisor)
                ),
                TokenBucket(rate.bytes_per_second / divisor, rate.bytes_per_second),
            )
            for channel, rate in _RATES.items()
        }

    def charge(self, channel: Channel, size_bytes: int, now_s: float) -> float | None:
        """Count a frame that arrived.

        Parameters
        ----------
        channel, size_bytes
            Of the frame.
        now_s
            A monotonic time in seconds.

        Returns
        -------
        float or None
            Seconds to wait before the next frame is read, or None: drop this one.
        """
        frames, volume = self._buckets[channel]
        if channel in _LOSSY_CHANNELS:
            return 0.0 if frames.take(1, now_s) and volume.take(size_bytes, now_s) else None
        return max(frames.spend(1, now_s), volume.spend(size_bytes, now_s))
