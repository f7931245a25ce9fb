"""``python -m tests.model_check``: search through the real core, breadth first, and count.

Bounds: four validators, the views asked for, two Byzantine blocks on every earlier block in each
view with a Byzantine leader, one block in each other, and the restarts asked for. Nothing else is
bounded.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import product

from tests.model_check.local import Reduction
from tests.model_check.search import Result, Search, Violation
from tests.twins.planted_bugs import PLANTED_BUGS

DEFAULT_SCHEDULES = ((0, 1, 2), (1, 0, 2), (1, 2, 0), (1, 2, 3), (0, 0, 0))
"""The core's own rotation, wherever the Byzantine validator stands in it, and the worst case."""

HEAD = f"{'leaders':<10} {'views':>5} {'states':>9} {'transitions':>11} {'depth':>5}"
RESTARTS_ONLY = "votes forgotten at a restart"


def list_schedules(views: int, byzantine: int = 1) -> list[tuple[int, ...]]:
    """List the leader schedules up to renaming; 0 stands for any Byzantine validator."""
    found = []
    for leaders in product((0, *range(byzantine, 4)), repeat=views):
        correct = [each for each in dict.fromkeys(leaders) if each]
        if correct == list(range(byzantine, byzantine + len(correct))):
            found.append(leaders)
    return found


def show(search: Search, result: Result) -> None:
    """Print a line for a search, and what it found."""
    names = "".join(
        "B" if each < search.universe.byzantine else str(each) for each in result.leaders
    )
    end = "exhausted" if result.is_exhausted else "stopped"
    print(
        f"{names:<10} {len(result.leaders):>5} {result.states:>9} {result.transitions:>11}"
        f" {result.depth:>5} {result.local_states:>7} {result.core_runs:>9}"
        f" {result.forks:>8} {result.seconds:>8.1f}  {end}",
        flush=True,
    )
    for violation in result.violations:
        show_violation(search, violation)


def show_violation(search: Search, violation: Violation) -> None:
    """Print a violation with what happened to each correct validator."""
    print(f"  VIOLATED: {violation.text}")
    for index, path in zip(search.order, violation.paths, strict=True):
        print(f"    {index}: " + ", ".join(search.universe.describe(each) for each in path))


def show_bugs() -> int:
    """Print how soon each planted bug is found; return 1 if one is not."""
    missed = 0
    print(f"{'planted bug':<28} {'leaders':<8} {'states':>8} {'seconds':>8}  what is violated")
    for name, plant in PLANTED_BUGS.items():
        reduction = Reduction(restarts_max=name == RESTARTS_ONLY)
        started = time.monotonic()
        for views in (1, 2, 3):
            with plant():
                result = Search((0,) * views, reduction=reduction, deadline_s=600).run()
            if result.violations:
                break
        text = result.violations[0].text if result.violations else "NOTHING"
        missed += not result.violations
        leaders = "B" * len(result.leaders)
        passed_s = time.monotonic() - started
        print(f"{name:<28} {leaders:<8} {result.states:>8} {passed_s:>8.2f}  {text}", flush=True)
    return 1 if missed else 0


def main() -> int:
    """Search what was asked for; return 1 if a property does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.model_check", description=__doc__)
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--all", action="store_true", help="every leader schedule up to renaming")
    parser.add_argument("--byzantine", type=int, default=1, help="2 checks that culprits are named")
    parser.add_argument("--unreduced", action="store_true", help="leave nothing out")
    parser.add_argument("--finality", action="store_true", help="cores learn commit certificates")
    parser.add_argument("--restarts", type=int, default=0, help="of each correct validator")
    parser.add_argument("--states", type=int, default=20_000_000, help="stop a search beyond")
    parser.add_argument("--bugs", action="store_true", help="how soon planted bugs are found")
    options = parser.parse_args()
    if options.bugs:
        return show_bugs()
    every = options.all or options.views != 3 or options.byzantine != 1
    schedules = list_schedules(options.views, options.byzantine) if every else DEFAULT_SCHEDULES
    reduction = Reduction(not options.unreduced, options.finality, options.restarts)
    started = time.monotonic()
    states = violations = 0
    print(f"{HEAD} {'local':>7} {'core runs':>9} {'forks':>8} {'seconds':>8}")
    for leaders in schedules:
        search = Search(
            leaders,
            byzantine=options.byzantine,
            reduction=reduction,
            states_max=options.states,
        )
        result = search.run()
        show(search, result)
        states += result.states
        violations += len(result.violations)
    print(f"{states} states in {time.monotonic() - started:.0f} s; {violations} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
