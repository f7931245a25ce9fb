"""Models out of the ledger and into it: checked downloads, files, estimators, resumption."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import quorate
from ml_runtime.fixed_point import ONE
from quorate.errors import RefusedError, TransactionFailedError, WrongDigestError
from quorate.model_files import decode_safetensors, encode_safetensors
from tests.helpers import learning
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import CLASS_NAMES, FEATURE_COUNT, connect, make_rows

KARMA_ALONE = quorate.Incentive("points", 0, 1_500, 5_000, 9_000)
ROWS, LABELS = make_rows(90)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiScene]:
    with run_api(tmp_path_factory.mktemp("api")) as running:
        alice = connect(running, running.chain.network.accounts[0])
        learning.create(alice, "taught", family="softmax_regression", incentive=KARMA_ALONE)
        alice.contribute("taught", ROWS[:45], LABELS[:45])
        alice.contribute("taught", ROWS[45:], LABELS[45:])
        alice.lifecycle.set_alias("taught", "champion", 2)
        yield running


@pytest.fixture
def alice(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[0])


@pytest.fixture
def bob(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[1])


def send_something_else(
    client: quorate.Client, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """Let the node answer downloads with these bytes."""
    monkeypatch.setattr(client._connection, "get_bytes", lambda *_: data)


def count_submissions(client: quorate.Client, fail_after: int | None = None) -> list[int]:
    """Return the kinds that are sent from now on; beyond some of them, sending fails."""
    sent: list[int] = []
    submit = client.lifecycle._submit

    def note(kind: int, body: Any, payload: Any) -> quorate.client.Transaction:
        if len(sent) == fail_after:
            raise ConnectionError("unplugged")
        sent.append(kind)
        return submit(kind, body, payload)

    client.lifecycle._submit = note
    return sent


def test_a_version_is_downloaded_and_has_the_digest_on_record(alice: quorate.Client) -> None:
    record, state = alice.lifecycle.download("taught", "champion")
    assert (record.version, record.digest) == (2, alice.versions("taught")[0].digest)
    assert {name: each.dtype for name, each in state.items()} == {
        "weights": np.int64,
        "steps": np.int64,
        "velocity": np.int64,
    } or set(state) == {"weights", "steps"}
    first, untaught = alice.lifecycle.download("taught", 0)
    assert (first.version, np.abs(untaught["weights"]).max()) == (0, 0)
    assert alice.lifecycle.download("taught")[0] == alice.lifecycle.download("taught", "2")[0]


@pytest.mark.parametrize("change", ["number", "float", "shape", "missing", "nonsense"])
def test_other_parameters_than_those_on_record_are_noticed(
    alice: quorate.Client, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    _, state = alice.lifecycle.download("taught")
    data = encode_safetensors(state)
    if change == "number":
        state["weights"][0, 0] += 1
        data = encode_safetensors(state)
    elif change == "float":
        data = data.replace(b'"I64"', b'"F64"')
    elif change == "shape":
        data = encode_safetensors({**state, "weights": state["weights"].T.copy()})
    elif change == "missing":
        data = encode_safetensors({"weights": state["weights"]})
    else:
        data = b"no file"
    send_something_else(alice, monkeypatch, data)
    with pytest.raises(WrongDigestError, match="version 2 of 'taught'"):
        alice.lifecycle.download("taught")


def test_what_the_node_does_not_have_is_refused(alice: quorate.Client) -> None:
    for model, version, code in (
        ("taught", 99, "unknown_version"),
        ("nobody", 0, "unknown_model"),
        ("nobody", "latest", "unknown_model"),
    ):
        with pytest.raises(RefusedError) as refused:
            alice.lifecycle.download(model, version)
        assert refused.value.code == code
    with pytest.raises(quorate.InvalidInputError, match="no alias 'nameless'"):
        alice.lifecycle.download("taught", "nameless")


@pytest.mark.parametrize("ending", ["safetensors", "npz", "json"])
def test_a_model_leaves_in_a_file_and_returns(
    alice: quorate.Client, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"taught.{ending}"
    record = alice.lifecycle.export("taught", file, "champion")
    assert [each.name for each in tmp_path.iterdir()] == [file.name]
    if ending == "npz":
        # An archive says nothing but tensors: the model has to be there.
        learning.create(alice, "from-npz", family="softmax_regression", incentive=KARMA_ALONE)
        report = alice.lifecycle.upload_file("from-npz", file)
    else:
        report = alice.lifecycle.import_file(f"from-{ending}", file, licence="CC0-1.0")
        assert alice.model(f"from-{ending}").licence == "CC0-1.0"
    assert report.roundings == ()
    assert [note.split()[0] for note in report.notes] == ["steps"]
    name = f"from-{ending}"
    assert record.version == 2
    assert alice.versions(name)[0].origin == "uploaded"
    answered = alice.predict(name, ROWS)
    assert answered.probabilities == alice.predict("taught", ROWS).probabilities
    assert answered.class_names[0] in CLASS_NAMES


@pytest.mark.parametrize(
    ("family", "parameters"),
    [
        ("averaged_perceptron", {}),
        ("nearest_centroid", {}),
        ("nearest_neighbours", {"capacity": 32}),
        ("gaussian_naive_bayes", {}),
        ("multilayer_perceptron", {"hidden1": 4}),
    ],
)
def test_a_model_that_returns_answers_as_it_did(
    alice: quorate.Client, tmp_path: Path, family: str, parameters: dict[str, int]
) -> None:
    name = family.replace("_", "-")
    learning.create(alice, name, family=family, parameters=parameters, incentive=KARMA_ALONE)
    alice.contribute(name, ROWS, LABELS)
    record = alice.lifecycle.export(name, tmp_path / "model.safetensors")
    report = alice.lifecycle.import_file(f"again-{name}", tmp_path / "model.safetensors")
    again = alice.predict(f"again-{name}", ROWS)
    assert again.probabilities == alice.predict(name, ROWS).probabilities
    is_the_same = alice.versions(f"again-{name}")[0].digest == record.digest
    assert is_the_same == (report.notes == ())
    assert is_the_same == (family in ("nearest_centroid", "gaussian_naive_bayes"))


def test_a_family_that_takes_no_parameters_is_exported_but_not_imported(
    alice: quorate.Client, tmp_path: Path
) -> None:
    learning.create(alice, "squares", family="ridge", incentive=KARMA_ALONE)
    alice.contribute("squares", ROWS, LABELS)
    alice.lifecycle.export("squares", tmp_path / "squares.safetensors")
    with pytest.raises(quorate.InvalidInputError) as refused:
        alice.lifecycle.import_file("again", tmp_path / "squares.safetensors")
    assert refused.value.code == "unsupported"
    assert "again" not in [model.name for model in alice.models()]


def test_a_file_is_replaced_and_an_unknown_ending_refused(
    alice: quorate.Client, tmp_path: Path
) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"old")
    alice.lifecycle.export("taught", file, 1)
    assert decode_safetensors(file.read_bytes()).metadata["version"] == "1"
    for call in (
        lambda: alice.lifecycle.export("taught", tmp_path / "model.pt"),
        lambda: alice.lifecycle.import_file("other", tmp_path / "model.pt"),
    ):
        with pytest.raises(quorate.InvalidInputError) as refused:
            call()
        assert refused.value.code == "unsupported"


def test_tensors_of_others_become_a_model_trained_elsewhere(
    alice: quorate.Client, tmp_path: Path
) -> None:
    file = tmp_path / "body.npz"
    body = np.linspace(-1, 1, 12).reshape(3, 4)
    np.savez(file, body=body, count=np.float64(7.3))
    report = alice.lifecycle.import_file("body", file)
    moved = {each.name: each.error_largest for each in report.roundings}
    assert set(moved) == {"external_tensors.body", "external_tensors.count"}
    assert 0 < moved["external_tensors.body"] <= 0.5 / ONE
    _, state = alice.lifecycle.download("body")
    assert np.abs(state["body"] / ONE - body).max() == moved["external_tensors.body"]
    assert state["count"].tolist() == [round(7.3 * ONE)]
    with pytest.raises(quorate.InvalidInputError) as refused:
        alice.lifecycle.to_sklearn("body")
    assert refused.value.code == "unsupported"


def test_nothing_is_created_from_a_file_that_no_model_can_begin_with(
    alice: quorate.Client, tmp_path: Path
) -> None:
    beyond = tmp_path / "beyond.npz"
    np.savez(beyond, body=np.array([1e12]))
    alice.lifecycle.export("taught", tmp_path / "taught.json")
    document = json.loads((tmp_path / "taught.json").read_text())
    document["tensors"]["weights"][0][0] = str(1 << 62)
    wild = tmp_path / "wild.json"
    wild.write_text(json.dumps(document))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no file")
    for file, code in (
        (beyond, "parameter_out_of_range"),
        (wild, "parameter_out_of_range"),
        (broken, "malformed_file"),
    ):
        with pytest.raises(quorate.InvalidInputError) as refused:
            alice.lifecycle.import_file("impossible", file)
        assert refused.value.code == code
    with pytest.raises(FileNotFoundError):
        alice.lifecycle.import_file("impossible", tmp_path / "absent.json")
    assert "impossible" not in [model.name for model in alice.models()]
    report = alice.lifecycle.import_file("possible", beyond, clamps=True)
    assert [each.clamped for each in report.roundings] == [1]


def test_an_import_that_stopped_goes_on_and_one_that_ended_is_not_repeated(
    alice: quorate.Client,
    bob: quorate.Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quorate.model_transfer.PART_NUMBERS", 10)
    file = tmp_path / "body.npz"
    np.savez(file, body=np.arange(50.0))
    stopping = connect_again(alice)
    count_submissions(stopping, fail_after=3)
    with pytest.raises(ConnectionError):
        stopping.lifecycle.import_file("stopped", file)
    with pytest.raises(TransactionFailedError) as failed:
        bob.lifecycle.import_file("stopped", file)
    assert failed.value.transaction.code == "not_owner"
    sent = count_submissions(alice)
    told: list[tuple[int, int]] = []
    alice.lifecycle.import_file("stopped", file, progress=lambda *each: told.append(each))
    assert len(sent) == 2 + 1
    assert told[-1] == (50, 50)
    with pytest.raises(quorate.InvalidInputError, match="is at version 1") as refused:
        alice.lifecycle.import_file("stopped", file)
    assert refused.value.code == "model_exists"
    with pytest.raises(quorate.InvalidInputError, match="another spec"):
        alice.lifecycle.import_file("taught", file)


def connect_again(client: quorate.Client) -> quorate.Client:
    """Return another client of the same account and node."""
    sender = client._get_sender()
    again = quorate.Client("http://node", sender._private_key)
    again._connection._http = client._connection._http
    return again


def test_parts_of_other_parameters_are_not_mixed_into_an_upload(
    alice: quorate.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are told apart by their places alone, so those of an upload given up look alike."""
    monkeypatch.setattr("quorate.model_transfer.PART_NUMBERS", 10)
    shape = {"body": (30,)}
    learning.create(
        alice, "mixed", family="external_tensors", feature_count=1, class_names=(), tensors=shape
    )
    stopping = connect_again(alice)
    count_submissions(stopping, fail_after=2)
    with pytest.raises(ConnectionError):
        stopping.lifecycle.upload("mixed", {"body": np.ones(30, dtype=np.int64)})
    wanted = np.arange(30, dtype=np.int64)
    alice.lifecycle.upload("mixed", {"body": wanted})
    assert alice.lifecycle.download("mixed")[1]["body"].tolist() == wanted.tolist()


def test_a_file_of_another_model_is_not_uploaded(alice: quorate.Client, tmp_path: Path) -> None:
    file = tmp_path / "taught.safetensors"
    alice.lifecycle.export("taught", file)
    settings: dict[str, Any] = {"family": "softmax_regression", "incentive": KARMA_ALONE}
    learning.create(alice, "swapped", class_names=CLASS_NAMES[::-1], **settings)
    learning.create(alice, "linear", family="averaged_perceptron", incentive=KARMA_ALONE)
    learning.create(alice, "narrow", **settings, feature_count=FEATURE_COUNT - 1)
    for name, code in (
        ("swapped", "wrong_spec"),
        ("linear", "wrong_spec"),
        ("narrow", "wrong_tensors"),
    ):
        with pytest.raises(quorate.InvalidInputError) as refused:
            alice.lifecycle.upload_file(name, file)
        assert refused.value.code == code


def test_an_estimator_comes_and_goes_and_answers_alike(alice: quorate.Client) -> None:
    names = np.array(CLASS_NAMES)[LABELS]
    fitted = LogisticRegression().fit(ROWS, names)
    report = alice.lifecycle.import_estimator(
        "fitted", fitted, incentive=KARMA_ALONE, description="From elsewhere."
    )
    assert report.roundings
    assert all(each.error_largest <= each.error_bound for each in report.roundings)
    answered = alice.predict("fitted", ROWS)
    assert answered.class_names == tuple(fitted.predict(ROWS))
    returned = alice.lifecycle.to_sklearn("fitted")
    assert returned.predict(ROWS).tolist() == fitted.predict(ROWS).tolist()
    assert np.abs(returned.predict_proba(ROWS) - fitted.predict_proba(ROWS)).max() < 1e-3
    assert alice.model("fitted").incentive.mechanism == "points"
    with pytest.raises(quorate.InvalidInputError) as refused:
        alice.lifecycle.import_estimator("nothing", LogisticRegression())
    assert refused.value.code == "not_learnt"


def test_an_old_version_is_exported_as_it_was_before_the_model_grew(
    alice: quorate.Client, tmp_path: Path
) -> None:
    growing = quorate.Policies(growth="owner")
    learning.create(alice, "growing", incentive=KARMA_ALONE, policies=growing)
    alice.contribute("growing", ROWS, LABELS)
    alice.lifecycle.extend("growing", class_names=["up"])
    alice.lifecycle.export("growing", tmp_path / "old.json", 1)
    alice.lifecycle.export("growing", tmp_path / "new.json")
    old, new = (json.loads((tmp_path / name).read_text()) for name in ("old.json", "new.json"))
    assert old["class_names"] == list(CLASS_NAMES)
    assert new["class_names"] == [*CLASS_NAMES, "up"]
