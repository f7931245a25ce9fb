"""One correct core as a state machine: its states are numbered, its transitions remembered.

A core is deterministic, so what an event does to it needs to be found out once. A state is reached
again by feeding the events that led there to a new core; two states are the same if the facts in
them are (`fingerprint`). Left out of the facts: the clock, what is timing only (growth of timeouts,
repetition), whose votes make up a certificate, and what is durable.
Execution, validation and the fetching of missing blocks take no time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass

from consensus.actions import (
    Action,
    Broadcast,
    BuildBlock,
    ExecuteBlock,
    FinalizeBlocks,
    Persist,
    ReportEvidence,
    Send,
    ValidateBlock,
)
from consensus.core import Core
from consensus.events import (
    BlockBuilt,
    BlockExecuted,
    BlockValidated,
    ClockReading,
    Event,
    MessageReceived,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.evidence import Evidence
from consensus.messages import (
    BlockRequest,
    BlockResponse,
    CertificateMessage,
    PrePrepare,
    Vote,
)
from consensus.recovery import Recovered
from consensus.votes import ViewRecord
from primitives.certificates import Certificate, VoteKind
from tests.helpers.consensus import (
    GENESIS,
    WALL_START_MS,
    body_root,
    make_parameters,
    make_public_key,
)
from tests.model_check.universe import (
    GENESIS_NUMBER,
    SIGNATURES,
    VALIDATORS,
    Subject,
    Universe,
    iterate_bits,
)
from tests.twins.schedule import ChosenLeaders

__all__ = ["LocalState", "LocalSystem", "Reduction", "Replica"]

PARAMETERS = make_parameters(
    view_timeout_ms=100_000,
    timeout_max_ms=100_000,
    retransmit_ms=1_000_000,
    retransmit_max_ms=1_000_000,
    fetch_delay_ms=1,
    request_timeout_ms=1,
)
SIGNATURE_BY_KEY = {make_public_key(index): SIGNATURES[index] for index in range(4)}
BODY = b"a"
BYZANTINE = 0
TICKS_MAX = 16


class PatientLeaders(ChosenLeaders):
    """A schedule in which nobody's turn is cut short: a timeout may happen at any time anyway."""

    __slots__ = ()

    def is_skipped(self, view: int) -> bool:
        """Say that the leader is not marked."""
        return False


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    return signature == SIGNATURE_BY_KEY[public_key]


class Replica:
    """A running core, to which events of the universe happen.

    Parameters
    ----------
    universe : numbers blocks and subjects.
    index : validator index of the core.
    """

    def __init__(self, universe: Universe, index: int) -> None:
        self.universe = universe
        self.index = index
        self.now_ms = 1_000
        self.sent = 0
        self.evidence: list[Evidence] = []
        # Certificates are learnt as if all the others had signed; whose votes they were is no fact.
        self.signers = tuple(each for each in range(4) if each != index)
        self.records: list[bytes] = []
        self.restarts = -1
        self.final = GENESIS
        self.final_certificate: Certificate | None = None
        self._start()

    def _start(self) -> None:
        """Start a core with what is on disk."""
        self.restarts += 1
        signature = SIGNATURES[self.index]
        self.core = Core(
            PARAMETERS,
            VALIDATORS,
            self.index,
            lambda message: signature,
            Recovered(self.final, self.final_certificate, self.records),
            verify,
        )
        # Views beyond the bound are led by a validator that stays silent.
        leaders = (*self.universe.leaders, *(BYZANTINE,) * 8)
        self.core.state.leaders = PatientLeaders(VALIDATORS.count, leaders)
        self._perform(self.core.start(self.clock))
        self._step(WorkChanged(True))

    @property
    def clock(self) -> ClockReading:
        return ClockReading(self.now_ms, WALL_START_MS)

    def happen(self, position: int, signers: tuple[int, ...] | None = None) -> None:
        """Let an event of the universe happen."""
        universe = self.universe
        if position == universe.timeout:
            self._time_out()
        elif position == universe.restart:
            self._start()
        elif position >= len(universe.subjects):
            block = universe.blocks[position - len(universe.subjects)]
            self._step(MessageReceived(block.header.proposer, block))
        else:
            certificate = universe.make_certificate(position, signers or self.signers)
            self._step(MessageReceived(BYZANTINE, CertificateMessage(certificate)))
            self._fetch()

    def _time_out(self) -> None:
        view = self.core.state.view
        for _ in range(TICKS_MAX):
            if self.core.state.safety.get_vote(VoteKind.VIEW_CHANGE, view) is not None:
                return
            self._tick()

    def _fetch(self) -> None:
        """Let time pass, far less than a timeout, until nothing is missing that can be fetched."""
        for _ in range(TICKS_MAX):
            deadline = self.core.next_deadline()
            if deadline is None or deadline > self.now_ms + 10:
                return
            self._tick()

    def _tick(self) -> None:
        deadline = self.core.next_deadline()
        if deadline is not None:
            self.now_ms = deadline
            self._step(Ticked())

    def _step(self, event: Event) -> None:
        self._perform(self.core.step(event, self.clock))

    def _perform(self, actions: list[Action]) -> None:
        todo = deque(actions)
        while todo:
            answer = self._answer(todo.popleft())
            if answer is not None:
                todo.extend(self.core.step(answer, self.clock))

    def _answer(self, action: Action) -> Event | None:
        """Do what the driver would, and return what it would tell the core."""
        universe = self.universe
        match action:
            case ValidateBlock(block):
                return BlockValidated(block.block_id, Verdict.VALID)
            case ExecuteBlock(block):
                number = universe.numbers[block.block_id]
                return BlockExecuted(block.block_id, universe.root(number))
            case BuildBlock(view, parent):
                if view <= universe.views:
                    return BlockBuilt(view, parent.block_id, BODY, body_root(BODY), 0)
            case Send(peer, BlockRequest(block_id)):
                wanted = universe.blocks[universe.numbers[block_id]]
                return MessageReceived(peer, BlockResponse(wanted))
        self._note(action)
        return None

    def _note(self, action: Action) -> None:
        match action:
            case Broadcast(Vote() | PrePrepare() as message):
                self._note_sent(message)
            case Persist(record):
                self.records.append(record)
            case FinalizeBlocks(blocks, certificate):
                self.final, self.final_certificate = blocks[-1].header, certificate
            case ReportEvidence(evidence):
                self.evidence.append(evidence)

    def _note_sent(self, message: Vote | PrePrepare) -> None:
        universe = self.universe
        if isinstance(message, PrePrepare):
            self.sent |= 1 << universe.position_of_block(universe.numbers[message.block_id])
        elif message.validator == self.index and message.view <= universe.views:
            block = universe.numbers.get(message.block_id, GENESIS_NUMBER)
            self.sent |= 1 << universe.positions[Subject(message.kind, message.view, block)]


@dataclass(slots=True)
class LocalState:
    """A state of one core.

    Parameters
    ----------
    number : within its system.
    path : events that lead here.
    sent : subjects voted for and blocks proposed, as bits.
    taken : blocks that were seen as proposals, as event bits.
    final : number of its last final block.
    candidates : events that may change the state; those found not to are taken out.
    eager : those of them that only add knowledge; a reduced search lets them happen at once.
    leaving : those that end the view.
    successors : by event.
    """

    number: int
    path: tuple[int, ...]
    sent: int
    taken: int
    final: int
    candidates: int
    eager: int
    leaving: int
    successors: dict[int, LocalState]


@dataclass(frozen=True, slots=True)
class Reduction:
    """What a search leaves out because something else that it does allows at least as much.

    Parameters
    ----------
    is_on : knowledge of earlier views comes at once (but to those who lead a later one, since it
        decides what they propose); views are entered one by one; a block is seen when it can be
        prepared; a view is not left as long as a Byzantine block can be prepared in it.
    finality : cores learn commit certificates. They can exist in any case.
    restarts_max : how often a core may die and come back.
    """

    is_on: bool = True
    finality: bool = False
    restarts_max: int = 0


class LocalSystem:
    """The states of a correct validator.

    Parameters
    ----------
    universe : numbers blocks and subjects.
    index : its validator index.
    reduction : what to leave out.
    """

    def __init__(self, universe: Universe, index: int, reduction: Reduction) -> None:
        self.universe = universe
        self.index = index
        self.reduction = reduction
        self.states: list[LocalState] = []
        self.transitions = 0
        self._by_fingerprint: dict[Hashable, LocalState] = {}
        self.initial = self._note(Replica(universe, index), ())

    def advance(self, state: LocalState, position: int) -> LocalState:
        """Return the state after an event; the same if the event changes nothing."""
        found = state.successors.get(position)
        if found is not None:
            return found
        replica = self.replay(state)
        replica.happen(position)
        self.transitions += 1
        if self.reduction.is_on and replica.sent == state.sent and self._is_block(position):
            # A block that waits for its justification: it can as well be seen when that is here.
            state.candidates &= ~(1 << position)
            return state
        found = self._note(replica, (*state.path, position))
        state.successors[position] = found
        if found is state:
            state.candidates &= ~(1 << position)
        return found

    def replay(self, state: LocalState) -> Replica:
        """Return a core in a state."""
        return self.replay_path(state.path)

    def replay_path(self, path: tuple[int, ...]) -> Replica:
        """Return a core to which events have happened."""
        replica = Replica(self.universe, self.index)
        for position in path:
            replica.happen(position)
        return replica

    def list_preparable(self, state: LocalState) -> int:
        """List the Byzantine blocks that a core in this state would prepare, as event bits."""
        blocks = state.candidates & self.universe.always & (self.universe.timeout_mask - 1)
        return sum(
            1 << position
            for position in iterate_bits(blocks)
            if self.advance(state, position) is not state
        )

    def _is_block(self, position: int) -> bool:
        return len(self.universe.subjects) <= position < self.universe.timeout

    def _note(self, replica: Replica, path: tuple[int, ...]) -> LocalState:
        key: Hashable = (fingerprint(replica), replica.sent)
        if replica.restarts < self.reduction.restarts_max:
            # What is on disk matters as long as it may be read again.
            key = (key, replica.restarts, frozenset(replica.records))
        state = self._by_fingerprint.get(key)
        if state is None:
            final = replica.core.state.tree.final.block_id
            certificates = self._list_certificates(replica)
            eager = leaving = 0
            if self.reduction.is_on:
                certificates, eager, leaving = self._sort_out(replica, certificates)
            state = LocalState(
                len(self.states),
                path,
                replica.sent,
                self._list_taken(replica),
                self.universe.numbers.get(final, GENESIS_NUMBER),
                certificates | self._list_others(replica),
                eager,
                leaving,
                {},
            )
            self._by_fingerprint[key] = state
            self.states.append(state)
        return state

    def _sort_out(self, replica: Replica, certificates: int) -> tuple[int, int, int]:
        """Take out what is not needed; return the rest, and what in it is eager and leaving."""
        universe, view = self.universe, replica.core.state.view
        leads_later = self.index in universe.leaders[view - 1 :]
        kept = eager = leaving = 0
        for position in iterate_bits(certificates):
            subject = universe.subjects[position]
            if subject.kind is VoteKind.COMMIT and not self.reduction.finality:
                continue
            if subject.view == view:
                leaving |= 1 << position
            elif subject.view > view:
                continue
            elif subject.kind is not VoteKind.COMMIT and not leads_later:
                eager |= 1 << position
            kept |= 1 << position
        return kept, eager, leaving

    def _list_taken(self, replica: Replica) -> int:
        universe = self.universe
        taken = 0
        for view in range(1, universe.views + 1):
            record = replica.core.state.log.find(view)
            if record is not None and record.proposal is not None:
                number = universe.numbers[record.proposal.header.block_id]
                taken |= 1 << universe.position_of_block(number)
        return taken

    def _list_certificates(self, replica: Replica) -> int:
        """List the certificates that can mean something to a core in this state."""
        universe, state = self.universe, replica.core.state
        # A commit certificate is learnt after the prepared one, and so with its block.
        return sum(
            1 << position
            for position, subject in enumerate(universe.subjects)
            if not state.is_halted
            and (
                subject.kind is not VoteKind.COMMIT
                or state.tree.get_chain(universe.blocks[subject.block].block_id)
            )
        )

    def _list_others(self, replica: Replica) -> int:
        """List the restart, the blocks of the view, and the timeout if the view is in bounds."""
        universe, state = self.universe, replica.core.state
        restart = (replica.restarts < self.reduction.restarts_max) << universe.restart
        if state.is_halted or state.view > universe.views:
            return restart
        return (
            restart
            | universe.timeout_mask
            | sum(
                1 << universe.position_of_block(number)
                for number, block in enumerate(universe.blocks)
                if block.header.view == state.view
            )
        )


def fingerprint(replica: Replica) -> Hashable:
    """Return the facts that decide what a core does from here on, timing left out."""
    state = replica.core.state
    numbers = replica.universe.numbers
    views = range(1, replica.universe.views + 2)
    records = [state.log.find(view) for view in views]
    return (
        state.view,
        state.tree.final.block_id,
        (state.is_halted, state.is_behind, state.safety.is_on),
        tuple(record and _describe_record(record, numbers) for record in records),
        tuple(
            entry
            and (
                entry.judgement,
                entry.certified,
                entry.prepared_here,
                entry.execution_requested,
                entry.state_root is not None,
            )
            for entry in (state.tree.find(block_id) for block_id in numbers)
        ),
        tuple(
            vote and vote.block_id
            for vote in (state.safety.get_vote(kind, view) for kind in VoteKind for view in views)
        ),
        tuple(proposal and proposal.block_id for proposal in map(state.safety.get_proposal, views)),
        tuple(sorted(state.log.prepared_views)),
        tuple(sorted(state.log.committed_views)),
    )


def _describe_record(record: ViewRecord, numbers: dict[bytes, int]) -> Hashable:
    certificates = [
        (kind, numbers.get(each.block_id)) for kind, each in record.certificates.items()
    ]
    proposal = record.proposal and numbers[record.proposal.header.block_id]
    return tuple(sorted(certificates)), proposal, record.refused
