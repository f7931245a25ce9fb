"""A whole network in one process, in simulated time, decided by one seed.

First a phase with faults, then everything heals that can, every node is brought back, and within a
bound all correct ones must make new blocks final. The trace hash covers every message delivered,
with its time and its ends, in order: the same seed gives the same hash.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from consensus.messages import BlocksResponse, Message, decode_message, encode_message
from consensus.parameters import Parameters
from node import ledger_service, turns
from node.turns import EpochCore
from primitives.certificates import Verifier
from primitives.errors import InvalidInputError
from primitives.keys import verify_signature
from tests.helpers.consensus import (
    CHAIN_ID,
    EMPTY_BODY_ROOT,
    GENESIS,
    WALL_START_MS,
    sign,
    verify,
)
from tests.helpers.ledger import Network as LedgerNetwork
from tests.simulator.adversary import Adversary
from tests.simulator.afflictions import Afflictions
from tests.simulator.checkers import Checkers, InvariantBrokenError
from tests.simulator.coverage import Coverage
from tests.simulator.disk import DiskFaults
from tests.simulator.faults import BYZANTINE
from tests.simulator.full_ledger import (
    FullLedger,
    LedgerPlan,
    make_ledger_network,
    make_transfers,
)
from tests.simulator.ledger_service_thread import LedgerServiceThread
from tests.simulator.ledger_thread import CheapLedgerThread
from tests.simulator.ledgers import TRANSACTION_BYTES, CheapLedger, FinalBlocks, SimulatedLedger
from tests.simulator.network import Network
from tests.simulator.node import SimulatedNode
from tests.simulator.scenario import Scenario, draw_scenario

__all__ = ["Result", "Simulation"]

HEALING_MS = 60_000
BLOCKS_AFTER_HEALING = 3
RESUBMIT_AFTER_MS = 3_000
EVENTS_MAX = 20_000_000
NEVER = 2**40

RULES_COUNTED_IN_ONE_OF = 8


@dataclass(frozen=True, slots=True)
class Result:
    """What one run came to."""

    seed: int
    profile: str
    simulated_ms: int
    final_height: int
    trace: str
    faults: Counter[str]
    coverage: Counter[str]


class Simulation:
    """One run.

    Parameters
    ----------
    seed : decides everything.
    profile, validators : instead of what the seed would have.
    kept : numbers of the faults to inflict; None for all.
    """

    def __init__(
        self,
        seed: int,
        profile: str | None = None,
        validators: int | None = None,
        *,
        kept: Collection[int] | None = None,
    ) -> None:
        self.seed = seed
        self.scenario: Scenario = draw_scenario(seed, profile, validators)
        self.faults = [
            fault
            for number, fault in enumerate(self.scenario.faults)
            if kept is None or number in kept
        ]
        self.random = Random(f"run {seed}")
        self.now_ms = 0
        self.counts: Counter[str] = Counter()
        self._ledger_network: LedgerNetwork | None = None
        self.plan = self.scenario.plan
        self.verify: Verifier = verify
        self.wall_start_ms, self._chain_id = WALL_START_MS, CHAIN_ID
        if self.scenario.profile == "full":
            self._use_real_ledger()
        self.segment_bytes_max = self.scenario.segment_bytes_max
        self.coverage = Coverage(counts_rules=seed % RULES_COUNTED_IN_ONE_OF == 0)
        self.checkers = Checkers(
            self.scenario.byzantine,
            self.plan,
            self._chain_id,
            self.verify,
            forks_allowed=self.scenario.profile == "overfaulty",
        )
        self._parameters: dict[int, Parameters] = {}
        identities = [*range(self.scenario.nodes), *self.scenario.twins]
        self.nodes = [SimulatedNode(self, index, each) for index, each in enumerate(identities)]
        self._instances = {
            identity: [node for node in self.nodes if node.identity == identity]
            for identity in range(self.scenario.nodes)
        }
        self.network = Network(self.random, len(self.nodes), self.counts)
        self.adversaries = self._make_adversaries()
        self._afflictions = Afflictions(self)
        self._events: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._trace = hashlib.sha256()
        self._submitted = 0

    def run(self) -> Result:
        """Run both phases, with the logs of the code under test off.

        Raises
        ------
        InvariantBrokenError
            Something that must always hold did not, or the healed network stood still.
        """
        loggers = [logging.getLogger(each.__name__) for each in (turns, ledger_service)]
        for logger in loggers:
            logger.disabled = True
        try:
            return self._run()
        finally:
            for logger in loggers:
                logger.disabled = False

    def _run(self) -> Result:
        self._afflictions.schedule(self.faults)
        for node in self.nodes:
            node.start()
        self._submit()
        self._run_until(lambda: False, self.scenario.duration_ms)
        self._afflictions.heal()
        if self.scenario.profile == "overfaulty":
            self._run_until(lambda: False, self.now_ms + 10_000)
            self.checkers.check_evidence((self.scenario.validators - 1) // 3)
            self.note("fork" if self.checkers.has_forked else "no fork")
        else:
            self._demand_progress()
        coverage = self.coverage.counts + self.checkers.coverage
        return Result(
            self.seed,
            self.scenario.profile,
            self.now_ms,
            self.checkers.final_height,
            self._trace.hexdigest(),
            self.counts,
            coverage,
        )

    def at(self, time_ms: int, happen: Callable[..., None], *arguments: Any) -> None:
        """Let something happen at a time; ties in the order asked for."""
        self._sequence += 1
        when = max(time_ms, self.now_ms)
        heapq.heappush(self._events, (when, self._sequence, happen, arguments))

    def note(self, what: str) -> None:
        """Count something that happened."""
        self.counts[what] += 1

    def make_ledger(self, faults: DiskFaults) -> SimulatedLedger:
        """Return a node's empty ledger."""
        if self._ledger_network is not None:
            return FullLedger(self._ledger_network.genesis, faults)
        return CheapLedger(GENESIS, FinalBlocks(), faults, self.plan)

    def make_thread(self, node: SimulatedNode) -> CheapLedgerThread | LedgerServiceThread:
        """Return what works on a node's ledger in a new process."""
        ledger = node.ledger
        if isinstance(ledger, CheapLedger):
            return CheapLedgerThread(self, node, ledger)
        if isinstance(ledger, FullLedger) and self._ledger_network is not None:
            key = self._ledger_network.validators[node.identity]
            return LedgerServiceThread(self, node, ledger, key)
        raise TypeError(f"nothing works on a {type(ledger).__name__}")

    def learn_validators(self, running: EpochCore) -> None:
        """Take from a node who decides the epoch that it begins."""
        if isinstance(self.plan, LedgerPlan):
            state = running.core.state
            members = [running.seats.number_of(index) for index in range(state.validators.count)]
            self.plan.learn(state.parameters.epoch, state.validators, members)

    def make_parameters(self, epoch: int) -> Parameters:
        """Return what a core of an epoch is started with."""
        if epoch not in self._parameters:
            scenario = self.scenario
            self._parameters[epoch] = Parameters(
                CHAIN_ID,
                EMPTY_BODY_ROOT,
                epoch=epoch,
                epoch_end_height=self.plan.end_height(epoch),
                view_timeout_ms=scenario.view_timeout_ms,
                idle_limit_ms=scenario.idle_limit_ms,
                status_interval_ms=scenario.status_interval_ms,
            )
        return self._parameters[epoch]

    def read_wall_ms(self, node: int) -> int:
        """Return a node's wall clock, counted from the start."""
        return self._afflictions.read_wall_ms(node)

    def list_running(self, asking: SimulatedNode) -> list[int]:
        """Return the other nodes that run."""
        running = {node.identity for node in self.nodes if node.core is not None}
        return sorted(running - {asking.identity})

    def connect(self, node: SimulatedNode) -> None:
        """Let all others that run learn that a node does."""
        for other in self.nodes:
            if other.identity != node.identity and other.core is not None:
                other.note_peer(node.identity, connected=True)

    def disconnect(self, node: SimulatedNode) -> None:
        """Let some of the others learn that a node is gone."""
        for other in self.nodes:
            if other.identity != node.identity and self.random.random() < 0.5:
                other.note_peer(node.identity, connected=False)

    def broadcast(self, source: SimulatedNode, message: Message) -> None:
        """Send to all other nodes."""
        adversary = self.adversaries.get(source.index)
        if adversary is not None and adversary.conduct:
            for identity in range(self.scenario.nodes):
                self.send(source, identity, message)
            return
        data = encode_message(message)
        received = decode_message(data)
        for target in self.nodes:
            if target.identity != source.identity:
                self._transmit(source, target, data, received, 0)

    def send(self, source: SimulatedNode, identity: int, message: Message) -> None:
        """Send to one node."""
        if identity == source.identity or identity not in self._instances:
            return
        if isinstance(message, BlocksResponse):
            self.coverage.counts["message BlocksResponse"] += 1
        adversary = self.adversaries.get(source.index)
        rewritten: list[tuple[Message | bytes, int]] = [(message, 0)]
        if adversary is not None:
            self._brief(adversary, source)
            rewritten = adversary.rewrite(message)
        for each, delay_ms in rewritten:
            data = each if isinstance(each, bytes) else encode_message(each)
            try:
                received = decode_message(data)
            except InvalidInputError:
                self.note("malformed messages refused")
                continue
            for target in self._instances[identity]:
                self._transmit(source, target, data, received, delay_ms)

    def spread(self, source: SimulatedNode, transaction: bytes) -> None:
        """Put a transaction into the pool of a node, which passes it on."""
        source.offer(transaction)
        for node in self.nodes:
            if node is not source:
                for arrival_ms in self.network.route(source.index, node.index, 4, self.now_ms):
                    self.at(arrival_ms, node.offer, transaction)

    def expect_damage(self, node: SimulatedNode, what: str) -> None:
        """Complain of a damaged disk unless this one was damaged on purpose."""
        if node.identity not in self._afflictions.damaged:
            raise InvariantBrokenError(f"node {node.identity} found {what} after a mere crash")

    def _use_real_ledger(self) -> None:
        """Let nodes have the real ledger, and with it real keys."""
        scenario = self.scenario
        length = scenario.plan.length or NEVER
        self._ledger_network = make_ledger_network(scenario.validators, length)
        self.plan = LedgerPlan(self._ledger_network, length)
        self.verify = verify_signature
        self.wall_start_ms = self._ledger_network.genesis.timestamp_ms + 1_000
        self._chain_id = self._ledger_network.chain_id

    def _make_adversaries(self) -> dict[int, Adversary]:
        """Return one for each node that may be Byzantine, with a chance of its own."""
        nodes = {fault.nodes[0] for fault in self.faults if fault.kind in BYZANTINE}
        return {
            node: Adversary(
                Random(f"adversary {self.seed} {node}"),
                self._chain_id,
                (self.scenario.validators - 1) // 3,
                self.scenario.view_timeout_ms,
                self.note,
            )
            for node in sorted(nodes)
        }

    def _brief(self, adversary: Adversary, node: SimulatedNode) -> None:
        if self._ledger_network is None:
            adversary.sign = partial(sign, self.plan.public_key(node.identity, node.epoch))
        else:
            adversary.sign = self._ledger_network.validators[node.identity].sign
        adversary.own_index = node.own_index
        adversary.view = 0 if node.core is None else node.core.state.view

    def _transmit(
        self,
        source: SimulatedNode,
        target: SimulatedNode,
        data: bytes,
        message: Message,
        delay_ms: int,
    ) -> None:
        for arrival_ms in self.network.route(source.index, target.index, len(data), self.now_ms):
            self.at(arrival_ms + delay_ms, self._deliver, source.identity, target, data, message)

    def _deliver(self, source: int, target: SimulatedNode, data: bytes, message: Message) -> None:
        if target.core is not None:
            self._trace.update(b"%d %d %d " % (self.now_ms, source, target.index))
            self._trace.update(data)
            target.receive(source, message)

    def _run_until(self, is_done: Callable[[], bool], end_ms: int) -> bool:
        events = self._events
        for _ in range(EVENTS_MAX):
            if is_done():
                return True
            if not events or events[0][0] > end_ms:
                self.now_ms = end_ms
                return is_done()
            self.now_ms, _, happen, arguments = heapq.heappop(events)
            happen(*arguments)
        raise InvariantBrokenError(f"more than {EVENTS_MAX} events: a storm")

    def _demand_progress(self) -> None:
        target = self.checkers.final_height + BLOCKS_AFTER_HEALING
        correct = [node for node in self.nodes if node.identity not in self.scenario.byzantine]
        wait_ms = HEALING_MS + 6 * self.scenario.idle_limit_ms
        if not self._run_until(
            lambda: all(node.height >= target for node in correct), self.now_ms + wait_ms
        ):
            heights = [node.height for node in self.nodes]
            raise InvariantBrokenError(f"no progress to {target} after healing: {heights}")

    def _submit(self) -> None:
        """Submit a transaction to one node, which passes it on; again later if it got lost."""
        if self._ledger_network is None:
            transaction = self._submitted.to_bytes(TRANSACTION_BYTES, "big")
        else:
            transaction = make_transfers(self._ledger_network, self._submitted)
        self._submitted += 1
        self._offer(transaction)
        wait_ms = self.random.randint(1, 2 * self.scenario.submit_interval_ms)
        self.at(self.now_ms + wait_ms, self._submit)

    def _offer(self, transaction: bytes) -> None:
        self.spread(self.random.choice(self.nodes), transaction)
        self.at(self.now_ms + RESUBMIT_AFTER_MS, self._offer_again, transaction)

    def _offer_again(self, transaction: bytes) -> None:
        if not any(node.ledger.is_final(transaction) for node in self.nodes):
            self._offer(transaction)
