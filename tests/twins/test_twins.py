"""Every class of scenarios in a sample, and each planted bug found by it."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from consensus.evidence import EvidenceKind
from tests.twins.classes import CLASSES, ScenarioClass
from tests.twins.instance import PromiseBrokenError
from tests.twins.planted_bugs import PLANTED_BUGS
from tests.twins.play import play
from tests.twins.scenario import (
    ALL,
    INSTANCES,
    KINDS,
    Mask,
    Scenario,
    enumerate_scenarios,
    list_audiences,
    list_partitions,
    list_renamings,
    make_sides,
    rename,
    rename_leader,
)

EVERYBODY = ((ALL,) * INSTANCES,) * KINDS
SCENARIOS_PER_CLASS = 400


@pytest.mark.slow
@pytest.mark.parametrize("scenarios", CLASSES, ids=lambda each: each.name)
def test_correct_validators_agree_go_on_and_name_only_the_twinned_one(
    scenarios: ScenarioClass,
) -> None:
    played: Counter[bool] = Counter()
    every = sum(1 for _ in scenarios.make(0))
    step = max(1, every // SCENARIOS_PER_CLASS)
    for scenario in islice(scenarios.make(0), 0, None, step):
        try:
            played[play(scenario).blocks > 0] += 1
        except PromiseBrokenError as broke:
            pytest.fail(f"{broke} in {scenario}")
    assert played[False] == 0
    assert played[True] >= SCENARIOS_PER_CLASS


@pytest.mark.parametrize("name", PLANTED_BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    sources = [iter(each.make(0)) for each in CLASSES]
    with PLANTED_BUGS[name](), pytest.raises((PromiseBrokenError, AssertionError)):
        for turn in islice(zip(*sources, strict=False), 400):
            for scenario in turn:
                play(scenario)


def test_twins_that_lead_two_sides_are_caught_when_the_sides_meet() -> None:
    sides = (make_sides((0, 0, 0, 1, 1)),) * KINDS
    outcome = play(Scenario((0,), (sides,)))
    assert outcome.evidence >= {EvidenceKind.DOUBLE_PREPARE}


def test_a_block_of_one_twin_becomes_final_on_the_side_that_has_a_quorum() -> None:
    sides = (make_sides((0, 0, 0, 1, 1)),) * KINDS
    outcome = play(Scenario((0,), (sides,)))
    assert outcome.blocks >= 2


def test_a_twin_that_lags_votes_twice_and_nothing_comes_of_it() -> None:
    """The twin hears a correct leader a view later than its original, and both vote."""
    apart = (make_sides((0, 0, 0, 0, 1)),) * KINDS
    outcome = play(Scenario((1, 2, 3), (apart, apart, EVERYBODY)))
    assert EvidenceKind.DOUBLE_PREPARE not in outcome.evidence
    assert outcome.blocks >= 3


def test_twins_that_say_the_same_are_one_validator() -> None:
    outcome = play(Scenario((1, 2, 3, 1), (EVERYBODY,) * 4))
    assert outcome.evidence == frozenset()


def test_partitions_are_counted_by_bell_and_stirling_numbers() -> None:
    assert [len(list_partitions(sides)) for sides in (1, 2, 3, 4, 5)] == [1, 16, 41, 51, 52]
    assert len(set(list_audiences())) == 64


@pytest.mark.parametrize(
    ("masks", "views", "count"),
    [(list_partitions(5), 2, 4_695), (list_audiences(), 2, 5_870), (list_partitions(2), 3, 25_740)],
)
def test_enumeration_has_one_scenario_of_each_class(
    masks: tuple[Mask, ...], views: int, count: int
) -> None:
    """Burnside: there are as many classes as scenarios that a symmetry fixes, on average."""
    fixed = 0
    for renaming in list_renamings():
        leaders = sum(rename_leader(leader, renaming) == leader for leader in range(4))
        same = sum(rename(mask, renaming) == mask for mask in masks)
        fixed += (leaders * same) ** views
    assert fixed == 12 * count
    assert sum(1 for _ in enumerate_scenarios(views, masks)) == count


def test_a_drawn_scenario_depends_on_its_seed_alone() -> None:
    drawn = CLASSES[-1]
    assert [*islice(drawn.make(7), 3)] == [*islice(drawn.make(7), 3)]
    assert [*islice(drawn.make(7), 3)] != [*islice(drawn.make(8), 3)]
