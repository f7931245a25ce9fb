"""What an owner decides about a model's life: growth, drift, and which versions are kept.

Source: docs/spec/ledger.md §5.4.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from primitives.codec import Encodable, Value
from primitives.fields import FieldReader

__all__ = [
    "DEFAULT_POLICIES",
    "DETECTORS",
    "DRIFT_POLICIES",
    "GROWTH_POLICIES",
    "ModelPolicies",
    "decode_policies",
]

GROWTH_POLICIES: Final = ("fixed", "owner", "contributors")
"""Who may add classes and features: nobody, the owner, or everybody who may contribute."""

DETECTORS: Final = ("none", "ddm", "page_hinkley")
"""What watches the errors of a model (ml_runtime/drift.py)."""

DRIFT_POLICIES: Final = ("note", "decay", "fork", "revert")
"""What happens on a drift: a record, forgetting, a new start, or a return to the best version."""

CHECKPOINT_INTERVAL_MAX: Final = 1 << 20
VERSIONS_KEPT_MAX: Final = 1 << 40
DECAY_SHIFT_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class ModelPolicies:
    """Decided at creation, never changed.

    Parameters
    ----------
    growth : place in `GROWTH_POLICIES`.
    detector : place in `DETECTORS`.
    drift : place in `DRIFT_POLICIES`.
    decay_shift : a drift with ``decay`` leaves (2^shift - 1) / 2^shift of every sum.
    checkpoint_interval : the parameters of every so-manieth version are stored, the others are
        computed again from the contributions when somebody asks for them.
    versions_kept : how many of the newest versions can be asked for; 0 means all.
    """

    growth: int = 0
    detector: int = 0
    drift: int = 0
    decay_shift: int = 1
    checkpoint_interval: int = 1
    versions_kept: int = 0

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return [getattr(self, field.name) for field in fields(self)]


DEFAULT_POLICIES: Final = ModelPolicies()


def decode_policies(value: Value) -> ModelPolicies:
    """Return the policies whose fields are ``value``; raises ``malformed``, ``out_of_range``."""
    reader = FieldReader(value, "model.policies", 6)
    policies = ModelPolicies(
        growth=reader.integer("growth", 0, len(GROWTH_POLICIES) - 1),
        detector=reader.integer("detector", 0, len(DETECTORS) - 1),
        drift=reader.integer("drift", 0, len(DRIFT_POLICIES) - 1),
        decay_shift=reader.integer("decay_shift", 1, DECAY_SHIFT_MAX),
        checkpoint_interval=reader.integer("checkpoint_interval", 1, CHECKPOINT_INTERVAL_MAX),
        versions_kept=reader.integer("versions_kept", 0, VERSIONS_KEPT_MAX),
    )
    reader.end()
    return policies
