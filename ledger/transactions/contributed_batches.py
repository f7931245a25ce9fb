"""Batches that contributions and test data carry: read, made to suit a model, counted."""

from __future__ import annotations

from typing import Final

from ledger.contribution_records import SAMPLES_MAX
from ledger.errors import TransactionFailedError
from ledger.model_records import ModelDescription
from ledger.model_tally import CLASSES_MAX, GroupCounts, count_groups
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from ml_runtime.evaluation import Evaluation, count_by
from ml_runtime.family import Task, check_batch
from ml_runtime.registry import get_family
from ml_runtime.samples import Batch, DenseSamples, Samples, decode_batch, widen
from primitives.errors import InvalidInputError

__all__ = [
    "BATCH_MEMO",
    "batch_of",
    "check_groups",
    "check_targets",
    "count_entries",
    "count_judged",
    "fit_batch",
]

BATCH_MEMO: Final = "batch"
"""Where the check before a block leaves the decoded payload."""


def fit_batch(description: ModelDescription, batch: Batch) -> Batch:
    """Return a batch in the shape of a model.

    Raises
    ------
    TransactionFailedError
        ``wrong_feature_count``, ``feature_out_of_range``, ``unknown_class``, ``wrong_layout``,
        ``wrong_targets``, ``target_out_of_range`` or ``unknown_group``.
    """
    spec = description.spec
    family = get_family(spec.family)
    batch = widen(batch, spec.feature_count)
    try:
        check_batch(family, spec, batch.samples, batch.targets)
        check_targets(family.task(spec), batch)
        check_groups(description, batch)
    except InvalidInputError as error:
        raise TransactionFailedError(error.code, error.message) from error
    return batch


def batch_of(context: ExecutionContext, transaction: Transaction) -> Batch:
    """Return the payload's samples; the check before has left them unless this is a replay."""
    known = transaction.memo.get(BATCH_MEMO)
    if known is not None:
        return known  # type: ignore[return-value]
    data = context.read_payload(context.transaction_id)
    return decode_batch(data, samples_max=SAMPLES_MAX)


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
    """Return how many features all samples have together, of sparse ones those that are given."""
    if isinstance(samples, DenseSamples):
        return samples.features.size
    return len(samples.indices)
