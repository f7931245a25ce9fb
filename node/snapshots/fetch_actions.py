"""What a fetch asks its shell to do, how far it is, and what bounds it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ledger.payload import Payload
from ledger.snapshot import Manifest
from node.snapshots.messages import Message

__all__ = [
    "Action",
    "Ask",
    "DiscardState",
    "DropPeer",
    "FetchLimits",
    "FetchProgress",
    "FetchStage",
    "Finish",
    "GiveUp",
    "ImportState",
    "SaveManifest",
    "StoreChunk",
    "StorePayload",
    "StoreTensor",
]


class FetchStage(Enum):
    """How far a fetch is."""

    SEEKING = "seeking an offer"
    CHAINING = "verifying epochs"
    STATE = "fetching the state"
    IMPORTING = "importing the state"
    CONTENT = "fetching tensors and payloads"
    DONE = "done"
    FAILED = "given up"


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a message to a peer."""

    peer: int
    message: Message


@dataclass(frozen=True, slots=True)
class DropPeer:
    """A peer lied and is not asked again; for people and counters."""

    peer: int
    reason: str


@dataclass(frozen=True, slots=True)
class SaveManifest:
    """Remember which snapshot is fetched, for a restart."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class StoreChunk:
    """Write a chunk of the state; its hash was checked."""

    chunk_hash: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class ImportState:
    """All chunks are stored: import them, then say `on_state_imported` or `on_import_failed`."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class StoreTensor:
    """Put a chunk of a tensor into the store; it was checked."""

    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class StorePayload:
    """Keep a payload, and put its envelope into the store; both were checked."""

    transaction_id: bytes
    payload: Payload
    key: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True)
class DiscardState:
    """Throw away what was imported: its snapshot cannot be completed."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything is there: set the tip."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There is no snapshot to be had; start without."""

    reason: str


Action = (
    Ask
    | DropPeer
    | SaveManifest
    | StoreChunk
    | ImportState
    | StoreTensor
    | StorePayload
    | DiscardState
    | Finish
    | GiveUp
)


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """When a snapshot is worth it, and when the fetch ends in vain.

    Parameters
    ----------
    height_min
        Only snapshots of this height or above are of use.
    bytes_max
        Larger states are not fetched: the disk has no room for them.
    patience_ms
        How long to wait for a first offer of use.
    stall_ms
        How long to wait for anything of use once a snapshot was chosen.
    answers_enough
        When so many peers have said that they have nothing, and none is still to answer, the
        fetch ends at once; f + 1.
    """

    height_min: int
    bytes_max: int
    patience_ms: int
    stall_ms: int
    answers_enough: int


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a fetch is, for people."""

    stage: FetchStage
    height: int
    chunks_done: int
    chunks_total: int
    items_done: int
    payloads_absent: int
    peers: int
    liars: int
