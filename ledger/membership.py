"""The validators of the next epoch: settled some blocks before the end of this one.

Theory of operation
-------------------
Decisions (docs/spec/ledger.md §13) wait in the state. At the decision height of an epoch the next
set is computed from the present one: suspended validators lose their seats first, then decisions
take effect in the order in which they were made, each as a whole. One that would leave too few of
the present validators in place is put off to the next epoch. At the last block of the epoch the set
comes into force.

Invariants: (M1) the next set follows from the state after the block at the decision height alone;
(M2) with four validators or more, those that stay are a quorum of the next set, so newcomers and
new keys that never speak cannot halt the chain; (M3) the set is never empty and holds no key twice.
Pure: reads and writes records through a `BlockState`.
"""

from __future__ import annotations

from typing import Final

from ledger.changes import Admission, Reinstatement, Removal, RoleChange, Rotation, concerns
from ledger.epoch_rewards import share_rewards
from ledger.governance import apply_decision, close_proposals, forget_expired, read_protocol
from ledger.governance_records import CHAIN_PROTOCOL, ProposalStatus, Protocol
from ledger.members import Member, Role, decode_member, member_key
from ledger.membership_records import (
    CHAIN_PENDING_CHANGES,
    CHAIN_SETTLED_CHANGES,
    Decision,
    PendingChanges,
    decode_pending_changes,
    decode_suspension,
    suspension_key,
)
from ledger.parameters import Parameters
from ledger.schema import (
    CHAIN_NEXT_VALIDATORS,
    CHAIN_PARAMETERS,
    CHAIN_VALIDATORS,
    StateReader,
    Validator,
    Validators,
    decode_validators,
    epoch_validators_key,
)
from ledger.state import BlockState
from primitives.errors import InvariantViolationError
from primitives.hashing import ZERO_HASH
from primitives.validator_set import VALIDATORS_MAX

__all__ = [
    "close_block",
    "find_step",
    "is_safe_step",
    "read_next_validators",
    "read_validators",
]

TOLERANT_COUNT: Final = 4
"""From so many validators on one may be faulty."""

PUT_OFF_EPOCHS_MAX: Final = 10
"""A decision that was not possible for so many epochs lapses."""


def read_validators(state: StateReader) -> Validators:
    """Return the validators that decide the epoch of the next block."""
    validators = state.get(CHAIN_VALIDATORS, decode_validators)
    if validators is None:
        raise InvariantViolationError("the state has no validators")
    return validators


def read_next_validators(state: StateReader) -> Validators:
    """Return the validators of the next epoch, from the decision height to the end of this one.

    Raises
    ------
    InvariantViolationError
        If they are not settled yet.
    """
    validators = state.get(CHAIN_NEXT_VALIDATORS, decode_validators)
    if validators is None:
        raise InvariantViolationError("the validators of the next epoch are not settled yet")
    return validators


def close_block(state: BlockState, height: int, parameters: Parameters) -> None:
    """Do what is due at a height: settle the next set, or bring what was decided into force.

    Parameters
    ----------
    state : after the transactions of the block.
    height : of the block, ≥ 1.
    parameters : in force.
    """
    epoch = parameters.epoch_of(height)
    if height == parameters.decision_height(epoch):
        state.put(CHAIN_NEXT_VALIDATORS, _settle(state, height, parameters))
    if height == parameters.epoch_end(epoch):
        share_rewards(state, read_validators(state), parameters, epoch)
        following = read_next_validators(state)
        state.put(CHAIN_VALIDATORS, following)
        state.put(epoch_validators_key(epoch + 1), following)
        state.put(CHAIN_NEXT_VALIDATORS, None)
        _bring_into_force(state, height, parameters)
        forget_expired(state, height)


def _bring_into_force(state: BlockState, height: int, parameters: Parameters) -> None:
    """Carry out what was settled, and begin to follow another protocol if it is time."""
    settled = state.get(CHAIN_SETTLED_CHANGES, decode_pending_changes)
    if settled is not None:
        after = parameters
        for decision in settled.decisions:
            after = apply_decision(state, decision, height, after)
        if after != parameters:
            state.put(CHAIN_PARAMETERS, after)
        state.put(CHAIN_SETTLED_CHANGES, None)
    protocol = read_protocol(state)
    if protocol.next_version and protocol.next_epoch == parameters.epoch_of(height) + 1:
        state.put(CHAIN_PROTOCOL, Protocol(protocol.next_version))


def is_safe_step(present: Validators, following: Validators) -> bool:
    """Say whether a set may follow another: who stays can decide without who comes (M2)."""
    before, after = set(present.validators), set(following.validators)
    if not after or len(after) > VALIDATORS_MAX:
        return False
    if len(before) < TOLERANT_COUNT:
        return len(after - before) <= 1 and len(before - after) <= 1
    return len(before & after) >= following.to_validator_set().quorum


def _settle(state: BlockState, height: int, parameters: Parameters) -> Validators:
    present = read_validators(state)
    following = _without_suspended(state, present)
    pending = state.get(CHAIN_PENDING_CHANGES, decode_pending_changes) or PendingChanges()
    oldest = height - PUT_OFF_EPOCHS_MAX * parameters.epoch_length
    settled: list[Decision] = []
    put_off: list[Decision] = []
    lapsed: list[int] = []
    for decision in pending.decisions:
        candidate = _apply(state, following, decision)
        # What concerns a member that an earlier decision waits for, waits behind it.
        is_blocked = any(decision.accounts & earlier.accounts for earlier in put_off)
        if not is_blocked and (candidate == following or is_safe_step(present, candidate)):
            following = candidate
            settled.append(decision)
        elif decision.height < oldest:
            lapsed.append(decision.number)
        else:
            put_off.append(decision)
    if pending.decisions:
        state.put(CHAIN_PENDING_CHANGES, PendingChanges(tuple(put_off)) if put_off else None)
        state.put(CHAIN_SETTLED_CHANGES, PendingChanges(tuple(settled)) if settled else None)
        close_proposals(state, lapsed, ProposalStatus.LAPSED, height)
    return following


def find_step(state: StateReader, decision: Decision) -> tuple[Validators, Validators]:
    """Return the present validators, and those that a decision would leave by itself."""
    present = read_validators(state)
    return present, _apply(state, present, decision)


def _without_suspended(state: BlockState, present: Validators) -> Validators:
    """Take the seats of the suspended away, one after the other, as far as that is safe."""
    following = present
    for validator in present.validators:
        if state.get(suspension_key(validator.account), decode_suspension) is None:
            continue
        candidate = Validators(tuple(v for v in following.validators if v != validator))
        if is_safe_step(present, candidate):
            following = candidate
    return following


def _apply(state: StateReader, validators: Validators, decision: Decision) -> Validators:
    """Return the validators after a decision; a change that is void by now changes nothing."""
    seats = list(validators.validators)
    for change in decision.changes:
        account = concerns(change)
        if account is None:
            continue
        index = next((i for i, seat in enumerate(seats) if seat.account == account), None)
        match change:
            case Rotation(public_key=public_key):
                if index is not None:
                    seats[index] = Validator(account, public_key)
            case Admission() | Reinstatement():
                member = state.get(member_key(account), decode_member)
                admitted = change.member if isinstance(change, Admission) else member
                _take_seat(seats, index, admitted, is_barred=_is_barred(state, change, decision))
            case Removal():
                _leave_seat(seats, index)
            case RoleChange(roles=roles) if Role.VALIDATOR not in roles:
                _leave_seat(seats, index)
            case _:
                pass
    return Validators(tuple(seats))


def _take_seat(
    seats: list[Validator], index: int | None, member: Member | None, *, is_barred: bool
) -> None:
    """Give a member the seat that its roles ask for, or take away the one that they do not."""
    if member is None or is_barred:
        return
    if Role.VALIDATOR not in member.roles or member.validator_key is None:
        _leave_seat(seats, index)
        return
    seat = Validator(member.account, member.validator_key)
    if index is None:
        seats.append(seat)
    else:
        seats[index] = seat


def _leave_seat(seats: list[Validator], index: int | None) -> None:
    if index is not None:
        del seats[index]


def _is_barred(state: StateReader, change: Admission | Reinstatement, decision: Decision) -> bool:
    """Say whether a change would seat a member that was suspended after it was decided."""
    suspension = state.get(suspension_key(change.account), decode_suspension)
    if suspension is None:
        return False
    if isinstance(change, Reinstatement) and suspension.evidence != ZERO_HASH:
        return True
    return suspension.height > decision.height
