"""The production ledger service in simulated time: real blocks, transfers, signatures and epochs.

`node.ledger_service` hands its work to two threads through an event loop. Here both are stood in
for: work is done at a simulated time, in the order that its thread would have done it in.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

from consensus.actions import (
    BuildBlock,
    DiscardBlocks,
    ExecuteBlock,
    FinalizeBlocks,
    ServeBlocks,
    ServeEpochEnd,
    ValidateBlock,
)
from consensus.events import BlockExecuted, BlockValidated, Event, Verdict
from consensus.watch import Watch
from ledger.errors import DivergedStateError
from ledger.executor import BlockExecutor
from ledger.metering import compute_units
from ledger.payload import MemoryPayloadStore, Payload
from ledger.reader import LedgerReader
from ledger.store import LedgerStore
from node.configuration import ConsensusSettings
from node.epochs import EpochStarter, SigningRecords
from node.evidence_reporter import EvidenceReporter
from node.final_state import FinalState
from node.ledger_service import (
    FinalBlock,
    LedgerCallbacks,
    LedgerService,
    LedgerThreads,
)
from node.mempool import Mempool, MempoolLimits
from node.turns import EpochCore
from node.unfinal_blocks import UnfinalBlocks
from primitives.errors import InvalidInputError
from primitives.evidence import Evidence
from primitives.header import BlockHeader
from primitives.keys import PrivateKey
from tests.simulator.full_ledger import FullLedger, decode_transfer
from tests.simulator.ledger_thread import (
    JUDGING_MS,
    LedgerThread,
    ProcessStoppedError,
    SigningHistory,
)

if TYPE_CHECKING:
    from tests.simulator.node import SimulatedNode
    from tests.simulator.simulation import Simulation

__all__ = ["LedgerServiceThread"]


class _Payloads(MemoryPayloadStore):
    """Transfers have none."""

    def write_many(self, payloads: Sequence[tuple[bytes, Payload]]) -> None:
        for transaction_id, payload in payloads:
            self.add(transaction_id, payload)


class _Work:
    """What was handed over, as the future that stands for it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._result: Any = None
        self._error: Exception | None = None
        self._callbacks: list[Callable[[Any], None]] = []

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def cancelled(self) -> bool:
        return False

    def exception(self) -> Exception | None:
        return self._error

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result

    def run(self) -> None:
        """Do it, and tell."""
        try:
            self._result = self._work()
        except ProcessStoppedError:
            raise
        except Exception as error:
            self._error = error
        for callback in self._callbacks:
            callback(self)


@dataclass(frozen=True, slots=True)
class _Loop:
    """What the service asks of its event loop."""

    hand_over: Callable[[Executor, _Work], None]

    def run_in_executor(self, executor: Executor, work: Callable[[], Any]) -> _Work:
        handed = _Work(work)
        self.hand_over(executor, handed)
        return handed


def _run_through(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing."""
    with contextlib.suppress(StopIteration):
        coroutine.send(None)


class LedgerServiceThread(LedgerThread):
    """Stands where `LedgerThread` does, with the production code behind it.

    Parameters
    ----------
    simulation, node : as there.
    ledger : the disk.
    keys : of the node's validator.
    """

    def __init__(
        self, simulation: Simulation, node: SimulatedNode, ledger: FullLedger, key: PrivateKey
    ) -> None:
        super().__init__(simulation, node)
        self._disk = ledger
        self._key = key
        values = ledger.values
        store = LedgerStore(values)
        store.initialise(ledger.genesis)
        reader = LedgerReader(values)
        state = FinalState(reader)
        self._mempool = Mempool(MempoolLimits(), lambda each: compute_units(state, each))
        payloads = _Payloads()
        self._threads = LedgerThreads(cast("Executor", "ledger"), cast("Executor", "judging"))
        with patch.object(asyncio, "get_running_loop", lambda: _Loop(self._hand_over)):
            self._service = LedgerService(
                store=store,
                database=values,
                executor=BlockExecutor(store, payloads),
                payloads=payloads,
                unfinal=UnfinalBlocks(),
                mempool=self._mempool,
                threads=self._threads,
            )
        self._service.connect(
            LedgerCallbacks(
                post=self._post_answer,
                send=lambda number, message: simulation.send(node, number, message),
                on_final=self._on_final,
                on_execution_failed=self._on_execution_failed,
                on_broken=self._on_broken,
                read_wall_ms=lambda: node.read_clocks().wall_ms,
            )
        )
        self._reporter = EvidenceReporter(
            chain_id=ledger.genesis.chain_id,
            reader=reader,
            load_key=lambda: key,
            get_next_nonce=self._service.get_next_nonce,
            submit=self._submit,
            run=_run_through,
        )
        # The proposal that is being judged; one at a time.
        self._judged: dict[bytes, BlockHeader] = {}
        self._history: SigningHistory | None = None
        scenario = simulation.scenario
        self._starter = EpochStarter(
            reader,
            ConsensusSettings(
                base_timeout_ms=scenario.view_timeout_ms // 2,
                idle_interval_ms=scenario.idle_limit_ms,
            ),
            lambda: {key.public_key: key.sign},
            self._load_records,
            Watch(),
        )

    def begin(self, history: SigningHistory) -> EpochCore:
        self._history = history
        running = self._starter.begin()
        self._simulation.learn_validators(running)
        return running

    def report(self, evidence: Evidence) -> None:
        self._reporter.report(evidence)

    def offer(self, transaction: bytes) -> None:
        decoded = decode_transfer(transaction)
        try:
            self._mempool.add(decoded, self._service.get_next_nonce(decoded.sender), gaps=True)
        except InvalidInputError:
            self._simulation.note("transactions that the pool refused")

    def validate(self, action: ValidateBlock) -> None:
        if not action.certified:
            self._judged = {action.block.block_id: action.block.header}
        self._service.validate(action)

    def execute(self, action: ExecuteBlock) -> None:
        self._check_execution()
        self._service.execute(action)

    def build(self, action: BuildBlock) -> None:
        self._service.build(action)

    def finalize(self, action: FinalizeBlocks) -> None:
        self._service.finalize(action)

    def discard(self, action: DiscardBlocks) -> None:
        self._service.discard(action)

    def serve(self, action: ServeBlocks) -> None:
        self._service.serve(action)

    def serve_epoch_end(self, action: ServeEpochEnd) -> None:
        self._service.serve_epoch_end(action)

    def has_work(self, is_live: Callable[[BlockHeader], bool]) -> bool:
        return self._service.has_work(is_live)

    def after_finality(self, call: Callable[[], None]) -> None:
        self._service.after_finality(call)

    def _hand_over(self, executor: Executor, work: _Work) -> None:
        if executor is self._threads.ledger:
            self._in_turn(work.run)
        else:
            self._at(self._simulation.now_ms + JUDGING_MS, work.run)

    async def _submit(self, transaction: bytes, _payload: Payload | None) -> None:
        """Hand a transaction of this node to its pool and to the others."""
        self._simulation.note("evidence submitted")
        self._simulation.spread(self._node, transaction)

    def _load_records(self, _epoch: int) -> SigningRecords:
        history, self._history = self._history, None
        if history is None:
            raise AssertionError("records are loaded once for each epoch")
        return SigningRecords(
            history.records, history.must_observe and history.is_first, history.sign_floor_view
        )

    def _post_answer(self, event: Event) -> None:
        if isinstance(event, BlockValidated) and event.verdict is Verdict.INVALID:
            header = self._judged.get(event.block_id)
            if header is not None:
                self._note_refusal(header)
        self._post(self._bend(event) if isinstance(event, BlockExecuted) else event)

    def _on_final(self, final: FinalBlock) -> None:
        height = final.executed.height
        self._simulation.checkers.on_final(
            self._node.identity, height, self._disk.read_final(height)
        )
        self._disk.check_conservation(height)
        self._reporter.on_final(height)
        self._node.want_turn()

    def _on_execution_failed(self, action: ExecuteBlock, error: Exception) -> None:
        del action
        self._on_broken(error)

    def _on_broken(self, error: BaseException) -> None:
        """Stop as the node does; a failure that no planned fault explains breaks the run."""
        if isinstance(error, OSError):
            self._simulation.note("stopped by the disk")
        elif isinstance(error, DivergedStateError) and self._node.diverges:
            self._simulation.note("stopped by its own state root")
        elif not isinstance(error, ProcessStoppedError):
            raise error
        raise ProcessStoppedError
