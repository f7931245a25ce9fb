"""A network under a running load, checked as a whole when the load ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from node.local_network import ValidatorProcess
from node.storage.keystore import load_private_key
from tests.helpers.local_network import get_height, get_json, wait_for, wait_for_height
from tests.processes.cabled_network import ACCOUNTS, CabledNetwork, run_cabled_network
from tests.processes.faulty_network import FaultyNetwork
from tests.processes.invariants import (
    PATIENCE_S,
    assert_logs_clean,
    assert_nothing_lost,
    assert_one_history,
)
from tests.processes.registers import Clients

__all__ = ["LoadedNetwork", "get_stillness_ms", "run_loaded_network", "run_under_load"]

N = TypeVar("N", bound=FaultyNetwork)

WRITERS = 3
BLOCKS_A_STEP = 6


@dataclass(slots=True)
class LoadedNetwork(Generic[N]):
    """Validators, their connections, and clients at work."""

    network: N
    clients: Clients
    expected_lines: list[str]
    """Texts whose lines in the logs are no accusation in this test."""
    is_finished: bool = False

    @property
    def validators(self) -> list[ValidatorProcess]:
        """In the order of the genesis."""
        return self.network.validators

    def wait_for_progress(
        self, of: Sequence[ValidatorProcess] | None = None, blocks: int = BLOCKS_A_STEP
    ) -> None:
        """Wait until each of some validators, else all, made more blocks final."""
        for validator in self.validators if of is None else of:
            before = wait_for(partial(get_height, validator), validator.name, PATIENCE_S)
            wait_for_height(validator, before + blocks, PATIENCE_S)

    def wait_for_work(self, count: int = 5) -> None:
        """Wait until more transactions of clients became final."""
        wanted = len(self.clients.final) + count
        wait_for(lambda: len(self.clients.final) >= wanted, f"{wanted} final", PATIENCE_S)

    def signal(self, validator: ValidatorProcess, number: signal.Signals) -> None:
        """Send a signal to a node."""
        assert validator.process is not None
        validator.process.send_signal(number)

    def restart(self, validators: Sequence[ValidatorProcess]) -> None:
        """Start again what was killed, and wait until all answer that they are synced."""
        for validator in validators:
            validator.start()
        self.network.wait_until_ready(PATIENCE_S)

    def finish(self) -> None:
        """Heal, see everything go on, end the load, and check everything that is promised."""
        if self.is_finished:
            return
        self.network.heal()
        self.wait_for_progress()
        self.wait_for_work()
        self.clients.stop()
        assert_one_history(self.validators, max(self.clients.final.values()))
        assert_nothing_lost(self.validators, self.clients)
        self.clients.check()
        assert self.clients.carried, "no client read anything"
        assert_logs_clean(self.validators, self.expected_lines)
        self.is_finished = True

    def get_leader(self, of: ValidatorProcess) -> int:
        """Return who leads, as one validator sees it."""
        name = wait_for(lambda: get_json(of.url, "/api/v1/consensus")["leader"], "a leader")
        return [each.name for each in self.validators].index(name)


@contextmanager
def run_under_load(network: N) -> Iterator[LoadedNetwork[N]]:
    """Let clients work on a network meanwhile, and check everything that is promised in the end."""
    folder = network.validators[0].home.root.parent / "accounts"
    keys = [load_private_key(folder / f"{name}.json") for name in ACCOUNTS[: WRITERS + 1]]
    clients = Clients([each.url for each in network.validators], keys)
    loaded = LoadedNetwork(network, clients, [])
    clients.start()
    try:
        loaded.wait_for_work()
        yield loaded
        loaded.finish()
    finally:
        clients.stop()


@contextmanager
def run_loaded_network(
    folder: Path, *, validators: int = 4
) -> Iterator[LoadedNetwork[CabledNetwork]]:
    """Start validators in namespaces, and clients."""
    with (
        run_cabled_network(folder, validators=validators) as network,
        run_under_load(network) as loaded,
    ):
        yield loaded


def get_stillness_ms(validators: Sequence[ValidatorProcess]) -> int:
    """Return for how long no validator has made a block final."""
    reports = [get_json(each.url, "/api/v1/consensus") for each in validators]
    return min(int(report["final"]["age_ms"]) for report in reports)
