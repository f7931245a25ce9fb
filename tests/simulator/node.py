"""One simulated node: the real core and the real write-ahead log, on a disk and links that fail.

The rules are those of ``node/driver.py``: all records of a turn are appended, then synced once,
then everything else is done in order; finality is written by a ledger of its own pace, and the log
is pruned only after that. It can die before any effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
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
    ReportPeer,
    Send,
    ServeBlocks,
    ServeEpochEnd,
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
    MessageReceived,
    PeerConnected,
    PeerDisconnected,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.messages import Block, CertificateMessage, Message, PrePrepare, Vote
from consensus.records import decode_record
from consensus.recovery import Recovered
from node.storage.wal import WriteAheadLog
from primitives.errors import CorruptStateError
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader
from tests.helpers.consensus import WALL_START_MS, sign
from tests.simulator.disk import DiskFaults, SimulatedFiles

if TYPE_CHECKING:
    from tests.simulator.simulation import Simulation

__all__ = ["SimulatedNode"]

LOG_FOLDER = Path("/wal")
EVENTS_PER_TURN_MAX = 256
EVENTS_WAITING_MAX = 20_000
BOUNDS_CHECKED_EVERY = 64


class _DiedError(Exception):
    """The node reached the effect at which it was to die, or something made it stop."""


class SimulatedNode:
    """A node in the simulation.

    Parameters
    ----------
    simulation : time, network and chance.
    index : its number.
    identity : the number that others know it by; a twin shares it with its original.
    """

    def __init__(self, simulation: Simulation, index: int, identity: int) -> None:
        self._simulation = simulation
        self.index = index
        self.identity = identity
        self.faults = DiskFaults(self._reach_boundary)
        self.files = SimulatedFiles(self.faults)
        self.ledger = simulation.make_ledger(self.faults)
        self.core: Core | None = None
        self.epoch = 0
        self.effects_left: int | None = None
        self.is_paused = False
        self.records_lost = False
        self.blocks_lost = False
        # Until an operator has looked, it does not start.
        self.needs_operator = False
        self.execution_ms = 0
        self.execution_fails = False
        self.diverges = False
        self._life = 0
        self._log: WriteAheadLog | None = None
        self._durable: set[Vote] = set()
        self._undurable: list[Vote] = []
        self._events: deque[Event | tuple[int, Message]] = deque()
        # What the ledger was to do while the process was stopped.
        self._held: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._turn_due = False
        self._turns = 0
        self._armed_ms: int | None = None
        self._ledger_free_at_ms = 0
        self._work_known = False

    @property
    def height(self) -> int:
        """Height of the last final block on its disk."""
        return self.ledger.height

    @property
    def own_index(self) -> int | None:
        """Its index among the validators of its epoch, if it is one."""
        members = self._simulation.plan.members(self.epoch)
        return members.index(self.identity) if self.identity in members else None

    def start(self) -> None:
        """Start from the disk, as after a crash."""
        self._life += 1
        self._events.clear()
        self._held.clear()
        self._turn_due = self.is_paused = False
        self._armed_ms = None
        self._ledger_free_at_ms = self._simulation.now_ms
        self.ledger.restart()
        try:
            self._log = self._open_log()
            records = self._log.records()
            self._durable = {
                vote for vote in (decode_record(each).vote for each in records) if vote is not None
            }
            self._undurable.clear()
            self._simulation.checkers.on_started(
                self.identity, self.height, blocks_lost=self.blocks_lost
            )
            self.blocks_lost = False
            self._start_core(records)
        except _DiedError:
            self._stop("crash")
        except ContradictoryRecordsError:
            self._simulation.expect_damage(self, "contradictory records")
            self._stop("stopped by contradicting records")
        except CorruptStateError:
            self._simulation.expect_damage(self, "a corrupt log")
            self._stop("stopped by a damaged log")
            self.needs_operator = True
        except OSError:
            self._stop("stopped by the disk")

    def die(self) -> None:
        """Lose everything but the disk, and of that what was not synced, as chance has it."""
        if self.core is not None:
            self._simulation.disconnect(self)
        self.core = None
        self._life += 1
        self.effects_left = None
        self.files.crash(self._simulation.random)

    def wipe_log(self) -> None:
        """Let an operator begin a new log under the old key."""
        self.files.wipe()
        self.records_lost = True
        self.needs_operator = False

    def receive(self, source: int, message: Message) -> None:
        """Take a message from the network."""
        if self.core is not None and len(self._events) < EVENTS_WAITING_MAX:
            self._events.append((source, message))
            self._want_turn()

    def post(self, event: Event) -> None:
        """Let an event happen to the node."""
        if self.core is not None:
            self._events.append(event)
            self._want_turn()

    def offer(self, transaction: bytes) -> None:
        """Put a transaction into the pool."""
        if self.core is not None:
            self.ledger.offer(transaction)
            self._want_turn()

    def resume(self) -> None:
        """Go on after a pause."""
        self.is_paused = False
        for work, arguments in self._held:
            self._later(self._simulation.now_ms, work, arguments)
        self._held.clear()
        self._want_turn()

    def note_peer(self, peer: int, *, connected: bool) -> None:
        """Learn that a peer came or went."""
        number = self._simulation.number_of(peer, self.epoch)
        self.post(PeerConnected(number) if connected else PeerDisconnected(number))

    def _open_log(self) -> WriteAheadLog:
        simulation = self._simulation
        return WriteAheadLog(
            LOG_FOLDER, simulation.segment_bytes_max, self.files, simulation.random.randbytes
        )

    def _start_core(self, records: list[bytes]) -> None:
        simulation = self._simulation
        header, certificate = self.ledger.tip()
        plan = simulation.plan
        self.epoch = plan.epoch_of(header.height + 1)
        key = plan.public_key(self.identity, self.epoch)
        index = self.own_index
        core = Core(
            simulation.make_parameters(self.epoch),
            plan.validators(self.epoch),
            index,
            None if index is None else lambda message: sign(key, message),
            Recovered(header, certificate, records, self.records_lost),
            simulation.verify,
        )
        simulation.coverage.watch(core)
        if not self.records_lost:
            simulation.checkers.on_recovered(self.identity, index, core)
        self.core = core
        self._work_known = False
        self._perform(core.start(self._clock()))
        simulation.connect(self)
        self._want_turn()

    def _want_turn(self) -> None:
        if not self._turn_due and not self.is_paused:
            self._turn_due = True
            self._simulation.at(self._simulation.now_ms, self._take_turn, self._life)

    def _take_turn(self, life: int) -> None:
        if life != self._life or self.core is None:
            return
        self._turn_due = False
        if self.is_paused:
            return
        try:
            self._perform(self._step_events(self.core))
        except _DiedError:
            self._stop("crash")
            return
        except OSError:
            self._stop("stopped by the disk")
            return
        self._arm_timer()
        self._look_around()

    def _step_events(self, core: Core) -> list[Action]:
        """Step the core for what waits, for the time that passed, and for work."""
        now = self._clock()
        actions: list[Action] = []
        simulation = self._simulation
        for _ in range(min(len(self._events), EVENTS_PER_TURN_MAX)):
            event = self._events.popleft()
            if isinstance(event, tuple):
                event = MessageReceived(simulation.number_of(event[0], self.epoch), event[1])
            actions += core.step(event, now)
        if self._armed_ms is not None and self._armed_ms <= now.monotonic_ms:
            self._armed_ms = None
            actions += core.step(Ticked(), now)
        work = self.ledger.has_work(self._is_live)
        if work != self._work_known:
            self._work_known = work
            actions += core.step(WorkChanged(work), now)
        if self._events:
            self._want_turn()
        return actions

    def _is_live(self, header: BlockHeader) -> bool:
        """Say whether an unfinal block is being voted on or prepared."""
        if self.core is None:
            return False
        state = self.core.state
        if header.view >= state.view:
            return True
        certificate = state.log.get_block_certificate(header.view, header.block_id)
        return certificate is not None

    def _look_around(self) -> None:
        """Note what came of a turn."""
        if self.core is None:
            return
        if self.records_lost and not self.core.state.is_on_probation:
            self.records_lost = False
            self._simulation.note("end of a probation")
        self._turns += 1
        if self._turns % BOUNDS_CHECKED_EVERY == 0:
            self._simulation.checkers.check_bounds(self.identity, self.core)

    def _arm_timer(self) -> None:
        if self.core is None:
            return
        deadline_ms = self.core.next_deadline()
        if deadline_ms is None or (self._armed_ms is not None and self._armed_ms <= deadline_ms):
            return
        self._armed_ms = deadline_ms
        self._simulation.at(deadline_ms, self._on_timer, self._life)

    def _on_timer(self, life: int) -> None:
        if life == self._life and self._armed_ms is not None:
            self._want_turn()

    def _clock(self) -> ClockReading:
        now_ms = self._simulation.now_ms
        return ClockReading(now_ms, WALL_START_MS + self._simulation.read_wall_ms(self.index))

    def _reach_boundary(self) -> None:
        """Die here if this is the effect at which the plan says so."""
        if self.effects_left is None:
            return
        if self.effects_left == 0:
            raise _DiedError
        self.effects_left -= 1

    def _stop(self, why: str) -> None:
        self._simulation.note(why)
        self.die()

    def _perform(self, actions: list[Action]) -> None:
        records = [action for action in actions if isinstance(action, Persist)]
        if records:
            self._persist(records)
        for action in actions:
            self._reach_boundary()
            self._perform_one(action)

    def _persist(self, records: list[Persist]) -> None:
        if self._log is None:
            raise _DiedError
        for action in records:
            self._log.append(action.record, action.view)
            vote = decode_record(action.record).vote
            if vote is not None:
                self._undurable.append(vote)
        if self._simulation.bugs.forgets_to_sync:
            return
        self._log.sync()
        self._durable.update(self._undurable)
        self._undurable.clear()

    def _perform_one(self, action: Action) -> None:  # noqa: C901 (one case for each action)
        simulation = self._simulation
        simulation.coverage.note_action(action)
        match action:
            case Broadcast(message):
                self._check_own(message)
                simulation.broadcast(self, message)
            case Send(peer, message):
                self._check_own(message)
                simulation.send(self, simulation.identity_of(peer, self.epoch), message)
            case ValidateBlock(block, certified):
                self._validate(block, certified)
            case ExecuteBlock(block):
                self._on_ledger(self._execute, block)
            case BuildBlock():
                self._build(action)
            case FinalizeBlocks():
                self._on_ledger(self._finalize, action)
            case PruneRecords(below_view):
                self._on_ledger(self._prune, below_view)
            case DiscardBlocks(block_ids):
                self._on_ledger(self.ledger.discard, block_ids)
            case ServeBlocks(peer, from_height, count):
                self._on_ledger(self._serve, peer, from_height, count)
            case ServeEpochEnd(peer, epoch):
                self._on_ledger(self._serve_epoch_end, peer, epoch)
            case ReportEvidence(evidence):
                simulation.checkers.on_evidence(self.identity, evidence)
            case RaiseAlarm(code, text):
                simulation.checkers.on_alarm(self.identity, code, text)
            case ReportPeer() | Persist():
                pass

    def _check_own(self, message: Message) -> None:
        checkers = self._simulation.checkers
        if isinstance(message, Vote) and message.validator == self.own_index:
            checkers.on_sent(self.identity, message, self._durable)
        elif isinstance(message, PrePrepare) and message.header.proposer == self.own_index:
            checkers.on_proposed(self.identity, message)

    def _on_ledger(self, work: Callable[..., None], *arguments: object) -> None:
        """Do something on the ledger's thread: in order, each thing taking its time."""
        now_ms = self._simulation.now_ms
        start_ms = max(now_ms, self._ledger_free_at_ms)
        slow_ms = int(self._simulation.random.random() * self.execution_ms)
        self._ledger_free_at_ms = start_ms + slow_ms
        self._later(self._ledger_free_at_ms, work, arguments)

    def _later(self, at_ms: int, work: Callable[..., None], arguments: tuple[object, ...]) -> None:
        self._simulation.at(at_ms, self._do_if_alive, self._life, work, arguments)

    def _do_if_alive(
        self, life: int, work: Callable[..., None], arguments: tuple[object, ...]
    ) -> None:
        if life != self._life:
            return
        if self.is_paused:
            self._held.append((work, arguments))
            return
        try:
            work(*arguments)
        except _DiedError:
            self._stop("crash")
        except OSError:
            self._stop("stopped by the disk")

    def _validate(self, block: Block, certified: bool) -> None:
        good = self.ledger.is_valid(block, certified=certified)
        verdict = Verdict.VALID if good else Verdict.INVALID
        self._later(
            self._simulation.now_ms + 1, self.post, (BlockValidated(block.block_id, verdict),)
        )

    def _execute(self, block: Block) -> None:
        if self.execution_fails:
            self._simulation.note("stopped by its execution")
            raise _DiedError
        end = self._simulation.plan.end_height(self.epoch)
        root = self.ledger.execute(block, is_tail=block.header.height > end)
        if root is None:
            return
        if self.diverges:
            self._simulation.checkers.diverged.add(self.identity)
            self._simulation.note("diverging roots")
            root = bytes(30) + bytes([self.index]) + b"!"
        self.post(BlockExecuted(block.block_id, root))

    def _build(self, action: BuildBlock) -> None:
        plan = self._simulation.plan
        body, root = self.ledger.build(action.parent, must_be_empty=action.must_be_empty)
        ends = action.parent.height + 1 == plan.end_height(self.epoch)
        built = BlockBuilt(
            action.view,
            action.parent.block_id,
            body,
            root,
            self._clock().wall_ms,
            plan.validators(self.epoch + 1).hash if ends else ZERO_HASH,
        )
        self.post(built)

    def _finalize(self, action: FinalizeBlocks) -> None:
        for final in self.ledger.finalize(action.blocks, action.certificate):
            height = final.block.header.height
            self._simulation.checkers.on_final(self.identity, height, final)
        if self.height >= self._simulation.plan.end_height(self.epoch):
            self._on_ledger(self._end_epoch)
        self._want_turn()

    def _end_epoch(self) -> None:
        """Start the next epoch's core, on the same log."""
        if self._log is not None:
            self._simulation.note("epoch switched")
            self._start_core(self._log.records())

    def _prune(self, below_view: int) -> None:
        if self._log is not None:
            self._log.prune(below_view)

    def _serve(self, peer: int, from_height: int, count: int) -> None:
        target = self._simulation.identity_of(peer, self.epoch)
        self._simulation.send(self, target, self.ledger.serve(from_height, count))

    def _serve_epoch_end(self, peer: int, epoch: int) -> None:
        certificate = self.ledger.find_epoch_certificate(epoch)
        if certificate is not None:
            target = self._simulation.identity_of(peer, self.epoch)
            self._simulation.send(self, target, CertificateMessage(certificate))
