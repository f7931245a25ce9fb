"""A settlement that does not add up stops the node."""

from __future__ import annotations

import pytest

from incentives.accounting import verify_settlement
from primitives.errors import InvariantViolationError


def test_settlement_that_adds_up_passes() -> None:
    verify_settlement(10, [3, 0], returned=6, burnt=1)


@pytest.mark.parametrize(("payouts", "returned"), [([3, 4], 4), ([3, 4], 2), ([12, -2], 0)])
def test_settlement_that_makes_or_loses_or_takes_money_stops(payouts, returned: int) -> None:
    with pytest.raises(InvariantViolationError, match="a settlement of 10"):
        verify_settlement(10, payouts, returned=returned)
