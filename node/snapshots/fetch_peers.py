"""What a fetch knows of its peers: who is there, what each offers, owes and lacks, and who lied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ledger.snapshot import Manifest
from node.snapshots.messages import (
    ChunkRequest,
    EpochEndsRequest,
    Message,
    OfferRequest,
    PayloadsRequest,
    TensorsRequest,
)

__all__ = ["OPEN_MAX", "FetchPeers", "Peer", "Request"]

Request = OfferRequest | ChunkRequest | EpochEndsRequest | TensorsRequest | PayloadsRequest

OPEN_MAX: Final = 4
"""Requests that are open at one peer; half of what a server lets wait."""

TIMEOUT_MS: Final = 10_000
STRIKES_MAX: Final = 3
REST_MS: Final = 30_000


@dataclass(slots=True)
class _OpenRequest:
    message: Request
    deadline_ms: int


@dataclass(slots=True)
class Peer:
    """One connected peer.

    Parameters
    ----------
    number
        Of the member.
    offer
        Its newest manifest, decoded and nothing more; None if it has none that is of use.
    has_answered
        Whether it was heard about its offer.
    lacks
        Ids of snapshots that it does not hold.
    open
        What it was asked and has not answered.
    strikes
        Requests in a row that it did not answer in time.
    rests_until_ms
        It is asked for nothing before.
    """

    number: int
    offer: Manifest | None = None
    has_answered: bool = False
    lacks: set[bytes] = field(default_factory=set)
    open: list[_OpenRequest] = field(default_factory=list)
    strikes: int = 0
    rests_until_ms: int = 0


class FetchPeers:
    """The peers of one fetch.

    Parameters
    ----------
    ask
        Called with a peer's number and the message that goes to it.
    """

    def __init__(self, ask: Callable[[int, Message], None]) -> None:
        self._ask = ask
        self._connected: dict[int, Peer] = {}
        self.liars: dict[int, str] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._connected.values())

    def get(self, number: int) -> Peer | None:
        """Return a peer that is connected and did not lie, or None."""
        return self._connected.get(number)

    def connect(self, number: int) -> Peer | None:
        """Take note of a connection; None if the peer lied before."""
        if number in self.liars:
            return None
        return self._connected.setdefault(number, Peer(number))

    def disconnect(self, number: int) -> list[Request]:
        """Forget a peer; return what it was asked in vain."""
        peer = self._connected.pop(number, None)
        return [] if peer is None else [each.message for each in peer.open]

    def condemn(self, number: int, reason: str) -> list[Request]:
        """Never ask a peer again; return what it was asked in vain."""
        self.liars[number] = reason
        return self.disconnect(number)

    def ask(self, peer: Peer, message: Request, now_ms: int) -> None:
        """Send a request and remember it."""
        peer.open.append(_OpenRequest(message, now_ms + TIMEOUT_MS))
        self._ask(peer.number, message)

    def close(self, peer: Peer, matches: Callable[[Request], bool]) -> Request | None:
        """Return the request that an answer belongs to and forget it; None if there is none."""
        for each in peer.open:
            if matches(each.message):
                peer.open.remove(each)
                peer.strikes = 0
                return each.message
        return None

    def is_open(self, kind: type[Request]) -> bool:
        """Return whether an answer to a request of a kind is waited for."""
        return any(isinstance(each.message, kind) for peer in self for each in peer.open)

    def expire(self, now_ms: int) -> list[Request]:
        """Take back what was not answered in time; who is late too often rests for a while."""
        expired: list[Request] = []
        for peer in self:
            late = [each for each in peer.open if each.deadline_ms <= now_ms]
            for each in late:
                peer.open.remove(each)
                peer.strikes += 1
                expired.append(each.message)
            if peer.strikes >= STRIKES_MAX:
                peer.strikes = 0
                peer.rests_until_ms = now_ms + REST_MS
        return expired

    def list_free(self, now_ms: int) -> list[Peer]:
        """Return who can be asked for more, least busy first."""
        free = [
            each for each in self if len(each.open) < OPEN_MAX and each.rests_until_ms <= now_ms
        ]
        return sorted(free, key=lambda each: (len(each.open), each.number))
