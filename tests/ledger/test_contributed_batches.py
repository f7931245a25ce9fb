"""What a batch is refused for beside its features, and what is counted of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from incentives.terms import Terms
from ledger.transactions.contributed_batches import (
    check_groups,
    check_targets,
    count_entries,
    count_judged,
)
from ml_runtime.evaluation import Evaluation
from ml_runtime.samples import Batch, DenseSamples, SparseSamples
from ml_runtime.spec import make_spec
from primitives.errors import InvalidInputError
from tests.helpers.contributions import describe_model

MODEL = describe_model("shared", Terms("points", 0, 0, 0, 0), groups=("here", "there"))
LABELS = np.array([0, 1, 1], dtype=np.int64)
BATCH = Batch(DenseSamples(np.zeros((3, 2), dtype=np.int64)), LABELS)
JUDGED = Evaluation(LABELS, np.array([True, False, True]), LABELS)


def with_groups(*groups: int) -> Batch:
    return replace(BATCH, groups=np.array(groups, dtype=np.int64))


@pytest.mark.parametrize(
    ("task", "kind"), [("none", "none"), ("regression", "labels"), ("classification", "values")]
)
def test_targets_that_a_model_does_not_learn_are_refused(task, kind) -> None:
    check_targets("classification", BATCH)
    with pytest.raises(InvalidInputError) as refused:
        check_targets(task, replace(BATCH, kind=kind))
    assert refused.value.code == "wrong_targets"


def test_group_that_the_model_does_not_name_is_refused() -> None:
    check_groups(MODEL, BATCH)
    check_groups(MODEL, with_groups(0, 1, 0))
    with pytest.raises(InvalidInputError) as refused:
        check_groups(MODEL, with_groups(0, 2, 0))
    assert (refused.value.code, refused.value.value) == ("unknown_group", 2)


def test_classes_and_groups_are_counted() -> None:
    assert count_judged(MODEL, BATCH, JUDGED) == (((0, 1, 1), (1, 2, 1)), ())
    by_class, by_group = count_judged(MODEL, with_groups(1, 1, 0), JUDGED)
    assert by_class == ((0, 1, 1), (1, 2, 1))
    assert by_group == ((0, 1, 1), (1, 2, 1))
    numbers = replace(MODEL, spec=make_spec("linear_regression", "dense", 2, 0), class_names=())
    assert count_judged(numbers, BATCH, JUDGED) == ((), ())


def test_entries_are_the_features_that_are_given() -> None:
    assert count_entries(BATCH.samples) == 6
    starts, one = np.array([0, 1], dtype=np.int64), np.ones(1, dtype=np.int64)
    assert count_entries(SparseSamples(starts, one, one, 9)) == 1
