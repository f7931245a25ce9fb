"""``python -m tests.simulator``: run seeds, say what happened and what broke."""

from __future__ import annotations

import argparse
import sys

from tests.simulator.bugs import print_bugs
from tests.simulator.campaign import Campaign, Wishes
from tests.simulator.minimiser import Failure, run_seed
from tests.simulator.scenario import PROFILES, draw_scenario


def main() -> int:
    """Run what was asked for; return 1 if something broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed, or the only one")
    parser.add_argument("--count", type=int, help="how many seeds from there")
    parser.add_argument("--minutes", type=float, help="how long to go on with the next seeds")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--profile", choices=PROFILES, help="instead of what the seed would have")
    parser.add_argument("--validators", type=int, help="instead of what the seed would have")
    parser.add_argument("--only", help="numbers of the faults to inflict: 3,7 or none")
    parser.add_argument("--faults", action="store_true", help="list a seed's faults, run nothing")
    parser.add_argument("--bugs", action="store_true", help="plant known bugs and find them")
    options = parser.parse_args()
    if options.bugs:
        return print_bugs()
    if options.faults:
        return _list_faults(options.seed, options.profile, options.validators)
    if options.count is None and options.minutes is None:
        return _run_one(options.seed, options.profile, options.validators, options.only)
    wishes = Wishes(
        options.seed,
        options.count,
        options.minutes,
        options.workers,
        options.profile,
        options.validators,
    )
    campaign = Campaign(wishes)
    campaign.run()
    campaign.report()
    return 1 if campaign.failures else 0


def _run_one(seed: int, profile: str | None, validators: int | None, only: str | None) -> int:
    kept = None if only is None else {int(each) for each in only.split(",") if each.isdigit()}
    outcome = run_seed(seed, profile, validators, kept=kept)
    if isinstance(outcome, Failure):
        print(f"seed {seed} BROKE at {outcome.at_ms} ms: {outcome.what}")
        return 1
    print(
        f"seed {seed}, {outcome.profile}: {outcome.simulated_ms / 1000:.1f} simulated seconds,"
        f" height {outcome.final_height}, trace {outcome.trace[:16]}"
    )
    for name, number in sorted(outcome.faults.items()):
        print(f"  {name:<44} {number:>9}")
    return 0


def _list_faults(seed: int, profile: str | None, validators: int | None) -> int:
    scenario = draw_scenario(seed, profile, validators)
    print(f"seed {seed}, {scenario.profile}: {scenario.validators} validators of {scenario.nodes}")
    for number, fault in enumerate(scenario.faults):
        print(f"  {number:>3}  {fault}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
