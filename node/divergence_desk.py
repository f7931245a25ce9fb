"""What a node does when its execution differs from that of the others, or fails.

It executes the blocks in question once more on the final state as it is on disk, with nothing
remembered, and writes a report (`node.divergence`). If that comes to what the others have,
something in memory was wrong: everything speculative is dropped and consensus begins again from the
last final block. If it does not, the node signs nothing more and takes no part, but keeps what is
final and answers questions about it; its operator compares the report with another node's, upgrades
or replaces what is at fault, and starts it again: it then tries anew from the last final block.

A disk that does not give back what was written is another matter: that stops the node, and the next
start looks at the disk (`node.recovery`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from consensus.actions import ExecuteBlock
from consensus.blocks import BlockEntry
from consensus.core import Core
from consensus.messages import Block
from consensus.state import State
from ledger.errors import MissingPayloadError
from ledger.key_value import KeyValueStore
from ledger.payload import PayloadReader
from node.divergence import DivergenceReport, describe_machine, examine_blocks, save_report
from primitives.certificates import VoteKind
from primitives.errors import CorruptStateError

__all__ = ["Divergence", "DivergenceDesk", "LedgerToExamine", "find_divergence"]

logger = logging.getLogger(__name__)

_HALTING_CODE = "diverged"
_CODES = (_HALTING_CODE, "state_root_differs")


class Turns(Protocol):
    """The turns of consensus, as far as they are stopped and begun again here."""

    @property
    def core(self) -> Core:
        """The core of the present epoch."""

    def begin_again(self) -> None:
        """Go on with a new core, made from what is on disk."""

    def suspend(self) -> None:
        """Take no more turns."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """What is to be looked into.

    Parameters
    ----------
    blocks : above the last final one, ascending.
    certified_root : what a quorum reached with the last of them, if one did.
    own_root : what this node reached, if it reached anything.
    """

    blocks: tuple[Block, ...]
    certified_root: bytes | None
    own_root: bytes | None


@dataclass(frozen=True, slots=True)
class LedgerToExamine:
    """Where blocks are executed again.

    Parameters
    ----------
    values : the ledger on disk.
    payloads : of final blocks.
    thread : the one that alone touches the ledger.
    forget_executed : drops every speculative result, then calls back.
    """

    values: KeyValueStore
    payloads: PayloadReader
    thread: Executor
    forget_executed: Callable[[Callable[[], None]], None]


class DivergenceDesk:
    """Looks into divergences, one time each; on the event loop.

    Parameters
    ----------
    turns
        Of consensus.
    ledger
        Where blocks are executed again.
    folder
        Of the reports.
    run
        Runs a coroutine beside everything else.
    on_broken
        Called when the node must stop.
    """

    def __init__(
        self,
        turns: Turns,
        ledger: LedgerToExamine,
        folder: Path,
        run: Callable[[Coroutine[Any, Any, None]], None],
        on_broken: Callable[[BaseException], None],
    ) -> None:
        self._turns = turns
        self._ledger = ledger
        self._folder = folder
        self._run = run
        self._on_broken = on_broken
        # Blocks that were looked into. A node that mends itself moves on; one that does not stops.
        self._examined: set[bytes] = set()
        self._running: set[bytes] = set()
        # Those of them without which this node cannot go on.
        self._needed: set[bytes] = set()

    def on_alarm(self, code: str) -> None:
        """Take an alarm of the core; most are none of this desk's business."""
        state = self._turns.core.state
        # Whoever stopped for another reason does not go on because of this one.
        if code not in _CODES or (state.is_halted and code != _HALTING_CODE):
            return
        divergence = find_divergence(state)
        if divergence is not None:
            self._run(self._look_into(divergence, is_certain=code == _HALTING_CODE))

    def on_execution_failed(self, action: ExecuteBlock, error: Exception) -> None:
        """Take a block whose execution raised something that is no verdict on a transaction."""
        if isinstance(error, CorruptStateError) and not isinstance(error, MissingPayloadError):
            self._on_broken(error)
            return
        state = self._turns.core.state
        chain = state.tree.get_chain(action.block.block_id)
        if not chain or state.is_halted:
            # An answer to a core that is no more, or that has stopped already.
            return
        height = action.block.header.height
        logger.error("executing block %d raised an error", height, exc_info=error)
        self._run(self._look_into(Divergence(_blocks_of(chain), None, None), is_certain=True))

    async def _look_into(self, divergence: Divergence, *, is_certain: bool) -> None:
        """Execute again, report, and mend what can be mended.

        Parameters
        ----------
        divergence
            What to look into.
        is_certain
            It is this node that cannot go on: a quorum differs, or nothing came out at all.
        """
        core = self._turns.core
        block_id = divergence.blocks[-1].block_id
        if is_certain:
            self._needed.add(block_id)
        if block_id in self._running:
            return
        if block_id in self._examined:
            if is_certain:
                self._give_up("the same block came out wrong again")
            return
        self._examined.add(block_id)
        self._running.add(block_id)
        report = await self._examine(divergence)
        self._running.discard(block_id)
        # More may be known by now than when this began.
        is_certain = block_id in self._needed
        has_stopped = core.state.is_halted and not is_certain
        if core is not self._turns.core or has_stopped or not report.blocks:
            return
        path = save_report(self._folder, report)
        if _is_mended(report):
            logger.error(
                "alarm divergence_mended: block %d came out right when it was executed again, so"
                " this machine's memory is not to be trusted; report in %s",
                report.last.height,
                path,
            )
            self._ledger.forget_executed(self._turns.begin_again)
        elif is_certain:
            self._give_up(f"block {report.last.height} comes out the same again; report in {path}")
        else:
            logger.error(
                "alarm divergence_reported: validators disagree on the state after block %d;"
                " report in %s",
                report.last.height,
                path,
            )

    async def _examine(self, divergence: Divergence) -> DivergenceReport:
        ledger = self._ledger
        examine = partial(examine_blocks, ledger.values, ledger.payloads, divergence.blocks)
        found = await asyncio.get_running_loop().run_in_executor(ledger.thread, examine)
        return DivergenceReport(
            found, divergence.certified_root, divergence.own_root, describe_machine()
        )

    def _give_up(self, why: str) -> None:
        logger.critical(
            "alarm divergence_remains: %s. This node takes no part in consensus any more and"
            " answers what is final; see docs/operations/recovery.md",
            why,
        )
        self._turns.suspend()


def find_divergence(state: State) -> Divergence | None:
    """Return where a core's state roots differ from those of the others, highest view first."""
    for view in sorted(state.log.committed_views, reverse=True):
        certificate = state.log.get_certificate(VoteKind.COMMIT, view)
        chain = None if certificate is None else state.tree.get_chain(certificate.block_id)
        if certificate is None or not chain:
            continue
        own_root = chain[-1].state_root
        if own_root is not None and own_root != certificate.state_root:
            return Divergence(_blocks_of(chain), certificate.state_root, own_root)
    for view in sorted(state.log.prepared_views, reverse=True):
        record = state.log.find(view)
        if record is None or not record.divergence_reported or record.block_certificate is None:
            continue
        chain = state.tree.get_chain(record.block_certificate.block_id)
        if chain:
            return Divergence(_blocks_of(chain), None, chain[-1].state_root)
    return None


def _blocks_of(chain: Sequence[BlockEntry]) -> tuple[Block, ...]:
    return tuple(entry.pre_prepare.block for entry in chain)


def _is_mended(report: DivergenceReport) -> bool:
    """Say whether the second execution shows that the first one was at fault."""
    if report.last.failure:
        return False
    if report.certified_root is not None:
        return report.last.state_root == report.certified_root
    return report.last.state_root != report.own_root
