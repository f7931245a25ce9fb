"""What a batch is refused for beside its features, and what is counted of it.

Source: docs/spec/ledger.md §5.5, §7.3.
"""

from __future__ import annotations

from ledger.model_records import ModelDescription
from ledger.model_tally import CLASSES_MAX, GroupCounts, count_groups
from ml_runtime.evaluation import Evaluation, count_by
from ml_runtime.family import Task
from ml_runtime.samples import Batch, DenseSamples, Samples
from primitives.errors import InvalidInputError

__all__ = ["check_groups", "check_targets", "count_entries", "count_judged"]


def check_targets(task: Task, batch: Batch) -> None:
    """Refuse a batch that says of its samples what the model does not learn."""
    wanted = {"classification": "labels", "regression": "values"}.get(task, "none")
    if task == "none":
        raise InvalidInputError(
            "wrong_targets", "the model learns from updates, not from samples", field="payload"
        )
    if batch.kind != wanted:
        raise InvalidInputError(
            "wrong_targets",
            f"the batch says {batch.kind} of its samples, a model for {task} learns from {wanted}",
            field="payload.kind",
            value=batch.kind,
            limit=wanted,
        )


def check_groups(description: ModelDescription, batch: Batch) -> None:
    """Refuse samples of a group that the model does not name."""
    if batch.groups is not None and int(batch.groups.max()) >= len(description.groups):
        raise InvalidInputError(
            "unknown_group",
            f"group {int(batch.groups.max())} is unknown, the model names"
            f" {len(description.groups)} groups",
            field="payload.groups",
            value=int(batch.groups.max()),
            limit=len(description.groups) - 1,
        )


def count_judged(
    description: ModelDescription, batch: Batch, evaluation: Evaluation
) -> tuple[GroupCounts, GroupCounts]:
    """Return how the classes and the groups of a batch were judged."""
    classes = description.spec.class_count
    by_class: GroupCounts = ()
    if 0 < classes <= CLASSES_MAX:
        by_class = count_groups(*count_by(batch.targets, evaluation.agreed, classes))
    if batch.groups is None:
        return by_class, ()
    counts = count_by(batch.groups, evaluation.agreed, len(description.groups))
    return by_class, count_groups(*counts)


def count_entries(samples: Samples) -> int:
    """Return the features in all samples together, of sparse ones those that are given."""
    if isinstance(samples, DenseSamples):
        return samples.features.size
    return len(samples.indices)
