"""Who may connect to whom, as the registry on the ledger says: nodes, their numbers, our place.

A node is known by its transport key. Its number is 1,000 times its slot among its member's nodes,
plus the member's place in the roster; slot 0 is the member's first node. First nodes of members
with the role of a validator form the mesh. Every other node, an observer, dials the mesh and is
dialled by nobody; so observers may sit behind a router that lets nobody in.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from ledger.members import Member, NodeAddress, Role, decode_member, member_key
from ledger.reader import LedgerReader
from ledger.schema import CHAIN_ROSTER, MEMBERS_MAX, decode_roster
from p2p.peer_book import OWN_INDEX_UNKNOWN, PeerAddress
from primitives.errors import CorruptStateError

__all__ = ["PROVISIONAL_NUMBER_FIRST", "Registry", "make_invited_peers", "read_registry"]

SLOT_FACTOR: Final = MEMBERS_MAX

PROVISIONAL_NUMBER_FIRST: Final = 2**30
"""Numbers of nodes that an invite names, until our own ledger says what their numbers are."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The nodes of the members as the final state lists them.

    Parameters
    ----------
    own_number
        Ours, found by our transport key; above all others as long as the chain does not list it.
    own_key
        The transport key of ours by which we are listed, or the one preferred while we are not.
    own_member
        Whose node we are, or None.
    is_in_mesh
        Whether others dial us, and we dial those with higher numbers; else we dial all.
    peers
        The nodes that we are connected with.
    """

    own_number: int
    own_key: bytes
    own_member: Member | None
    is_in_mesh: bool
    peers: tuple[PeerAddress, ...]

    @property
    def is_listed(self) -> bool:
        """Whether the chain lists this node."""
        return self.own_number != OWN_INDEX_UNKNOWN


def read_registry(reader: LedgerReader, transport_keys: Collection[bytes]) -> Registry:
    """Return the registry as one of its nodes sees it.

    Parameters
    ----------
    reader
        Of the final state.
    transport_keys
        The public transport keys that this node holds, the preferred one first.
    """
    nodes = _list_nodes(reader)
    own = next((each for each in nodes if each.address.transport_key in transport_keys), None)
    others = [each for each in nodes if each is not own and not _same_node(each, own)]
    is_in_mesh = own is not None and own.is_in_mesh
    peers = [each.to_peer() for each in others if each.is_in_mesh or is_in_mesh]
    if own is None:
        return Registry(OWN_INDEX_UNKNOWN, next(iter(transport_keys)), None, False, tuple(peers))
    return Registry(own.number, own.address.transport_key, own.member, is_in_mesh, tuple(peers))


def make_invited_peers(
    registry: Registry, invited: Collection[NodeAddress]
) -> tuple[PeerAddress, ...]:
    """Return peers to dial: those of the registry, and those of an invite that it does not list.

    Parameters
    ----------
    registry
        As our own ledger has it, which may be old.
    invited
        Nodes that an invite names.
    """
    known = {each.public_key for each in registry.peers}
    further = []
    for place, node in enumerate(invited):
        host, _, port = node.endpoint.rpartition(":")
        if node.transport_key not in known:
            number = PROVISIONAL_NUMBER_FIRST + place
            further.append(PeerAddress(number, node.transport_key, host, int(port)))
    return (*registry.peers, *further)


@dataclass(frozen=True, slots=True)
class _Node:
    number: int
    member: Member
    address: NodeAddress
    is_in_mesh: bool

    def to_peer(self) -> PeerAddress:
        host, _, port = self.address.endpoint.rpartition(":")
        return PeerAddress(
            self.number,
            self.address.transport_key,
            host,
            int(port or 0),
            dials_us=not self.is_in_mesh,
        )


def _same_node(each: _Node, own: _Node | None) -> bool:
    return own is not None and each.number == own.number


def _list_nodes(reader: LedgerReader) -> list[_Node]:
    roster = reader.read(CHAIN_ROSTER, decode_roster)
    if roster is None:
        raise CorruptStateError("the state has no roster")
    nodes = []
    for place, account in enumerate(roster.accounts):
        member = reader.read(member_key(account), decode_member)
        if member is None:
            raise CorruptStateError(f"the state has no member {account.hex()}")
        # Who has left keeps its place, so that numbers stay, and nobody connects to it.
        for slot, address in enumerate(member.list_nodes() if member.roles else []):
            if address is not None:
                is_in_mesh = slot == 0 and Role.VALIDATOR in member.roles
                nodes.append(_Node(slot * SLOT_FACTOR + place, member, address, is_in_mesh))
    return nodes
