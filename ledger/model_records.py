"""What the state says of a model: what it is and how far it has come.

What never changes and what changes with every contribution are two records, so that a contribution
rewrites the small one alone. Source: docs/spec/ledger.md §5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from incentives.terms import WEIGHT_MAX, Terms
from ledger.model_policies import DEFAULT_POLICIES, ModelPolicies, decode_policies
from ledger.schema import read_record
from ml_runtime.encoders import Encoder, decode_encoder
from ml_runtime.spec import CLASSES_MAX, ModelSpec, decode_spec
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader

__all__ = [
    "LOSS_SUM_MAX",
    "MODEL_PREFIX",
    "Model",
    "ModelDescription",
    "ModelProgress",
    "check_class_count",
    "check_model_name",
    "decode_description",
    "decode_model",
    "decode_model_progress",
    "model_key",
    "model_progress_key",
    "read_names",
]

MODEL_PREFIX: Final = b"model/"
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
DESCRIPTION_BYTES_MAX: Final = 1024
LICENCE_BYTES_MAX: Final = 256
GUIDELINES_BYTES_MAX: Final = 4096
CLASS_NAME_BYTES_MAX: Final = 64
GROUPS_MAX: Final = 256
LOSS_SUM_MAX: Final = 1 << 62
MECHANISM_BYTES_MAX: Final = 64


def model_key(name: str) -> bytes:
    """Return the state key of what a model is."""
    return MODEL_PREFIX + name.encode()


def model_progress_key(name: str) -> bytes:
    """Return the state key of how far a model has come."""
    return b"progress/" + name.encode()


def check_model_name(name: str) -> None:
    """Refuse what cannot name a model; raises ``malformed``."""
    if NAME.fullmatch(name) is None:
        raise InvalidInputError(
            "malformed",
            f"model name must be 1 to 63 of a-z, 0-9 and -, not beginning with -, found {name!r}",
            field="model.name",
            value=name,
        )


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What the owner says a model is; never changes.

    Parameters
    ----------
    name
        Also its identifier: ``[a-z0-9][a-z0-9-]{0,62}``.
    description
        For people, at most 1 KiB.
    spec
        Family and shape.
    class_names
        One for each class, distinct.
    encoder
        From people's numbers to the model's.
    terms
        Of its incentive.
    licence
        An SPDX expression, at most 256 bytes; under which contributions are made.
    guidelines
        What each class means, with examples, at most 4 KiB.
    groups
        Names of sites, regions or cohorts that a sample may say it is of, distinct, at most 256;
        accuracy is counted for each.
    policies
        How it may grow, what a drift does, which versions are kept.
    """

    name: str
    description: str
    spec: ModelSpec
    class_names: tuple[str, ...]
    encoder: Encoder
    terms: Terms
    licence: str
    guidelines: str
    groups: tuple[str, ...] = ()
    policies: ModelPolicies = DEFAULT_POLICIES

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        terms = self.terms
        return [
            self.name,
            self.description,
            self.spec.to_fields(),
            list(self.class_names),
            self.encoder.to_fields(),
            [
                terms.mechanism,
                terms.weight,
                terms.refund_wait_ms,
                terms.owner_wait_ms,
                terms.any_wait_ms,
                terms.sponsored_samples_max,
                terms.karma_price,
                terms.karma_percent_max,
                terms.karma_half_life_ms,
                terms.voluntary_fee,
            ],
            self.licence,
            self.guidelines,
            list(self.groups),
            self.policies.to_fields(),
        ]


def decode_description(value: Value) -> ModelDescription:
    """Return the description whose fields are ``value``.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range``, ``invalid_spec`` or ``invalid_encoder``.
    """
    reader = FieldReader(value, "model", 10)
    name = reader.text("name", 64)
    check_model_name(name)
    description = reader.text("description", DESCRIPTION_BYTES_MAX)
    spec = decode_spec(reader.value())
    class_names = read_names(reader.array("class_names", CLASSES_MAX), "class_names")
    check_class_count(class_names, spec.class_count)
    encoder = _read_encoder(reader.value(), spec.feature_count)
    terms = _decode_terms(reader.value())
    licence = reader.text("licence", LICENCE_BYTES_MAX)
    guidelines = reader.text("guidelines", GUIDELINES_BYTES_MAX)
    groups = read_names(reader.array("groups", GROUPS_MAX), "groups")
    policies = decode_policies(reader.value())
    reader.end()
    return ModelDescription(
        name,
        description,
        spec,
        class_names,
        encoder,
        terms,
        licence,
        guidelines,
        groups,
        policies,
    )


def _read_encoder(value: Value, feature_count: int) -> Encoder:
    encoder = decode_encoder(value)
    made = encoder.feature_count()
    # Such a model could be created and would then refuse every sample.
    if made not in (None, feature_count):
        raise InvalidInputError(
            "invalid_encoder",
            f"model.encoder makes {made} features, the model takes {feature_count}",
            field="model.encoder",
            value=made,
            limit=feature_count,
        )
    return encoder


def read_names(values: list[Value], field: str) -> tuple[str, ...]:
    """Return names of classes or groups; raises ``malformed`` if two are the same."""
    reader = FieldReader(values, f"model.{field}", len(values))
    names = tuple(reader.text(f"{index}", CLASS_NAME_BYTES_MAX) for index in range(len(values)))
    if len(set(names)) != len(names):
        raise InvalidInputError(
            "malformed", f"model.{field} must differ from each other", field=f"model.{field}"
        )
    return names


def check_class_count(names: tuple[str, ...], class_count: int) -> None:
    """Refuse another number of names than of classes; raises ``malformed``."""
    if len(names) != class_count:
        raise InvalidInputError(
            "malformed",
            f"model.class_names must name each of the {class_count} classes, found {len(names)}",
            field="model.class_names",
            value=len(names),
            limit=class_count,
        )


def _decode_terms(value: Value) -> Terms:
    reader = FieldReader(value, "incentive", 10)
    return Terms(
        mechanism=reader.text("mechanism", MECHANISM_BYTES_MAX),
        weight=reader.integer("weight", 0, WEIGHT_MAX),
        refund_wait_ms=reader.counter("refund_wait_ms"),
        owner_wait_ms=reader.counter("owner_wait_ms"),
        any_wait_ms=reader.counter("any_wait_ms"),
        sponsored_samples_max=reader.counter("sponsored_samples_max"),
        karma_price=reader.counter("karma_price"),
        karma_percent_max=reader.counter("karma_percent_max"),
        karma_half_life_ms=reader.counter("karma_half_life_ms"),
        voluntary_fee=reader.counter("voluntary_fee"),
    )


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was created.

    Parameters
    ----------
    owner
        Who created it.
    created_height, created_ms
        In which block, and its time.
    description
        What it is.
    """

    owner: AccountId
    created_height: int
    created_ms: int
    description: ModelDescription

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (self.owner, self.created_height, self.created_ms, self.description.to_fields())
        )


def decode_model(data: bytes) -> Model:
    """Return the model whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "model", 4)
    return Model(
        AccountId(reader.bytes("owner", ACCOUNT_ID_BYTES)),
        reader.counter("created_height"),
        reader.counter("created_ms"),
        decode_description(reader.value()),
    )


@dataclass(frozen=True, slots=True)
class ModelProgress:
    """How far a model has come.

    Parameters
    ----------
    last_update_ms
        Time of the block that changed its parameters last; creation at first.
    contributions
        How many there were; the number of the next one.
    samples
        Samples that it learnt.
    correct, judged
        Of the samples predicted before they were learnt: how many rightly, how many at all.
    valid
        Samples validated by a refund, of all contributors together.
    loss
        Losses of the samples judged, together: bits of surprise, squared errors or scores, Q16.
    """

    last_update_ms: int
    contributions: int = 0
    samples: int = 0
    correct: int = 0
    judged: int = 0
    valid: int = 0
    loss: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                self.last_update_ms,
                self.contributions,
                self.samples,
                self.correct,
                self.judged,
                self.valid,
                self.loss,
            )
        )


def decode_model_progress(data: bytes) -> ModelProgress:
    """Return the progress whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "progress", 7)
    return ModelProgress(
        last_update_ms=reader.counter("last_update_ms"),
        contributions=reader.counter("contributions"),
        samples=reader.counter("samples"),
        correct=reader.counter("correct"),
        judged=reader.counter("judged"),
        valid=reader.counter("valid"),
        loss=reader.integer("loss", -LOSS_SUM_MAX, LOSS_SUM_MAX),
    )
