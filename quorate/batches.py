"""From the arrays that people have to samples and tensors.

Dense is whatever numpy reads as rows of numbers; sparse is whatever has ``tocsr``, as the matrices
of SciPy do, which is not needed otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml_runtime.encoders import Encoder
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples
from primitives.errors import InvalidInputError

__all__ = ["encode_labels", "encode_samples", "make_tensors"]


def encode_samples(features: Any, layout: str, feature_count: int, encoder: Encoder) -> Samples:
    """Return features as the samples that a model takes.

    Parameters
    ----------
    features : n rows of `feature_count` numbers, or a sparse matrix of that shape.
    layout : ``dense`` or ``sparse``, of the model.
    feature_count : of the model.
    encoder : of the model.

    Raises
    ------
    InvalidInputError
        ``wrong_feature_count``, ``malformed``, ``feature_not_finite`` or ``feature_out_of_range``.
    """
    if _is_sparse(features):
        row_starts, indices, values = _read_sparse(features, feature_count)
        if layout == "sparse":
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


def encode_labels(labels: Any, class_names: Sequence[str], count: int) -> Integers:
    """Return labels, class numbers or names, as class numbers.

    Raises
    ------
    InvalidInputError
        ``unknown_class``, or ``malformed`` when there is not one for each sample.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or len(given) != count:
        raise InvalidInputError(
            "malformed",
            f"labels must be one for each of the {count} samples, found shape {given.shape}",
            field="labels",
            value=str(given.shape),
            limit=count,
        )
    if given.dtype.kind in "US":
        numbers = {name: number for number, name in enumerate(class_names)}
        unknown = next((str(name) for name in given if str(name) not in numbers), None)
        if unknown is not None:
            raise _unknown_class(unknown, ", ".join(class_names))
        return np.array([numbers[str(name)] for name in given], dtype=np.int64)
    if given.dtype.kind not in "iu":
        raise InvalidInputError(
            "malformed",
            f"labels must be class numbers or names, found {given.dtype}",
            field="labels",
        )
    if count and not 0 <= int(given.min()) <= int(given.max()) < len(class_names):
        wrong = int(given.min()) if int(given.min()) < 0 else int(given.max())
        raise _unknown_class(wrong, f"0 to {len(class_names) - 1}")
    return given.astype(np.int64)


def make_tensors(features: Any, feature_count: int) -> list[dict[str, Any]]:
    """Return features as the input tensors of a prediction; the node encodes them."""
    if _is_sparse(features):
        row_starts, indices, values = _read_sparse(features, feature_count)
        return [
            _make_tensor("indices", "INT64", indices),
            _make_tensor("values", "FP64", values),
            _make_tensor("row_starts", "INT64", row_starts),
        ]
    return [_make_tensor("features", "FP64", _read_rows(features, feature_count))]


def _make_tensor(name: str, datatype: str, array: NDArray[Any]) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(array.shape),
        "data": array.reshape(-1).tolist(),
    }


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


def _unknown_class(value: object, known: str) -> InvalidInputError:
    return InvalidInputError(
        "unknown_class",
        f"class {value} is unknown, the model has {known}",
        field="labels",
        value=value,
        limit=known,
    )
