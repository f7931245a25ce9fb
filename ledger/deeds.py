"""What a refund or report shows of an account's work, beside how many samples it was about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_runtime.regions import REGIONS, find_regions
from ml_runtime.samples import Batch
from ml_runtime.spec import CLASSES_MAX

__all__ = ["NO_DEEDS", "Deeds", "describe_validated"]


@dataclass(frozen=True, slots=True)
class Deeds:
    """What was done.

    Parameters
    ----------
    reported
        Samples of others that were rightly reported.
    day
        Day since 1970 (UTC) of a contribution of which the first samples were validated, else None.
    classes, regions
        Sets of the classes and the regions of feature space that validated samples are of.
    """

    reported: int = 0
    day: int | None = None
    classes: int = 0
    regions: int = 0


NO_DEEDS: Final = Deeds()


def describe_validated(batch: Batch, samples: int, day: int | None) -> Deeds:
    """Return what validated samples show.

    Parameters
    ----------
    batch : of the contribution.
    samples : set of those that were validated.
    day : see :class:`Deeds`.
    """
    bits = samples.to_bytes((samples.bit_length() + 7) // 8, "little")
    rows = np.flatnonzero(np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little"))
    labels = batch.targets[rows] if batch.kind == "labels" else rows[:0]
    return Deeds(
        day=day,
        # The state keeps a set of so many: no class that a model has is above.
        classes=_collect(labels[labels < CLASSES_MAX], CLASSES_MAX),
        regions=_collect(find_regions(batch.samples)[rows], REGIONS),
    )


def _collect(numbers: NDArray[np.int64], limit: int) -> int:
    """Return the set of some numbers below a limit, in time linear in both."""
    present = np.zeros(limit, dtype=np.bool_)
    present[numbers] = True
    return int.from_bytes(np.packbits(present, bitorder="little").tobytes(), "little")
