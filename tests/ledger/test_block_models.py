"""Tensors of a model under execution: what is changed is cloned, what is not stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from incentives.terms import Terms
from ledger.block_models import BlockModels
from ledger.model_records import ModelDescription
from ledger.model_tensors import ModelArrays, chunk_arrays
from ledger.payload import Payload
from ledger.transactions.model_parameters import UpdateTensors
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.spec import make_spec
from primitives.codec import encode
from tests.helpers.ledger import Chain, make_network, make_salt


def make_arrays() -> ModelArrays:
    return {name: np.arange(20_000, dtype=np.int64) for name in ("body", "head", "tail")}


def make_models(before: ModelArrays) -> BlockModels:
    return BlockModels((), {"m": before}.get, {}.get)


def test_only_the_named_tensors_are_cloned() -> None:
    before = make_arrays()
    models = make_models(before)
    arrays = models.change("m", ["head"])
    assert arrays is not None
    assert [arrays[name] is before[name] for name in before] == [True, False, True]
    arrays["head"][0] = 5
    assert before["head"][0] == 0


def test_a_tensor_is_cloned_once_however_often_it_is_changed() -> None:
    before = make_arrays()
    models = make_models(before)
    first = models.change("m", ["head"])
    assert first is not None
    head = first["head"]
    head[0] = 5
    every = models.change("m")
    assert every is first
    assert every["head"] is head
    assert not any(every[name] is before[name] for name in before)
    assert models.change("m", ["body"]) is first
    assert head[0] == 5


def test_what_replaced_the_parameters_is_changed_itself() -> None:
    models = make_models(make_arrays())
    models.change("m", ["head"])
    others = make_arrays()
    models.replace("m", others)
    arrays = models.change("m", ["body"])
    assert arrays is others
    assert models.change("unknown", ["body"]) is None


def test_shared_tensors_are_described_as_compared_ones_are() -> None:
    before = make_arrays()
    described = chunk_arrays(0, before, None, {})
    after = {**before, "head": before["head"] + 1}
    copied = {name: array.copy() for name, array in after.items()}
    shared_chunks: dict[bytes, bytes] = {}
    compared_chunks: dict[bytes, bytes] = {}
    shared = chunk_arrays(1, after, (described, before), shared_chunks)
    assert shared == chunk_arrays(1, copied, (described, before), compared_chunks)
    assert shared == chunk_arrays(1, after, None, {})
    assert shared_chunks == compared_chunks


@pytest.mark.parametrize("names", [("a",), ("b", "c")])
def test_an_update_leaves_the_other_tensors_and_the_version_before_alone(names: Any) -> None:
    chain = Chain(make_network())
    owner = chain.network.accounts[0]
    shapes = dict.fromkeys(("a", "b", "c"), (2, 9000))
    model = ModelDescription(
        name="m",
        description="",
        spec=make_spec("external_tensors", "dense", 1, 0, tensors=shapes),
        class_names=(),
        encoder=ScaleEncoder(),
        terms=Terms("points", 0, 1_500, 5_000, 9_000),
        licence="CC0-1.0",
        guidelines="",
    )
    chain.submit(owner, "create_model", CreateModel(model).to_fields())
    before = chain.store.load_model_state("m")
    numbers = np.array([3, 17_000]).astype("<i8").tobytes()
    data = encode((1, [[name, numbers, numbers] for name in names]))
    payload = Payload(make_salt(1), data)
    for _ in range(2):
        block = chain.submit(owner, "update_tensors", UpdateTensors("m").to_fields(), payload)
        assert block.receipts[0].code == "ok"
    after = chain.store.load_model_state("m")
    assert before is not None
    assert after is not None
    for name in ("a", "b", "c"):
        assert not before[name].any()
        assert (after[name] is before[name]) == (name not in names)
        assert after[name].reshape(-1)[17_000] == (34_000 if name in names else 0)
    again = Chain(chain.network, chain.values).store.load_model_state("m")
    assert again is not None
    assert all(np.array_equal(again[name], after[name]) for name in after)
