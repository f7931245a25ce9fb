"""What a model that has learnt gives up to begin again as another one.

A ledger takes only parameters with which its families can vouch for their bounds: steps that were
counted and momentum that was gathered elsewhere are not among them. Answers stay the same, bit for
bit; what changes is how fast the model goes on learning.
"""

from __future__ import annotations

import numpy as np

from ml_runtime.family import State, check_shapes, copy_state
from ml_runtime.kernels import linear
from ml_runtime.registry import get_family
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = ["begin_again"]


def begin_again(spec: ModelSpec, state: State) -> tuple[State, tuple[str, ...]]:
    """Return the state with which a model can begin that answers as this one does.

    Parameters
    ----------
    spec
        What both are.
    state
        Any that a model can reach; it is not changed.

    Returns
    -------
    tuple
        The state, and a sentence for each tensor that had to change.

    Raises
    ------
    InvalidInputError
        ``wrong_tensors``, ``unknown_family``.
    """
    family = get_family(spec.family)
    check_shapes(family, spec, state)
    after = copy_state(state)
    if spec.family == "averaged_perceptron" and int(state["steps"][0]) > 0:
        # The average answers, and becomes what the average begins with.
        steps = int(state["steps"][0])
        linear.averaged_weights(state["weights"], state["changes"], steps, after["weights"])
    if spec.family == "nearest_neighbours":
        after["seen"] = np.minimum(state["seen"], len(state["targets"]))
    try:
        ranges = family.parameter_ranges(spec)
    except InvalidInputError:
        ranges = {}
    for name, (low, high) in ranges.items():
        if low == high:
            after[name] = np.full_like(after[name], low)
    notes = tuple(
        f"{name} is not what it was in the file: the model answers alike and begins to learn anew"
        for name in sorted(after)
        if not np.array_equal(after[name], state[name])
    )
    return after, notes
