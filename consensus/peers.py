"""What is remembered of the peers that this node can talk to: whom to answer, whom to ask.

Source: docs/spec/consensus.md §7.
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.parameters import PEERS_MAX

__all__ = ["PeerTable"]


@dataclass(slots=True)
class _Peer:
    """What is remembered of one.

    Parameters
    ----------
    answer_ms : it is not answered before.
    avoid_ms : it is not asked before, if there is anybody else.
    height : of its last final block, as it claims.
    """

    answer_ms: int = 0
    avoid_ms: int = 0
    height: int = 0


class PeerTable:
    """Known peers in order of appearance.

    Parameters
    ----------
    interval_ms : shortest wait between two answers to one peer.

    Notes
    -----
    Memory: `PEERS_MAX` entries; a newcomer pushes the oldest out.
    """

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._peers: dict[int, _Peer] = {}
        self._turn = 0

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def highest(self) -> int:
        """The highest final height that any peer claims; nothing more than a claim."""
        return max((peer.height for peer in self._peers.values()), default=0)

    def note(self, peer: int) -> None:
        """Remember a peer that was heard of."""
        if peer in self._peers:
            return
        if len(self._peers) >= PEERS_MAX:
            del self._peers[next(iter(self._peers))]
        self._peers[peer] = _Peer()

    def note_height(self, peer: int, height: int) -> None:
        """Remember how far a peer is, or claims to be."""
        known = self._peers.get(peer)
        if known is not None:
            known.height = height

    def forget(self, peer: int) -> None:
        """Forget a peer that cannot be reached."""
        self._peers.pop(peer, None)

    def may_answer(self, peer: int, now_ms: int) -> bool:
        """Say whether a peer may be answered now; if so, not again for the interval."""
        known = self._peers.get(peer)
        if known is None:
            return True
        if now_ms < known.answer_ms:
            return False
        known.answer_ms = now_ms + self._interval_ms
        return True

    def avoid(self, peer: int, until_ms: int) -> None:
        """Ask others first, for a while."""
        known = self._peers.get(peer)
        if known is not None:
            known.avoid_ms = max(known.avoid_ms, until_ms)

    def choose(self, now_ms: int) -> int | None:
        """Return the next peer to ask, in turn, those to be avoided last; None if there is none."""
        peer = self.choose_free(now_ms, frozenset())
        if peer is None and self._peers:
            return min(self._peers, key=lambda each: self._peers[each].avoid_ms)
        return peer

    def choose_free(self, now_ms: int, busy: frozenset[int]) -> int | None:
        """Return the next peer to ask that is neither busy nor to be avoided; None if all are."""
        free = [
            peer
            for peer, known in self._peers.items()
            if peer not in busy and now_ms >= known.avoid_ms
        ]
        if not free:
            return None
        self._turn += 1
        return free[self._turn % len(free)]
