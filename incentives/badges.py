"""Badges: what for, in a sentence that everybody can read, and the criterion that decides it.

A badge is a title and nothing else: no money, no karma, no right depends on it, and it is never
taken away. A newcomer adds one to ``BADGES``. Source: docs/spec/incentives.md §5.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["BADGES", "Badge", "Deserts", "list_deserved"]

Scope: TypeAlias = Literal["model", "overall"]
"""Whether a criterion looks at an account's work on one model, or at all of its work."""


@dataclass(frozen=True, slots=True)
class Deserts:
    """What an account has done, on one model or overall; nothing in it ever falls.

    Parameters
    ----------
    valid
        Samples of its own that were validated.
    reported
        Samples of others that it rightly reported.
    active_days, longest_streak
        Days with a validated contribution; most of them in a row.
    models
        Models on which samples of its own were validated.
    classes, class_count
        Classes that its validated samples are of; how many the model has. 0 overall.
    regions
        Regions of the model's features that its validated samples lie in, of 64. 0 overall.
    """

    valid: int = 0
    reported: int = 0
    active_days: int = 0
    longest_streak: int = 0
    models: int = 0
    classes: int = 0
    class_count: int = 0
    regions: int = 0


@dataclass(frozen=True, slots=True)
class Badge:
    """A badge.

    Parameters
    ----------
    badge_id
        Stable, ``[a-z-]`` of at most 32 characters: it is part of state keys.
    title, sentence
        For people.
    scope
        What the criterion looks at.
    criterion
        Whether what was done deserves it.
    """

    badge_id: str
    title: str
    sentence: str
    scope: Scope
    criterion: Callable[[Deserts], bool]


BADGES: Final = (
    Badge(
        "first-validated",
        "First step",
        "A sample was validated.",
        "overall",
        lambda done: done.valid >= 1,
    ),
    Badge(
        "hundred-validated",
        "Hundred",
        "100 samples were validated on one model.",
        "model",
        lambda done: done.valid >= 100,
    ),
    Badge(
        "thousand-validated",
        "Thousand",
        "1,000 samples were validated on one model.",
        "model",
        lambda done: done.valid >= 1_000,
    ),
    Badge(
        "ten-thousand-validated",
        "Ten thousand",
        "10,000 samples were validated on one model.",
        "model",
        lambda done: done.valid >= 10_000,
    ),
    Badge(
        "all-classes",
        "All-rounder",
        "Validated samples are of every class that the model had, two or more.",
        "model",
        lambda done: done.class_count >= 2 and done.classes == done.class_count,
    ),
    Badge(
        "explorer",
        "Explorer",
        "Validated samples lie in 32 of the 64 regions of the model's features.",
        "model",
        lambda done: done.regions >= 32,
    ),
    Badge(
        "steady-week",
        "Steady",
        "Validated contributions were made on 7 days.",
        "overall",
        lambda done: done.active_days >= 7,
    ),
    Badge(
        "steady-month",
        "Steadfast",
        "Validated contributions were made on 30 days.",
        "overall",
        lambda done: done.active_days >= 30,
    ),
    Badge(
        "week-in-a-row",
        "Every day",
        "Validated contributions were made on 7 days in a row.",
        "overall",
        lambda done: done.longest_streak >= 7,
    ),
    Badge(
        "watchful",
        "Watchful",
        "10 samples of others were rightly reported.",
        "overall",
        lambda done: done.reported >= 10,
    ),
    Badge(
        "guardian",
        "Guardian",
        "100 samples of others were rightly reported.",
        "overall",
        lambda done: done.reported >= 100,
    ),
    Badge(
        "polymath",
        "Polymath",
        "Samples were validated on 5 models.",
        "overall",
        lambda done: done.models >= 5,
    ),
)


def list_deserved(scope: Scope, done: Deserts) -> Iterator[Badge]:
    """Yield the badges of a scope whose criterion is met, in the order of ``BADGES``."""
    return (badge for badge in BADGES if badge.scope == scope and badge.criterion(done))
