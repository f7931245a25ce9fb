"""What a model promises for contributions: which mechanism, what it costs, how long it waits."""

from __future__ import annotations

from dataclasses import dataclass

from primitives.errors import InvalidInputError

__all__ = ["WEIGHT_MAX", "Terms", "check_terms"]

WEIGHT_MAX = 1 << 48
"""Largest weight: price, samples and 3,600 together stay below 2^63."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one model.

    Parameters
    ----------
    mechanism
        ``points`` or ``deposit_refund_take``.
    weight
        Scales the price of a sample; 0 takes no money and still validates.
    refund_wait_ms
        From then on the contributor can take back, and others can report.
    owner_wait_ms
        From then on the model's owner can claim what is left.
    any_wait_ms
        From then on anybody can.
    """

    mechanism: str
    weight: int
    refund_wait_ms: int
    owner_wait_ms: int
    any_wait_ms: int


def check_terms(terms: Terms, *, wait_ms_max: int) -> None:
    """Check ranges and the order of the waits.

    Raises
    ------
    InvalidInputError
        ``invalid_incentive``, with the field, its value and the limit.
    """
    if not 0 <= terms.weight <= WEIGHT_MAX:
        raise _invalid("weight", terms.weight, WEIGHT_MAX)
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
    if terms.mechanism == "points" and terms.weight:
        raise InvalidInputError(
            "invalid_incentive",
            f"incentive.weight must be 0 for points, found {terms.weight}",
            field="incentive.weight",
            value=terms.weight,
            limit=0,
        )


def _invalid(name: str, value: int, limit: int) -> InvalidInputError:
    return InvalidInputError(
        "invalid_incentive",
        f"incentive.{name} must lie in [0, {limit}], found {value}",
        field=f"incentive.{name}",
        value=value,
        limit=limit,
    )
