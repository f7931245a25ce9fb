"""One core with its driver and its disk, as one of five in a network of twins.

Answers of the driver (validation, execution, a built block) come at once. A signature names its
signer and nothing else, since nobody here forges one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from consensus.actions import (
    Action,
    Broadcast,
    BuildBlock,
    ExecuteBlock,
    FinalizeBlocks,
    Persist,
    PruneRecords,
    RaiseAlarm,
    ReportEvidence,
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
    Event,
    PeerConnected,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.evidence import Evidence, find_vote_conflict, verify_evidence
from consensus.messages import (
    Block,
    BlocksResponse,
    CertificateBatch,
    Message,
    Vote,
)
from consensus.recovery import Recovered
from primitives.certificates import Certificate, VoteKind
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader
from tests.helpers.consensus import (
    CHAIN_ID,
    GENESIS,
    WALL_START_MS,
    body_root,
    make_public_key,
    make_validators,
)
from tests.twins.schedule import ChosenLeaders

if TYPE_CHECKING:
    from tests.twins.network import TwinNetwork

__all__ = ["VALIDATORS", "Instance", "PromiseBrokenError"]

VALIDATORS = make_validators(4)
NEXT_SET_HASH = VALIDATORS.hash
SIGNATURES = tuple(bytes([index + 1]) * 64 for index in range(4))
SIGNATURE_BY_KEY = {make_public_key(index): SIGNATURES[index] for index in range(4)}
SERVED_BLOCKS_MAX = 16


class PromiseBrokenError(AssertionError):
    """Something that must never happen has happened."""


class Crash(BaseException):
    """Ends the turn of an instance that is to die at this effect."""


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    return signature == SIGNATURE_BY_KEY[public_key]


def make_signer(identity: int) -> Callable[[bytes], bytes]:
    signature = SIGNATURES[identity]
    return lambda message: signature


class Disk:
    """What survives a crash; the tails of an epoch's last block are kept by its height."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, int]] = []
        self.blocks: list[Block] = []
        self.certificates: dict[int, Certificate] = {}
        self.tails: dict[int, tuple[Block, ...]] = {}

    def copy(self) -> Disk:
        other = Disk()
        other.records = list(self.records)
        other.blocks = list(self.blocks)
        other.certificates = dict(self.certificates)
        other.tails = dict(self.tails)
        return other

    @property
    def tip(self) -> BlockHeader:
        return self.blocks[-1].header if self.blocks else GENESIS


class Instance:
    """One core and its driver.

    Parameters
    ----------
    network : it belongs to.
    number : place in the network, 0 to 4.
    identity : validator index; shared by twins.
    """

    def __init__(self, network: TwinNetwork, number: int, identity: int) -> None:
        self.network = network
        self.number = number
        self.identity = identity
        self.is_twin = identity == network.twinned
        self.is_down = False
        self.disk = Disk()
        self.evidence: list[Evidence] = []
        self.alarms: list[RaiseAlarm] = []
        # Effects performed so far, and the one before which this instance dies.
        self.effects = 0
        self.crash_at = -1
        # The effect before which its disk is copied, and that copy.
        self.copy_at = -1
        self.copied: Disk | None = None
        # Own votes by view and kind; votes of the twinned validator that arrived here.
        self.cast: dict[tuple[int, int, VoteKind], Vote] = {}
        self.heard: dict[tuple[int, VoteKind, bytes, bytes], Vote] = {}
        self.core = self._make_core()

    def _make_core(self) -> Core:
        final = self.disk.tip
        core = Core(
            self.network.make_parameters(final.height),
            VALIDATORS,
            self.identity,
            make_signer(self.identity),
            Recovered(
                final,
                self.disk.certificates.get(final.height),
                [record for record, _ in self.disk.records],
                # Else a twin would fall silent as soon as it heard of the other one.
                lost_votes_accepted=self.is_twin and self.network.twins_insist,
            ),
            verify,
        )
        core.state.leaders = ChosenLeaders(VALIDATORS.count, self.network.leaders)
        return core

    def start(self) -> None:
        self.run(lambda: self.core.start(self.network.clock))
        self.step(WorkChanged(True))

    def restart(self, disk: Disk) -> None:
        """Come back with what is on a disk, unless that shows that somebody shares the key."""
        self.disk = disk
        self.heard.clear()
        try:
            self.core = self._make_core()
        except ContradictoryRecordsError:
            if not self.is_twin:
                raise
            self.is_down = True
            return
        self.start()
        self.reconnect()

    def reconnect(self) -> None:
        for other in self.network.instances:
            if other.identity != self.identity:
                self.step(PeerConnected(other.identity))

    def step(self, event: Event) -> None:
        self.run(lambda: self.core.step(event, self.network.clock))

    def run(self, turn: Callable[[], list[Action]]) -> None:
        """Take a turn and those that follow from it, and come back if it ends in a crash."""
        if self.is_down:
            return
        todo: deque[Event] = deque()
        core = self.core
        try:
            self._perform(turn(), todo)
            while todo:
                self._perform(core.step(todo.popleft(), self.network.clock), todo)
            if core.state.is_epoch_over:
                self._begin_epoch()
        except Crash:
            self.crash_at = -1
            self.network.on_crash(self)

    def _begin_epoch(self) -> None:
        """Go on with a new core on the last block of the epoch, as the driver does."""
        self.heard.clear()
        self.core = self._make_core()
        self.start()
        self.reconnect()

    def tick(self) -> None:
        self.step(Ticked())

    def _perform(self, actions: list[Action], todo: deque[Event]) -> None:
        for action in actions:
            if self.effects == self.copy_at:
                self.copied = self.disk.copy()
            if self.effects == self.crash_at:
                raise Crash
            self.effects += 1
            match action:
                case Broadcast(message):
                    self._note_own(message)
                    self.network.broadcast(self, message)
                case Send(peer, message):
                    self.network.send(self, peer, message)
                case Persist(record, view):
                    self.disk.records.append((record, view))
                case ValidateBlock(block):
                    todo.append(BlockValidated(block.block_id, Verdict.VALID))
                case ExecuteBlock(block):
                    todo.append(BlockExecuted(block.block_id, self.network.execute(block)))
                case BuildBlock():
                    todo.append(self._build(action))
                case _:
                    self._perform_rest(action)

    def _perform_rest(self, action: Action) -> None:
        match action:
            case FinalizeBlocks():
                self._finalize(action)
            case PruneRecords(below_view):
                kept = [each for each in self.disk.records if each[1] >= below_view]
                self.disk.records = kept
            case ServeBlocks():
                self._serve(action)
            case ServeEpochEnd():
                self._serve_epoch_end(action)
            case ReportEvidence(evidence):
                verify_evidence(evidence, VALIDATORS, CHAIN_ID, verify)
                self.evidence.append(evidence)
            case RaiseAlarm():
                self.alarms.append(action)

    def _build(self, action: BuildBlock) -> BlockBuilt:
        # Twins fill their blocks differently, so a twin that leads proposes two.
        body = b"" if action.must_be_empty else bytes([self.number, action.view & 255])
        is_end = self.core.state.parameters.is_epoch_end(action.parent.height + 1)
        return BlockBuilt(
            action.view,
            action.parent.block_id,
            body,
            body_root(body),
            WALL_START_MS,
            NEXT_SET_HASH if is_end else ZERO_HASH,
        )

    def _finalize(self, action: FinalizeBlocks) -> None:
        end = self.core.state.parameters.epoch_end_height
        for block in action.blocks:
            if block.header.height > end:
                break
            if block.header.parent_id != self.disk.tip.block_id:
                raise PromiseBrokenError("a final block does not follow the last one")
            self.disk.blocks.append(block)
            if not self.is_twin:
                self.network.check_final(block)
        if action.certificate.state_root != self.network.roots[action.blocks[-1].block_id]:
            raise PromiseBrokenError("a block is final with another root than was reached")
        height = len(self.disk.blocks)
        self.disk.certificates[height] = action.certificate
        self.disk.tails[height] = tuple(each for each in action.blocks if each.header.height > end)

    def _serve(self, action: ServeBlocks) -> None:
        """Send blocks of one epoch up to one that is proven, with its tails."""
        start = action.from_height - 1
        end = self.network.make_parameters(start).epoch_end_height
        last = min(start + min(action.count, SERVED_BLOCKS_MAX), end, len(self.disk.blocks))
        blocks = tuple(self.disk.blocks[start:last])
        certificate = None
        for height in range(last, start, -1):
            certificate = self.disk.certificates.get(height)
            if certificate is not None:
                blocks = blocks[: height - start] + self.disk.tails[height]
                break
        self.network.send(self, action.peer, BlocksResponse(blocks, certificate))

    def _serve_epoch_end(self, action: ServeEpochEnd) -> None:
        end = (action.epoch + 1) * self.network.epoch_length
        certificate = self.disk.certificates.get(end)
        if certificate is not None:
            self.network.send(self, action.peer, CertificateBatch((certificate,)))

    def _note_own(self, message: Message) -> None:
        """Check that a correct instance never contradicts itself, restarts included."""
        if self.is_twin or not isinstance(message, Vote) or message.validator != self.identity:
            return
        for kind in VoteKind:
            held = self.cast.get((message.epoch, message.view, kind))
            if held is not None and find_vote_conflict(held, message) is not None:
                raise PromiseBrokenError(
                    f"validator {self.identity} contradicts itself in {message.view}"
                )
        self.cast[message.epoch, message.view, message.kind] = message
