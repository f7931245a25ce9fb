"""Tensors that are trained elsewhere: the ledger keeps, adds and proves them, and predicts nothing.

The spec names the tensors and their shapes, as a state dictionary does; numbers are Q16, at most
2^40. Contributions of samples are refused; tensors come by uploads and by updates.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.family import ModelFamily, State, check_parameters
from ml_runtime.samples import Integers, Samples
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = ["NUMBER_LIMIT", "ExternalTensors", "add_update"]

NUMBER_LIMIT: Final = 1 << 40
"""Largest absolute number of a tensor."""


class ExternalTensors(ModelFamily):
    """The family ``external_tensors``: updates only."""

    name = "external_tensors"
    tasks = ("none",)
    layouts = ("dense",)

    def check(self, spec: ModelSpec) -> None:
        """Refuse a spec without tensors; raises ``invalid_spec``."""
        check_parameters(self, spec)
        if not spec.tensors:
            raise InvalidInputError(
                "invalid_spec",
                f"{self.name} needs at least one tensor",
                field="spec.tensors",
                value=0,
                limit=1,
            )

    def feature_range(self, _spec: ModelSpec) -> tuple[int, int]:
        """Return the range of a number; there are no features."""
        return -NUMBER_LIMIT, NUMBER_LIMIT

    def shapes(self, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the spec names."""
        return dict(spec.tensors)

    def parameter_ranges(self, spec: ModelSpec) -> dict[str, tuple[int, int]]:
        """Return the range of every tensor."""
        return {name: (-NUMBER_LIMIT, NUMBER_LIMIT) for name, _ in spec.tensors}

    def samples_left(self, _spec: ModelSpec, _state: State) -> int:
        """Return 0: nothing is learnt from samples."""
        return 0

    def cost(self, _spec: ModelSpec, samples: int, entries: int) -> int:
        """Return compute units of refusing a batch."""
        return samples + entries

    def score_count(self, _spec: ModelSpec) -> int:
        """Return 0: nothing is answered."""
        return 0

    def scores(self, spec: ModelSpec, _state: State, samples: Samples) -> Integers:
        """Refuse: raises ``unsupported``."""
        raise InvalidInputError(
            "unsupported",
            f"a model of {self.name} answers nothing; read its {len(spec.tensors)} tensors and"
            f" predict where the samples are, found {samples.feature_count} features",
        )

    def predict(self, spec: ModelSpec, state: State, samples: Samples) -> Integers:
        """Refuse: raises ``unsupported``."""
        return self.scores(spec, state, samples)

    def update(self, _spec: ModelSpec, _state: State, _samples: Samples, targets: Integers) -> None:
        """Refuse: raises ``unsupported``."""
        raise InvalidInputError(
            "unsupported",
            f"a model of {self.name} learns from updates only, found {len(targets)} samples",
        )


def add_update(state: State, name: str, places: Integers, changes: Integers) -> None:
    """Add changes to some numbers of a tensor, in place, clamped to `NUMBER_LIMIT`.

    Parameters
    ----------
    places
        int64[n]: distinct places in the flattened tensor.
    changes
        int64[n], at most `NUMBER_LIMIT` in absolute value.
    """
    flat = state[name].reshape(-1)
    flat[places] = np.clip(flat[places] + changes, -NUMBER_LIMIT, NUMBER_LIMIT)
