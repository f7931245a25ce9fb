"""The search within small bounds, what it leaves out, and the bugs that it finds."""

from __future__ import annotations

from random import Random

import pytest

from tests.model_check.__main__ import RESTARTS_ONLY, list_schedules
from tests.model_check.local import LocalSystem, Reduction
from tests.model_check.replica import fingerprint
from tests.model_check.search import Search
from tests.model_check.universe import Universe, iterate_bits
from tests.twins.planted_bugs import PLANTED_BUGS

UNREDUCED = Reduction(is_on=False, finality=True)


@pytest.mark.parametrize("leaders", list_schedules(1) + list_schedules(2))
def test_correct_validators_agree_whatever_the_fourth_does(leaders: tuple[int, ...]) -> None:
    result = Search(leaders).run()
    assert result.violations == []
    assert result.is_exhausted
    assert result.states > 100


@pytest.mark.parametrize("leaders", [*list_schedules(1), (1, 1)])
def test_what_is_left_out_makes_no_certificates_possible(leaders: tuple[int, ...]) -> None:
    """Whatever certificates can exist side by side in the full search can in the reduced one."""
    full, reduced = Search(leaders, reduction=UNREDUCED), Search(leaders)
    for result in (full.run(), reduced.run()):
        assert result.violations == []
        assert result.is_exhausted
    unmatched = [
        certified
        for certified in full.certified_sets
        if not any(certified & ~larger == 0 for larger in reduced.certified_sets)
    ]
    assert unmatched == []


@pytest.mark.parametrize(
    "leaders", [*list_schedules(1, byzantine=2), *list_schedules(2, byzantine=2)]
)
def test_two_byzantine_validators_of_four_fork_the_chain_and_are_named(
    leaders: tuple[int, ...],
) -> None:
    result = Search(leaders, byzantine=2).run()
    assert result.forks > 0
    assert result.violations == []
    assert result.is_exhausted


@pytest.mark.parametrize("name", PLANTED_BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    reduction = Reduction(restarts_max=name == RESTARTS_ONLY)
    found = []
    for leaders in ((0,), (0, 0)):
        with PLANTED_BUGS[name]():
            found += Search(leaders, reduction=reduction).run().violations
    assert found


@pytest.mark.parametrize("leaders", list_schedules(1))
def test_a_restart_of_every_core_at_any_time_changes_nothing(leaders: tuple[int, ...]) -> None:
    result = Search(leaders, reduction=Reduction(restarts_max=1)).run()
    assert result.violations == []
    assert result.is_exhausted


def test_states_with_equal_facts_do_the_same() -> None:
    """The fingerprint leaves out nothing that matters: two ways into a state go on alike."""
    leaders = (0, 2)
    reduction = Reduction(is_on=False, finality=True, restarts_max=1)
    search = Search(leaders, reduction=reduction, states_max=30_000)
    search.run()
    random = Random(3)
    compared = 0
    for system in {id(each): each for each in search.systems}.values():
        for state in random.sample(system.states, 150):
            for position, following in state.successors.items():
                if following is not state and following.path != (*state.path, position):
                    compare_futures(system, (*state.path, position), following.path)
                    compared += 1
    assert compared > 50


def compare_futures(system: LocalSystem, first: tuple[int, ...], second: tuple[int, ...]) -> None:
    candidates = next(each for each in system.states if each.path == second).candidates
    for position in iterate_bits(candidates):
        ends = []
        for path in (first, second):
            replica = system.replay_path(path)
            replica.happen(position)
            ends.append((fingerprint(replica), replica.sent))
        assert ends[0] == ends[1]


def test_schedules_are_counted_by_the_ways_to_tell_leaders_apart() -> None:
    assert [len(list_schedules(views)) for views in (1, 2, 3)] == [2, 5, 15]


def test_a_byzantine_leader_has_two_blocks_on_every_earlier_one() -> None:
    assert [len(Universe((0,) * views, 1).blocks) for views in (1, 2, 3)] == [2, 8, 26]
    assert [len(Universe((1, 2, 3)[:views], 1).blocks) for views in (1, 2, 3)] == [1, 3, 7]
