"""JSON tensors of the Open Inference Protocol."""

from __future__ import annotations

import json

import numpy as np
import pytest

from node.api.tensors import ELEMENTS_MAX, parse_infer_request, tensor_to_json
from primitives.errors import InvalidInputError


def make_body(**members: object) -> bytes:
    tensor: dict[str, object] = {
        "name": "features",
        "datatype": "FP64",
        "shape": [2, 2],
        "data": [1, 2.5, 3, 4],
    }
    return json.dumps({"inputs": [tensor | members]}).encode()


def test_flat_and_nested_data_give_the_same_array() -> None:
    flat = parse_infer_request(make_body()).inputs["features"].data
    nested = parse_infer_request(make_body(data=[[1, 2.5], [3, 4]])).inputs["features"].data
    np.testing.assert_array_equal(flat, [[1, 2.5], [3, 4]])
    np.testing.assert_array_equal(flat, nested)


def test_whole_number_datatypes_become_int64() -> None:
    data = parse_infer_request(make_body(datatype="UINT8", data=[0, 1, 2, 255])).inputs
    assert data["features"].data.dtype == np.int64


def test_a_narrow_float_is_rounded_as_the_client_holds_it() -> None:
    data = parse_infer_request(make_body(datatype="FP32", data=[0.1, 0, 0, 0])).inputs
    assert data["features"].data[0, 0] == np.float32(0.1)


def test_id_and_outputs_are_kept_in_order() -> None:
    body = {"id": "seven", "inputs": [], "outputs": [{"name": "label"}, {"name": "scores"}]}
    request = parse_infer_request(json.dumps(body).encode())
    assert request.request_id == "seven"
    assert request.outputs == ("label", "scores")


def test_no_outputs_or_an_empty_list_means_all() -> None:
    assert parse_infer_request(b'{"inputs": []}').outputs is None
    assert parse_infer_request(b'{"inputs": [], "outputs": []}').outputs is None


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"shape": [4, 2]}, "wrong_shape"),
        ({"shape": [4], "data": [[1, 2], [3, 4]]}, "wrong_shape"),
        ({"shape": [2, -1]}, "malformed_request"),
        ({"shape": [2, True]}, "malformed_request"),
        ({"shape": "2"}, "malformed_request"),
        ({"shape": [ELEMENTS_MAX, 2]}, "too_large"),
        ({"shape": [1, 1, 1, 2, 2]}, "too_large"),
        ({"datatype": "BYTES"}, "unsupported_datatype"),
        ({"datatype": None}, "unsupported_datatype"),
        ({"data": [[1, 2], [3]]}, "malformed_tensor"),
        ({"data": ["1", "2", "3", "4"]}, "malformed_tensor"),
        ({"data": [1, 2, 3, None]}, "malformed_tensor"),
        ({"data": [1, 2, 3, {}]}, "malformed_tensor"),
        ({"data": {"a": 1}}, "malformed_request"),
        ({"datatype": "INT64", "data": [1.5, 2, 3, 4]}, "malformed_tensor"),
        ({"datatype": "UINT8", "data": [1, 2, 3, 256]}, "malformed_tensor"),
        ({"datatype": "INT8", "data": [1, 2, 3, -129]}, "malformed_tensor"),
        ({"datatype": "UINT64", "data": [1, 2, 3, 2**63]}, "malformed_tensor"),
        ({"datatype": "INT64", "data": [1, 2, 3, 2**70]}, "malformed_tensor"),
        ({"datatype": "BOOL", "data": [1, 0, 1, 0]}, "malformed_tensor"),
        ({"name": ""}, "malformed_request"),
        ({"name": 7}, "malformed_request"),
    ],
)
def test_a_wrong_tensor_is_refused_with_its_own_code(members: dict[str, object], code: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_infer_request(make_body(**members))
    assert caught.value.code == code
    assert caught.value.field is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'{"inputs": {}}',
        b"{}",
        b'{"inputs": [7]}',
        b'{"inputs": [], "id": 7}',
        b'{"inputs": [], "outputs": [7]}',
        b'{"inputs": [], "outputs": [{}]}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_of_another_form_is_malformed(body: bytes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_infer_request(body)
    assert caught.value.code == "malformed_request"


def test_an_input_given_twice_is_refused() -> None:
    tensor = {"name": "x", "datatype": "INT64", "shape": [1], "data": [1]}
    with pytest.raises(InvalidInputError):
        parse_infer_request(json.dumps({"inputs": [tensor, tensor]}).encode())


def test_outputs_are_flat_and_row_major() -> None:
    tensor = tensor_to_json("scores", "FP64", np.array([[1.5, 2.0], [3.0, 4.0]]))
    assert tensor == {
        "name": "scores",
        "datatype": "FP64",
        "shape": [2, 2],
        "data": [1.5, 2.0, 3.0, 4.0],
    }
