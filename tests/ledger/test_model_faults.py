"""What once stopped every validator, or cost next to nothing and took them seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ledger import execution
from ledger.admission import check_stateless
from ledger.chunk_keeper import RELEASE_LAG
from ledger.layout import chunk_count_key
from ledger.model_policies import ModelPolicies
from ledger.model_records import ModelDescription, decode_model, model_key
from ledger.model_validation import decode_evaluation, evaluation_key
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.receipt import Receipt
from ledger.transaction import Transaction
from ledger.transactions.contributions import Contribute
from ledger.transactions.model_evaluation import (
    CommitValidation,
    DrawSamples,
    EvaluateModel,
    ShowValidation,
)
from ledger.transactions.model_parameters import UNITS_PER_PART, UpdateTensors, UploadPart
from ledger.transactions.model_versions import UNITS_PER_LOADED, ExtendModel, RevertModel, SetAlias
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import HashedWordsEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, SparseSamples, encode_batch
from ml_runtime.spec import make_spec
from primitives.codec import Encodable, encode
from primitives.errors import InvalidInputError
from primitives.hashing import Tag, tagged_hash
from tests.helpers.ledger import Chain, TestAccount, make_network, make_salt, make_transaction
from tests.ledger.test_contribution_transactions import describe

OWNER, ALICE = make_network().accounts[:2]
NAMES = ("one", "two", "one", "three")
EXTERNAL = make_spec("external_tensors", "dense", 1, 0, tensors={"a": (8,)})


class Scene:
    """A chain on which blocks of several transactions are made."""

    def __init__(self, release_lag: int = RELEASE_LAG) -> None:
        self.chain = Chain(make_network(balance=10**15), release_lag=release_lag)
        self._nonces: dict[bytes, int] = {}

    @property
    def next_nonce(self) -> int:
        """The number of the owner's next transaction, which also salts its payload."""
        return self._nonces.get(OWNER.id, 0)

    def sign(
        self, kind: str, body: Any, data: bytes | None = None, sender: TestAccount = OWNER
    ) -> Transaction:
        """Return the sender's next transaction, as a validator admits it."""
        nonce = self._nonces.get(sender.id, 0)
        self._nonces[sender.id] = nonce + 1
        payload = None if data is None else Payload(make_salt(nonce), data)
        fields: Sequence[Encodable] = body if isinstance(body, list) else body.to_fields()
        signed = make_transaction(
            self.chain.network, sender, kind, fields, nonce=nonce, payload=payload
        )
        check_stateless(signed, self.chain.network.chain_id, Parameters(), 0)
        return signed

    def run(self, *transactions: Transaction) -> list[Receipt]:
        """Make a block of transactions final."""
        return list(self.chain.run(transactions).receipts)

    def send(
        self, kind: str, body: Any, data: bytes | None = None, sender: TestAccount = OWNER
    ) -> Receipt:
        """Make a block of one transaction final."""
        return self.run(self.sign(kind, body, data, sender))[0]

    def create(self, description: ModelDescription) -> None:
        """Create a model."""
        assert self.send("create_model", CreateModel(description)).code == "ok"

    def sign_batch(self, name: str, rows: list[list[int]], labels: list[int]) -> Transaction:
        """Return a contribution."""
        body = Contribute(name, 10**12, len(labels))
        return self.sign("contribute", body, make_batch(rows, labels))


def make_batch(rows: list[list[int]], labels: list[int]) -> bytes:
    samples = DenseSamples(np.array(rows, dtype=np.int64))
    return encode_batch(samples, np.array(labels, dtype=np.int64))


def make_update(places: list[int], amounts: list[int]) -> bytes:
    parts = [np.array(each, dtype="<i8").tobytes() for each in (places, amounts)]
    return encode((1, [["a", *parts]]))


def describe_external(name: str = "outside", **changes: Any) -> ModelDescription:
    return describe(name, **{"spec": EXTERNAL, "class_names": (), **changes})


def test_update_far_outside_a_tensor_is_refused() -> None:
    """Places whose difference left int64 passed as ascending, and then stopped the node."""
    scene = Scene()
    scene.create(describe_external())
    with pytest.raises(InvalidInputError, match="ascend"):
        scene.sign(
            "update_tensors",
            UpdateTensors("outside"),
            make_update([0, 1 << 62, -(1 << 63), -(1 << 62), 5], [1] * 5),
        )


def test_new_model_is_asked_for_no_version_in_its_own_block() -> None:
    """It had no descriptor yet, and whoever asked for one stopped the node."""
    scene = Scene()
    mixture = make_spec("gaussian_mixture", "dense", 2, 0, {"groups": 2, "seed_samples": 2})
    data = make_batch([[0, 0]], [0])
    piece = Payload(make_salt(3), data)
    receipts = scene.run(
        scene.sign("create_model", CreateModel(describe("odd", spec=mixture, class_names=()))),
        scene.sign("create_model", CreateModel(describe())),
        scene.sign("commit_validation", CommitValidation("shared", (piece.commitment,))),
        scene.sign("show_validation", ShowValidation("shared", 0), data),
        scene.sign("draw_samples", DrawSamples("odd", bytes(32), 1)),
        scene.sign("set_alias", SetAlias("shared", "first", 0)),
        scene.sign("revert_model", RevertModel("shared", 0)),
    )
    assert [receipt.code for receipt in receipts] == ["ok"] * 3 + ["version_not_held"] * 4


def test_evaluation_is_of_the_version_that_it_names() -> None:
    """A contribution before it in the same block changed what was judged, not the number."""
    scene = Scene()
    scene.create(describe())
    data = make_batch([[0, 0], [4 * ONE, 4 * ONE]], [0, 1])
    piece = Payload(make_salt(2), data)
    assert (
        scene.send("commit_validation", CommitValidation("shared", (piece.commitment,))).code
        == "ok"
    )
    shown = scene.send("show_validation", ShowValidation("shared", 0), data)
    assert list(shown.data) == [0, 2, 1]
    taught, asked = scene.run(
        scene.sign_batch("shared", [[0, 0], [4 * ONE, 4 * ONE]], [0, 1]),
        scene.sign("evaluate_model", EvaluateModel("shared", 0)),
    )
    assert taught.code == "ok"
    assert list(asked.data) == [1, 2, 1]
    record = scene.chain.store.read(evaluation_key("shared", 1), decode_evaluation)
    assert record is not None
    assert (record.version, record.correct) == (0, 1)
    assert list(scene.send("evaluate_model", EvaluateModel("shared", 0)).data) == [2, 2, 2]


def test_model_does_not_outgrow_its_encoder() -> None:
    """Its record did not read back, so that no node could start again."""
    scene = Scene()
    words = HashedWordsEncoder(log2_features=8)
    spec = make_spec("averaged_perceptron", "sparse", 256, 2)
    scene.create(describe(spec=spec, encoder=words, policies=ModelPolicies(growth=1)))
    assert scene.send("extend_model", ExtendModel("shared", (), 512)).code == "cannot_grow"
    assert scene.send("extend_model", ExtendModel("shared", ("third",), 256)).code == "ok"
    scene.chain.store.forget_cached()
    model = scene.chain.store.tip_state.get(model_key("shared"), decode_model)
    assert model is not None
    assert model.description.class_names == ("low", "high", "third")


def test_going_back_to_the_version_in_force_is_metered() -> None:
    """It read and hashed all parameters, 128 MiB at most, for nothing."""
    scene = Scene()
    scene.create(describe(spec=make_spec("nearest_centroid", "dense", 1_000, 2)))
    reverted = scene.send("revert_model", RevertModel("shared", 0))
    unknown = scene.send("revert_model", RevertModel("shared", 5))
    nowhere = scene.send("revert_model", RevertModel("none", 0))
    codes = [each.code for each in (reverted, unknown, nowhere)]
    assert codes == ["ok", "version_not_held", "unknown_model"]
    assert reverted.compute_units - unknown.compute_units == UNITS_PER_LOADED * 2_002


def test_part_of_an_upload_pays_for_the_parts_before_it() -> None:
    """With thousands of them each cost milliseconds, and was metered as its eight bytes."""
    scene = Scene()
    scene.create(describe_external())
    parts = [scene.send("upload_part", UploadPart("outside", "a", at), bytes(8)) for at in range(4)]
    units = [receipt.compute_units for receipt in parts]
    assert np.diff(units).tolist() == [UNITS_PER_PART] * 3


def test_counts_of_shared_chunks_do_not_overflow() -> None:
    """Two to the power of 32 references to the chunk of zeros stopped the commit of the block."""
    scene = Scene()
    zeros = tagged_hash(Tag.CHUNK, bytes(64))
    known = (chunk_count_key(zeros), (2**32 - 1).to_bytes(8, "big"))
    scene.chain.values.write([known], (), sync=False)
    scene.create(describe_external())
    assert scene.chain.values.get(chunk_count_key(zeros)) == (2**32 + 1).to_bytes(8, "big")


def test_judging_wide_or_dense_samples_fits_into_a_block() -> None:
    """It was metered as if every sparse feature were there, or every number a sample."""
    scene = Scene()
    wide = make_spec("averaged_perceptron", "sparse", 1 << 17, 2, {"feature_limit": ONE})
    near = make_spec("nearest_neighbours", "dense", 2, 2)
    scene.create(describe("near", spec=near))
    scene.create(describe("wide", spec=wide))
    dense = make_batch([[0, 0]] * 1_000, [0] * 1_000)
    starts = np.arange(201, dtype=np.int64)
    ones = np.ones(200, dtype=np.int64)
    sparse = encode_batch(SparseSamples(starts, 0 * ones, ones, 1 << 17), 0 * ones)
    for name, data in (("near", dense), ("wide", sparse)):
        piece = Payload(make_salt(scene.next_nonce + 1), data)
        scene.send("commit_validation", CommitValidation(name, (piece.commitment,)))
        assert scene.send("show_validation", ShowValidation(name, 0), data).code == "ok"
        assert scene.send("evaluate_model", EvaluateModel(name, 0)).code == "ok"
    assert scene.send("show_validation", ShowValidation("none", 0), dense).code == "unknown_model"


def test_block_holds_two_large_models_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen bytes each sufficed to have a hundred models of 128 MiB copied and kept."""
    scene = Scene()
    for name in ("one", "two", "three"):
        scene.create(describe_external(name))
    monkeypatch.setattr(execution, "MODEL_BYTES_MAX", 128)
    change = make_update([0], [1])
    codes = [
        receipt.code
        for receipt in scene.run(
            *(scene.sign("update_tensors", UpdateTensors(name), change) for name in NAMES),
            scene.sign("revert_model", RevertModel("three", 0)),
            scene.sign("create_model", CreateModel(describe_external("four"))),
        )
    ]
    assert codes == ["ok", "ok", "ok", "models_full", "models_full", "models_full"]
    assert scene.send("update_tensors", UpdateTensors("three"), change).code == "ok"
    assert scene.send("create_model", CreateModel(describe_external("four"))).code == "ok"
    for name in ("one", "two", "three"):
        state = scene.chain.store.load_model_state(name)
        assert state is not None
        assert int(state["a"][0]) == NAMES.count(name)
