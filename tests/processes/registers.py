"""Clients that write and read counters over REST while faults happen, and what they may have seen.

A register is an account that nobody holds the key of: its balance starts at zero and only transfers
change it. Writers, each with an account and a validator of its own, send it distinct powers of two;
after `ADDITIONS_MAX` of them the next register begins, so that histories stay short.

A transfer is *confirmed* when a validator answered that it is final; anything else, a refusal too,
counts as of unknown outcome. All clients share one number, the *seen height*: the highest height
that a confirmation or a read showed to anybody. That is what clients need to carry between them:

- a *carried* read notes the seen height when it begins, asks its node until that shows a state of
  at least this height, and moves the seen height up to that of its answer;
- a *bare* read takes what its node has.

Checked are: carried reads and all writes of a register together are linearizable; what one reader
was told by one node, bare, never goes back, in height or in total, over restarts of the node too.
"""

from __future__ import annotations

import random
import threading
import time
import urllib.error
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from primitives.accounts import account_id_from_public_key, account_to_text
from primitives.keys import PrivateKey
from quorate.client import Client
from quorate.errors import ClientError
from tests.helpers.local_network import get_json
from tests.processes.linearizability import (
    NEVER,
    Addition,
    Observation,
    Operation,
    find_step_back,
    is_linearizable,
)

__all__ = ["Clients"]

ADDITIONS_MAX = 16
PAUSE_S = 0.1
WAIT_S = 30.0
MODEL = "shared"
FEATURES, CLASSES, BATCH = 8, 3, 16


@dataclass(slots=True)
class Register:
    """One account and everything that was done to it."""

    account: str
    additions: int = 0
    history: list[Operation] = field(default_factory=list)
    bare: defaultdict[tuple[int, str], list[tuple[int, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """Height and total, by reader and node, in the order in which they were told."""


def make_register(seed: int) -> Register:
    """Return a register that nobody has paid yet."""
    key = PrivateKey(seed.to_bytes(32, "big"))
    return Register(account_to_text(account_id_from_public_key(key.public_key)))


class Clients:
    """All clients of one run, each a thread.

    Parameters
    ----------
    urls
        Of the validators.
    keys
        Of accounts with money: one for each writer, and the last for the contributor.
    seed
        Decides which reader asks whom.
    """

    def __init__(self, urls: Sequence[str], keys: Sequence[PrivateKey], seed: int = 1) -> None:
        self.final: dict[str, int] = {}
        """Transactions that somebody was told to be final, and at which height."""
        self.contributions = 0
        self.carried = 0
        self._urls = list(urls)
        self._keys = list(keys)
        self._seed = seed
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._seen_height = 0
        self._registers = [make_register(1)]
        self._failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, readers: int = 2) -> None:
        """Create the model and start all clients."""
        client = Client(self._urls[-1], private_key=self._keys[-1])
        names = [str(number) for number in range(CLASSES)]
        client.create_model(
            MODEL, family="averaged_perceptron", feature_count=FEATURES, class_names=names
        )
        works: list[Callable[[], None]] = [partial(self._contribute, client)]
        for index, key in enumerate(self._keys[:-1]):
            works.append(partial(self._write, self._urls[index % len(self._urls)], key))
        works += [partial(self._read, number) for number in range(readers)]
        self._threads = [threading.Thread(target=self._guard, args=(work,)) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all clients; raises what broke one of them."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def check(self) -> None:
        """Raise ``AssertionError`` for a history that one counter cannot have."""
        for register in self._registers:
            assert is_linearizable(register.history), register.history
            for (reader, url), told in register.bare.items():
                for column, what in enumerate(("height", "total")):
                    place = find_step_back([each[column] for each in told])
                    assert place is None, f"{what} of {url} to {reader}: {told[: place + 1]}"

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            while not self._stop.is_set():
                work()
                self._stop.wait(PAUSE_S)
        except BaseException as error:
            self._failures.append(error)
            raise

    def _write(self, url: str, key: PrivateKey) -> None:
        with Client(url, private_key=key) as client:
            while not self._stop.is_set():
                self._add_once(client)
                self._stop.wait(PAUSE_S)

    def _add_once(self, client: Client) -> None:
        with self._lock:
            if self._registers[-1].additions == ADDITIONS_MAX:
                self._registers.append(make_register(len(self._registers) + 1))
            register = self._registers[-1]
            amount = 1 << register.additions
            register.additions += 1
        began, ended = time.monotonic(), NEVER
        try:
            sent = client.transfer(register.account, amount, wait=False)
            done = client.wait(sent.transaction_id, timeout_s=WAIT_S)
        except ClientError:
            pass  # the node is away, or the chain stands still
        else:
            ended = time.monotonic()
            assert done.height is not None
            self._note_final(done.transaction_id, done.height)
        with self._lock:
            register.history.append(Addition(began, ended, amount))

    def _note_final(self, transaction_id: str, height: int) -> None:
        with self._lock:
            self.final[transaction_id] = height
            self._seen_height = max(self._seen_height, height)

    def _contribute(self, client: Client) -> None:
        chance = np.random.default_rng(len(self.final))
        features = chance.random((BATCH, FEATURES))
        try:
            done = client.contribute(MODEL, features, chance.integers(0, CLASSES, BATCH))
        except ClientError:
            return
        assert done.height is not None
        self._note_final(done.transaction_id, done.height)
        self.contributions += 1

    def _read(self, number: int) -> None:
        chance = random.Random(f"{self._seed}/{number}/{time.monotonic()}")
        with self._lock:
            register = chance.choice(self._registers[-2:])
        url = chance.choice(self._urls)
        try:
            self._read_bare(number, url, register)
            self._read_carried(chance.choice(self._urls), register)
        except (OSError, urllib.error.URLError):
            return  # the node is away

    def _read_bare(self, number: int, url: str, register: Register) -> None:
        told = register.bare[number, url]
        told.append(self._ask(url, register))

    def _read_carried(self, url: str, register: Register) -> None:
        with self._lock:
            least = self._seen_height
        began = time.monotonic()
        while not self._stop.is_set():
            height, total = self._ask(url, register)
            if height >= least:
                with self._lock:
                    self._seen_height = max(self._seen_height, height)
                    register.history.append(Observation(began, time.monotonic(), total))
                    self.carried += 1
                return
            self._stop.wait(PAUSE_S)

    @staticmethod
    def _ask(url: str, register: Register) -> tuple[int, int]:
        body = get_json(url, f"/api/v1/accounts/{register.account}")
        return int(body["height"]), int(body["balance"])
