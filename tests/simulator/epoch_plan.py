"""Who votes in which epoch of a run, and with which key.

Nodes have numbers that stay. In an epoch some of them are validators, known to the core by their
index in that epoch's set; all others are observers, whom the core knows by numbers above those.
"""

from __future__ import annotations

from random import Random

from primitives.fields import COUNTER_MAX
from primitives.validator_set import ValidatorSet
from tests.helpers.consensus import make_public_key

__all__ = ["EpochPlan"]

KEYS_PER_NODE_MAX = 4


class EpochPlan:
    """The validator sets of one run.

    Parameters
    ----------
    validators : how many there are in the first epoch.
    nodes : how many nodes there are in all.
    length : blocks in an epoch; None if there is one epoch for ever.
    seed : what the changes are drawn from.
    """

    def __init__(self, validators: int, nodes: int, length: int | None, seed: str) -> None:
        self._nodes = nodes
        self.length = length
        self._random = Random(seed)
        self._members: list[tuple[int, ...]] = [tuple(range(validators))]
        self._keys: list[tuple[int, ...]] = [(0,) * nodes]
        self._sets: dict[int, ValidatorSet] = {}

    def members(self, epoch: int) -> tuple[int, ...]:
        """Return the nodes that vote in an epoch, by index."""
        while len(self._members) <= epoch:
            self._draw_next()
        return self._members[epoch]

    def validators(self, epoch: int) -> ValidatorSet:
        """Return the validator set of an epoch."""
        found = self._sets.get(epoch)
        if found is None:
            members = self.members(epoch)
            found = ValidatorSet(tuple(self.public_key(node, epoch) for node in members))
            self._sets[epoch] = found
        return found

    def public_key(self, node: int, epoch: int) -> bytes:
        """Return the key with which a node signs in an epoch."""
        self.members(epoch)
        return make_public_key(node * KEYS_PER_NODE_MAX + self._keys[epoch][node])

    def end_height(self, epoch: int) -> int:
        """Return the height of an epoch's last block."""
        return COUNTER_MAX if self.length is None else (epoch + 1) * self.length

    def epoch_of(self, height: int) -> int:
        """Return the epoch of a block above genesis."""
        return 0 if self.length is None else (max(height, 1) - 1) // self.length

    def _draw_next(self) -> None:
        """Add, remove, replace, rotate keys, or change nothing."""
        random = self._random
        members, keys = list(self._members[-1]), list(self._keys[-1])
        outside = [node for node in range(self._nodes) if node not in members]
        choice = random.randrange(5)
        if choice == 0 and outside:
            members.append(random.choice(outside))
        elif choice == 1 and len(members) > 4:
            members.remove(random.choice(members))
        elif choice == 2 and outside:
            members[random.randrange(len(members))] = random.choice(outside)
        elif choice == 3:
            node = random.choice(members)
            keys[node] = (keys[node] + 1) % KEYS_PER_NODE_MAX
        if random.random() < 0.3:
            random.shuffle(members)
        self._members.append(tuple(members))
        self._keys.append(tuple(keys))
