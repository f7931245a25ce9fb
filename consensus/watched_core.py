"""A core that tells a watch of every step, so that whoever drives it need not."""

from __future__ import annotations

from consensus.actions import Action
from consensus.core import Core
from consensus.events import ClockReading, Event
from consensus.parameters import Parameters
from consensus.recovery import Recovered
from consensus.safety import Signer
from consensus.watch import Watch
from primitives.certificates import Verifier
from primitives.keys import verify_signature
from primitives.validator_set import ValidatorSet

__all__ = ["WatchedCore"]


class WatchedCore(Core):
    """Does exactly what a core does; see `Core` for the other parameters.

    Parameters
    ----------
    watch : told of the start and of every step; one for all epochs of a process.
    """

    def __init__(
        self,
        parameters: Parameters,
        validators: ValidatorSet,
        own_index: int | None,
        signer: Signer | None,
        recovered: Recovered,
        verify: Verifier = verify_signature,
        *,
        watch: Watch,
    ) -> None:
        super().__init__(parameters, validators, own_index, signer, recovered, verify)
        self._watch = watch

    def start(self, clock: ClockReading) -> list[Action]:
        """Begin, as `Core.start` does."""
        actions = super().start(clock)
        self._watch.note_start(actions, self.state)
        self._watch.signs_above_view = self.probation.signs_above_view
        return actions

    def step(self, event: Event, clock: ClockReading) -> list[Action]:
        """Take one event, as `Core.step` does."""
        actions = super().step(event, clock)
        self._watch.note_step(event, actions, self.state)
        self._watch.signs_above_view = self.probation.signs_above_view
        return actions
