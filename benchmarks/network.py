"""Measures how many transactions and samples a second there are, and how long until final.

Four validators on loopback, real signatures, fsync on, all on one machine, the load included.
Transactions are signed beforehand and submitted over REST by a few connections to each validator.

    python benchmarks/network.py [--transactions 4000] [--output text|json]
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ledger.payload import Payload
from ledger.transaction import Transaction, TransactionContent, build_transaction
from ml_runtime.samples import SparseSamples, encode_batch
from node.local_network import LocalNetwork
from node.storage.keystore import load_private_key
from primitives.accounts import account_id_from_public_key
from primitives.codec import Encodable
from primitives.keys import PrivateKey, verify_signature
from quorate.client import Client
from tests.helpers.local_network import (
    get_height,
    get_json,
    get_roots,
    run_network,
    wait_for,
)

ACCOUNTS = tuple(f"sender-{index}" for index in range(8))
FEATURES, ENTRIES, CLASSES = 1_000, 20, 2
REFERENCE_SAMPLES_PER_SECOND = 1_097
"""What the reference framework's contracts reach on one development chain, without consensus."""


@dataclass(slots=True)
class Sender:
    """An account that signs ahead of time."""

    key: PrivateKey
    chain_id: bytes
    nonce: int = 0

    def sign(self, kind: int, body: Sequence[Encodable], data: bytes | None = None) -> Transaction:
        """Return a transaction with the next nonce."""
        payload = None if data is None else Payload(os.urandom(32), data)
        content = TransactionContent(
            chain_id=self.chain_id,
            sender=account_id_from_public_key(self.key.public_key),
            nonce=self.nonce,
            valid_until_height=10_000,
            kind=kind,
            body=body,
        )
        self.nonce += 1
        return build_transaction(content, [self.key], payload)


def make_request(transaction: Transaction) -> bytes:
    fields = {"encoding": "base64", "envelope": base64.b64encode(transaction.raw).decode()}
    if transaction.payload is not None:
        fields["salt"] = base64.b64encode(transaction.payload.salt).decode()
        fields["payload"] = base64.b64encode(transaction.payload.data).decode()
    return json.dumps(fields).encode()


def submit_all(url: str, requests: Sequence[bytes]) -> None:
    """Submit one sender's transactions over one connection, again while the node is busy."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    headers = {"Content-Type": "application/json"}
    for body in requests:
        while True:
            connection.request("POST", "/api/v1/transactions", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status < 300:
                break
            if answer.status not in (429, 503) and b"sender_full" not in text:
                raise RuntimeError(f"{answer.status}: {text.decode()}")
            time.sleep(0.02)
    connection.close()


def run_load(
    network: LocalNetwork, batches: Sequence[Sequence[Transaction]]
) -> tuple[float, float]:
    """Submit, wait until all are final; return wall seconds and CPU seconds of all nodes."""
    requests = [[make_request(each) for each in batch] for batch in batches]
    urls = [validator.url for validator in network.validators]
    before = read_node_cpu(network)
    started = time.perf_counter()
    threads = [
        threading.Thread(target=submit_all, args=(urls[index % len(urls)], each))
        for index, each in enumerate(requests)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for batch in batches:
        last = batch[-1].transaction_id.hex()
        wait_for(lambda last=last: is_final(urls[0], last), "the last transaction", 120)
    return time.perf_counter() - started, read_node_cpu(network) - before


def is_final(url: str, transaction_id: str) -> bool:
    return get_json(url, f"/api/v1/transactions/{transaction_id}")["status"] != "pending"


def read_node_cpu(network: LocalNetwork) -> float:
    """Return CPU seconds of the node processes, without their API processes."""
    ticks = 0
    for validator in network.validators:
        if validator.process is None:
            continue
        fields = Path(f"/proc/{validator.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_verification() -> float:
    """Return microseconds of one Ed25519 verification, the median of five runs."""
    key = PrivateKey(bytes(32))
    message = bytes(200)
    signature = key.sign(message)
    runs = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(2_000):
            verify_signature(key.public_key, message, signature)
        runs.append((time.perf_counter() - started) / 2_000 * 1e6)
    return statistics.median(runs)


def measure_finality(client: Client, count: int) -> list[float]:
    """Return milliseconds from REST submit to final, one at a time on an idle network."""
    recipient = client.account().account
    times = []
    for _ in range(count):
        started = time.perf_counter()
        client.transfer(recipient, 1)
        times.append((time.perf_counter() - started) * 1e3)
    return times


def make_batch(random: np.random.Generator, samples: int) -> bytes:
    indices = np.concatenate(
        [np.sort(random.choice(FEATURES, ENTRIES, replace=False)) for _ in range(samples)]
    ).astype(np.int64)
    starts = np.arange(0, samples * ENTRIES + 1, ENTRIES, dtype=np.int64)
    values = np.full(samples * ENTRIES, 65_536, dtype=np.int64)
    labels = random.integers(0, CLASSES, samples).astype(np.int64)
    return encode_batch(SparseSamples(starts, indices, values, FEATURES), labels)


def measure_samples(
    network: LocalNetwork, senders: Sequence[Sender], batch_samples: int, transactions: int
) -> float:
    """Return committed samples a second for one size of batch."""
    random = np.random.default_rng(7)
    payloads = [make_batch(random, batch_samples) for _ in range(16)]
    each = max(1, transactions // len(senders))
    batches = [
        [
            sender.sign(3, ["sparse", 0, batch_samples], payloads[number % len(payloads)])
            for number in range(each)
        ]
        for sender in senders
    ]
    wall_s, _ = run_load(network, batches)
    return each * len(senders) * batch_samples / wall_s


def measure_network(folder: Path, transactions: int) -> dict[str, float | str]:
    """Return every figure by name."""
    rows: dict[str, float | str] = {}
    with run_network(folder, accounts=ACCOUNTS, idle_interval_ms=5_000) as network:
        url = network.validators[0].url
        chain_id = bytes.fromhex(str(get_json(url, "/api/v1/status")["chain_id"]))
        keys = [load_private_key(folder / "accounts" / f"{name}.json") for name in ACCOUNTS]
        client = Client(url, private_key=keys[0])
        times = sorted(measure_finality(client, 100))
        rows["finality on an idle network, p50, ms"] = round(times[50], 1)
        rows["finality on an idle network, p99, ms"] = round(times[98], 1)
        client.create_model(
            "sparse",
            family="averaged_perceptron",
            layout="sparse",
            feature_count=FEATURES,
            class_names=["no", "yes"],
        )
        senders = [Sender(key, chain_id) for key in keys]
        senders[0].nonce = client.account().nonce
        rows.update(measure_transfers(network, senders, transactions))
        best = 0.0
        for size, count in ((1, transactions // 2), (64, 800), (512, 160)):
            rate = measure_samples(network, senders, size, count)
            rows[f"samples a second, {size} in a transaction"] = round(rate)
            best = max(best, rate)
        ratio = best / REFERENCE_SAMPLES_PER_SECOND
        rows["best ÷ the reference framework's 1,097/s"] = round(ratio, 1)
        rows["state roots of the four equal"] = check_roots(network)
    return rows


def measure_transfers(
    network: LocalNetwork, senders: Sequence[Sender], transactions: int
) -> dict[str, float | str]:
    """Return throughput and CPU of transfers, the latter beside one signature verification."""
    recipient = account_id_from_public_key(senders[0].key.public_key)
    each = transactions // len(senders)
    batches = [[sender.sign(1, [recipient, 1]) for _ in range(each)] for sender in senders]
    wall_s, cpu_s = run_load(network, batches)
    count = each * len(senders)
    verification_us = measure_verification()
    per_transaction_us = cpu_s / count / len(network.validators) * 1e6
    return {
        "transfers a second": round(count / wall_s),
        "CPU of one node for a transfer, µs": round(per_transaction_us),
        "one Ed25519 verification, µs": round(verification_us, 1),
        "CPU for a transfer ÷ one verification": round(per_transaction_us / verification_us, 1),
    }


def check_roots(network: LocalNetwork) -> str:
    """Compare the state roots of all validators at every height that all have reached."""
    height = min(get_height(validator) for validator in network.validators)
    roots = [get_roots(validator, height) for validator in network.validators]
    return f"yes, 1 to {height}" if all(each == roots[0] for each in roots) else "NO"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transactions", type=int, default=4_000)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_network(Path(folder) / "net", options.transactions)
    if options.output == "json":
        print(json.dumps(rows, indent=2))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    for name, value in rows.items():
        print(f"{name:<48} {value:>14}")


if __name__ == "__main__":
    main()
