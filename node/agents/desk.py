"""What one agent has in front of it when it puts a contribution together.

Fresh samples are dealt from one deck to all agents, so that nobody sends what another has sent
before the deck is through; then it is shuffled anew, and people send known samples again.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ml_runtime.samples import Integers, Samples, take_samples
from node.agents.world import World

__all__ = ["Deck", "Desk"]

_COPIED_MAX: Final = 256
"""How many of the newest contributions a copycat looks through."""

_AGREED_IN_CAMPAIGNS: Final = 0.5


class Deck:
    """Deals the samples to learn from, each once before any comes again.

    Parameters
    ----------
    first, end : rows of the data set from the first one to before the end.
    chance : shuffles.
    """

    def __init__(self, first: int, end: int, chance: np.random.Generator) -> None:
        self._rows = np.arange(first, end, dtype=np.int64)
        self._chance = chance
        self._position = len(self._rows)
        self.shuffles = 0

    def deal(self) -> int:
        """Return the next row."""
        if self._position == len(self._rows):
            self._chance.shuffle(self._rows)
            self._position = 0
            self.shuffles += 1
        row = int(self._rows[self._position])
        self._position += 1
        return row


class Desk:
    """Data, chance and a look at the ledger, for one agent.

    Parameters
    ----------
    world : the model and its contributions.
    deck : shared by all.
    accounts : of the agent itself, whose contributions it does not copy.
    chance : of this agent alone.
    """

    def __init__(
        self, world: World, deck: Deck, accounts: frozenset[bytes], chance: np.random.Generator
    ) -> None:
        self._world = world
        self._deck = deck
        self._accounts = accounts
        self._copied: set[int] = set()
        self._kept: Integers | None = None
        self.chance = chance
        self.layout = world.data.layout
        self.feature_count = world.data.feature_count
        self.class_count = len(world.data.class_names)
        self.calls = 0

    @property
    def accuracy(self) -> float:
        """How often the model is right on samples that nobody sends, in [0, 1]."""
        return self._world.measure_accuracy()

    def deal(self, count: int) -> Integers:
        """Return fresh samples, by their rows."""
        return np.array([self._deck.deal() for _ in range(count)], dtype=np.int64)

    def keep(self, count: int) -> Integers:
        """Return the same few samples every time, dealt the first time."""
        if self._kept is None:
            self._kept = self.deal(count)
        return self._kept

    def pick(self, count: int) -> Integers:
        """Return any samples to learn from, fresh or not."""
        return self.chance.integers(0, len(self._world.data.labels), count)

    def pick_held_out(self, count: int) -> Integers:
        """Return any samples that nobody sends."""
        return self.chance.integers(0, len(self._world.data.held_out_labels), count)

    def samples(self, rows: Integers, *, held_out: bool = False) -> Samples:
        """Return the features of samples."""
        data = self._world.data
        return take_samples(data.held_out if held_out else data.samples, rows)

    def labels(self, rows: Integers) -> Integers:
        """Return the right labels of samples."""
        return self._world.data.labels[rows]

    def falsify(self, labels: Integers) -> Integers:
        """Return another label in place of each."""
        return (labels + self.chance.integers(1, self.class_count, len(labels))) % self.class_count

    def predict(self, samples: Samples) -> Integers:
        """Ask the model as it is after the last block; free."""
        return self._world.predict(samples)

    def copy_contribution(self) -> tuple[Samples, Integers] | None:
        """Return somebody else's newest contribution that the model agrees with, each once.

        What a campaign collects is worth copying if it tells more than the model knows: it is
        enough that the model agrees with half of it.
        """
        needed = _AGREED_IN_CAMPAIGNS if self._world.is_taught_by_campaigns else 1.0
        for known in reversed(self._world.contributions[-_COPIED_MAX:]):
            if known.account in self._accounts or known.sequence in self._copied:
                continue
            if float(np.mean(self.predict(known.samples) == known.labels)) >= needed:
                self._copied.add(known.sequence)
                return known.samples, known.labels
        return None
