"""What a sample is vouched for with: money, and karma in place of a part of it if the terms say so.

Source: docs/spec/incentives.md §5.5.
"""

from __future__ import annotations

from incentives.terms import PERCENT, Terms

__all__ = ["split_price"]


def split_price(terms: Terms, price: int, karma_max: int) -> tuple[int, int]:
    """Return how much money and how many points of karma a sample puts in.

    Parameters
    ----------
    terms
        Of the model: what a point stands in for, and how much of a price may be points.
    price
        Of the sample, in the smallest unit.
    karma_max
        Points that the contributor is willing to stake on it.

    Examples
    --------
    >>> split_price(Terms("", 0, 0, 0, 0, karma_price=30, karma_percent_max=50), 200, 9)
    (110, 3)
    """
    if terms.karma_price == 0:
        return price, 0
    most = price * terms.karma_percent_max // PERCENT // terms.karma_price
    points = min(karma_max, most)
    return price - points * terms.karma_price, points
