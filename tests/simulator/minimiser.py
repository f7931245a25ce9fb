"""Running seeds so that failures are data, and finding out which faults a failure needs.

Source of the idea: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input",
IEEE TSE 2002; here with ever smaller pieces left out, and a bound on the number of runs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tests.simulator.simulation import Result, Simulation

__all__ = ["Failure", "minimise", "run_seed"]

RUNS_MAX = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that broke something.

    Parameters
    ----------
    seed, profile, validators : what to run again.
    what : the exception, in a line.
    at_ms : simulated time of it.
    kept : numbers of the faults that were inflicted.
    faults : the same in words.
    """

    seed: int
    profile: str
    validators: int
    what: str
    at_ms: int
    kept: tuple[int, ...]
    faults: tuple[str, ...]

    @property
    def command(self) -> str:
        """The line that shows it again."""
        kept = ",".join(map(str, self.kept)) or "none"
        return (
            f"python -m tests.simulator --seed {self.seed} --profile {self.profile}"
            f" --validators {self.validators} --only {kept}"
        )


def run_seed(
    seed: int,
    profile: str | None = None,
    validators: int | None = None,
    *,
    kept: Collection[int] | None = None,
) -> Result | Failure:
    """Run one seed; whatever is raised, by a checker or by the code under test, is a failure."""
    simulation = Simulation(seed, profile, validators, kept=kept)
    try:
        return simulation.run()
    except Exception as error:
        scenario = simulation.scenario
        numbers = [
            number for number in range(len(scenario.faults)) if kept is None or number in kept
        ]
        return Failure(
            seed,
            scenario.profile,
            scenario.validators,
            f"{type(error).__name__}: {error}",
            simulation.now_ms,
            tuple(numbers),
            tuple(str(scenario.faults[number]) for number in numbers),
        )


def minimise(failure: Failure) -> Failure:
    """Leave out as many faults as can be while the seed still fails, in whatever way."""
    runs = 0
    size = max(len(failure.kept) // 2, 1)
    while failure.kept and runs < RUNS_MAX:
        smaller = None
        for start in range(0, len(failure.kept), size):
            runs += 1
            smaller = _try_without(failure, failure.kept[start : start + size])
            if smaller is not None or runs >= RUNS_MAX:
                break
        if smaller is not None:
            failure = smaller
            size = max(min(size, len(failure.kept) // 2), 1)
        elif size == 1:
            break
        else:
            size = max(size // 2, 1)
    return failure


def _try_without(failure: Failure, dropped: Sequence[int]) -> Failure | None:
    kept = tuple(number for number in failure.kept if number not in dropped)
    outcome = run_seed(failure.seed, failure.profile, failure.validators, kept=kept)
    return outcome if isinstance(outcome, Failure) else None
