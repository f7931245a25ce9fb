"""What a scenario is, and all of them up to symmetry.

A scenario says who leads each of the first views and who hears whom while they last. Validator 0 is
the twinned one, its instances are 0 and 4. Two scenarios are the same if one becomes the other by
renaming the correct validators 1 to 3 or by swapping the twins; of each such class the smallest is
run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations, product
from random import Random

__all__ = ["KINDS", "TWINNED", "Mask", "Restart", "Scenario"]

TWINNED = 0
INSTANCES = 5
CORRECT = (1, 2, 3)
KINDS = 5
"""Proposals, the three kinds of votes, and everything else."""

Mask = tuple[int, ...]
"""For each instance the set of instances that hear it, as bits."""

ALL = (1 << INSTANCES) - 1


@dataclass(frozen=True, slots=True)
class Restart:
    """An instance dies before an effect and comes back.

    Parameters
    ----------
    instance : which.
    effect : counted from its start; what it had done before is what is on its disk.
    copied_at : the effect at which a copy of the disk was taken from which it comes back; None if
        it comes back with its own. Only a twin may: for a correct validator it is forbidden.
    """

    instance: int
    effect: int
    copied_at: int | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """The first views of a run.

    Parameters
    ----------
    leaders : of views 1, 2, …
    masks : for each view and kind of message who hears whom.
    restarts : while it lasts or after.
    epoch_length : blocks of an epoch; 0 if there is only one epoch.
    twins_insist : the operator of the twins lets them go on although they notice each other.
    """

    leaders: tuple[int, ...]
    masks: tuple[tuple[Mask, ...], ...]
    restarts: tuple[Restart, ...] = ()
    epoch_length: int = 0
    twins_insist: bool = True

    @property
    def views(self) -> int:
        """How many views it describes."""
        return len(self.leaders)


def make_sides(assignment: tuple[int, ...]) -> Mask:
    """Return the mask in which instances hear those of their own side."""
    return tuple(
        sum(1 << other for other, side in enumerate(assignment) if side == own)
        for own in assignment
    )


@cache
def list_partitions(sides_max: int) -> tuple[Mask, ...]:
    """List the ways to part five instances into at most so many sides."""
    found = []
    for assignment in product(range(sides_max), repeat=INSTANCES):
        firsts = list(dict.fromkeys(assignment))
        if firsts == sorted(firsts) and firsts == list(range(len(firsts))):
            found.append(make_sides(assignment))
    return tuple(found)


@cache
def list_audiences() -> tuple[Mask, ...]:
    """List the ways in which correct validators meet neither, one or both of the twins."""
    found = []
    for met in product(range(4), repeat=len(CORRECT)):
        first = sum(1 << number for number, seen in zip(CORRECT, met, strict=True) if seen & 1)
        second = sum(1 << number for number, seen in zip(CORRECT, met, strict=True) if seen & 2)
        correct = [0b01110 | (seen & 1) | (seen & 2) << 3 for seen in met]
        found.append((first | 1, *correct, second | 16))
    return tuple(found)


def list_renamings() -> list[tuple[int, ...]]:
    """List what the symmetries make of instances 0 to 4; the identity comes first."""
    return [
        (twins[0], *correct, twins[1])
        for twins in ((0, 4), (4, 0))
        for correct in permutations(CORRECT)
    ]


def rename(mask: Mask, renaming: tuple[int, ...]) -> Mask:
    """Return a mask under a renaming of the instances."""
    renamed = [0] * INSTANCES
    for source, heard_by in enumerate(mask):
        renamed[renaming[source]] = sum(
            1 << renaming[target] for target in range(INSTANCES) if heard_by >> target & 1
        )
    return tuple(renamed)


def rename_leader(leader: int, renaming: tuple[int, ...]) -> int:
    """Return a leader under a renaming of the instances."""
    return TWINNED if leader == TWINNED else renaming[leader]


def enumerate_scenarios(views: int, masks: tuple[Mask, ...]) -> Iterator[Scenario]:
    """Enumerate every leader schedule with every mask per view, up to symmetry."""
    positions = {mask: position for position, mask in enumerate(masks)}
    # For each symmetry what it makes of a leader and of a mask; the identity is not needed.
    symmetries = [
        (renaming, [positions[rename(mask, renaming)] for mask in masks])
        for renaming in list_renamings()[1:]
    ]
    for leaders in product(range(4), repeat=views):
        images = [
            (tuple(rename_leader(leader, renaming) for leader in leaders), table)
            for renaming, table in symmetries
        ]
        if any(image < leaders for image, _ in images):
            continue
        tables = [table for image, table in images if image == leaders]
        for chosen in product(range(len(masks)), repeat=views):
            if all(tuple([table[each] for each in chosen]) >= chosen for table in tables):
                yield Scenario(leaders, tuple((masks[each],) * KINDS for each in chosen))


def sample_partitions(random: Random, views: int) -> Scenario:
    """Draw leaders, and a partition for each view."""
    masks = list_partitions(3)
    return Scenario(
        _draw_leaders(random, views),
        tuple((random.choice(masks),) * KINDS for _ in range(views)),
    )


def sample_audiences(random: Random, views: int) -> Scenario:
    """Draw leaders, and for each view whom of the twins each correct validator meets."""
    masks = list_audiences()
    return Scenario(
        _draw_leaders(random, views),
        tuple((random.choice(masks),) * KINDS for _ in range(views)),
    )


def sample_kinds(random: Random, views: int) -> Scenario:
    """Draw for each view and kind of message a mask of its own, in each direction."""
    return Scenario(
        _draw_leaders(random, views),
        tuple(tuple(_draw_mask(random) for _ in range(KINDS)) for _ in range(views)),
    )


def sample_restarts(random: Random, views: int) -> Scenario:
    """Draw any scenario in which instances die and come back, a twin from an old copy too."""
    sample = random.choice((sample_partitions, sample_audiences, sample_kinds))
    scenario = sample(random, views)
    restarts = []
    for instance in random.sample(range(INSTANCES), random.randint(1, 3)):
        effect = random.randint(1, 40 * views)
        copied_at = None
        if instance in (TWINNED, INSTANCES - 1) and random.randrange(4):
            copied_at = random.randrange(effect)
        restarts.append(Restart(instance, effect, copied_at))
    insist = bool(random.randrange(2))
    return replace(scenario, restarts=tuple(restarts), twins_insist=insist)


def sample_epochs(random: Random, views: int) -> Scenario:
    """Draw any scenario in which epochs of a few blocks end, under restarts too."""
    sample = random.choice((sample_partitions, sample_audiences, sample_kinds, sample_restarts))
    return replace(sample(random, views), epoch_length=random.randint(1, 3))


def _draw_leaders(random: Random, views: int) -> tuple[int, ...]:
    # Every other view or so belongs to the twins: that is where equivocation starts.
    return tuple(random.choice((TWINNED, TWINNED, *CORRECT)) for _ in range(views))


def _draw_mask(random: Random) -> Mask:
    """Draw who hears whom: everything, a side, or single losses."""
    match random.randrange(4):
        case 0:
            return (ALL,) * INSTANCES
        case 1:
            return random.choice(list_partitions(2))
        case 2:
            return random.choice(list_audiences())
        case _:
            lost = random.choice((1, 2, 4))
            return tuple(
                sum(1 << other for other in range(INSTANCES) if random.randrange(8) >= lost)
                for _ in range(INSTANCES)
            )
