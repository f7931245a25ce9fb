"""Imports of naive Bayes: probabilities back into the counts and sums that give them.

Where an estimator's priors are the shares of its counts, those are taken as they are. Priors that
were set by hand, and weighted samples, become counts of many imagined samples in these shares.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ml_runtime.fixed_point import ONE
from ml_runtime.models.class_sums import SAMPLES_MIN
from ml_runtime.registry import get_family
from ml_runtime.samples import Integers
from primitives.errors import InvalidInputError
from quorate.model_files.from_floats import NumberRange, Rounding, round_numbers
from quorate.model_files.imported_model import (
    Floats,
    ImportedModel,
    ImportRequest,
    build_import,
    make_unsupported,
    read_class_names,
    read_fitted,
    round_setting,
)

__all__ = ["import_bernoulli", "import_gaussian", "import_multinomial"]

IMAGINED_SAMPLES: Final = 1 << 20
"""Samples that stand for shares: a prior of 1 % is then right to 1 in 20,000."""

IMAGINED_PRESENCES: Final = 1 << 32
"""The same where probabilities of features are shares of the counts as well."""

SHARE_TOLERANCE: Final = 1e-9
Q12: Final = 12
Q24: Final = 24
FLOOR_UNITS: Final = 1 << 8
"""A variance floor is Q16, a variance Q24."""


def import_multinomial(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``MultinomialNB`` as ``multinomial_naive_bayes``."""
    names = read_class_names(estimator)
    sums = read_fitted(estimator, "feature_count_", dimensions=2)
    counts = _read_counts(estimator)
    if counts is None:
        counts = _imagine_counts(_read_priors(estimator), IMAGINED_SAMPLES)
    smoothing, rounding = round_setting("smoothing", getattr(estimator, "alpha", 1.0))
    settings = {"smoothing": smoothing}
    spec = request.build_spec("multinomial_naive_bayes", sums.shape[1], len(names), settings)
    return build_import(spec, {"sums": sums, "counts": counts}, names, (rounding,))


def import_bernoulli(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``BernoulliNB`` as ``bernoulli_naive_bayes``."""
    names = read_class_names(estimator)
    sums = read_fitted(estimator, "feature_count_", dimensions=2)
    alpha = getattr(estimator, "alpha", 1.0)
    smoothing, first = round_setting("smoothing", alpha)
    # Without a threshold the estimator takes zeros and ones as they come.
    cut = getattr(estimator, "binarize", None)
    threshold, second = round_setting("threshold", 0.5 if cut is None else cut)
    counts = _read_counts(estimator)
    if counts is None or not _is_whole(sums):
        seen = read_fitted(estimator, "class_count_", dimensions=1)
        present = (sums + alpha) / (seen + 2 * alpha)[:, np.newaxis]
        counts = _imagine_counts(_read_priors(estimator), IMAGINED_PRESENCES)
        wanted = present * (counts + 2 * alpha)[:, np.newaxis] - alpha
        sums = np.clip(wanted, 0, counts[:, np.newaxis])
    settings = {"smoothing": smoothing, "threshold": threshold}
    spec = request.build_spec("bernoulli_naive_bayes", sums.shape[1], len(names), settings)
    return build_import(spec, {"sums": sums, "counts": counts}, names, (first, second))


def import_gaussian(estimator: Any, request: ImportRequest) -> ImportedModel:
    """Import ``GaussianNB`` as ``gaussian_naive_bayes``: means and variances become sums.

    The variance floor is the least that the features' limit allows. Variances below it are raised
    to it, and counted in the report: features that are nearly constant within a class.
    """
    names = read_class_names(estimator)
    means = read_fitted(estimator, "theta_", dimensions=2)
    variances = read_fitted(estimator, "var_", dimensions=2)
    counts = _read_counts(estimator)
    if counts is None:
        counts = _imagine_counts(_read_priors(estimator), IMAGINED_SAMPLES)
    floor = _find_floor(request, means.shape[1], len(names))
    settings = {"variance_floor": floor}
    spec = request.build_spec("gaussian_naive_bayes", means.shape[1], len(names), settings)
    limit = (get_family(spec.family).feature_range(spec)[1] >> 4) + 1
    mean, first = round_numbers("means", means, NumberRange(Q12, -limit, limit))
    spread, second = _round_variances(variances, floor * FLOOR_UNITS, limit)
    each = counts[:, np.newaxis]
    # With these, Σx² - 2mΣx + n·m² is n times the variance less its floor, without a remainder.
    tensors = {"sums": each * mean, "squares": each * (spread + mean * mean), "counts": counts}
    return build_import(spec, tensors, names, (first, second))


def _round_variances(variances: Floats, floor: int, limit: int) -> tuple[Integers, Rounding]:
    """Return variances less their floor, Q24, those below the floor as 0."""
    whole, rounding = round_numbers("variances", variances, NumberRange(Q24, 0, limit * limit))
    below = whole < floor
    report = Rounding(
        rounding.name, rounding.error_largest, rounding.error_bound, clamped=int(below.sum())
    )
    return np.where(below, 0, whole - floor), report


def _find_floor(request: ImportRequest, feature_count: int, class_count: int) -> int:
    """Return the least variance floor, a power of two in Q16, with which scores stay in int64."""
    floor = 1
    while floor < ONE:
        settings = {"variance_floor": floor}
        try:
            request.build_spec("gaussian_naive_bayes", feature_count, class_count, settings)
        except InvalidInputError:
            floor *= 2
        else:
            return floor
    # Not even the largest one: what is wrong is said when the spec is built.
    return floor


def _read_counts(estimator: Any) -> Integers | None:
    """Return how many samples each class had; None if they do not give the priors, or not fit."""
    counts = read_fitted(estimator, "class_count_", dimensions=1)
    if not _is_whole(counts) or not counts.all() or counts.sum() > SAMPLES_MIN:
        return None
    shares = counts / counts.sum()
    if np.abs(shares - _read_priors(estimator)).max() > SHARE_TOLERANCE:
        return None
    return counts.astype(np.int64)


def _read_priors(estimator: Any) -> Floats:
    if hasattr(estimator, "class_prior_"):
        return read_fitted(estimator, "class_prior_", dimensions=1)
    priors: Floats = np.exp(read_fitted(estimator, "class_log_prior_", dimensions=1))
    return priors


def _imagine_counts(priors: Floats, samples: int) -> Integers:
    counts: Integers = np.rint(priors * samples).astype(np.int64)
    if not counts.all():
        raise make_unsupported(
            f"a prior is {priors.min()}: below one in {2 * samples}, it cannot be told from none"
        )
    return counts


def _is_whole(numbers: Floats) -> bool:
    return bool((numbers == np.rint(numbers)).all())
