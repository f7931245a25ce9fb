"""What a model's inputs are called, and tensors into samples.

Every model takes ``features``, one row of numbers for each sample. A sparse model also takes
``indices``, ``values`` and ``row_starts``: the entries that are not zero, sample after sample, and
where each sample's entries begin (one number more than there are samples). Numbers are what people
measure; the model's encoder turns them into the integers that it computes with. Texts and
categories are encoded by the client, which sends the features that they make, each divided by 2^16.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ml_runtime.encoders import Encoder, ScaleEncoder
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples
from ml_runtime.spec import ModelSpec
from node.api.tensors import Tensor
from primitives.errors import InvalidInputError

__all__ = ["describe_inputs", "make_samples"]

DENSE_INPUT = "features"
SPARSE_INPUTS = ("indices", "values", "row_starts")

SAMPLES_MAX = 64 * 1024
"""Most samples of one request."""


def describe_inputs(spec: ModelSpec, encoder: Encoder) -> list[dict[str, object]]:
    """Return the input tensors as the protocol's metadata lists them; -1 is any length."""
    inputs: list[dict[str, object]] = [
        {"name": DENSE_INPUT, "datatype": "FP64", "shape": [-1, spec.feature_count]}
    ]
    if _takes_entries(spec, encoder):
        inputs += [
            {"name": "indices", "datatype": "INT64", "shape": [-1]},
            {"name": "values", "datatype": "FP64", "shape": [-1]},
            {"name": "row_starts", "datatype": "INT64", "shape": [-1]},
        ]
    return inputs


def make_samples(spec: ModelSpec, encoder: Encoder, inputs: Mapping[str, Tensor]) -> Samples:
    """Return the samples that the tensors of a request hold.

    Raises
    ------
    InvalidInputError
        ``unknown_input``, ``missing_input``, ``wrong_shape``, ``wrong_feature_count``,
        ``malformed_tensor``, ``empty_batch``, ``too_many_samples``, ``feature_not_finite``,
        ``norm_out_of_range`` or ``feature_out_of_range``.
    """
    names = set(inputs)
    takes_entries = _takes_entries(spec, encoder)
    if encoder.takes in ("texts", "categories"):
        # What arrives are features already; a division by 2^16 is undone exactly.
        encoder = ScaleEncoder()
    if names == {DENSE_INPUT}:
        return _make_from_rows(spec, encoder, inputs[DENSE_INPUT])
    if takes_entries and names == set(SPARSE_INPUTS):
        return _make_from_entries(spec, encoder, inputs)
    raise _wrong_inputs(names, takes_entries)


def _takes_entries(spec: ModelSpec, encoder: Encoder) -> bool:
    # An encoder of whole rows makes something of what entries leave out.
    return spec.layout == "sparse" and encoder.takes != "rows"


def _make_from_rows(spec: ModelSpec, encoder: Encoder, tensor: Tensor) -> Samples:
    _check_dimensions(tensor, 2)
    rows, columns = tensor.data.shape
    _check_sample_count(rows)
    if columns != spec.feature_count:
        # Before anything is made of the rows: nothing wrong with them is worth the work.
        raise InvalidInputError(
            "wrong_feature_count",
            f"samples have {columns} features, the model takes {spec.feature_count}",
            field="inputs.features.shape",
            value=columns,
            limit=spec.feature_count,
        )
    features = np.ascontiguousarray(encoder.encode(tensor.data))
    if spec.layout == "dense":
        return DenseSamples(features)
    in_rows, indices = np.nonzero(features)
    row_starts = np.zeros(rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(in_rows, minlength=rows), out=row_starts[1:])
    values = features[in_rows, indices]
    return SparseSamples(row_starts, indices.astype(np.int64), values, columns)


def _make_from_entries(
    spec: ModelSpec, encoder: Encoder, inputs: Mapping[str, Tensor]
) -> SparseSamples:
    for name in SPARSE_INPUTS:
        _check_dimensions(inputs[name], 1)
    indices = _whole_numbers(inputs["indices"])
    row_starts = _whole_numbers(inputs["row_starts"])
    values = encoder.encode(inputs["values"].data)
    _check_sample_count(len(row_starts) - 1)
    if len(values) != len(indices):
        raise _malformed("values", f"values has {len(values)} entries, indices {len(indices)}")
    if row_starts[0] != 0 or row_starts[-1] != len(indices) or (np.diff(row_starts) < 0).any():
        raise _malformed(
            "row_starts", f"row_starts must rise from 0 to the {len(indices)} entries of indices"
        )
    if indices.size and not 0 <= indices.min() <= indices.max() < spec.feature_count:
        wrong = int(indices.min() if indices.min() < 0 else indices.max())
        raise InvalidInputError(
            "wrong_feature_count",
            f"indices holds {wrong}, the model takes {spec.feature_count} features",
            field="inputs.indices.data",
            value=wrong,
            limit=spec.feature_count - 1,
        )
    rises = np.diff(indices) > 0
    # A step down is allowed only where the next sample begins.
    inner = row_starts[1:-1]
    rises[inner[(inner > 0) & (inner < len(indices))] - 1] = True
    if not rises.all():
        raise _malformed("indices", "indices must ascend strictly within each sample")
    return SparseSamples(row_starts, indices, values, spec.feature_count)


def _whole_numbers(tensor: Tensor) -> Integers:
    if tensor.data.dtype != np.int64:
        raise _malformed(tensor.name, f"{tensor.name} must hold whole numbers, as INT64")
    return tensor.data.astype(np.int64, copy=False)


def _check_dimensions(tensor: Tensor, count: int) -> None:
    if tensor.data.ndim != count:
        raise InvalidInputError(
            "wrong_shape",
            f"{tensor.name} must have {count} dimensions, found {tensor.data.ndim}",
            field=f"inputs.{tensor.name}.shape",
            value=str(list(tensor.data.shape)),
            limit=count,
        )


def _check_sample_count(count: int) -> None:
    if count < 1:
        raise InvalidInputError(
            "empty_batch", "a request needs at least one sample", field="inputs", limit=1
        )
    if count > SAMPLES_MAX:
        raise InvalidInputError(
            "too_many_samples",
            f"a request of {count} samples is above the limit {SAMPLES_MAX}",
            field="inputs",
            value=count,
            limit=SAMPLES_MAX,
        )


def _malformed(name: str, message: str) -> InvalidInputError:
    return InvalidInputError("malformed_tensor", message, field=f"inputs.{name}.data")


def _wrong_inputs(names: set[str], takes_entries: bool) -> InvalidInputError:
    wanted = DENSE_INPUT
    if takes_entries:
        wanted += ", or " + ", ".join(SPARSE_INPUTS)
    known = {DENSE_INPUT, *(SPARSE_INPUTS if takes_entries else ())}
    unknown = sorted(names - known)
    return InvalidInputError(
        "unknown_input" if unknown else "missing_input",
        f"the inputs are {', '.join(sorted(names)) or 'none'}; the model takes {wanted}",
        field="inputs",
        value=", ".join(unknown) or ", ".join(sorted(names)),
        limit=wanted,
    )
