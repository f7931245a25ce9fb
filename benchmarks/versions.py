"""Checks that every version of a model can be computed again, and measures what that takes.

Chains of contributions of digits run through the real executor into LevelDB, with nothing kept that
may go. Then each version there ever was is computed again from its checkpoint and the payloads on
disk, and its digest compared with the one on record: once in order, once in random order. A chain
for each family and each interval between checkpoints. Rates are per second of processor time, so
that a busy machine does not change them; what a disk takes to sync is not in them.

    python benchmarks/versions.py [--contributions 2000] [--samples 16] [--intervals 1,16,64]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from incentives.terms import Terms
from ledger.executor import BlockExecutor
from ledger.model_policies import ModelPolicies
from ledger.model_records import ModelDescription
from ledger.model_tensors import chunk_arrays, decode_model_version, model_version_key
from ledger.payload import Payload
from ledger.store import LedgerStore
from ledger.transaction import Transaction
from ledger.transactions.contributions import Contribute
from ledger.transactions.models import CreateModel
from ledger.version_replay import plan_replay
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, encode_batch
from ml_runtime.spec import make_spec
from ml_runtime.warmup import warm_up
from node.storage.leveldb import LevelKeyValueStore
from node.storage.payload_store import PayloadStore
from primitives.codec import Encodable
from primitives.errors import CorruptStateError, InvalidInputError
from tests.helpers.ledger import certify, make_header, make_network, make_salt, make_transaction

FAMILIES: Final = ("softmax_regression", "averaged_perceptron")
MODEL: Final = "digits"
NETWORK: Final = make_network()
OWNER: Final = NETWORK.accounts[0]
SEED: Final = 1
MEBIBYTE: Final = 1 << 20


@dataclass
class Figures:
    """What was measured of one chain."""

    family: str
    interval: int
    execute_s: float = 0.0
    final_s: float = 0.0
    checked: int = 0
    mismatches: int = 0
    in_order_s: float = 0.0
    random_s: float = 0.0
    chunk_bytes: int = 0
    ledger_bytes: int = 0
    compact_bytes: int = 0
    payload_bytes: int = 0


@dataclass
class DiskLedger:
    """A ledger and its payloads in a folder, as a node has them."""

    folder: Path
    values: LevelKeyValueStore = field(init=False)
    payloads: PayloadStore = field(init=False)
    store: LedgerStore = field(init=False)
    nonce: int = 0

    def __post_init__(self) -> None:
        self.values = LevelKeyValueStore(self.folder / "ledger")
        self.payloads = PayloadStore(self.folder / "payloads")
        # Everything that may go goes with the next block, so that nothing is left by chance.
        self.store = LedgerStore(self.values, release_lag=0)
        self.store.initialise(NETWORK.genesis)
        self.executor = BlockExecutor(self.store, self.payloads)

    def sign(
        self, kind: str, body: Sequence[Encodable], payload: Payload | None = None
    ) -> Transaction:
        """Return the owner's next transaction."""
        transaction = make_transaction(
            NETWORK,
            OWNER,
            kind,
            body,
            nonce=self.nonce,
            payload=payload,
            valid_until_height=self.store.tip().height + 1,
        )
        self.nonce += 1
        return transaction

    def run(self, transaction: Transaction) -> tuple[float, float]:
        """Make a block of one transaction final; return seconds of execution and of the rest."""
        header = make_header(NETWORK, self.store.header(self.store.tip().height), [transaction])
        began_s = time.process_time()
        if transaction.payload is not None:
            self.payloads.write_many([(transaction.transaction_id, transaction.payload)])
        stored_s = time.process_time()
        block = self.executor.execute(header, [transaction])
        executed_s = time.process_time()
        assert block.receipts[0].code == "ok", block.receipts[0]
        # A real node gets its certificate from others; making it here is not counted.
        certificate = certify(NETWORK, block)
        certified_s = time.process_time()
        self.store.commit(block, certificate)
        committed_s = time.process_time()
        return executed_s - stored_s, stored_s - began_s + committed_s - certified_s

    def close(self) -> None:
        """Close both stores."""
        self.values.close()
        self.payloads.close()


def describe(family: str, interval: int) -> ModelDescription:
    """Return a model that learns digits."""
    return ModelDescription(
        name=MODEL,
        description="",
        spec=make_spec(family, "dense", 64, 10),
        class_names=tuple(str(digit) for digit in range(10)),
        encoder=ScaleEncoder(),
        terms=Terms("points", 0, 1_500, 5_000, 9_000),
        licence="CC0-1.0",
        guidelines="",
        policies=ModelPolicies(checkpoint_interval=interval),
    )


def grow(ledger: DiskLedger, contributions: int, samples: int, figures: Figures) -> None:
    """Create the model and let it learn; add up the seconds."""
    description = describe(figures.family, figures.interval)
    ledger.run(ledger.sign("create_model", CreateModel(description).to_fields()))
    digits = load_digits()
    features = np.round(digits.data / 16 * ONE).astype(np.int64)
    labels = digits.target.astype(np.int64)
    source = np.random.default_rng(SEED)
    body = Contribute(MODEL, 0, samples).to_fields()
    for number in range(contributions):
        rows = source.integers(0, len(labels), samples)
        data = encode_batch(DenseSamples(features[rows]), labels[rows])
        transaction = ledger.sign("contribute", body, Payload(make_salt(number), data))
        execute_s, rest_s = ledger.run(transaction)
        figures.execute_s += execute_s
        figures.final_s += execute_s + rest_s


def rebuild(ledger: DiskLedger, versions: Sequence[int], figures: Figures) -> float:
    """Compute versions again, each by itself; return the seconds, comparisons included."""
    began_s = time.process_time()
    for version in versions:
        record = ledger.store.read(model_version_key(MODEL, version), decode_model_version)
        assert record is not None
        try:
            replay = plan_replay(ledger.store, MODEL, version)
            payloads = {
                each: payload.data
                for each in replay.transaction_ids
                if (payload := ledger.payloads.read(each)) is not None
            }
            state = replay.run(payloads)
        except (CorruptStateError, InvalidInputError) as error:
            print(f"version {version} of {figures.family}: {error}", file=sys.stderr)
            figures.mismatches += 1
        else:
            # The replay compares by itself; a check that relied on that would check nothing.
            figures.mismatches += chunk_arrays(0, state, None, {}).digest != record.digest
        figures.checked += 1
    return time.process_time() - began_s


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure_compact(values: LevelKeyValueStore, folder: Path) -> int:
    """Return the bytes of the pairs alone: what was deleted stays in a folder for a while."""
    copy = LevelKeyValueStore(folder)
    for pair in values.iterate():
        copy.write([pair], (), sync=False)
    copy.close()
    # Opening it turns the log of the last writes into a table.
    LevelKeyValueStore(folder).close()
    return folder_bytes(folder)


def measure(family: str, interval: int, contributions: int, samples: int) -> Figures:
    """Return the figures of one chain."""
    figures = Figures(family, interval)
    with tempfile.TemporaryDirectory() as name:
        ledger = DiskLedger(Path(name))
        grow(ledger, contributions, samples, figures)
        ledger.close()
        # Opened anew, so that nothing comes from what the store remembers.
        ledger = DiskLedger(Path(name))
        versions = list(range(contributions + 1))
        figures.in_order_s = rebuild(ledger, versions, figures)
        Random(SEED).shuffle(versions)
        figures.random_s = rebuild(ledger, versions, figures)
        figures.chunk_bytes = sum(len(value) for _, value in ledger.values.iterate(b"k/", b"k0"))
        figures.ledger_bytes = folder_bytes(Path(name) / "ledger")
        figures.compact_bytes = measure_compact(ledger.values, Path(name) / "compact")
        ledger.close()
        figures.payload_bytes = folder_bytes(Path(name) / "payloads")
    return figures


def print_table(rows: Sequence[Figures], contributions: int, samples: int) -> None:
    print(f"{contributions:,} contributions of {samples} digits; a version is rebuilt by itself\n")
    print(
        f"{'family':<20}{'interval':>9}{'checked':>9}{'mismatches':>11}{'in order/s':>11}"
        f"{'random/s':>10}{'tensors':>11}{'ledger':>11}{'compact':>11}{'payloads':>11}"
        f"{'executed/s':>11}{'final/s':>9}"
    )
    for row in rows:
        versions = contributions + 1
        print(
            f"{row.family:<20}{row.interval:>9}{row.checked:>9,}{row.mismatches:>11}"
            f"{versions / row.in_order_s:>11,.0f}{versions / row.random_s:>10,.0f}"
            f"{row.chunk_bytes / MEBIBYTE:>7.2f} MiB{row.ledger_bytes / MEBIBYTE:>7.2f} MiB"
            f"{row.compact_bytes / MEBIBYTE:>7.2f} MiB{row.payload_bytes / MEBIBYTE:>7.2f} MiB"
            f"{contributions / row.execute_s:>11,.0f}"
            f"{contributions / row.final_s:>9,.0f}",
            flush=True,
        )
    print(f"\nversions checked {sum(row.checked for row in rows):,}")
    print(f"mismatches {sum(row.mismatches for row in rows)} (must be 0)")


def main() -> None:
    """Measure and print; fails if a version does not come out as it is on record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contributions", type=int, default=2_000)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--intervals", default="1,16,64", help="between checkpoints")
    options = parser.parse_args()
    warm_up()
    intervals = [int(each) for each in options.intervals.split(",")]
    rows = [
        measure(family, interval, options.contributions, options.samples)
        for family in FAMILIES
        for interval in intervals
    ]
    print_table(rows, options.contributions, options.samples)
    assert not sum(row.mismatches for row in rows), "a version did not come out again"


if __name__ == "__main__":
    main()
