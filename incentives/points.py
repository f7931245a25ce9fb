"""Points: contributions earn karma and nothing else; no money moves.

The first refund or report that is right about a sample ends it.
"""

from __future__ import annotations

from incentives.book import Book
from incentives.eligibility import check_claimable, select_refundable, select_reportable
from incentives.mechanism import ClaimEvent, Outcome, RefundEvent, ReportEvent
from incentives.terms import Terms, refuse_weight

__all__ = ["Points"]


class Points:
    """The mechanism ``points``."""

    name = "points"

    def check(self, terms: Terms) -> None:
        """Refuse a price; raises ``invalid_incentive``."""
        refuse_weight(terms)

    def compute_price(self, _terms: Terms, _seconds_since_update: int) -> int:
        """Return 0: points cost nothing."""
        return 0

    def refund(self, terms: Terms, book: Book, event: RefundEvent) -> Outcome:
        """Validate the samples that the model agrees with: one point of karma each."""
        valid = select_refundable(terms, book, event)
        return Outcome(book.close(valid), paid=0, samples=valid, karma=valid.bit_count())

    def report(self, terms: Terms, book: Book, event: ReportEvent) -> Outcome:
        """Close the samples that the model disagrees with: one point of karma each."""
        bad = select_reportable(terms, book, event)
        return Outcome(book.close(bad), paid=0, samples=bad, karma=bad.bit_count())

    def claim(self, terms: Terms, book: Book, event: ClaimEvent) -> Outcome:
        """Close what is left; there is nothing to be had."""
        check_claimable(terms, book, event)
        return Outcome(book.close(book.open_samples), paid=0, samples=0, karma=0)
