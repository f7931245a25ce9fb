"""``python -m tests.twins [--stride N]``: play every class of scenarios, say what came of them."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from multiprocessing import Pool

from tests.twins.classes import CLASSES, DEEP_CLASSES
from tests.twins.planted_bugs import PLANTED_BUGS
from tests.twins.play import play
from tests.twins.scenario import Scenario

BREAKS_SHOWN_MAX = 5


def play_safely(scenario: Scenario) -> tuple[Counter[str], str | None]:
    """Play one scenario; return what is to be counted, and what broke."""
    try:
        outcome = play(scenario)
    except Exception as error:
        return Counter(), f"{type(error).__name__}: {error}\n    {scenario}"
    counts = Counter(
        scenarios=1, blocks=outcome.blocks, messages=outcome.messages, restarts=outcome.restarts
    )
    counts.update(kind.name.lower() for kind in outcome.evidence)
    counts["to the last view"] += outcome.views == scenario.views
    counts["with evidence"] += bool(outcome.evidence)
    return counts, None


def play_all(results: Iterable[tuple[Counter[str], str | None]]) -> tuple[Counter[str], int]:
    """Add up results; show the first few that broke."""
    counts: Counter[str] = Counter()
    broken = 0
    for found, broke in results:
        counts.update(found)
        if broke is not None:
            broken += 1
            if broken <= BREAKS_SHOWN_MAX:
                print(f"  BROKE: {broke}", flush=True)
    return counts, broken


def search_for(name: str, seed: int) -> tuple[int, str | None]:
    """Plant a bug and play, in turn one scenario of each class, until something breaks."""
    sources = [iter(each.make(seed)) for each in CLASSES]
    with PLANTED_BUGS[name]():
        played = 0
        for turn in zip(*sources, strict=False):
            for scenario in turn:
                played += 1
                _, broke = play_safely(scenario)
                if broke is not None:
                    return played, broke.splitlines()[0]
    return played, None


def show_bugs(seed: int) -> int:
    """Print how soon each planted bug is found; return 1 if one is not."""
    missed = 0
    print(f"{'planted bug':<30} {'scenarios':>9} {'seconds':>8}  what broke")
    for name in PLANTED_BUGS:
        since = time.monotonic()
        played, broke = search_for(name, seed)
        missed += broke is None
        print(f"{name:<30} {played:>9} {time.monotonic() - since:>8.2f}  {broke}", flush=True)
    return 1 if missed else 0


def main() -> int:
    """Play what was asked for; return 1 if a scenario broke something."""
    parser = argparse.ArgumentParser(prog="python -m tests.twins", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the scenarios that are drawn")
    parser.add_argument("--stride", type=int, default=1, help="play every so many-th scenario")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--deep", action="store_true", help="instead: everything of three views")
    parser.add_argument("--only", default="", help="classes whose name holds this text")
    parser.add_argument("--bugs", action="store_true", help="how soon planted bugs are found")
    options = parser.parse_args()
    if options.bugs:
        return show_bugs(options.seed)
    total: Counter[str] = Counter()
    broken = 0
    started = time.monotonic()
    print(f"{'class':<42} {'played':>7} {'seconds':>8} {'blocks':>8} {'with evidence':>14}")
    with Pool(options.workers) as pool:
        for each in DEEP_CLASSES if options.deep else CLASSES:
            if options.only not in each.name:
                continue
            since = time.monotonic()
            scenarios = islice(each.make(options.seed), 0, None, options.stride)
            counts, breaks = play_all(pool.imap_unordered(play_safely, scenarios, chunksize=64))
            passed_s = time.monotonic() - since
            print(
                f"{each.name:<42} {counts['scenarios'] + breaks:>7} {passed_s:>8.1f}"
                f" {counts['blocks']:>8} {counts['with evidence']:>14}",
                flush=True,
            )
            total.update(counts)
            broken += breaks
    print(
        f"{total['scenarios'] + broken} scenarios (seed {options.seed}) in"
        f" {time.monotonic() - started:.0f} s; {broken} broke"
    )
    for name, count in sorted(total.items()):
        print(f"  {name:<30} {count:>9}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
