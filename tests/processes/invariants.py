"""What must hold on every validator after any fault: one history, nothing lost, nobody accused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from node.local_network import ValidatorProcess
from quorate.client import Client
from tests.helpers.local_network import get_height, get_json, wait_for_height
from tests.processes.registers import Clients

__all__ = ["assert_logs_clean", "assert_nothing_lost", "assert_one_history"]

PATIENCE_S = 180.0
BLOCKS_MEANWHILE_MAX = 10_000
ACCUSATIONS = ("broke a vote rule", "alarm ", "consensus stops", "door stops", "task broke")


def get_history(validator: ValidatorProcess, up_to: int) -> dict[int, tuple[str, str]]:
    """Return block and state root at every height from 1 on."""
    with Client(validator.url) as client:
        # The list is newest first and grows meanwhile.
        blocks = client.blocks(limit=up_to + BLOCKS_MEANWHILE_MAX)
    history = {each.height: (each.block_id, each.state_root) for each in blocks}
    return {height: history[height] for height in range(1, up_to + 1)}


def assert_one_history(validators: Sequence[ValidatorProcess], at_least: int) -> int:
    """Wait until all are at a height; compare blocks and state roots below; return how many."""
    for validator in validators:
        wait_for_height(validator, at_least, PATIENCE_S)
    lowest = min(get_height(validator) for validator in validators)
    first = get_history(validators[0], lowest)
    for validator in validators[1:]:
        history = get_history(validator, lowest)
        differing = [height for height in first if history[height] != first[height]]
        assert not differing, f"{validator.name} differs at heights {differing}"
    return lowest


def assert_nothing_lost(validators: Iterable[ValidatorProcess], clients: Clients) -> None:
    """Ask every validator for everything that a client was told to be final."""
    for validator in validators:
        for transaction_id, height in clients.final.items():
            found = get_json(validator.url, f"/api/v1/transactions/{transaction_id}")
            assert (found["status"], found["height"]) == ("ok", height), validator.name


def assert_logs_clean(validators: Iterable[ValidatorProcess], expected: Sequence[str] = ()) -> None:
    """Find no evidence, alarm or broken task in the logs, but for lines with an expected text."""
    for validator in validators:
        for line in validator.home.log_file.read_text(errors="replace").splitlines():
            if any(text in line for text in expected):
                continue
            assert not any(text in line for text in ACCUSATIONS), f"{validator.name}: {line}"
