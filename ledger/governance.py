"""What becomes of a proposal: when it passes, what that does at once, and what at an epoch's end.

Theory of operation
-------------------
Validators vote yes or no on a list of changes. With every vote the tally is taken anew, over those
that have a seat *now*. Enough yes votes for the hardest of its changes, and the proposal has
passed; so many no votes that it cannot pass, and it is rejected. What has passed waits for the
decision height of the epoch (`ledger.membership`), where it is left out as long as it would not
leave a quorum in place, and takes effect with the epoch's last block. Only what must be known
before happens at once: keys are claimed, a newcomer may connect and read, a suspension counts, an
upgrade is announced.

Invariants: (G1) a proposal needs more than half of the validators and never more than a quorum, so
neither can two contrary ones pass at a time, nor the faulty third keep all others from passing;
(G2) a proposal is closed once, and what is closed is never reopened; (G3) a key belongs to one
member for good; (G4) parameters change with the last block of an epoch alone, so they are the same
for all blocks of one.
Pure. Source: docs/spec/ledger.md §14.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from typing import Protocol as Interface

from ledger.changes import (
    AccountRecovery,
    Admission,
    Change,
    ParameterChange,
    Reinstatement,
    Removal,
    RoleChange,
    Rotation,
    SuspensionOrder,
    Upgrade,
    concerns,
)
from ledger.errors import TransactionFailedError
from ledger.governance_records import (
    CHAIN_GOVERNANCE,
    CHAIN_PROTOCOL,
    Governance,
    Proposal,
    ProposalStatus,
    Protocol,
    decode_governance,
    decode_proposal,
    decode_protocol,
    proposal_key,
)
from ledger.members import (
    ActsFor,
    Member,
    Role,
    acts_for_key,
    decode_acts_for,
    decode_member,
    find_member,
    member_key,
    name_key,
)
from ledger.membership_records import (
    Decision,
    KeyHolder,
    Suspension,
    decode_key_holder,
    decode_suspension,
    key_holder_key,
    suspension_key,
)
from ledger.parameters import Parameters
from ledger.schema import (
    CHAIN_ROSTER,
    MEMBERS_MAX,
    Account,
    Record,
    Roster,
    StateReader,
    account_key,
    decode_account,
    decode_roster,
)
from primitives.accounts import AccountId, account_to_text
from primitives.errors import InvariantViolationError
from primitives.hashing import ZERO_HASH
from primitives.validator_set import quorum_size

__all__ = [
    "ACCOUNT_IN_USE",
    "KEY_IN_USE",
    "TOO_MANY_MEMBERS",
    "UNKNOWN_MEMBER",
    "WritableState",
    "apply_decision",
    "check_feasible",
    "check_further_account",
    "claim_key",
    "close_proposals",
    "compute_votes_needed",
    "enact_at_once",
    "forget_expired",
    "is_suspended",
    "list_keys",
    "read_member",
    "read_protocol",
    "replace_member",
    "require_role",
]

KEY_IN_USE: Final = "key_in_use"
ACCOUNT_IN_USE: Final = "account_in_use"
NAME_IN_USE: Final = "name_in_use"
TOO_MANY_MEMBERS: Final = "too_many_members"
UNKNOWN_MEMBER: Final = "unknown_member"
NOT_SUSPENDED: Final = "not_suspended"
TOO_LATE: Final = "too_late"
ROLE_NEEDED: Final = "role_needed"

_PERCENT: Final = 100


class WritableState(StateReader, Interface):
    """State that records can be written to: of a block, or of a transaction's turn."""

    def put(self, key: bytes, record: Record | None) -> None:
        """Write a record, or remove it."""
        ...


def compute_votes_needed(parameters: Parameters, changes: tuple[Change, ...], count: int) -> int:
    """Return how many of `count` validators must vote yes for changes to pass (G1)."""
    percent = max(_threshold_of(parameters, change) for change in changes)
    share = -(-count * percent // _PERCENT)
    return min(max(share, count // 2 + 1), quorum_size(count))


def _threshold_of(parameters: Parameters, change: Change) -> int:
    match change:
        case ParameterChange():
            return parameters.parameters_threshold_percent
        case Upgrade():
            return parameters.upgrade_threshold_percent
        case SuspensionOrder() | Reinstatement():
            return parameters.suspension_threshold_percent
        case _:
            return parameters.members_threshold_percent


def check_feasible(state: StateReader, change: Change, epoch: int) -> None:
    """Check that a change can be carried out as things are.

    Parameters
    ----------
    state : at present.
    change : one of a proposal.
    epoch : of the block.

    Raises
    ------
    TransactionFailedError
        ``unknown_member``, ``key_in_use``, ``account_in_use``, ``too_many_members``,
        ``not_suspended`` or ``too_late``.
    """
    if isinstance(change, Admission):
        _check_admission(state, change)
        return
    if isinstance(change, Upgrade):
        protocol = read_protocol(state)
        if change.epoch <= epoch or change.version <= protocol.version:
            raise TransactionFailedError(
                TOO_LATE,
                f"version {change.version} from epoch {change.epoch}: the protocol is at version"
                f" {protocol.version} in epoch {epoch}",
            )
        return
    account = concerns(change)
    if account is None:
        return
    member = read_member(state, account)
    if isinstance(change, Rotation):
        _check_key(state, change.public_key, account, known=None)
    if isinstance(change, Reinstatement):
        suspension = state.get(suspension_key(account), decode_suspension)
        if suspension is None or suspension.evidence != ZERO_HASH:
            raise TransactionFailedError(
                NOT_SUSPENDED, f"{member.name} is not suspended by a vote; admit it with a new key"
            )


def _check_admission(state: StateReader, change: Admission) -> None:
    member = change.member
    known = state.get(member_key(member.account), decode_member)
    roster = state.get(CHAIN_ROSTER, decode_roster) or Roster(())
    if known is None and len(roster.accounts) >= MEMBERS_MAX:
        raise TransactionFailedError(TOO_MANY_MEMBERS, f"{MEMBERS_MAX} members are the limit")
    if known is None and state.get(acts_for_key(member.account), decode_acts_for) is not None:
        raise _account_in_use(member.account)
    holder = state.get(name_key(member.name), decode_acts_for)
    if holder is not None and holder.account != member.account:
        raise TransactionFailedError(NAME_IN_USE, f"another member is named {member.name!r}")
    for key in list_keys(member):
        _check_key(state, key, member.account, known)
    for account in member.accounts:
        check_further_account(state, account, member.account)


def list_keys(member: Member) -> list[bytes]:
    """Return the keys of a member's vote and nodes."""
    keys = [node.transport_key for node in member.list_nodes() if node is not None]
    return keys if member.validator_key is None else [member.validator_key, *keys]


def check_further_account(state: StateReader, account: AccountId, owner: AccountId) -> None:
    """Check that an account may act for a member; raises ``account_in_use``."""
    if not _is_free(state, account, owner):
        raise _account_in_use(account)


def _is_free(state: StateReader, account: AccountId, owner: AccountId) -> bool:
    held = state.get(acts_for_key(account), decode_acts_for)
    is_member = state.get(member_key(account), decode_member) is not None
    return not is_member and (held is None or held.account == owner)


def _account_in_use(account: AccountId) -> TransactionFailedError:
    return TransactionFailedError(
        ACCOUNT_IN_USE, f"{account_to_text(account)} is a member or acts for another"
    )


def _check_key(
    state: StateReader, public_key: bytes, account: AccountId, known: Member | None
) -> None:
    """Refuse a key that another holds, that is burnt, or that was given up by a rotation."""
    holder = state.get(key_holder_key(public_key), decode_key_holder)
    if holder is None:
        return
    is_own = known is not None and holder.account == account
    if not is_own or holder.is_burnt:
        raise TransactionFailedError(KEY_IN_USE, f"key {public_key.hex()} was registered before")


def claim_key(state: WritableState, public_key: bytes, account: AccountId) -> None:
    """Register a key for good (G3); the caller has checked that it is free or the member's own."""
    if state.get(key_holder_key(public_key), decode_key_holder) is None:
        state.put(key_holder_key(public_key), KeyHolder(account))


def enact_at_once(state: WritableState, decision: Decision) -> None:
    """Do what must be known before the end of the epoch.

    Raises
    ------
    InvariantViolationError
        If a change is not feasible: the caller has checked that.
    """
    for change in decision.changes:
        match change:
            case Admission(member=member):
                _announce(state, member)
            case Rotation() as rotation:
                claim_key(state, rotation.public_key, rotation.account)
            case SuspensionOrder(account=account):
                if state.get(suspension_key(account), decode_suspension) is None:
                    state.put(suspension_key(account), Suspension(decision.height, ZERO_HASH))
            case Upgrade(version=version, epoch=epoch):
                present = read_protocol(state)
                state.put(CHAIN_PROTOCOL, Protocol(present.version, version, epoch))
            case _:
                pass


def _announce(state: WritableState, member: Member) -> None:
    """Let a newcomer connect and read; its roles count from the next epoch on."""
    for key in list_keys(member):
        claim_key(state, key, member.account)
    known = state.get(member_key(member.account), decode_member)
    if known is None:
        roster = state.get(CHAIN_ROSTER, decode_roster) or Roster(())
        state.put(CHAIN_ROSTER, Roster((*roster.accounts, member.account)))
    if known is None or not known.roles:
        replace_member(state, known, replace(member, roles=Role.READER))


def apply_decision(
    state: WritableState, decision: Decision, height: int, parameters: Parameters
) -> Parameters:
    """Carry out a decision with the last block of an epoch; return the parameters from then on.

    Parameters
    ----------
    state : after the transactions of the block.
    decision : settled at the decision height.
    height : of the block.
    parameters : as earlier decisions of this block left them.
    """
    for change in decision.changes:
        if isinstance(change, ParameterChange):
            parameters = replace(parameters, **{change.name: change.value})
            continue
        account = concerns(change)
        if account is None:
            continue
        known = state.get(member_key(account), decode_member)
        if known is not None:
            _apply_to_member(state, known, change, decision.height)
    close_proposals(state, [decision.number], ProposalStatus.APPLIED, height)
    return parameters


def _apply_to_member(
    state: WritableState, known: Member, change: Change, decided_height: int
) -> None:
    account = known.account
    match change:
        case Admission(member=member):
            suspension = state.get(suspension_key(account), decode_suspension)
            if suspension is not None and suspension.height <= decided_height:
                state.put(suspension_key(account), None)
            free = tuple(each for each in member.accounts if _is_free(state, each, account))
            replace_member(state, known, replace(member, accounts=free))
        case Removal():
            replace_member(state, known, replace(known, roles=Role.NONE, accounts=()))
            # Whoever comes back with another account may have the name again.
            state.put(name_key(known.name), None)
        case Rotation(public_key=public_key):
            replace_member(state, known, replace(known, validator_key=public_key))
        case RoleChange(roles=roles):
            allowed = known.roles | ~Role.VALIDATOR
            replace_member(state, known, replace(known, roles=roles & allowed))
        case Reinstatement():
            suspension = state.get(suspension_key(account), decode_suspension)
            if suspension is not None and suspension.evidence == ZERO_HASH:
                state.put(suspension_key(account), None)
        case AccountRecovery(public_key=public_key):
            held = state.get(account_key(account), decode_account) or Account()
            state.put(account_key(account), replace(held, public_key=public_key))
        case _:
            pass


def replace_member(state: WritableState, known: Member | None, member: Member) -> None:
    """Write a member's entry and whom its further accounts act for."""
    for account in () if known is None else known.accounts:
        if account not in member.accounts:
            state.put(acts_for_key(account), None)
    for account in member.accounts:
        state.put(acts_for_key(account), ActsFor(member.account))
    if known is not None and known.name != member.name:
        state.put(name_key(known.name), None)
    state.put(name_key(member.name), ActsFor(member.account))
    state.put(member_key(member.account), member)


def close_proposals(
    state: WritableState, numbers: list[int], status: ProposalStatus, height: int
) -> None:
    """Note what became of decided proposals; numbers of none are passed over (G2)."""
    for number in numbers:
        proposal = state.get(proposal_key(number), decode_proposal)
        if proposal is not None:
            state.put(proposal_key(number), replace(proposal, status=status, closed_height=height))


def forget_expired(state: WritableState, height: int) -> None:
    """Close the proposals whose time has passed, and forget those withdrawn in this epoch."""
    governance = state.get(CHAIN_GOVERNANCE, decode_governance)
    if governance is None:
        return
    proposals = [_read_proposal(state, number) for number in governance.open_numbers]
    is_open = [each for each in proposals if each.status is ProposalStatus.OPEN]
    left = tuple(each.number for each in is_open if each.expires_height > height)
    expired = [each.number for each in is_open if each.number not in left]
    close_proposals(state, expired, ProposalStatus.EXPIRED, height)
    if left != governance.open_numbers:
        state.put(CHAIN_GOVERNANCE, Governance(governance.count, left))


def _read_proposal(state: StateReader, number: int) -> Proposal:
    proposal = state.get(proposal_key(number), decode_proposal)
    if proposal is None:
        raise InvariantViolationError(f"the state lists proposal {number} and does not hold it")
    return proposal


def read_protocol(state: StateReader) -> Protocol:
    """Return which version of the protocol blocks follow."""
    return state.get(CHAIN_PROTOCOL, decode_protocol) or Protocol()


def read_member(state: StateReader, account: AccountId) -> Member:
    """Return a member that has not left; raises `TransactionFailedError`, ``unknown_member``."""
    member = state.get(member_key(account), decode_member)
    if member is None or not member.roles:
        raise TransactionFailedError(UNKNOWN_MEMBER, f"{account_to_text(account)} is no member")
    return member


def require_role(state: StateReader, account: AccountId, roles: int) -> None:
    """Check that an account has one of the roles that something is limited to.

    Parameters
    ----------
    state : at present.
    account : that acts.
    roles : one of them is needed; 0 means that everybody may.

    Raises
    ------
    TransactionFailedError
        ``role_needed``.
    """
    if roles == 0:
        return
    member = find_member(state, account)
    if member is None or not member.roles & roles or is_suspended(state, member.account):
        names = ", ".join(role.name.lower() for role in Role if role & roles and role.name)
        raise TransactionFailedError(
            ROLE_NEEDED, f"{account_to_text(account)} acts for no member with the role {names}"
        )


def is_suspended(state: StateReader, account: AccountId) -> bool:
    """Say whether a member is suspended, by evidence or by vote."""
    return state.get(suspension_key(account), decode_suspension) is not None
