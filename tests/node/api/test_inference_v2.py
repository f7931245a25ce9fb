"""The Open Inference Protocol over a model that the chain has trained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from node.api import inference as inference_module
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import CLASS_NAMES, FEATURE_COUNT, connect, create, make_rows

INFER = "/v2/models/sides/infer"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiScene]:
    with run_api(tmp_path_factory.mktemp("api")) as running:
        client = connect(running, running.chain.network.accounts[0])
        rows, labels = make_rows(60)
        create(client)
        create(client, "thin", layout="sparse")
        client.contribute("sides", rows, labels)
        client.contribute("thin", rows, labels)
        yield running


def make_input(rows: Any, **changes: Any) -> dict[str, Any]:
    array = np.asarray(rows, dtype=object)
    tensor = {
        "name": "features",
        "datatype": "FP64",
        "shape": list(array.shape),
        "data": array.tolist(),
    }
    return tensor | changes


def make_sparse(indices: Any, values: Any, row_starts: Any) -> list[dict[str, Any]]:
    return [
        {"name": "indices", "datatype": "INT64", "shape": [len(indices)], "data": indices},
        {"name": "values", "datatype": "FP64", "shape": [len(values)], "data": values},
        {"name": "row_starts", "datatype": "INT64", "shape": [len(row_starts)], "data": row_starts},
    ]


def make_sparse_with_indices(**changes: Any) -> list[dict[str, Any]]:
    indices, *others = make_sparse([0], [1.0], [0, 1])
    return [indices | changes, *others]


def infer(scene: ApiScene, inputs: list[dict[str, Any]], path: str = INFER, **body: Any) -> Any:
    response = scene.http.post(path, content=json.dumps({"inputs": inputs} | body))
    assert response.status_code == 200, response.text
    return response.json()


def outputs_of(answer: Any) -> dict[str, Any]:
    return {tensor["name"]: tensor for tensor in answer["outputs"]}


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_says_what_it_is(scene: ApiScene, path: str) -> None:
    assert scene.get(path) == {"name": "quorate", "version": "1", "extensions": []}


def test_the_server_is_live_and_ready(scene: ApiScene) -> None:
    assert scene.get("/v2/health/live") == {"live": True}
    assert scene.get("/v2/health/ready") == {"live": True, "ready": True}


def test_a_server_without_its_node_is_live_but_not_ready(tmp_path: Path) -> None:
    with run_api(tmp_path) as alone:
        alone.call(alone.node.feed.stop)
        response = alone.http.get("/v2/health/ready")
        assert (response.status_code, response.json()) == (503, {"live": True, "ready": False})
        assert alone.get("/v2/health/live") == {"live": True}


def test_a_model_says_what_it_takes_and_gives(scene: ApiScene) -> None:
    metadata = scene.get("/v2/models/sides")
    assert metadata["name"] == "sides"
    assert metadata["versions"] == ["0", "1"]
    assert metadata["platform"] == "quorate_nearest_centroid"
    assert metadata["inputs"] == [
        {"name": "features", "datatype": "FP64", "shape": [-1, FEATURE_COUNT]}
    ]
    assert [tensor["name"] for tensor in metadata["outputs"]] == [
        "label",
        "class_name",
        "probabilities",
        "scores",
    ]
    assert scene.get("/v2/models/sides/versions/0")["inputs"] == metadata["inputs"]
    assert [tensor["name"] for tensor in scene.get("/v2/models/thin")["inputs"]] == [
        "features",
        "indices",
        "values",
        "row_starts",
    ]


def test_a_model_and_its_versions_are_ready(scene: ApiScene) -> None:
    assert scene.get("/v2/models/sides/ready") == {"name": "sides", "ready": True}
    assert scene.get("/v2/models/sides/versions/1/ready") == {"name": "sides", "ready": True}


def test_an_answer_names_the_state_that_it_was_made_from(scene: ApiScene) -> None:
    rows, labels = make_rows(20, seed=3)
    answer = infer(scene, [make_input(rows)], id="twenty")
    tip = scene.chain.store.tip()
    assert answer["model_name"] == "sides"
    assert answer["model_version"] == "1"
    assert answer["id"] == "twenty"
    assert answer["parameters"] == {
        "height": tip.height,
        "version": 1,
        "block_id": tip.block_id.hex(),
        "state_root": tip.state_root.hex(),
    }
    outputs = outputs_of(answer)
    assert outputs["label"]["datatype"] == "INT64"
    assert outputs["label"]["shape"] == [20]
    assert outputs["label"]["data"] == labels.tolist()
    assert outputs["class_name"]["datatype"] == "BYTES"
    assert outputs["class_name"]["data"] == [CLASS_NAMES[label] for label in labels]
    assert outputs["probabilities"]["shape"] == [20, 3]
    scores = np.array(outputs["scores"]["data"]).reshape(20, 3)
    assert scores.argmax(axis=1).tolist() == labels.tolist()


def test_only_the_outputs_that_were_asked_for_come_back_in_their_order(scene: ApiScene) -> None:
    wanted = [{"name": "scores"}, {"name": "label"}]
    answer = infer(scene, [make_input(make_rows(2)[0])], outputs=wanted)
    assert [tensor["name"] for tensor in answer["outputs"]] == ["scores", "label"]
    assert "id" not in answer


def test_sparse_entries_and_dense_rows_give_the_same_answer(scene: ApiScene) -> None:
    rows = np.array([[1.0, 1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1.0, 1.0]])
    path = "/v2/models/thin/infer"
    dense = infer(scene, [make_input(rows)], path)
    sparse = infer(scene, make_sparse([0, 1, 4, 5], [1.0, 1.0, 1.0, 1.0], [0, 2, 2, 4]), path)
    assert dense["outputs"] == sparse["outputs"]


def test_whole_numbers_are_fine_where_floats_are_declared(scene: ApiScene) -> None:
    assert infer(scene, [make_input([[1, 1, 0, 0, 0, 0]])])["outputs"][0]["data"] == [0]
    by_integers = infer(scene, [make_input([[1, 1, 0, 0, 0, 0]], datatype="INT32")])
    assert by_integers["outputs"][0]["data"] == [0]


def test_an_earlier_height_and_version_answer_as_of_then(scene: ApiScene) -> None:
    rows, _ = make_rows(3)
    created = scene.get("/api/v1/models/sides/versions/0")["height"]
    untrained = infer(scene, [make_input(rows)], f"{INFER}?height={created}")
    assert (untrained["parameters"]["height"], untrained["model_version"]) == (created, "0")
    by_version = infer(scene, [make_input(rows)], "/v2/models/sides/versions/0/infer")
    assert by_version == untrained
    assert (
        untrained["parameters"]["state_root"]
        == (scene.get(f"/api/v1/blocks/{created}")["state_root"])
    )


def test_a_large_request_gives_the_same_answer_from_a_thread(
    scene: ApiScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _ = make_rows(50)
    inline = infer(scene, [make_input(rows)])
    monkeypatch.setattr(inference_module, "INLINE_UNITS_MAX", 0)
    assert infer(scene, [make_input(rows)]) == inline
    monkeypatch.setattr(inference_module, "INLINE_BODY_BYTES_MAX", 0)
    assert infer(scene, [make_input(rows)]) == inline


def test_the_next_block_is_answered_from_at_once(tmp_path: Path) -> None:
    with run_api(tmp_path) as scene:
        client = connect(scene, scene.chain.network.accounts[0])
        create(client)
        rows, labels = make_rows(10)
        for version in range(1, 4):
            client.contribute("sides", rows, labels)
            answer = infer(scene, [make_input(rows)])
            assert answer["model_version"] == str(version)
            assert answer["parameters"]["height"] == scene.node.height
        scene.run()
        answer = infer(scene, [make_input(rows)])
        assert (answer["model_version"], answer["parameters"]["height"]) == ("3", scene.node.height)


def test_many_requests_at_once_read_a_new_version_once(
    scene: ApiScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    ledger = scene.service.follower.ledger
    load = ledger.load_model_state
    monkeypatch.setattr(
        ledger,
        "load_model_state",
        lambda name, height: loads.append(name) or load(name, height),
    )
    fresh = inference_module.Inference(scene.service.feed.read_payload)

    async def open_together() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(fresh.open, scene.service.follower, "sides", None, None)

    scene.call(open_together)
    assert loads == ["sides"]


ONE = [[1.0] * FEATURE_COUNT]


@pytest.mark.parametrize(
    ("inputs", "status", "code"),
    [
        ([make_input([[1.0] * 5])], 400, "wrong_feature_count"),
        ([make_input([1.0] * 6)], 400, "wrong_shape"),
        ([make_input(ONE, shape=[2, 6])], 400, "wrong_shape"),
        ([make_input([[1.0] * 5 + [float("nan")]])], 400, "feature_not_finite"),
        ([make_input([[1.0] * 5 + [float("inf")]])], 400, "feature_not_finite"),
        ([make_input([[1.0] * 5 + [1e30]])], 400, "feature_out_of_range"),
        ([make_input([[1.0] * 5 + [1000.0]])], 400, "feature_out_of_range"),
        ([make_input(ONE, datatype="FP65")], 400, "unsupported_datatype"),
        ([make_input(ONE, name="pixels")], 400, "unknown_input"),
        ([], 400, "missing_input"),
        ([make_input(ONE), make_input(ONE, name="more")], 400, "unknown_input"),
        (make_sparse([0], [1.0], [0, 1]), 400, "unknown_input"),
        ([make_input([], shape=[0, 6])], 400, "empty_batch"),
        ([make_input(ONE, shape=[10**9, 6])], 413, "too_large"),
    ],
)
def test_a_wrong_request_is_refused_with_its_own_code(
    scene: ApiScene, inputs: list[dict[str, Any]], status: int, code: str
) -> None:
    response = scene.http.post(INFER, content=json.dumps({"inputs": inputs}))
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert problem["error"] == problem["detail"]
    assert problem["field"]


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        (make_sparse([6], [1.0], [0, 1]), "wrong_feature_count"),
        (make_sparse([-1], [1.0], [0, 1]), "wrong_feature_count"),
        (make_sparse([1, 0], [1.0, 1.0], [0, 2]), "malformed_tensor"),
        (make_sparse([1, 1], [1.0, 1.0], [0, 2]), "malformed_tensor"),
        (make_sparse([0, 1], [1.0], [0, 2]), "malformed_tensor"),
        (make_sparse([0], [1.0], [0, 2]), "malformed_tensor"),
        (make_sparse([0], [1.0], [1, 1]), "malformed_tensor"),
        (make_sparse([0, 1], [1.0, 1.0], [0, 2, 1, 2]), "malformed_tensor"),
        (make_sparse([0.5], [1.0], [0, 1]), "malformed_tensor"),
        (make_sparse([], [], []), "empty_batch"),
        (make_sparse([], [], [0]), "empty_batch"),
        (make_sparse([0], [float("nan")], [0, 1]), "feature_not_finite"),
        (make_sparse([0], [1.0], [0, 1])[:2], "missing_input"),
        (make_sparse_with_indices(shape=[1, 1]), "wrong_shape"),
        (make_sparse_with_indices(datatype="FP64"), "malformed_tensor"),
    ],
)
def test_wrong_sparse_entries_are_refused(
    scene: ApiScene, inputs: list[dict[str, Any]], code: str
) -> None:
    response = scene.http.post("/v2/models/thin/infer", content=json.dumps({"inputs": inputs}))
    assert (response.status_code, response.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/models/nothing/infer", 404, "unknown_model"),
        ("/v2/models/Not%20A%20Name/infer", 404, "unknown_model"),
        ("/v2/models/%ff%00/infer", 404, "unknown_model"),
        ("/v2/models/nothing/versions/0/infer", 404, "unknown_model"),
        ("/v2/models/sides/versions/99/infer", 404, "unknown_version"),
        ("/v2/models/sides/versions/9999999999999999999/infer", 400, "malformed_request"),
        ("/v2/models/sides/versions/champion/infer", 404, "unknown_version"),
        (f"{INFER}?height=0", 404, "unknown_model"),
        (f"{INFER}?height=99999", 404, "unknown_height"),
        (f"{INFER}?height=-1", 400, "malformed_request"),
        ("/v2/models/sides", 405, "method_not_allowed"),
        ("/v2/models/sides/explain", 404, "not_found"),
    ],
)
def test_what_does_not_exist_is_said_in_the_protocols_own_way(
    scene: ApiScene, path: str, status: int, code: str
) -> None:
    response = scene.http.post(path, content=json.dumps({"inputs": [make_input(ONE)]}))
    problem = response.json()
    assert (response.status_code, problem["code"]) == (status, code)
    assert isinstance(problem["error"], str)


def test_an_unknown_output_is_refused(scene: ApiScene) -> None:
    body = {"inputs": [make_input(ONE)], "outputs": [{"name": "embedding"}]}
    response = scene.http.post(INFER, content=json.dumps(body))
    assert (response.status_code, response.json()["code"]) == (400, "unknown_output")


def test_too_many_samples_are_refused(scene: ApiScene) -> None:
    rows = [[0] * FEATURE_COUNT] * (64 * 1024 + 1)
    response = scene.http.post(INFER, content=json.dumps({"inputs": [make_input(rows)]}))
    assert (response.status_code, response.json()["code"]) == (413, "too_many_samples")


def test_an_answer_that_would_be_too_long_is_refused(
    scene: ApiScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference_module, "OUTPUT_ELEMENTS_MAX", 5)
    response = scene.http.post(INFER, content=json.dumps({"inputs": [make_input(ONE * 2)]}))
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_version_and_height_together_are_refused(scene: ApiScene) -> None:
    async def ask() -> None:
        await scene.service.inference.open(scene.service.follower, "sides", 1, 1)

    with pytest.raises(Exception, match="not both"):
        scene.call(ask)
