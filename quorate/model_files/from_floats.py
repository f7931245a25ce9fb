"""From floats to the fixed-point numbers of a family, and how far each of them moved.

A float x of a tensor with k fraction bits becomes ⌊x · 2^k + ½⌋, which is at most half a unit of
2^-k away; nothing else is lost. What does not fit is refused, or clamped where the caller says so,
and counted. Source: docs/spec/ml.md §1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml_runtime.family import State
from ml_runtime.fixed_point import FRACTION_BITS, INT64_SAFE
from ml_runtime.registry import get_family
from ml_runtime.samples import Integers
from ml_runtime.spec import ModelSpec
from primitives.errors import InvalidInputError

__all__ = [
    "NumberRange",
    "RoundedState",
    "Rounding",
    "get_fraction_bits",
    "round_numbers",
    "round_state",
]

Q12: Final = 12
Q20: Final = 20
Q24: Final = 24
Q32: Final = 32

_GRADIENT_BITS: Final = {"weights": Q32, "steps": 0, "velocity": Q32}
_COUNTED_BITS: Final = {"sums": FRACTION_BITS, "counts": 0}

# How many fraction bits the tensors of each family have: docs/spec/ml.md §4 and the families' own
# files. A tree's numbers mean something only together, so none is made of floats.
_FRACTION_BITS: Final[dict[str, dict[str, int]]] = {
    "averaged_perceptron": {"weights": FRACTION_BITS, "changes": FRACTION_BITS, "steps": 0},
    "linear_regression": _GRADIENT_BITS,
    "logistic_regression": _GRADIENT_BITS,
    "softmax_regression": _GRADIENT_BITS,
    "multilayer_perceptron": _GRADIENT_BITS,
    "multinomial_naive_bayes": _COUNTED_BITS,
    "bernoulli_naive_bayes": {"sums": 0, "counts": 0},
    "gaussian_naive_bayes": {"sums": Q12, "squares": Q24, "counts": 0},
    "nearest_centroid": _COUNTED_BITS,
    "nearest_neighbours": {"features": FRACTION_BITS, "targets": FRACTION_BITS, "seen": 0},
    "ridge": {"counts": 0, "products": Q24, "cross": Q24, "weights": FRACTION_BITS},
    "k_means": {**_COUNTED_BITS, "waiting": FRACTION_BITS, "seen": 0, "learnt": 0},
    "principal_components": {"counts": 0, "sums": Q12, "products": Q24, "mean": Q12, "axes": Q20},
    "gaussian_mixture": {
        "shares": FRACTION_BITS,
        "sums": Q20,
        "squares": Q24,
        "means": Q12,
        "variances": Q24,
        "offsets": FRACTION_BITS,
        "waiting": FRACTION_BITS,
        "seen": 0,
        "learnt": 0,
    },
}


@dataclass(frozen=True, slots=True)
class NumberRange:
    """Which fixed-point numbers a tensor takes.

    Parameters
    ----------
    fraction_bits
        How many bits are behind the point.
    low, high
        Least and largest, in units of the last bit.
    """

    fraction_bits: int
    low: int = 1 - INT64_SAFE
    high: int = INT64_SAFE - 1


@dataclass(frozen=True, slots=True)
class Rounding:
    """What rounding did to the numbers of one tensor.

    Parameters
    ----------
    name
        Of the tensor, or of the setting or quantity that it was computed from.
    error_largest
        Largest absolute difference between a number that fits and what became of it.
    error_bound
        Half a unit of the last bit: no such difference is larger.
    clamped
        How many numbers did not fit and were replaced by the nearest that does.
    """

    name: str
    error_largest: float
    error_bound: float
    clamped: int = 0


@dataclass(frozen=True, slots=True)
class RoundedState:
    """Parameters that a model can begin with, and how they differ from the floats.

    Parameters
    ----------
    state
        Passes the ``check_state`` of its family.
    report
        One entry for each tensor that was given as floats, ascending by name.
    """

    state: State
    report: tuple[Rounding, ...]


def get_fraction_bits(spec: ModelSpec, name: str) -> int:
    """Return how many fraction bits a tensor of a model has.

    Raises
    ------
    InvalidInputError
        ``unsupported`` for a family whose parameters are not made of floats, ``wrong_tensors`` for
        a tensor that the model does not have, ``unknown_family``.
    """
    family = get_family(spec.family)
    shapes = family.shapes(spec)
    if name not in shapes:
        raise InvalidInputError(
            "wrong_tensors",
            f"a model of this spec has the tensors {', '.join(shapes)}, found {name!r}",
            field="tensors",
            value=name,
            limit=", ".join(shapes),
        )
    if spec.family == "external_tensors":
        return FRACTION_BITS
    if spec.family == "nearest_neighbours" and name == "targets" and spec.class_count:
        return 0
    bits = _FRACTION_BITS.get(spec.family)
    if bits is None:
        raise InvalidInputError(
            "unsupported",
            f"parameters of {spec.family} are not made of floats; give them as integers",
            field=f"tensors.{name}",
        )
    return bits[name]


def round_state(
    spec: ModelSpec, tensors: Mapping[str, Any], *, clamps: bool = False
) -> RoundedState:
    """Return the parameters of a model that was trained elsewhere.

    Parameters
    ----------
    tensors
        By name, in the shapes of the family: floats in natural units are rounded, int64 arrays are
        taken as the fixed-point numbers that they are.
    clamps
        Replace floats that do not fit by the nearest that do, in place of refusing them.

    Raises
    ------
    InvalidInputError
        ``wrong_tensors``; ``parameter_out_of_range`` for NaN, infinity and what does not fit,
        naming tensor, value and bound; ``unsupported`` if the family takes no parameters from
        elsewhere.
    """
    family = get_family(spec.family)
    ranges = _get_ranges(spec)
    state: State = {}
    report = []
    for name in sorted(tensors):
        given = tensors[name]
        if isinstance(given, np.ndarray) and given.dtype == np.int64:
            state[name] = np.asarray(given, order="C")
            continue
        bits = get_fraction_bits(spec, name)
        low, high = ranges.get(name, (1 - INT64_SAFE, INT64_SAFE - 1))
        state[name], rounding = round_numbers(
            f"{spec.family}.{name}", given, NumberRange(bits, low, high), clamps=clamps
        )
        report.append(rounding)
    family.check_state(spec, state)
    return RoundedState(state, tuple(report))


def round_numbers(
    name: str, numbers: Any, allowed: NumberRange, *, clamps: bool = False
) -> tuple[Integers, Rounding]:
    """Return floats as fixed-point numbers, C-contiguous, and what that did to them.

    Raises
    ------
    InvalidInputError
        ``parameter_out_of_range`` for NaN and infinity, and unless ``clamps`` for what does not
        fit; ``malformed`` for what is no number.
    """
    floats = _to_floats(name, numbers)
    unit = 2.0**-allowed.fraction_bits
    finite = np.isfinite(floats)
    if not finite.all():
        raise _refuse(name, floats, ~finite, allowed)
    with np.errstate(over="ignore", invalid="ignore"):
        # A power of two: the product is exact, or becomes infinite and does not fit.
        scaled = floats / unit
        whole = np.floor(scaled)
        # Adding a half first would itself round, upwards, just below a half.
        rounded = whole + (scaled - whole >= 0.5)
    below, above = rounded < allowed.low, rounded > allowed.high
    outside = below | above
    if outside.any() and not clamps:
        raise _refuse(name, floats, outside, allowed)
    errors = np.abs(rounded[~outside] - scaled[~outside])
    integers = np.zeros(floats.shape, dtype=np.int64)
    integers[~outside] = rounded[~outside].astype(np.int64)
    # The bounds are set as integers, since a float may be unable to hold them.
    integers[below], integers[above] = allowed.low, allowed.high
    largest = float(errors.max(initial=0.0)) * unit
    return integers, Rounding(name, largest, unit / 2, int(outside.sum()))


def _get_ranges(spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """Return the ranges that a family names for single numbers; the rest `check_state` judges."""
    family = get_family(spec.family)
    if spec.family == "nearest_neighbours":
        return {"features": family.feature_range(spec)}
    try:
        return family.parameter_ranges(spec)
    except InvalidInputError:
        return {}


def _to_floats(name: str, numbers: Any) -> NDArray[np.float64]:
    try:
        return np.asarray(numbers, dtype=np.float64, order="C")
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(
            "malformed", f"{name} must hold numbers: {error}", field=f"tensors.{name}"
        ) from error


def _refuse(
    name: str, floats: NDArray[np.float64], wrong: NDArray[np.bool_], allowed: NumberRange
) -> InvalidInputError:
    value = float(floats[wrong][0])
    unit = 2.0**-allowed.fraction_bits
    low, high = allowed.low * unit, allowed.high * unit
    more = int(wrong.sum()) - 1
    others = f" and {more} more that do not fit" if more else ""
    return InvalidInputError(
        "parameter_out_of_range",
        f"{name} holds {value}{others}, its bounds are [{low}, {high}]",
        field=f"tensors.{name.rsplit('.', 1)[-1]}",
        value=str(value),
        limit=str(low if value < low else high),
    )
