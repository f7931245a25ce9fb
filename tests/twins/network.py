"""Five cores, two of which are one validator: a network without delays, codecs and random numbers.

A message is a Python object in one queue and arrives in the order in which it was sent, or not at
all: a filter decides. Time stands still while messages are under way and then jumps to the next
deadline of any core.

What is checked all the time: one chain, one state root per block, no correct instance contradicts
itself. Idea: Bano et al., "Twins: BFT Systems Made Robust" (OPODIS 2021).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

from consensus.events import (
    ClockReading,
    MessageReceived,
)
from consensus.messages import (
    Block,
    CertificateMessage,
    Message,
    Vote,
)
from consensus.parameters import Parameters
from tests.helpers.consensus import (
    GENESIS,
    WALL_START_MS,
    make_parameters,
)
from tests.twins.instance import Instance, PromiseBrokenError

__all__ = ["TwinNetwork"]

# Timeouts that do not grow, and no repetition before a view is given up: fewer events to no loss.
PARAMETERS = make_parameters(
    view_timeout_ms=1_000, timeout_max_ms=1_000, retransmit_ms=3_000, retransmit_max_ms=3_000
)

Filter = Callable[[int, int, Message], bool]
"""``filter(source, target, message)``: whether it arrives."""


class TwinNetwork:
    """Three correct validators and one that runs twice.

    Parameters
    ----------
    twinned : validator index of the twins, whose instances are `twinned` and 4.
    leaders : of the first views.
    passes : the filter that messages go through; may be replaced at any time.
    epoch_length : blocks of an epoch; 0 if there is only one epoch.
    twins_insist : the twins go on when they hear of votes that are theirs and not theirs.
    """

    def __init__(
        self,
        twinned: int,
        leaders: tuple[int, ...],
        passes: Filter,
        *,
        epoch_length: int,
        twins_insist: bool,
    ) -> None:
        self.twinned = twinned
        self.leaders = leaders
        self.passes = passes
        self.epoch_length = epoch_length
        self.twins_insist = twins_insist
        self._parameters: dict[int, Parameters] = {}
        self.now_ms = 0
        self.clock = ClockReading(0, WALL_START_MS)
        self.roots: dict[bytes, bytes] = {GENESIS.block_id: bytes(31) + b"g"}
        self.chain: list[Block] = []
        self.delivered = 0
        self.on_crash: Callable[[Instance], None] = lambda instance: instance.restart(instance.disk)
        self._queue: deque[tuple[Instance, int, Message]] = deque()
        self.instances = [Instance(self, number, number) for number in range(4)]
        self.instances.append(Instance(self, 4, twinned))
        self.correct = [each for each in self.instances if not each.is_twin]

    def start(self) -> None:
        for instance in self.instances:
            instance.start()

    def broadcast(self, source: Instance, message: Message) -> None:
        for target in self.instances:
            if target is not source and self.passes(source.number, target.number, message):
                self._queue.append((target, source.identity, message))

    def send(self, source: Instance, peer: int, message: Message) -> None:
        for target in self.instances:
            if (
                target.identity == peer
                and target is not source
                and self.passes(source.number, target.number, message)
            ):
                self._queue.append((target, source.identity, message))

    def deliver(self, source: Instance, target: Instance, message: Message) -> None:
        """Send to one instance, whatever the filter says."""
        self._queue.append((target, source.identity, message))

    def drain(self, is_done: Callable[[], bool], messages_max: int) -> bool:
        """Deliver until nothing is under way; say whether that or `is_done` came about in time."""
        queue = self._queue
        for _ in range(messages_max):
            if not queue:
                return True
            target, peer, message = queue.popleft()
            if self._is_known(target, message):
                continue
            self.delivered += 1
            height = len(self.chain)
            target.step(MessageReceived(peer, message))
            if len(self.chain) != height and is_done():
                return True
        return False

    def pass_time(self) -> bool:
        """Let time pass until the next deadline of any core; say whether there is one."""
        running = [each for each in self.instances if not each.is_down]
        deadlines = [(each, each.core.next_deadline()) for each in running]
        known = [deadline for _, deadline in deadlines if deadline is not None]
        if not known:
            return False
        self.now_ms = min(known)
        self.clock = ClockReading(self.now_ms, WALL_START_MS + self.now_ms)
        for instance, deadline in deadlines:
            if deadline == self.now_ms:
                instance.tick()
        return True

    def execute(self, block: Block) -> bytes:
        """Return the state root after a block, the same for everyone."""
        header = block.header
        root = self.roots.get(block.block_id)
        if root is None:
            root = self.roots[header.parent_id]
            if not self.epoch_length or header.height <= (header.epoch + 1) * self.epoch_length:
                root = sha256(root + block.block_id).digest()
            self.roots[block.block_id] = root
        return root

    def make_parameters(self, height: int) -> Parameters:
        """Return the parameters of the epoch that the block above a height belongs to."""
        if not self.epoch_length:
            return PARAMETERS
        epoch = height // self.epoch_length
        parameters = self._parameters.get(epoch)
        if parameters is None:
            end = (epoch + 1) * self.epoch_length
            parameters = replace(PARAMETERS, epoch=epoch, epoch_end_height=end)
            self._parameters[epoch] = parameters
        return parameters

    def check_final(self, block: Block) -> None:
        """Check that correct instances have one block at a height."""
        height = block.header.height
        if height > len(self.chain):
            self.chain.append(block)
        if self.chain[height - 1].block_id != block.block_id:
            raise PromiseBrokenError(f"fork at height {height}")

    def _is_known(self, target: Instance, message: Message) -> bool:
        """Say whether a core would drop a message unseen; also note what it may judge."""
        state = target.core.state
        log, epoch = state.log, state.parameters.epoch
        if isinstance(message, Vote):
            if message.epoch != epoch:
                return False
            if message.validator == self.twinned and not target.is_twin:
                key = (message.view, message.kind, message.block_id, message.state_root)
                target.heard[key] = message
            return log.holds_vote(message)
        return (
            isinstance(message, CertificateMessage)
            and message.certificate.epoch == epoch
            and log.holds_certificate(message.certificate)
        )
