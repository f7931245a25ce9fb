"""Deposit, refund, take: contributors vouch for their samples with money.

The mechanism of Harris and Waggoner ("Decentralized & Collaborative AI on Blockchain", IEEE
Blockchain 2019), corrected: each sample of a batch stands alone, the owner's tier belongs to the
model's owner, weight 0 still validates, and who was first in a second does not matter.

The price of a sample falls with the square root of the time since the model's last update, so that
rapid changes are dear. While the model agrees with a sample its contributor can take the deposit
back; while it disagrees, others take it, each in proportion to its own validated samples.
"""

from __future__ import annotations

from math import isqrt

from incentives.book import Book, iterate_samples
from incentives.eligibility import check_claimable, select_refundable, select_reportable
from incentives.mechanism import ClaimEvent, Outcome, RefundEvent, RefusedError, ReportEvent
from incentives.terms import Terms

__all__ = ["REPORTERS_MAX", "DepositRefundTake"]

SECONDS_PER_HOUR = 3600
REPORTERS_MAX = 64
"""Accounts that may share one contribution's deposit, so that its book stays small."""


class DepositRefundTake:
    """The mechanism ``deposit_refund_take``."""

    name = "deposit_refund_take"

    def check(self, _terms: Terms) -> None:
        """Check nothing further."""

    def compute_price(self, terms: Terms, seconds_since_update: int) -> int:
        """Return floor(weight · 3600 / max(1, floor(√seconds))).

        Examples
        --------
        >>> hourly = Terms("deposit_refund_take", 1000, 0, 0, 0)
        >>> [DepositRefundTake().compute_price(hourly, seconds) for seconds in (0, 3, 4, 3600)]
        [3600000, 3600000, 1800000, 60000]
        """
        return terms.weight * SECONDS_PER_HOUR // max(1, isqrt(max(0, seconds_since_update)))

    def refund(self, terms: Terms, book: Book, event: RefundEvent) -> Outcome:
        """Pay back what is left on the samples that the model agrees with."""
        valid = select_refundable(terms, book, event)
        after = book.close(valid)
        return Outcome(after, book.held - after.held, valid, karma=valid.bit_count())

    def report(self, terms: Terms, book: Book, event: ReportEvent) -> Outcome:
        """Pay the reporter its share of each sample that the model disagrees with.

        The share is floor(deposit · own valid / total valid), or all that is left when that is 0
        or more than is left: the remainder of a division goes to the last claim.
        """
        bad = select_reportable(terms, book, event)
        if event.own_valid < 1:
            raise RefusedError(
                "no_valid_contributions",
                "a reporter needs at least one validated sample on this model",
            )
        known = dict(book.reporters)
        if event.reporter not in known and len(known) >= REPORTERS_MAX:
            raise RefusedError(
                "too_many_reporters",
                f"{len(known)} accounts share this deposit already, the most there can be",
            )
        share = book.share * event.own_valid // event.total_valid
        partial = dict(book.partial)
        taken: dict[int, int] = {}
        for sample in iterate_samples(bad):
            left = partial.get(sample, book.share)
            taken[sample] = share if 0 < share <= left else left
        after = book.note_report(event.reporter, bad).take(taken)
        return Outcome(after, book.held - after.held, bad, karma=bad.bit_count())

    def claim(self, terms: Terms, book: Book, event: ClaimEvent) -> Outcome:
        """Pay everything that is left to the owner or, later, to anybody."""
        check_claimable(terms, book, event)
        return Outcome(book.close(book.open_samples), book.held, samples=0, karma=0)
