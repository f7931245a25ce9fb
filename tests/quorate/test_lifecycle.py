"""A model's life over REST: families, groups, growth, names, uploads, validation, generation."""

from collections.abc import Iterator
from typing import Any

import anyio
import numpy as np
import pytest

import quorate
from ledger.cache import BoundedCache
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import FAMILIES
from node.api import inference, routes_versions
from primitives.errors import InvalidInputError
from quorate.errors import RefusedError, TransactionFailedError
from tests.helpers import learning
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import CLASS_NAMES, FEATURE_COUNT, connect, make_rows

KARMA_ALONE = quorate.Incentive("points", 0, 1_500, 5_000, 9_000)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiScene]:
    with run_api(tmp_path_factory.mktemp("api"), release_lag=2) as running:
        yield running


@pytest.fixture
def alice(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[0])


@pytest.fixture
def bob(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[1])


def create(client: quorate.Client, name: str, **changes: Any) -> None:
    learning.create(client, name, incentive=KARMA_ALONE, **changes)


def expect_failure(code: str, call: Any) -> TransactionFailedError:
    with pytest.raises(TransactionFailedError) as failed:
        call()
    assert failed.value.transaction.code == code
    return failed.value


def test_families_say_what_their_specs_look_like(alice: quorate.Client) -> None:
    families = {family["name"]: family for family in alice.lifecycle.families()}
    assert set(families) == {family.name for family in FAMILIES}
    ridge = families["ridge"]
    assert ridge["tasks"] == ["classification", "regression"]
    assert ridge["spec"]["properties"]["parameters"]["properties"]["l2"]["minimum"] == 1
    assert families["k_means"]["spec"]["properties"]["class_count"] == {"const": 0}


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("ridge", {}),
        ("linear_regression", {"rate": ONE // 20}),
        ("nearest_neighbours", {}),
        ("multilayer_perceptron", {"hidden1": 4}),
    ],
)
def test_numbers_are_learnt_and_predicted(
    alice: quorate.Client, family: str, settings: dict[str, int]
) -> None:
    name = family.replace("_", "-")
    create(alice, name, family=family, class_names=(), parameters=settings)
    rows, _ = make_rows(200)
    values = rows[:, 0] - rows[:, 2] / 2 + 1
    sent = alice.contribute(name, rows[:150], values[:150])
    assert sent.result["samples"] == 150
    predicted = np.array(alice.predict(name, rows[150:]).values)
    assert np.abs(predicted - values[150:]).mean() < np.abs(values[150:] - 1).mean()
    model = alice.model(name)
    assert model.task == "regression"
    assert model.raw["progress"]["mean_loss"] > 0
    with pytest.raises(quorate.InvalidInputError, match="1024"):
        alice.contribute(name, rows[:1], [2000.0])
    with pytest.raises(quorate.InvalidInputError, match="finite"):
        alice.contribute(name, rows[:1], [float("nan")])


def test_groups_and_outliers_need_no_labels(
    alice: quorate.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels = make_rows(120)
    grouping = {"groups": 3, "seed_samples": 60}
    create(alice, "piles", family="k_means", class_names=(), parameters=grouping)
    create(alice, "odd", family="gaussian_mixture", class_names=(), parameters=grouping)
    create(
        alice, "flat", family="principal_components", class_names=(), parameters={"components": 2}
    )
    for name in ("piles", "odd", "flat"):
        alice.contribute(name, rows)
        with pytest.raises(quorate.InvalidInputError, match="takes no labels"):
            alice.contribute(name, rows, labels)
    found = alice.predict("piles", rows)
    # Each pile holds one of the classes that nobody told.
    assert len({(pile, label) for pile, label in zip(found.labels, labels, strict=True)}) == 3
    assert found.class_names == ()
    strange = np.array([[3.0, -3, 3, -3, 3, -3]])
    for name in ("odd", "flat"):
        assert alice.predict(name, strange).values[0] > max(alice.predict(name, rows).values)
    drawn = alice.lifecycle.draw_samples("odd", 50, bytes(32))
    shown = alice._connection.get("/api/v1/models/odd/samples", {"seed": "00" * 32, "count": 50})
    assert shown["version"] == drawn.result["version"]
    assert np.abs(np.mean(shown["samples"], axis=0) / ONE - rows.mean(axis=0)).max() < 0.5
    expect_failure("unsupported", lambda: alice.lifecycle.draw_samples("piles", 1))
    monkeypatch.setattr(routes_versions, "NUMBERS_DRAWN_MAX", 50 * FEATURE_COUNT - 1)
    with pytest.raises(RefusedError) as refused:
        alice._connection.get("/api/v1/models/odd/samples", {"seed": "00" * 32, "count": 50})
    assert refused.value.code == "too_large"


def test_accuracy_is_counted_by_class_and_by_group(alice: quorate.Client) -> None:
    create(alice, "sites", groups=("north", "south"))
    rows, labels = make_rows(60)
    sites = ["north" if number % 3 else "south" for number in range(60)]
    alice.contribute("sites", rows[:30], labels[:30], groups=sites[:30])
    alice.contribute("sites", rows[30:], labels[30:], groups=sites[30:])
    progress = alice.model("sites").raw["progress"]
    by_group = {each["name"]: each for each in progress["by_group"]}
    assert by_group["south"]["judged"] == 20
    assert by_group["north"]["judged"] == 40
    by_class = {each["name"]: each["judged"] for each in progress["by_class"]}
    assert by_class == {
        name: int((labels == place).sum()) for place, name in enumerate(CLASS_NAMES)
    }
    assert sum(each["correct"] for each in progress["by_class"]) == progress["correct"]
    assert progress["mean_loss"] > 0
    second = alice._connection.get("/api/v1/models/sites/contributions/1", {})
    assert [each["judged"] for each in second["by_group"]] == [20, 10]
    assert sum(each["correct"] for each in second["by_class"]) == second["correct"]
    assert second["mean_loss"] < progress["mean_loss"]
    with pytest.raises(quorate.InvalidInputError, match="group west is unknown"):
        alice.contribute("sites", rows[:1], labels[:1], groups=["west"])


def test_versions_have_names_and_can_be_gone_back_to(
    alice: quorate.Client, bob: quorate.Client
) -> None:
    create(alice, "named")
    rows, labels = make_rows(40)
    alice.contribute("named", rows[:20], labels[:20])
    assert alice.lifecycle.set_alias("named", "champion", 1).result["version"] == 1
    before = alice.predict("named", rows, version="champion")
    for start in range(20, 40, 5):
        alice.contribute("named", rows[start : start + 5], (labels[start : start + 5] + 1) % 3)
    assert alice.lifecycle.aliases("named") == {"best": 0, "champion": 1, "latest": 5} or (
        alice.lifecycle.aliases("named") == {"champion": 1, "latest": 5}
    )
    assert alice.predict("named", rows, version="latest").version == 5
    assert alice.predict("named", rows, version="champion").probabilities == before.probabilities
    difference = alice.lifecycle.diff("named", "champion", "latest")
    changed = {each["tensor"]: each["changed"] for each in difference["tensors"]}
    assert changed["sums"] > 0
    alice.lifecycle.revert("named", "champion")
    after = alice.predict("named", rows)
    assert (after.version, after.probabilities) == (6, before.probabilities)
    assert alice.versions("named")[0].origin == "reverted"
    assert alice.lifecycle.diff("named", 1, 6)["tensors"][0]["changed"] == 0
    expect_failure("not_owner", lambda: bob.lifecycle.revert("named", 1))
    expect_failure("not_owner", lambda: bob.lifecycle.set_alias("named", "mine", 6))
    expect_failure("version_not_held", lambda: alice.lifecycle.revert("named", 3))
    expect_failure("unknown_alias", lambda: alice.lifecycle.set_alias("named", "nobody", None))
    alice.lifecycle.set_alias("named", "champion", None)
    assert "champion" not in alice.lifecycle.aliases("named")
    for alias, code in (("best", "reserved_alias"), ("Not A Name", "malformed")):
        with pytest.raises(RefusedError) as refused:
            alice.lifecycle.set_alias("named", alias, 6)
        assert refused.value.code == code


def test_old_versions_are_computed_again_from_their_checkpoint(
    alice: quorate.Client, scene: ApiScene
) -> None:
    policies = quorate.Policies(checkpoint_interval=4, versions_kept=8)
    create(alice, "spaced", family="softmax_regression", policies=policies)
    rows, labels = make_rows(60)
    answers = {}
    for number in range(12):
        part = slice(5 * number, 5 * number + 5)
        alice.contribute("spaced", rows[part], labels[part])
        answers[number + 1] = alice.predict("spaced", rows).probabilities
    # A fresh reader remembers nothing, so it has to read or compute again.
    scene.service.inference._versions = BoundedCache(1, lambda _: 2)
    for version in range(5, 13):
        again = alice.predict("spaced", rows, version=version)
        assert again.probabilities == answers[version], version
    with pytest.raises(RefusedError) as refused:
        alice.predict("spaced", rows, version=3)
    assert refused.value.code == "version_retired"


def test_predictions_do_not_wait_for_old_versions(
    alice: quorate.Client, scene: ApiScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked for an old version held the lock that every new version is read under."""
    policies = quorate.Policies(checkpoint_interval=64)
    create(alice, "patient", family="softmax_regression", policies=policies)
    rows, labels = make_rows(60)
    for number in range(6):
        part = slice(5 * number, 5 * number + 5)
        alice.contribute("patient", rows[part], labels[part])

    async def wait_for_ever(_: bytes) -> None:
        await anyio.sleep_forever()

    follower = scene.service.follower
    busy = inference.Inference(wait_for_ever)

    async def ask() -> int:
        async with anyio.create_task_group() as tasks:
            for _ in range(1 + inference.WAITING_MAX):
                tasks.start_soon(busy.open, follower, "patient", 1, None)
            await anyio.wait_all_tasks_blocked()
            while busy._aside.statistics().tasks_waiting < inference.WAITING_MAX:
                await anyio.wait_all_tasks_blocked()
            with pytest.raises(InvalidInputError, match="wait already"):
                await busy.open(follower, "patient", 2, None)
            with anyio.fail_after(20):
                opened = await busy.open(follower, "patient", None, None)
            tasks.cancel_scope.cancel()
        return opened.loaded.version

    assert scene.call(ask) == 6
    for limit in ("ledger.version_replay.CONTRIBUTIONS_MAX", "PAYLOAD_BYTES_MAX"):
        place = limit if "." in limit else f"node.api.version_access.{limit}"
        with monkeypatch.context() as patch:
            patch.setattr(place, 2)
            with pytest.raises(RefusedError) as refused:
                alice.predict("patient", rows, version=3)
        assert refused.value.code == "too_large"
    monkeypatch.setattr(inference, "FETCH_S_MAX", 0)
    with pytest.raises(InvalidInputError, match="did not come"):
        scene.call(lambda: busy.open(follower, "patient", 1, None))


def test_classes_and_features_are_added(
    alice: quorate.Client, bob: quorate.Client, scene: ApiScene
) -> None:
    rows, labels = make_rows(40)
    create(alice, "fixed")
    expect_failure("cannot_grow", lambda: alice.lifecycle.extend("fixed", class_names=["up"]))
    open_to_owner = quorate.Policies(growth="owner")
    create(alice, "growing", layout="sparse", policies=open_to_owner)
    alice.contribute("growing", rows, labels)
    sums = np.zeros((3, FEATURE_COUNT), dtype=np.int64)
    expect_failure("incomplete_upload", lambda: alice.lifecycle.upload("growing", {"sums": sums}))
    expect_failure("not_owner", lambda: bob.lifecycle.extend("growing", class_names=["up"]))
    expect_failure("malformed", lambda: alice.lifecycle.extend("growing", class_names=["left"]))
    expect_failure("cannot_grow", lambda: alice.lifecycle.extend("growing", feature_count=5))
    grown = alice.lifecycle.extend("growing", class_names=["up"], feature_count=FEATURE_COUNT + 1)
    assert grown.result == {"class_count": 4, "feature_count": FEATURE_COUNT + 1}
    assert alice.lifecycle.uploaded("growing") == [], "its parts were of other shapes"
    # A smaller version compared with a larger one, and the other way round.
    for first, second, numbers in ((1, 2, 28), (2, 1, 18)):
        sums = alice.lifecycle.diff("growing", first, second)["tensors"][1]
        assert (sums["tensor"], sums["numbers"], sums["changed"]) == ("sums", numbers, 0)
    wide = np.zeros((5, FEATURE_COUNT + 1))
    wide[:, -1] = 2
    alice.contribute("growing", wide, ["up"] * 5)
    assert set(alice.predict("growing", wide).class_names) == {"up"}
    old = np.concatenate([rows, np.zeros((40, 1))], axis=1)
    assert (np.array(alice.predict("growing", old).labels) == labels).mean() > 0.9
    scene.run(timestamp_ms=scene.chain.tip_header.timestamp_ms + 2_000)
    # What was contributed before is judged in the new shape.
    assert alice.refund("growing", 0).result["samples"] > 30


def test_parameters_from_elsewhere_are_uploaded_in_parts_and_checked(
    alice: quorate.Client, bob: quorate.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.model_transfer.PART_NUMBERS", 8)
    create(alice, "pretrained", family="softmax_regression")
    weights = np.zeros((3, FEATURE_COUNT + 1), dtype=np.int64)
    for label in range(3):
        weights[label, 2 * label : 2 * label + 2] = 3 << 32
    tensors = {"weights": weights, "steps": np.zeros(1, dtype=np.int64)}
    expect_failure("not_owner", lambda: bob.lifecycle.upload("pretrained", tensors))
    expect_failure(
        "wrong_tensors", lambda: alice.lifecycle.upload("pretrained", {"colours": weights})
    )
    expect_failure(
        "incomplete_upload", lambda: alice.lifecycle.upload("pretrained", {"weights": weights})
    )
    beyond = {**tensors, "weights": weights + (1 << 45)}
    monkeypatch.setattr("quorate.lifecycle.Lifecycle.uploaded", lambda *_: [])
    failure = expect_failure(
        "parameter_out_of_range", lambda: alice.lifecycle.upload("pretrained", beyond)
    )
    assert str(1 << 44) in failure.transaction.message
    monkeypatch.undo()
    monkeypatch.setattr("quorate.model_transfer.PART_NUMBERS", 8)
    told: list[tuple[int, int]] = []
    for part in alice.lifecycle.uploaded("pretrained"):
        assert part["count"] <= 8
    monkeypatch.setattr("quorate.lifecycle.Lifecycle.uploaded", lambda *_: [])
    alice.lifecycle.upload("pretrained", tensors, lambda done, total: told.append((done, total)))
    assert told[-1] == (22, 22)
    rows, labels = make_rows(60)
    assert (np.array(alice.predict("pretrained", rows).labels) == labels).mean() > 0.9
    assert alice.versions("pretrained")[0].origin == "uploaded"
    monkeypatch.undo()
    assert alice.lifecycle.uploaded("pretrained") == []


def test_an_upload_goes_on_where_it_stopped(
    alice: quorate.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quorate.model_transfer.PART_NUMBERS", 10)
    create(
        alice,
        "outside",
        family="external_tensors",
        feature_count=1,
        class_names=(),
        tensors={"body": (5, 10), "head": (10,)},
    )
    body = np.arange(50, dtype=np.int64).reshape(5, 10)
    sent = []
    submit = alice.lifecycle._submit

    def fail_after_three(kind, fields, payload):
        if len(sent) == 3:
            raise ConnectionError("unplugged")
        sent.append(kind)
        return submit(kind, fields, payload)

    alice.lifecycle._submit = fail_after_three
    tensors = {"body": body, "head": np.ones(10, dtype=np.int64)}
    with pytest.raises(ConnectionError):
        alice.lifecycle.upload("outside", tensors)
    assert len(alice.lifecycle.uploaded("outside")) == 3
    alice.lifecycle._submit = lambda *each: (sent.append(each[0]), submit(*each))[1]
    alice.lifecycle.upload("outside", tensors)
    assert len(sent) == 3 + 3 + 1
    places, amounts = np.array([49, 3]), np.array([5, -3])
    assert alice.lifecycle.update("outside", {"body": (places, amounts)}).result["changes"] == 2
    difference = alice.lifecycle.diff("outside", 1, "latest")["tensors"]
    assert [(each["changed"], each["largest"]) for each in difference] == [(2, 5), (0, 0)]
    with pytest.raises(RefusedError) as refused:
        alice.predict("outside", [[1.0]])
    assert refused.value.code == "unsupported"
    expect_failure("wrong_targets", lambda: alice.contribute("outside", [[1.0]]))
    expect_failure(
        "wrong_tensors",
        lambda: alice.lifecycle.update("outside", {"body": (np.array([50]), np.array([1]))}),
    )
    with pytest.raises(RefusedError) as refused:
        alice.lifecycle.update("outside", {"body": (np.array([1, 1]), np.array([1, 1]))})
    assert refused.value.code == "malformed_payload"


def test_a_validation_set_is_committed_shown_and_asked_again(
    alice: quorate.Client, bob: quorate.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(alice, "judged")
    rows, labels = make_rows(90, seed=7)
    pieces = [
        alice.lifecycle.make_validation_piece("judged", rows[:30], labels[:30]),
        alice.lifecycle.make_validation_piece("judged", rows[30:60], labels[30:60]),
    ]
    assert alice.lifecycle.commit_validation("judged", pieces).result["pieces"] == 2
    expect_failure("not_shown", lambda: bob.lifecycle.evaluate("judged", 0))
    expect_failure("unknown_piece", lambda: bob.lifecycle.evaluate("judged", 2))
    expect_failure(
        "wrong_commitment", lambda: alice.lifecycle.show_validation("judged", 0, pieces[1])
    )
    expect_failure("not_owner", lambda: bob.lifecycle.show_validation("judged", 0, pieces[0]))
    first = alice.lifecycle.show_validation("judged", 0, pieces[0])
    expect_failure("already_shown", lambda: alice.lifecycle.show_validation("judged", 0, pieces[0]))
    alice.contribute("judged", rows[60:], labels[60:])
    second = bob.lifecycle.evaluate("judged", 0)
    assert second.result["correct"] > first.result["correct"]
    history = alice.lifecycle.evaluations("judged")
    assert [(each["version"], each["piece"], each["samples"]) for each in history] == [
        (0, 0, 30),
        (1, 0, 30),
    ]
    assert history[1]["mean_loss"] < history[0]["mean_loss"]
    monkeypatch.setattr(routes_versions, "EVALUATIONS_MAX", 1)
    assert alice.lifecycle.evaluations("judged") == history[1:]


@pytest.mark.parametrize("policy", ["note", "decay", "fork", "revert"])
def test_a_drift_is_found_and_dealt_with_as_the_owner_decided(
    alice: quorate.Client, policy: str
) -> None:
    name = f"drifting-{policy}"
    create(alice, name, policies=quorate.Policies(detector="ddm", drift=policy, decay_shift=4))
    rows, labels = make_rows(1_000, seed=3)
    # A little noise, so that the detector knows how errors spread before the change.
    noisy = np.where(np.arange(1_000) % 20 == 7, (labels + 1) % 3, labels)
    for start in range(0, 600, 100):
        alice.contribute(name, rows[start : start + 100], noisy[start : start + 100])
    assert alice.model(name).raw["progress"]["drift"]["drifts"] == 0
    before = alice.model(name)
    counts = alice.lifecycle.diff(name, 0, "latest")
    alice.contribute(name, rows[600:700], (labels[600:700] + 1) % 3)
    drift = alice.model(name).raw["progress"]["drift"]
    assert drift["drifts"] >= 1
    assert drift["version"] == before.version
    newest = alice.versions(name)[0]
    assert newest.origin == ("contributed" if policy == "note" else "drifted")
    aliases = alice.lifecycle.aliases(name)
    assert ("before-drift-1" in aliases) == (policy == "fork")
    after = alice.lifecycle.diff(name, 0, "latest")
    learnt = {each["tensor"]: each["largest"] for each in after["tensors"]}
    known = {each["tensor"]: each["largest"] for each in counts["tensors"]}
    if policy == "fork":
        assert learnt["counts"] == 0
        assert aliases["before-drift-1"] == before.version
    elif policy == "revert":
        assert alice.lifecycle.diff(name, "best", "latest")["tensors"][0]["changed"] == 0
    elif policy == "decay":
        assert learnt["counts"] < known["counts"] + 40
    else:
        assert learnt["counts"] > known["counts"]


def test_policies_that_a_family_cannot_keep_are_refused(alice: quorate.Client) -> None:
    for family, policies, code in (
        ("averaged_perceptron", quorate.Policies(detector="ddm", drift="decay"), "invalid_policy"),
        ("ridge", quorate.Policies(growth="owner"), "invalid_policy"),
    ):
        with pytest.raises(RefusedError) as refused:
            create(alice, "impossible", family=family, policies=policies)
        assert refused.value.code == code
    with pytest.raises(quorate.InvalidInputError, match=r"policies\.drift must be one of note"):
        create(alice, "impossible", policies=quorate.Policies(drift="panic"))


def test_named_versions_from_before_a_snapshot_can_be_asked(
    alice: quorate.Client, scene: ApiScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that began with a snapshot holds what the state refers to, and no older state."""
    create(alice, "joined")
    rows, labels = make_rows(20)
    for start in (0, 5, 10):
        alice.contribute("joined", rows[start : start + 5], labels[start : start + 5])
    alice.lifecycle.set_alias("joined", "champion", 3)
    named = alice.predict("joined", rows, version=3)
    alice.contribute("joined", rows[15:], labels[15:])
    latest = alice.predict("joined", rows)
    scene.run()
    tip = scene.chain.store.tip().height
    monkeypatch.setattr(scene.service.follower.ledger, "base_height", lambda: tip)
    scene.service.inference._versions = BoundedCache(1, lambda _: 2)
    assert alice.predict("joined", rows, version="latest").probabilities == latest.probabilities
    again = alice.predict("joined", rows, version="champion")
    assert (again.version, again.probabilities) == (3, named.probabilities)
    with pytest.raises(RefusedError) as refused:
        alice.predict("joined", rows, version=2)
    assert refused.value.code == "pruned"
