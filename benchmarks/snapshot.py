"""Measures how long a node takes to join by a snapshot, from making it to the checked root.

One process holds a ledger of many accounts, takes a snapshot of it and serves it; another joins
over loopback, with the connections, checks and files of a real node. Setting the ledger up is not
counted.

    python benchmarks/snapshot.py [--keys 1000000] [--output text|json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ledger.executor import BlockExecutor
from ledger.key_value import MemoryKeyValueStore
from ledger.layout import TIP_KEY, block_id_key, block_key, envelopes_key, node_key, pack_items
from ledger.layout import versioned_key as version_key
from ledger.payload import MemoryPayloadStore
from ledger.reader import LedgerReader
from ledger.receipt import compute_receipts_root
from ledger.schema import CHAIN_PARENT, Account, ParentBlock, account_key
from ledger.snapshot_export import iterate_state
from ledger.snapshot_tree import TreeBuilder
from ledger.store import LedgerStore
from ledger.stored_records import StoredBlock, Tip
from node.snapshots.fetch_actions import FetchStage
from node.snapshots.import_folder import ImportFolder, put_ledger_in_place
from node.snapshots.joining import Joining, read_known_chain
from node.snapshots.maker import make_snapshot
from node.snapshots.messages import decode_message
from node.snapshots.server import SnapshotLibrary, SnapshotServer
from node.snapshots.shelf import SnapshotShelf
from node.storage.leveldb import LevelKeyValueStore
from node.storage.payload_store import PayloadStore
from p2p.certificate import make_identity
from p2p.frames import Channel
from p2p.tcp import PeerAddress, PeerCallbacks, PeerNetwork
from primitives.accounts import AccountId
from primitives.state_keys import state_key_hash, state_value_hash
from tests.helpers.ledger import certify, make_certificate, make_header, make_key, make_network

HOST = "127.0.0.1"
HEIGHT = 1
BATCH = 10_000
TARGET_S = 120
NETWORK = make_network()

Pair = tuple[bytes, bytes]


def make_pairs(genesis: LedgerStore, key_count: int) -> list[Pair]:
    """Return the state after block 1: that of the genesis, and accounts of the usual size."""
    source = Random(1)
    tip = genesis.tip()
    parent = ParentBlock(0, tip.block_id, tip.state_root, tip.receipts_root)
    state = dict(iterate_state(genesis._values, 0))
    state[CHAIN_PARENT] = parent.encode()
    number = 0
    while len(state) < key_count:
        number += 1
        account = AccountId(sha256(b"account %d" % number).digest()[:20])
        record = Account(source.randbytes(32), source.randrange(10**6), source.randrange(10**12))
        state[account_key(account)] = record.encode()
    return sorted(state.items())


def batches(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


def fill(values: LevelKeyValueStore, key_count: int) -> None:
    """Write a ledger whose block 1 has many accounts, and block 2 on top of it."""
    genesis = LedgerStore(MemoryKeyValueStore())
    genesis.initialise(NETWORK.genesis)
    LedgerStore(values).initialise(NETWORK.genesis)
    pairs = make_pairs(genesis, key_count)
    leaves = sorted((state_key_hash(key), state_value_hash(value)) for key, value in pairs)
    for batch in batches((version_key(key, HEIGHT), b"\x01" + value) for key, value in pairs):
        values.write(batch, (), sync=False)
    builder = TreeBuilder(HEIGHT)
    for batch in batches((node_key(key), node) for key, node in builder.build(leaves)):
        values.write(batch, (), sync=False)
    header = make_header(NETWORK, genesis.header(0))
    certificate = make_certificate(NETWORK, header, builder.root)
    receipts_root = compute_receipts_root([])
    block = StoredBlock(header, builder.root, receipts_root, 0, HEIGHT, certificate)
    tip = Tip(HEIGHT, header.block_id, builder.root, receipts_root, header.timestamp_ms)
    puts = [
        (block_key(HEIGHT), block.encode()),
        (block_id_key(header.block_id), HEIGHT.to_bytes(8, "big")),
        (envelopes_key(HEIGHT), pack_items(())),
        (TIP_KEY, tip.encode()),
    ]
    values.write(puts, (), sync=True)
    execute_next(values, is_final=True)


def execute_next(values: LevelKeyValueStore, *, is_final: bool = False) -> bytes:
    """Execute an empty block 2 on block 1; return its state root."""
    store = LedgerStore(values)
    header = make_header(NETWORK, store.header(HEIGHT))
    executed = BlockExecutor(store, MemoryPayloadStore()).execute(header, (), None)
    if is_final:
        store.commit(executed, certify(NETWORK, executed))
    return executed.state_root


def make_member(own: int, other: int, port: int) -> PeerNetwork:
    transports = [make_key(f"transport {index}") for index in range(2)]
    seeds = [sha256(f"transport {index}".encode()).digest() for index in range(2)]
    return PeerNetwork(
        identity=make_identity(seeds[own], NETWORK.chain_id),
        own_index=own,
        peers=[PeerAddress(other, transports[other].public_key, HOST, port)],
        listen=(HOST, 0),
        chain_id=NETWORK.chain_id,
        random=Random(own),
    )


def peak_mebibytes() -> float:
    """Return the most memory this process ever had; getrusage would tell that of its parent too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def run_maker(folder: Path) -> None:
    """Take the snapshot, in a process of its own, so that its memory can be told."""
    values = LevelKeyValueStore(folder / "served")
    before = peak_mebibytes()
    began_s = time.perf_counter()
    manifest = make_snapshot(values, HEIGHT, SnapshotShelf(folder / "snapshots"))
    say(
        export_s=time.perf_counter() - began_s,
        maker_mebibytes=peak_mebibytes(),
        maker_mebibytes_before=before,
        keys=manifest.key_count,
        chunks=len(manifest.chunk_hashes),
        state_mebibytes=manifest.byte_count / 2**20,
    )
    values.close()


async def run_server(folder: Path) -> None:
    values = LevelKeyValueStore(folder / "served")
    shelf = SnapshotShelf(folder / "snapshots")
    network = make_member(1, 0, 0)
    library = SnapshotLibrary(values, MemoryPayloadStore(), shelf)
    server = SnapshotServer(library, lambda peer, data: network.send(peer, Channel.SNAPSHOT, data))
    network.connect(
        PeerCallbacks(
            on_message=lambda peer, _, data: server.on_request(peer, decode_message(data)),
            on_connected=lambda _: None,
            on_disconnected=lambda _: None,
        )
    )
    serving = asyncio.create_task(server.serve())
    await network.start()
    say(port=network.port, root=LedgerReader(values).stored_block(HEIGHT + 1).state_root.hex())
    await asyncio.to_thread(sys.stdin.read)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await network.stop()
    values.close()
    say(server_mebibytes=peak_mebibytes())


async def run_joiner(folder: Path, port: int, root: bytes) -> None:
    ledger_folder = folder / "joined" / "ledger"
    payloads = PayloadStore(folder / "joined" / "payloads")
    before = peak_mebibytes()
    began_s = time.perf_counter()
    joining = Joining(
        make_member(0, 1, port),
        ImportFolder(ledger_folder, NETWORK.genesis, payloads),
        read_known_chain(NETWORK.genesis, None),
        bytes_max=2**40,
        threshold=0,
    )
    reached: dict[FetchStage, float] = {}

    async def watch() -> None:
        while True:
            reached.setdefault(joining.progress.stage, time.perf_counter() - began_s)
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    result = await joining.run()
    watching.cancel()
    assert result.height == HEIGHT, result.reason
    assert put_ledger_in_place(ledger_folder)
    values = LevelKeyValueStore(ledger_folder)
    assert execute_next(values) == root, "the joined ledger executes the next block otherwise"
    total_s = time.perf_counter() - began_s
    fetched_s = reached[FetchStage.IMPORTING]
    imported_s = reached.get(FetchStage.CONTENT, reached.get(FetchStage.DONE, total_s))
    say(
        fetch_s=fetched_s,
        import_s=imported_s - fetched_s,
        finish_s=total_s - imported_s,
        join_s=total_s,
        joiner_mebibytes=peak_mebibytes(),
        joiner_mebibytes_before=before,
    )
    values.close()
    payloads.close()


def spawn(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def read_facts(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    facts: dict[str, Any] = json.loads(process.stdout.readline())
    return facts


def measure(key_count: int, folder: Path) -> dict[str, Any]:
    values = LevelKeyValueStore(folder / "served")
    fill(values, key_count)
    values.close()
    facts: dict[str, Any] = {"machine": platform.processor() or platform.machine()}
    facts["processors"] = os.cpu_count()
    with spawn("--role", "make", "--folder", str(folder)) as maker:
        facts |= read_facts(maker)
    with spawn("--role", "serve", "--folder", str(folder)) as server:
        ready = read_facts(server)
        with spawn(
            "--role", "join", "--folder", str(folder), "--port", str(ready["port"]),
            "--root", ready["root"],
        ) as joiner:  # fmt: skip
            facts |= read_facts(joiner)
        assert server.stdin is not None
        server.stdin.close()
        facts |= read_facts(server)
    facts["total_s"] = facts["export_s"] + facts["join_s"]
    return facts


def print_table(facts: dict[str, Any]) -> None:
    keys = facts["keys"]
    print(f"{keys:,} state keys, {facts['chunks']} chunks, {facts['state_mebibytes']:.0f} MiB")
    print(f"{'':24}{'seconds':>10}{'keys/s':>12}")
    for name, label in (
        ("export_s", "export"),
        ("fetch_s", "fetch and verify"),
        ("import_s", "import, tree, root"),
        ("finish_s", "tip, swap, next block"),
        ("total_s", f"total (target {TARGET_S})"),
    ):
        seconds = facts[name]
        print(f"{label:24}{seconds:10.1f}{keys / max(seconds, 1e-9):12,.0f}")
    for name in ("maker", "server", "joiner"):
        print(f"peak memory of the {name}: {facts[f'{name}_mebibytes']:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--role", choices=("all", "make", "serve", "join"), default="all")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--root", type=bytes.fromhex)
    options = parser.parse_args()
    if options.role == "make":
        run_maker(options.folder)
    elif options.role == "serve":
        asyncio.run(run_server(options.folder))
    elif options.role == "join":
        asyncio.run(run_joiner(options.folder, options.port, options.root))
    else:
        with tempfile.TemporaryDirectory() as folder:
            facts = measure(options.keys, Path(folder))
        if options.output == "json":
            print(json.dumps(facts, indent=2))
        else:
            print_table(facts)
        assert facts["total_s"] <= TARGET_S or options.keys > 1_000_000, "the target is missed"


if __name__ == "__main__":
    main()
