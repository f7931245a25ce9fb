"""Detectors that notice when a model's errors become more frequent: concept drift.

They watch the stream of prequential errors (ml_runtime/evaluation.py): 1 for each sample on which
the model, asked before it learnt the sample, disagreed, 0 for every other. What to do about a
drift, from telling people to forgetting what was learnt (``ModelFamily.decay``), is not decided
here. A detector notices errors that become more frequent, not those that become rarer.

Theory of operation. Two detectors, each with a vector of integers for a state:

- `DDM` (Gama, Medas, Castillo, Rodrigues: Learning with Drift Detection, SBIA 2004). After n
  samples, k of them wrong, the error rate is p = k / n with a standard deviation
  s = √(p · (1 - p) / n). While what is learnt stays the same, p falls or stays. So the detector
  keeps p and s from when p + s was lowest, warns while p + s is more than two of those s above
  that p, and says that there is a drift at more than three.
- `PAGE_HINKLEY` (Page: Continuous Inspection Schemes, Biometrika 41, 1954; with the forgetting
  factor of Sebastião & Fernandes, ISMIS 2017). It adds up by how much each error exceeds the mean
  of all so far, less 0.005, forgets one part in 10,000 of the sum for each sample, and says that
  there is a drift when the sum is more than 50 above its lowest value: when about fifty more
  errors than usual have come.

Constants and decisions are those of River (``drift.binary.DDM`` and ``drift.PageHinkley`` with
``mode="up"``), which computes in floats. Here rates and sums are integers in Q32:

1. Rates and deviations are rounded down once from exact rational numbers, so they are less than
   2⁻³² off.
2. The sum of Page and Hinkley is rounded by less than 2⁻³¹ a sample, all of them together by less
   than 10,000 · 2⁻³¹ < 5 · 10⁻⁶, because old roundings are forgotten with the rest.
3. A state is a function of the samples since it began anew, so how they are cut into batches
   cannot be seen.
4. A detector begins anew after a drift, and, silently, after 2^30 - 1 samples, before a number
   could leave int64.

DDM is the quicker and the more easily alarmed: a model without a mistake in its first 31 samples
has p = s = 0 at best, and its first mistake is called a drift.
Source: docs/spec/ml.md §9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from ml_runtime.kernels import drift as kernels
from ml_runtime.samples import Integers
from primitives.errors import InvalidInputError

__all__ = [
    "DDM",
    "DETECTOR_NAMES",
    "PAGE_HINKLEY",
    "SAMPLES_MAX",
    "DriftReport",
    "new_detector",
    "watch",
]

DDM: Final = 1
"""State: samples, errors, lowest p and its s (Q32), 1 while it warns."""

PAGE_HINKLEY: Final = 2
"""State: samples, errors, sum, lowest sum (Q32)."""

DETECTOR_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {DDM: "ddm", PAGE_HINKLEY: "page_hinkley"}
)
"""The detectors by their names for people."""

SAMPLES_MAX: Final = (1 << 30) - 1
"""A detector that has seen so many samples begins anew."""

_RATE_UNKNOWN: Final = 1 << 33
"""More than any rate and deviation together: the first ones known are the lowest."""

_BEGINNINGS: Final[Mapping[int, tuple[int, ...]]] = MappingProxyType(
    {DDM: (0, 0, _RATE_UNKNOWN, 0, 0), PAGE_HINKLEY: (0, 0, 0, 0)}
)

_WARNING: Final = 1
_DRIFT: Final = 2


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What a detector says of a batch.

    Parameters
    ----------
    warnings
        Places in the batch at which a warning began, ascending. A warning that is followed by a
        drift, or that a later sample takes back, is listed all the same.
    drifts
        Places in the batch at which a drift was found, ascending.
    """

    warnings: tuple[int, ...]
    drifts: tuple[int, ...]


def new_detector(kind: int) -> Integers:
    """Return the state of a detector that has seen nothing.

    Raises
    ------
    InvalidInputError
        ``unknown_detector``.
    """
    return np.array(_beginning(kind), dtype=np.int64)


def watch(kind: int, state: Integers, errors: Integers) -> DriftReport:
    """Show a batch of errors to a detector, changing its state in place.

    Parameters
    ----------
    kind
        `DDM` or `PAGE_HINKLEY`.
    state
        From :func:`new_detector` of the same kind and from this function.
    errors
        int64[n]: 1 where the model disagreed, else 0.

    Raises
    ------
    InvalidInputError
        ``unknown_detector``, ``wrong_tensors`` for the state of another kind, ``not_an_error`` for
        numbers other than 0 and 1; nothing changes then.

    Examples
    --------
    >>> state = new_detector(DDM)
    >>> watch(DDM, state, (np.arange(200) % 10 == 0).astype(np.int64))
    DriftReport(warnings=(), drifts=())
    >>> watch(DDM, state, np.ones(20, dtype=np.int64))
    DriftReport(warnings=(4,), drifts=(9,))
    """
    beginning = _beginning(kind)
    if state.shape != (len(beginning),):
        raise InvalidInputError(
            "wrong_tensors",
            f"a state of {DETECTOR_NAMES[kind]} has {len(beginning)} numbers, found the shape"
            f" {state.shape}",
            field="state",
            value=str(state.shape),
            limit=len(beginning),
        )
    errors = np.ascontiguousarray(errors, dtype=np.int64)
    if errors.size and not (int(errors.min()) >= 0 and int(errors.max()) <= 1):
        wrong = int(errors[np.argmax((errors < 0) | (errors > 1))])
        raise InvalidInputError(
            "not_an_error",
            f"an error is 1 and its absence 0, found {wrong}",
            field="errors",
            value=wrong,
            limit=1,
        )
    marks = np.empty_like(errors)
    show = kernels.watch_ddm if kind == DDM else kernels.watch_page_hinkley
    show(state, errors, marks)
    return DriftReport(
        tuple(np.flatnonzero(marks == _WARNING).tolist()),
        tuple(np.flatnonzero(marks == _DRIFT).tolist()),
    )


def _beginning(kind: int) -> tuple[int, ...]:
    if kind not in _BEGINNINGS:
        raise InvalidInputError(
            "unknown_detector",
            f"there is no detector {kind}; known are"
            f" {', '.join(f'{known} ({name})' for known, name in DETECTOR_NAMES.items())}",
            field="kind",
            value=kind,
        )
    return _BEGINNINGS[kind]
