"""Every version comes out again or is refused by the policy; chunks are counted as promised."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

from incentives.terms import Terms
from ledger.chunk_keeper import RELEASE_LAG, RELEASES_PER_BLOCK
from ledger.contribution_records import contribution_key, decode_contribution
from ledger.key_value import MemoryKeyValueStore
from ledger.layout import chunk_count_key, chunk_key, versioned_key
from ledger.model_policies import ModelPolicies
from ledger.model_records import ModelDescription, decode_model, model_key
from ledger.model_tensors import (
    ORIGINS,
    ModelTensors,
    ModelVersion,
    chunk_arrays,
    decode_model_tensors,
    decode_model_version,
    model_version_key,
    tensors_key,
)
from ledger.model_versions import PINNED_PREFIX, decode_pinned_version
from ledger.payload import Payload
from ledger.store import LedgerStore
from ledger.transaction import Transaction
from ledger.transactions.contributions import Contribute
from ledger.transactions.model_versions import ExtendModel, RevertModel, SetAlias
from ledger.transactions.models import CreateModel
from ledger.version_replay import Replay, is_stored, plan_replay
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, SparseSamples, encode_batch
from ml_runtime.spec import make_spec
from primitives.errors import CorruptStateError, InvalidInputError
from tests.helpers.ledger import Chain, make_network, make_salt, make_transaction
from tests.helpers.snapshots import EpochedChain, import_snapshot, make_chain

NETWORK = make_network()
OWNER = NETWORK.accounts[0]
INTERVAL = 7
KEPT = 10
UPDATES = 120
CLASSES = 3
FEATURES = 4

GROWING = ModelPolicies(growth=1, checkpoint_interval=INTERVAL)
SPACED = ModelPolicies(checkpoint_interval=INTERVAL)
SHORT = ModelPolicies(
    detector=1, drift=1, decay_shift=1, checkpoint_interval=INTERVAL, versions_kept=KEPT
)


def describe(
    name: str, family: str, policies: ModelPolicies = SPACED, **changes: Any
) -> ModelDescription:
    settings: dict[str, Any] = {"layout": "dense", "class_count": CLASSES, "parameters": None}
    settings |= changes
    spec = make_spec(
        family,
        settings["layout"],
        FEATURES,
        settings["class_count"],
        settings["parameters"],
    )
    return ModelDescription(
        name=name,
        description="",
        spec=spec,
        class_names=tuple(str(number) for number in range(settings["class_count"])),
        encoder=ScaleEncoder(),
        terms=Terms("points", 0, 1_500, 5_000, 9_000),
        licence="CC0-1.0",
        guidelines="",
        policies=policies,
    )


MODELS = (
    describe("soft", "softmax_regression"),
    describe("sparse", "averaged_perceptron", GROWING, layout="sparse"),
    describe("short", "nearest_centroid", SHORT),
    describe("line", "linear_regression", class_count=0),
    describe("layers", "multilayer_perceptron", parameters={"hidden1": 4}),
)


@dataclass
class Teacher:
    """Signs the owner's transactions, with samples that are fixed by a seed."""

    chain: Chain
    source: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    nonce: int = 0
    salts: int = 0

    def sign(self, kind: str, body: Any, data: bytes | None = None) -> Transaction:
        self.salts += data is not None
        transaction = make_transaction(
            self.chain.network,
            OWNER,
            kind,
            body.to_fields(),
            nonce=self.nonce,
            payload=None if data is None else Payload(make_salt(self.salts), data),
        )
        self.nonce += 1
        return transaction

    def run(self, *transactions: Transaction) -> None:
        block = self.chain.run(transactions)
        assert [receipt.code for receipt in block.receipts] == ["ok"] * len(transactions)

    def draw(self, model: ModelDescription, labels: np.ndarray) -> bytes:
        """Return samples whose first features say which class they are of."""
        features = self.source.integers(0, ONE, (len(labels), FEATURES))
        features[np.arange(len(labels)), labels] += 2 * ONE
        if model.spec.class_count == 0:
            return encode_batch(DenseSamples(features), features[:, 0] // 2, "values")
        if model.spec.layout == "dense":
            return encode_batch(DenseSamples(features), labels)
        starts = np.arange(len(labels) + 1) * 2
        places = np.stack([labels, np.full(len(labels), FEATURES - 1)], axis=1)
        values = np.take_along_axis(features, places, axis=1)
        samples = SparseSamples(starts, places.reshape(-1), values.reshape(-1), FEATURES)
        return encode_batch(samples, labels)

    def teach(self, model: ModelDescription, shift: int = 0, count: int = 3) -> Transaction:
        """Return a contribution; a shift calls each class by another name."""
        labels = self.source.integers(0, CLASSES, count)
        data = self.draw(model, labels)
        if shift:
            batch = DenseSamples(self.source.integers(0, ONE, (count, FEATURES)))
            batch.features[np.arange(count), labels] += 2 * ONE
            data = encode_batch(batch, (labels + shift) % CLASSES)
        return self.sign("contribute", Contribute(model.name, 0, count), data)


class Recount:
    """Counts references anew from the records alone, as the head of the keeper promises them.

    What may go, goes with the block after the one that superseded it; more than a few models would
    take longer, since a block lets go of a bounded number.
    """

    def __init__(self, store: LedgerStore, lag: int = 0) -> None:
        self.store = store
        self.lag = lag
        self.record = cache(self._read_record)
        self.tensors = cache(self._read_tensors)

    def current(self, name: str) -> int:
        tensors = self.store.read(tensors_key(name), decode_model_tensors)
        assert tensors is not None
        return tensors.version

    def stored_versions(self, name: str) -> list[int]:
        model = self.store.read(model_key(name), decode_model)
        assert model is not None
        policies = model.description.policies
        current, base = self.current(name), self.store.base_height()
        return [
            version
            for version in range(current + 1)
            if self.tensors(name, version) is not None
            and not self._is_gone(name, version, current, policies, base)
        ]

    def count(self, names: Sequence[str]) -> Counter[bytes]:
        counts: Counter[bytes] = Counter()
        for name in names:
            for version in self.stored_versions(name):
                counts.update(list_chunks(self.tensors(name, version)))
        for _, value in self.store.scan(PINNED_PREFIX, limit=1_000):
            counts.update(list_chunks(decode_pinned_version(value).tensors))
        return counts

    def check(self, *names: str) -> None:
        """Assert invariants 1 and 2."""
        values = self.store._store
        counted = {
            key[2:]: int.from_bytes(value, "big") for key, value in values.iterate(b"c/", b"c0")
        }
        assert counted == self.count(names)
        assert {key[2:] for key, _ in values.iterate(b"k/", b"k0")} == set(counted)

    def _is_gone(
        self, name: str, version: int, current: int, policies: ModelPolicies, base: int
    ) -> bool:
        interval, kept = policies.checkpoint_interval, policies.versions_kept
        record = self.record(name, version)
        goes_with = version + 1
        # What a store began with is where it begins to compute.
        began = base > 0 and record.height <= base
        if began or version % interval == 0 or ORIGINS[record.origin] != "contributed":
            if not kept:
                return False
            goes_with = version + kept + interval
        if goes_with > current:
            return False
        superseded = self.record(name, goes_with).height
        return self.store.tip().height >= superseded + max(self.lag, 1)

    def _read_record(self, name: str, version: int) -> ModelVersion:
        record = self.store.read(model_version_key(name, version), decode_model_version)
        assert record is not None
        return record

    def _read_tensors(self, name: str, version: int) -> ModelTensors | None:
        height = max(self.record(name, version).height, self.store.base_height())
        tensors = self.store.read(tensors_key(name), decode_model_tensors, height)
        assert tensors is not None
        return tensors if tensors.version == version else None


def list_chunks(tensors: ModelTensors | None) -> list[bytes]:
    assert tensors is not None
    return [chunk for tensor in tensors.tensors for chunk in tensor.chunks]


def run_replay(chain: Chain, replay: Replay) -> dict[str, np.ndarray]:
    payloads = {each: chain.payloads.read(each) for each in replay.transaction_ids}
    return replay.run({key: payload.data for key, payload in payloads.items() if payload})


def check_rebuilt(chain: Chain, name: str, version: int) -> Replay:
    """Compute a version and compare it with its record, without the replay's own comparison."""
    record = chain.store.read(model_version_key(name, version), decode_model_version)
    assert record is not None
    replay = plan_replay(chain.store, name, version)
    state = run_replay(chain, replay)
    assert chunk_arrays(version, state, None, {}).digest == record.digest, (name, version)
    return replay


def find_origins(chain: Chain, name: str) -> set[str]:
    records = chain.store.scan(model_version_key(name, 0)[:-8], limit=10_000)
    return {ORIGINS[decode_model_version(value).origin] for _, value in records}


def refusal_of(chain: Chain, name: str, version: int) -> str:
    with pytest.raises(InvalidInputError) as refused:
        plan_replay(chain.store, name, version)
    return refused.value.code


@pytest.fixture(scope="module")
def lived() -> Chain:
    """A chain of 120 updates of each model, its counts checked after every block."""
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    recount = Recount(chain.store)
    names = [model.name for model in MODELS]
    teacher.run(*(teacher.sign("create_model", CreateModel(model)) for model in MODELS))
    between: dict[int, list[tuple[str, Any]]] = {
        20: [("set_alias", SetAlias("soft", "champion", 20))],
        30: [("set_alias", SetAlias("short", "early", 30))],
        40: [("extend_model", ExtendModel("sparse", ("more",), FEATURES + 2))],
        60: [("revert_model", RevertModel("soft", 20))],
        61: [("set_alias", SetAlias("short", "early", None))],
        80: [("set_alias", SetAlias("soft", "champion", None))],
    }
    for number in range(UPDATES):
        lessons = [teacher.sign(kind, body) for kind, body in between.get(number, [])]
        for model in MODELS:
            # From the middle on, the watched model is told other names for what it knows.
            shift = int(model.name == "short" and number >= UPDATES // 2)
            lessons.append(teacher.teach(model, shift))
        teacher.run(*lessons)
        recount.check(*names)
    assert recount.current("soft") == recount.current("sparse") == UPDATES
    return chain


def test_the_chain_has_versions_of_every_kind(lived: Chain) -> None:
    assert find_origins(lived, "soft") == {"created", "contributed", "reverted"}
    assert find_origins(lived, "sparse") == {"created", "contributed", "grown"}
    assert find_origins(lived, "short") == {"created", "contributed", "drifted"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_version_is_rebuilt_or_refused_as_the_policy_says(
    lived: Chain, model: ModelDescription
) -> None:
    kept = model.policies.versions_kept
    longest = 0
    for version in range(UPDATES + 1):
        if kept and version <= UPDATES - kept:
            assert refusal_of(lived, model.name, version) == "version_retired"
        else:
            replay = check_rebuilt(lived, model.name, version)
            longest = max(longest, len(replay.transaction_ids))
    assert longest == INTERVAL - 1
    assert refusal_of(lived, model.name, UPDATES + 1) == "unknown_version"


def test_nothing_goes_before_the_lag_is_over() -> None:
    for lag in (3, RELEASE_LAG):
        chain = Chain(NETWORK, release_lag=lag)
        teacher = Teacher(chain)
        recount = Recount(chain.store, lag)
        teacher.run(teacher.sign("create_model", CreateModel(MODELS[0])))
        for _ in range(10):
            teacher.run(teacher.teach(MODELS[0]))
            recount.check("soft")
        expected = [0, 7, 8, 9, 10] if lag == 3 else list(range(11))
        assert recount.stored_versions("soft") == expected
        for version in range(11):
            assert (check_rebuilt(chain, "soft", version).transaction_ids == []) == (
                version in expected
            )


def test_many_versions_go_in_steps_of_a_bounded_size() -> None:
    chain = Chain(NETWORK)
    teacher = Teacher(chain)
    teacher.run(teacher.sign("create_model", CreateModel(MODELS[0])))
    for _ in range(100):
        teacher.run(teacher.teach(MODELS[0]))
    # Opened anew with another lag, the store has 85 versions to let go of at once.
    chain = Chain(NETWORK, chain.values, chain.payloads, release_lag=0)
    notes = []
    for _ in range(3):
        notes.append(len(list(chain.values.iterate(b"g/", b"g0"))))
        chain.run()
    assert notes == [85, 85 - RELEASES_PER_BLOCK, 0]
    Recount(chain.store).check("soft")
    for version in range(101):
        check_rebuilt(chain, "soft", version)


def test_blocks_with_several_contributions_are_learnt_in_their_order() -> None:
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    create = teacher.sign("create_model", CreateModel(MODELS[0]))
    teacher.run(create, teacher.teach(MODELS[0]), teacher.teach(MODELS[0]))
    for number in range(1, 6):
        teacher.run(*(teacher.teach(MODELS[0]) for _ in range(number)))
    teacher.run()
    for version in range(6):
        check_rebuilt(chain, "soft", version)
    assert len(plan_replay(chain.store, "soft", 4).transaction_ids) == 1 + 2 + 3 + 4


def test_models_that_share_chunks_let_go_of_them_one_by_one() -> None:
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    recount = Recount(chain.store)
    twins = [describe(name, "softmax_regression") for name in ("left", "right")]
    teacher.run(*(teacher.sign("create_model", CreateModel(twin)) for twin in twins))
    recount.check("left", "right")
    data = teacher.draw(twins[0], np.array([0, 1, 2]))
    for twin in twins:
        teacher.run(teacher.sign("contribute", Contribute(twin.name, 0, 3), data))
        recount.check("left", "right")
    shared = list_chunks(recount.tensors("left", 1))
    assert shared == list_chunks(recount.tensors("right", 1))
    # Weights are shared and counted twice.
    assert int.from_bytes(chain.values.get(chunk_count_key(shared[-1])) or b"", "big") == 2
    for twin in twins:
        teacher.run(teacher.teach(twin))
        recount.check("left", "right")
        teacher.run()
        recount.check("left", "right")
        for version in (1, 2):
            check_rebuilt(chain, twin.name, version)
    assert chain.values.get(chunk_key(shared[-1])) is None


def test_a_pinned_version_keeps_its_chunks_until_it_is_released() -> None:
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    recount = Recount(chain.store)
    teacher.run(teacher.sign("create_model", CreateModel(MODELS[0])))
    for _ in range(3):
        teacher.run(teacher.teach(MODELS[0]))
    for alias in ("one", "two"):
        teacher.run(teacher.sign("set_alias", SetAlias("soft", alias, 3)))
        recount.check("soft")
    for _ in range(3):
        teacher.run(teacher.teach(MODELS[0]))
        recount.check("soft")
    pinned = recount.tensors("soft", 3)
    assert pinned is not None
    assert 3 not in recount.stored_versions("soft")
    for alias in ("one", "two"):
        assert is_stored(chain.store, pinned)
        assert check_rebuilt(chain, "soft", 3).transaction_ids == []
        teacher.run(teacher.sign("set_alias", SetAlias("soft", alias, None)))
        recount.check("soft")
    assert not is_stored(chain.store, pinned)
    assert len(check_rebuilt(chain, "soft", 3).transaction_ids) == 3


def join(chain: EpochedChain, height: int) -> EpochedChain:
    """Return a ledger that begins with a snapshot and lets go at once."""
    joined = import_snapshot(chain, chain.take_snapshot(height))
    return EpochedChain(chain.network, joined.values, joined.payloads, release_lag=0)


@pytest.mark.parametrize("kept", [0, KEPT])
def test_a_ledger_that_began_with_a_snapshot_counts_and_rebuilds_from_there(kept: int) -> None:
    """The version in force in a snapshot is where later ones can be computed from, so it stays.

    It used to be counted for ever and yet never used: whoever joined could not compute a version
    before the next checkpoint, and never let go of that one.
    """
    chain = make_chain()
    chain.release_lag = 0
    chain.__post_init__()
    teacher = Teacher(chain)
    policies = ModelPolicies(checkpoint_interval=INTERVAL, versions_kept=kept)
    model = describe("soft", "softmax_regression", policies)
    teacher.run(teacher.sign("create_model", CreateModel(model)))
    for _ in range(9):
        teacher.run(teacher.teach(model))
    teacher.run(teacher.sign("set_alias", SetAlias("soft", "champion", 9)))
    for _ in range(2):
        teacher.run(teacher.teach(model))
    teacher.run()
    height = chain.store.tip().height
    teacher.run()
    joined = join(chain, height)
    recount = Recount(joined.store)
    recount.check("soft")
    assert recount.stored_versions("soft") == [11]
    assert check_rebuilt(joined, "soft", 11).transaction_ids == []
    assert refusal_of(joined, "soft", 10) == "version_retired"
    pupil = Teacher(joined, teacher.source, teacher.nonce, teacher.salts)
    for number in range(12, 40):
        pupil.run(pupil.teach(model))
        recount.check("soft")
        for version in range(11, number + 1):
            if kept and version <= number - kept:
                assert refusal_of(joined, "soft", version) == "version_retired"
            else:
                check_rebuilt(joined, "soft", version)
    assert (11 in recount.stored_versions("soft")) == (kept == 0)


def test_a_payload_that_is_not_held_is_named() -> None:
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    teacher.run(teacher.sign("create_model", CreateModel(MODELS[0])))
    lessons = [teacher.teach(MODELS[0]) for _ in range(4)]
    for lesson in lessons:
        teacher.run(lesson)
    teacher.run()
    chain.payloads.erase(lessons[1].transaction_id)
    check_rebuilt(chain, "soft", 1)
    check_rebuilt(chain, "soft", 4)
    replay = plan_replay(chain.store, "soft", 3)
    assert list(replay.transaction_ids) == [lesson.transaction_id for lesson in lessons[:3]]
    with pytest.raises(InvalidInputError, match=lessons[1].transaction_id.hex()) as refused:
        run_replay(chain, replay)
    assert refused.value.code == "payload_not_held"


def test_another_digest_on_record_is_a_corrupt_disk() -> None:
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    teacher.run(teacher.sign("create_model", CreateModel(MODELS[0])))
    for _ in range(3):
        teacher.run(teacher.teach(MODELS[0]))
    key = model_version_key("soft", 2)
    record = chain.store.read(key, decode_model_version)
    assert record is not None
    forged = record.encode().replace(record.digest, bytes(32))
    chain.values.write([(versioned_key(key, record.height), b"\x01" + forged)], [], sync=True)
    with pytest.raises(CorruptStateError, match="version 2 of 'soft' does not come out"):
        run_replay(chain, plan_replay(chain.store, "soft", 2))
    check_rebuilt(chain, "soft", 1)


def test_an_altered_payload_does_not_pass_for_the_one_that_was_learnt() -> None:
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    teacher.run(teacher.sign("create_model", CreateModel(MODELS[0])))
    for _ in range(3):
        teacher.run(teacher.teach(MODELS[0]))
    teacher.run()
    replay = plan_replay(chain.store, "soft", 2)
    other = teacher.draw(MODELS[0], np.array([0, 1, 2]))
    with pytest.raises(CorruptStateError, match="does not come out"):
        replay.run(dict.fromkeys(replay.transaction_ids, other))


def test_versions_of_a_model_that_is_not_there_are_unknown() -> None:
    assert refusal_of(Chain(NETWORK, MemoryKeyValueStore()), "nobody", 0) == "unknown_version"


def test_nothing_comes_of_a_start_whose_chunks_are_lost() -> None:
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    teacher.run(teacher.sign("create_model", CreateModel(MODELS[0])))
    for _ in range(3):
        teacher.run(teacher.teach(MODELS[0]))
    teacher.run()
    chain.values.write([], [key for key, _ in chain.values.iterate(b"k/", b"k0")], sync=True)
    assert refusal_of(chain, "soft", 2) == "version_retired"


def test_a_gap_in_the_records_is_a_corrupt_disk() -> None:
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    teacher.run(teacher.sign("create_model", CreateModel(MODELS[0])))
    lessons = [teacher.teach(MODELS[0]) for _ in range(3)]
    for lesson in lessons:
        teacher.run(lesson)
    teacher.run()
    lost = contribution_key("soft", 1)
    contribution = chain.store.read(lost, decode_contribution)
    assert contribution is not None
    chain.values.write([], [versioned_key(lost, contribution.height)], sync=True)
    with pytest.raises(CorruptStateError, match="contribution 1 to 'soft' has no record"):
        plan_replay(chain.store, "soft", 2)
    chain.values.write([], [versioned_key(model_version_key("soft", 1), 2)], sync=True)
    with pytest.raises(CorruptStateError, match="version 1 of 'soft' has no record"):
        plan_replay(chain.store, "soft", 2)


def test_a_model_without_parameters_is_a_corrupt_disk() -> None:
    chain = Chain(NETWORK, release_lag=0)
    teacher = Teacher(chain)
    teacher.run(teacher.sign("create_model", CreateModel(MODELS[0])))
    chain.values.write([], [versioned_key(tensors_key("soft"), 1)], sync=True)
    with pytest.raises(CorruptStateError, match="has versions and no parameters"):
        plan_replay(chain.store, "soft", 0)
