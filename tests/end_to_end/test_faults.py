"""Real validators, killed with -9 and brought back: nothing final is lost, everybody agrees."""

from pathlib import Path

import pytest

from node.local_network import LocalNetwork
from tests.helpers.local_network import (
    get_height,
    get_json,
    get_roots,
    run_network,
    wait_for,
    wait_for_height,
)

PROGRESS = 3


def assert_same_roots(network: LocalNetwork) -> None:
    lowest = min(get_height(validator) for validator in network.validators)
    roots = [get_roots(validator, lowest) for validator in network.validators]
    assert all(each == roots[0] for each in roots)


def is_voting(validator_index: int, network: LocalNetwork) -> bool:
    """Say whether a validator signed one of the last commit certificates."""
    other = network.validators[(validator_index + 1) % len(network.validators)]
    height = get_height(other)
    block = get_json(other.url, f"/api/v1/blocks/{height}")
    return validator_index in block["certificate"]["signers"]


@pytest.mark.slow
def test_network_goes_on_without_one_validator_which_catches_up_and_votes_again(
    tmp_path: Path,
) -> None:
    with run_network(tmp_path / "net", idle_interval_ms=300) as network:
        first, *others = network.validators
        wait_for_height(others[0], 2)
        first.kill()
        before = get_height(others[0])
        wait_for_height(others[0], before + PROGRESS)
        first.start()
        wait_for_height(first, before + PROGRESS)
        wait_for(lambda: is_voting(0, network), "the restarted validator's vote")
        assert_same_roots(network)


@pytest.mark.slow
def test_nothing_final_is_lost_when_all_validators_are_killed_at_once(tmp_path: Path) -> None:
    with run_network(tmp_path / "net", idle_interval_ms=300) as network:
        wait_for_height(network.validators[0], PROGRESS)
        before = get_height(network.validators[0])
        roots = get_roots(network.validators[0], before)
        for validator in network.validators:
            validator.kill()
        network.start()
        network.wait_until_ready()
        for validator in network.validators:
            wait_for_height(validator, before + PROGRESS)
            assert get_roots(validator, before) == roots
        assert_same_roots(network)
