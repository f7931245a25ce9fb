"""Mechanisms of models that learn from campaigns alone: what is paid, the campaign's rule says.

A contribution has no price and nothing is refunded, reported or claimed: stakes and bounty are the
campaign's (``incentives.valuation``).
"""

from __future__ import annotations

from typing import NoReturn

from incentives.book import Book
from incentives.mechanism import ClaimEvent, Outcome, RefundEvent, RefusedError, ReportEvent
from incentives.terms import Terms, refuse_weight

__all__ = ["CampaignMechanism"]


class CampaignMechanism:
    """The mechanisms ``prediction_market`` and ``contribution_pay``.

    Parameters
    ----------
    name
        Which of them.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, terms: Terms) -> None:
        """Refuse a price; raises ``invalid_incentive``."""
        refuse_weight(terms)

    def compute_price(self, _terms: Terms, _seconds_since_update: int) -> int:
        """Return 0: what goes with a contribution is the campaign's stake."""
        return 0

    def refund(self, _terms: Terms, _book: Book, _event: RefundEvent) -> Outcome:
        """Refuse; raises ``settled_by_campaign``."""
        self._refuse()

    def report(self, _terms: Terms, _book: Book, _event: ReportEvent) -> Outcome:
        """Refuse; raises ``settled_by_campaign``."""
        self._refuse()

    def claim(self, _terms: Terms, _book: Book, _event: ClaimEvent) -> Outcome:
        """Refuse; raises ``settled_by_campaign``."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RefusedError(
            "settled_by_campaign",
            f"contributions under {self.name} are paid when their campaign is settled",
        )
