"""Decides whether what clients saw of one counter can be the work of one copy of it.

The algorithm is Wing and Gong's search ("Testing and verifying concurrent objects", 1993) with the
memory of Lowe ("Testing for linearizability", 2017): choose among the operations that nobody has to
precede the one that took effect first, and go on; a set of operations tried once is not tried
again. The sum of a set of additions is the same in every order, so the set is all there is to
remember.

The object is a *counter*: the balance of an account that only receives. Its writers add distinct
powers of two, so a balance says exactly which additions it holds: no wrong read can look right by
accident. An operation whose caller never learnt what became of it may have taken effect at any time
after it began, or never.

What is promised, and so what is checked where (see :mod:`tests.processes.registers`):

- *One client at one node* reads a sequence of states that only grows, since a node makes blocks
  final in order: :func:`find_step_back`.
- *Clients that carry a height* see a linearizable counter: a read waits until its node shows at
  least the highest height that had been seen by anybody when it began: :func:`is_linearizable`.
- *A bare read* may be old, as the node may lag; nothing more is promised, and nothing is checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Addition", "Observation", "Operation", "find_step_back", "is_linearizable"]

NEVER = math.inf


@dataclass(frozen=True, slots=True)
class Addition:
    """A write.

    Parameters
    ----------
    began, ended
        Seconds of one clock. `ended` is ``NEVER`` if the caller does not know what became of it.
    amount
        What it adds.
    """

    began: float
    ended: float
    amount: int


@dataclass(frozen=True, slots=True)
class Observation:
    """A read that was answered.

    Parameters
    ----------
    began, ended
        Seconds of one clock.
    total
        What the counter was said to be.
    """

    began: float
    ended: float
    total: int


Operation = Addition | Observation


def is_linearizable(history: Iterable[Operation]) -> bool:
    """Return whether every operation can have taken effect at one moment between its ends.

    Parameters
    ----------
    history
        All operations on one counter that starts at zero, in any order.
    """
    operations = sorted(history, key=lambda each: each.began)
    required = sum(1 << index for index, each in enumerate(operations) if each.ended != NEVER)
    pending, seen = [(0, 0)], {0}
    while pending:
        done, total = pending.pop()
        if done & required == required:
            return True
        for index in _choose(operations, _find_next(operations, done), total):
            operation = operations[index]
            following = done | 1 << index
            if following not in seen:
                seen.add(following)
                added = operation.amount if isinstance(operation, Addition) else 0
                pending.append((following, total + added))
    return False


def _find_next(operations: Sequence[Operation], done: int) -> list[int]:
    """Return what may be next: whatever began before any other that is left had ended."""
    left = [index for index in range(len(operations)) if not done >> index & 1]
    first_end = min((operations[index].ended for index in left), default=NEVER)
    return [index for index in left if operations[index].began <= first_end]


def _choose(operations: Sequence[Operation], following: Sequence[int], total: int) -> list[int]:
    """Return which of these to try: a read that fits changes nothing, so it goes first."""
    additions = []
    for index in following:
        operation = operations[index]
        if isinstance(operation, Addition):
            additions.append(index)
        elif operation.total == total:
            return [index]
    return additions


def find_step_back(totals: Sequence[int]) -> int | None:
    """Return the index of the first total below the one before it, None if there is none.

    Parameters
    ----------
    totals
        What one client was told by one node, in the order in which it asked.
    """
    for index in range(1, len(totals)):
        if totals[index] < totals[index - 1]:
            return index
    return None
