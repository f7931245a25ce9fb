"""What every mechanism asks before it pays: is it time, is anything left, does the model agree."""

from __future__ import annotations

from incentives.book import Book
from incentives.mechanism import ClaimEvent, RefundEvent, RefusedError, ReportEvent
from incentives.terms import Terms

__all__ = ["check_claimable", "select_refundable", "select_reportable"]


def select_refundable(terms: Terms, book: Book, event: RefundEvent) -> int:
    """Return the set of samples that a refund validates; at least one.

    Raises
    ------
    RefusedError
        ``too_early``, ``already_claimed`` or ``model_disagrees``.
    """
    _check_time(event.elapsed_ms, terms.refund_wait_ms)
    asked = event.samples & book.open_samples
    if not asked:
        raise RefusedError("already_claimed", "nothing is left on the samples that were asked for")
    valid = asked & event.agreed
    if not valid:
        raise RefusedError(
            "model_disagrees",
            f"the model disagrees with all {asked.bit_count()} open samples that were asked for",
        )
    return valid


def select_reportable(terms: Terms, book: Book, event: ReportEvent) -> int:
    """Return the set of samples that a report is right about; at least one.

    Raises
    ------
    RefusedError
        ``own_contribution``, ``too_early``, ``already_claimed`` or ``model_agrees``.
    """
    if event.is_contributor:
        raise RefusedError("own_contribution", "nobody can report a contribution of its own")
    _check_time(event.elapsed_ms, terms.refund_wait_ms)
    asked = event.samples & book.open_samples & ~book.reported_by(event.reporter)
    if not asked:
        raise RefusedError(
            "already_claimed", "nothing is left on these samples, or you reported them already"
        )
    bad = asked & ~event.agreed
    if not bad:
        raise RefusedError(
            "model_agrees", f"the model agrees with all {asked.bit_count()} samples reported"
        )
    return bad


def check_claimable(terms: Terms, book: Book, event: ClaimEvent) -> None:
    """Check that what is left may be taken by whoever asks.

    Raises
    ------
    RefusedError
        ``already_claimed``, ``too_early``, or ``not_owner`` between the two waits.
    """
    if not book.open_samples:
        raise RefusedError("already_claimed", "nothing is left of this contribution")
    if event.elapsed_ms >= terms.any_wait_ms:
        return
    if event.is_owner:
        _check_time(event.elapsed_ms, terms.owner_wait_ms)
    elif event.elapsed_ms >= terms.owner_wait_ms:
        raise RefusedError(
            "not_owner",
            f"until {terms.any_wait_ms} ms have passed only the model's owner can claim;"
            f" {event.elapsed_ms} ms have",
        )
    else:
        _check_time(event.elapsed_ms, terms.any_wait_ms)


def _check_time(elapsed_ms: int, wait_ms: int) -> None:
    if elapsed_ms < wait_ms:
        raise RefusedError(
            "too_early",
            f"{elapsed_ms} ms have passed since the contribution, the wait is {wait_ms} ms",
        )
