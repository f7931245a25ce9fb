"""The parameters of a version over REST: which bytes, how long they are kept, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import quorate
from ledger.cache import BoundedCache
from ledger.model_tensors import chunk_arrays
from quorate.model_files import decode_safetensors
from quorate.model_files.document import decode_described
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import CLASS_NAMES, connect, create, make_rows

POLICIES = quorate.Policies(checkpoint_interval=4, versions_kept=8)
ROOT = "/api/v1/models"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiScene]:
    with run_api(tmp_path_factory.mktemp("api"), release_lag=2) as running:
        owner = connect(running, running.chain.network.accounts[0])
        create(owner, "spaced", family="softmax_regression", policies=POLICIES)
        rows, labels = make_rows(60)
        for start in range(0, 60, 5):
            sent = owner.contribute("spaced", rows[start : start + 5], labels[start : start + 5])
            if sent.result["sequence"] == 7:
                owner.lifecycle.set_alias("spaced", "champion", 8)
        yield running


def forget_versions(scene: ApiScene) -> None:
    """Make the API read, or compute, whatever it is asked for next."""
    scene.service.inference._versions = BoundedCache(1, lambda _: 2)


def ask(scene: ApiScene, version: str, **headers: str) -> Any:
    return scene.http.get(f"{ROOT}/spaced/versions/{version}/tensors", headers=headers)


def test_a_version_is_a_safetensors_file_with_the_digest_on_record(scene: ApiScene) -> None:
    forget_versions(scene)
    for number in range(5, 13):
        answer = ask(scene, str(number))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        assert int(answer.headers["content-length"]) == len(answer.content)
        named = f'attachment; filename="spaced-{number}.safetensors"'
        assert answer.headers["content-disposition"] == named
        file = decode_safetensors(answer.content)
        record = scene.get(f"{ROOT}/spaced/versions/{number}")
        arrays = {name: each.astype(np.int64) for name, each in file.tensors.items()}
        assert chunk_arrays(0, arrays, None, {}).digest.hex() == record["digest"]
        assert file.metadata["version"] == str(number)
        assert file.metadata["height"] == str(record["height"])
        document = decode_described(file)
        assert document is not None
        assert (document.spec.family, document.class_names) == ("softmax_regression", CLASS_NAMES)


def test_a_number_may_be_kept_for_ever_and_an_alias_is_asked_for_again(scene: ApiScene) -> None:
    by_number, by_alias = ask(scene, "8"), ask(scene, "champion")
    assert by_number.content == by_alias.content
    assert "immutable" in by_number.headers["cache-control"]
    assert by_alias.headers["cache-control"] == "no-cache"
    tag = by_number.headers["etag"]
    assert scene.get(f"{ROOT}/spaced/versions/8")["digest"] in tag
    assert by_alias.headers["etag"] == tag
    again = ask(scene, "champion", **{"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert ask(scene, "latest", **{"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("nobody/versions/1", 404, "unknown_model"),
        ("nobody/versions/latest", 404, "unknown_model"),
        ("spaced/versions/99", 404, "unknown_version"),
        ("spaced/versions/nameless", 404, "unknown_version"),
        ("spaced/versions/3", 410, "version_retired"),
        (f"spaced/versions/{1 << 63}", 400, "malformed_request"),
    ],
)
def test_what_is_not_there_is_refused(scene: ApiScene, path: str, status: int, code: str) -> None:
    forget_versions(scene)
    answer = scene.http.get(f"{ROOT}/{path}/tensors")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_version_is_refused_whose_contributions_were_erased(scene: ApiScene) -> None:
    owner = connect(scene, scene.chain.network.accounts[0])
    create(owner, "erased", family="softmax_regression", policies=POLICIES)
    rows, labels = make_rows(30)
    sent = [
        owner.contribute("erased", rows[start : start + 5], labels[start : start + 5])
        for start in range(0, 30, 5)
    ]
    scene.chain.payloads.erase(bytes.fromhex(sent[0].transaction_id))
    for _ in range(4):
        scene.run()
    forget_versions(scene)
    answer = scene.http.get(f"{ROOT}/erased/versions/2/tensors")
    assert (answer.status_code, answer.json()["code"]) == (404, "payload_not_held")
