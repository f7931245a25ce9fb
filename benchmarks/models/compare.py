"""Answers of a family and of its twin after the same samples in the same order, and their speed.

Ours learns in batches of 64, which changes no bit of it. The twin learns in one call and is told
the number of passes: scikit-learn's averaged perceptron loses several points on the small sets when
its ``partial_fit`` is called batch by batch, and to beat that would say nothing.

Times are of the same 64-sample batches on both sides, in turn in one process, and medians. They are
the processor's, so that what else a machine does counts for neither side. Both have one thread for
their linear algebra: pools of several libraries, each with a thread for every core, wait for one
another so long that a twin looks a hundred times slower than it is.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.models.cases import Case
from benchmarks.models.data import Split, load_split
from benchmarks.models.table import Row
from benchmarks.models.twins import TWINS, NoTwinError
from ml_runtime.family import State
from ml_runtime.registry import get_family
from ml_runtime.samples import Samples, sample_count, take_samples
from ml_runtime.spec import ModelSpec, make_spec

__all__ = ["BATCH_SAMPLES", "build_spec", "compare", "cut_batches", "time_in_turn"]

BATCH_SAMPLES: Final = 64
TIMED_BATCHES_MAX: Final = 16
RUNS: Final = 15
RUNS_LEAST: Final = 3
TIMING_SECONDS_MAX: Final = 3.0
"""No more runs begin after it: river takes a second for what others do in a millisecond."""


def compare(case: Case, splits: int) -> Row:
    """Return the row of a case: mean answers over the splits, ratios of speed on the first."""
    name, _ = TWINS[case.family]
    ours, theirs = [], []
    try:
        for seed in range(splits):
            split = load_split(case.data, case.scaling, seed)
            spec = build_spec(case, split)
            ours.append(_ask_ours(case, spec, split))
            theirs.append(_ask_twin(case, spec, split))
        split = load_split(case.data, case.scaling, 0)
        spec = build_spec(case, split)
        learning, answering = time_learning(spec, split), time_answering(case, spec, split)
    except NoTwinError as missing:
        return Row(case.family, case.data, name, note=str(missing))
    return Row(
        case.family,
        case.data,
        name,
        measure="accuracy" if split.class_count else "R²",
        ours=100 * statistics.fmean(ours),
        theirs=100 * statistics.fmean(theirs),
        error=100 * float(np.std(np.subtract(ours, theirs))) / math.sqrt(splits),
        learning=learning,
        answering=answering,
        reason=case.reason,
    )


def build_spec(case: Case, split: Split) -> ModelSpec:
    """Return the checked spec of a case."""
    family = get_family(case.family)
    samples: Any = split.samples
    spec = make_spec(
        case.family, split.layout, samples.feature_count, split.class_count, case.settings
    )
    family.check(spec)
    return spec


def cut_batches(samples: Samples, targets: Any) -> list[tuple[Samples, Any]]:
    """Return samples and targets in batches of 64, the last one as it comes."""
    batches = []
    for start in range(0, len(targets), BATCH_SAMPLES):
        rows = np.arange(start, min(start + BATCH_SAMPLES, len(targets)))
        batches.append((take_samples(samples, rows), targets[rows]))
    return batches


def time_in_turn(calls: tuple[Callable[[], object], ...]) -> list[float]:
    """Return the median seconds of each call, one run of each after the other, once unmeasured."""
    runs: list[list[float]] = []
    begun = time.monotonic()
    with threadpool_limits(1):
        for call in calls:
            call()
        while len(runs) < RUNS:
            if len(runs) >= RUNS_LEAST and time.monotonic() - begun > TIMING_SECONDS_MAX:
                break
            runs.append([_time(call) for call in calls])
    return [statistics.median(column) for column in zip(*runs, strict=True)]


def time_learning(spec: ModelSpec, split: Split) -> float | None:
    """Return how many times as fast as its twin a family learns; None if it learns at once only."""
    family, twin = get_family(spec.family), TWINS[spec.family][1](spec, split)
    batches = cut_batches(split.samples, split.targets)[:TIMED_BATCHES_MAX]
    batches = [each for each in batches if len(each[1]) == BATCH_SAMPLES]
    given = [(twin.prepare(each), twin.prepare_targets(targets)) for each, targets in batches]
    if not twin.learn_batch(*given[0]):
        return None
    state = family.initial_state(spec)

    def learn_ours() -> None:
        for samples, targets in batches:
            family.update(spec, state, samples, targets)

    def learn_twin() -> None:
        for features, targets in given:
            twin.learn_batch(features, targets)

    ours, theirs = time_in_turn((learn_ours, learn_twin))
    return theirs / ours


def time_answering(case: Case, spec: ModelSpec, split: Split) -> float:
    """Return how many times as fast as its twin a family answers all that is asked at once."""
    family, twin = get_family(spec.family), TWINS[spec.family][1](spec, split)
    state = _learn(case, spec, split)
    twin.learn(twin.prepare(split.samples), twin.prepare_targets(split.targets), 1)
    asked = twin.prepare(split.asked)
    ours, theirs = time_in_turn(
        (lambda: family.predict(spec, state, split.asked), lambda: twin.predict(asked))
    )
    return theirs / ours


def _time(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def _learn(case: Case, spec: ModelSpec, split: Split) -> State:
    family = get_family(spec.family)
    state = family.initial_state(spec)
    for _ in range(case.passes):
        for samples, targets in cut_batches(split.samples, split.targets):
            family.update(spec, state, samples, targets)
    return state


def _ask_ours(case: Case, spec: ModelSpec, split: Split) -> float:
    state = _learn(case, spec, split)
    answers = get_family(spec.family).predict(spec, state, split.asked)
    return _grade(answers, split.answers, split.class_count)


def _ask_twin(case: Case, spec: ModelSpec, split: Split) -> float:
    twin = TWINS[spec.family][1](spec, split)
    twin.learn(twin.prepare(split.samples), twin.prepare_targets(split.targets), case.passes)
    answers = twin.predict(twin.prepare(split.asked))
    if len(answers) != sample_count(split.asked):
        raise ValueError(f"{spec.family}: the twin gave {len(answers)} answers")
    return _grade(answers, twin.prepare_targets(split.answers), split.class_count)


def _grade(answers: Any, truth: Any, class_count: int) -> float:
    """Return the share of right classes, or R² of numbers, whatever both are scaled by."""
    answers, truth = np.asarray(answers), np.asarray(truth)
    if class_count:
        return float((answers == truth).mean())
    errors, spread = answers - truth, truth - truth.mean()
    return 1 - float((errors.astype(float) ** 2).sum() / (spread.astype(float) ** 2).sum())
