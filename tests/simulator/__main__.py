"""``python -m tests.simulator --seed N [--count K]``: run seeds, say what happened and broke."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulator.simulation import Simulation

MS_PER_HOUR = 3_600_000


def main() -> int:
    """Run the seeds that were asked for; return 1 if one broke something."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds from there")
    parser.add_argument("--nodes", type=int, default=4, help="validators")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    simulated_ms = blocks = broken = 0
    started = time.monotonic()
    for seed in range(options.seed, options.seed + options.count):
        try:
            result = Simulation(seed, options.nodes).run()
        except Exception as error:
            broken += 1
            print(f"seed {seed} BROKE: {type(error).__name__}: {error}", flush=True)
            continue
        counts.update(result.faults)
        simulated_ms += result.simulated_ms
        blocks += result.final_height
        if options.count == 1:
            print(f"seed {seed}: height {result.final_height}, trace {result.trace[:16]}")
    passed_s = time.monotonic() - started
    print(
        f"{options.count} seeds, {options.nodes} validators: {simulated_ms / MS_PER_HOUR:.2f}"
        f" simulated hours and {blocks} blocks in {passed_s:.0f} s; {broken} broken"
    )
    for name, count in sorted(counts.items()):
        print(f"  {name:<30} {count:>9}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
