"""What a model promises for contributions: which mechanism, what it costs, how long it waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from primitives.errors import InvalidInputError

__all__ = [
    "HALF_LIFE_MS_MIN",
    "KARMA_PRICE_MAX",
    "PERCENT",
    "SPONSORED_SAMPLES_MAX",
    "VOLUNTARY_FEE_MAX",
    "WEIGHT_MAX",
    "Terms",
    "check_terms",
    "refuse_weight",
]

WEIGHT_MAX: Final = 1 << 48
"""Largest weight: price, samples and 3,600 together stay below 2^63."""

SPONSORED_SAMPLES_MAX: Final = 1 << 32
KARMA_PRICE_MAX: Final = 1 << 40
VOLUNTARY_FEE_MAX: Final = 1 << 62
PERCENT: Final = 100

HALF_LIFE_MS_MIN: Final = 60_000
"""Karma that halves within less than a minute would be worth nothing when it could be used."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one model.

    Parameters
    ----------
    mechanism
        Name of one of ``incentives.registry.MECHANISMS``.
    weight
        Scales the price of a sample; 0 takes no money and still validates.
    refund_wait_ms
        From then on the contributor can take back, and others can report.
    owner_wait_ms
        From then on the model's owner can claim what is left.
    any_wait_ms
        From then on anybody can.
    sponsored_samples_max
        For so many samples of one contributor, over all time, may somebody else pay the deposit.
    karma_price
        Money that one point of karma on this model stands in for as a deposit; 0 if none does.
    karma_percent_max
        At most so much of a sample's deposit may be karma.
    karma_half_life_ms
        Karma on this model halves in so much time; 0 if it lasts for ever.
    voluntary_fee
        What the owner suggests that people pay who found the model useful; nothing depends on it.
    """

    mechanism: str
    weight: int
    refund_wait_ms: int
    owner_wait_ms: int
    any_wait_ms: int
    sponsored_samples_max: int = 1_000
    karma_price: int = 0
    karma_percent_max: int = 0
    karma_half_life_ms: int = 0
    voluntary_fee: int = 0


def check_terms(terms: Terms, *, wait_ms_max: int) -> None:
    """Check what every mechanism asks: ranges, the order of the waits, and no contradiction.

    Raises
    ------
    InvalidInputError
        ``invalid_incentive``, with the field, its value and the limit.
    """
    for name, limit in _LIMITS.items():
        value = getattr(terms, name)
        if not 0 <= value <= limit:
            raise _invalid(name, value, limit)
    waits = (terms.refund_wait_ms, terms.owner_wait_ms, terms.any_wait_ms)
    if not 0 <= waits[0] <= waits[1] <= waits[2] <= wait_ms_max:
        raise InvalidInputError(
            "invalid_incentive",
            f"incentive waits must ascend from refund to owner to any within [0, {wait_ms_max}]"
            f" ms, found {waits}",
            field="incentive.waits",
            value=str(waits),
            limit=wait_ms_max,
        )
    half_life = terms.karma_half_life_ms
    if half_life and not HALF_LIFE_MS_MIN <= half_life <= wait_ms_max:
        raise InvalidInputError(
            "invalid_incentive",
            f"incentive.karma_half_life_ms must be 0 or lie in [{HALF_LIFE_MS_MIN}, {wait_ms_max}],"
            f" found {half_life}",
            field="incentive.karma_half_life_ms",
            value=half_life,
            limit=HALF_LIFE_MS_MIN if half_life < HALF_LIFE_MS_MIN else wait_ms_max,
        )
    if (terms.karma_price == 0) != (terms.karma_percent_max == 0):
        raise InvalidInputError(
            "invalid_incentive",
            "incentive.karma_price and incentive.karma_percent_max must both be 0 or neither,"
            f" found {terms.karma_price} and {terms.karma_percent_max}",
            field="incentive.karma_price",
            value=terms.karma_price,
        )


def refuse_weight(terms: Terms) -> None:
    """Refuse terms with a price, for a mechanism under which samples cost nothing.

    Raises
    ------
    InvalidInputError
        ``invalid_incentive``.
    """
    for name in ("weight", "karma_price"):
        value = getattr(terms, name)
        if value:
            raise InvalidInputError(
                "invalid_incentive",
                f"incentive.{name} must be 0 for {terms.mechanism}, found {value}",
                field=f"incentive.{name}",
                value=value,
                limit=0,
            )


_LIMITS: Final = {
    "weight": WEIGHT_MAX,
    "sponsored_samples_max": SPONSORED_SAMPLES_MAX,
    "karma_price": KARMA_PRICE_MAX,
    "karma_percent_max": PERCENT,
    "voluntary_fee": VOLUNTARY_FEE_MAX,
}


def _invalid(name: str, value: int, limit: int) -> InvalidInputError:
    return InvalidInputError(
        "invalid_incentive",
        f"incentive.{name} must lie in [0, {limit}], found {value}",
        field=f"incentive.{name}",
        value=value,
        limit=limit,
    )
