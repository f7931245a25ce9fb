"""Numbers of members and indices of validators lead to each other."""

from __future__ import annotations

import pytest

from node.seats import Seats

SEATS = Seats([4, 0, 7])


@pytest.mark.parametrize(("number", "index"), [(4, 0), (0, 1), (7, 2), (1, 4), (2, 5), (9, 12)])
def test_member_has_its_index_or_one_that_no_validator_has(number: int, index: int) -> None:
    assert SEATS.index_of(number) == index


@pytest.mark.parametrize("number", range(12))
def test_number_comes_back(number: int) -> None:
    assert SEATS.number_of(SEATS.index_of(number)) == number
