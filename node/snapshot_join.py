"""Replaces a ledger that is far behind by a snapshot of the others'.

Called between two runs of the node, while nothing of it is open but the lock of its home: there is
no core and no signer meanwhile. Whatever comes of it, the node starts as usual afterwards.
"""

from __future__ import annotations

import logging
import shutil

from ledger.genesis import Genesis
from ledger.reader import LedgerReader
from node.home import NodeHome
from node.peering import Peering
from node.snapshots.import_folder import ImportFolder, put_ledger_in_place
from node.snapshots.joining import Joining, read_known_chain
from node.storage.leveldb import LevelKeyValueStore
from node.storage.payload_store import PayloadStore

__all__ = ["join_by_snapshot"]

logger = logging.getLogger(__name__)

DISK_DIVISOR = 4
"""A snapshot may take this part of the room on the disk."""


async def join_by_snapshot(
    home: NodeHome,
    genesis: Genesis,
    peering: Peering,
    threshold: int,
) -> bool:
    """Fetch, check and put in place the newest snapshot that is worth it.

    Parameters
    ----------
    home
        Locked by this process; its ledger is closed.
    genesis
        Of the chain.
    peering
        Makes connections to the members.
    threshold
        Heights that a snapshot must be ahead of our ledger.

    Returns
    -------
    bool
        Whether the ledger was replaced.
    """
    database = LevelKeyValueStore(home.ledger_folder)
    try:
        reader = LedgerReader(database)
        known = read_known_chain(genesis, reader)
        registry = peering.read_registry(reader)
    finally:
        database.close()
    payloads = PayloadStore(home.payload_folder)
    try:
        joining = Joining(
            peering.make_network(registry),
            ImportFolder(home.ledger_folder, genesis, payloads),
            known,
            bytes_max=shutil.disk_usage(home.root).free // DISK_DIVISOR,
            threshold=threshold,
        )
        result = await joining.run()
    finally:
        payloads.close()
    if result.height is None:
        logger.warning("no snapshot was of use: %s; blocks are fetched instead", result.reason)
        return False
    return put_ledger_in_place(home.ledger_folder)
