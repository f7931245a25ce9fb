"""What happens to a model when its errors become more frequent; called by contribute.

Source: docs/spec/ledger.md §7.3, §5.9.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from ledger.model_drift import ModelDrift, decode_model_drift, model_drift_key
from ledger.model_policies import DRIFT_POLICIES
from ledger.model_records import Model
from ledger.model_tensors import ORIGINS, ModelTensors, decode_model_tensors, tensors_key
from ledger.model_versions import (
    ALIASES_MAX,
    BEST,
    PinnedVersion,
    decode_pinned_version,
    move_alias,
    pinned_version_key,
    read_aliases,
)
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import get_progress
from ledger.transactions.model_versions import go_back
from ml_runtime.drift import new_detector, watch
from ml_runtime.evaluation import Evaluation
from ml_runtime.registry import get_family

__all__ = ["watch_for_drift"]

DRIFTED: Final = ORIGINS.index("drifted")


def watch_for_drift(context: ExecutionContext, model: Model, evaluation: Evaluation) -> int:
    """Show what a contribution said to the model's detector; return how many drifts it found.

    The samples were learnt before, so what a policy does holds for what comes after them.
    """
    policies = model.description.policies
    if not policies.detector:
        return 0
    name = model.description.name
    key = model_drift_key(name)
    known = context.get(key, decode_model_drift)
    if known is None:
        known = ModelDrift(tuple(new_detector(policies.detector).tolist()))
    state = known.to_state()
    report = watch(policies.detector, state, (~evaluation.agreed).astype(np.int64))
    after = replace(
        known,
        detector=tuple(state.tolist()),
        warnings=known.warnings + len(report.warnings),
        drifts=known.drifts + len(report.drifts),
    )
    if report.drifts:
        before = context.get(tensors_key(name), decode_model_tensors)
        version = 0 if before is None else before.version
        after = replace(after, height=context.height, version=version)
        _act(context, model, before, after.drifts)
    context.put(key, after)
    return len(report.drifts)


def _act(context: ExecutionContext, model: Model, before: ModelTensors | None, number: int) -> None:
    """Do what the model's policy says."""
    policies, spec = model.description.policies, model.description.spec
    name, family = model.description.name, get_family(spec.family)
    policy = DRIFT_POLICIES[policies.drift]
    if policy == "decay":
        family.decay(spec, context.change_model(name), policies.decay_shift)
        context.note_progress(name, get_progress(context, name), DRIFTED)
    elif policy == "fork":
        shapes = family.shapes(spec)
        if before is not None and {each.name: each.shape for each in before.tensors} == shapes:
            _name_fork(context, name, PinnedVersion(1, spec, before), number)
        context.replace_model(name, family.initial_state(spec))
        context.note_progress(name, get_progress(context, name), DRIFTED)
    elif policy == "revert":
        best = read_aliases(context, name).get(BEST)
        key = None if best is None else pinned_version_key(name, best)
        pinned = None if key is None else context.get(key, decode_pinned_version)
        if pinned is not None:
            go_back(context, model, pinned, DRIFTED)


def _name_fork(context: ExecutionContext, name: str, pinned: PinnedVersion, number: int) -> None:
    """Give the version before a new start a name, as long as there is room for one."""
    if len(read_aliases(context, name).aliases) < ALIASES_MAX - 1:
        move_alias(context, name, f"before-drift-{number}", pinned)
