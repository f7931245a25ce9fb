"""Many seeds on several processes: what they came to, as one report."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count

from tests.simulator.coverage import list_everything
from tests.simulator.minimiser import Failure, minimise, run_seed
from tests.simulator.simulation import Result

__all__ = ["Campaign", "Wishes"]

MS_PER_HOUR = 3_600_000
WAITING_PER_WORKER = 2
FAILURES_MINIMISED_MAX = 5


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for on the command line."""

    first_seed: int
    seeds: int | None
    minutes: float | None
    workers: int
    profile: str | None
    validators: int | None


@dataclass(slots=True)
class _Tally:
    """What all runs of a profile came to."""

    seeds: int = 0
    simulated_ms: int = 0
    blocks: int = 0
    cpu_s: float = 0.0


@dataclass(slots=True)
class Campaign:
    """Runs seeds until time or number is up, and keeps the sums."""

    wishes: Wishes
    failures: list[Failure] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    coverage: Counter[str] = field(default_factory=Counter)
    _profiles: dict[str, _Tally] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Run them all."""
        wishes = self.wishes
        if wishes.workers == 1:
            for each in self._seeds():
                self._take(*_run_timed(each, wishes.profile, wishes.validators))
            return
        seeds = self._seeds()
        with ProcessPoolExecutor(wishes.workers) as pool:
            running: set[Future[tuple[Result | Failure, float]]] = set()
            while True:
                while len(running) < wishes.workers * WAITING_PER_WORKER:
                    seed = next(seeds, None)
                    if seed is None:
                        break
                    running.add(pool.submit(_run_timed, seed, wishes.profile, wishes.validators))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    self._take(*future.result())

    def report(self) -> None:
        """Print what it came to."""
        total = _Tally()
        passed_s = time.monotonic() - self._started
        print(f"{'profile':<12}{'seeds':>8}{'hours':>10}{'blocks':>10}{'s per CPU s':>13}")
        for name, each in sorted(self._profiles.items()):
            _print_tally(name, each)
            total.seeds += each.seeds
            total.simulated_ms += each.simulated_ms
            total.blocks += each.blocks
            total.cpu_s += each.cpu_s
        _print_tally("all", total)
        first = self.wishes.first_seed
        print(
            f"\n{total.simulated_ms / MS_PER_HOUR:.1f} network-hours, seeds {first} to"
            f" {first + total.seeds + len(self.failures) - 1}, {total.blocks} final blocks,"
            f" in {passed_s / 60:.1f} minutes"
        )
        _print_counts("What went wrong, and what came of it", self.faults)
        _print_counts("What the core did", self.coverage)
        never = [name for name in list_everything() if not self.coverage[name]]
        print("\nNever: " + (", ".join(never) or "nothing"))
        self._report_failures()

    def _seeds(self) -> Iterator[int]:
        wishes = self.wishes
        for number in count():
            passed_s = time.monotonic() - self._started
            if wishes.minutes is not None and passed_s >= 60 * wishes.minutes:
                return
            if wishes.seeds is not None and number >= wishes.seeds:
                return
            yield wishes.first_seed + number

    def _take(self, outcome: Result | Failure, cpu_s: float) -> None:
        if isinstance(outcome, Failure):
            self.failures.append(outcome)
            print(f"\nseed {outcome.seed} BROKE: {outcome.what}", flush=True)
        else:
            tally = self._profiles.setdefault(outcome.profile, _Tally())
            tally.seeds += 1
            tally.simulated_ms += outcome.simulated_ms
            tally.blocks += outcome.final_height
            tally.cpu_s += cpu_s
            self.faults.update(outcome.faults)
            self.coverage.update(outcome.coverage)
        self._show_progress()

    def _show_progress(self) -> None:
        if not sys.stdout.isatty():
            return
        hours = sum(each.simulated_ms for each in self._profiles.values()) / MS_PER_HOUR
        seeds = sum(each.seeds for each in self._profiles.values())
        passed_s = int(time.monotonic() - self._started)
        line = f"{passed_s:>5} s  {seeds} seeds  {hours:.1f} hours  {len(self.failures)} broken"
        print(f"\r{line:<70}", end="", flush=True)

    def _report_failures(self) -> None:
        print(f"\n{len(self.failures)} broken")
        for number, failure in enumerate(self.failures):
            smallest = minimise(failure) if number < FAILURES_MINIMISED_MAX else failure
            print(f"\nseed {failure.seed}, at {failure.at_ms} ms: {failure.what}")
            print(f"  again: python -m tests.simulator --seed {failure.seed}")
            print(f"  smallest: {smallest.command}")
            print(f"  says then: {smallest.what}")
            for fault in smallest.faults:
                print(f"    {fault}")


def _run_timed(
    seed: int, profile: str | None, validators: int | None
) -> tuple[Result | Failure, float]:
    started = time.process_time()
    return run_seed(seed, profile, validators), time.process_time() - started


def _print_tally(name: str, tally: _Tally) -> None:
    seconds = tally.simulated_ms / 1000
    pace = seconds / max(tally.cpu_s, 0.001)
    hours = tally.simulated_ms / MS_PER_HOUR
    print(f"{name:<12}{tally.seeds:>8}{hours:>10.2f}{tally.blocks:>10}{pace:>13.0f}")


def _print_counts(title: str, counts: Counter[str]) -> None:
    print(f"\n{title}")
    for name, number in sorted(counts.items()):
        print(f"  {name:<44} {number:>12}")
