"""The ledger's side of one simulated node: everything in order, each thing in its own time.

Stands where `node.ledger_service` stands in a node, behind the same protocol. One of these lives as
long as the process that it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from consensus.actions import (
    BuildBlock,
    DiscardBlocks,
    ExecuteBlock,
    FinalizeBlocks,
    ServeBlocks,
    ServeEpochEnd,
    ValidateBlock,
)
from consensus.core import Core
from consensus.events import BlockBuilt, BlockExecuted, BlockValidated, Event, Verdict
from consensus.messages import Block, CertificateBatch
from consensus.recovery import Recovered
from node.seats import Seats
from node.turns import EpochCore
from primitives.evidence import Evidence
from primitives.hashing import ZERO_HASH
from primitives.header import BlockHeader
from tests.helpers.consensus import sign
from tests.simulator.ledgers import CheapLedger

if TYPE_CHECKING:
    from tests.simulator.node import SimulatedNode
    from tests.simulator.simulation import Simulation

__all__ = ["CheapLedgerThread", "LedgerThread", "ProcessStoppedError", "SigningHistory"]

JUDGING_MS = 1


class ProcessStoppedError(Exception):
    """The process reached the effect at which it was to die, or stops by itself."""


@dataclass(frozen=True, slots=True)
class SigningHistory:
    """What a node knows of what its key has signed, when an epoch begins.

    Parameters
    ----------
    records : of the write-ahead log.
    must_observe : some are gone.
    sign_floor_view : nothing is signed up to this view.
    is_accepted : the operator lets it vote whatever is gone.
    is_first : the process has just begun.
    """

    records: Sequence[bytes]
    must_observe: bool
    sign_floor_view: int
    is_accepted: bool
    is_first: bool


class LedgerThread:
    """What stands on the ledger's side of a process: work in order, while the process runs.

    Parameters
    ----------
    simulation : time, chance and checkers.
    node : whose process it belongs to.
    """

    def __init__(self, simulation: Simulation, node: SimulatedNode) -> None:
        self._simulation = simulation
        self._node = node
        self._free_at_ms = simulation.now_ms
        self._is_over = False
        # What was to be done while the process was stopped.
        self._held: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def end(self) -> None:
        """Do nothing more: the process is gone."""
        self._is_over = True

    def resume(self) -> None:
        """Go on after a pause, in order."""
        held, self._held = self._held, []
        for work, arguments in held:
            self._at(self._simulation.now_ms, work, *arguments)

    def report(self, evidence: Evidence) -> None:
        """Bring evidence into the ledger, if that takes any."""

    def _in_turn(self, work: Callable[..., None], *arguments: Any) -> None:
        """Do something after everything that was asked for before."""
        start_ms = max(self._simulation.now_ms, self._free_at_ms)
        slow_ms = int(self._simulation.random.random() * self._node.execution_ms)
        self._free_at_ms = start_ms + slow_ms
        self._at(self._free_at_ms, work, *arguments)

    def _at(self, at_ms: int, work: Callable[..., None], *arguments: Any) -> None:
        self._simulation.at(at_ms, self._do, work, arguments)

    def _do(self, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self._is_over:
            return
        if self._node.is_paused:
            self._held.append((work, arguments))
            return
        with self._node.stopping_on_failure():
            work(*arguments)

    def _post(self, event: Event) -> None:
        self._node.post(event)

    def _check_execution(self) -> None:
        """Stop the process if its execution is to fail."""
        if self._node.execution_fails:
            self._simulation.note("stopped by its execution")
            raise ProcessStoppedError

    def _note_refusal(self, header: BlockHeader) -> None:
        if not self._simulation.checkers.is_refusal_right(self._node.identity, header):
            self._simulation.note("blocks of correct leaders refused")

    def _bend(self, event: BlockExecuted) -> BlockExecuted:
        """Return what the node says of an execution: another root if it is to diverge."""
        node = self._node
        if not node.diverges:
            return event
        self._simulation.checkers.diverged.add(node.identity)
        self._simulation.note("diverging roots")
        return replace(event, state_root=bytes(30) + bytes([node.index]) + b"!")


class CheapLedgerThread(LedgerThread):
    """Implements `node.turns.LedgerDoor` over a ledger that costs next to nothing.

    Parameters
    ----------
    simulation, node : as for every thread.
    ledger : what it works on.
    """

    def __init__(self, simulation: Simulation, node: SimulatedNode, ledger: CheapLedger) -> None:
        super().__init__(simulation, node)
        self._ledger = ledger
        self._last: Core | None = None

    def begin(self, history: SigningHistory) -> EpochCore:
        """Return the core of the epoch that the ledger is in, and who sits where."""
        simulation, identity = self._simulation, self._node.identity
        plan = simulation.plan
        header, certificate = self._ledger.tip()
        epoch = plan.epoch_of(header.height + 1)
        members = plan.members(epoch)
        index = members.index(identity) if identity in members else None
        must_observe = history.must_observe
        if self._last is not None:
            must_observe = self._last.probation.reaches_beyond(header.view)
        self._last = Core(
            simulation.make_parameters(epoch),
            plan.validators(epoch),
            index,
            None if index is None else partial(sign, plan.public_key(identity, epoch)),
            Recovered(
                header,
                certificate,
                history.records,
                must_observe,
                history.sign_floor_view,
                history.is_accepted,
            ),
            simulation.verify,
        )
        return EpochCore(self._last, Seats(members))

    def offer(self, transaction: bytes) -> None:
        """Put a transaction into the pool."""
        self._ledger.offer(transaction)

    def validate(self, action: ValidateBlock) -> None:
        self._at(self._simulation.now_ms + JUDGING_MS, self._validate, action)

    def execute(self, action: ExecuteBlock) -> None:
        self._ledger.note(action.block)
        self._in_turn(self._execute, action.block)

    def build(self, action: BuildBlock) -> None:
        parent = action.parent
        plan = self._simulation.plan
        body, root = self._ledger.build(parent, must_be_empty=action.must_be_empty)
        epoch = self._node.epoch
        ends = parent.height + 1 == plan.end_height(epoch)
        wall_ms = self._node.read_clocks().wall_ms
        following = plan.validators(epoch + 1).hash if ends else ZERO_HASH
        self._post(BlockBuilt(action.view, parent.block_id, body, root, wall_ms, following))

    def finalize(self, action: FinalizeBlocks) -> None:
        self._in_turn(self._finalize, action)

    def discard(self, action: DiscardBlocks) -> None:
        self._in_turn(self._discard, action.block_ids)

    def serve(self, action: ServeBlocks) -> None:
        self._in_turn(self._serve, action)

    def serve_epoch_end(self, action: ServeEpochEnd) -> None:
        certificate = self._ledger.find_epoch_certificate(action.epoch)
        if certificate is not None:
            self._simulation.send(self._node, action.peer, CertificateBatch((certificate,)))

    def has_work(self, is_live: Callable[[BlockHeader], bool]) -> bool:
        return self._ledger.has_work(is_live)

    def after_finality(self, call: Callable[[], None]) -> None:
        self._in_turn(call)

    def _validate(self, action: ValidateBlock) -> None:
        good = self._ledger.is_valid(action.block, certified=action.certified)
        if not (good or action.certified):
            self._note_refusal(action.block.header)
        verdict = Verdict.VALID if good else Verdict.INVALID
        self._post(BlockValidated(action.block.block_id, verdict))

    def _execute(self, block: Block) -> None:
        self._check_execution()
        end = self._simulation.plan.end_height(block.header.epoch)
        root = self._ledger.execute(block, is_tail=block.header.height > end)
        if root is not None:
            self._post(self._bend(BlockExecuted(block.block_id, root)))

    def _finalize(self, action: FinalizeBlocks) -> None:
        for final in self._ledger.finalize(action.blocks, action.certificate):
            height = final.block.header.height
            self._simulation.checkers.on_final(self._node.identity, height, final)
        self._node.want_turn()

    def _discard(self, block_ids: Sequence[bytes]) -> None:
        self._ledger.discard(block_ids)

    def _serve(self, action: ServeBlocks) -> None:
        response = self._ledger.serve(action.from_height, action.count)
        self._simulation.send(self._node, action.peer, response)
