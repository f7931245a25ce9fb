"""The classes of scenarios, and how many of each make a full run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.twins.scenario import (
    Scenario,
    enumerate_scenarios,
    list_audiences,
    list_partitions,
    sample_audiences,
    sample_epochs,
    sample_kinds,
    sample_partitions,
    sample_restarts,
)

__all__ = ["CLASSES", "DEEP_CLASSES", "ScenarioClass"]

VIEWS_MAX = 6


@dataclass(frozen=True, slots=True)
class ScenarioClass:
    """Scenarios of one kind.

    Parameters
    ----------
    name : for the table.
    make : returns scenarios; all of them, or those drawn from a seed.
    """

    name: str
    make: Callable[[int], Iterator[Scenario]]


def _enumerate_partitions(seed: int, *, views: int, sides_max: int) -> Iterator[Scenario]:
    return enumerate_scenarios(views, list_partitions(sides_max))


def _enumerate_audiences(seed: int, *, views: int) -> Iterator[Scenario]:
    return enumerate_scenarios(views, list_audiences())


def _sample(
    seed: int,
    *,
    draw: Callable[[Random, int], Scenario],
    views_min: int,
    count: int,
) -> Iterator[Scenario]:
    for number in range(count):
        # One generator per scenario, so that any of them can be drawn again by itself.
        random = Random(f"{seed}/{draw.__name__}/{number}")
        yield draw(random, random.randint(views_min, VIEWS_MAX))


CLASSES = (
    ScenarioClass("all partitions, 2 views", partial(_enumerate_partitions, views=2, sides_max=5)),
    ScenarioClass("all audiences of twins, 2 views", partial(_enumerate_audiences, views=2)),
    ScenarioClass("all two sides, 3 views", partial(_enumerate_partitions, views=3, sides_max=2)),
    ScenarioClass(
        "drawn partitions, 3 to 6 views",
        partial(_sample, draw=sample_partitions, views_min=3, count=20_000),
    ),
    ScenarioClass(
        "drawn audiences, 3 to 6 views",
        partial(_sample, draw=sample_audiences, views_min=3, count=15_000),
    ),
    ScenarioClass(
        "masks per kind of message, 1 to 6 views",
        partial(_sample, draw=sample_kinds, views_min=1, count=20_000),
    ),
    ScenarioClass(
        "restarts and old copies, 1 to 6 views",
        partial(_sample, draw=sample_restarts, views_min=1, count=15_000),
    ),
    ScenarioClass(
        "epochs that end, 1 to 6 views",
        partial(_sample, draw=sample_epochs, views_min=1, count=15_000),
    ),
)

DEEP_CLASSES = (
    ScenarioClass("all partitions, 3 views", partial(_enumerate_partitions, views=3, sides_max=5)),
    ScenarioClass("all audiences of twins, 3 views", partial(_enumerate_audiences, views=3)),
)
"""812,110 and 1,410,060 scenarios: four or five hours, or a part of them by a stride."""
