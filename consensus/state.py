"""What the parts of the core share: the facts learnt so far, and the actions of this step.

Nothing is decided here. Source: docs/spec/consensus.md §1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from consensus.actions import Action, RaiseAlarm
from consensus.blocks import BlockTree
from consensus.events import ClockReading
from consensus.leader import LeaderSchedule
from consensus.pacemaker import Pacemaker
from consensus.parameters import Parameters
from consensus.peers import PeerTable
from consensus.safety import SafetyGuard
from consensus.votes import VoteLog
from primitives.certificates import Certificate
from primitives.validator_set import ValidatorSet

__all__ = ["State"]


@dataclass(slots=True)
class State:
    """Facts and outbox.

    Parameters
    ----------
    parameters, validators, own_index : what the core was started with.
    log : votes and certificates by view.
    tree : unfinal blocks.
    safety : what this validator has signed.
    pacemaker : the view and its waits.
    leaders : rotation and skip marks.
    peers : whom it can talk to.
    final_certificate : commit certificate of the last final block; None for genesis.
    clock : reading of the current step.
    transactions_pending : the driver knows of transactions that no unfinal block contains.
    is_behind : final blocks are missing here; nothing is signed.
    is_halted : a contradiction was found that only an operator can mend; nothing is signed.
    is_on_probation : own records were lost; nothing is signed.
    is_epoch_over : the epoch's last block is final; nothing is signed, only laggards are answered.
    actions : asked for in this step, in order.
    """

    parameters: Parameters
    validators: ValidatorSet
    own_index: int | None
    log: VoteLog
    tree: BlockTree
    safety: SafetyGuard
    pacemaker: Pacemaker
    leaders: LeaderSchedule
    peers: PeerTable
    final_certificate: Certificate | None
    clock: ClockReading = field(default_factory=lambda: ClockReading(0, 0))
    transactions_pending: bool = False
    is_behind: bool = False
    is_halted: bool = False
    is_on_probation: bool = False
    is_epoch_over: bool = False
    actions: list[Action] = field(default_factory=list)

    @property
    def now_ms(self) -> int:
        """Monotonic time of the current step."""
        return self.clock.monotonic_ms

    @property
    def view(self) -> int:
        """The current view."""
        return self.pacemaker.view

    @property
    def leader(self) -> int:
        """Validator index of the current view's leader."""
        return self.leaders.leader(self.pacemaker.view)

    def emit(self, action: Action) -> None:
        """Ask the driver for something."""
        self.actions.append(action)

    def update_signing(self) -> None:
        """Switch the signer on or off as the facts demand."""
        reasons_against = (
            self.is_behind or self.is_halted or self.is_on_probation or self.is_epoch_over
        )
        self.safety.switch(on=not reasons_against)

    def halt(self, code: str, text: str) -> None:
        """Raise an alarm and sign nothing any more; once."""
        if not self.is_halted:
            self.is_halted = True
            self.update_signing()
            self.emit(RaiseAlarm(code, text))
