"""The two clocks of the process; nothing else of the node asks the operating system for time."""

from __future__ import annotations

import time

__all__ = ["read_monotonic_ms", "read_wall_ms"]


def read_monotonic_ms() -> int:
    """Return milliseconds of a clock that never jumps, for timers."""
    return time.monotonic_ns() // 1_000_000


def read_wall_ms() -> int:
    """Return milliseconds since 1970 (UTC), for the timestamps of block headers."""
    return time.time_ns() // 1_000_000
