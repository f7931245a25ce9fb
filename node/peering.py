"""Keeps the network's picture of who may connect in step with the ledger.

What the final state lists is who we connect to, under which number and with which key of ours. A
node that no member lists yet shows its invite and follows as a guest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from random import Random

from ledger.genesis import Genesis
from ledger.governance_records import PROPOSAL_PREFIX
from ledger.invite import Invite
from ledger.members import MEMBER_PREFIX
from ledger.reader import LedgerReader
from ledger.schema import CHAIN_ROSTER
from node.configuration import NodeSettings
from node.node_keys import NodeKeys
from node.registry import Registry, make_invited_peers, read_registry
from p2p.certificate import make_identity
from p2p.peer_book import PeerAddress
from p2p.tcp import PeerNetwork

__all__ = ["Peering"]

logger = logging.getLogger(__name__)


class Peering:
    """Makes the network, and tells it when the registry has changed.

    Parameters
    ----------
    genesis
        Of the chain.
    settings
        Of this node.
    keys
        Of this node.
    invite
        With which it follows until it is admitted, or None.
    """

    def __init__(
        self, genesis: Genesis, settings: NodeSettings, keys: NodeKeys, invite: Invite | None
    ) -> None:
        self._genesis = genesis
        self._settings = settings
        self._keys = keys
        self._invite = invite
        self._registry: Registry | None = None

    def read_registry(self, reader: LedgerReader) -> Registry:
        """Return the registry as this node sees it."""
        return read_registry(reader, list(self._keys.load_transport_seeds()))

    def make_network(
        self, registry: Registry, admit_guest: Callable[[bytes, bytes], None] | None = None
    ) -> PeerNetwork:
        """Return connections to the nodes of a registry, not started.

        Parameters
        ----------
        registry
            As the final state has it.
        admit_guest
            Decides about strangers; None lets none in.
        """
        self._registry = registry
        invite = self._invite
        invitation = b"" if registry.is_listed or invite is None else invite.encode()
        return PeerNetwork(
            identity=make_identity(
                self._keys.load_transport_seeds()[registry.own_key], self._genesis.chain_id
            ),
            own_index=registry.own_number,
            peers=self._list_peers(registry),
            listen=(self._settings.p2p.listen_host, self._settings.p2p.listen_port),
            chain_id=self._genesis.chain_id,
            random=Random(),
            dials_all=not registry.is_in_mesh,
            invitation=invitation,
            admit_guest=admit_guest,
        )

    @staticmethod
    def is_concerned(written: Iterable[bytes]) -> bool:
        """Say whether a block that wrote these state keys may have changed who connects."""
        prefixes = (MEMBER_PREFIX, PROPOSAL_PREFIX)
        return any(key == CHAIN_ROSTER or key.startswith(prefixes) for key in written)

    def refresh(self, network: PeerNetwork, reader: LedgerReader) -> None:
        """Tell the network who its peers are now, and show our present key."""
        before, registry = self._registry, self.read_registry(reader)
        network.recheck_guests()
        if registry == before:
            return
        self._registry = registry
        if before is not None and registry.own_key != before.own_key:
            seed = self._keys.load_transport_seeds()[registry.own_key]
            logger.info("this node's transport key is %s from now on", registry.own_key.hex())
            network.change_identity(make_identity(seed, self._genesis.chain_id))
        network.update_members(
            registry.own_number, self._list_peers(registry), dials_all=not registry.is_in_mesh
        )
        self._tell_of_change(before, registry)

    def _list_peers(self, registry: Registry) -> list[PeerAddress]:
        if registry.is_listed or self._invite is None:
            return list(registry.peers)
        return list(make_invited_peers(registry, self._invite.peers))

    def _tell_of_change(self, before: Registry | None, after: Registry) -> None:
        """Say what the registry makes of this node, when that changes."""
        if before is None or before.own_member == after.own_member:
            return
        if after.own_member is None:
            logger.warning(
                "the members have removed this organisation: peers end their connections, the"
                " ledger up to here stays readable"
            )
        elif before.own_member is None:
            logger.info("this node is listed as one of %s", after.own_member.name)
