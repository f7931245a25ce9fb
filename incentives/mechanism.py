"""The one interface of all incentive mechanisms.

A mechanism is pure: terms, a book and an event go in, a new book and payouts come out, all
integers. It knows neither accounts' balances nor models; who the contributor is, what the model
says and how much time has passed are facts of the event. A newcomer adds a mechanism in one file
and lists it in ``incentives.registry``. Source: docs/spec/incentives.md §1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from incentives.book import Book
from incentives.terms import Terms
from primitives.errors import QuorateError

__all__ = ["ClaimEvent", "Mechanism", "Outcome", "RefundEvent", "RefusedError", "ReportEvent"]


class RefusedError(QuorateError):
    """A refund, report or claim has no right to anything; nothing changes.

    Parameters
    ----------
    code
        Stable: ``too_early``, ``already_claimed``, ``model_disagrees``, ``model_agrees``,
        ``own_contribution``, ``no_valid_contributions``, ``not_owner``, ``too_many_reporters``.
    message
        For people, with the value and the limit.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class RefundEvent:
    """The contributor asks for its deposit.

    Parameters
    ----------
    samples
        Set of samples asked for.
    agreed
        Set of samples on which the model agrees with the contributor now.
    elapsed_ms
        Since the contribution.
    """

    samples: int
    agreed: int
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class ReportEvent:
    """Somebody says that samples are bad.

    Parameters
    ----------
    reporter
        Its account.
    is_contributor
        Whether it reports itself.
    samples, agreed, elapsed_ms
        As in :class:`RefundEvent`.
    own_valid, total_valid
        Validated samples of the reporter, and of everybody, on this model.
    """

    reporter: bytes
    is_contributor: bool
    samples: int
    agreed: int
    elapsed_ms: int
    own_valid: int
    total_valid: int


@dataclass(frozen=True, slots=True)
class ClaimEvent:
    """Somebody asks for what is left after the last waits."""

    is_owner: bool
    elapsed_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an event led to.

    Parameters
    ----------
    book
        Afterwards.
    paid
        To whoever acted, in the smallest unit; exactly what the book holds less than before.
    samples
        Set of samples that counted: validated, or found bad.
    karma
        Points for whoever acted.
    """

    book: Book
    paid: int
    samples: int
    karma: int


class Mechanism(Protocol):
    """How contributions to a model are priced, refunded and reported."""

    @property
    def name(self) -> str:
        """Name in a model's terms."""

    def check(self, terms: Terms) -> None:
        """Check what only this mechanism asks of terms; raises ``invalid_incentive``."""

    def compute_price(self, terms: Terms, seconds_since_update: int) -> int:
        """Return the deposit for one sample, in the smallest unit."""

    def refund(self, terms: Terms, book: Book, event: RefundEvent) -> Outcome:
        """Return what the contributor gets back; raises :class:`RefusedError`."""

    def report(self, terms: Terms, book: Book, event: ReportEvent) -> Outcome:
        """Return what a reporter gets; raises :class:`RefusedError`."""

    def claim(self, terms: Terms, book: Book, event: ClaimEvent) -> Outcome:
        """Return what is left; raises :class:`RefusedError`."""
