"""A table: a question, and the runs that answer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.agents.outcome import Outcome
from node.commands.agents import AgentsOptions

__all__ = ["Case", "Table"]


@dataclass(frozen=True)
class Case:
    """One line of a table: what to run, and of which agents it tells."""

    name: str
    options: AgentsOptions
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A question, and the runs that answer it.

    Parameters
    ----------
    name : for --only, and of its pictures.
    title, text : for people.
    cases : its lines.
    headings : of the columns after the first.
    columns : numbers of one run, one for each heading.
    pictures : of how many cases, from the first on, the run with the first seed is drawn.
    seeds : how many, from 1 on.
    """

    name: str
    title: str
    text: str
    cases: Sequence[Case]
    headings: Sequence[str]
    columns: Callable[[Outcome, str], list[float]]
    pictures: int = 0
    seeds: int = 5
