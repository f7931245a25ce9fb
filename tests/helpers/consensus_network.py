"""A deterministic network of cores: one heap of events, one seed, faults by arguments.

Every message passes through the codec. Disks keep what was persisted in an earlier turn; a crash
loses everything else. Checkers run all the time: one chain, equal roots, no two votes of one
validator that contradict each other, records on disk before votes leave.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

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
    PeerConnected,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.evidence import Evidence, find_vote_conflict, verify_evidence
from consensus.messages import (
    Block,
    BlocksResponse,
    Message,
    PrePrepare,
    Vote,
    decode_message,
    encode_message,
)
from consensus.parameters import Parameters
from consensus.records import decode_record
from consensus.recovery import Recovered
from primitives.certificates import Certificate, VoteKind
from tests.helpers.consensus import (
    CHAIN_ID,
    EMPTY_BODY_ROOT,
    GENESIS,
    WALL_START_MS,
    body_root,
    execute,
    make_parameters,
    make_signer,
    make_validators,
    verify,
)

SERVED_BLOCKS_MAX = 16


@dataclass
class Faults:
    """What the network does to messages.

    Parameters
    ----------
    delay_ms : least and most one-way delay.
    loss, duplication : in thousandths.
    is_cut : says whether a message from one node to another is lost for good.
    """

    delay_ms: tuple[int, int] = (5, 20)
    loss: int = 0
    duplication: int = 0
    is_cut: Callable[[int, int], bool] = lambda source, target: False


@dataclass
class Disk:
    """What survives a crash."""

    records: list[tuple[bytes, int]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=lambda: [b"genesis root".ljust(32)])
    # Height → certificate of the block at that height, where it has one of its own.
    certificates: dict[int, Certificate] = field(default_factory=dict)


class Node:
    """One core, its driver and its disk."""

    def __init__(self, network: Network, index: int, identity: int) -> None:
        self.network = network
        self.index = index
        # What others know it by; a twin shares it with its original.
        self.identity = identity
        self.own_index = identity if identity < network.validator_count else None
        self.disk = Disk()
        self.core: Core | None = None
        self.incarnation = 0
        self.roots: dict[bytes, bytes] = {}
        self.bodies: dict[bytes, Block] = {}
        self.alarms: list[RaiseAlarm] = []
        self.evidence: list[Evidence] = []
        self.peer_faults: list[ReportPeer] = []
        self.discarded: list[bytes] = []
        self.wall_skew_ms = 0
        self.execution_ms = (1, 10)
        self.finalized_at: list[int] = []
        self.wrong_root = False
        self.refuses = lambda block: False

    def start(self) -> None:
        final = self.disk.blocks[-1].header if self.disk.blocks else GENESIS
        self.incarnation += 1
        self.roots = {final.block_id: self.disk.roots[-1]}
        self.bodies = {}
        self.core = Core(
            self.network.parameters,
            self.network.validators,
            self.own_index,
            None if self.own_index is None else make_signer(self.own_index),
            Recovered(
                final,
                self.disk.certificates.get(final.height),
                [record for record, _ in self.disk.records],
            ),
            verify,
        )
        self.perform(self.core.start(self.clock))
        for other in self.network.nodes:
            if other.identity != self.identity and other.core is not None:
                self.step(PeerConnected(other.identity))
                other.step(PeerConnected(self.identity))
        self.step(WorkChanged(self.has_work()))

    def crash(self) -> None:
        self.core = None
        self.incarnation += 1

    @property
    def clock(self) -> ClockReading:
        now = self.network.now_ms
        return ClockReading(now, WALL_START_MS + now + self.wall_skew_ms)

    @property
    def height(self) -> int:
        return len(self.disk.blocks)

    def step(self, event: Event) -> None:
        if self.core is None:
            return
        self.perform(self.core.step(event, self.clock))
        self.note_work()
        self.schedule_tick()

    def note_work(self) -> None:
        if self.core is not None and self.core.state.transactions_pending != self.has_work():
            self.perform(self.core.step(WorkChanged(self.has_work()), self.clock))

    def schedule_tick(self) -> None:
        deadline = self.core.next_deadline() if self.core is not None else None
        if deadline is not None:
            assert deadline > self.network.now_ms, "a core asks for time that has passed"
            self.network.tick_at(self, deadline)

    def has_work(self) -> bool:
        used = self.transactions_in(self.disk.blocks) | self.transactions_in(
            [
                block
                for block_id, block in self.bodies.items()
                if self.core is not None
                and (entry := self.core.state.tree.find(block_id)) is not None
                and (entry.certified or block.header.view >= self.core.state.view)
            ]
        )
        return bool(self.network.transactions - used)

    @staticmethod
    def transactions_in(blocks: list[Block]) -> set[int]:
        return {byte for block in blocks for byte in decode_transactions(block.body)}

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            self.perform_one(action)

    def perform_one(self, action: Action) -> None:
        match action:
            case Persist():
                self.disk.records.append((action.record, action.view))
            case PruneRecords():
                self.disk.records = [
                    each for each in self.disk.records if each[1] >= action.below_view
                ]
            case Broadcast():
                self.network.check_outgoing(self, action.message)
                self.network.broadcast(self, action.message)
            case Send():
                self.network.check_outgoing(self, action.message)
                self.network.send_to_identity(self, action.peer, action.message)
            case RaiseAlarm() | ReportEvidence() | ReportPeer():
                self.note_report(action)
            case DiscardBlocks():
                self.discarded.extend(action.block_ids)
                for block_id in action.block_ids:
                    self.bodies.pop(block_id, None)
            case _:
                self.perform_ledger(action)

    def note_report(self, action: RaiseAlarm | ReportEvidence | ReportPeer) -> None:
        match action:
            case RaiseAlarm():
                self.alarms.append(action)
            case ReportEvidence():
                verify_evidence(action.evidence, self.network.validators, CHAIN_ID, verify)
                self.evidence.append(action.evidence)
            case ReportPeer():
                self.peer_faults.append(action)

    def perform_ledger(self, action: Action) -> None:
        match action:
            case ValidateBlock(block):
                good = body_root(block.body) == block.header.body_root
                if good and not action.certified:
                    good = not self.refuses(block)
                if good:
                    self.bodies[block.block_id] = block
                verdict = Verdict.VALID if good else Verdict.INVALID
                self.later((0, 2), BlockValidated(block.block_id, verdict))
            case ExecuteBlock(block):
                parent_root = self.roots[block.header.parent_id]
                root = execute(parent_root, block.block_id)
                self.roots[block.block_id] = bytes(31) + b"!" if self.wrong_root else root
                self.later(
                    self.execution_ms, BlockExecuted(block.block_id, self.roots[block.block_id])
                )
            case BuildBlock():
                body = b"" if action.must_be_empty else self.choose(action.parent.block_id)
                wall = self.clock.wall_ms
                parent_id = action.parent.block_id
                self.later((0, 2), BlockBuilt(action.view, parent_id, body, body_root(body), wall))
            case FinalizeBlocks():
                self.finalize(action)
            case ServeBlocks():
                self.serve(action)

    def choose(self, parent_id: bytes) -> bytes:
        used = self.transactions_in(self.disk.blocks)
        while parent_id in self.bodies:
            block = self.bodies[parent_id]
            used |= self.transactions_in([block])
            parent_id = block.header.parent_id
        return encode_transactions(sorted(self.network.transactions - used)[:5])

    def finalize(self, action: FinalizeBlocks) -> None:
        for block in action.blocks:
            parent = self.disk.blocks[-1].header if self.disk.blocks else GENESIS
            assert block.header.parent_id == parent.block_id
            self.disk.roots.append(self.roots[block.block_id])
            self.disk.blocks.append(block)
            self.finalized_at.append(self.network.now_ms)
            self.bodies.pop(block.block_id, None)
            self.network.check_final(self, block)
        assert action.certificate.state_root == self.disk.roots[-1]
        self.disk.certificates[self.height] = action.certificate

    def serve(self, action: ServeBlocks) -> None:
        start = action.from_height - 1
        blocks = self.disk.blocks[start : start + min(action.count, SERVED_BLOCKS_MAX)]
        certificate = None
        for length in range(len(blocks), 0, -1):
            certificate = self.disk.certificates.get(start + length)
            if certificate is not None:
                blocks = blocks[:length]
                break
        response = BlocksResponse(tuple(blocks), certificate)
        self.network.send_to_identity(self, action.peer, response)

    def later(self, wait_ms: tuple[int, int], event: Event) -> None:
        at = self.network.now_ms + self.network.random.randint(*wait_ms)
        incarnation = self.incarnation

        def happen() -> None:
            if self.incarnation == incarnation:
                self.step(event)

        self.network.at(at, happen)


class Network:
    """All nodes and the time.

    Parameters
    ----------
    seed : of everything random.
    validators, observers : how many; observers have the indices after the validators.
    twins : validators that run twice with one key, the second time after all other nodes. Both are
        Byzantine to the others.
    faults : may be replaced while it runs.
    """

    def __init__(
        self,
        seed: int = 0,
        validators: int = 4,
        observers: int = 0,
        twins: tuple[int, ...] = (),
        faults: Faults | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        self.random = Random(seed)
        self.validator_count = validators
        self.validators = make_validators(validators)
        self.parameters = parameters or make_parameters()
        self.faults = faults or Faults()
        self.now_ms = 0
        self.transactions: set[int] = set()
        identities = [*range(validators + observers), *twins]
        self.nodes = [Node(self, index, identity) for index, identity in enumerate(identities)]
        self.byzantine = set(twins)
        self.chain: list[bytes] = []
        # Off where more are Byzantine than can be tolerated.
        self.chain_checks = True
        self.votes: dict[tuple[int, int, VoteKind], Vote] = {}
        self.proposals: dict[tuple[int, int], bytes] = {}
        # Called with (source, target, message); True means that it takes the message over.
        self.tap: Callable[[Node, Node, Message], bool] = lambda source, target, message: False
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._ticks: dict[int, int] = {}

    def start(self) -> Network:
        for node in self.nodes:
            node.start()
            node.schedule_tick()
        return self

    def submit(self, *numbers: int) -> None:
        """Give every running node transactions."""
        self.transactions.update(numbers)
        for node in self.nodes:
            node.step(Ticked())

    def run(self, duration_ms: int) -> None:
        """Let time pass."""
        self.run_until(lambda: False, duration_ms)

    def run_until(self, is_done: Callable[[], bool], limit_ms: int) -> bool:
        """Let time pass until something holds; say whether it came to hold."""
        end = self.now_ms + limit_ms
        while not is_done():
            if not self._heap or self._heap[0][0] > end:
                self.now_ms = end
                return is_done()
            self.now_ms, _, happen = heapq.heappop(self._heap)
            happen()
        return True

    def at(self, time_ms: int, happen: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (time_ms, self._sequence, happen))

    def tick_at(self, node: Node, time_ms: int) -> None:
        if self._ticks.get(node.index) == time_ms:
            return
        self._ticks[node.index] = time_ms

        def happen() -> None:
            if self._ticks.get(node.index) == time_ms:
                del self._ticks[node.index]
                node.step(Ticked())

        self.at(time_ms, happen)

    @property
    def honest(self) -> list[Node]:
        """The nodes that follow the protocol."""
        return [node for node in self.nodes if node.identity not in self.byzantine]

    def broadcast(self, source: Node, message: Message) -> None:
        for node in self.nodes:
            if node.identity != source.identity:
                self.send(source, node, message)

    def send_to_identity(self, source: Node, identity: int, message: Message) -> None:
        for node in self.nodes:
            if node.identity == identity:
                self.send(source, node, message)

    def send(self, source: Node, target: Node, message: Message) -> None:
        if not self.tap(source, target, message):
            self.deliver(source, target, message)

    def deliver(self, source: Node, target: Node, message: Message) -> None:
        faults = self.faults
        if faults.is_cut(source.index, target.index) or self.random.randrange(1000) < faults.loss:
            return
        data = encode_message(message)
        copies = 2 if self.random.randrange(1000) < faults.duplication else 1
        for _ in range(copies):
            at = self.now_ms + self.random.randint(*faults.delay_ms)
            event = MessageReceived(source.identity, decode_message(data))
            self.at(at, lambda event=event: target.step(event))

    def check_final(self, node: Node, block: Block) -> None:
        height = block.header.height
        if node.identity in self.byzantine or not self.chain_checks:
            return
        if height > len(self.chain):
            self.chain.append(block.block_id)
        assert self.chain[height - 1] == block.block_id, f"fork at height {height}"
        numbers = decode_transactions(block.body)
        assert len(set(numbers)) == len(numbers)

    def check_outgoing(self, node: Node, message: Message) -> None:
        """No correct node ever contradicts itself, and disks come before the wire."""
        if node.identity in self.byzantine:
            return
        if isinstance(message, Vote) and message.validator == node.own_index:
            for kind in VoteKind:
                held = self.votes.get((node.index, message.view, kind))
                assert held is None or find_vote_conflict(held, message) is None, "double vote"
            self.votes[node.index, message.view, message.kind] = message
            assert any(decode_record(record).vote == message for record, _ in node.disk.records), (
                "a vote left before its record was persisted"
            )
        if isinstance(message, PrePrepare) and message.header.proposer == node.own_index:
            key = (node.index, message.header.view)
            assert self.proposals.setdefault(key, message.block_id) == message.block_id

    def heights(self) -> list[int]:
        return [node.height for node in self.honest]

    def count_views(self) -> int:
        return max(node.core.state.view for node in self.nodes if node.core is not None)


def encode_transactions(numbers: list[int]) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def decode_transactions(body: bytes) -> list[int]:
    return [int.from_bytes(body[start : start + 4], "big") for start in range(0, len(body), 4)]


assert body_root(b"") == EMPTY_BODY_ROOT
