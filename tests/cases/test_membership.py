"""Sets of validators follow each other so that those who stay can always decide."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.membership import is_safe_step
from ledger.schema import Validator, Validators
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId

LARGE, SMALL = 30, 4


def seat(number: int, key: int = 0) -> Validator:
    return Validator(
        AccountId(number.to_bytes(ACCOUNT_ID_BYTES, "big")), bytes([number, key]).ljust(32)
    )


def make_set(*numbers: int) -> Validators:
    return Validators(tuple(seat(number) for number in numbers))


def test_set_grows_to_thirty_and_shrinks_to_four_in_safe_steps() -> None:
    present = make_set(*range(SMALL))
    for count in range(SMALL + 1, LARGE + 1):
        following = make_set(*range(count))
        assert is_safe_step(present, following)
        present = following
    while len(present.validators) > SMALL:
        following = Validators(present.validators[:-1])
        assert is_safe_step(present, following)
        present = following


def test_more_than_the_quorum_can_miss_is_never_exchanged_at_once() -> None:
    present = make_set(0, 1, 2, 3)
    assert is_safe_step(present, make_set(0, 1, 2, 9))
    assert not is_safe_step(present, make_set(0, 1, 8, 9))
    assert not is_safe_step(present, Validators(()))
    rotated = Validators((seat(0, 1), seat(1, 1), seat(2), seat(3)))
    assert not is_safe_step(present, rotated), "a new key may be one that nobody can use"
    assert is_safe_step(make_set(0, 1), make_set(0, 1, 2))
    assert not is_safe_step(make_set(0, 1), make_set(0, 2, 3))


@given(
    st.sets(st.integers(0, 15), min_size=4, max_size=12), st.sets(st.integers(0, 15), max_size=14)
)
def test_whoever_comes_can_neither_decide_nor_prevent(old: set[int], new: set[int]) -> None:
    present, following = make_set(*sorted(old)), make_set(*sorted(new))
    if not is_safe_step(present, following):
        return
    sets = following.to_validator_set()
    assert len(old & new) >= sets.quorum
    assert len(new - old) <= sets.faults_max
