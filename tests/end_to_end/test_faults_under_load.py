"""Validators killed with -9 under load: what was final stays final, nobody signs twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from node.local_network import LocalNetwork
from node.storage.keystore import load_private_key
from quorate.client import Client
from quorate.errors import ClientError
from tests.helpers.local_network import get_height, get_roots, run_network, wait_for_height

MODEL = "shared"
BATCH, FEATURES, CLASSES = 16, 8, 3
CONTRIBUTIONS_BEFORE_A_FAULT = 5


class Load:
    """A contributor that keeps sending through one validator, whatever happens to it."""

    def __init__(self, url: str, key_file: Path) -> None:
        self.client = Client(url, private_key=load_private_key(key_file))
        self.final: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        random = np.random.default_rng(5)
        while not self._stop.is_set():
            features = random.random((BATCH, FEATURES))
            labels = random.integers(0, CLASSES, BATCH)
            try:
                done = self.client.contribute(MODEL, features, labels)
            except ClientError:
                # The node is away; the client has asked again already.
                self._stop.wait(0.2)
                continue
            assert done.height is not None
            self.final[done.transaction_id] = done.height


@contextmanager
def loaded_network(folder: Path, through: int) -> Iterator[tuple[LocalNetwork, Load]]:
    with run_network(folder, idle_interval_ms=500) as network:
        load = Load(network.validators[through].url, folder / "accounts" / "alice.json")
        names = [str(number) for number in range(CLASSES)]
        load.client.create_model(
            MODEL, family="averaged_perceptron", feature_count=FEATURES, class_names=names
        )
        load.start()
        try:
            yield network, load
        finally:
            load.stop()


def wait_for_contributions(load: Load, count: int) -> None:
    wanted = len(load.final) + count
    pause = threading.Event()
    for _ in range(1_200):
        if len(load.final) >= wanted:
            return
        pause.wait(0.05)
    raise AssertionError(f"{len(load.final)} of {wanted} contributions became final")


def assert_nothing_lost_and_nobody_signed_twice(network: LocalNetwork, load: Load) -> None:
    height = max(load.final.values())
    for validator in network.validators:
        wait_for_height(validator, height)
        client = Client(validator.url)
        for transaction_id, final_height in load.final.items():
            transaction = client.transaction(transaction_id)
            assert (transaction.status, transaction.height) == ("ok", final_height)
        log = validator.home.log_file.read_text()
        assert "broke a vote rule" not in log
        assert "alarm" not in log
    lowest = min(get_height(validator) for validator in network.validators)
    roots = [get_roots(validator, lowest) for validator in network.validators]
    assert all(each == roots[0] for each in roots)


@pytest.mark.slow
def test_learning_goes_on_while_each_validator_in_turn_is_killed(tmp_path: Path) -> None:
    with loaded_network(tmp_path / "net", through=3) as (network, load):
        for victim in network.validators[:3]:
            wait_for_contributions(load, CONTRIBUTIONS_BEFORE_A_FAULT)
            victim.kill()
            wait_for_contributions(load, CONTRIBUTIONS_BEFORE_A_FAULT)
            victim.start()
            network.wait_until_ready()
        wait_for_contributions(load, CONTRIBUTIONS_BEFORE_A_FAULT)
        load.stop()
        assert_nothing_lost_and_nobody_signed_twice(network, load)


@pytest.mark.slow
def test_learning_goes_on_after_all_validators_are_killed_at_once(tmp_path: Path) -> None:
    with loaded_network(tmp_path / "net", through=0) as (network, load):
        for _ in range(2):
            wait_for_contributions(load, CONTRIBUTIONS_BEFORE_A_FAULT)
            for validator in network.validators:
                validator.kill()
            network.start()
            network.wait_until_ready()
        wait_for_contributions(load, CONTRIBUTIONS_BEFORE_A_FAULT)
        load.stop()
        assert_nothing_lost_and_nobody_signed_twice(network, load)
