"""Measures what a fault costs: absent leaders, a lost quorum, a killed validator, catching up.

Four validators on loopback, all on one machine. Latency is that of one client that sends a transfer
once the one before is final. A transfer *met an absent leader* if its block's view does not follow
that of the block before. Every figure is the median and the worst of several repetitions.

    python benchmarks/recovery.py [--repetitions 5] [--outage 60] [--blocks 2000]
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from node.local_network import LocalNetwork, ValidatorProcess
from node.storage.keystore import load_private_key
from primitives.keys import PrivateKey
from quorate.client import Client
from tests.helpers.local_network import (
    get_height,
    get_json,
    run_network,
    wait_for,
)

BASE_TIMEOUT_MS = 150
IDLE_INTERVAL_MS = 100
LATENCY_SAMPLES = 40
PATIENCE_S = 300.0
BLOCKS_BEHIND_MAX = 3


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    what: str
    values: Sequence[float]
    unit: str

    def print(self) -> None:
        """Print median and worst."""
        median, worst = statistics.median(self.values), max(self.values)
        print(f"{self.what:<62} {median:>9.3f} {worst:>9.3f}  {self.unit}  n={len(self.values)}")


def measure_latencies(client: Client, recipient: str, count: int) -> list[tuple[float, int]]:
    """Return seconds until each transfer was known to be final, and its height."""
    found = []
    for _ in range(count):
        started = time.perf_counter()
        height = client.transfer(recipient, 1).height
        assert height is not None
        found.append((time.perf_counter() - started, height))
    return found


def find_failed_views(client: Client, lowest: int) -> dict[int, int]:
    """Return how many views failed before each block above a height."""
    blocks = client.blocks(limit=client.status().height - lowest + 2)
    views = {each.height: each.view for each in blocks}
    return {
        height: view - views[height - 1] - 1
        for height, view in views.items()
        if height - 1 in views
    }


def measure_without_leader(
    network: LocalNetwork,
    client: Client,
    recipient: str,
    take: Callable[[ValidatorProcess], None],
    give_back: Callable[[ValidatorProcess], None],
) -> tuple[list[float], list[float]]:
    """Return latencies of transfers with all validators, and of those that met an absent leader."""
    victim = network.validators[3]
    usual = [seconds for seconds, _ in measure_latencies(client, recipient, LATENCY_SAMPLES)]
    take(victim)
    absent = measure_latencies(client, recipient, 3 * LATENCY_SAMPLES)
    give_back(victim)
    network.wait_until_ready()
    failed = find_failed_views(client, absent[0][1])
    return usual, [seconds for seconds, height in absent if failed.get(height) == 1]


def send_signal(number: signal.Signals) -> Callable[[ValidatorProcess], None]:
    def send(validator: ValidatorProcess) -> None:
        assert validator.process is not None
        validator.process.send_signal(number)

    return send


def wait_for_block_above(validator: ValidatorProcess, height: int) -> float:
    """Return seconds until a validator shows a higher block."""
    started = time.perf_counter()
    wait_for(lambda: get_height(validator) > height, "a block", PATIENCE_S)
    return time.perf_counter() - started


def measure_outage(network: LocalNetwork, seconds: float) -> float:
    """Kill two of four, wait, start them; return seconds from a quorum's connection to a block."""
    first, _, *lost = network.validators
    for validator in lost:
        validator.kill()
    time.sleep(seconds)
    height = get_height(first)
    for validator in lost:
        validator.start()
    wait_for(lambda: any(is_connected(first, each) for each in lost), "a quorum", PATIENCE_S)
    took = wait_for_block_above(first, height)
    network.wait_until_ready()
    return took


def is_connected(observer: ValidatorProcess, other: ValidatorProcess) -> bool:
    report = get_json(observer.url, "/api/v1/consensus")
    return any(each["name"] == other.name and each["is_connected"] for each in report["validators"])


def measure_return(network: LocalNetwork, victim: int) -> float:
    """Kill a validator; return seconds from its start until another shows its vote."""
    validator, observer = network.validators[victim], network.validators[(victim + 1) % 4]
    validator.kill()
    height = get_height(observer)
    wait_for(lambda: get_height(observer) > height + 10, "blocks meanwhile", PATIENCE_S)
    started = time.perf_counter()
    validator.start()

    def has_voted() -> bool:
        now = get_height(observer)
        block = get_json(observer.url, f"/api/v1/blocks/{now}")
        return victim in block["certificate"]["signers"]

    height = get_height(observer)
    wait_for(lambda: get_height(observer) > height and has_voted(), "its vote", PATIENCE_S)
    took = time.perf_counter() - started
    network.wait_until_ready()
    return took


@contextmanager
def saturate(network: LocalNetwork, keys: Sequence[PrivateKey], recipient: str) -> Iterator[None]:
    """Let clients send transfers meanwhile, each the next one once the last is final."""
    stop = threading.Event()

    def send(client: Client) -> None:
        while not stop.is_set():
            client.transfer(recipient, 1)

    url = network.validators[0].url
    threads = [threading.Thread(target=send, args=(Client(url, private_key=key),)) for key in keys]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def make_blocks(observer: ValidatorProcess, blocks: int) -> float:
    """Wait until a chain has grown; return blocks a second."""
    height, started = get_height(observer), time.perf_counter()
    wait_for(lambda: get_height(observer) >= height + blocks, "blocks", 3_600)
    return (get_height(observer) - height) / (time.perf_counter() - started)


def catch_up(
    validator: ValidatorProcess, observer: ValidatorProcess, first: int
) -> tuple[float, float]:
    """Start a validator; return blocks a second that it gets, and that the chain makes meanwhile.

    The clock starts with its process: blocks are fetched before its API answers at all. The more
    blocks it was away for, the less the seconds weigh that any start takes.

    Parameters
    ----------
    first
        The height that it had when it was killed.
    """
    chain_first, started = get_height(observer), time.perf_counter()
    validator.start()
    wait_for(
        lambda: get_height(validator) >= get_height(observer) - BLOCKS_BEHIND_MAX,
        "a validator that has caught up",
        PATIENCE_S,
    )
    took = time.perf_counter() - started
    return (get_height(validator) - first) / took, (get_height(observer) - chain_first) / took


def print_catching_up(
    network: LocalNetwork, keys: Sequence[PrivateKey], recipient: str, blocks: int
) -> None:
    validator, observer = network.validators[2], network.validators[0]
    first = get_height(validator)
    validator.kill()
    with saturate(network, keys, recipient):
        rate = make_blocks(observer, blocks)
    quiet, _ = catch_up(validator, observer, first)
    network.wait_until_ready()
    first = get_height(validator)
    validator.kill()
    with saturate(network, keys, recipient):
        make_blocks(observer, blocks)
        busy, meanwhile = catch_up(validator, observer, first)
    Figure(f"saturated chain of three, {blocks} blocks", [rate], "blocks/s").print()
    Figure("catching up, clients at rest", [quiet], "blocks/s").print()
    Figure("catching up ÷ saturated chain", [quiet / rate], "").print()
    Figure("catching up, clients at work", [busy], "blocks/s").print()
    Figure("chain meanwhile", [meanwhile], "blocks/s").print()


def print_leaders(network: LocalNetwork, client: Client, recipient: str) -> None:
    two_deltas = 2 * BASE_TIMEOUT_MS / 1_000
    cases = (
        ("dead", ValidatorProcess.kill, ValidatorProcess.start),
        ("stopped", send_signal(signal.SIGSTOP), send_signal(signal.SIGCONT)),
    )
    for name, take, give_back in cases:
        usual, absent = measure_without_leader(network, client, recipient, take, give_back)
        Figure("transfer to final, all validators", usual, "s").print()
        Figure(f"transfer to final, met a {name} leader", absent, "s").print()
        extra = [(each - statistics.median(usual)) / two_deltas for each in absent]
        Figure(f"extra, met a {name} leader, in units of 2Δ", extra, "2Δ").print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds without a quorum")
    parser.add_argument("--blocks", type=int, default=2_000, help="blocks to be away for")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "network"
        with run_network(
            place, idle_interval_ms=IDLE_INTERVAL_MS, base_timeout_ms=BASE_TIMEOUT_MS
        ) as network:
            key = load_private_key(place / "accounts" / "alice.json")
            other = load_private_key(place / "accounts" / "bob.json")
            with Client(network.validators[0].url, private_key=key) as client:
                recipient = Client(network.validators[0].url, private_key=other).account().account
                print(f"{'':<62} {'median':>9} {'worst':>9}")
                print_leaders(network, client, recipient)
            returns = [measure_return(network, index % 3) for index in range(options.repetitions)]
            Figure("killed validator, start of its process to its vote", returns, "s").print()
            short = [measure_outage(network, 5.0) for _ in range(options.repetitions)]
            Figure("quorum lost for 5 s, connected again to first block", short, "s").print()
            if options.outage:
                long = [measure_outage(network, options.outage)]
                Figure(f"the same, lost for {options.outage:g} s", long, "s").print()
            print_catching_up(network, [key, other], recipient, options.blocks)


if __name__ == "__main__":
    main()
