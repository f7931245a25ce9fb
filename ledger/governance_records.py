"""Records of proposals, of who voted how, and of the version of the protocol.

Source: docs/spec/ledger.md §14.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from ledger.changes import CHANGES_PER_DECISION_MAX, Change, read_change
from ledger.schema import read_record
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Value, encode
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.validator_set import VALIDATORS_MAX

__all__ = [
    "CHAIN_GOVERNANCE",
    "CHAIN_PROTOCOL",
    "OPEN_PROPOSALS_MAX",
    "PROPOSAL_PREFIX",
    "TITLE_BYTES_MAX",
    "Governance",
    "Proposal",
    "ProposalStatus",
    "Protocol",
    "UsedInvite",
    "decode_governance",
    "decode_proposal",
    "decode_protocol",
    "decode_used_invite",
    "proposal_key",
    "used_invite_key",
]

CHAIN_GOVERNANCE: Final = b"chain/governance"
CHAIN_PROTOCOL: Final = b"chain/protocol"
PROPOSAL_PREFIX: Final = b"proposal/"

OPEN_PROPOSALS_MAX: Final = 64
"""Proposals that can be voted on at a time."""

TITLE_BYTES_MAX: Final = 200


class ProposalStatus(IntEnum):
    """What became of a proposal."""

    OPEN = 0
    PASSED = 1
    """Decided; takes effect at the end of an epoch."""
    APPLIED = 2
    REJECTED = 3
    """So many voted against it that it could not pass any more."""
    WITHDRAWN = 4
    EXPIRED = 5
    LAPSED = 6
    """Decided, but it never became possible, or a later decision took its place."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """Changes that validators vote on.

    Parameters
    ----------
    number : from 1, in the order of creation.
    proposer : account that created it.
    title : for people.
    changes : that take effect together if it passes.
    created_height, expires_height : first and last height at which it can be voted on.
    status : what became of it.
    closed_height : at which `status` became what it is, 0 while open.
    votes : account of a validator → its vote, in the order of the first votes.
    """

    number: int
    proposer: AccountId
    title: str
    changes: tuple[Change, ...]
    created_height: int
    expires_height: int
    status: ProposalStatus = ProposalStatus.OPEN
    closed_height: int = 0
    votes: tuple[tuple[AccountId, bool], ...] = ()

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                self.number,
                self.proposer,
                self.title,
                [change.to_fields() for change in self.changes],
                self.created_height,
                self.expires_height,
                int(self.status),
                self.closed_height,
                [[account, yes] for account, yes in self.votes],
            )
        )


def decode_proposal(data: bytes) -> Proposal:
    """Return the proposal whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "proposal", 9)
    return Proposal(
        number=reader.counter("number"),
        proposer=AccountId(reader.bytes("proposer", ACCOUNT_ID_BYTES)),
        title=reader.text("title", TITLE_BYTES_MAX),
        changes=tuple(
            read_change(item) for item in reader.array("changes", CHANGES_PER_DECISION_MAX)
        ),
        created_height=reader.counter("created_height"),
        expires_height=reader.counter("expires_height"),
        status=ProposalStatus(reader.integer("status", 0, max(ProposalStatus))),
        closed_height=reader.counter("closed_height"),
        votes=tuple(_read_vote(item) for item in reader.array("votes", VALIDATORS_MAX)),
    )


def _read_vote(value: Value) -> tuple[AccountId, bool]:
    reader = FieldReader(value, "vote", 2)
    return AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)), reader.boolean("yes")


def proposal_key(number: int) -> bytes:
    """Return the state key of a proposal."""
    return PROPOSAL_PREFIX + number.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class Governance:
    """Which proposals there are.

    Parameters
    ----------
    count : of proposals ever created; the next one gets the number after it.
    open_numbers : of those that can be voted on or were withdrawn in this epoch, ascending.
    """

    count: int = 0
    open_numbers: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.count, list(self.open_numbers)))


def decode_governance(data: bytes) -> Governance:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "governance", 2)
    count = reader.counter("count")
    items = reader.array("open_numbers", OPEN_PROPOSALS_MAX)
    numbers = [FieldReader([item], "governance", 1).counter("open_number") for item in items]
    return Governance(count, tuple(numbers))


@dataclass(frozen=True, slots=True)
class Protocol:
    """Which version of the protocol blocks follow; no record stands for version 1.

    Parameters
    ----------
    version : of the blocks of the present epoch.
    next_version : decided for later, or 0.
    next_epoch : whose first block is the first to follow it.
    """

    version: int = 1
    next_version: int = 0
    next_epoch: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.version, self.next_version, self.next_epoch))


def decode_protocol(data: bytes) -> Protocol:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "protocol", 3)
    return Protocol(
        reader.integer("version", 1, 2**16 - 1),
        reader.integer("next_version", 0, 2**16 - 1),
        reader.integer("next_epoch", 0, COUNTER_MAX),
    )


@dataclass(frozen=True, slots=True)
class UsedInvite:
    """An invite that somebody used; it serves nobody else.

    Parameters
    ----------
    account : of the newcomer.
    proposal : number of the proposal to admit it.
    """

    account: AccountId
    proposal: int

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.account, self.proposal))


def decode_used_invite(data: bytes) -> UsedInvite:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "used_invite", 2)
    return UsedInvite(
        AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)), reader.counter("proposal")
    )


def used_invite_key(invite_id: bytes) -> bytes:
    """Return the state key of a used invite."""
    return b"invite/" + invite_id
