"""What a model promises its contributors, as rows that people read."""

from __future__ import annotations

from quorate.bodies import DAY_MS, Incentive
from quorate.client import PRICE_PER_WEIGHT_MAX

__all__ = ["describe_duration", "describe_terms"]

HOUR_MS = 3_600_000


def describe_terms(terms: Incentive) -> list[tuple[str, str]]:
    """Return name and sentence of each term.

    Examples
    --------
    >>> describe_terms(Incentive())[0]
    ('incentive', 'points: karma alone, samples cost nothing')
    """
    waits = (terms.refund_wait_ms, terms.owner_wait_ms, terms.any_wait_ms)
    refund, owner, anybody = (describe_duration(wait) for wait in waits)
    return [
        ("incentive", _describe_mechanism(terms)),
        ("waits", f"refund {refund}, owner {owner}, anybody {anybody}"),
        ("karma", _describe_karma(terms)),
        ("sponsors", _describe_sponsors(terms)),
        ("support", _describe_support(terms)),
    ]


def describe_duration(milliseconds: int) -> str:
    """Return a time in days, hours or seconds, whichever it is whole in.

    Examples
    --------
    >>> [describe_duration(each) for each in (172_800_000, 7_200_000, 1_500)]
    ['2 days', '2 h', '1.5 s']
    """
    days, rest = divmod(milliseconds, DAY_MS)
    if days and not rest:
        return "1 day" if days == 1 else f"{days:,} days"
    if milliseconds and milliseconds % HOUR_MS == 0:
        return f"{milliseconds // HOUR_MS} h"
    return f"{milliseconds / 1000:g} s"


def _describe_mechanism(terms: Incentive) -> str:
    if terms.mechanism == "points":
        return "points: karma alone, samples cost nothing"
    if terms.mechanism != "deposit_refund_take":
        return f"{terms.mechanism}: contributions are collected, valued and paid in campaigns"
    highest = terms.weight * PRICE_PER_WEIGHT_MAX
    return (
        f"deposit_refund_take, weight {terms.weight}: a deposit of up to {highest:,} for a sample,"
        " less the longer nobody contributed"
    )


def _describe_karma(terms: Incentive) -> str:
    half_life = terms.karma_half_life_ms
    fading = f"halves in {describe_duration(half_life)}" if half_life else "never fades"
    if not terms.karma_price:
        return f"{fading}, and cannot stand in for deposits"
    return (
        f"{fading}; a point stands in for {terms.karma_price:,} of a deposit, for at most"
        f" {terms.karma_percent_max} % of it"
    )


def _describe_sponsors(terms: Incentive) -> str:
    if not terms.sponsored_samples_max:
        return "may pay nobody's deposits"
    return f"may pay deposits of {terms.sponsored_samples_max:,} samples of each contributor"


def _describe_support(terms: Incentive) -> str:
    if not terms.voluntary_fee:
        return "no voluntary fee is suggested"
    return f"a voluntary fee of {terms.voluntary_fee:,} is suggested"
