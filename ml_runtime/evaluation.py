"""How good a model was on a batch, before it learnt it (prequential evaluation).

What anybody who asked just before the contribution would have been told is compared with what the
contribution says. Source: docs/spec/ml.md §6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml_runtime.family import ModelFamily, State
from ml_runtime.fixed_point import ONE
from ml_runtime.kernels import linear
from ml_runtime.samples import Batch, Integers
from ml_runtime.spec import ModelSpec
from ml_runtime.tables import LOG2_TABLE

__all__ = ["Evaluation", "count_by", "evaluate", "find_agreed", "learn_and_evaluate"]

LOSS_MAX = 1 << 40
"""Clamp of the loss of one sample, Q16."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a batch says of a model.

    Parameters
    ----------
    predictions
        int64[n]: the answers.
    agreed
        bool[n]: where answer and batch agree.
    losses
        int64[n], Q16: bits of surprise for classes, squared errors for numbers, squared distances
        or scores where there is no right answer.
    """

    predictions: Integers
    agreed: NDArray[np.bool_]
    losses: Integers

    @property
    def correct(self) -> int:
        """How many samples agree."""
        return int(np.count_nonzero(self.agreed))

    @property
    def loss(self) -> int:
        """The losses of all samples together, Q16."""
        return int(self.losses.sum())


def evaluate(family: ModelFamily, spec: ModelSpec, state: State, batch: Batch) -> Evaluation:
    """Return how good a model is on a checked batch."""
    scores = family.scores(spec, state, batch.samples)
    predictions = family.decide(spec, scores)
    agreed = _compare(family, spec, scores, predictions, batch.targets)
    task = family.task(spec)
    if task == "classification":
        losses = np.empty(len(predictions), dtype=np.int64)
        linear.log_losses(family.shares(spec, scores), batch.targets, LOG2_TABLE, losses)
    elif task == "regression":
        errors = predictions - batch.targets
        losses = (errors * errors + (1 << 15)) >> 16
    elif task == "clustering":
        losses = -scores.max(axis=1)
    else:
        losses = scores[:, 0]
    return Evaluation(predictions, agreed, np.clip(losses, -LOSS_MAX, LOSS_MAX))


def learn_and_evaluate(
    family: ModelFamily, spec: ModelSpec, state: State, batch: Batch
) -> Evaluation:
    """Evaluate a batch with the model as it is before it, then learn it, in place."""
    evaluation = evaluate(family, spec, state, batch)
    family.update(spec, state, batch.samples, batch.targets)
    return evaluation


def find_agreed(
    family: ModelFamily, spec: ModelSpec, state: State, batch: Batch
) -> NDArray[np.bool_]:
    """Return with which samples of a batch a model agrees, bool[n].

    A class has to be the same, a number within the setting ``tolerance``; where there is no right
    answer, a sample must not be further out than the setting ``agreement_limit``.
    """
    scores = family.scores(spec, state, batch.samples)
    return _compare(family, spec, scores, family.decide(spec, scores), batch.targets)


def count_by(
    groups: Integers, agreed: NDArray[np.bool_], count: int
) -> tuple[list[int], list[int]]:
    """Return for each of ``count`` groups how many samples it has and how many of them agree."""
    seen = np.bincount(groups, minlength=count)
    right = np.bincount(groups[agreed], minlength=count)
    return seen.tolist(), right.tolist()


def _compare(
    family: ModelFamily,
    spec: ModelSpec,
    scores: Integers,
    predictions: Integers,
    targets: Integers,
) -> NDArray[np.bool_]:
    task = family.task(spec)
    if task == "classification":
        agreed: NDArray[np.bool_] = predictions == targets
    elif task == "regression":
        agreed = np.abs(predictions - targets) <= spec.get("tolerance", ONE // 2)
    else:
        distances = -scores.max(axis=1) if task == "clustering" else scores[:, 0]
        agreed = distances <= spec.get("agreement_limit", LOSS_MAX)
    return agreed
