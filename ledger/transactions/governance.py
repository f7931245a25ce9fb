"""Transactions of governance: propose, vote, withdraw_proposal.

Any member proposes, validators vote. What becomes of a proposal: `ledger.governance`.
Source: docs/spec/ledger.md §7.6, §7.9 and §7.10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ledger.changes import (
    CHANGES_PER_DECISION_MAX,
    Change,
    check_change,
    compute_changes_hash,
    read_change,
)
from ledger.errors import TransactionFailedError
from ledger.governance import (
    check_feasible,
    compute_votes_needed,
    enact_at_once,
    is_suspended,
    read_member,
)
from ledger.governance_records import (
    CHAIN_GOVERNANCE,
    OPEN_PROPOSALS_MAX,
    TITLE_BYTES_MAX,
    Governance,
    Proposal,
    ProposalStatus,
    decode_governance,
    decode_proposal,
    proposal_key,
)
from ledger.membership import find_step, is_safe_step, read_validators
from ledger.membership_records import (
    CHAIN_PENDING_CHANGES,
    PENDING_DECISIONS_MAX,
    Decision,
    PendingChanges,
    decode_pending_changes,
)
from ledger.parameters import Parameters
from ledger.schema import StateReader
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import AccountId, account_to_text
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "NOT_A_VALIDATOR",
    "PROPOSE",
    "TOO_MANY_PENDING",
    "VOTE",
    "WITHDRAW_PROPOSAL",
    "Propose",
    "Vote",
    "WithdrawProposal",
    "decide",
    "is_seated",
    "open_proposal",
]

NOT_A_VALIDATOR: Final = "not_a_validator"
NOT_THE_PROPOSER: Final = "not_the_proposer"
TOO_MANY_PENDING: Final = "too_many_pending"
UNKNOWN_PROPOSAL: Final = "unknown_proposal"
PROPOSAL_CLOSED: Final = "proposal_closed"
WRONG_PROPOSAL: Final = "wrong_proposal"
ALREADY_VOTED: Final = "already_voted"
UNSAFE_STEP: Final = "unsafe_step"

VALIDATOR_PROPOSALS_MAX: Final = 8
"""Open proposals of one validator; another member has one at a time."""

_UNITS_PER_KEY: Final = 100_000


@dataclass(frozen=True, slots=True)
class Propose:
    """Put changes to the vote.

    Parameters
    ----------
    title : for people, at most `TITLE_BYTES_MAX` bytes.
    changes : 1 to `CHANGES_PER_DECISION_MAX` that take effect together.
    """

    title: str
    changes: tuple[Change, ...]

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.title, [change.to_fields() for change in self.changes]]


class ProposeKind:
    """Opens a proposal; a validator's own counts as its yes vote."""

    code: Final = 7
    name: Final = "propose"
    has_payload: Final = False
    result_fields: Final = ("number", "yes", "needed", "status")

    def decode_body(self, value: list[Value]) -> Propose:
        """Return the body; raises `InvalidInputError` for another form."""
        reader = FieldReader(value, "propose", 2)
        title = reader.text("title", TITLE_BYTES_MAX)
        items = reader.array("changes", CHANGES_PER_DECISION_MAX)
        if not items:
            raise InvalidInputError(
                "malformed", "propose.changes must hold at least one", field="propose.changes"
            )
        return Propose(title, tuple(read_change(item) for item in items))

    def check(self, transaction: Transaction, body: Propose, _parameters: Parameters) -> None:
        """Check title, keys, signatures and ranges."""
        if not body.title.isprintable():
            raise InvalidInputError(
                "malformed", "propose.title must be printable text", field="propose.title"
            )
        for change in body.changes:
            check_change(change, transaction.chain_id)

    def cost(self, _state: StateReader, _transaction: Transaction, body: Propose) -> int:
        """Return the price of checking two keys for each change."""
        return 2 * len(body.changes) * _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: Propose
    ) -> list[Encodable]:
        """Open the proposal; returns number, yes votes, votes needed, status."""
        read_member(context, context.sender)
        if is_suspended(context, context.sender):
            raise TransactionFailedError(
                "suspended", f"{account_to_text(context.sender)} is suspended"
            )
        proposal = open_proposal(context, body.title, body.changes)
        return _count(context, proposal)


@dataclass(frozen=True, slots=True)
class Vote:
    """Vote on a proposal.

    Parameters
    ----------
    number : of the proposal.
    changes_hash : of its changes, 32 bytes: what the voter has seen is what it votes for.
    yes : for or against.
    """

    number: int
    changes_hash: bytes
    yes: bool

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.number, self.changes_hash, self.yes]


class VoteKind:
    """Counts a vote; a later one of the same validator takes the place of the earlier one."""

    code: Final = 10
    name: Final = "vote"
    has_payload: Final = False
    result_fields: Final = ("number", "yes", "needed", "status")

    def decode_body(self, value: list[Value]) -> Vote:
        """Return the body; raises `InvalidInputError` for another form."""
        reader = FieldReader(value, "vote", 3)
        return Vote(
            reader.counter("number"),
            reader.bytes("changes_hash", HASH_BYTES),
            reader.boolean("yes"),
        )

    def check(self, _transaction: Transaction, _body: Vote, _parameters: Parameters) -> None:
        """Check nothing further: what it is about, the state says."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: Vote) -> int:
        """Return the price of reading and writing a proposal."""
        return _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: Vote
    ) -> list[Encodable]:
        """Count the vote; returns number, yes votes, votes needed, status."""
        if not is_seated(context, context.sender):
            raise TransactionFailedError(
                NOT_A_VALIDATOR, f"{account_to_text(context.sender)} is no validator of this epoch"
            )
        proposal = _read_open(context, body.number)
        if compute_changes_hash(proposal.changes) != body.changes_hash:
            raise TransactionFailedError(
                WRONG_PROPOSAL, f"proposal {body.number} is about other changes than this vote"
            )
        votes = dict(proposal.votes)
        if votes.get(context.sender) == body.yes:
            raise TransactionFailedError(
                ALREADY_VOTED, f"{account_to_text(context.sender)} has voted so already"
            )
        votes[context.sender] = body.yes
        return _count(context, replace(proposal, votes=tuple(votes.items())))


@dataclass(frozen=True, slots=True)
class WithdrawProposal:
    """Take back an open proposal."""

    number: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.number]


class WithdrawProposalKind:
    """Closes the sender's own proposal."""

    code: Final = 11
    name: Final = "withdraw_proposal"
    has_payload: Final = False

    def decode_body(self, value: list[Value]) -> WithdrawProposal:
        """Return the body; raises `InvalidInputError` for another form."""
        return WithdrawProposal(FieldReader(value, "withdraw_proposal", 1).counter("number"))

    def check(
        self, _transaction: Transaction, _body: WithdrawProposal, _parameters: Parameters
    ) -> None:
        """Check nothing further: whose it is, the state says."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: WithdrawProposal) -> int:
        """Return the price of reading and writing a proposal."""
        return _UNITS_PER_KEY

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: WithdrawProposal
    ) -> list[Encodable]:
        """Close the proposal; fails with ``not_the_proposer``."""
        proposal = _read_open(context, body.number)
        if proposal.proposer != context.sender:
            raise TransactionFailedError(
                NOT_THE_PROPOSER,
                f"proposal {body.number} is of {account_to_text(proposal.proposer)}",
            )
        # It counts as open until the epoch ends: proposing is free, so it has to be bounded.
        context.put(
            proposal_key(proposal.number),
            replace(proposal, status=ProposalStatus.WITHDRAWN, closed_height=context.height),
        )
        return [body.number]


def open_proposal(context: ExecutionContext, title: str, changes: tuple[Change, ...]) -> Proposal:
    """Write a new proposal of the sender, its own vote cast if it has one.

    Raises
    ------
    TransactionFailedError
        A change is not feasible, ``unsafe_step``, ``too_many_pending``.
    """
    governance = context.get(CHAIN_GOVERNANCE, decode_governance) or Governance()
    _check_room(context, governance)
    number = governance.count + 1
    _check_changes(context, Decision(number, context.height, changes))
    proposal = Proposal(
        number=number,
        proposer=context.sender,
        title=title,
        changes=changes,
        created_height=context.height,
        expires_height=context.height + context.parameters.proposal_expiry_blocks,
        votes=((context.sender, True),) if is_seated(context, context.sender) else (),
    )
    context.put(proposal_key(number), proposal)
    context.put(CHAIN_GOVERNANCE, Governance(number, (*governance.open_numbers, number)))
    return proposal


def decide(context: ExecutionContext, decision: Decision, *, own_first: bool = False) -> bool:
    """Put a decision behind those that wait; False if there is no room.

    Parameters
    ----------
    context : of the transaction.
    decision : to be carried out with the end of an epoch.
    own_first : it takes the place of an earlier one by which the sender decided about itself.
    """
    pending = context.get(CHAIN_PENDING_CHANGES, decode_pending_changes) or PendingChanges()
    waiting = pending.decisions
    if own_first:
        waiting = tuple(
            each
            for each in waiting
            if each.number != decision.number or each.accounts != decision.accounts
        )
    if len(waiting) >= PENDING_DECISIONS_MAX:
        return False
    enact_at_once(context, decision)
    context.put(CHAIN_PENDING_CHANGES, PendingChanges((*waiting, decision)))
    return True


def is_seated(state: StateReader, account: AccountId) -> bool:
    """Say whether an account is that of a validator of this epoch."""
    return any(each.account == account for each in read_validators(state).validators)


def _count(context: ExecutionContext, proposal: Proposal) -> list[Encodable]:
    """Write a proposal with its votes, and close it if they decide it."""
    seats = [each.account for each in read_validators(context).validators]
    # Who lost its seat is forgotten: the record never outgrows the set.
    votes = tuple((account, yes) for account, yes in proposal.votes if account in seats)
    proposal = replace(proposal, votes=votes)
    yes = sum(vote for _, vote in votes)
    needed = compute_votes_needed(context.parameters, proposal.changes, len(seats))
    if yes >= needed:
        proposal = _close(context, proposal, _pass(context, proposal))
    elif len(seats) - (len(votes) - yes) < needed:
        proposal = _close(context, proposal, ProposalStatus.REJECTED)
    else:
        context.put(proposal_key(proposal.number), proposal)
    return [proposal.number, yes, needed, int(proposal.status)]


def _pass(context: ExecutionContext, proposal: Proposal) -> ProposalStatus:
    """Make the decision if it is still feasible."""
    decision = Decision(proposal.number, context.height, proposal.changes)
    try:
        _check_changes(context, decision)
    except TransactionFailedError:
        return ProposalStatus.LAPSED
    return ProposalStatus.PASSED if decide(context, decision) else ProposalStatus.LAPSED


def _close(context: ExecutionContext, proposal: Proposal, status: ProposalStatus) -> Proposal:
    proposal = replace(proposal, status=status, closed_height=context.height)
    context.put(proposal_key(proposal.number), proposal)
    governance = context.get(CHAIN_GOVERNANCE, decode_governance) or Governance()
    left = tuple(number for number in governance.open_numbers if number != proposal.number)
    context.put(CHAIN_GOVERNANCE, Governance(governance.count, left))
    return proposal


def _read_open(context: ExecutionContext, number: int) -> Proposal:
    proposal = context.get(proposal_key(number), decode_proposal)
    if proposal is None:
        raise TransactionFailedError(UNKNOWN_PROPOSAL, f"there is no proposal {number}")
    if proposal.status is not ProposalStatus.OPEN or context.height > proposal.expires_height:
        raise TransactionFailedError(
            PROPOSAL_CLOSED,
            f"proposal {number} is {proposal.status.name.lower()}"
            f" and could be voted on until height {proposal.expires_height}",
        )
    return proposal


def _check_room(context: ExecutionContext, governance: Governance) -> None:
    if len(governance.open_numbers) >= OPEN_PROPOSALS_MAX:
        raise TransactionFailedError(
            TOO_MANY_PENDING, f"{OPEN_PROPOSALS_MAX} proposals are open already"
        )
    limit = VALIDATOR_PROPOSALS_MAX if is_seated(context, context.sender) else 1
    proposals = (
        context.get(proposal_key(number), decode_proposal) for number in governance.open_numbers
    )
    own = sum(each is not None and each.proposer == context.sender for each in proposals)
    if own >= limit:
        raise TransactionFailedError(
            TOO_MANY_PENDING,
            f"{account_to_text(context.sender)} has {own} open proposals, its limit is {limit}",
        )


def _check_changes(context: ExecutionContext, decision: Decision) -> None:
    """Refuse what cannot be carried out, and what no epoch end could ever make safe."""
    epoch = context.parameters.epoch_of(context.height)
    for change in decision.changes:
        check_feasible(context, change, epoch)
    present, following = find_step(context, decision)
    if present != following and not is_safe_step(present, following):
        kept = len(set(present.validators) & set(following.validators))
        raise TransactionFailedError(
            UNSAFE_STEP,
            f"{kept} of {len(present.validators)} validators would stay and"
            f" {len(following.validators)} would decide: those that stay must be a quorum;"
            " change fewer at a time",
        )


PROPOSE: Final = ProposeKind()
VOTE: Final = VoteKind()
WITHDRAW_PROPOSAL: Final = WithdrawProposalKind()
