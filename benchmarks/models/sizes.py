"""What a batch costs by its size: learning it, evaluating and then learning it, and the twin.

Validators evaluate every contribution before they learn it, so the second column is what a block
takes. Small batches show what a call costs by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.models.cases import CASES, Case
from benchmarks.models.compare import build_spec, time_in_turn
from benchmarks.models.data import load_split
from benchmarks.models.twins import TWINS, NoTwinError
from ml_runtime.evaluation import learn_and_evaluate
from ml_runtime.registry import get_family
from ml_runtime.samples import Batch, take_samples

__all__ = ["render_sizes"]

SIZES: Final = (1, 64, 1_000)
DATA: Final = ("digits", "topics", "diabetes")
"""Dense, sparse, and numbers."""


def render_sizes(families: Sequence[str]) -> str:
    """Return a table in microseconds for those of the families that have a streaming twin."""
    headings = ("learn", "and evaluate", "twin", "twin ÷ learn")
    lines = [
        f"{'family':<25}{'data':<10}{'batch':>6}" + "".join(f"{each:>14}" for each in headings)
    ]
    for case in CASES:
        if case.family in families and case.data in DATA:
            lines.extend(_measure(case))
    return "\n".join(lines)


def _measure(case: Case) -> Iterator[str]:
    split = load_split(case.data, case.scaling, 0)
    spec, family = build_spec(case, split), get_family(case.family)
    for size in SIZES:
        rows = np.arange(size)
        if size > len(split.targets):
            continue
        batch = Batch(take_samples(split.samples, rows), split.targets[rows])
        state = family.initial_state(spec)
        calls: list[Any] = [
            lambda state=state, batch=batch: family.update(
                spec, state, batch.samples, batch.targets
            ),
            lambda state=state, batch=batch: learn_and_evaluate(family, spec, state, batch),
        ]
        try:
            twin = TWINS[case.family][1](spec, split)
        except NoTwinError as missing:
            yield f"{case.family:<25}{case.data:<10}{missing}"
            return
        given, targets = twin.prepare(batch.samples), twin.prepare_targets(batch.targets)
        if twin.learn_batch(given, targets):
            calls.append(
                lambda twin=twin, given=given, targets=targets: twin.learn_batch(given, targets)
            )
        times = time_in_turn(tuple(calls))
        figures = "".join(f"{each * 1e6:>14.1f}" for each in times)
        ratio = f"{times[2] / times[0]:>14.1f}" if len(times) > 2 else f"{'-':>14}{'-':>14}"
        yield f"{case.family:<25}{case.data:<10}{size:>6}{figures}{ratio}"
