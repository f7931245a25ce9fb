"""One simulated node: the real core, a driver that can die between any two effects, a disk.

The driver keeps the rules of ``node/driver.py``: all records of a turn are appended, then synced
once, then everything else is done in order; finality is written by a ledger of its own pace, and
the log is pruned only after that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from consensus.actions import (
    Action,
    Broadcast,
    BuildBlock,
    DiscardBlocks,
    ExecuteBlock,
    FinalizeBlocks,
    Persist,
    PruneRecords,
    RaiseAlarm,
    ReportEvidence,
    Send,
    ServeBlocks,
    ValidateBlock,
)
from consensus.core import Core
from consensus.errors import ContradictoryRecordsError
from consensus.events import (
    BlockBuilt,
    BlockExecuted,
    BlockValidated,
    ClockReading,
    Event,
    PeerConnected,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.messages import Block, BlocksResponse
from consensus.recovery import Recovered
from primitives.header import BlockHeader
from tests.helpers.consensus import GENESIS, WALL_START_MS, body_root, execute, make_signer
from tests.simulator.disk import SimulatedDisk, StoredBlock

if TYPE_CHECKING:
    from tests.simulator.simulation import Simulation

__all__ = ["SimulatedNode"]

GENESIS_ROOT = bytes(31) + b"\x01"
TRANSACTION_BYTES = 4
TRANSACTIONS_PER_BLOCK = 8
SERVED_BLOCKS_MAX = 16


class _DiedError(Exception):
    """The node reached the effect at which it was to die."""


class SimulatedNode:
    """A validator in the simulation.

    Parameters
    ----------
    simulation
        Time, network and chance.
    index
        Its number.
    """

    def __init__(self, simulation: Simulation, index: int) -> None:
        self._simulation = simulation
        self.index = index
        self.disk = SimulatedDisk()
        self.core: Core | None = None
        self.mempool: set[bytes] = set()
        self.effects_left: int | None = None
        self._life = 0
        self._roots: dict[bytes, bytes] = {}
        self._bodies: dict[bytes, Block] = {}
        self._ledger_free_at_ms = 0
        self._deadline_ms: int | None = None

    @property
    def height(self) -> int:
        """Height of the last final block on its disk."""
        return len(self.disk.blocks)

    @property
    def final_header(self) -> BlockHeader:
        """Header of that block."""
        return self.disk.blocks[-1].block.header if self.disk.blocks else GENESIS

    def start(self) -> None:
        """Start from the disk, as after a crash."""
        simulation = self._simulation
        final = self.disk.blocks[-1] if self.disk.blocks else None
        self._life += 1
        self._roots = {
            self.final_header.block_id: GENESIS_ROOT if final is None else final.state_root
        }
        self._bodies.clear()
        self.mempool.clear()
        self._ledger_free_at_ms = simulation.now_ms
        recovered = Recovered(
            self.final_header, None if final is None else final.certificate, self.disk.records
        )
        try:
            self.core = self._recover(recovered)
        except ContradictoryRecordsError:
            # An equivocator may find both of its proposals in its log; then it stays down.
            if self.index != simulation.plan.equivocator:
                raise
            return
        self._carry_out(lambda core: core.start(self._clock()))
        for other in simulation.nodes:
            if other is not self and other.core is not None:
                self.post(PeerConnected(other.index))
                other.post(PeerConnected(self.index))

    def _recover(self, recovered: Recovered) -> Core:
        simulation = self._simulation
        return Core(
            simulation.parameters,
            simulation.validators,
            self.index,
            make_signer(self.index),
            recovered,
            simulation.verify,
        )

    def die(self) -> None:
        """Lose everything but the disk; some of what was not synced may survive by chance."""
        self.core = None
        self._life += 1
        self.effects_left = None
        self.disk.lose_unsynced(self._simulation.random.randrange(3))

    def post(self, event: Event) -> None:
        """Let an event happen to the node now, if it lives."""
        if self.core is not None:
            self._carry_out(lambda core: core.step(event, self._clock()))

    def take_transaction(self, transaction: bytes) -> None:
        """Put a transaction into the mempool."""
        if self.core is not None and transaction not in self._final_transactions():
            self.mempool.add(transaction)
            self._look_for_work()

    def _carry_out(self, step: Callable[[Core], list[Action]]) -> None:
        if self.core is None:
            return
        try:
            self._perform(step(self.core))
            self._note_work()
        except _DiedError:
            self._simulation.note("crash")
            self.die()
            return
        self._arm_timer()

    def _arm_timer(self) -> None:
        if self.core is None:
            return
        deadline_ms = self.core.next_deadline()
        if deadline_ms is None or deadline_ms == self._deadline_ms:
            return
        self._deadline_ms = deadline_ms
        life = self._life

        def tick() -> None:
            if self._life == life and self._deadline_ms == deadline_ms:
                self._deadline_ms = None
                self.post(Ticked())

        self._simulation.at(deadline_ms, tick)

    def _clock(self) -> ClockReading:
        now_ms = self._simulation.now_ms
        skew_ms = self._simulation.get_skew_ms(self.index)
        return ClockReading(now_ms, WALL_START_MS + now_ms + skew_ms)

    def _reach_boundary(self) -> None:
        """Die here if this is the effect at which the plan says so."""
        if self.effects_left is None:
            return
        if self.effects_left == 0:
            raise _DiedError
        self.effects_left -= 1

    def _perform(self, actions: list[Action]) -> None:
        records = [action for action in actions if isinstance(action, Persist)]
        for action in records:
            self._reach_boundary()
            self.disk.append(action.record, action.view)
        if records and not self._simulation.forgets_to_sync:
            self._reach_boundary()
            self.disk.sync()
        for action in actions:
            self._reach_boundary()
            self._perform_one(action)

    def _perform_one(self, action: Action) -> None:  # noqa: C901 (one case for each action)
        simulation = self._simulation
        match action:
            case Broadcast(message):
                simulation.broadcast(self, message)
            case Send(peer, message):
                simulation.send(self, peer, message)
            case ValidateBlock(block, certified):
                self._validate(block, certified)
            case ExecuteBlock(block):
                self._on_ledger(lambda: self._execute(block))
            case BuildBlock():
                self._build(action)
            case FinalizeBlocks():
                self._on_ledger(lambda: self._finalize(action))
            case PruneRecords(below_view):
                self._on_ledger(lambda: self.disk.prune(below_view))
            case DiscardBlocks(block_ids):
                for block_id in block_ids:
                    self._bodies.pop(block_id, None)
            case ServeBlocks():
                self._serve(action)
            case ReportEvidence(evidence):
                simulation.note("evidence")
                simulation.checkers.on_evidence(evidence)
            case RaiseAlarm(code, text):
                simulation.checkers.on_alarm(self.index, code, text)
            case _:
                pass

    def _later(self, wait_ms: int, happen: Callable[[], None]) -> None:
        """Do something after a while, unless the node dies before."""
        life = self._life

        def if_alive() -> None:
            if self._life == life:
                happen()

        self._simulation.at(self._simulation.now_ms + wait_ms, if_alive)

    def _on_ledger(self, happen: Callable[[], None]) -> None:
        """Do something on the ledger's thread: in order, each thing taking its time."""
        now_ms = self._simulation.now_ms
        start_ms = max(now_ms, self._ledger_free_at_ms)
        self._ledger_free_at_ms = start_ms + self._simulation.draw_execution_ms()
        self._later(self._ledger_free_at_ms - now_ms, happen)

    def _validate(self, block: Block, certified: bool) -> None:
        good = body_root(block.body) == block.header.body_root
        if good and not certified:
            numbers = split_transactions(block.body)
            ancestors = self._transactions_above(block.header.parent_id)
            good = len(set(numbers)) == len(numbers) and not ancestors & set(numbers)
        if good:
            self._bodies[block.block_id] = block
        verdict = Verdict.VALID if good else Verdict.INVALID
        self._later(1, lambda: self.post(BlockValidated(block.block_id, verdict)))

    def _execute(self, block: Block) -> None:
        parent_root = self._roots.get(block.header.parent_id)
        if parent_root is None:
            return
        root = execute(parent_root, block.block_id)
        self._roots[block.block_id] = root
        self.post(BlockExecuted(block.block_id, root))

    def _build(self, action: BuildBlock) -> None:
        body = b""
        if not action.must_be_empty:
            used = self._transactions_above(action.parent.block_id) | self._final_transactions()
            body = b"".join(sorted(self.mempool - used)[:TRANSACTIONS_PER_BLOCK])
        built = BlockBuilt(
            action.view, action.parent.block_id, body, body_root(body), self._clock().wall_ms
        )
        self._later(0, lambda: self.post(built))

    def _finalize(self, action: FinalizeBlocks) -> None:
        for block in action.blocks:
            if block.header.parent_id != self.final_header.block_id:
                raise AssertionError(f"node {self.index} was told to skip a block")
            is_last = block is action.blocks[-1]
            stored = StoredBlock(
                block, self._roots[block.block_id], action.certificate if is_last else None
            )
            self.disk.blocks.append(stored)
            self._bodies.pop(block.block_id, None)
            self.mempool.difference_update(split_transactions(block.body))
            self._simulation.checkers.on_final(self.index, self.height, stored)
        if self.core is not None:
            self._simulation.checkers.check_bounds(self.index, self.core)
            self._look_for_work()

    def _serve(self, action: ServeBlocks) -> None:
        first = action.from_height - 1
        count = min(action.count, SERVED_BLOCKS_MAX)
        stored = self.disk.blocks[first : first + count]
        while len(stored) > 1 and stored[-1].certificate is None:
            stored = stored[:-1]
        certificate = stored[-1].certificate if stored else None
        blocks = tuple(each.block for each in stored)
        self._simulation.send(self, action.peer, BlocksResponse(blocks, certificate))

    def _look_for_work(self) -> None:
        self._carry_out(lambda _core: [])

    def _note_work(self) -> None:
        """Tell the core when transactions begin or cease to wait for a block."""
        if self.core is None:
            return
        state = self.core.state
        held: set[bytes] = set()
        for block in self._bodies.values():
            entry = state.tree.find(block.block_id)
            if entry is not None and (entry.certified or block.header.view >= state.view):
                held |= set(split_transactions(block.body))
        pending = bool(self.mempool - held - self._final_transactions())
        if pending != state.transactions_pending:
            self._perform(self.core.step(WorkChanged(pending), self._clock()))

    def _final_transactions(self) -> set[bytes]:
        return self._simulation.final_transactions(self)

    def _transactions_above(self, block_id: bytes) -> set[bytes]:
        """Return the transactions of a block and its unfinal ancestors."""
        found: set[bytes] = set()
        while block_id in self._bodies:
            block = self._bodies[block_id]
            found |= set(split_transactions(block.body))
            block_id = block.header.parent_id
        return found


def split_transactions(body: bytes) -> list[bytes]:
    """Return the transactions of a body."""
    return [
        body[start : start + TRANSACTION_BYTES] for start in range(0, len(body), TRANSACTION_BYTES)
    ]
