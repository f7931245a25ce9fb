"""A running core to which events of the universe happen, and the facts in it.

Left out of the facts: the clock, what is timing only (growth of timeouts, repetition), whose votes
make up a certificate, and what is durable. Execution, validation and the fetching of missing blocks
take no time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

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
)
from tests.twins.schedule import ChosenLeaders

__all__ = ["Replica", "fingerprint"]

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
