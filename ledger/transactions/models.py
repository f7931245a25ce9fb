"""Transactions about models: create_model.

Source: docs/spec/ledger.md §7.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incentives.registry import get_mechanism
from incentives.terms import check_terms
from ledger.errors import TransactionFailedError
from ledger.governance import require_role
from ledger.model_policies import DRIFT_POLICIES, GROWTH_POLICIES, ModelPolicies
from ledger.model_records import (
    Model,
    ModelDescription,
    ModelProgress,
    decode_description,
    decode_model,
    model_key,
    model_progress_key,
)
from ledger.model_tensors import ORIGINS
from ledger.parameters import Parameters
from ledger.schema import StateReader
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from ml_runtime.family import ModelFamily, count_parameters
from ml_runtime.registry import get_family
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError

__all__ = ["CREATE_MODEL", "PARAMETERS_MAX", "CreateModel", "CreateModelKind"]

PARAMETERS_MAX: Final = 1 << 24
"""Numbers that the parameters of one model may have: 128 MiB, rewritten where they change."""


CREATED: Final = ORIGINS.index("created")


@dataclass(frozen=True, slots=True)
class CreateModel:
    """Create a model; the sender becomes its owner."""

    description: ModelDescription

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return self.description.to_fields()


class CreateModelKind:
    """Puts a model that has learnt nothing into the state."""

    code: Final = 2
    name: Final = "create_model"
    has_payload: Final = False
    result_fields: Final = ("model",)

    def decode_body(self, value: list[Value]) -> CreateModel:
        """Return the body; raises `InvalidInputError`."""
        return CreateModel(decode_description(value))

    def check(self, _transaction: Transaction, body: CreateModel, parameters: Parameters) -> None:
        """Check what the family and the mechanism ask for.

        Raises
        ------
        InvalidInputError
            ``unknown_family``, ``invalid_spec``, ``invalid_incentive`` or ``invalid_policy`` or
            ``too_large``.
        """
        description = body.description
        family = get_family(description.spec.family)
        family.check(description.spec)
        _check_policies(description.policies, family)
        mechanism = get_mechanism(description.terms.mechanism)
        check_terms(description.terms, wait_ms_max=parameters.wait_ms_max)
        mechanism.check(description.terms)
        numbers = count_parameters(family, description.spec)
        if numbers > PARAMETERS_MAX:
            raise InvalidInputError(
                "too_large",
                f"the model would have {numbers} parameters, more than the limit {PARAMETERS_MAX}",
                field="model.spec",
                value=numbers,
                limit=PARAMETERS_MAX,
            )

    def cost(self, _state: StateReader, _transaction: Transaction, body: CreateModel) -> int:
        """Return one unit for each parameter that is written."""
        spec = body.description.spec
        return count_parameters(get_family(spec.family), spec)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: CreateModel
    ) -> list[Encodable]:
        """Create the model; fails with ``model_exists``, ``role_needed``."""
        require_role(context, context.sender, context.parameters.create_model_roles)
        description = body.description
        name = description.name
        if context.get(model_key(name), decode_model) is not None:
            raise TransactionFailedError("model_exists", f"a model is named {name!r} already")
        now_ms = context.timestamp_ms
        context.put(model_key(name), Model(context.sender, context.height, now_ms, description))
        progress = ModelProgress(last_update_ms=now_ms)
        context.put(model_progress_key(name), progress)
        state = get_family(description.spec.family).initial_state(description.spec)
        context.create_model(name, state)
        context.note_progress(name, progress, CREATED)
        return [name]


def _check_policies(policies: ModelPolicies, family: ModelFamily) -> None:
    """Refuse what a family cannot do.

    Raises
    ------
    InvalidInputError
        ``invalid_policy``: growth or decay of a family that has none.
    """
    if GROWTH_POLICIES[policies.growth] != "fixed" and not (
        family.grows_classes or family.grows_features
    ):
        raise InvalidInputError(
            "invalid_policy",
            f"{family.name} can neither get more classes nor more features; growth must be fixed",
            field="model.policies.growth",
            value=GROWTH_POLICIES[policies.growth],
            limit="fixed",
        )
    if DRIFT_POLICIES[policies.drift] == "decay" and not family.supports_decay:
        raise InvalidInputError(
            "invalid_policy",
            f"{family.name} keeps no sums that could decay; choose another policy on drift",
            field="model.policies.drift",
            value="decay",
            limit="note, fork, revert",
        )


CREATE_MODEL: Final = CreateModelKind()
