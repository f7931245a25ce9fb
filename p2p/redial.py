"""When to dial a member again; time and chance are arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["RedialBackoff"]

PAUSE_S_MIN: Final = 0.1
PAUSE_S_MAX: Final = 1.0
"""A member that comes back is found again within this time, whatever time it was away."""

STABLE_S: Final = 5.0
"""A connection that lasted so long was a good one: the pauses begin small again."""


class RedialBackoff:
    """Pauses that double up to a cap, each cut by a random part so that members spread.

    Parameters
    ----------
    draw
        Returns a random number in [0, 1); security does not depend on it.

    Examples
    --------
    >>> backoff = RedialBackoff(draw=lambda: 0.0)
    >>> [backoff.compute_pause_s(lasted_s=0.0) for _ in range(5)]
    [0.1, 0.2, 0.4, 0.8, 1.0]
    >>> backoff.compute_pause_s(lasted_s=60.0)
    0.1
    """

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._pause_s = PAUSE_S_MIN

    def compute_pause_s(self, lasted_s: float) -> float:
        """Return how long to wait now, in seconds: between half the current pause and all of it.

        Parameters
        ----------
        lasted_s
            How long the connection held that just ended; 0 if there was none.
        """
        if lasted_s >= STABLE_S:
            self._pause_s = PAUSE_S_MIN
        pause_s = self._pause_s * (1 - self._draw() / 2)
        self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
        return pause_s
