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

from ledger.membership_records import (
    CHAIN_PENDING_CHANGES,
    Admission,
    Change,
    PendingChanges,
    Removal,
    decode_pending_changes,
    decode_suspension,
    suspension_key,
)
from ledger.parameters import Parameters
from ledger.schema import (
    CHAIN_NEXT_VALIDATORS,
    CHAIN_VALIDATORS,
    StateReader,
    Validator,
    Validators,
    decode_validators,
    epoch_validators_key,
)
from ledger.state import BlockState
from primitives.errors import InvariantViolationError
from primitives.validator_set import VALIDATORS_MAX

__all__ = ["close_block", "is_safe_step", "read_next_validators", "read_validators"]

TOLERANT_COUNT: Final = 4
"""From so many validators on one may be faulty."""


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
    """Do what is due at a height: settle the next set, or bring it into force.

    Parameters
    ----------
    state : after the transactions of the block.
    height : of the block, ≥ 1.
    parameters : in force.
    """
    epoch = parameters.epoch_of(height)
    if height == parameters.decision_height(epoch):
        state.put(CHAIN_NEXT_VALIDATORS, _settle(state))
    if height == parameters.epoch_end(epoch):
        following = read_next_validators(state)
        state.put(CHAIN_VALIDATORS, following)
        state.put(epoch_validators_key(epoch + 1), following)
        state.put(CHAIN_NEXT_VALIDATORS, None)


def is_safe_step(present: Validators, following: Validators) -> bool:
    """Say whether a set may follow another: who stays can decide without who comes (M2)."""
    before, after = set(present.validators), set(following.validators)
    if not after or len(after) > VALIDATORS_MAX:
        return False
    if len(before) < TOLERANT_COUNT:
        return len(after - before) <= 1 and len(before - after) <= 1
    return len(before & after) >= following.to_validator_set().quorum


def _settle(state: BlockState) -> Validators:
    present = read_validators(state)
    following = _without_suspended(state, present)
    pending = state.get(CHAIN_PENDING_CHANGES, decode_pending_changes) or PendingChanges()
    put_off: list[tuple[Change, ...]] = []
    for decision in pending.decisions:
        candidate = _apply(following, tuple(c for c in decision if not _is_barred(state, c)))
        if candidate == following:
            continue
        if is_safe_step(present, candidate):
            following = candidate
        else:
            put_off.append(decision)
    if len(put_off) != len(pending.decisions):
        state.put(CHAIN_PENDING_CHANGES, PendingChanges(tuple(put_off)))
    return following


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


def _apply(validators: Validators, decision: tuple[Change, ...]) -> Validators:
    """Return the validators after a decision; a change that is void by now changes nothing."""
    seats = list(validators.validators)
    for change in decision:
        index = next((i for i, seat in enumerate(seats) if seat.account == change.account), None)
        match change:
            case Admission():
                seat = Validator(change.account, change.member.validator_key)
                if index is None:
                    seats.append(seat)
                else:
                    seats[index] = seat
            case Removal():
                if index is not None:
                    del seats[index]
            case _:
                if index is not None:
                    seats[index] = Validator(change.account, change.public_key)
    return Validators(tuple(seats))


def _is_barred(state: BlockState, change: Change) -> bool:
    """Say whether a change would seat a member that was suspended after it was decided."""
    return (
        isinstance(change, Admission)
        and state.get(suspension_key(change.account), decode_suspension) is not None
    )
