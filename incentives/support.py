"""Voluntary fees: whoever found a model useful pays, and its validated contributors share it.

Nothing depends on such a payment; prediction above all does not. A payment is shared in proportion
to validated samples in one step, however many contributors there are: the pot remembers what one
validated sample has been paid so far, and each account what it was when that account was settled.

Invariants: (U1) what accounts are owed, together, is at most what the pot holds; (U2) what was
collected is at most what was paid in. What the roundings leave over stays in the pot: *dust*.
Source: docs/spec/incentives.md §5.6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

__all__ = ["PAID_MAX", "SupportPot", "SupportShare", "collect", "pay_in", "settle"]

PAID_MAX: Final = (1 << 63) - 1
_FRACTION_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class SupportPot:
    """The voluntary fees of one model.

    Parameters
    ----------
    per_sample
        What one validated sample has been paid since the first payment, Q64.
    held
        Money that was not collected yet.
    paid
        Money ever paid in; counts to ``PAID_MAX`` and no further.
    """

    per_sample: int = 0
    held: int = 0
    paid: int = 0


@dataclass(frozen=True, slots=True)
class SupportShare:
    """What one account is owed.

    Parameters
    ----------
    per_sample
        The pot's, when this account was settled last.
    owed
        Money, whole units.
    """

    per_sample: int = 0
    owed: int = 0


def pay_in(pot: SupportPot, amount: int, total_valid: int) -> SupportPot:
    """Return the pot after a payment.

    Parameters
    ----------
    amount
        What is paid, at least 1.
    total_valid
        Validated samples of everybody on the model, at least 1.
    """
    return SupportPot(
        pot.per_sample + (amount << _FRACTION_BITS) // total_valid,
        pot.held + amount,
        min(pot.paid + amount, PAID_MAX),
    )


def settle(pot: SupportPot, share: SupportShare, valid: int) -> SupportShare:
    """Return a share brought up to date; to be done before the account's count changes.

    Parameters
    ----------
    valid
        The account's validated samples on the model since it was settled last.
    """
    earned = (pot.per_sample - share.per_sample) * valid >> _FRACTION_BITS
    return SupportShare(pot.per_sample, share.owed + earned)


def collect(pot: SupportPot, share: SupportShare) -> tuple[SupportPot, SupportShare, int]:
    """Return pot and share after what is owed was paid out, and how much that is."""
    left = replace(pot, held=pot.held - share.owed)
    return left, replace(share, owed=0), share.owed
