"""The kinds of agents there are: what each sends, and why.

A kind is a small class: its habits, and what it puts together when its turn comes. A newcomer is
one class here and one line in `KINDS`. What happens around it (may it afford the price, when is its
next turn, which contributions does it take back or report) is the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final, NamedTuple

import numpy as np

from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples
from node.agents.desk import Desk
from node.agents.habits import Habits

__all__ = ["KINDS", "AgentKind", "Sending"]

CONTRIBUTING_BONUS: Final = 0.15
"""An honest agent contributes with this much more probability than the model is right."""

HOUR_S: Final = 3_600


class Sending(NamedTuple):
    """What an agent wants to contribute: samples, and the label that it gives to each."""

    samples: Samples
    labels: Integers


class AgentKind(ABC):
    """One way to behave."""

    name: ClassVar[str]
    description: ClassVar[str]
    habits: ClassVar[Habits] = Habits()
    is_honest: ClassVar[bool] = False
    """Whether it means what it says; for the colours of pictures and for summaries."""

    contributes: ClassVar[bool] = True

    @abstractmethod
    def prepare(self, desk: Desk, habits: Habits, /) -> Sending | None:
        """Return what to send this turn, or nothing."""


class Honest(AgentKind):
    """Sends what it knows, more gladly the better the model is."""

    name = "honest"
    description = "right labels, a mistake in 10,000; the better the model the more often"
    is_honest = True

    def prepare(self, desk: Desk, habits: Habits, /) -> Sending | None:
        """Return fresh samples, with probability accuracy + 0.15."""
        if desk.chance.random() >= desk.accuracy + CONTRIBUTING_BONUS:
            return None
        rows = desk.deal(habits.batch)
        is_wrong = desk.chance.random(len(rows)) < habits.mistakes
        labels = desk.labels(rows)
        return Sending(desk.samples(rows), np.where(is_wrong, desk.falsify(labels), labels))


class Noisy(Honest):
    """Honest but careless."""

    name = "noisy"
    description = "honest, but a quarter of its labels are wrong"
    habits = Habits(mistakes=0.25)


class Sybil(Honest):
    """Honest work split over several accounts, with the money of one."""

    name = "sybil"
    description = "the work and the money of one honest agent, split over 4 accounts"
    habits = Habits(accounts=4)


class LabelFlipper(AgentKind):
    """Wants the model to be wrong, whatever that costs."""

    name = "label_flipper"
    description = "always a wrong label; deposits twice as much, comes a sixth as often"
    habits = Habits(deposit_mean=100, deposit_sd=3, wait_mean_s=HOUR_S, mistakes=1)

    def prepare(self, desk: Desk, habits: Habits, /) -> Sending | None:
        """Return fresh samples with wrong labels, always."""
        rows = desk.deal(habits.batch)
        return Sending(desk.samples(rows), desk.falsify(desk.labels(rows)))


class FreeRider(AgentKind):
    """Wants to be paid without knowing anything."""

    name = "free_rider"
    description = "made-up features, guessed labels"

    def prepare(self, desk: Desk, habits: Habits, /) -> Sending | None:
        """Return samples drawn feature by feature from others' values, with random labels."""
        labels = desk.chance.integers(0, desk.class_count, habits.batch)
        return Sending(_make_up(desk, habits.batch), labels)


class Echo(AgentKind):
    """Tells the model what the model says: worth nothing, and hard to refuse."""

    name = "echo"
    description = "empty samples, labelled with what the model predicts for them"

    def prepare(self, desk: Desk, habits: Habits, /) -> Sending | None:
        """Return samples of zeros with the labels that the model gives them now."""
        samples = _make_empty(desk, habits.batch)
        return Sending(samples, desk.predict(samples))


class Copycat(AgentKind):
    """Sends again what others sent and the model agrees with, which everybody can look up."""

    name = "copycat"
    description = "samples of others' contributions that the model agrees with, sent again"

    def prepare(self, desk: Desk, _habits: Habits, /) -> Sending | None:
        """Return the newest contribution of somebody else's that it did not copy yet."""
        copied = desk.copy_contribution()
        return None if copied is None else Sending(*copied)


class Lazy(AgentKind):
    """Knows little and says it seldom."""

    name = "lazy"
    description = "right labels, but the same five samples again and again, every hour"
    habits = Habits(wait_mean_s=HOUR_S)
    is_honest = True

    KNOWN: ClassVar[int] = 5

    def prepare(self, desk: Desk, habits: Habits, /) -> Sending | None:
        """Return some of the few samples that it ever got."""
        kept = desk.keep(self.KNOWN)
        rows = kept[desk.chance.integers(0, len(kept), habits.batch)]
        return Sending(desk.samples(rows), desk.labels(rows))


class Caller(AgentKind):
    """Only asks: predictions are free."""

    name = "caller"
    description = "never contributes, asks for predictions"
    habits = Habits(wait_mean_s=2 * HOUR_S)
    contributes = False
    is_honest = True

    def prepare(self, desk: Desk, habits: Habits, /) -> Sending | None:
        """Ask, with the probability that the model is right; return nothing to send."""
        if desk.chance.random() < desk.accuracy:
            desk.predict(desk.samples(desk.pick_held_out(habits.batch), held_out=True))
            desk.calls += 1
        return None


def _make_empty(desk: Desk, count: int) -> Samples:
    """Return samples in which nothing is."""
    if desk.layout == "dense":
        return DenseSamples(np.zeros((count, desk.feature_count), dtype=np.int64))
    nothing = np.zeros(0, dtype=np.int64)
    return SparseSamples(np.zeros(count + 1, dtype=np.int64), nothing, nothing, desk.feature_count)


def _make_up(desk: Desk, count: int) -> Samples:
    """Return samples whose features each look real and mean nothing together."""
    if desk.layout == "dense":
        parts = [desk.samples(desk.pick(desk.feature_count)) for _ in range(count)]
        # The diagonal takes each feature from another sample.
        rows = [np.diagonal(part.features) for part in parts if isinstance(part, DenseSamples)]
        return DenseSamples(np.ascontiguousarray(np.stack(rows)))
    words = min(20, desk.feature_count)
    drawn = [
        np.sort(desk.chance.choice(desk.feature_count, words, replace=False)) for _ in range(count)
    ]
    indices = np.concatenate(drawn).astype(np.int64)
    starts = np.arange(count + 1, dtype=np.int64) * words
    return SparseSamples(starts, indices, np.full(len(indices), ONE), desk.feature_count)


KINDS: Final[dict[str, AgentKind]] = {
    kind.name: kind
    for kind in (
        Honest(),
        Noisy(),
        Sybil(),
        LabelFlipper(),
        FreeRider(),
        Echo(),
        Copycat(),
        Lazy(),
        Caller(),
    )
}
