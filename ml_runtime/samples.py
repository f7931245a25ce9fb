"""Batches of samples: in memory, dense or sparse, and as the bytes that a contribution carries.

Features are Q16 integers. On the wire a batch is the canonical array
``[version, layout, samples, features, parts…, kind, targets, groups]`` whose parts are
little-endian arrays: dense, one of int64 row by row; sparse, the rows' lengths (u32), the indices
(u32, ascending within a row) and the values (int64). Targets are u32 labels, int64 values or
nothing, as ``kind`` says; groups are u16 or nothing. Source: docs/spec/ml.md §3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from primitives.codec import decode, encode
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.fields import FieldReader

__all__ = [
    "FEATURES_MAX",
    "Batch",
    "DenseSamples",
    "Integers",
    "Samples",
    "SparseSamples",
    "TargetKind",
    "check_samples",
    "decode_batch",
    "encode_batch",
    "get_features",
    "sample_count",
    "take_samples",
    "widen",
]

FEATURES_MAX: Final = 1 << 24
_VERSION: Final = 2
_BATCH_BYTES_MAX: Final = 32 * 1024 * 1024
_LABEL_MAX: Final = 2**32 - 1
_GROUP_MAX: Final = 2**16 - 1
_FIELD_COUNTS: Final = {"dense": 8, "sparse": 10}
_TARGET_TYPES: Final = {"labels": "<u4", "values": "<i8"}

Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DenseSamples:
    """Every feature of every sample.

    Parameters
    ----------
    features
        int64[n, d], Q16, C-contiguous.
    """

    features: Integers

    @property
    def feature_count(self) -> int:
        """Number of features, d."""
        return int(self.features.shape[1])


@dataclass(frozen=True, slots=True)
class SparseSamples:
    """The features that are not zero (compressed sparse rows).

    Parameters
    ----------
    row_starts
        int64[n + 1]; sample i has the entries row_starts[i] to row_starts[i + 1].
    indices
        int64[entries], strictly ascending within a sample, below ``feature_count``.
    values
        int64[entries], Q16.
    feature_count
        Number of features, d.
    """

    row_starts: Integers
    indices: Integers
    values: Integers
    feature_count: int

    @property
    def arrays(self) -> tuple[Integers, Integers, Integers]:
        """What kernels take: row starts, indices, values."""
        return self.row_starts, self.indices, self.values


Samples: TypeAlias = DenseSamples | SparseSamples

TargetKind: TypeAlias = Literal["labels", "values", "none"]
"""What a batch says of each sample: its class, a number, or nothing."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a contribution carries.

    Parameters
    ----------
    samples
        The features.
    targets
        int64[n]: classes, numbers in Q16, or zeros for ``none``.
    kind
        What the targets are.
    groups
        int64[n]: to which group (site, region, cohort) each sample belongs; None if it says none.
    """

    samples: Samples
    targets: Integers
    kind: TargetKind = "labels"
    groups: Integers | None = None


def sample_count(samples: Samples) -> int:
    """Return the number of samples."""
    if isinstance(samples, DenseSamples):
        return int(samples.features.shape[0])
    return len(samples.row_starts) - 1


def take_samples(samples: Samples, rows: Integers) -> Samples:
    """Return some of the samples, in the order of ``rows``."""
    if isinstance(samples, DenseSamples):
        return DenseSamples(np.ascontiguousarray(samples.features[rows]))
    starts, ends = samples.row_starts[rows], samples.row_starts[rows + 1]
    row_starts = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(ends - starts, out=row_starts[1:])
    spans = [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]
    entries = np.concatenate(spans) if spans else np.zeros(0, dtype=np.int64)
    return SparseSamples(
        row_starts, samples.indices[entries], samples.values[entries], samples.feature_count
    )


def encode_batch(
    samples: Samples,
    targets: Integers,
    kind: TargetKind = "labels",
    groups: Integers | None = None,
) -> bytes:
    """Return the bytes of a batch; see the head of this file.

    Raises
    ------
    InvalidInputError
        ``unknown_class`` or ``unknown_group`` for a number that no model can have: it would become
        another one.
    """
    count = sample_count(samples)
    if kind == "labels":
        _check_fits(targets, _LABEL_MAX, "unknown_class", "label")
    if groups is not None:
        _check_fits(groups, _GROUP_MAX, "unknown_group", "group")
    answers = b"" if kind == "none" else targets.astype(_TARGET_TYPES[kind]).tobytes()
    end = (kind, answers, b"" if groups is None else groups.astype("<u2").tobytes())
    if isinstance(samples, DenseSamples):
        data = samples.features.astype("<i8").tobytes()
        return encode((_VERSION, "dense", count, samples.feature_count, data, *end))
    lengths = np.diff(samples.row_starts).astype("<u4").tobytes()
    indices = samples.indices.astype("<u4").tobytes()
    values = samples.values.astype("<i8").tobytes()
    fields = (_VERSION, "sparse", count, samples.feature_count, lengths, indices, values)
    return encode((*fields, *end))


def decode_batch(data: bytes, *, samples_max: int = 1024) -> Batch:
    """Return the batch whose bytes are ``data``.

    Parameters
    ----------
    data
        As received.
    samples_max
        Most samples that a batch may hold.

    Raises
    ------
    InvalidInputError
        ``malformed_payload``, ``empty_batch`` or ``too_many_samples``. Whether features and targets
        suit a model is the question of :func:`ml_runtime.family.check_batch`.
    """
    try:
        value = decode(data, bytes_max=_BATCH_BYTES_MAX, depth_max=1)
    except InvalidInputError as error:
        raise _malformed(error.message) from error
    if type(value) is not list or len(value) < 2 or value[1] not in _FIELD_COUNTS:
        raise _malformed("batch must be an array that names its layout, dense or sparse")
    layout = str(value[1])
    try:
        return _read_batch(FieldReader(value, "batch", _FIELD_COUNTS[layout]), layout, samples_max)
    except InvalidInputError as error:
        if error.code in ("malformed", "out_of_range", "too_large"):
            raise _malformed(error.message) from error
        raise


def check_samples(samples: Samples, layout: str, feature_count: int, low: int, high: int) -> None:
    """Check that samples suit a model.

    Parameters
    ----------
    layout, feature_count
        What the model takes.
    low, high
        Range of a feature, Q16.

    Raises
    ------
    InvalidInputError
        ``wrong_layout``, ``wrong_feature_count`` or ``feature_out_of_range``.
    """
    given = "dense" if isinstance(samples, DenseSamples) else "sparse"
    if given != layout:
        raise InvalidInputError(
            "wrong_layout",
            f"samples are {given}, the model takes {layout} ones",
            field="samples.layout",
            value=given,
            limit=layout,
        )
    if samples.feature_count != feature_count:
        raise InvalidInputError(
            "wrong_feature_count",
            f"samples have {samples.feature_count} features, the model takes {feature_count}",
            field="samples.features",
            value=samples.feature_count,
            limit=feature_count,
        )
    values = samples.features if isinstance(samples, DenseSamples) else samples.values
    if not values.size:
        return
    smallest, largest = int(values.min()), int(values.max())
    if smallest < low or largest > high:
        value, limit = (smallest, low) if smallest < low else (largest, high)
        raise InvalidInputError(
            "feature_out_of_range",
            f"a feature is {value}, the model takes {low} to {high} (in 1/65536)",
            field="samples.features",
            value=value,
            limit=limit,
        )


def _check_fits(numbers: Integers, highest: int, code: str, what: str) -> None:
    wrong = numbers[(numbers < 0) | (numbers > highest)]
    if wrong.size:
        raise InvalidInputError(
            code,
            f"{what} {int(wrong[0])} does not lie in [0, {highest}]",
            field=f"{what}s",
            value=int(wrong[0]),
            limit=highest,
        )


def _read_batch(reader: FieldReader, layout: str, samples_max: int) -> Batch:
    reader.integer("version", _VERSION, _VERSION)
    reader.text("layout", 6)
    count = reader.integer("samples", 0, 2**31)
    if count == 0:
        raise InvalidInputError("empty_batch", "a batch needs at least one sample", field="samples")
    if count > samples_max:
        raise InvalidInputError(
            "too_many_samples",
            f"a batch of {count} samples is above the limit {samples_max}",
            field="samples",
            value=count,
            limit=samples_max,
        )
    feature_count = reader.integer("features", 1, FEATURES_MAX)
    samples = (
        _read_dense(reader, count, feature_count)
        if layout == "dense"
        else _read_sparse(reader, count, feature_count)
    )
    batch = _read_targets(reader, samples, count)
    reader.end()
    return batch


def _read_targets(reader: FieldReader, samples: Samples, count: int) -> Batch:
    kind = reader.text("kind", 6)
    if kind == "none":
        reader.bytes("targets", 0)
        targets = np.zeros(count, dtype=np.int64)
    elif kind in _TARGET_TYPES:
        targets = _read_integers(reader, "targets", _TARGET_TYPES[kind], count)
    else:
        raise _malformed(f"batch.kind must be labels, values or none, found {kind!r}")
    groups = reader.bytes("groups", bytes_max=2 * count)
    if groups and len(groups) != 2 * count:
        raise _malformed(f"batch.groups has {len(groups)} bytes, expected 0 or {2 * count}")
    return Batch(
        samples,
        targets,
        kind,  # type: ignore[arg-type]
        np.frombuffer(groups, dtype="<u2").astype(np.int64) if groups else None,
    )


def _read_dense(reader: FieldReader, count: int, feature_count: int) -> DenseSamples:
    values = _read_integers(reader, "values", "<i8", count * feature_count)
    return DenseSamples(values.reshape(count, feature_count))


def _read_sparse(reader: FieldReader, count: int, feature_count: int) -> SparseSamples:
    lengths = _read_integers(reader, "lengths", "<u4", count)
    row_starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(lengths, out=row_starts[1:])
    entries = int(row_starts[-1])
    indices = _read_integers(reader, "indices", "<u4", entries)
    values = _read_integers(reader, "values", "<i8", entries)
    if entries:
        if int(indices.max()) >= feature_count:
            raise InvalidInputError(
                "wrong_feature_count",
                f"index {int(indices.max())} is not below the feature count {feature_count}",
                field="batch.indices",
                value=int(indices.max()),
                limit=feature_count - 1,
            )
        rises = np.diff(indices) > 0
        # A step down is allowed only where a new row begins.
        starts = row_starts[1:-1]
        rises[starts[(starts > 0) & (starts < entries)] - 1] = True
        if not rises.all():
            raise _malformed("batch.indices must ascend strictly within each sample")
    return SparseSamples(row_starts, indices, values, feature_count)


def _read_integers(reader: FieldReader, name: str, kind: str, count: int) -> Integers:
    size = count * np.dtype(kind).itemsize
    if size > _BATCH_BYTES_MAX:
        raise _malformed(f"batch.{name} would have {size} bytes, above {_BATCH_BYTES_MAX}")
    data = reader.bytes(name, size)
    return np.frombuffer(data, dtype=kind).astype(np.int64)


def _malformed(message: str) -> InvalidInputError:
    return InvalidInputError("malformed_payload", message, field="payload")


def widen(batch: Batch, feature_count: int) -> Batch:
    """Return a sparse batch for a model that has got more features since; none of them is there."""
    samples = batch.samples
    if not isinstance(samples, SparseSamples) or samples.feature_count >= feature_count:
        return batch
    return replace(batch, samples=replace(samples, feature_count=feature_count))


def get_features(samples: Samples) -> Integers:
    """Return the rows of dense samples.

    Raises
    ------
    InvariantViolationError
        For sparse samples: a family that takes dense ones only was handed them unchecked.
    """
    if not isinstance(samples, DenseSamples):
        raise InvariantViolationError("sparse samples reached a family that takes dense ones only")
    return samples.features
