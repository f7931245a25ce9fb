"""What an onlooker remembers so that people can be told why the chain stands still.

The core forgets whatever it needs no more: when a peer was last heard, when a block became final,
what it raised alarms about. Whoever steps the core also tells the watch, which only looks on:
nothing here ever changes what the core does. `report_builder.build_report` puts both together.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from consensus.actions import Action, FinalizeBlocks, RaiseAlarm, ReportEvidence, ReportPeer, Send
from consensus.events import Event, MessageReceived, PeerConnected, PeerDisconnected
from consensus.messages import (
    BlockRequest,
    BlockResponse,
    BlocksRequest,
    BlocksResponse,
    CertificateBatch,
    CertificateMessage,
    Message,
    PrePrepare,
    Status,
    Vote,
)
from consensus.state import State

__all__ = [
    "CLOCK_SAMPLES",
    "EVIDENCE_REMEMBERED_MAX",
    "Alarm",
    "Heard",
    "PeerMemory",
    "SeenEvidence",
    "Watch",
    "name_vote",
]

CLOCK_SAMPLES = 4
"""Proposals of a leader by which its clock is compared with ours."""

EVIDENCE_REMEMBERED_MAX = 32
"""Pieces of evidence shown to people; all of them are counted."""

_MESSAGE_NAMES: dict[type[Message], str] = {
    PrePrepare: "PRE-PREPARE",
    CertificateMessage: "CERTIFICATE",
    CertificateBatch: "CERTIFICATE-BATCH",
    Status: "STATUS",
    BlockRequest: "BLOCK-REQUEST",
    BlockResponse: "BLOCK-RESPONSE",
    BlocksRequest: "BLOCKS-REQUEST",
    BlocksResponse: "BLOCKS-RESPONSE",
}


def name_vote(name: str) -> str:
    """Return how the protocol writes the name of an enumeration's member.

    Examples
    --------
    >>> name_vote("VIEW_CHANGE")
    'VIEW-CHANGE'
    """
    return name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class Heard:
    """The last message of a peer: its name, its view if it names one, and when it came."""

    message: str
    view: int | None
    at_ms: int


@dataclass(slots=True)
class PeerMemory:
    """What is remembered of one validator.

    Parameters
    ----------
    connected_ms : since when it is connected; None if it is not.
    heard : its last message.
    asked_ms : when final blocks were last asked of it.
    claimed_height : the final height that it last claimed to have; never acted upon.
    proposed_view : highest view of which its own proposal came from itself.
    clock_samples_ms : time in each of its last proposals less our wall clock when it came: how far
        its clock is ahead of ours, less the way of the message.
    """

    connected_ms: int | None = None
    heard: Heard | None = None
    asked_ms: int | None = None
    claimed_height: int | None = None
    proposed_view: int = 0
    clock_samples_ms: deque[int] = field(default_factory=lambda: deque(maxlen=CLOCK_SAMPLES))

    @property
    def clock_offset_ms(self) -> int | None:
        """How far its clock is ahead of ours, as far as that is known.

        A message can only be late, so the largest sample is the truest; one that is positive
        shows a clock ahead of ours for certain, others may all be of messages that were late.
        """
        best_ms = max(self.clock_samples_ms, default=0)
        is_known = best_ms > 0 or len(self.clock_samples_ms) == CLOCK_SAMPLES
        return best_ms if is_known else None


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm as the core raised it."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class SeenEvidence:
    """Who broke which vote rule, and where; the proof itself goes to the ledger."""

    kind: str
    public_key: bytes
    epoch: int
    view: int


class Watch:
    """Looks on while a core takes its steps; one for the life of a process, over all epochs.

    Attributes
    ----------
    peers : by public key; at most one entry for each validator of the epoch.
    started_ms : when the first core started.
    final_ms : when a block last became final here; None if none did since the start.
    waiting_since_ms : since when there has been work without a block becoming final.
    halt : the alarm upon which the core signs nothing any more.
    evidence : the last pieces; `evidence_count` counts all.
    alarms, peer_faults : how often, by code.
    signs_above_view : the view that a validator on probation has to leave behind, once known.
    views_failed : views that ended without progress since the start.
    """

    def __init__(self) -> None:
        self.peers: dict[bytes, PeerMemory] = {}
        self.started_ms: int | None = None
        self.final_ms: int | None = None
        self.waiting_since_ms: int | None = None
        self.halt: Alarm | None = None
        self.evidence: deque[SeenEvidence] = deque(maxlen=EVIDENCE_REMEMBERED_MAX)
        self.evidence_count = 0
        self.alarms: Counter[str] = Counter()
        self.peer_faults: Counter[str] = Counter()
        self.views_failed = 0
        self.signs_above_view: int | None = None
        self._failures = 0

    def note_start(self, actions: list[Action], state: State) -> None:
        """Note that a core has started, the first one or that of the next epoch."""
        if self.started_ms is None:
            self.started_ms = state.now_ms
        # Validators that left are forgotten, so that the memory stays bounded.
        self.peers = {
            key: self.peers.get(key) or PeerMemory() for key in state.validators.public_keys
        }
        self._failures = state.pacemaker.failures
        self._note_actions(actions, state)

    def note_step(self, event: Event, actions: list[Action], state: State) -> None:
        """Note one step of the core.

        Parameters
        ----------
        event, actions : what the step took and gave.
        state : the core's, after the step.
        """
        match event:
            case MessageReceived(peer, message):
                self._note_message(peer, message, state)
            case PeerConnected(peer):
                memory = self._find(peer, state)
                if memory is not None:
                    memory.connected_ms = state.now_ms
            case PeerDisconnected(peer):
                memory = self._find(peer, state)
                if memory is not None:
                    memory.connected_ms = None
            case _:
                pass
        self._note_actions(actions, state)
        self._note_failures(state)
        self._note_work(state)

    def _find(self, peer: int, state: State) -> PeerMemory | None:
        """Return what is known of a validator; observers are not remembered."""
        keys = state.validators.public_keys
        return self.peers.get(keys[peer]) if 0 <= peer < len(keys) else None

    def _note_message(self, peer: int, message: Message, state: State) -> None:
        memory = self._find(peer, state)
        if memory is None:
            return
        name, view = _describe_message(message)
        memory.heard = Heard(name, view, state.now_ms)
        if isinstance(message, Status):
            memory.claimed_height = message.final_height
        elif isinstance(message, PrePrepare):
            header = message.header
            # A repeated proposal says nothing about the clock: it was made long before it came.
            if header.proposer == peer and header.view > memory.proposed_view:
                memory.proposed_view = header.view
                memory.clock_samples_ms.append(header.timestamp_ms - state.clock.wall_ms)

    def _note_actions(self, actions: list[Action], state: State) -> None:
        raised: list[Alarm] = []
        for action in actions:
            match action:
                case FinalizeBlocks():
                    self.final_ms = state.now_ms
                    self.waiting_since_ms = None
                case Send(peer, BlocksRequest()):
                    memory = self._find(peer, state)
                    if memory is not None:
                        memory.asked_ms = state.now_ms
                case ReportPeer(_, code):
                    self.peer_faults[code] += 1
                case RaiseAlarm(code, text):
                    self.alarms[code] += 1
                    raised.append(Alarm(code, text))
                case ReportEvidence(evidence):
                    self.evidence_count += 1
                    key = state.validators.public_key(evidence.validator)
                    name = name_vote(evidence.kind.name)
                    self.evidence.append(SeenEvidence(name, key, evidence.epoch, evidence.view))
                case _:
                    pass
        # A halt may be announced by an alarm that does not halt; it is the last of its step.
        if state.is_halted and self.halt is None and raised:
            self.halt = raised[-1]

    def _note_failures(self, state: State) -> None:
        failures = state.pacemaker.failures
        self.views_failed += max(0, failures - self._failures)
        self._failures = failures

    def _note_work(self, state: State) -> None:
        if state.pacemaker.work_since_ms is None:
            self.waiting_since_ms = None
        elif self.waiting_since_ms is None:
            self.waiting_since_ms = state.now_ms


def _describe_message(message: Message) -> tuple[str, int | None]:
    """Return the name of a message and the view that it speaks of, if any."""
    if isinstance(message, Vote):
        return name_vote(message.kind.name), message.view
    name = _MESSAGE_NAMES.get(type(message), type(message).__name__)
    match message:
        case PrePrepare(header):
            return name, header.view
        case CertificateMessage(certificate):
            return name, certificate.view
        case Status():
            return name, message.view
        case _:
            return name, None
