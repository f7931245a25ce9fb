"""Token buckets: how much somebody may ask of us in a while; time is an argument."""

from __future__ import annotations

__all__ = ["TokenBucket"]


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
    """

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
        if self._updated_s is not None:
            gained = max(0.0, now_s - self._updated_s) * self._rate
            self._tokens = min(self._burst, self._tokens + gained)
        self._updated_s = now_s
        if tokens > self._tokens:
            return False
        self._tokens -= tokens
        return True
