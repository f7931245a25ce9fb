"""Runs the turns of consensus on the event loop: waits, and lets the rest have its turn.

What a turn is and what it keeps: node/turns.py. Here: (R1) the core is stepped by one task alone;
(R2) if the disk refuses or an invariant breaks, the node stops: a dead node is safer than a lying
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from consensus.events import ClockReading
from node.turns import ConsensusTurns, EpochCore, LedgerDoor, MessageDoor, RecordLog, TurnCallbacks
from primitives.evidence import Evidence

__all__ = ["ConsensusDriver", "DriverCallbacks"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DriverCallbacks:
    """What consensus tells the rest of the node.

    Parameters
    ----------
    report_evidence, on_alarm
        See :class:`node.turns.TurnCallbacks`.
    on_broken
        Called once, with the reason, when the node must stop.
    """

    report_evidence: Callable[[Evidence], None]
    on_alarm: Callable[[str], None]
    on_broken: Callable[[BaseException], None]


class ConsensusDriver:
    """The one task that takes turns.

    Parameters
    ----------
    begin, wal, messages, ledger, read_clocks
        See :class:`node.turns.ConsensusTurns`.
    callbacks
        Whom to tell of what.
    """

    def __init__(
        self,
        begin: Callable[[], EpochCore],
        wal: RecordLog,
        messages: MessageDoor,
        ledger: LedgerDoor,
        read_clocks: Callable[[], ClockReading],
        callbacks: DriverCallbacks,
    ) -> None:
        self._on_broken = callbacks.on_broken
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.turns = ConsensusTurns(
            begin,
            wal,
            messages,
            ledger,
            read_clocks,
            TurnCallbacks(self._wake.set, callbacks.report_evidence, callbacks.on_alarm),
        )
        self.post = self.turns.post
        self.post_bytes = self.turns.post_bytes

    def start(self) -> None:
        """Begin to take turns."""
        self._task = asyncio.create_task(self._run(), name="consensus-driver")

    async def stop(self) -> None:
        """Take no more turns; what was persisted stays."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def note_work(self) -> None:
        """Look again, in the next turn, whether transactions wait."""
        self._wake.set()

    async def _run(self) -> None:
        try:
            self.turns.start()
            while True:
                await self._wait()
                # Before the turn: what is posted or noted from here on wakes the next one.
                self._wake.clear()
                self.turns.take_turn()
                # Sockets and timers get their turn even while events keep coming.
                await asyncio.sleep(0)
        except Exception as error:
            logger.critical("consensus stops: %s", error, exc_info=True)
            self._on_broken(error)

    async def _wait(self) -> None:
        """Wait until there is something to do."""
        wait_ms = self.turns.compute_wait_ms()
        if wait_ms is None:
            await self._wake.wait()
        elif wait_ms > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000):
                    await self._wake.wait()
