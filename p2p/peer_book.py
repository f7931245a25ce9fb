"""Who the other members are, which of them we dial, and who a transport key belongs to.

Of each pair in the mesh the node with the lower index dials, so that there is one connection and no
tie to break. Observers dial the mesh and are dialled by nobody. Source: docs/spec/p2p.md §1, §2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from primitives.errors import InvalidInputError

__all__ = ["OWN_INDEX_UNKNOWN", "PeerAddress", "PeerBook"]

OWN_INDEX_UNKNOWN = 2**32
"""Our number until we have read our admission: above all others, so that they dial us."""


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Another member.

    Parameters
    ----------
    index
        Its number among the members.
    public_key
        Of its transport key, 32 bytes; the only thing it is trusted by.
    host, port
        Where it listens; trusted for nothing.
    dials_us
        It is an observer: we never dial it, and it may call whatever its number is.
    """

    index: int
    public_key: bytes
    host: str
    port: int
    dials_us: bool = False


class PeerBook:
    """The registered members, as one of them sees the others.

    Parameters
    ----------
    own_index, own_key
        Our number among the members, and our transport key.
    peers
        The others.
    dials_all
        We are an observer: we dial all that do not dial us.

    Raises
    ------
    InvalidInputError
        ``invalid_configuration``: an index or a key occurs twice, or is our own.
    """

    def __init__(
        self,
        own_index: int,
        own_key: bytes,
        peers: Sequence[PeerAddress],
        *,
        dials_all: bool = False,
    ) -> None:
        self._own_index = own_index
        self._dials_all = dials_all
        self._peers = {peer.index: peer for peer in peers}
        self._index_by_key = {peer.public_key: peer.index for peer in peers}
        indices, keys = {own_index, *self._peers}, {own_key, *self._index_by_key}
        if len(indices) <= len(peers) or len(keys) <= len(peers):
            raise InvalidInputError(
                "invalid_configuration",
                "each member needs an index and a transport key that no other has",
                field="members",
            )

    def is_expected(self, index: int) -> bool:
        """Return whether a member is one that should be connected whenever it runs."""
        peer = self._peers.get(index)
        return peer is not None and not peer.dials_us

    def lists_observer(self, index: int) -> bool:
        """Return whether a number is that of an observer."""
        peer = self._peers.get(index)
        return peer is not None and peer.dials_us

    def count_expected(self) -> int:
        """Return how many members should be connected; observers come as they like."""
        return sum(self.is_expected(index) for index in self._peers)

    def knows(self, peer: PeerAddress) -> bool:
        """Return whether a member is listed with this number and key."""
        return self._index_by_key.get(peer.public_key) == peer.index

    def list_dialled(self) -> list[PeerAddress]:
        """Return the members whom we dial, by index."""
        return [peer for _, peer in sorted(self._peers.items()) if self._is_dialled(peer)]

    def list_strays(self) -> list[PeerAddress]:
        """Return the members that should dial us, by index.

        If they do not, one of us has read an old registry; a call now and then finds that out.
        """
        return [
            peer
            for _, peer in sorted(self._peers.items())
            if not peer.dials_us and not self._is_dialled(peer)
        ]

    def _is_dialled(self, peer: PeerAddress) -> bool:
        return not peer.dials_us and (self._dials_all or peer.index > self._own_index)

    def lists(self, public_key: bytes) -> bool:
        """Return whether a member is listed with this key."""
        return public_key in self._index_by_key

    def identify_dialled(self, public_key: bytes, peer: PeerAddress) -> int:
        """Return the index of the member whom we dialled, once it proved its key.

        Raises
        ------
        InvalidInputError
            ``unknown_peer``: somebody else answers at its address.
        """
        if public_key != peer.public_key:
            raise _refuse(
                f"member {peer.index} is registered with transport key {peer.public_key.hex()},"
                f" what answers at {peer.host}:{peer.port} has",
                public_key,
            )
        return peer.index

    def identify_caller(self, public_key: bytes) -> int:
        """Return the index of a member who dialled us, once it proved its key.

        Raises
        ------
        InvalidInputError
            ``unknown_peer``: the key is not registered, or its member must wait for our call.
        """
        index = self._index_by_key.get(public_key)
        if index is None:
            raise _refuse("no member is registered with transport key", public_key)
        # Who dials all may have read an old registry, and have another place by now.
        if self._is_dialled(self._peers[index]) and not self._dials_all:
            raise _refuse(f"member {index} must not dial {self._own_index}; its key is", public_key)
        return index


def _refuse(why: str, public_key: bytes) -> InvalidInputError:
    return InvalidInputError(
        "unknown_peer",
        f"{why} {public_key.hex()}",
        field="certificate.public_key",
        value=public_key.hex(),
    )
