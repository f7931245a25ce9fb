"""Playing a scenario to its end: the chosen views, then a network in which everything arrives."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from consensus.evidence import EvidenceKind, find_vote_conflict
from consensus.messages import CertificateMessage, Message, PrePrepare, Vote
from primitives.certificates import VoteKind
from tests.twins.instance import Instance, PromiseBrokenError
from tests.twins.network import TwinNetwork
from tests.twins.scenario import TWINNED, Scenario

__all__ = ["Outcome", "play"]

MESSAGES_MAX = 20_000
"""A scenario needs some hundred messages, so this many mean that it never ends."""

WAITS_MAX = 60
"""Waits until the correct instances have made a block after the network has healed."""

_PROPOSAL, _OTHER = 0, 4
_KIND_BY_VOTE = {VoteKind.PREPARE: 1, VoteKind.COMMIT: 2, VoteKind.VIEW_CHANGE: 3}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a scenario in which nothing broke.

    Parameters
    ----------
    views : that were entered before the network healed, at most those of the scenario.
    blocks : final at the end.
    evidence : kinds of evidence that correct instances hold against the twinned validator.
    messages : delivered.
    restarts : that took place.
    """

    views: int
    blocks: int
    evidence: frozenset[EvidenceKind]
    messages: int
    restarts: int


def play(scenario: Scenario) -> Outcome:
    """Play one scenario.

    Raises
    ------
    PromiseBrokenError
        If correct instances disagree, contradict themselves, stop making blocks, or name one of
        themselves or not the twinned validator although it contradicted itself before their eyes.
    """
    return _Play(scenario).run()


class _Play:
    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.has_healed = False
        # View-changes that the masks keep back, which are let through if nobody can go on.
        self.late: list[tuple[int, int, Vote]] = []
        self.restarts = 0
        self.target_view = self.target_height = 0
        self.network = TwinNetwork(
            TWINNED,
            scenario.leaders,
            self._passes,
            epoch_length=scenario.epoch_length,
            twins_insist=scenario.twins_insist,
        )
        self.network.on_crash = self._come_back
        for restart in scenario.restarts:
            instance = self.network.instances[restart.instance]
            instance.crash_at = restart.effect
            if restart.copied_at is not None:
                instance.copy_at = restart.copied_at

    def run(self) -> Outcome:
        network = self.network
        network.start()
        self._play_views()
        reached = min(self.scenario.views, max(each.core.state.view for each in network.correct))
        self._heal()
        self._check_chains()
        self._check_evidence()
        kinds = {each.kind for instance in network.correct for each in instance.evidence}
        return Outcome(
            reached, len(network.chain), frozenset(kinds), network.delivered, self.restarts
        )

    def _passes(self, source: int, target: int, message: Message) -> bool:
        if self.has_healed:
            return True
        match message:
            case Vote():
                view, kind = message.view, _KIND_BY_VOTE[message.kind]
            case PrePrepare():
                view, kind = message.header.view, _PROPOSAL
            case CertificateMessage():
                view, kind = message.certificate.view, _OTHER
            case _:
                view, kind = self.network.instances[source].core.state.view, _OTHER
        if view > self.scenario.views:
            return False
        if self.scenario.masks[view - 1][kind][source] >> target & 1:
            return True
        if kind == _KIND_BY_VOTE[VoteKind.VIEW_CHANGE] and isinstance(message, Vote):
            self.late.append((source, target, message))
        return False

    def _play_views(self) -> None:
        """Go through the chosen views, as far as the masks let anybody go."""
        network = self.network
        for _ in range(4 * self.scenario.views + 4):
            if not network.drain(lambda: False, MESSAGES_MAX):
                raise PromiseBrokenError("messages without end")
            if all(self._has_given_up(each) for each in network.instances):
                if not self.late:
                    return
                self._release()
            elif not network.pass_time():
                return

    def _has_given_up(self, instance: Instance) -> bool:
        """Say whether an instance is done with the scenario or cannot do more in its view."""
        state = instance.core.state
        return (
            instance.is_down
            or state.view > self.scenario.views
            or not state.safety.is_on
            or state.safety.get_vote(VoteKind.VIEW_CHANGE, state.view) is not None
        )

    def _release(self) -> None:
        late, self.late = self.late, []
        instances = self.network.instances
        for source, target, vote in late:
            self.network.deliver(instances[source], instances[target], vote)

    def _heal(self) -> None:
        """Let everything arrive until every correct instance has a block of a later view."""
        network = self.network
        self.has_healed = True
        if self.scenario.epoch_length:
            # Views count on from an epoch's last block; another epoch is to end.
            highest = max(len(each.disk.blocks) for each in network.correct)
            self.target_height = highest + self.scenario.epoch_length + 1
        else:
            self.target_view = max(each.core.state.view for each in network.correct)
        for instance in network.instances:
            instance.reconnect()
        for _ in range(WAITS_MAX):
            if not network.drain(self._is_done, MESSAGES_MAX):
                raise PromiseBrokenError("messages without end after healing")
            if self._is_done():
                return
            if not network.pass_time():
                break
        heights = [len(each.disk.blocks) for each in network.correct]
        raise PromiseBrokenError(f"no new blocks after healing, heights {heights}")

    def _is_done(self) -> bool:
        tips = [each.disk.tip for each in self.network.correct]
        return all(tip.view > self.target_view and tip.height >= self.target_height for tip in tips)

    def _check_chains(self) -> None:
        """Check what the network checked as it went on, and that nobody raised an alarm."""
        for instance in self.network.correct:
            chain = self.network.chain[: len(instance.disk.blocks)]
            if [each.block_id for each in chain] != [
                each.block_id for each in instance.disk.blocks
            ]:
                raise PromiseBrokenError(f"instance {instance.number} has another chain")
            if instance.alarms:
                raise PromiseBrokenError(f"instance {instance.number}: {instance.alarms[0].text}")

    def _check_evidence(self) -> None:
        for instance in self.network.correct:
            reported = {(each.epoch, each.view, each.kind) for each in instance.evidence}
            named = {each.validator for each in instance.evidence}
            if not named <= {TWINNED}:
                raise PromiseBrokenError(f"instance {instance.number} names {sorted(named)}")
            for first, second in combinations(instance.heard.values(), 2):
                if first.view != second.view:
                    continue
                kind = find_vote_conflict(first, second)
                if kind is not None and (first.epoch, first.view, kind) not in reported:
                    raise PromiseBrokenError(f"instance {instance.number} overlooked {kind.name}")

    def _come_back(self, instance: Instance) -> None:
        self.restarts += 1
        instance.restart(instance.disk if instance.copied is None else instance.copied)
