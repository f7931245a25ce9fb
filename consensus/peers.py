"""What is remembered of the peers that this node can talk to.

Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from consensus.parameters import PEERS_MAX

__all__ = ["PeerTable"]


class PeerTable:
    """Known peers in order of appearance, and when each was last answered.

    Parameters
    ----------
    interval_ms : shortest wait between two answers to one peer.

    Notes
    -----
    Memory: `PEERS_MAX` entries; a newcomer pushes the oldest out.
    """

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._next_answer_ms: dict[int, int] = {}
        self._turn = 0

    def __len__(self) -> int:
        return len(self._next_answer_ms)

    def note(self, peer: int) -> None:
        """Remember a peer that was heard of."""
        if peer in self._next_answer_ms:
            return
        if len(self._next_answer_ms) >= PEERS_MAX:
            del self._next_answer_ms[next(iter(self._next_answer_ms))]
        self._next_answer_ms[peer] = 0

    def forget(self, peer: int) -> None:
        """Forget a peer that cannot be reached."""
        self._next_answer_ms.pop(peer, None)

    def may_answer(self, peer: int, now_ms: int) -> bool:
        """Say whether a peer may be answered now; if so, not again for the interval."""
        if now_ms < self._next_answer_ms.get(peer, 0):
            return False
        self._next_answer_ms[peer] = now_ms + self._interval_ms
        return True

    def choose(self) -> int | None:
        """Return the next peer to ask, all of them in turn; None if there is none."""
        if not self._next_answer_ms:
            return None
        peers = list(self._next_answer_ms)
        self._turn += 1
        return peers[self._turn % len(peers)]
