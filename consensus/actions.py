"""What the core asks of the driver, which performs the actions of a list strictly in order.

The one rule that safety hangs on: everything that a ``Persist`` holds is on disk (fsynced) before
any later ``Send`` or ``Broadcast`` of the same list leaves. A driver may write all records of a
list together and sync once. Source: docs/spec/consensus.md §9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from consensus.evidence import Evidence
from consensus.messages import Block, Message
from primitives.certificates import Certificate
from primitives.header import BlockHeader

__all__ = [
    "Action",
    "Broadcast",
    "BuildBlock",
    "DiscardBlocks",
    "ExecuteBlock",
    "FinalizeBlocks",
    "Persist",
    "PruneRecords",
    "RaiseAlarm",
    "ReportEvidence",
    "ReportPeer",
    "Send",
    "ServeBlocks",
    "ServeEpochEnd",
    "ValidateBlock",
]


@dataclass(frozen=True, slots=True)
class Persist:
    """Append a record to the write-ahead log.

    Parameters
    ----------
    record : opaque; handed back, in order, as ``Recovered.records`` after a restart.
    view : the record may be dropped when ``PruneRecords`` names a higher view.
    """

    record: bytes
    view: int


@dataclass(frozen=True, slots=True)
class PruneRecords:
    """Records of views below this one are not needed any more; dropping them may be put off."""

    below_view: int


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send to every connected peer."""

    message: Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send to one peer, if it is connected."""

    peer: int
    message: Message


@dataclass(frozen=True, slots=True)
class ValidateBlock:
    """Judge a block without executing it and answer with ``BlockValidated``, once.

    Parameters
    ----------
    block : what to judge. Its parent has been judged VALID before, or is final.
    certified : a quorum has prepared the block. It is enough to check that the body belongs to the
        header and that its payloads are held.

    Notes
    -----
    VALID promises that the payloads are durable, or will be when a ``Persist`` that follows is.
    """

    block: Block
    certified: bool


@dataclass(frozen=True, slots=True)
class ExecuteBlock:
    """Execute a block on its parent's state and answer with ``BlockExecuted``.

    The parent is final or was named by an earlier ``ExecuteBlock``. The result is speculative
    until ``FinalizeBlocks``. A tail leaves the state root as it is.
    """

    block: Block


@dataclass(frozen=True, slots=True)
class BuildBlock:
    """Choose the transactions of this validator's block and answer with ``BlockBuilt``.

    Parameters
    ----------
    view : to be given back.
    parent : header of the block to build on; it is final or was judged VALID.
    must_be_empty : too many blocks are unfinal, or the epoch has its last block already: no
        transaction may go in.
    """

    view: int
    parent: BlockHeader
    must_be_empty: bool


@dataclass(frozen=True, slots=True)
class FinalizeBlocks:
    """Make blocks part of the ledger for good, durably before the next action.

    Parameters
    ----------
    blocks : executed, ascending; the first is the child of the last final block. Those above the
        epoch's last block are tails: proof, and no part of the chain. With the last block the
        epoch and this core are over.
    certificate : commit certificate of the last one. Its state root equals ours.
    """

    blocks: tuple[Block, ...]
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class DiscardBlocks:
    """Blocks that were shown to the driver and will never be final; their transactions return."""

    block_ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ServeBlocks:
    """Send a peer a ``BlocksResponse`` with final blocks.

    Parameters
    ----------
    peer : whom.
    from_height, count : as many as fit into a message from there, at most `count`. If the last of
        them has a commit certificate of its own it goes along, and a response that can end at such
        a block should.
    """

    peer: int
    from_height: int
    count: int


@dataclass(frozen=True, slots=True)
class ServeEpochEnd:
    """Send a peer that is still in an earlier epoch the commit certificate by which it ended.

    Parameters
    ----------
    peer : whom.
    epoch : that it is in; below the core's own. It may not exist.
    """

    peer: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ReportEvidence:
    """Two contradicting messages signed by one validator; anyone can verify them."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class ReportPeer:
    """A peer sent what no correct peer sends; ``code`` is stable, for counters and scores."""

    peer: int
    code: str


@dataclass(frozen=True, slots=True)
class RaiseAlarm:
    """An operator has to look; ``code`` is stable, ``text`` is for people."""

    code: str
    text: str


Action: TypeAlias = (
    Persist
    | PruneRecords
    | Broadcast
    | Send
    | ValidateBlock
    | ExecuteBlock
    | BuildBlock
    | FinalizeBlocks
    | DiscardBlocks
    | ServeBlocks
    | ServeEpochEnd
    | ReportEvidence
    | ReportPeer
    | RaiseAlarm
)
