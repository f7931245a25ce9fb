"""How patient the network is with its peers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NetworkTiming"]


@dataclass(frozen=True, slots=True)
class NetworkTiming:
    """How patient we are; every figure in seconds but one.

    Parameters
    ----------
    handshake_timeout_s
        From the first byte of TLS to the hello.
    ping_interval_s
        Longest silence that we keep.
    silent_intervals_max
        Ping intervals without one byte of the peer, after which it counts as gone. Intervals are
        counted, not time: a pause of our own process is one interval, however long.
    stuck_write_s_max
        How long the peer may take for `WRITE_BYTES_MAX` bytes.
    stray_interval_s
        How often a member is called that should call us and does not.
    """

    handshake_timeout_s: float = 5.0
    ping_interval_s: float = 2.0
    silent_intervals_max: int = 4
    stuck_write_s_max: float = 10.0
    stray_interval_s: float = 10.0
