"""Sends consensus messages to peers, each kind on its channel.

Votes travel on a channel of their own that goes before all others, so that a large block under way
never holds one up.
"""

from __future__ import annotations

from consensus.messages import (
    BlockRequest,
    BlockResponse,
    BlocksRequest,
    BlocksResponse,
    CertificateBatch,
    CertificateMessage,
    Message,
    PrePrepare,
    Status,
    Vote,
    encode_message,
)
from p2p.frames import Channel
from p2p.tcp import PeerNetwork

__all__ = ["CONSENSUS_CHANNELS", "PeerMessageDoor"]

_CHANNELS: dict[type[Message], Channel] = {
    Vote: Channel.CONSENSUS_VOTE,
    CertificateMessage: Channel.CONSENSUS_CERTIFICATE,
    CertificateBatch: Channel.SYNC,
    Status: Channel.CONSENSUS_CERTIFICATE,
    PrePrepare: Channel.CONSENSUS_PROPOSAL,
    BlockRequest: Channel.SYNC,
    BlockResponse: Channel.SYNC,
    BlocksRequest: Channel.SYNC,
    BlocksResponse: Channel.SYNC,
}

CONSENSUS_CHANNELS = frozenset(_CHANNELS.values())


class PeerMessageDoor:
    """Implements :class:`node.turns.MessageDoor` over the peers' connections.

    Parameters
    ----------
    network
        Connections to the other members, by number.
    """

    def __init__(self, network: PeerNetwork) -> None:
        self._network = network

    def connected(self) -> list[int]:
        """Return who can be sent to now."""
        return self._network.connected

    def send(self, number: int, message: Message) -> None:
        """Send to one member, if it is connected."""
        self._network.send(number, _CHANNELS[type(message)], encode_message(message))

    def broadcast(self, message: Message) -> None:
        """Send to every connected peer; encoded once."""
        self._network.broadcast(_CHANNELS[type(message)], encode_message(message))
