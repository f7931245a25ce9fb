"""The contract suite: what every model family must hold, checked on given data.

As scikit-learn's ``check_estimator`` does for estimators. A new family is done when this passes for
its dense and sparse layouts. Violations raise ``ContractViolationError`` and say what was expected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from ml_runtime.decay import SHIFT_MAX
from ml_runtime.evaluation import learn_and_evaluate
from ml_runtime.family import (
    LABELLED,
    TARGET_LIMIT,
    ModelFamily,
    State,
    check_batch,
    copy_state,
    count_parameters,
)
from ml_runtime.fixed_point import INT64_SAFE, ONE
from ml_runtime.samples import (
    Batch,
    DenseSamples,
    Integers,
    Samples,
    TargetKind,
    decode_batch,
    encode_batch,
    sample_count,
    take_samples,
)
from ml_runtime.spec import ModelSpec, decode_spec
from primitives.codec import decode, encode
from primitives.errors import InvalidInputError, QuorateError

__all__ = ["CHECKS", "ContractViolationError", "Subject", "check_model"]

PROBABILITY_SLACK: Final = 64
"""How far a row of probabilities may be from 65536: half a unit for each class, and some."""


SAMPLES_COVERED_MIN: Final = 1 << 24
"""Fewer samples than this would end the life of a model that is in use."""


class ContractViolationError(QuorateError):
    """A family does not keep its contract."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked, on which data; the labels should name every class of the spec."""

    family: ModelFamily
    spec: ModelSpec
    samples: Samples
    labels: Integers

    @property
    def task(self) -> str:
        """What the model is for."""
        return self.family.task(self.spec)

    @property
    def has_probabilities(self) -> bool:
        """Whether the model gives probabilities."""
        return self.task in ("classification", "clustering")

    def askable(self) -> tuple[Callable[..., Integers], ...]:
        """Return everything that can be asked of the model."""
        family = self.family
        if self.has_probabilities:
            return (family.predict, family.scores, family.probabilities)
        return (family.predict, family.scores)

    def learn(self, samples: Samples, labels: Integers) -> State:
        """Return the state of a new model after one batch."""
        state = self.family.initial_state(self.spec)
        self.family.update(self.spec, state, samples, labels)
        return state


def check_model(subject: Subject) -> None:
    """Run every check.

    Raises
    ------
    ContractViolationError
        With the name of the check and what it found.
    """
    for check in CHECKS:
        check(subject)


def check_state_is_plain(subject: Subject) -> None:
    """Hold a state to C-contiguous int64 arrays whose names and shapes never change."""
    before = subject.family.initial_state(subject.spec)
    after = subject.learn(subject.samples, subject.labels)
    shapes = subject.family.shapes(subject.spec)
    _expect({name: array.shape for name, array in before.items()} == shapes, "shapes are others")
    numbers = sum(array.size for array in before.values())
    _expect(count_parameters(subject.family, subject.spec) == numbers, "numbers are miscounted")
    _expect({name: array.shape for name, array in after.items()} == shapes, "shapes change")
    for state in (before, after):
        for name, array in state.items():
            _expect(array.dtype == np.int64, f"{name} is {array.dtype}")
            _expect(array.flags.c_contiguous, f"{name} is not C-contiguous")


def check_reading_changes_nothing(subject: Subject) -> None:
    """Hold predict, scores and probabilities to be pure."""
    state = subject.learn(subject.samples, subject.labels)
    before = copy_state(state)
    for ask in subject.askable():
        first = ask(subject.spec, state, subject.samples)
        second = ask(subject.spec, state, subject.samples)
        _expect(np.array_equal(first, second), f"{ask.__name__} gives different answers")
    _expect_same(state, before, "reading changes the state")


def check_inputs_are_left_alone(subject: Subject) -> None:
    """Hold every method to leave samples and labels as they are: others read them too."""
    family, spec, samples, labels = subject.family, subject.spec, subject.samples, subject.labels
    before = encode_batch(samples, labels, "values")
    state = subject.learn(samples, labels)
    for ask in subject.askable():
        ask(spec, state, samples)
    if family.supports_unlearn:
        family.unlearn(spec, state, samples, labels)
    after = encode_batch(samples, labels, "values")
    _expect(after == before, "samples or labels are changed")


def check_answers_fit_together(subject: Subject) -> None:
    """Hold predictions to the highest score, ties to the lowest class, and probabilities to one."""
    family, spec = subject.family, subject.spec
    state = subject.learn(subject.samples, subject.labels)
    count = sample_count(subject.samples)
    predictions = family.predict(spec, state, subject.samples)
    scores = family.scores(spec, state, subject.samples)
    columns = family.score_count(spec)
    _expect(predictions.shape == (count,), f"predict has shape {predictions.shape}")
    _expect(scores.shape == (count, columns), f"scores have shape {scores.shape}")
    if not subject.has_probabilities:
        _expect(np.array_equal(predictions, scores[:, 0]), "the answer is not the score")
        return
    probabilities = family.probabilities(spec, state, subject.samples)
    chosen = scores[np.arange(count), predictions]
    _expect(bool((chosen == scores.max(axis=1)).all()), "predict is not the highest score")
    _expect(bool((probabilities >= 0).all()), "a probability is negative")
    _expect_adds_up(probabilities)


def check_new_model_answers(subject: Subject) -> None:
    """Hold a model that has learnt nothing to answer the lowest class or group, or zero."""
    if subject.task == "outliers":
        return
    state = subject.family.initial_state(subject.spec)
    predictions = subject.family.predict(subject.spec, state, subject.samples)
    _expect(not predictions.any(), "a new model prefers a class")


def check_batches_do_not_matter(subject: Subject) -> None:
    """Hold one batch, single samples and halves to the same bits, where it is promised."""
    if not subject.family.ignores_batches:
        return
    whole = subject.learn(subject.samples, subject.labels)
    for size in (1, max(1, len(subject.labels) // 2)):
        state = subject.family.initial_state(subject.spec)
        for start in range(0, len(subject.labels), size):
            rows = np.arange(start, min(start + size, len(subject.labels)))
            batch = take_samples(subject.samples, rows)
            subject.family.update(subject.spec, state, batch, subject.labels[rows])
        _expect_same(state, whole, f"batches of {size} give another state")


def check_empty_batch_changes_nothing(subject: Subject) -> None:
    """Hold a batch without samples to teach nothing and to be answered with nothing."""
    family, spec = subject.family, subject.spec
    nothing = np.zeros(0, dtype=np.int64)
    empty = take_samples(subject.samples, nothing)
    state = subject.learn(subject.samples, subject.labels)
    before = copy_state(state)
    family.update(spec, state, empty, nothing)
    _expect_same(state, before, "an empty batch changes the state")
    _expect(family.predict(spec, state, empty).shape == (0,), "an empty batch is answered")
    for ask in subject.askable()[1:]:
        shape = ask(spec, state, empty).shape
        expected = (0, family.score_count(spec))
        _expect(shape == expected, f"{ask.__name__} of an empty batch is {shape}")


def check_samples_are_counted(subject: Subject) -> None:
    """Hold the bounds to cover at least 2^24 samples, each counted once."""
    family, spec = subject.family, subject.spec
    room = family.samples_left(spec, family.initial_state(spec))
    _expect(room >= SAMPLES_COVERED_MIN, f"the bounds cover {room} samples")
    left = family.samples_left(spec, subject.learn(subject.samples, subject.labels))
    _expect(room - left == len(subject.labels), f"{room - left} samples are counted")


def check_evaluation_comes_first(subject: Subject) -> None:
    """Hold prequential predictions to those of the model as it was before the batch."""
    family, spec = subject.family, subject.spec
    half = len(subject.labels) // 2
    first, second = np.arange(half), np.arange(half, len(subject.labels))
    state = subject.learn(take_samples(subject.samples, first), subject.labels[first])
    batch = take_samples(subject.samples, second)
    expected = family.predict(spec, state, batch)
    given = learn_and_evaluate(family, spec, state, Batch(batch, subject.labels[second]))
    _expect(np.array_equal(given.predictions, expected), "evaluation saw what it was to predict")


def check_bytes_come_back(subject: Subject) -> None:
    """Hold specs and batches to be the same after encoding and decoding."""
    fields = decode(encode(subject.spec.to_fields()), bytes_max=4096)
    _expect(decode_spec(fields) == subject.spec, "the spec does not come back")
    kind: TargetKind = "values" if subject.task == "regression" else "labels"
    data = encode_batch(subject.samples, subject.labels, kind)
    batch = decode_batch(data, samples_max=len(subject.labels))
    again = encode_batch(batch.samples, batch.targets, batch.kind)
    _expect(again == data, "the batch does not come back")
    _expect_same(
        subject.learn(batch.samples, batch.targets),
        subject.learn(subject.samples, subject.labels),
        "a decoded batch teaches something else",
    )


def check_extremes_are_survived(subject: Subject) -> None:
    """Hold the largest features, alternating labels, to answers without a wrapped sum."""
    family, spec = subject.family, subject.spec
    low, high = family.feature_range(spec)
    count = 2 * max(spec.class_count, 4)
    features = np.full((count, spec.feature_count), high, dtype=np.int64)
    features[::2] = low
    labels = np.arange(count, dtype=np.int64) % max(spec.class_count, 1)
    if subject.task == "regression":
        labels[:] = TARGET_LIMIT
        labels[::3] = -TARGET_LIMIT
    dense = replace(subject.spec, layout="dense")
    state = family.initial_state(dense)
    for _ in range(3):
        family.update(dense, state, DenseSamples(features), labels)
    scores = family.scores(dense, state, DenseSamples(features))
    _expect(int(np.abs(scores).max()) < INT64_SAFE, f"a score is {int(np.abs(scores).max())}")
    if subject.has_probabilities:
        _expect_adds_up(family.probabilities(dense, state, DenseSamples(features)))


def check_single_class_is_learnt(subject: Subject) -> None:
    """Hold a model that saw one class alone to predict it."""
    if subject.task != "classification":
        return
    label = subject.spec.class_count - 1
    labels = np.full(len(subject.labels), label, dtype=np.int64)
    state = subject.learn(subject.samples, labels)
    predictions = subject.family.predict(subject.spec, state, subject.samples)
    _expect(bool((predictions == label).all()), "another class than the only one is predicted")


def check_missing_class_is_survived(subject: Subject) -> None:
    """Hold a model to answer with classes and probabilities while one class was never seen."""
    family, spec = subject.family, subject.spec
    if subject.task != "classification":
        return
    for missing in (0, spec.class_count - 1):
        rows = np.flatnonzero(subject.labels != missing)
        state = subject.learn(take_samples(subject.samples, rows), subject.labels[rows])
        predictions = family.predict(spec, state, subject.samples)
        known = (predictions >= 0) & (predictions < spec.class_count)
        _expect(bool(known.all()), "a class is predicted that the model does not have")
        _expect_adds_up(family.probabilities(spec, state, subject.samples))


def check_wrong_batches_are_refused(subject: Subject) -> None:
    """Hold check_batch to refuse targets and features out of range, each by its code."""
    family, spec = subject.family, subject.spec
    _, high = family.feature_range(spec)
    features = np.zeros((1, spec.feature_count), dtype=np.int64)
    zero = np.zeros(1, dtype=np.int64)
    dense = replace(spec, layout="dense")
    too_large = features.copy()
    too_large[0, 0] = high + 1
    narrow = np.zeros((1, spec.feature_count + 1), dtype=np.int64)
    cases: list[tuple[str, Integers, Integers]] = [
        ("feature_out_of_range", too_large, zero),
        ("wrong_feature_count", narrow, zero),
    ]
    if subject.task == "classification":
        cases.append(("unknown_class", features, zero + spec.class_count))
        cases.append(("unknown_class", features, zero - 1))
    elif subject.task == "regression":
        cases.append(("target_out_of_range", features, zero + TARGET_LIMIT + 1))
        cases.append(("target_out_of_range", features, zero - TARGET_LIMIT - 1))
    for code, given, labels in cases:
        try:
            check_batch(family, dense, DenseSamples(given), labels)
        except InvalidInputError as error:
            _expect(error.code == code, f"{code} is refused as {error.code}")
        else:
            raise ContractViolationError(f"{family.name}: {code} is not refused")


def check_unlearning_is_exact(subject: Subject) -> None:
    """Hold unlearn to give back the bits from before, where the family promises it."""
    family, spec = subject.family, subject.spec
    if not family.supports_unlearn:
        return
    state = subject.learn(subject.samples, subject.labels)
    before = copy_state(state)
    family.update(spec, state, subject.samples, subject.labels)
    family.unlearn(spec, state, subject.samples, subject.labels)
    _expect_same(state, before, "unlearning leaves something behind")


def check_merging_is_union(subject: Subject) -> None:
    """Hold merge to equal learning everything, where the family promises it."""
    family, spec = subject.family, subject.spec
    if not family.supports_merge:
        return
    half = len(subject.labels) // 2
    parts = [np.arange(half), np.arange(half, len(subject.labels))]
    states = [
        subject.learn(take_samples(subject.samples, rows), subject.labels[rows]) for rows in parts
    ]
    whole = subject.learn(subject.samples, subject.labels)
    _expect_same(family.merge(spec, states), whole, "merging is not the union")


def check_decay_forgets_evenly(subject: Subject) -> None:
    """Hold decay to halve counts and to keep answers, bounds and unlearning, where it is there."""
    family, spec = subject.family, subject.spec
    state = family.initial_state(spec)
    if not family.supports_decay:
        _expect_refused("unsupported", partial(family.decay, spec, state, 1))
        return
    family.decay(spec, state, 1)
    _expect_same(state, family.initial_state(spec), "a new model has something to forget")
    for _ in range(8):
        family.update(spec, state, subject.samples, subject.labels)
    before = copy_state(state)
    for shift in (0, SHIFT_MAX + 1):
        _expect_refused("shift_out_of_range", partial(family.decay, spec, state, shift))
    _expect_same(state, before, "a refused decay changes the state")
    answers = family.predict(spec, state, subject.samples)
    family.decay(spec, state, 1)
    halves = (before["counts"] + 1) // 2
    _expect(np.array_equal(state["counts"], halves), "counts are not halved")
    _expect_alike(subject, family.predict(spec, state, subject.samples), answers)
    for shift in (1, SHIFT_MAX // 2, SHIFT_MAX, *[1] * 12):
        left = family.samples_left(spec, state)
        family.decay(spec, state, shift)
        _expect(family.samples_left(spec, state) >= left, "forgetting leaves less room")
        scores = family.scores(spec, state, subject.samples)
        _expect(int(np.abs(scores).max()) < INT64_SAFE, "a score leaves the bounds")
        if subject.has_probabilities:
            _expect_adds_up(family.probabilities(spec, state, subject.samples))
        if family.supports_unlearn:
            decayed = copy_state(state)
            nothing = np.zeros(0, dtype=np.int64)
            family.unlearn(spec, state, take_samples(subject.samples, nothing), nothing)
            _expect_same(state, decayed, "unlearning nothing changes a model that forgot")
            family.update(spec, state, subject.samples, subject.labels)
            family.unlearn(spec, state, subject.samples, subject.labels)
            _expect_same(state, decayed, "a model that forgot does not unlearn what came after")


def check_cost_grows(subject: Subject) -> None:
    """Hold the declared cost to be positive and to grow with the batch."""
    costs = [
        subject.family.cost(subject.spec, count, count * subject.spec.feature_count)
        for count in (1, 2, 1024)
    ]
    _expect(0 < costs[0] < costs[1] < costs[2], f"costs are {costs}")


def check_parameters_from_elsewhere(subject: Subject) -> None:
    """Hold a new model's parameters, where they may come from elsewhere, to their own bounds."""
    family, spec = subject.family, subject.spec
    state = family.initial_state(spec)
    try:
        family.check_state(spec, state)
    except InvalidInputError as error:
        _expect(error.code == "unsupported", f"a new model is refused as {error.code}")
        return
    for name in state:
        for wrong in (INT64_SAFE, -INT64_SAFE):
            beyond = copy_state(state)
            beyond[name].reshape(-1)[0] = wrong
            try:
                family.check_state(spec, beyond)
            except InvalidInputError as error:
                _expect(error.code == "parameter_out_of_range", f"{name}: {error.code}")
            else:
                raise ContractViolationError(f"{name} may hold {wrong}")
        smaller = {key: array for key, array in state.items() if key != name}
        try:
            family.check_state(spec, smaller)
        except InvalidInputError as error:
            _expect(error.code == "wrong_tensors", f"without {name}: {error.code}")
        else:
            raise ContractViolationError(f"{name} may be left out")


def check_task_and_targets_fit(subject: Subject) -> None:
    """Hold the task to one that the family declares, with classes exactly if it predicts them."""
    _expect(subject.task in subject.family.tasks, f"{subject.task} is not declared")
    has_classes = bool(subject.spec.class_count)
    _expect(has_classes == (subject.task == "classification"), "classes do not fit the task")
    labelled = subject.task in LABELLED
    _expect(labelled or not subject.labels.any(), "an unlabelled task was given labels")


CHECKS: Final[tuple[Callable[[Subject], None], ...]] = (
    check_state_is_plain,
    check_reading_changes_nothing,
    check_inputs_are_left_alone,
    check_answers_fit_together,
    check_new_model_answers,
    check_batches_do_not_matter,
    check_empty_batch_changes_nothing,
    check_samples_are_counted,
    check_evaluation_comes_first,
    check_bytes_come_back,
    check_extremes_are_survived,
    check_single_class_is_learnt,
    check_missing_class_is_survived,
    check_wrong_batches_are_refused,
    check_unlearning_is_exact,
    check_merging_is_union,
    check_decay_forgets_evenly,
    check_cost_grows,
    check_parameters_from_elsewhere,
    check_task_and_targets_fit,
)


def _expect(holds: bool, complaint: str) -> None:
    if not holds:
        raise ContractViolationError(complaint)


def _expect_refused(code: str, call: Callable[[], None]) -> None:
    try:
        call()
    except InvalidInputError as error:
        _expect(error.code == code, f"{code} is refused as {error.code}")
    else:
        raise ContractViolationError(f"{code} is not refused")


def _expect_alike(subject: Subject, answers: Integers, before: Integers) -> None:
    """Classes have to be the same, numbers nearly, for nine in ten samples."""
    if subject.has_probabilities:
        same = answers == before
    else:
        same = np.abs(answers - before) <= (ONE + np.abs(before)) // 8
    alike = int(np.count_nonzero(same))
    _expect(10 * alike >= 9 * len(before), f"{len(before) - alike} answers change")


def _expect_adds_up(probabilities: Integers) -> None:
    off = int(np.abs(probabilities.sum(axis=1) - ONE).max())
    _expect(bool((probabilities >= 0).all()), "a probability is negative")
    _expect(off <= PROBABILITY_SLACK + probabilities.shape[1], f"probabilities are off by {off}")


def _expect_same(state: State, expected: State, complaint: str) -> None:
    same = all(np.array_equal(state[name], expected[name]) for name in expected)
    _expect(same and state.keys() == expected.keys(), complaint)
