"""From the arrays and texts that people have to samples and tensors.

Dense is whatever numpy reads as rows of numbers; sparse is whatever has ``tocsr``, as the matrices
of SciPy do, which is not needed otherwise. Texts and categories are encoded here also for a
prediction, so that they never leave the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_runtime.encoders import Encoder, from_q16
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples, TargetKind
from primitives.errors import InvalidInputError

__all__ = ["encode_groups", "encode_samples", "encode_targets", "make_tensors"]

VALUE_MAX = 1024
"""Largest absolute number that a model of numbers learns."""


def encode_samples(features: Any, layout: str, feature_count: int, encoder: Encoder) -> Samples:
    """Return features as the samples that a model takes.

    Parameters
    ----------
    features : n rows of `feature_count` numbers, or a sparse matrix of that shape; n texts or rows
        of categories if that is what the encoder takes.
    layout : ``dense`` or ``sparse``, of the model.
    feature_count : of the model.
    encoder : of the model.

    Raises
    ------
    InvalidInputError
        ``wrong_feature_count``, ``malformed``, ``feature_not_finite``, ``feature_out_of_range`` or
        another that the encoder raises.
    """
    if encoder.takes in ("texts", "categories"):
        samples = encoder.encode_rows(_read_list(features))
        return samples if layout == "sparse" else _to_dense(samples)
    if _is_sparse(features):
        if layout == "sparse" and encoder.takes == "numbers":
            row_starts, indices, values = _read_sparse(features, feature_count)
            # A zero that rounding made is not stored, so that equal samples are equal bytes.
            return _drop_zeros(row_starts, indices, encoder.encode(values), feature_count)
        features = features.toarray()
    encoded = encoder.encode(_read_rows(features, feature_count))
    if layout == "dense":
        return DenseSamples(np.ascontiguousarray(encoded))
    rows, indices = np.nonzero(encoded)
    row_starts = _count_starts(np.bincount(rows, minlength=len(encoded)))
    return SparseSamples(
        row_starts, indices.astype(np.int64), encoded[rows, indices], feature_count
    )


def encode_targets(
    labels: Any, task: str, class_names: Sequence[str], count: int
) -> tuple[TargetKind, Integers]:
    """Return what a batch says of its samples, as a model for a task learns it.

    Parameters
    ----------
    labels : class numbers or names; numbers; None where there is no right answer.
    task : ``classification``, ``regression`` or another.
    class_names : of the model.
    count : of the samples.

    Raises
    ------
    InvalidInputError
        ``unknown_class``, ``target_out_of_range``, or ``malformed`` when there is not one for each
        sample, or any for a model that takes none.
    """
    if task == "classification":
        return "labels", _encode_names(labels, class_names, count, "labels", "class")
    if task == "regression":
        return "values", _encode_values(labels, count)
    if labels is not None:
        raise InvalidInputError("malformed", f"a model for {task} takes no labels", field="labels")
    return "none", np.zeros(count, dtype=np.int64)


def encode_groups(groups: Any, names: Sequence[str], count: int) -> Integers:
    """Return groups, by number or name, as numbers; raises as `encode_targets`."""
    return _encode_names(groups, names, count, "groups", "group")


def _encode_values(values: Any, count: int) -> Integers:
    try:
        given: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            "malformed", f"labels must be numbers: {error}", field="labels"
        ) from error
    _check_one_each(given, count, "labels")
    if not np.isfinite(given).all() or (count and float(np.abs(given).max()) > VALUE_MAX):
        raise InvalidInputError(
            "target_out_of_range",
            f"labels must be finite and at most {VALUE_MAX} in absolute value",
            field="labels",
            limit=VALUE_MAX,
        )
    return np.floor(given * ONE + 0.5).astype(np.int64)


def _check_one_each(given: NDArray[Any], count: int, field: str) -> None:
    if given.ndim != 1 or len(given) != count:
        raise InvalidInputError(
            "malformed",
            f"{field} must be one for each of the {count} samples, found shape {given.shape}",
            field=field,
            value=str(given.shape),
            limit=count,
        )


def _encode_names(
    labels: Any, class_names: Sequence[str], count: int, field: str, what: str
) -> Integers:
    given = np.asarray(labels)
    _check_one_each(given, count, field)
    if given.dtype.kind in "US":
        numbers = {name: number for number, name in enumerate(class_names)}
        unknown = next((str(name) for name in given if str(name) not in numbers), None)
        if unknown is not None:
            raise _unknown(what, unknown, ", ".join(class_names))
        return np.array([numbers[str(name)] for name in given], dtype=np.int64)
    if given.dtype.kind not in "iu":
        raise InvalidInputError(
            "malformed",
            f"{field} must be numbers or names of a {what}, found {given.dtype}",
            field=field,
        )
    if count and not 0 <= int(given.min()) <= int(given.max()) < len(class_names):
        wrong = int(given.min()) if int(given.min()) < 0 else int(given.max())
        raise _unknown(what, wrong, f"0 to {len(class_names) - 1}")
    return given.astype(np.int64)


def make_tensors(
    features: Any, layout: str, feature_count: int, encoder: Encoder
) -> list[dict[str, Any]]:
    """Return features as the input tensors of a prediction; the node encodes numbers.

    Parameters and refusals are those of `encode_samples`.
    """
    if encoder.takes in ("texts", "categories"):
        samples = encode_samples(features, layout, feature_count, encoder)
        if isinstance(samples, DenseSamples):
            return [_make_tensor("features", "FP64", from_q16(samples.features))]
        return _make_entries(samples.row_starts, samples.indices, from_q16(samples.values))
    if _is_sparse(features) and encoder.takes == "rows":
        # Such an encoder makes something of zeros too.
        features = features.toarray()
    if _is_sparse(features):
        return _make_entries(*_read_sparse(features, feature_count))
    return [_make_tensor("features", "FP64", _read_rows(features, feature_count))]


def _make_entries(
    row_starts: Integers, indices: Integers, values: NDArray[np.float64]
) -> list[dict[str, Any]]:
    return [
        _make_tensor("indices", "INT64", indices),
        _make_tensor("values", "FP64", values),
        _make_tensor("row_starts", "INT64", row_starts),
    ]


def _make_tensor(name: str, datatype: str, array: NDArray[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(array.shape),
        "data": array.reshape(-1).tolist(),
    }


def _read_list(features: Any) -> Any:
    """Return arrays and columns of tables as lists, whose rows are lists too."""
    return features.tolist() if hasattr(features, "tolist") else features


def _to_dense(samples: SparseSamples) -> DenseSamples:
    features = np.zeros((len(samples.row_starts) - 1, samples.feature_count), dtype=np.int64)
    rows = np.repeat(np.arange(len(features)), np.diff(samples.row_starts))
    features[rows, samples.indices] = samples.values
    return DenseSamples(features)


def _is_sparse(features: Any) -> bool:
    return hasattr(features, "tocsr")


def _read_rows(features: Any, feature_count: int) -> NDArray[np.float64]:
    try:
        rows: NDArray[np.float64] = np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            "malformed", f"features must be rows of numbers: {error}", field="features"
        ) from error
    if rows.ndim != 2:
        raise InvalidInputError(
            "malformed",
            f"features must be rows of numbers, found {rows.ndim} dimensions",
            field="features",
            value=rows.ndim,
            limit=2,
        )
    _check_feature_count(rows.shape[1], feature_count)
    if not np.isfinite(rows).all():
        # JSON has no word for it, so it is named here and not by the node.
        raise InvalidInputError(
            "feature_not_finite", "features hold NaN or infinity", field="features"
        )
    return rows


def _read_sparse(
    features: Any, feature_count: int
) -> tuple[Integers, Integers, NDArray[np.float64]]:
    matrix = features.tocsr(copy=True)
    _check_feature_count(int(matrix.shape[1]), feature_count)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    values = np.asarray(matrix.data, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InvalidInputError(
            "feature_not_finite", "features hold NaN or infinity", field="features"
        )
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), values


def _drop_zeros(
    row_starts: Integers, indices: Integers, values: Integers, feature_count: int
) -> SparseSamples:
    kept = values != 0
    rows = np.repeat(np.arange(len(row_starts) - 1), np.diff(row_starts))
    starts = _count_starts(np.bincount(rows[kept], minlength=len(row_starts) - 1))
    return SparseSamples(starts, indices[kept], values[kept], feature_count)


def _count_starts(lengths: NDArray[np.int64]) -> Integers:
    starts = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def _check_feature_count(given: int, wanted: int) -> None:
    if given != wanted:
        raise InvalidInputError(
            "wrong_feature_count",
            f"samples have {given} features, the model takes {wanted}",
            field="features",
            value=given,
            limit=wanted,
        )


def _unknown(what: str, value: object, known: str) -> InvalidInputError:
    return InvalidInputError(
        f"unknown_{what}",
        f"{what} {value} is unknown, the model has {known}",
        field="labels" if what == "class" else "groups",
        value=value,
        limit=known,
    )
