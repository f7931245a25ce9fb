"""The checker of histories accepts what one counter can do, and nothing else."""

from __future__ import annotations

import random
from itertools import pairwise

from tests.processes.linearizability import (
    NEVER,
    Addition,
    Observation,
    Operation,
    find_step_back,
    is_linearizable,
)


def test_operations_one_after_the_other_are_accepted() -> None:
    assert is_linearizable([Observation(0, 1, 0), Addition(2, 3, 1), Observation(4, 5, 1)])


def test_read_after_a_confirmed_addition_must_hold_it() -> None:
    assert not is_linearizable([Addition(0, 1, 1), Observation(2, 3, 0)])


def test_read_beside_an_addition_may_hold_it_or_not() -> None:
    for total in (0, 1):
        assert is_linearizable([Addition(0, 10, 1), Observation(2, 3, total)])


def test_addition_that_was_seen_once_is_seen_by_every_later_read() -> None:
    history: list[Operation] = [Addition(0, 10, 1), Observation(2, 3, 1), Observation(4, 5, 0)]
    assert not is_linearizable(history)


def test_two_reads_may_not_see_two_additions_in_two_orders() -> None:
    additions: list[Operation] = [Addition(0, 10, 1), Addition(0, 10, 2)]
    assert not is_linearizable([*additions, Observation(1, 2, 1), Observation(3, 4, 2)])
    assert is_linearizable([*additions, Observation(1, 4, 1), Observation(1, 4, 3)])


def test_addition_of_unknown_outcome_may_come_late_or_never() -> None:
    unknown = Addition(0, NEVER, 1)
    assert is_linearizable([unknown, Observation(1, 2, 0)])
    assert is_linearizable([unknown, Observation(1, 2, 0), Observation(9, 10, 1)])
    assert not is_linearizable([unknown, Observation(1, 2, 1), Observation(9, 10, 0)])


def test_nothing_may_be_read_that_was_not_added_or_not_yet() -> None:
    assert not is_linearizable([Observation(0, 1, 4)])
    assert not is_linearizable([Observation(0, 1, 1), Addition(2, 3, 1)])


def make_history(seed: int) -> list[Operation]:
    """Return what clients of one counter see: each operation takes effect inside its interval."""
    chance = random.Random(seed)
    total, history = 0, list[Operation]()
    for moment in range(40):
        began, ended = moment - chance.uniform(0, 6), moment + chance.uniform(0, 6)
        if chance.random() < 0.4:
            total += 1 << moment
            history.append(Addition(began, chance.choice([ended, NEVER]), 1 << moment))
        else:
            history.append(Observation(began, ended, total))
    return history


def test_random_histories_of_one_counter_are_accepted_and_their_forgeries_are_not() -> None:
    for seed in range(60):
        history = make_history(seed)
        assert is_linearizable(history), seed
        reads = [each for each in history if isinstance(each, Observation) and each.total]
        if reads:
            last = max(reads, key=lambda each: each.began)
            late = Observation(10_000, 10_001, last.total & (last.total - 1))
            assert not is_linearizable([*history, late]), seed


def test_step_back_of_one_client_is_found() -> None:
    assert find_step_back([]) is None
    assert find_step_back([0, 1, 1, 5]) is None
    assert find_step_back([0, 3, 2]) == 2
    assert all(find_step_back(pair) is None for pair in pairwise(range(9)))
