"""Transactions about a model's versions: set_alias, revert_model, extend_model.

Source: docs/spec/ledger.md §7.15 to §7.17.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ledger.errors import TransactionFailedError
from ledger.governance import require_role
from ledger.model_policies import GROWTH_POLICIES
from ledger.model_records import (
    Model,
    decode_model,
    model_key,
    model_progress_key,
    read_names,
)
from ledger.model_tensors import ORIGINS, decode_model_tensors, tensors_key
from ledger.model_uploads import upload_key
from ledger.model_versions import (
    ALIASES_MAX,
    PinnedVersion,
    check_alias,
    decode_pinned_version,
    move_alias,
    pinned_version_key,
    read_aliases,
)
from ledger.parameters import Parameters
from ledger.schema import StateReader
from ledger.transaction import Transaction
from ledger.transactions.campaign_contributions import refuse_open_campaign
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import (
    get_model,
    get_progress,
    get_version_before,
    read_model_name,
    require_owner,
)
from ml_runtime.family import count_parameters
from ml_runtime.growth import check_growth, grow_state
from ml_runtime.registry import get_family
from ml_runtime.samples import FEATURES_MAX
from ml_runtime.spec import CLASSES_MAX
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader

__all__ = [
    "EXTEND_MODEL",
    "REVERT_MODEL",
    "SET_ALIAS",
    "UNITS_PER_LOADED",
    "ExtendModel",
    "RevertModel",
    "SetAlias",
]

REVERTED: Final = ORIGINS.index("reverted")
GROWN: Final = ORIGINS.index("grown")
UNITS_PER_PARAMETER: Final = 4
UNITS_PER_LOADED: Final = 10
"""For a parameter that is read from its chunk: hashing it and copying it twice, measured."""

_ALIAS_BYTES: Final = 64
_PARAMETERS_MAX: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class SetAlias:
    """Let a name stand for a version; without one, take the name away."""

    model: str
    alias: str
    version: int | None

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.alias, self.version]


@dataclass(frozen=True, slots=True)
class RevertModel:
    """Go back to the parameters of a version that has a name."""

    model: str
    version: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.version]


@dataclass(frozen=True, slots=True)
class ExtendModel:
    """Add classes and sparse features."""

    model: str
    class_names: tuple[str, ...]
    feature_count: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, list(self.class_names), self.feature_count]


class SetAliasKind:
    """Pins a version under a name of the owner's choice."""

    code: Final = 16
    name: Final = "set_alias"
    has_payload: Final = False
    result_fields: Final = ("alias", "version")

    def decode_body(self, value: list[Value]) -> SetAlias:
        """Return the body; raises `InvalidInputError`, ``reserved_alias`` among others."""
        reader = FieldReader(value, self.name, 3)
        body = SetAlias(
            read_model_name(reader),
            reader.text("alias", _ALIAS_BYTES),
            reader.optional_integer("version", 0, COUNTER_MAX),
        )
        reader.end()
        check_alias(body.alias)
        return body

    def check(self, _transaction: Transaction, _body: SetAlias, _parameters: Parameters) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: SetAlias) -> int:
        """Return 0: the envelope's own units cover it."""
        return 0

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: SetAlias
    ) -> list[Encodable]:
        """Set the alias; fails with ``not_owner``, ``version_not_held``, ``too_many_aliases``."""
        model = get_model(context, body.model)
        require_owner(context, model)
        aliases = read_aliases(context, body.model)
        if body.version is None:
            if aliases.get(body.alias) is None:
                raise TransactionFailedError(
                    "unknown_alias", f"model {body.model!r} has no alias {body.alias!r}"
                )
            move_alias(context, body.model, body.alias, None)
            return [body.alias, None]
        if len(aliases.aliases) >= ALIASES_MAX - 1 and aliases.get(body.alias) is None:
            raise TransactionFailedError(
                "too_many_aliases", f"a model has at most {ALIASES_MAX - 1} aliases"
            )
        move_alias(context, body.model, body.alias, _find_version(context, model, body.version))
        return [body.alias, body.version]


class RevertModelKind:
    """Makes a new version with the parameters of an older one; nothing is taken out of history."""

    code: Final = 17
    name: Final = "revert_model"
    has_payload: Final = False
    result_fields: Final = ("version",)

    def decode_body(self, value: list[Value]) -> RevertModel:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 2)
        body = RevertModel(read_model_name(reader), reader.integer("version", 0, COUNTER_MAX))
        reader.end()
        return body

    def check(self, _transaction: Transaction, _body: RevertModel, _parameters: Parameters) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: RevertModel) -> int:
        """Return some units for each parameter that is read and written."""
        model = state.get(model_key(body.model), decode_model)
        current = state.get(tensors_key(body.model), decode_model_tensors)
        if model is None or current is None:
            return 0
        pinned = state.get(pinned_version_key(body.model, body.version), decode_pinned_version)
        if pinned is None and current.version != body.version:
            return 0
        # A version from before the model grew is smaller; what is written has the shapes of now.
        spec = model.description.spec
        return UNITS_PER_LOADED * count_parameters(get_family(spec.family), spec)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: RevertModel
    ) -> list[Encodable]:
        """Go back; fails with ``not_owner`` or ``version_not_held``."""
        model = get_model(context, body.model)
        require_owner(context, model)
        refuse_open_campaign(context, body.model)
        go_back(context, model, _find_version(context, model, body.version), REVERTED)
        return [body.version]


class ExtendModelKind:
    """Adds classes and features to a model that allows it."""

    code: Final = 18
    name: Final = "extend_model"
    has_payload: Final = False
    result_fields: Final = ("class_count", "feature_count")

    def decode_body(self, value: list[Value]) -> ExtendModel:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 3)
        body = ExtendModel(
            read_model_name(reader),
            read_names(reader.array("class_names", CLASSES_MAX), "class_names"),
            reader.integer("feature_count", 1, FEATURES_MAX),
        )
        reader.end()
        return body

    def check(self, _transaction: Transaction, _body: ExtendModel, _parameters: Parameters) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: ExtendModel) -> int:
        """Return some units for each parameter that the model will have."""
        model = state.get(model_key(body.model), decode_model)
        if model is None:
            return 0
        spec = model.description.spec
        classes = spec.class_count + len(body.class_names)
        after = replace(spec, class_count=classes, feature_count=body.feature_count)
        numbers = count_parameters(get_family(spec.family), after)
        return UNITS_PER_PARAMETER * min(numbers, _PARAMETERS_MAX)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: ExtendModel
    ) -> list[Encodable]:
        """Extend the model.

        Raises
        ------
        TransactionFailedError
            ``not_owner``, ``role_needed``, ``cannot_grow``, ``invalid_spec``, ``too_large`` or
            ``malformed`` for the name of a class that there is.
        """
        model = get_model(context, body.model)
        _require_growth(context, model)
        refuse_open_campaign(context, body.model)
        description = model.description
        names = description.class_names + body.class_names
        spec = replace(description.spec, class_count=len(names), feature_count=body.feature_count)
        family = get_family(spec.family)
        try:
            check_growth(family, description.spec, spec)
        except InvalidInputError as error:
            raise TransactionFailedError(error.code, error.message) from error
        # The record of a model whose encoder makes another number of features cannot be read.
        if description.encoder.feature_count() not in (None, spec.feature_count):
            raise TransactionFailedError(
                "cannot_grow",
                f"the encoder always makes {description.encoder.feature_count()} features",
            )
        if len(set(names)) != len(names) or len(names) > CLASSES_MAX:
            raise TransactionFailedError(
                "malformed", f"class names must differ and be at most {CLASSES_MAX}"
            )
        if count_parameters(family, spec) > _PARAMETERS_MAX:
            raise TransactionFailedError(
                "too_large", f"the model would have more than {_PARAMETERS_MAX} parameters"
            )
        state = context.read_model(body.model)
        grown = grow_state(family, description.spec, spec, state)
        described = replace(description, spec=spec, class_names=names)
        context.put(model_key(body.model), replace(model, description=described))
        # Parts of an upload name places in the tensors as they were.
        context.put(upload_key(body.model), None)
        context.replace_model(body.model, grown)
        context.note_progress(body.model, get_progress(context, body.model), GROWN)
        return [spec.class_count, spec.feature_count]


def go_back(context: ExecutionContext, model: Model, pinned: PinnedVersion, origin: int) -> None:
    """Give a model the parameters of a pinned version, in the shapes that it has by now."""
    name, spec = model.description.name, model.description.spec
    arrays = context.load_version(pinned.tensors)
    if pinned.spec != spec:
        arrays = grow_state(get_family(spec.family), pinned.spec, spec, arrays)
    progress = replace(get_progress(context, name), last_update_ms=context.timestamp_ms)
    context.put(model_progress_key(name), progress)
    context.replace_model(name, arrays)
    context.note_progress(name, progress, origin)


def _find_version(context: ExecutionContext, model: Model, version: int) -> PinnedVersion:
    """Return a version that every validator can read; fails with ``version_not_held``."""
    name = model.description.name
    pinned = context.get(pinned_version_key(name, version), decode_pinned_version)
    if pinned is not None:
        return pinned
    _, current = get_version_before(context, name)
    spec = model.description.spec
    shapes = {tensor.name: tensor.shape for tensor in current.tensors}
    # A model that grew in this very block has its old parameters on record until the block ends.
    if current.version != version or shapes != get_family(spec.family).shapes(spec):
        raise TransactionFailedError(
            "version_not_held",
            f"only the version in force, {current.version}, and versions that have an alias can be"
            f" named or gone back to, not {version}",
        )
    return PinnedVersion(1, model.description.spec, current)


def _require_growth(context: ExecutionContext, model: Model) -> None:
    policy = GROWTH_POLICIES[model.description.policies.growth]
    if policy == "fixed":
        raise TransactionFailedError(
            "cannot_grow", f"model {model.description.name!r} was created as fixed"
        )
    if policy == "owner":
        require_owner(context, model)
    require_role(context, context.sender, context.parameters.contribute_roles)


SET_ALIAS: Final = SetAliasKind()
REVERT_MODEL: Final = RevertModelKind()
EXTEND_MODEL: Final = ExtendModelKind()
