"""Measures what a model of ten million numbers costs: upload, updates, a restart and a proof.

The model is trained elsewhere (``external_tensors``). Its numbers come in signed transactions of
full size, one to a block, through the checks, the executor and LevelDB of a real node. Then some of
its numbers change, again and again: whole rows of one tensor, numbers all over one tensor, numbers
all over the model. At last the store is opened anew and one chunk is proved to a light client.
Peak memory is that of the phase, above what the process had before the model. Seconds are those of
the clock; busy ones are processor time, which a busy machine does not change.

    python benchmarks/large_model.py [--updates 50] [--changes 20000]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from incentives.terms import Terms
from ledger.admission import check_block
from ledger.executor import BlockExecutor
from ledger.model_records import ModelDescription
from ledger.model_tensors import CHUNK_BYTES, decode_model_tensors, tensors_key
from ledger.payload import Payload
from ledger.proof import decode_state_proof, verify_state_proof
from ledger.store import LedgerStore
from ledger.transactions.model_parameters import FinishUpload, UpdateTensors, UploadPart
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.spec import make_spec
from node.storage.leveldb import LevelKeyValueStore
from node.storage.payload_store import PayloadStore
from primitives.codec import Encodable, encode
from primitives.hashing import Tag, tagged_hash
from tests.helpers.ledger import certify, make_header, make_network, make_salt, make_transaction

MODEL: Final = "outside"
SHAPES: Final = {
    "body.0": (1_000, 1_250),
    "body.1": (1_000, 1_250),
    "body.2": (1_000, 1_250),
    "body.3": (1_000, 1_250),
    "embedding": (20_000, 200),
    "head": (200, 5_000),
}
NUMBERS: Final = sum(prod(shape) for shape in SHAPES.values())
PART_NUMBERS: Final = 65_536
"""As many as a payload holds under the default parameters."""

NETWORK: Final = make_network()
OWNER: Final = NETWORK.accounts[0]
MEBIBYTE: Final = 1 << 20
KIBIBYTE: Final = 1 << 10
SEED: Final = 1

Integers = NDArray[np.int64]
Update = dict[str, tuple[Integers, Integers]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What one block took."""

    execute_s: float
    commit_s: float
    processor_s: float
    written_bytes: int


@dataclass
class DiskLedger:
    """A ledger and its payloads in a folder, as a node has them."""

    folder: Path
    nonce: int = 0
    values: LevelKeyValueStore = field(init=False)
    payloads: PayloadStore = field(init=False)
    store: LedgerStore = field(init=False)

    def __post_init__(self) -> None:
        self.values = LevelKeyValueStore(self.folder / "ledger")
        self.payloads = PayloadStore(self.folder / "payloads")
        self.store = LedgerStore(self.values)
        self.store.initialise(NETWORK.genesis)
        self.executor = BlockExecutor(self.store, self.payloads)

    def run(self, kind: str, body: Sequence[Encodable], data: bytes | None = None) -> Cost:
        """Make a block of one signed transaction final."""
        parent = self.store.header(self.store.tip().height)
        transaction = make_transaction(
            NETWORK,
            OWNER,
            kind,
            body,
            nonce=self.nonce,
            payload=None if data is None else Payload(make_salt(self.nonce), data),
            valid_until_height=parent.height + 1,
        )
        self.nonce += 1
        header = make_header(NETWORK, parent, [transaction])
        began_s, busy_s = time.perf_counter(), time.process_time()
        check_block(header, [transaction], NETWORK.genesis.parameters)
        if transaction.payload is not None:
            self.payloads.write_many([(transaction.transaction_id, transaction.payload)])
        block = self.executor.execute(header, [transaction])
        executed_s, busy_s = time.perf_counter(), time.process_time() - busy_s
        assert block.receipts[0].code == "ok", block.receipts[0]
        # A real node gets its certificate from others; making it here is not counted.
        certificate = certify(NETWORK, block)
        certified_s, rested_s = time.perf_counter(), time.process_time()
        batch = self.store.commit(block, certificate)
        commit_s = time.perf_counter() - certified_s
        busy_s += time.process_time() - rested_s
        written = sum(len(key) + len(value) for key, value in batch.puts)
        return Cost(executed_s - began_s, commit_s, busy_s, written)

    def close(self) -> None:
        """Close both stores."""
        self.values.close()
        self.payloads.close()


def read_memory(name: str) -> int:
    """Return a line of this process' memory status, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) * KIBIBYTE


@contextmanager
def phase(name: str, baseline: int) -> Iterator[None]:
    """Print how long something takes and how much memory it needs at most."""
    # 5 forgets the peak so far, also that of getrusage, which knows no phases.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    began_s, busy_s = time.perf_counter(), time.process_time()
    yield
    seconds, busy_s = time.perf_counter() - began_s, time.process_time() - busy_s
    peak = (read_memory("VmHWM") - baseline) / MEBIBYTE
    after = (read_memory("VmRSS") - baseline) / MEBIBYTE
    print(
        f"{name:<24}{seconds:>9.2f} s{busy_s:>9.2f} s busy{peak:>8.0f} MiB peak"
        f"{after:>8.0f} MiB after",
        flush=True,
    )


def describe() -> ModelDescription:
    """Return a model of all tensors."""
    return ModelDescription(
        name=MODEL,
        description="",
        spec=make_spec("external_tensors", "dense", 1, 0, tensors=SHAPES),
        class_names=(),
        encoder=ScaleEncoder(),
        terms=Terms("points", 0, 1_500, 5_000, 9_000),
        licence="CC0-1.0",
        guidelines="",
    )


def make_numbers(name: str) -> Integers:
    """Return a tensor that looks like trained weights, flattened: Q16 around zero."""
    source = np.random.default_rng([SEED, *name.encode()])
    return np.round(source.normal(0, 1 << 14, prod(SHAPES[name]))).astype(np.int64)


def upload(ledger: DiskLedger) -> None:
    """Send every tensor in parts."""
    for name in SHAPES:
        numbers = make_numbers(name)
        for start in range(0, len(numbers), PART_NUMBERS):
            data = numbers[start : start + PART_NUMBERS].astype("<i8").tobytes()
            ledger.run("upload_part", UploadPart(MODEL, name, start).to_fields(), data)


def make_update(pattern: str, changes: int, source: np.random.Generator) -> Update:
    """Return places and amounts: whole rows, all over one tensor, or all over the model."""
    if pattern == "rows":
        columns = SHAPES["embedding"][1]
        row = int(source.integers(0, SHAPES["embedding"][0] - changes // columns))
        places = {"embedding": np.arange(row * columns, row * columns + changes)}
    elif pattern == "one tensor":
        chosen = source.choice(prod(SHAPES["body.1"]), changes, replace=False)
        places = {"body.1": np.sort(chosen)}
    else:
        places = {}
        for name in SHAPES:
            count = changes * prod(SHAPES[name]) // NUMBERS
            places[name] = np.sort(source.choice(prod(SHAPES[name]), count, replace=False))
    return {name: (each, source.integers(-99, 100, len(each))) for name, each in places.items()}


def encode_update(update: Update) -> bytes:
    """Return the payload of an update."""
    return encode(
        (
            1,
            [
                [name, places.astype("<i8").tobytes(), amounts.astype("<i8").tobytes()]
                for name, (places, amounts) in sorted(update.items())
            ],
        )
    )


def measure_updates(ledger: DiskLedger, updates: int, changes: int) -> list[str]:
    """Send updates of each pattern; return the rows of a table."""
    rows = []
    source = np.random.default_rng(SEED)
    for pattern, count in (("rows", updates), ("one tensor", updates), ("all over", updates // 5)):
        costs = []
        for _ in range(count):
            data = encode_update(make_update(pattern, changes, source))
            costs.append(ledger.run("update_tensors", UpdateTensors(MODEL).to_fields(), data))
        execute_s = statistics.median(cost.execute_s for cost in costs)
        commit_s = statistics.median(cost.commit_s for cost in costs)
        busy_s = statistics.median(cost.processor_s for cost in costs)
        worst_s = max(cost.execute_s + cost.commit_s for cost in costs)
        written = statistics.median(cost.written_bytes for cost in costs)
        rows.append(
            f"{pattern:<14}{count:>8}{execute_s:>12.3f} s{commit_s:>12.3f} s{busy_s:>12.3f} s"
            f"{worst_s:>10.3f} s{written / KIBIBYTE:>14,.0f} KiB"
        )
    return rows


def measure_proof(ledger: DiskLedger) -> None:
    """Prove one chunk of one tensor to somebody who knows the validators alone."""
    height = ledger.store.tip().height
    began_s = time.perf_counter()
    proof = ledger.store.prove(tensors_key(MODEL), height)
    data = proof.encode()
    made_s = time.perf_counter() - began_s
    descriptor = decode_model_tensors(proof.value or b"")
    number = len(descriptor.tensors[1].chunks) // 2
    chunk = ledger.store.read_chunk(descriptor.tensors[1].chunks[number])
    assert chunk is not None

    began_s = time.perf_counter()
    received = decode_state_proof(data)
    verify_state_proof(received, NETWORK.genesis.to_validator_set(), NETWORK.chain_id)
    assert received.key == tensors_key(MODEL)
    proved = decode_model_tensors(received.value or b"").tensors[1]
    assert proved.chunks[number] == tagged_hash(Tag.CHUNK, chunk), "the chunk is another one"
    verified_s = time.perf_counter() - began_s
    print(
        f"proof of chunk {number} of {proved.name}: {len(data):,} bytes and the chunk of"
        f" {len(chunk):,}; made in {made_s * 1_000:.1f} ms, verified in {verified_s * 1_000:.1f} ms"
    )


def measure(folder: Path, updates: int, changes: int) -> None:
    """Run all phases and print what they took."""
    baseline = read_memory("VmRSS")
    ledger = DiskLedger(folder)
    with phase("create", baseline):
        ledger.run("create_model", CreateModel(describe()).to_fields())
    parts = sum(-(-prod(shape) // PART_NUMBERS) for shape in SHAPES.values())
    with phase(f"upload, {parts} blocks", baseline):
        upload(ledger)
    with phase("finish", baseline):
        ledger.run("finish_upload", FinishUpload(MODEL).to_fields())
    expected = {name: make_numbers(name) for name in SHAPES}
    loaded = ledger.store.load_model_state(MODEL)
    assert loaded is not None
    assert all(np.array_equal(loaded[name].reshape(-1), expected[name]) for name in SHAPES)
    del expected, loaded
    with phase("updates", baseline):
        rows = measure_updates(ledger, updates, changes)
    ledger.close()
    # In a process of its own, which has nothing of the model in memory.
    subprocess.run([sys.executable, __file__, "--load", str(folder)], check=True)
    ledger = DiskLedger(folder)
    print(
        f"\n{'update':<14}{'number':>8}{'execute':>14}{'commit':>14}{'busy':>14}"
        f"{'worst':>12}{'written':>18}"
    )
    print("\n".join(rows) + "\n")
    measure_proof(ledger)
    ledger.close()


def load(folder: Path) -> None:
    """Read the model as a node does that was started again."""
    ledger = DiskLedger(folder)
    with phase("load after a restart", read_memory("VmRSS")):
        ledger.store.load_model_state(MODEL)
    ledger.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--load", type=Path, help="read the model in this folder and do no more")
    options = parser.parse_args()
    if options.load is not None:
        load(options.load)
        return
    chunks = sum(-(-prod(shape) * 8 // CHUNK_BYTES) for shape in SHAPES.values())
    print(
        f"{NUMBERS:,} numbers in {len(SHAPES)} tensors, {NUMBERS * 8 / MEBIBYTE:.0f} MiB in"
        f" {chunks:,} chunks; {options.changes:,} numbers change at a time\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.updates, options.changes)


if __name__ == "__main__":
    main()
