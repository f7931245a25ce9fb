"""The numbers of the protocol."""

from __future__ import annotations

import pytest

from consensus.parameters import Parameters
from primitives.errors import InvalidInputError
from tests.helpers.consensus import make_parameters


def test_timeouts_grow_by_half_to_the_cap() -> None:
    parameters = make_parameters(view_timeout_ms=1_000, timeout_max_ms=10_000)
    timeouts = [parameters.compute_timeout_ms(failures) for failures in range(9)]
    assert timeouts[:3] == [1_000, 1_501, 2_252]
    assert timeouts == sorted(timeouts)
    assert timeouts[-1] == 10_000
    assert parameters.compute_timeout_ms(10**9) == 10_000


def test_the_smallest_timeout_grows_too() -> None:
    parameters = make_parameters(view_timeout_ms=1, timeout_max_ms=100)
    assert parameters.compute_timeout_ms(64) == 100


@pytest.mark.parametrize(
    "changes",
    [
        {"view_timeout_ms": 0},
        {"idle_limit_ms": 0},
        {"timeout_max_ms": 999},
        {"retransmit_max_ms": 1},
        {"timestamp_precision_ms": -1},
        {"body_bytes_max": 5 * 1024 * 1024},
        {"epoch": -1},
    ],
)
def test_a_number_out_of_range_is_refused_by_name(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        make_parameters(**changes)
    assert refusal.value.field == next(iter(changes))


def test_a_chain_id_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        Parameters(b"short", bytes(32))
