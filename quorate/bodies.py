"""Bodies of the transactions that a client sends, as the ledger reads them.

The ledger's own classes for models and contributions live beside their execution and load compiled
kernels with it, for which a client that only signs has no use. The tests hold these to those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.model_policies import DETECTORS, DRIFT_POLICIES, GROWTH_POLICIES, ModelPolicies
from ledger.model_records import decode_description
from ml_runtime.encoders import Encoder, ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.spec import make_spec
from primitives.accounts import account_from_text
from primitives.codec import INTEGER_MAX, INTEGER_MIN, Encodable, decode, encode
from primitives.errors import InvalidInputError

__all__ = [
    "ADVANCE_CAMPAIGN",
    "ADVANCE_EXCHANGE",
    "CLAIM",
    "COLLECT_SUPPORT",
    "COMMIT_VALIDATION",
    "CONTRIBUTE",
    "CREATE_MODEL",
    "DRAW_SAMPLES",
    "EVALUATE_MODEL",
    "EXTEND_MODEL",
    "FINISH_UPLOAD",
    "LEAVE_VALIDATORS",
    "OPEN_CAMPAIGN",
    "OPEN_EXCHANGE",
    "PROPOSE",
    "REFUND",
    "REPORT",
    "REPORT_EVIDENCE",
    "REQUEST_MEMBERSHIP",
    "REVEAL_MODEL",
    "REVERT_MODEL",
    "ROTATE_ACCOUNT_KEY",
    "ROTATE_VALIDATOR_KEY",
    "SET_ALIAS",
    "SET_COMMISSION",
    "SHOW_EXCHANGE_PIECE",
    "SHOW_PIECE",
    "SHOW_VALIDATION",
    "STAKE",
    "SUBMIT_MODEL",
    "SUPPORT_MODEL",
    "TRANSFER",
    "UNSTAKE",
    "UPDATE_MEMBER",
    "UPDATE_TENSORS",
    "UPLOAD_PART",
    "VOTE",
    "WITHDRAW_PROPOSAL",
    "WITHDRAW_STAKE",
    "Incentive",
    "ModelDefinition",
    "Policies",
    "check_integers",
    "make_create_model",
    "make_encoder",
    "make_transfer",
]

TRANSFER: Final = 1
CREATE_MODEL: Final = 2
CONTRIBUTE: Final = 3
REFUND: Final = 4
REPORT: Final = 5
CLAIM: Final = 6
PROPOSE: Final = 7
ROTATE_VALIDATOR_KEY: Final = 8
REPORT_EVIDENCE: Final = 9
VOTE: Final = 10
WITHDRAW_PROPOSAL: Final = 11
LEAVE_VALIDATORS: Final = 12
UPDATE_MEMBER: Final = 13
REQUEST_MEMBERSHIP: Final = 14
ROTATE_ACCOUNT_KEY: Final = 15
SET_ALIAS: Final = 16
REVERT_MODEL: Final = 17
EXTEND_MODEL: Final = 18
UPLOAD_PART: Final = 19
FINISH_UPLOAD: Final = 20
UPDATE_TENSORS: Final = 21
COMMIT_VALIDATION: Final = 22
SHOW_VALIDATION: Final = 23
EVALUATE_MODEL: Final = 24
DRAW_SAMPLES: Final = 25
OPEN_EXCHANGE: Final = 29
SUBMIT_MODEL: Final = 30
REVEAL_MODEL: Final = 31
SHOW_EXCHANGE_PIECE: Final = 32
ADVANCE_EXCHANGE: Final = 33
STAKE: Final = 34
UNSTAKE: Final = 35
WITHDRAW_STAKE: Final = 36
SET_COMMISSION: Final = 37
SUPPORT_MODEL: Final = 38
COLLECT_SUPPORT: Final = 39
OPEN_CAMPAIGN: Final = 26
SHOW_PIECE: Final = 27
ADVANCE_CAMPAIGN: Final = 28

MESSAGE_BYTES_MAX: Final = 1024 * 1024

DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Incentive:
    """What a model promises for contributions.

    Parameters
    ----------
    mechanism : ``points`` (karma alone) or ``deposit_refund_take``.
    weight : scales the deposit of a sample; 0 takes no money.
    refund_wait_ms : from then on the contributor can take back, and others can report.
    owner_wait_ms : from then on the model's owner can claim what is left.
    any_wait_ms : from then on anybody can.
    sponsored_samples_max : for so many samples of a contributor may somebody else pay the deposit.
    karma_price : money that a point of karma stands in for as a deposit; 0 if none does.
    karma_percent_max : at most so much of a sample's deposit may be karma.
    karma_half_life_ms : karma on the model halves in so much time; 0 if it lasts.
    voluntary_fee : what people may pay who found the model useful; nothing depends on it.
    """

    mechanism: str = "points"
    weight: int = 0
    refund_wait_ms: int = DAY_MS
    owner_wait_ms: int = 7 * DAY_MS
    any_wait_ms: int = 9 * DAY_MS
    sponsored_samples_max: int = 1_000
    karma_price: int = 0
    karma_percent_max: int = 0
    karma_half_life_ms: int = 0
    voluntary_fee: int = 0

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return [
            self.mechanism,
            self.weight,
            self.refund_wait_ms,
            self.owner_wait_ms,
            self.any_wait_ms,
            self.sponsored_samples_max,
            self.karma_price,
            self.karma_percent_max,
            self.karma_half_life_ms,
            self.voluntary_fee,
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What an owner decides about a model's life.

    Parameters
    ----------
    growth : who may add classes and features: ``fixed`` (nobody), ``owner`` or ``contributors``.
    detector : what watches for drift: ``none``, ``ddm`` or ``page_hinkley``.
    drift : what happens on a drift: ``note``, ``decay``, ``fork`` or ``revert``.
    decay_shift : with ``decay``, all sums keep (2^shift - 1) / 2^shift of what they were.
    checkpoint_interval : the parameters of every so-manieth version are stored.
    versions_kept : how many of the newest versions can be asked for; 0 means all.
    """

    growth: str = "fixed"
    detector: str = "none"
    drift: str = "note"
    decay_shift: int = 1
    checkpoint_interval: int = 1
    versions_kept: int = 0

    def to_record(self) -> ModelPolicies:
        """Return them as the ledger keeps them; raises ``malformed`` for an unknown name."""
        return ModelPolicies(
            growth=_place_of(self.growth, GROWTH_POLICIES, "growth"),
            detector=_place_of(self.detector, DETECTORS, "detector"),
            drift=_place_of(self.drift, DRIFT_POLICIES, "drift"),
            decay_shift=self.decay_shift,
            checkpoint_interval=self.checkpoint_interval,
            versions_kept=self.versions_kept,
        )


def _place_of(name: str, names: tuple[str, ...], field: str) -> int:
    if name not in names:
        raise InvalidInputError(
            "malformed",
            f"policies.{field} must be one of {', '.join(names)}, found {name!r}",
            field=f"policies.{field}",
            value=name,
            limit=", ".join(names),
        )
    return names.index(name)


def make_transfer(recipient: str, amount: int) -> list[Encodable]:
    """Return the body of a transfer; raises `InvalidInputError` for what is no account."""
    return [account_from_text(recipient), amount]


def make_encoder(scale: float, offset: float) -> ScaleEncoder:
    """Return the encoder that multiplies by a scale and adds an offset."""
    return ScaleEncoder(scale=round(scale * ONE), offset=round(offset * ONE))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefinition:
    """What :meth:`quorate.Client.create_model` makes a model from; its parameters are there."""

    name: str
    family: str
    feature_count: int
    class_names: Sequence[str]
    layout: str
    parameters: Mapping[str, int]
    encoder: Encoder
    incentive: Incentive
    description: str
    licence: str
    guidelines: str
    groups: Sequence[str] = ()
    tensors: Mapping[str, tuple[int, ...]] | None = None
    policies: Policies | None = None


def make_create_model(definition: ModelDefinition) -> list[Encodable]:
    """Return the body that creates a model.

    Raises
    ------
    InvalidInputError
        A field is malformed or out of range; whether the family can compute the model exactly is
        for the node to say.
    """
    spec = make_spec(
        definition.family,
        definition.layout,
        definition.feature_count,
        len(definition.class_names),
        definition.parameters,
        definition.tensors,
    )
    body: list[Encodable] = [
        definition.name,
        definition.description,
        spec.to_fields(),
        list(definition.class_names),
        definition.encoder.to_fields(),
        definition.incentive.to_fields(),
        definition.licence,
        definition.guidelines,
        list(definition.groups),
        (definition.policies or Policies()).to_record().to_fields(),
    ]
    # Read as the ledger will read it, so that a mistake is named before anything is sent.
    decode_description(decode(encode(body), bytes_max=MESSAGE_BYTES_MAX))
    return body


def check_integers(body: Sequence[Encodable]) -> None:
    """Refuse a number that no transaction can carry, before anything is signed.

    Raises
    ------
    InvalidInputError
        ``out_of_range``.

    Examples
    --------
    >>> check_integers(["cup", [1, 2**64 - 1]])
    """
    for value in body:
        if isinstance(value, int) and not INTEGER_MIN <= value <= INTEGER_MAX:
            raise InvalidInputError(
                "out_of_range",
                f"a number in a transaction must lie in [{INTEGER_MIN}, {INTEGER_MAX}],"
                f" found one of {value.bit_length()} bits",
                field="body",
                limit=INTEGER_MAX,
            )
        if isinstance(value, list | tuple):
            check_integers(value)
