"""One real validator, killed at every effect on its disk and at every message that leaves.

The validator is made of the node's own parts: write-ahead log, guard, LevelDB, payload store,
ledger service, turns. The other three are a fixed script of what they say over two epochs, which
is said again from the start in each life. For every effect of the script there is a life that ends
right there, without a word, and one after it that has to make up for it.

Run as a program: ``python -m tests.helpers.crashing_validator FOLDER FIRST STEP`` prints one line
of JSON for each of the effects ``FIRST``, ``FIRST + STEP`` … Each life is a process of its own.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import sys
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor, Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from consensus.events import ClockReading, MessageReceived
from consensus.messages import (
    Message,
    PrePrepare,
    Vote,
    decode_message,
    encode_message,
    proposal_signing_bytes,
)
from consensus.records import decode_record
from consensus.watch import Watch
from ledger.body import encode_body
from ledger.executed_block import ExecutedBlock
from ledger.executor import BlockExecutor
from ledger.parameters import Parameters
from ledger.payload import Payload, PayloadReader
from ledger.reader import LedgerReader
from ledger.store import LedgerStore
from ledger.transaction import Transaction
from ledger.transactions import registry
from node import recovery
from node.configuration import ConsensusSettings
from node.divergence_desk import DivergenceDesk, LedgerToExamine
from node.epochs import EpochStarter, SigningRecords
from node.home import NodeHome
from node.ledger_service import LedgerCallbacks, LedgerService, LedgerThreads
from node.mempool import Mempool, MempoolLimits
from node.recovery import Assurance, Disks, open_disks
from node.storage import file_system, guarded_log
from node.storage.leveldb import LevelKeyValueStore
from node.storage.sign_guard import GuardState, create_guard, guard_path
from node.storage.wal import WriteAheadLog
from node.turns import ConsensusTurns, TurnCallbacks
from node.unfinal_blocks import UnfinalBlocks
from primitives.certificates import Certificate, VoteKind, vote_signing_bytes
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader
from tests.helpers.ledger import (
    GENESIS_TIME_MS,
    Chain,
    Network,
    make_certificate,
    make_header,
    make_network,
    make_transaction,
)
from tests.helpers.probe_kind import PROBE_CODE, ProbeKind

OWN_INDEX = 3
OTHERS = (0, 1, 2)
EPOCH_LENGTH = 3
VIEWS = 8
UNCOMMITTED_VIEWS = (2, 5)
"""Blocks of these views become final with a descendant alone."""

IDLE_MS = 1_000
SEGMENT_BYTES_MAX = 2_500
RESERVED_VIEWS = 2
EXIT_CODE = 99

_write = os.write

ExecutorFactory = Callable[[LedgerStore, PayloadReader], BlockExecutor]


@dataclass(frozen=True)
class Said:
    """Something that another validator says; no message lets time pass instead."""

    sender: int
    message: Message | None


@dataclass(frozen=True)
class Script:
    """What the others say, and the chain that comes of it."""

    network: Network
    said: Sequence[Said]
    blocks: Sequence[ExecutedBlock]


class Writer:
    """Writes the script: the others lead all views but the validator's own, which they give up."""

    def __init__(self) -> None:
        registry._BY_CODE[PROBE_CODE] = cast("Any", ProbeKind(has_payload=True))
        probe = cast("ProbeKind", registry._BY_CODE[PROBE_CODE])
        probe.add(lambda _: [])
        self.network = make_network(parameters=Parameters(epoch_length=EPOCH_LENGTH))
        self.chain = Chain(self.network)
        self.said: list[Said] = []
        self.blocks: list[ExecutedBlock] = []
        self.gap: list[Certificate] = []
        self.unfinal: list[ExecutedBlock] = []

    def write(self) -> Script:
        for view in range(1, VIEWS + 1):
            if view % len(self.network.validators) == OWN_INDEX:
                self.give_up(view)
            else:
                self.make_block(view)
        return Script(self.network, self.said, self.blocks)

    def make_block(self, view: int) -> None:
        header, transactions = self.make_header(view)
        executed = self.chain.executor.execute(
            header, transactions, self.unfinal[-1] if self.unfinal else None
        )
        self.blocks.append(executed)
        self.unfinal.append(executed)
        self.propose(header, transactions)
        self.vote(VoteKind.PREPARE, header, executed)
        if view not in UNCOMMITTED_VIEWS:
            self.vote(VoteKind.COMMIT, header, executed)
            self.chain.finalize(executed)
            self.unfinal.clear()

    def make_header(self, view: int) -> tuple[BlockHeader, list[Transaction]]:
        parent = self.blocks[-1].header if self.blocks else self.chain.tip_header
        parameters = self.chain.store.parameters()
        transactions = self.make_transactions(len(self.blocks))
        header = make_header(self.network, parent, transactions, view=view)
        epoch = parameters.epoch_of(header.height)
        digest = ZERO_HASH
        if header.height == parameters.epoch_end(epoch):
            before = self.unfinal[-1] if self.unfinal else None
            digest = self.chain.executor.next_validators_hash(header.height, before)
        leader = view % len(self.network.validators)
        return replace(
            header, epoch=epoch, proposer=leader, next_validators_hash=digest
        ), transactions

    def make_transactions(self, nonce: int) -> list[Transaction]:
        alice, bob = self.network.accounts[:2]
        payload = Payload(bytes(32), b"payload %d" % nonce)
        probe = make_transaction(self.network, bob, PROBE_CODE, [0], nonce=nonce, payload=payload)
        self.chain.payloads.add(probe.transaction_id, payload)
        transfer = self.chain.transfer(alice, bob.id, 1 + nonce, nonce=nonce)
        return [transfer, probe]

    def propose(self, header: BlockHeader, transactions: Sequence[Transaction]) -> None:
        key = self.network.validators[header.proposer]
        parent = None
        if len(self.blocks) > 1:
            before = self.blocks[-2].header
            if before.epoch == header.epoch:
                parent = make_certificate(
                    self.network, before, ZERO_HASH, kind=VoteKind.PREPARE, signers=OTHERS
                )
        signature = key.sign(proposal_signing_bytes(header.block_id))
        body = encode_body(list(transactions))
        message = PrePrepare(header, body, parent, tuple(self.gap), signature)
        self.gap.clear()
        self.said.append(Said(header.proposer, message))

    def vote(self, kind: VoteKind, header: BlockHeader, executed: ExecutedBlock) -> None:
        root = executed.state_root if kind is VoteKind.COMMIT else ZERO_HASH
        for index in OTHERS:
            self.said.append(
                Said(
                    index, self.sign(kind, header.epoch, header.view, header.block_id, root, index)
                )
            )

    def give_up(self, view: int) -> None:
        self.said.append(Said(0, None))
        epoch = self.chain.store.parameters().epoch_of(self.chain.store.tip().height + 1)
        votes = [
            self.sign(VoteKind.VIEW_CHANGE, epoch, view, ZERO_HASH, ZERO_HASH, index)
            for index in OTHERS
        ]
        self.said += [Said(vote.validator, vote) for vote in votes]
        signatures = tuple(vote.signature for vote in votes)
        self.gap.append(
            Certificate(VoteKind.VIEW_CHANGE, epoch, view, ZERO_HASH, ZERO_HASH, OTHERS, signatures)
        )

    def sign(
        self, kind: VoteKind, epoch: int, view: int, block_id: bytes, root: bytes, index: int
    ) -> Vote:
        message = vote_signing_bytes(self.network.chain_id, epoch, kind, view, block_id, root)
        signature = self.network.validators[index].sign(message)
        return Vote(kind, epoch, view, block_id, root, index, signature)


def _patch(owner: object, name: str, value: object) -> None:
    """Replace something for the rest of this process."""
    setattr(owner, name, value)


class Boundaries:
    """Counts the effects of one life, and ends it at one of them."""

    def __init__(self, last: int | None) -> None:
        self.count = 0
        self._last = last

    def reach(self, half: Callable[[], object] = lambda: None) -> None:
        """Come to an effect; if it is the last, do half of it and end."""
        self.count += 1
        if self.count == self._last:
            half()
            os._exit(EXIT_CODE)

    def install(self) -> None:
        """Stand before everything that the node's parts do to the disk."""
        for name in ("fsync", "fdatasync", "unlink", "link", "rename", "truncate", "mkdir"):
            _patch(os, name, self._before(getattr(os, name)))
        for name in ("write", "pwrite"):
            _patch(os, name, self._halving(getattr(os, name)))
        local_file = file_system._LocalFile
        plain_write = local_file.write

        def write(file: Any, data: bytes) -> None:
            def write_half() -> None:
                plain_write(file, data[: len(data) // 2])
                file.flush()

            self.reach(write_half)
            plain_write(file, data)

        _patch(local_file, "write", write)
        _patch(local_file, "flush", self._before(local_file.flush))
        put = LevelKeyValueStore.write

        def write_batch(store: LevelKeyValueStore, *arguments: Any, **options: Any) -> None:
            self.reach()
            put(store, *arguments, **options)
            self.reach()

        _patch(LevelKeyValueStore, "write", write_batch)

    def _before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            self.reach()
            return function(*arguments, **options)

        return wrapper

    def _halving(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(descriptor: int, data: bytes, *offset: int) -> Any:
            self.reach(lambda: function(descriptor, data[: len(data) // 2], *offset))
            return function(descriptor, data, *offset)

        return wrapper


class AtOnce(Executor):
    """Does what it is handed at once, so that every life goes through the same effects."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


class Life:
    """The validator from a start to its end."""

    def __init__(
        self,
        script: Script,
        home: NodeHome,
        boundaries: Boundaries,
        make_executor: ExecutorFactory = BlockExecutor,
        *,
        repetitions: int = 1,
    ) -> None:
        self._script = script
        self._home = home
        self._boundaries = boundaries
        self._make_executor = make_executor
        self._said = repetitions * list(script.said)
        self._tasks: set[asyncio.Task[None]] = set()
        self._journal = os.open(home.root / "left", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._now_ms = 1_000

    def connected(self) -> list[int]:
        return list(OTHERS)

    def send(self, number: int, message: Message) -> None:
        self.broadcast(message)

    def broadcast(self, message: Message) -> None:
        """Let a message leave, and write down that it did."""
        self._boundaries.reach()
        if isinstance(message, (Vote, PrePrepare)):
            _write(self._journal, encode_message(message).hex().encode() + b"\n")

    async def live(self) -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            disks = open_disks(self._home, self._script.network.genesis, Assurance.NONE, stack)
            history, started_at = disks.history, disks.store.tip().height
            service = self._make_service(disks)
            broken: list[BaseException] = []
            turns = self._make_turns(disks, service, lambda code: desk.on_alarm(code))
            desk = DivergenceDesk(
                turns,
                LedgerToExamine(disks.database, disks.payloads, AtOnce(), service.forget_executed),
                self._home.root / "data" / "divergence",
                self._run,
                broken.append,
            )
            service.connect(
                LedgerCallbacks(
                    post=turns.post,
                    send=self.send,
                    on_final=lambda _: None,
                    on_execution_failed=desk.on_execution_failed,
                    on_broken=broken.append,
                    read_wall_ms=lambda: self._clock().wall_ms,
                )
            )
            turns.start()
            await self._settle(turns, service)
            for said in self._said:
                if said.message is None:
                    self._now_ms += IDLE_MS
                else:
                    turns.post(MessageReceived(said.sender, said.message))
                await self._settle(turns, service)
            tip = disks.store.tip()
            report = {
                "history": history.log.value,
                "observes": history.must_observe,
                "started_at": started_at,
                "height": tip.height,
                "root": tip.state_root.hex(),
                "broken": [str(error) for error in broken],
                "alarms": [name for name in turns.counters if name.startswith("alarm")],
                "probation": turns.core.state.is_on_probation,
                "epoch": turns.core.state.parameters.epoch,
            }
        return {**report, "effects": self._boundaries.count}

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, turns: ConsensusTurns, service: LedgerService) -> None:
        """Let everything happen that follows by itself."""
        for _ in range(50):
            turns.take_turn()
            await asyncio.gather(*self._tasks)
            await service.drain()
            for _ in range(3):
                await asyncio.sleep(0)
            if turns.compute_wait_ms() != 0 and not self._tasks:
                return
        raise AssertionError("the turns do not come to an end")

    def _clock(self) -> ClockReading:
        return ClockReading(self._now_ms, GENESIS_TIME_MS + 100_000 + self._now_ms)

    def _make_service(self, disks: Disks) -> LedgerService:
        threads = LedgerThreads(AtOnce(), AtOnce())
        return LedgerService(
            store=disks.store,
            database=disks.database,
            executor=self._make_executor(disks.store, disks.payloads),
            payloads=disks.payloads,
            unfinal=UnfinalBlocks(),
            mempool=Mempool(MempoolLimits(), lambda _: 1),
            threads=threads,
        )

    def _make_turns(
        self, disks: Disks, service: LedgerService, on_alarm: Callable[[str], None]
    ) -> ConsensusTurns:
        key = self._script.network.validators[OWN_INDEX]

        def load_records(_epoch: int) -> SigningRecords:
            history = disks.history
            return SigningRecords(
                disks.log.records(), history.must_observe, history.sign_floor_view
            )

        starter = EpochStarter(
            LedgerReader(disks.database),
            ConsensusSettings(base_timeout_ms=200, idle_interval_ms=IDLE_MS),
            lambda: {key.public_key: key.sign},
            load_records,
            Watch(),
        )
        return ConsensusTurns(
            begin=starter.begin,
            wal=disks.log,
            messages=self,
            ledger=service,
            read_clocks=self._clock,
            callbacks=TurnCallbacks(lambda: None, lambda _: None, on_alarm),
        )


def live_in_a_process(script: Script, home: NodeHome, last: int | None) -> dict[str, Any] | None:
    """Live once in a process of its own; None if that ended at the effect where it was to end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            boundaries = Boundaries(last)
            life = Life(script, home, boundaries)
            boundaries.install()
            report = asyncio.run(life.live())
            _write(writer, json.dumps(report).encode())
            os._exit(0)
        except BaseException as error:
            _write(writer, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) == EXIT_CODE:
        return None
    return cast("dict[str, Any]", json.loads(text))


def read_left(home: NodeHome) -> list[Message]:
    """Return the votes and proposals of the validator that left, over all lives."""
    path = home.root / "left"
    lines = path.read_bytes().split() if path.exists() else []
    return [decode_message(bytes.fromhex(line.decode())) for line in lines]


def find_contradictions(left: Sequence[Message]) -> list[str]:
    """Say what among the messages that left no correct validator signs."""
    found = []
    said: dict[tuple[int, str, int], bytes] = {}
    for message in left:
        if isinstance(message, Vote):
            key = (message.epoch, message.kind.name, message.view)
            value = encode_message(message)
        elif isinstance(message, PrePrepare) and message.header.proposer == OWN_INDEX:
            key = (message.header.epoch, "PROPOSAL", message.header.view)
            value = message.block_id
        else:
            continue
        if said.setdefault(key, value) != value:
            found.append(f"two of {key}")
    for epoch, kind, view in said:
        if kind == "COMMIT" and (epoch, "VIEW_CHANGE", view) in said:
            found.append(f"COMMIT and VIEW_CHANGE in view {view}")
    return found


def find_forgotten(home: NodeHome, final_view: int) -> list[str]:
    """Name the votes that left, above the final view, of which the log holds no record."""
    folder = home.root / "copy of the log"
    if not home.wal_folder.exists():
        return [f"{each}" for each in read_left(home)]
    shutil.copytree(home.wal_folder, folder)
    log = WriteAheadLog(folder)
    kept = {
        record.vote for data in log.records() if (record := decode_record(data)).vote is not None
    }
    log.close()
    shutil.rmtree(folder)
    return [
        f"{vote.kind.name} in view {vote.view}"
        for vote in read_left(home)
        if isinstance(vote, Vote) and vote.view > final_view and vote not in kept
    ]


def examine(script: Script, folder: Path, last: int) -> dict[str, Any] | None:
    """Return what a life that ends at an effect, and the one after it, came to."""
    home = NodeHome(folder / f"life-{last}")
    create_guard(guard_path(home.validator_key_file), GuardState(script.network.chain_id))
    if live_in_a_process(script, home, last) is not None:
        return None
    left_in_first = len(read_left(home))
    # Life itself reads what is final; the log is looked at before that changes it.
    untouched = shutil.copytree(home.root, folder / "untouched")
    second = live_in_a_process(script, home, None) or {}
    views = [0, *(block.header.view for block in script.blocks)]
    final_view = views[second.get("started_at", 0)]
    result = {
        **second,
        "effect": last,
        "left_in_first": left_in_first,
        "contradictions": find_contradictions(read_left(home)),
        "forgotten": find_forgotten(NodeHome(untouched), final_view),
    }
    shutil.rmtree(untouched)
    shutil.rmtree(home.root)
    return result


def main(folder: Path, first: int, step: int) -> None:
    """Print a line for every effect from the first on."""
    # Small enough that the log turns to new segments, deletes old ones, and reserves views anew.
    small_log = functools.partial(WriteAheadLog, segment_bytes_max=SEGMENT_BYTES_MAX)
    _patch(recovery, "WriteAheadLog", small_log)
    _patch(guarded_log, "RESERVED_VIEWS", RESERVED_VIEWS)
    script = Writer().write()
    expected = {"height": len(script.blocks), "root": script.blocks[-1].state_root.hex()}
    print(json.dumps(expected), flush=True)
    effect = first
    while (result := examine(script, folder, effect)) is not None:
        print(json.dumps(result), flush=True)
        effect += step


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
