"""Carrying out the faults of a run: when each begins and ends, and what is done to whom.

Where the right answer to a fault is that the node stops, an operator brings it back when the fault
is over; where it is to begin a new log under the old key, the node starts with its records lost and
watches until it may sign again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.simulator.faults import BYZANTINE, FULL_RUN, Fault, Kind
from tests.simulator.network import LINK_KINDS

if TYPE_CHECKING:
    from tests.simulator.node import SimulatedNode
    from tests.simulator.simulation import Simulation

__all__ = ["Afflictions"]

_CLOCKS = (Kind.SKEW, Kind.CLOCK_JUMP, Kind.CLOCK_BACK, Kind.CLOCK_FROZEN)


class Afflictions:
    """The faults of one run.

    Parameters
    ----------
    simulation : whose nodes they strike.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._active: list[Fault] = []
        self._clocks: dict[int, list[Fault]] = {}
        self._backups: dict[Fault, tuple[dict[Path, bytes], Any]] = {}
        self._is_healed = False
        # Nodes whose disks were damaged beyond what a crash does.
        self.damaged: set[int] = set()

    def schedule(self, faults: Sequence[Fault]) -> None:
        """Let every fault begin and end when it is to."""
        for fault in faults:
            self._simulation.at(fault.start_ms, self._begin, fault)
            if fault.end_ms < FULL_RUN:
                self._simulation.at(fault.end_ms, self._end, fault)

    def heal(self) -> None:
        """End all faults but those that nothing heals, and bring every node back."""
        self._is_healed = True
        for fault in list(self._active):
            if fault.end_ms < FULL_RUN:
                self._end(fault)
        self._simulation.network.heal()
        for node in self._simulation.nodes:
            node.effects_left = None
            self._bring_back(node)

    def read_wall_ms(self, node: int) -> int:
        """Return a node's wall clock, counted from the start."""
        now_ms = self._simulation.now_ms
        wall_ms = now_ms
        for fault in self._clocks.get(node, ()):
            if fault.kind is Kind.CLOCK_FROZEN:
                wall_ms -= now_ms - fault.start_ms
            elif fault.kind is Kind.CLOCK_BACK:
                wall_ms -= fault.amount
            else:
                wall_ms += fault.amount
        return wall_ms

    def _begin(self, fault: Fault) -> None:
        if self._is_healed:
            return
        self._active.append(fault)
        if fault.kind in LINK_KINDS:
            self._simulation.network.begin(fault)
            return
        if fault.kind in BYZANTINE:
            self._simulation.adversaries[fault.nodes[0]].conduct[fault.kind] = fault.amount
            return
        self._simulation.note(fault.kind.value)
        for node in fault.nodes:
            if fault.kind in _CLOCKS:
                self._clocks.setdefault(node, []).append(fault)
            else:
                self._strike(fault, self._simulation.nodes[node])

    def _end(self, fault: Fault) -> None:
        if fault not in self._active:
            return
        self._active.remove(fault)
        if fault.kind in LINK_KINDS:
            self._simulation.network.end(fault)
        elif fault.kind in BYZANTINE:
            self._simulation.adversaries[fault.nodes[0]].conduct.pop(fault.kind, None)
        elif fault.kind in _CLOCKS:
            for node in fault.nodes:
                self._clocks[node].remove(fault)
        else:
            for index in fault.nodes:
                self._relieve(fault, self._simulation.nodes[index])

    def _strike(self, fault: Fault, node: SimulatedNode) -> None:
        match fault.kind:
            case Kind.CRASH:
                node.effects_left = fault.amount
            case Kind.CRASH_LOOP:
                self._crash_again(fault, node)
            case Kind.POWER_LOSS | Kind.LATE_START:
                node.die()
            case Kind.PAUSE:
                node.is_paused = True
            case Kind.DISK_FULL:
                node.faults.bytes_left = fault.amount
            case Kind.SYNC_FAILS:
                node.faults.fails_sync = True
            case Kind.EXECUTION_SLOW:
                node.execution_ms += fault.amount
            case Kind.EXECUTION_FAILS:
                node.execution_fails = True
            case _:
                self._damage(fault, node)

    def _damage(self, fault: Fault, node: SimulatedNode) -> None:
        """Do to a node what it cannot hide."""
        if fault.kind is Kind.DIVERGENCE:
            node.diverges = True
            return
        if fault.kind is Kind.OLD_BACKUP:
            self._backups[fault] = (node.files.copy_bytes(), node.ledger.make_backup())
            return
        self.damaged.add(node.identity)
        node.die()
        if fault.kind is Kind.BIT_FLIP:
            node.files.flip_bit(self._simulation.random)
            # In the last records it looks like the end that a crash tore.
            self._simulation.checkers.forgetful.add(node.identity)
            node.start()
            return
        node.wipe_log()
        if fault.kind is Kind.DISK_LOST:
            node.ledger.restore_backup(None)
            node.blocks_lost = True
        self._simulation.at(self._simulation.now_ms + fault.amount, self._start_anew, node)

    def _start_anew(self, node: SimulatedNode) -> None:
        if node.core is None:
            node.start()

    def _relieve(self, fault: Fault, node: SimulatedNode) -> None:
        match fault.kind:
            case Kind.PAUSE:
                node.resume()
            case Kind.DISK_FULL:
                node.faults.bytes_left = None
            case Kind.SYNC_FAILS:
                node.faults.fails_sync = False
            case Kind.EXECUTION_SLOW:
                node.execution_ms -= fault.amount
            case Kind.EXECUTION_FAILS:
                node.execution_fails = False
            case Kind.DIVERGENCE:
                node.diverges = False
                node.die()
            case Kind.OLD_BACKUP:
                self._restore(fault, node)
            case _:
                node.effects_left = None
        self._bring_back(node)

    def _restore(self, fault: Fault, node: SimulatedNode) -> None:
        files, blocks = self._backups.pop(fault)
        self.damaged.add(node.identity)
        node.die()
        node.files.restore_bytes(files)
        node.ledger.restore_backup(blocks)
        node.records_lost = node.blocks_lost = True
        node.start()

    def _crash_again(self, fault: Fault, node: SimulatedNode) -> None:
        if fault not in self._active:
            return
        self._bring_back(node)
        if node.core is not None:
            node.effects_left = fault.amount
        wait_ms = self._simulation.random.randint(10, 300)
        self._simulation.at(self._simulation.now_ms + wait_ms, self._crash_again, fault, node)

    def _bring_back(self, node: SimulatedNode) -> None:
        """Start a node again if it is down."""
        if node.core is not None:
            return
        if node.needs_operator:
            self._simulation.note("new log under the old key")
            node.wipe_log()
        self._simulation.note("restart")
        node.start()
