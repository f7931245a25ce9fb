"""Performs what consensus asks for, in order, one turn at a time.

Theory of operation
-------------------
The consensus core is a pure state machine: events in, actions out. This file is its shell, still
without threads, sockets or waiting: the node runs it on its event loop (node/driver.py), the
simulator in simulated time. All events, from peers, from timers and from the ledger, go into one
queue; a *turn* takes what is there, steps the core for each, and performs the actions:

1. every record that the core wants persisted is appended to the write-ahead log;
2. the log is synced to disk once;
3. everything else is done in the order asked for.

A core lives for one epoch. When its last block is final nothing more is taken from the queue until
that block is durable; then the next epoch's core goes on with it.

Invariants: (D1) no message leaves before the records of its turn are on disk
(docs/spec/consensus.md §7); (D2) nothing here waits: validation, execution and finality are handed
to the ledger and come back as events; (D3) records are pruned only after the blocks that make them
needless are durable; (D4) the next epoch begins only on a block that is durable.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

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
from consensus.events import (
    ClockReading,
    Event,
    MessageReceived,
    PeerConnected,
    PeerDisconnected,
    Ticked,
    WorkChanged,
)
from consensus.messages import Message, decode_message
from node.seats import Seats
from primitives.errors import InvalidInputError
from primitives.evidence import Evidence
from primitives.header import BlockHeader

__all__ = [
    "ConsensusTurns",
    "EpochCore",
    "LedgerDoor",
    "MessageDoor",
    "RecordLog",
    "TurnCallbacks",
]

logger = logging.getLogger(__name__)

EVENTS_PER_TURN_MAX = 256
"""A turn ends after so many events, so that what they ask for leaves in time."""

EVENTS_WAITING_MAX = 20_000
"""Messages of peers beyond this are dropped and counted; retransmission brings them again."""


@dataclass(frozen=True, slots=True)
class EpochCore:
    """What decides one epoch: a core that was not started, and who sits where."""

    core: Core
    seats: Seats


class RecordLog(Protocol):
    """The write-ahead log, as a turn uses it."""

    def append(self, record: bytes, tag: int) -> None:
        """Append a record; it is durable after the next :meth:`sync`."""

    def sync(self) -> None:
        """Return once everything appended survives a loss of power."""

    def prune(self, below_tag: int) -> None:
        """Forget records with tags below this one; it may be put off."""


class MessageDoor(Protocol):
    """Sends messages to members, by number; never waits."""

    def connected(self) -> list[int]:
        """Return who can be sent to now."""

    def send(self, number: int, message: Message) -> None:
        """Send to one member."""

    def broadcast(self, message: Message) -> None:
        """Send to every connected member."""


class LedgerDoor(Protocol):
    """The ledger's side of consensus; every call returns at once and answers with an event."""

    def validate(self, action: ValidateBlock) -> None:
        """Judge a block; answers ``BlockValidated``."""

    def execute(self, action: ExecuteBlock) -> None:
        """Execute a block; answers ``BlockExecuted``."""

    def build(self, action: BuildBlock) -> None:
        """Choose a block's transactions; answers ``BlockBuilt``."""

    def finalize(self, action: FinalizeBlocks) -> None:
        """Make blocks durable."""

    def discard(self, action: DiscardBlocks) -> None:
        """Forget blocks that will never be final."""

    def serve(self, action: ServeBlocks) -> None:
        """Send final blocks to the member with the number ``action.peer``."""

    def serve_epoch_end(self, action: ServeEpochEnd) -> None:
        """Send that member the certificate by which an earlier epoch ended."""

    def has_work(self, is_live: Callable[[BlockHeader], bool]) -> bool:
        """Return whether a transaction waits that no live unfinal block holds."""

    def after_finality(self, call: Callable[[], None]) -> None:
        """Call back once every block handed to :meth:`finalize` so far is durable."""


@dataclass(frozen=True, slots=True)
class TurnCallbacks:
    """What the turns tell the rest of the node; a callback must not wait.

    Parameters
    ----------
    wake
        There is something to do for a turn.
    report_evidence
        Evidence was found that the ledger should hold.
    on_alarm
        Consensus raised an alarm of this code.
    """

    wake: Callable[[], None]
    report_evidence: Callable[[Evidence], None]
    on_alarm: Callable[[str], None]


class ConsensusTurns:
    """The queue of events, and the turns that empty it; one at a time.

    Parameters
    ----------
    begin
        Makes the core of the epoch that the ledger is in; called for each epoch anew.
    wal
        The write-ahead log.
    messages, ledger
        Where actions go.
    read_clocks
        The two clocks of this process.
    callbacks
        Whom to tell of what.
    """

    def __init__(
        self,
        begin: Callable[[], EpochCore],
        wal: RecordLog,
        messages: MessageDoor,
        ledger: LedgerDoor,
        read_clocks: Callable[[], ClockReading],
        callbacks: TurnCallbacks,
    ) -> None:
        self._begin = begin
        self._wal = wal
        self._messages = messages
        self._ledger = ledger
        self._read_clocks = read_clocks
        self._tell = callbacks
        self._running = begin()
        self._events: deque[Event] = deque()
        self._is_switching = False
        self._is_suspended = False
        self._work_known = False
        self.counters: Counter[str] = Counter()

    @property
    def core(self) -> Core:
        """The core of the present epoch, to be read only."""
        return self._running.core

    @property
    def seats(self) -> Seats:
        """Who sits where in the present epoch."""
        return self._running.seats

    def start(self) -> None:
        """Start the core; nothing leaves before."""
        now = self._read_clocks()
        core, seats = self._running.core, self._running.seats
        actions = core.start(now)
        for number in self._messages.connected():
            actions += core.step(PeerConnected(seats.index_of(number)), now)
        self._carry_out(actions)

    def post(self, event: Event) -> None:
        """Put an event into the queue; peers in it are members by number."""
        if not self._is_suspended:
            self._events.append(event)
            self._tell.wake()

    def post_bytes(self, number: int, data: bytes) -> None:
        """Put a member's message into the queue, or count why not."""
        if self._is_suspended or len(self._events) >= EVENTS_WAITING_MAX:
            self.counters["messages_dropped"] += 1
            return
        try:
            message = decode_message(data)
        except InvalidInputError as error:
            self.counters["messages_malformed"] += 1
            logger.warning("message of member %d refused: %s", number, error)
            return
        self.post(MessageReceived(number, message))

    def compute_wait_ms(self) -> int | None:
        """Return how long there is nothing to do unless woken; None if for ever."""
        if self._is_switching or self._is_suspended:
            return None
        if self._events:
            return 0
        deadline = self.core.next_deadline()
        if deadline is None:
            return None
        return max(deadline - self._read_clocks().monotonic_ms, 0)

    def take_turn(self) -> None:
        """Do what is to be done now."""
        if self._is_switching or self._is_suspended:
            return
        core = self.core
        actions: list[Action] = []
        now = self._read_clocks()
        for _ in range(min(len(self._events), EVENTS_PER_TURN_MAX)):
            actions += core.step(self._seat(self._events.popleft()), now)
            if core.state.is_epoch_over:
                break
        deadline = core.next_deadline()
        if deadline is not None and deadline <= now.monotonic_ms:
            actions += core.step(Ticked(), now)
        work = self._ledger.has_work(self._is_live)
        if work != self._work_known:
            self._work_known = work
            actions += core.step(WorkChanged(work), now)
        self._is_switching = core.state.is_epoch_over
        self._carry_out(actions)
        if self._is_switching:
            self._ledger.after_finality(self._begin_epoch)

    def begin_again(self) -> None:
        """Go on with a new core made of what is on disk, once everything final is there."""
        self._is_switching = True
        # What the ledger answered to the old core is not what the new one asks for.
        self._events.clear()
        self._ledger.after_finality(self._begin_epoch)

    def suspend(self) -> None:
        """Take no more turns and drop what comes: an operator has to act."""
        self._is_suspended = True
        self._events.clear()

    def _begin_epoch(self) -> None:
        """Go on with the next epoch's core; the last block of this one is durable."""
        self._running = self._begin()
        self._is_switching = False
        self._work_known = False
        self.counters["epochs_begun"] += 1
        logger.info(
            "epoch %d begins at height %d with %d validators",
            self.core.state.parameters.epoch,
            self.core.state.tree.final.height + 1,
            self.core.state.validators.count,
        )
        self.start()
        self._tell.wake()

    def _seat(self, event: Event) -> Event:
        """Return an event with the validator index of the member that it names by number."""
        if isinstance(event, (MessageReceived, PeerConnected, PeerDisconnected)):
            return replace(event, peer=self.seats.index_of(event.peer))
        return event

    def _is_live(self, header: BlockHeader) -> bool:
        """Return whether an unfinal block is being voted on or prepared."""
        state = self.core.state
        if header.view >= state.view:
            return True
        record = state.log.find(header.view)
        certificate = None if record is None else record.block_certificate
        return certificate is not None and certificate.block_id == header.block_id

    def _carry_out(self, actions: list[Action]) -> None:
        self._persist(actions)
        for action in actions:
            self._perform(action)

    def _persist(self, actions: list[Action]) -> None:
        """Put every record of the turn on disk, with one sync."""
        records = [action for action in actions if isinstance(action, Persist)]
        for action in records:
            self._wal.append(action.record, action.view)
        if records:
            self._wal.sync()

    def _perform(self, action: Action) -> None:  # noqa: C901 (one case for each kind of action)
        match action:
            case Persist():
                pass  # On disk already, by D1.
            case Broadcast(message):
                self._messages.broadcast(message)
            case Send(peer, message):
                self._messages.send(self.seats.number_of(peer), message)
            case ValidateBlock():
                self._ledger.validate(action)
            case ExecuteBlock():
                self._ledger.execute(action)
            case BuildBlock():
                self._ledger.build(action)
            case FinalizeBlocks():
                self._ledger.finalize(action)
            case DiscardBlocks():
                self._ledger.discard(action)
            case ServeBlocks():
                self._ledger.serve(replace(action, peer=self.seats.number_of(action.peer)))
            case ServeEpochEnd():
                number = self.seats.number_of(action.peer)
                self._ledger.serve_epoch_end(replace(action, peer=number))
            case PruneRecords(below_view):
                self._ledger.after_finality(lambda: self._wal.prune(below_view))
            case ReportEvidence(evidence):
                self.counters["evidence"] += 1
                logger.error(
                    "validator %d broke a vote rule: %s", evidence.validator, evidence.kind.name
                )
                self._tell.report_evidence(evidence)
            case ReportPeer(peer, code):
                self.counters[f"peer_fault_{code}"] += 1
                logger.warning("peer %d sent what no correct peer sends: %s", peer, code)
            case RaiseAlarm(code, text):
                self.counters[f"alarm_{code}"] += 1
                logger.error("alarm %s: %s", code, text)
                self._tell.on_alarm(code)
            case _:
                assert_never(action)
