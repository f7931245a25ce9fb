"""The governed parameters: limits and prices that every validator must agree on.

They start in the genesis file, live in the state under ``chain/parameters`` and travel as a fixed
order of integers. Source: docs/spec/ledger.md §8.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from primitives.codec import decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader

__all__ = [
    "Parameters",
    "check_parameter",
    "decode_parameters",
    "get_limits",
    "parameters_from_mapping",
]

_ENCODED_BYTES_MAX: Final = 512

DAY_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Parameters:
    """Limits and prices of one network.

    Parameters
    ----------
    block_bytes_max : wire bytes of a block's body, payloads included.
    transactions_per_block_max : transactions in one block.
    compute_units_per_block_max : metered units in one block; what exceeds them is void.
    compute_units_per_account_max : metered units of one sender in one block, its quota.
    envelope_bytes_max : bytes of one envelope.
    payload_bytes_max : bytes of one payload.
    samples_per_contribution_max : samples in one contribution.
    expiry_window_max : how many heights ahead a transaction may stay valid.
    fee_per_byte : price of a byte of envelope or payload, in the smallest unit of money.
    fee_per_compute_unit : price of a metered unit, in the smallest unit of money.
    unfinal_blocks_max : above so many unfinal blocks, only empty blocks are valid.
    wait_ms_max : longest wait that a model's incentive may ask for, in milliseconds.
    epoch_length : heights in an epoch; fixed with the genesis, since heights are counted by it.
    proposal_expiry_blocks : so many heights after its creation a proposal can be voted on.
    members_threshold_percent : yes votes that a change of members needs, of all validators.
    parameters_threshold_percent : the same for a change of parameters.
    upgrade_threshold_percent : the same for a change of the protocol.
    suspension_threshold_percent : the same for a suspension and for its end.
    issuance_per_epoch : money made at the end of an epoch for the validators that decided it.
    contribute_roles : who may contribute: accounts with one of these roles; 0 means everybody.
    create_model_roles : the same for creating models.
    unbonding_epochs : a stake that is taken back is paid out so many epochs later; more than the
        epochs for which evidence is taken.
    slash_percent : of a stake, taken for a broken vote rule.
    slash_reporter_percent : of what is taken, paid to whoever brought the evidence; the rest burns.
    stake_reward_percent : of an epoch's reward, shared by blocks proposed times stake; the rest is
        shared by blocks proposed alone.
    karma_half_life_ms : karma over all models halves in so much time; 0 if it lasts for ever.
    """

    block_bytes_max: int = 1024 * 1024
    transactions_per_block_max: int = 2_000
    compute_units_per_block_max: int = 400_000_000
    compute_units_per_account_max: int = 200_000_000
    envelope_bytes_max: int = 32 * 1024
    payload_bytes_max: int = 512 * 1024
    samples_per_contribution_max: int = 1_024
    expiry_window_max: int = 100_000
    fee_per_byte: int = 0
    fee_per_compute_unit: int = 0
    unfinal_blocks_max: int = 8
    wait_ms_max: int = 3_650 * DAY_MS
    epoch_length: int = 1_000
    proposal_expiry_blocks: int = 10_000
    members_threshold_percent: int = 67
    parameters_threshold_percent: int = 67
    upgrade_threshold_percent: int = 67
    suspension_threshold_percent: int = 51
    issuance_per_epoch: int = 0
    contribute_roles: int = 0
    create_model_roles: int = 0
    unbonding_epochs: int = 7
    slash_percent: int = 10
    slash_reporter_percent: int = 10
    stake_reward_percent: int = 50
    karma_half_life_ms: int = 0

    def epoch_of(self, height: int) -> int:
        """Return the epoch of the block at a height; the genesis block counts as of epoch 0."""
        return max(height - 1, 0) // self.epoch_length

    def epoch_end(self, epoch: int) -> int:
        """Return the height of an epoch's last block."""
        return (epoch + 1) * self.epoch_length

    def decision_height(self, epoch: int) -> int:
        """Return the height at which the validators of the epoch after `epoch` are settled.

        It lies as many blocks before the end as may be unfinal, so that a proposer of the last
        block has, as a rule, seen it become final.
        """
        return max(self.epoch_end(epoch) - self.unfinal_blocks_max, epoch * self.epoch_length + 1)

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.values())

    def values(self) -> tuple[int, ...]:
        """Return the integers in their fixed order."""
        return tuple(getattr(self, name) for name in _NAMES)

    def to_mapping(self) -> dict[str, int]:
        """Return name → value, as the genesis file shows them."""
        return dict(zip(_NAMES, self.values(), strict=True))


_NAMES: Final = tuple(field.name for field in fields(Parameters))

# Above two thirds and a bit, the third of the validators that may be faulty could block every
# decision for ever; below a half, two contrary decisions could both pass.
_THRESHOLD: Final = (51, 67)

_ROLES: Final = (0, 15)

_PERCENT: Final = (0, 100)

# Upper bounds: an allocation, or a product with a price, must stay within what the rest can hold,
# and a block within a message. Lower bounds: every vote must fit into a block, or nobody could ever
# decide to raise them again.
_LIMITS: Final[Mapping[str, tuple[int, int]]] = {
    "block_bytes_max": (64 * 1024, 7 * 1024 * 1024),
    "transactions_per_block_max": (1, 100_000),
    "compute_units_per_block_max": (2_000_000, COUNTER_MAX),
    "compute_units_per_account_max": (2_000_000, COUNTER_MAX),
    "envelope_bytes_max": (8 * 1024, 1024 * 1024),
    "payload_bytes_max": (1024, 1024 * 1024),
    "samples_per_contribution_max": (1, 65_536),
    "expiry_window_max": (20, COUNTER_MAX),
    "fee_per_byte": (0, 2**31),
    "fee_per_compute_unit": (0, 2**31),
    "unfinal_blocks_max": (1, 1_024),
    "epoch_length": (2, COUNTER_MAX),
    "proposal_expiry_blocks": (1, COUNTER_MAX),
    "members_threshold_percent": _THRESHOLD,
    "parameters_threshold_percent": _THRESHOLD,
    "upgrade_threshold_percent": _THRESHOLD,
    "suspension_threshold_percent": _THRESHOLD,
    "issuance_per_epoch": (0, 2**40),
    "contribute_roles": _ROLES,
    "create_model_roles": _ROLES,
    "unbonding_epochs": (3, 10_000),
    "slash_percent": _PERCENT,
    "slash_reporter_percent": _PERCENT,
    "stake_reward_percent": _PERCENT,
}
_NO_LIMIT: Final = (0, COUNTER_MAX)


def decode_parameters(data: bytes) -> Parameters:
    """Return the parameters whose canonical bytes are `data`.

    Raises
    ------
    InvalidInputError
        ``too_large``, ``malformed``, ``not_canonical`` or ``out_of_range``.
    """
    value = decode(data, bytes_max=_ENCODED_BYTES_MAX, depth_max=1)
    reader = FieldReader(value, "parameters", len(_NAMES))
    read = {name: reader.integer(name, *_LIMITS.get(name, _NO_LIMIT)) for name in _NAMES}
    reader.end()
    return Parameters(**read)


def parameters_from_mapping(mapping: Mapping[str, object]) -> Parameters:
    """Return the parameters of a genesis file; what is not named keeps its default.

    Raises
    ------
    InvalidInputError
        ``malformed`` for an unknown name or a value that is not an integer, ``out_of_range``.
    """
    for name, value in mapping.items():
        if type(value) is not int:
            raise InvalidInputError(
                "malformed",
                f"parameters.{name} must be an integer, found {value!r}",
                field=f"parameters.{name}",
                value=value,
            )
        check_parameter(name, value)
    return Parameters(**{name: value for name, value in mapping.items() if type(value) is int})


def get_limits(name: str) -> tuple[int, int]:
    """Return the lowest and the highest value that a parameter may have."""
    return _LIMITS.get(name, _NO_LIMIT)


def check_parameter(name: str, value: int) -> None:
    """Check that there is a parameter of this name and that it may have this value.

    Raises
    ------
    InvalidInputError
        ``malformed`` for an unknown name, ``out_of_range``.
    """
    if name not in _NAMES:
        raise InvalidInputError(
            "malformed",
            f"parameters.{name} is not a parameter; known are {', '.join(_NAMES)}",
            field=f"parameters.{name}",
        )
    low, high = get_limits(name)
    if not low <= value <= high:
        raise InvalidInputError(
            "out_of_range",
            f"parameters.{name} must lie in [{low}, {high}], found {value}",
            field=f"parameters.{name}",
            value=value,
            limit=high if value > high else low,
        )
