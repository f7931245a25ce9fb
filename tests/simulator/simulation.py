"""A whole network in one process, in simulated time, decided by one seed.

First a phase with faults, then everything heals, every node is brought back, and within a bound all
of them must make new blocks final. The trace hash covers every message delivered, with its time and
its ends, in order: the same seed gives the same hash.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from consensus.events import MessageReceived
from consensus.messages import (
    Message,
    PrePrepare,
    decode_message,
    encode_message,
    proposal_signing_bytes,
)
from tests.helpers.consensus import body_root, make_parameters, make_signer, make_validators, verify
from tests.simulator.checkers import Checkers, InvariantBrokenError
from tests.simulator.faults import Crash, FaultPlan, make_plan
from tests.simulator.node import TRANSACTION_BYTES, SimulatedNode, split_transactions

__all__ = ["Result", "Simulation"]

HEALING_MS = 60_000
BLOCKS_AFTER_HEALING = 3
SUBMIT_INTERVAL_MS = 400
RESUBMIT_AFTER_MS = 3_000
EVENTS_MAX = 2_000_000


@dataclass(frozen=True, slots=True)
class Result:
    """What one run came to."""

    seed: int
    simulated_ms: int
    final_height: int
    trace: str
    faults: dict[str, int]


class Simulation:
    """One run.

    Parameters
    ----------
    seed
        Decides everything.
    nodes
        Validators.
    forgets_to_sync
        Plants a bug: records are never synced.
    """

    def __init__(self, seed: int, nodes: int = 4, *, forgets_to_sync: bool = False) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.plan: FaultPlan = make_plan(self.random, nodes)
        self.forgets_to_sync = forgets_to_sync
        self.now_ms = 0
        self.parameters = make_parameters(view_timeout_ms=300, idle_limit_ms=2_000)
        self.validators = make_validators(nodes)
        self.verify = verify
        byzantine = () if self.plan.equivocator is None else (self.plan.equivocator,)
        self.checkers = Checkers(frozenset(byzantine))
        self.nodes = [SimulatedNode(self, index) for index in range(nodes)]
        self.counts: Counter[str] = Counter()
        self._is_healed = False
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._trace = hashlib.sha256()
        self._submitted = 0
        self._final_sets: dict[int, tuple[int, set[bytes]]] = {}

    def run(self) -> Result:
        """Run both phases.

        Raises
        ------
        InvariantBrokenError
            Something that must always hold did not, or the healed network stood still.
        """
        for node in self.nodes:
            node.start()
        for crash in self.plan.crashes:
            self.at(crash.at_ms, lambda crash=crash: self._arm(crash))  # type: ignore[misc]
        self._submit()
        self._run_until(lambda: False, self.plan.duration_ms)
        self._heal()
        target = self.checkers.final_height + BLOCKS_AFTER_HEALING
        correct = [node for node in self.nodes if node.index != self.plan.equivocator]
        done = self._run_until(
            lambda: all(node.height >= target for node in correct), self.now_ms + HEALING_MS
        )
        if not done:
            heights = [node.height for node in self.nodes]
            raise InvariantBrokenError(f"no progress to {target} after healing: {heights}")
        return Result(
            self.seed,
            self.now_ms,
            self.checkers.final_height,
            self._trace.hexdigest(),
            dict(self.counts),
        )

    def at(self, time_ms: int, happen: Callable[[], None]) -> None:
        """Let something happen at a time; ties in the order asked for."""
        self._sequence += 1
        heapq.heappush(self._events, (max(time_ms, self.now_ms), self._sequence, happen))

    def note(self, fault: str) -> None:
        """Count something that happened."""
        self.counts[fault] += 1

    def get_skew_ms(self, node: int) -> int:
        """Return how far a node's wall clock is off."""
        return 0 if self._is_healed else self.plan.skew_ms[node]

    def draw_execution_ms(self) -> int:
        """Return how long the ledger takes for the next thing."""
        return 1 if self._is_healed else self.random.randint(*self.plan.execution_ms)

    def broadcast(self, source: SimulatedNode, message: Message) -> None:
        """Send to all other nodes."""
        if self._equivocates(source, message):
            self._send_two_proposals(source, message)
            return
        for target in self.nodes:
            if target is not source:
                self.send(source, target.index, message)

    def send(self, source: SimulatedNode, target: int, message: Message) -> None:
        """Send to one node, through the faults of the network and the real codec."""
        self.checkers.on_sent(source.index, message, source.disk)
        data = encode_message(message)
        for _ in range(self._draw_copies(source.index, target)):
            delay_ms = self._draw_delay_ms()
            self.at(self.now_ms + delay_ms, lambda: self._deliver(source.index, target, data))

    def final_transactions(self, node: SimulatedNode) -> set[bytes]:
        """Return every transaction in a node's final blocks; not to be changed."""
        seen, found = self._final_sets.get(node.index, (0, set()))
        for stored in node.disk.blocks[seen:]:
            found.update(split_transactions(stored.block.body))
        self._final_sets[node.index] = (node.height, found)
        return found

    def _run_until(self, is_done: Callable[[], bool], end_ms: int) -> bool:
        for _ in range(EVENTS_MAX):
            if is_done():
                return True
            if not self._events or self._events[0][0] > end_ms:
                self.now_ms = end_ms
                return False
            self.now_ms, _, happen = heapq.heappop(self._events)
            happen()
        raise InvariantBrokenError(f"more than {EVENTS_MAX} events: a storm")

    def _deliver(self, source: int, target: int, data: bytes) -> None:
        node = self.nodes[target]
        if node.core is None:
            return
        self._trace.update(b"%d %d %d " % (self.now_ms, source, target))
        self._trace.update(data)
        node.post(MessageReceived(source, decode_message(data)))

    def _draw_copies(self, source: int, target: int) -> int:
        if self._is_healed:
            return 1
        for cut in self.plan.partitions:
            if (
                cut.start_ms <= self.now_ms < cut.end_ms
                and source in cut.sources
                and target in cut.targets
            ):
                self.note("cut by a partition")
                return 0
        if self.random.randrange(1000) < self.plan.loss:
            self.note("lost")
            return 0
        if self.random.randrange(1000) < self.plan.duplication:
            self.note("duplicated")
            return 2
        return 1

    def _draw_delay_ms(self) -> int:
        if self._is_healed:
            return self.random.randint(1, 10)
        if self.random.randrange(1000) < self.plan.spikes:
            self.note("delayed beyond the timeout")
            return self.random.randint(*self.plan.spike_ms)
        return self.random.randint(*self.plan.delay_ms)

    def _arm(self, crash: Crash) -> None:
        """Let a node die at one of its next effects, and bring it back after a while."""
        node = self.nodes[crash.node]
        if self._is_healed or node.core is None or node.effects_left is not None:
            return
        node.effects_left = crash.boundary
        self.at(self.now_ms + crash.down_ms + 1_000, lambda: self._bring_back(node))

    def _bring_back(self, node: SimulatedNode) -> None:
        node.effects_left = None
        if node.core is None:
            self.note("restart")
            node.start()

    def _heal(self) -> None:
        self._is_healed = True
        for node in self.nodes:
            self._bring_back(node)

    def _submit(self) -> None:
        """Submit a transaction to one node, which passes it on; again later if it got lost."""
        transaction = self._submitted.to_bytes(TRANSACTION_BYTES, "big")
        self._submitted += 1
        self._offer(transaction)
        wait_ms = self.random.randint(1, 2 * SUBMIT_INTERVAL_MS)
        self.at(self.now_ms + wait_ms, self._submit)

    def _offer(self, transaction: bytes) -> None:
        source = self.random.choice(self.nodes)
        source.take_transaction(transaction)
        for node in self.nodes:
            if node is not source and self._draw_copies(source.index, node.index):
                delay_ms = self._draw_delay_ms()
                self.at(
                    self.now_ms + delay_ms,
                    lambda node=node: node.take_transaction(transaction),  # type: ignore[misc]
                )
        self.at(self.now_ms + RESUBMIT_AFTER_MS, lambda: self._offer_again(transaction))

    def _offer_again(self, transaction: bytes) -> None:
        if not any(transaction in self.final_transactions(node) for node in self.nodes):
            self._offer(transaction)

    def _equivocates(self, source: SimulatedNode, message: Message) -> bool:
        return (
            not self._is_healed
            and source.index == self.plan.equivocator
            and isinstance(message, PrePrepare)
            and message.header.proposer == source.index
        )

    def _send_two_proposals(self, source: SimulatedNode, message: Message) -> None:
        """Send one block to some nodes and another of the same view to the rest."""
        if not isinstance(message, PrePrepare):
            return
        self.note("equivocation")
        body = message.body + b"\xff\xff\xff" + bytes([self.random.randrange(255)])
        header = replace(message.header, body_root=body_root(body))
        signature = make_signer(source.index)(proposal_signing_bytes(header.block_id))
        other = replace(message, header=header, body=body, signature=signature)
        for target in self.nodes:
            if target is not source:
                self.send(source, target.index, self.random.choice((message, other)))
