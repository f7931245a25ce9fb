"""A model's life through the executor: names, growth, uploads, judgements, drift, old versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ledger import chunk_keeper, version_replay
from ledger.block_models import BlockModels
from ledger.contribution_records import contribution_key
from ledger.layout import release_range, versioned_key
from ledger.model_drift import decode_model_drift, model_drift_key
from ledger.model_policies import DETECTORS, DRIFT_POLICIES, ModelPolicies
from ledger.model_records import ModelProgress, model_key
from ledger.model_tensors import ORIGINS, ModelTensors, decode_model_version, model_version_key
from ledger.model_uploads import ModelUpload, UploadedPart
from ledger.model_versions import (
    ALIASES_MAX,
    Alias,
    Aliases,
    BestWindow,
    PinnedVersion,
    aliases_key,
    best_window_key,
    decode_aliases,
    move_alias,
    watch_best,
)
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.snapshot_export import iterate_payload_ids
from ledger.snapshot_keys import BASE_KEY
from ledger.state import BlockState
from ledger.transaction import decode_transaction
from ledger.transactions.contributions import CONTRIBUTE, Contribute
from ledger.transactions.model_evaluation import (
    SHOW_VALIDATION,
    CommitValidation,
    DrawSamples,
    EvaluateModel,
    ShowValidation,
)
from ledger.transactions.model_parameters import (
    UPDATE_TENSORS,
    FinishUpload,
    UpdateTensors,
    UploadPart,
)
from ledger.transactions.model_versions import ExtendModel, RevertModel, SetAlias
from ledger.transactions.registry import body_of
from ledger.version_replay import plan_replay
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, encode_batch
from ml_runtime.spec import make_spec
from primitives.codec import encode
from primitives.errors import CorruptStateError, InvalidInputError, InvariantViolationError
from tests.helpers.ledger import Chain, make_network, make_salt
from tests.ledger.test_contribution_transactions import describe
from tests.ledger.test_model_faults import (
    ALICE,
    Scene,
    describe_external,
    make_batch,
    make_update,
)

ROWS = [[0, 0], [4 * ONE, 4 * ONE]]
DDM = DETECTORS.index("ddm")


def policies(drift: str = "note", **changes: int) -> ModelPolicies:
    return ModelPolicies(**{"detector": DDM, "drift": DRIFT_POLICIES.index(drift), **changes})


def teach(scene: Scene, labels: list[int], count: int = 40, name: str = "shared") -> None:
    """Contribute the two rows with these labels, again and again."""
    signed = scene.sign_batch(name, ROWS * count, labels * count)
    assert scene.run(signed)[0].code == "ok"


def drifting(drift: str, **changes: int) -> Scene:
    """Return a scene in which the labels of a model were swapped after it had learnt them."""
    scene = Scene()
    scene.create(describe(policies=policies(drift, **changes)))
    teach(scene, [0, 1], 200)
    teach(scene, [0, 1], 200)
    return scene


def origin_of(scene: Scene, version: int) -> str:
    found = scene.chain.store.read(model_version_key("shared", version), decode_model_version)
    assert found is not None
    return ORIGINS[found.origin]


@pytest.mark.parametrize(
    ("drift", "origin"),
    [
        ("note", "contributed"),
        ("decay", "drifted"),
        ("fork", "drifted"),
        ("revert", "drifted"),
    ],
)
def test_drift_is_dealt_with_as_the_owner_decided(drift: str, origin: str) -> None:
    scene = drifting(drift)
    teach(scene, [1, 0], 100)
    record = scene.chain.store.read(model_drift_key("shared"), decode_model_drift)
    assert record is not None
    assert (record.drifts > 0, record.version, record.height) == (True, 2, 4)
    assert origin_of(scene, 3) == origin
    aliases = scene.chain.store.read(aliases_key("shared"), decode_aliases) or Aliases()
    assert (aliases.get(f"before-drift-{record.drifts}") == 2) is (drift == "fork")


def test_drift_without_a_best_version_reverts_nothing() -> None:
    scene = Scene()
    scene.create(describe(policies=policies("revert")))
    # The first mistake after more than thirty right answers is a drift for this detector.
    teach(scene, [0, 1], 1)
    teach(scene, [0, 1], 40)
    teach(scene, [1, 0], 2)
    record = scene.chain.store.read(model_drift_key("shared"), decode_model_drift)
    assert record is not None
    assert record.drifts == 1
    assert origin_of(scene, 3) == "contributed"


def test_fork_is_not_named_when_the_names_are_used_up() -> None:
    scene = drifting("fork")
    for number in range(ALIASES_MAX - 1):
        current = scene.send("set_alias", SetAlias("shared", f"name-{number}", 2))
    assert current.code in ("ok", "too_many_aliases")
    full = scene.send("set_alias", SetAlias("shared", "one-more", 2))
    assert full.code == "too_many_aliases"
    assert scene.send("set_alias", SetAlias("shared", "name-0", 2)).code == "ok"
    teach(scene, [1, 0], 100)
    aliases = scene.chain.store.read(aliases_key("shared"), decode_aliases)
    assert aliases is not None
    assert not [each for each in aliases.aliases if each.alias.startswith("before-drift")]
    assert origin_of(scene, 3) == "drifted"


def test_fork_in_the_block_in_which_the_model_grew_has_no_version_to_name() -> None:
    scene = drifting("fork", growth=1)
    codes = [
        receipt.code
        for receipt in scene.run(
            scene.sign("extend_model", ExtendModel("shared", ("third",), 2)),
            scene.sign_batch("shared", ROWS * 100, [1, 0] * 100),
        )
    ]
    assert codes == ["ok", "ok"]
    aliases = scene.chain.store.read(aliases_key("shared"), decode_aliases) or Aliases()
    assert not [each for each in aliases.aliases if each.alias.startswith("before-drift")]


def test_version_in_force_cannot_be_named_in_the_block_in_which_the_model_grows() -> None:
    scene = Scene()
    scene.create(describe(policies=ModelPolicies(growth=1)))
    teach(scene, [0, 1], 1)
    codes = [
        receipt.code
        for receipt in scene.run(
            scene.sign("extend_model", ExtendModel("shared", ("third",), 2)),
            scene.sign("set_alias", SetAlias("shared", "early", 1)),
            scene.sign("revert_model", RevertModel("shared", 1)),
        )
    ]
    assert codes == ["ok", "version_not_held", "version_not_held"]


def test_going_back_to_a_smaller_version_keeps_the_classes_of_now() -> None:
    scene = Scene()
    scene.create(describe(policies=ModelPolicies(growth=1)))
    teach(scene, [0, 1])
    assert scene.send("set_alias", SetAlias("shared", "small", 1)).code == "ok"
    assert scene.send("extend_model", ExtendModel("shared", ("third",), 2)).code == "ok"
    assert scene.send("revert_model", RevertModel("shared", 1)).code == "ok"
    state = scene.chain.store.load_model_state("shared")
    assert state is not None
    assert state["counts"].tolist() == [40, 40, 0]
    teach(scene, [2, 1], 1)


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("set_alias", SetAlias("shared", "nobody", None), "unknown_alias"),
        ("set_alias", SetAlias("none", "nobody", 0), "unknown_model"),
        ("extend_model", ExtendModel("none", ("third",), 2), "unknown_model"),
        ("extend_model", ExtendModel("shared", ("low",), 2), "malformed"),
        ("extend_model", ExtendModel("shared", (), 3), "cannot_grow"),
        ("extend_model", ExtendModel("fixed", ("third",), 2), "cannot_grow"),
        ("evaluate_model", EvaluateModel("shared", 0), "unknown_piece"),
        ("draw_samples", DrawSamples("none", bytes(32), 1), "unknown_model"),
        ("draw_samples", DrawSamples("shared", bytes(32), 1), "unsupported"),
        ("draw_samples", DrawSamples("odd", bytes(32), 1), "not_learnt"),
        ("finish_upload", FinishUpload("none"), "unknown_model"),
        ("finish_upload", FinishUpload("shared"), "incomplete_upload"),
    ],
)
def test_what_cannot_be_done_says_why(kind: str, body: Any, code: str) -> None:
    scene = Scene()
    mixture = make_spec("gaussian_mixture", "dense", 2, 0, {"groups": 2, "seed_samples": 2})
    scene.create(describe(policies=ModelPolicies(growth=2)))
    scene.create(describe("fixed"))
    scene.create(describe("odd", spec=mixture, class_names=()))
    assert scene.send(kind, body).code == code


def test_only_the_owner_lets_a_model_grow_unless_all_may() -> None:
    scene = Scene()
    scene.create(describe(policies=ModelPolicies(growth=1)))
    scene.create(describe("open", policies=ModelPolicies(growth=2)))
    for name, code in (("shared", "not_owner"), ("open", "ok")):
        extended = scene.send("extend_model", ExtendModel(name, ("third",), 2), sender=ALICE)
        assert extended.code == code


def test_growth_ends_where_models_do() -> None:
    scene = Scene()
    spec = make_spec("nearest_centroid", "dense", 1 << 16, 2)
    scene.create(describe(spec=spec, policies=ModelPolicies(growth=1)))
    names = tuple(str(number) for number in range(300))
    assert scene.send("extend_model", ExtendModel("shared", names, 1 << 16)).code == "too_large"


def test_parts_of_an_upload_do_not_overlap() -> None:
    upload = ModelUpload().add(UploadedPart("a", 0, 4, bytes(32)))
    assert upload.add(UploadedPart("b", 2, 4, bytes(32))).parts[1].tensor == "b"
    with pytest.raises(InvalidInputError, match="overlap"):
        upload.add(UploadedPart("a", 3, 4, bytes(32)))
    scene = Scene()
    scene.create(describe_external())
    for start, count, code in ((0, 4, "ok"), (3, 4, "overlapping_part"), (6, 4, "wrong_tensors")):
        part = UploadPart("outside", "a", start)
        assert scene.send("upload_part", part, bytes(8 * count)).code == code


def test_an_upload_has_so_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.model_uploads.PARTS_MAX", 1)
    scene = Scene()
    scene.create(describe_external())
    for start, code in ((0, "ok"), (4, "too_many_parts"), (0, "ok")):
        part = UploadPart("outside", "a", start)
        assert scene.send("upload_part", part, bytes(32)).code == code


def test_an_upload_is_taken_if_all_of_it_is_within_bounds() -> None:
    scene = Scene()
    scene.create(describe_external())
    for number, code in ((1 << 62, "parameter_out_of_range"), (7, "ok")):
        data = np.full(8, number, dtype="<i8").tobytes()
        assert scene.send("upload_part", UploadPart("outside", "a", 0), data).code == "ok"
        ids = list(iterate_payload_ids(scene.chain.values, scene.chain.store.tip().height))
        assert len(ids) == 1
        assert scene.send("finish_upload", FinishUpload("outside")).code == code
    state = scene.chain.store.load_model_state("outside")
    assert state is not None
    assert state["a"].tolist() == [7] * 8


@pytest.mark.parametrize(
    "data",
    [
        encode((1, [])),
        encode((1, [["a", bytes(7), bytes(8)]])),
        make_update([0, 1], [1]),
        make_update([0], [1 << 62]),
        make_update([0], [-(1 << 63)]),
        b"\xff",
    ],
)
def test_updates_that_are_none_are_refused(data: bytes) -> None:
    scene = Scene()
    with pytest.raises(InvalidInputError) as refused:
        scene.sign("update_tensors", UpdateTensors("outside"), data)
    assert refused.value.code == "malformed_payload"


def test_updates_are_for_tensors_from_outside() -> None:
    scene = Scene()
    scene.create(describe())
    scene.create(describe_external())
    change = make_update([7], [5])
    assert scene.send("update_tensors", UpdateTensors("shared"), change).code == "unsupported"
    beyond = make_update([8], [5])
    assert scene.send("update_tensors", UpdateTensors("outside"), beyond).code == "wrong_tensors"
    assert scene.send("update_tensors", UpdateTensors("outside"), change).code == "ok"
    taught = scene.run(scene.sign_batch("outside", [[1]], [0]))[0]
    assert taught.code == "wrong_targets"


@pytest.mark.parametrize("size", [0, 7])
def test_a_part_holds_whole_numbers(size: int) -> None:
    with pytest.raises(InvalidInputError, match="numbers of 8 bytes"):
        Scene().sign("upload_part", UploadPart("outside", "a", 0), bytes(size))


def test_pieces_are_judged_as_the_model_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    scene.create(describe())
    none = DenseSamples(np.zeros((1, 2), dtype=np.int64))
    cases = [
        (encode_batch(none, np.zeros(1, dtype=np.int64), "none"), "wrong_targets"),
        (make_batch([[0, 0]], [5]), "unknown_class"),
        (make_batch(ROWS, [0, 1]), "ok"),
    ]
    for number, (data, code) in enumerate(cases):
        piece = Payload(make_salt(scene.next_nonce + 1), data)
        committing = CommitValidation("shared", (piece.commitment,))
        assert scene.send("commit_validation", committing).code == "ok"
        assert scene.send("show_validation", ShowValidation("shared", number), data).code == code
    assert scene.send("evaluate_model", EvaluateModel("shared", 0)).code == "not_shown"
    assert len(list(iterate_payload_ids(scene.chain.values, scene.chain.store.tip().height))) == 1
    monkeypatch.setattr("ledger.transactions.model_evaluation.PIECES_MAX", 3)
    more = scene.send("commit_validation", CommitValidation("shared", (bytes(32),)))
    assert more.code == "too_many_pieces"
    with pytest.raises(InvalidInputError, match="empty"):
        scene.sign("commit_validation", CommitValidation("shared", ()))


@pytest.mark.parametrize("kind", [CONTRIBUTE, SHOW_VALIDATION, UPDATE_TENSORS])
def test_payloads_are_checked_with_the_payload(kind: Any) -> None:
    signed = Scene().sign_batch("shared", ROWS, [0, 1])
    bare = decode_transaction(signed.raw)
    with pytest.raises(InvariantViolationError, match="without its payload"):
        kind.check(bare, body_of(signed), Parameters())


def spaced(versions: int = 5, **changes: int) -> Scene:
    """Return a scene whose model has so many versions, of which checkpoints alone stay stored."""
    scene = Scene(release_lag=0)
    kept = ModelPolicies(**{"checkpoint_interval": 4, **changes})
    spec = make_spec("softmax_regression", "dense", 2, 2)
    scene.create(describe(spec=spec, policies=kept))
    for _ in range(versions):
        teach(scene, [0, 1], 1)
    # The block after a version was superseded lets it go.
    scene.chain.run()
    return scene


def payloads_of(scene: Scene, ids: Sequence[bytes]) -> dict[bytes, bytes]:
    found = {name: scene.chain.payloads.read(name) for name in ids}
    return {name: payload.data for name, payload in found.items() if payload is not None}


def test_versions_are_learnt_again_from_the_checkpoint_before() -> None:
    scene = spaced()
    replay = plan_replay(scene.chain.store, "shared", 3)
    # Version 0 is pinned, since the first window began with it.
    assert len(replay.transaction_ids) == 3
    learnt = replay.run(payloads_of(scene, replay.transaction_ids))
    assert int(learnt["steps"][0]) > 0
    with pytest.raises(InvalidInputError) as refused:
        replay.run({})
    assert refused.value.code == "payload_not_held"
    with pytest.raises(CorruptStateError, match="does not come out"):
        dataclasses.replace(replay, digest=bytes(32)).run(
            payloads_of(scene, replay.transaction_ids)
        )


def test_versions_that_are_gone_are_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = spaced(12, versions_kept=2)
    for version, code in ((99, "unknown_version"), (3, "version_retired")):
        with pytest.raises(InvalidInputError) as refused:
            plan_replay(scene.chain.store, "shared", version)
        assert refused.value.code == code
    assert plan_replay(scene.chain.store, "shared", 11).version == 11
    monkeypatch.setattr(version_replay, "CONTRIBUTIONS_MAX", 1)
    with pytest.raises(InvalidInputError) as refused:
        plan_replay(scene.chain.store, "shared", 11)
    assert refused.value.code == "too_large"


def test_versions_from_before_a_snapshot_cannot_be_learnt_again() -> None:
    scene = spaced(7, versions_kept=7)
    height = scene.chain.store.tip().height
    scene.chain.values.write([(BASE_KEY, (height - 2).to_bytes(8, "big"))], (), sync=True)
    with pytest.raises(InvalidInputError, match="no older version"):
        plan_replay(scene.chain.store, "shared", 5)


def test_records_that_contradict_each_other_stop_a_replay() -> None:
    scene = spaced(4)
    height = scene.chain.store.tip().height
    for key, complaint in (
        (contribution_key("shared", 1), "contribution 1"),
        (model_key("shared"), "no parameters"),
    ):
        puts = [(versioned_key(key, at), b"\x00") for at in range(height + 1)]
        scene.chain.values.write(puts, (), sync=True)
        with pytest.raises(CorruptStateError, match=complaint):
            plan_replay(scene.chain.store, "shared", 3)


def test_so_many_versions_are_let_go_with_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk_keeper, "RELEASES_PER_BLOCK", 0)
    scene = spaced(4)
    monkeypatch.setattr(chunk_keeper, "RELEASES_PER_BLOCK", 2)
    start, stop = release_range(scene.chain.store.tip().height)
    assert len(list(scene.chain.values.iterate(start, stop))) == 3
    scene.chain.run()
    assert len(list(scene.chain.values.iterate(start, stop))) == 1
    # Versions from before a snapshot have no descriptor here; their notes go all the same.
    height = scene.chain.store.tip().height
    scene.chain.values.write([(BASE_KEY, height.to_bytes(8, "big"))], (), sync=True)
    scene.chain.run()
    assert not list(scene.chain.values.iterate(start, stop))


def test_names_of_versions_are_released_once_and_read_back_in_order() -> None:
    state = BlockState([], Chain(make_network()).store.tip_state)
    state.put(aliases_key("shared"), Aliases((Alias("lost", 3),)))
    with pytest.raises(InvariantViolationError, match="released twice"):
        move_alias(state, "shared", "lost", None)
    with pytest.raises(InvalidInputError, match="ascend"):
        decode_aliases(Aliases((Alias("b", 1), Alias("a", 1))).encode())


def test_models_have_arrays_before_others_take_their_place() -> None:
    models = BlockModels([], lambda _: None, lambda _: None)
    with pytest.raises(InvariantViolationError, match="no parameters yet"):
        models.replace("shared", {})


@pytest.mark.parametrize(
    ("kind", "groups", "code"),
    [("none", None, "wrong_targets"), ("labels", [0, 1], "unknown_group"), ("labels", None, "ok")],
)
def test_batches_say_what_the_model_learns(kind: Any, groups: Any, code: str) -> None:
    scene = Scene()
    scene.create(describe(groups=("north",)))
    samples = DenseSamples(np.array(ROWS, dtype=np.int64))
    sites = None if groups is None else np.array(groups, dtype=np.int64)
    data = encode_batch(samples, np.array([0, 1], dtype=np.int64), kind, sites)
    assert scene.send("contribute", Contribute("shared", 10**12, 2), data).code == code


def test_best_version_is_the_one_of_the_best_window() -> None:
    scene = Scene()
    scene.create(describe())
    # Learnt, then known by heart, then contradicted: the second window was the best.
    for labels in ([0, 1], [0, 1], [1, 0], [0, 1]):
        teach(scene, labels, 150)
    aliases = scene.chain.store.read(aliases_key("shared"), decode_aliases)
    assert aliases is not None
    assert aliases.get("best") == 1


def test_window_whose_version_is_not_pinned_stops_the_node() -> None:
    state = BlockState([], Chain(make_network()).store.tip_state)
    progress = ModelProgress(0, correct=300, judged=300)
    spec = make_spec("nearest_centroid", "dense", 2, 2)
    current = PinnedVersion(1, spec, ModelTensors(7, ()))
    state.put(best_window_key("shared"), BestWindow(3, 0, 0))
    with pytest.raises(InvariantViolationError, match="not pinned"):
        watch_best(state, "shared", progress, current)
