"""One simulated node: the real core, turns and write-ahead log, on a disk and links that fail.

`node.turns` runs here as it does in a node; what it asks for is done in simulated time, and the
process can die before any effect.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from consensus.actions import Action, RaiseAlarm
from consensus.core import Core
from consensus.errors import ContradictoryRecordsError
from consensus.events import (
    ClockReading,
    Event,
    MessageReceived,
    PeerConnected,
    PeerDisconnected,
)
from consensus.messages import Message, PrePrepare, Vote
from consensus.records import decode_record
from node.storage.wal import WriteAheadLog
from node.turns import EVENTS_WAITING_MAX, ConsensusTurns, EpochCore, TurnCallbacks
from primitives.errors import CorruptStateError
from primitives.evidence import Evidence
from tests.simulator.disk import DiskFaults, SimulatedFiles
from tests.simulator.ledger_service_thread import LedgerServiceThread
from tests.simulator.ledger_thread import CheapLedgerThread, ProcessStoppedError, SigningHistory

if TYPE_CHECKING:
    from tests.simulator.simulation import Simulation

__all__ = ["NotedLog", "SimulatedNode"]

SimulatedThread = CheapLedgerThread | LedgerServiceThread

LOG_FOLDER = Path("/wal")
BOUNDS_CHECKED_EVERY = 64


class NotedLog:
    """The write-ahead log, and which votes in it are on disk.

    Parameters
    ----------
    log : the real one.
    guard : told of the view of every record before it is written, as the guard of the key is.
    """

    def __init__(self, log: WriteAheadLog, guard: Callable[[int], None]) -> None:
        self._log = log
        self._guard = guard
        self._unsynced: list[Vote] = []
        self.durable = {vote for vote in map(_vote_of, log.records()) if vote is not None}

    def records(self) -> list[bytes]:
        """Return what is in the log."""
        return self._log.records()

    def append(self, record: bytes, tag: int) -> None:
        """Append a record."""
        self._guard(tag)
        self._log.append(record, tag)
        vote = _vote_of(record)
        if vote is not None:
            self._unsynced.append(vote)

    def sync(self) -> None:
        """Sync the log."""
        self._log.sync()
        self.durable.update(self._unsynced)
        self._unsynced.clear()

    def prune(self, below_tag: int) -> None:
        """Prune the log."""
        self._log.prune(below_tag)
        self.durable = {vote for vote in self.durable if vote.view >= below_tag}


def _vote_of(record: bytes) -> Vote | None:
    return decode_record(record).vote


class _ObservedTurns(ConsensusTurns):
    """The real turns, in which a process may die before any action and checkers look on."""

    node: SimulatedNode

    def _perform(self, action: Action) -> None:
        self.node.on_action(action)
        super()._perform(action)


class SimulatedNode:
    """A node in the simulation, and its message door.

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
        self.effects_left: int | None = None
        self.is_paused = False
        # What the guard of its key knows: whether the log is whole, and up to where it is not.
        self.records_lost = False
        self.sign_floor_view = 0
        self.blocks_lost = False
        # Until an operator has looked, it does not start.
        self.needs_operator = False
        self.execution_ms = 0
        self.execution_fails = False
        self.diverges = False
        self._life = 0
        self._log: NotedLog | None = None
        self._turns: _ObservedTurns | None = None
        self._thread: SimulatedThread | None = None
        self._turn_due = False
        self._turns_taken = 0
        self._armed_ms: int | None = None

    @property
    def core(self) -> Core | None:
        """The core of the running process."""
        return None if self._turns is None else self._turns.core

    @property
    def epoch(self) -> int:
        """The epoch that its core is in."""
        return 0 if self._turns is None else self._turns.core.state.parameters.epoch

    @property
    def own_index(self) -> int | None:
        """Its index among the validators of its epoch, if it is one."""
        return None if self._turns is None else self._turns.core.state.own_index

    @property
    def height(self) -> int:
        """Height of the last final block on its disk."""
        return self.ledger.height

    def start(self) -> None:
        """Start from the disk, as after a crash."""
        self._life += 1
        self._turn_due = self.is_paused = False
        self._armed_ms = None
        self.ledger.restart()
        with self.stopping_on_failure():
            simulation = self._simulation
            self._log = NotedLog(self._open_log(), self._note_signing)
            simulation.checkers.on_started(self.identity, self.ledger, blocks_lost=self.blocks_lost)
            self.blocks_lost = False
            thread = simulation.make_thread(self)
            turns = _ObservedTurns(
                partial(self._begin, self._log, thread),
                self._log,
                self,
                thread,
                self.read_clocks,
                TurnCallbacks(self.want_turn, self._on_evidence, lambda _: None),
            )
            turns.node = self
            self._turns, self._thread = turns, thread
            turns.start()
            simulation.connect(self)
            self.want_turn()

    def die(self) -> None:
        """Lose everything but the disk, and of that what was not synced, as chance has it."""
        if self._thread is not None:
            self._thread.end()
            self._thread = None
        if self._turns is not None:
            self._turns = None
            self._simulation.disconnect(self)
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
        if self._turns is not None and len(self._turns._events) < EVENTS_WAITING_MAX:
            self._turns.post(MessageReceived(source, message))

    def post(self, event: Event) -> None:
        """Let an event happen to the node."""
        if self._turns is not None:
            self._turns.post(event)

    def offer(self, transaction: bytes) -> None:
        """Put a transaction into the pool."""
        if self._thread is not None:
            self._thread.offer(transaction)
            self.want_turn()

    def resume(self) -> None:
        """Go on after a pause."""
        self.is_paused = False
        if self._thread is not None:
            self._thread.resume()
        self.want_turn()

    def note_peer(self, peer: int, *, connected: bool) -> None:
        """Learn that a peer came or went."""
        self.post(PeerConnected(peer) if connected else PeerDisconnected(peer))

    def connected(self) -> list[int]:
        """Return who can be sent to now."""
        return self._simulation.list_running(self)

    def send(self, number: int, message: Message) -> None:
        """Send to one node."""
        self._check_own(message)
        self._simulation.send(self, number, message)

    def broadcast(self, message: Message) -> None:
        """Send to all others."""
        self._check_own(message)
        self._simulation.broadcast(self, message)

    def read_clocks(self) -> ClockReading:
        """Return both clocks."""
        now_ms = self._simulation.now_ms
        return ClockReading(
            now_ms, self._simulation.wall_start_ms + self._simulation.read_wall_ms(self.index)
        )

    def want_turn(self) -> None:
        """Take a turn soon."""
        if not self._turn_due and not self.is_paused:
            self._turn_due = True
            self._simulation.at(self._simulation.now_ms, self._take_turn, self._life)

    def on_action(self, action: Action) -> None:
        """Look at an action before it is done; die here if the plan says so."""
        self._reach_boundary()
        self._simulation.coverage.note_action(action)
        if isinstance(action, RaiseAlarm):
            self._simulation.checkers.on_alarm(self.identity, action.code, action.text)

    @contextlib.contextmanager
    def stopping_on_failure(self) -> Iterator[None]:
        """Stop the process where a node would."""
        simulation = self._simulation
        try:
            yield
        except ProcessStoppedError:
            simulation.note("process died")
            self.die()
        except ContradictoryRecordsError:
            simulation.expect_damage(self, "contradicting records")
            simulation.note("stopped by contradicting records")
            self.die()
            self.needs_operator = True
        except CorruptStateError:
            simulation.expect_damage(self, "a corrupt log")
            simulation.note("stopped by a damaged log")
            self.die()
            self.needs_operator = True
        except OSError:
            simulation.note("stopped by the disk")
            self.die()

    def _open_log(self) -> WriteAheadLog:
        simulation = self._simulation
        return WriteAheadLog(
            LOG_FOLDER, simulation.segment_bytes_max, self.files, simulation.random.randbytes
        )

    def _begin(self, log: NotedLog, thread: SimulatedThread) -> EpochCore:
        """Make the core of the epoch that the ledger is in."""
        simulation = self._simulation
        is_first = self._turns is None
        running = thread.begin(
            SigningHistory(
                log.records(),
                self.records_lost,
                self.sign_floor_view,
                # Two processes with one key have an operator who wants it so.
                self.identity in simulation.scenario.twins,
                is_first,
            )
        )
        simulation.coverage.watch(running.core)
        if not is_first:
            simulation.note("epoch switched")
        if not self.records_lost:
            simulation.checkers.on_recovered(self.identity, running.core)
        return running

    def _note_signing(self, view: int) -> None:
        """After a loss: whoever allows this view knows that it is above all that was lost."""
        if self.records_lost:
            self.records_lost = False
            self.sign_floor_view = max(self.sign_floor_view, view - 1)
            self._simulation.note("signs again after a loss")

    def _take_turn(self, life: int) -> None:
        if life != self._life or self._turns is None:
            return
        self._turn_due = False
        if self.is_paused:
            return
        with self.stopping_on_failure():
            self._turns.take_turn()
        if self._turns is None:
            return
        wait_ms = self._turns.compute_wait_ms()
        if wait_ms == 0:
            self.want_turn()
        elif wait_ms is not None:
            self._arm_timer(self._simulation.now_ms + wait_ms)
        self._look_around(self._turns.core)

    def _look_around(self, core: Core) -> None:
        """Hold the core's buffers to their bounds now and then."""
        self._turns_taken += 1
        if self._turns_taken % BOUNDS_CHECKED_EVERY == 0:
            self._simulation.checkers.check_bounds(self.identity, core)

    def _arm_timer(self, deadline_ms: int) -> None:
        """Wake up at a time, unless it is to wake up earlier already and can look again then."""
        if self._armed_ms is None or deadline_ms < self._armed_ms:
            self._armed_ms = deadline_ms
            self._simulation.at(deadline_ms, self._on_timer, self._life, deadline_ms)

    def _on_timer(self, life: int, deadline_ms: int) -> None:
        if life == self._life and self._armed_ms == deadline_ms:
            self._armed_ms = None
            self.want_turn()

    def _reach_boundary(self) -> None:
        """Die here if this is the effect at which the plan says so."""
        if self.effects_left is None:
            return
        if self.effects_left == 0:
            raise ProcessStoppedError
        self.effects_left -= 1

    def _check_own(self, message: Message) -> None:
        checkers = self._simulation.checkers
        if self._log is None:
            return
        if isinstance(message, Vote) and message.validator == self.own_index:
            checkers.on_sent(self.identity, message, self._log.durable)
        elif isinstance(message, PrePrepare) and message.header.proposer == self.own_index:
            checkers.on_proposed(self.identity, message)

    def _on_evidence(self, evidence: Evidence) -> None:
        self._simulation.checkers.on_evidence(self.identity, evidence)
        if self._thread is not None:
            self._thread.report(evidence)
