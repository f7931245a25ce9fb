"""What the driver tells the core. Every event is a fact in the past tense.

Each call of ``Core.step`` carries one event and one `ClockReading`, so the core never asks for the
time. Source: docs/spec/consensus.md §9.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from consensus.messages import Message
from primitives.hashing import ZERO_HASH

__all__ = [
    "BlockBuilt",
    "BlockExecuted",
    "BlockValidated",
    "ClockReading",
    "Event",
    "MessageReceived",
    "PeerConnected",
    "PeerDisconnected",
    "Ticked",
    "Verdict",
    "WorkChanged",
]


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Both clocks at one moment.

    Parameters
    ----------
    monotonic_ms : never goes back; all waits are measured by it.
    wall_ms : milliseconds since 1970, UTC; only header times are compared with it.
    """

    monotonic_ms: int
    wall_ms: int


class Verdict(Enum):
    """What the driver found when it looked at a block."""

    VALID = "valid"
    """The body is well formed, belongs to the header, and it and its payloads are held."""

    INVALID = "invalid"
    """It never will be; for a certified block: this body does not belong to the header."""

    RETRY = "retry"
    """Not yet to be judged, for instance because a payload is still under way."""


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A peer's message was decoded.

    Parameters
    ----------
    peer : whom to answer; for a validator its index, for others any integer not below n.
    message : as decoded; nothing in it is trusted.
    """

    peer: int
    message: Message


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed; due whenever ``Core.next_deadline`` is reached."""


@dataclass(frozen=True, slots=True)
class BlockValidated:
    """Answers the action ``ValidateBlock``."""

    block_id: bytes
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class BlockExecuted:
    """Answers the action ``ExecuteBlock`` with the state root, 32 bytes, after the block."""

    block_id: bytes
    state_root: bytes


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """Answers the action ``BuildBlock``; the block is valid and its payloads are durable.

    Parameters
    ----------
    view : as in the action.
    parent_id : id of the parent in the action.
    body, body_root : the body and its 32-byte root.
    timestamp_ms : proposed header time; the core raises it above the parent's if need be.
    next_validators_hash : goes into the epoch's last block; zeros for any other.
    """

    view: int
    parent_id: bytes
    body: bytes
    body_root: bytes
    timestamp_ms: int
    next_validators_hash: bytes = ZERO_HASH


@dataclass(frozen=True, slots=True)
class WorkChanged:
    """There are now (or no longer) pending transactions that no unfinal block contains."""

    pending: bool


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """A peer can be sent to again; what was sent before may be lost."""

    peer: int


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """A peer cannot be sent to."""

    peer: int


Event: TypeAlias = (
    MessageReceived
    | Ticked
    | BlockValidated
    | BlockExecuted
    | BlockBuilt
    | WorkChanged
    | PeerConnected
    | PeerDisconnected
)
