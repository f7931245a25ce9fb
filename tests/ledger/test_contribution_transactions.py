"""Models are created, taught and settled through the executor, each failure by its code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incentives.terms import Terms
from ledger.admission import check_stateless
from ledger.contribution_records import (
    Contribution,
    contribution_key,
    decode_contribution,
    decode_sample_set,
    encode_sample_set,
)
from ledger.karma_records import (
    Karma,
    current_points,
    decode_karma,
    karma_key,
    karma_prefix,
    overall_karma_key,
)
from ledger.model_records import (
    ModelDescription,
    decode_description,
    decode_model,
    decode_model_progress,
    model_key,
    model_progress_key,
)
from ledger.model_tensors import decode_model_version, model_version_key
from ledger.payload import Payload
from ledger.receipt import Receipt, ReceiptStatus
from ledger.transactions.contributions import CONTRIBUTE, REFUND, Claim, Contribute, Judgement
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import HashedWordsEncoder, ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, SparseSamples, encode_batch
from ml_runtime.spec import make_spec
from primitives.errors import InvalidInputError
from tests.helpers.ledger import Chain, TestAccount, make_network, make_salt, make_transaction

OWNER, ALICE, BOB, CAROL = make_network().accounts[:4]
TERMS = Terms("deposit_refund_take", 10, 5_000, 10_000, 20_000)
LOW, HIGH = [0, 0], [4 * ONE, 4 * ONE]
LARGE = make_spec("nearest_centroid", "dense", 1 << 16, 300)
NAMES = tuple(str(number) for number in range(300))


def describe(name: str = "shared", terms: Terms = TERMS, **changes: Any) -> ModelDescription:
    fields: dict[str, Any] = {
        "name": name,
        "description": "",
        "spec": make_spec("nearest_centroid", "dense", 2, 2),
        "class_names": ("low", "high"),
        "encoder": ScaleEncoder(),
        "terms": terms,
        "licence": "CC0-1.0",
        "guidelines": "",
    }
    return ModelDescription(**{**fields, **changes})


class World:
    """A chain with a model that has learnt one sample of each class from its owner."""

    def __init__(self, terms: Terms = TERMS) -> None:
        self.chain = Chain(make_network())
        self.now_ms = self.chain.tip_header.timestamp_ms
        self.salts = 0
        assert self.send(OWNER, "create_model", CreateModel(describe(terms=terms))).code == "ok"
        assert self.contribute(OWNER, [LOW, HIGH], [0, 1]).code == "ok"

    def send(
        self,
        sender: TestAccount,
        kind: str,
        body: Any,
        data: bytes | None = None,
        after_ms: int = 1,
    ) -> Receipt:
        """Run a block with one transaction and check that money still adds up."""
        self.now_ms += after_ms
        self.salts += 1
        payload = None if data is None else Payload(make_salt(self.salts), data)
        block = self.chain.submit(sender, kind, body.to_fields(), payload, timestamp_ms=self.now_ms)
        self.chain.check_conservation()
        return block.receipts[0]

    def contribute(
        self,
        sender: TestAccount,
        features: list[list[int]],
        labels: list[int],
        *,
        model: str = "shared",
        max_deposit: int = 10**9,
        after_ms: int = 1,
    ) -> Receipt:
        samples = DenseSamples(np.array(features, dtype=np.int64))
        data = encode_batch(samples, np.array(labels, dtype=np.int64))
        body = Contribute(model, max_deposit, len(labels))
        return self.send(sender, "contribute", body, data, after_ms)

    def judge(
        self, kind: str, sender: TestAccount, sequence: int, *samples: int, after_ms: int = 5_000
    ) -> Receipt:
        return self.send(sender, kind, Judgement("shared", sequence, samples), after_ms=after_ms)

    def claim(self, sender: TestAccount, sequence: int, after_ms: int) -> Receipt:
        return self.send(sender, "claim", Claim("shared", sequence), after_ms=after_ms)

    def contribution(self, sequence: int) -> Contribution:
        found = self.chain.store.read(contribution_key("shared", sequence), decode_contribution)
        assert found is not None
        return found

    def karma(self, account: TestAccount) -> tuple[int, int]:
        """Return points and validated samples, which are the same on the model and overall."""
        key = karma_key(account.id, "shared")
        assert key.startswith(karma_prefix(account.id))
        on_model = self.chain.store.read(key, decode_karma) or Karma()
        overall = self.chain.store.read(overall_karma_key(account.id), decode_karma) or Karma()
        assert (on_model.parts, on_model.valid) == (overall.parts, overall.valid)
        return current_points(overall, self.now_ms, 0), overall.valid


def test_model_starts_with_nothing_learnt_and_its_owner() -> None:
    chain = Chain(make_network())
    receipt = chain.submit(OWNER, "create_model", CreateModel(describe()).to_fields()).receipts[0]
    assert (receipt.code, list(receipt.data)) == ("ok", ["shared"])
    model = chain.store.read(model_key("shared"), decode_model)
    assert model is not None
    assert (model.owner, model.created_height, model.description) == (OWNER.id, 1, describe())
    progress = chain.store.read(model_progress_key("shared"), decode_model_progress)
    assert progress is not None
    assert (progress.contributions, progress.samples) == (0, 0)
    state = chain.store.load_model_state("shared")
    assert state is not None
    assert not state["sums"].any()


def test_name_is_taken_once() -> None:
    world = World()
    assert world.send(BOB, "create_model", CreateModel(describe())).code == "model_exists"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"spec": make_spec("oracle", "dense", 2, 2)}, "unknown_family"),
        ({"spec": make_spec("nearest_centroid", "dense", 2, 2, {"x": 1})}, "invalid_spec"),
        ({"encoder": HashedWordsEncoder(8)}, "invalid_encoder"),
        ({"terms": Terms("lottery", 0, 0, 0, 0)}, "invalid_incentive"),
        ({"terms": Terms("points", 0, 3, 2, 1)}, "invalid_incentive"),
        (
            {"spec": LARGE, "class_names": NAMES},
            "too_large",
        ),
    ],
)
def test_model_that_cannot_be_is_refused_before_a_block(changes: dict, code: str) -> None:
    network = make_network()
    transaction = make_transaction(
        network, OWNER, "create_model", CreateModel(describe(**changes)).to_fields()
    )
    with pytest.raises(InvalidInputError) as refused:
        check_stateless(transaction, network.chain_id, network.genesis.parameters, 0)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Upper"},
        {"name": ""},
        {"name": "-dash"},
        {"class_names": ("same", "same")},
        {"class_names": ("only",)},
    ],
)
def test_description_out_of_form_is_refused(changes: dict) -> None:
    fields = describe(**changes).to_fields()
    with pytest.raises(InvalidInputError):
        decode_description(fields)


def test_contribution_is_evaluated_then_learnt_and_numbered() -> None:
    world = World()
    receipt = world.contribute(ALICE, [LOW, HIGH, HIGH], [0, 1, 0], after_ms=4_000)
    share = 10 * 3600 // 2
    assert list(receipt.data) == [1, share, 3 * share, 2, 3, 0]
    contribution = world.contribution(1)
    assert (contribution.contributor, contribution.depositor) == (ALICE.id, ALICE.id)
    assert (contribution.correct, contribution.entries, contribution.book.held) == (2, 6, 3 * share)
    progress = world.chain.store.read(model_progress_key("shared"), decode_model_progress)
    assert progress is not None
    assert (progress.contributions, progress.samples, progress.judged) == (2, 5, 5)
    assert progress.last_update_ms == world.now_ms
    version = world.chain.store.read(model_version_key("shared", 2), decode_model_version)
    assert version is not None
    assert (version.samples, version.judged, version.correct) == (5, 5, progress.correct)


@pytest.mark.parametrize(
    ("features", "labels", "options", "code"),
    [
        ([LOW], [0], {"model": "unknown"}, "unknown_model"),
        ([[0]], [0], {}, "wrong_feature_count"),
        ([[9 * ONE, 0]], [0], {}, "feature_out_of_range"),
        ([LOW], [2], {}, "unknown_class"),
        ([LOW], [0], {"max_deposit": 1}, "insufficient_deposit"),
    ],
)
def test_contribution_that_fails_costs_its_nonce_and_nothing_else(
    features, labels, options: dict, code: str
) -> None:
    world = World()
    before = world.chain.account(ALICE.id)
    receipt = world.contribute(ALICE, features, labels, **options)
    assert (receipt.status, receipt.code) == (ReceiptStatus.FAILED, code)
    assert receipt.message
    after = world.chain.account(ALICE.id)
    assert (after.nonce, after.balance) == (before.nonce + 1, before.balance)


def test_deposit_that_cannot_be_paid_fails() -> None:
    world = World()
    poor = make_network(accounts=6).accounts[5]
    assert world.contribute(poor, [LOW], [0]).code == "insufficient_balance"


@pytest.mark.parametrize(
    ("features", "labels", "said", "code"),
    [
        ([LOW] * 1025, [0] * 1025, 1025, "too_many_samples"),
        ([LOW], [0], 2, "malformed_payload"),
    ],
)
def test_payload_is_checked_before_a_block(features, labels, said: int, code: str) -> None:
    network = make_network()
    samples = DenseSamples(np.array(features, dtype=np.int64))
    data = encode_batch(samples, np.array(labels, dtype=np.int64))
    body = Contribute("shared", 0, said).to_fields()
    payload = Payload(make_salt(1), data)
    transaction = make_transaction(network, ALICE, "contribute", body, payload=payload)
    with pytest.raises(InvalidInputError) as refused:
        check_stateless(transaction, network.chain_id, network.genesis.parameters, 0)
    assert refused.value.code == code


def test_checked_payload_is_not_decoded_again() -> None:
    world = World()
    chain = world.chain
    samples = DenseSamples(np.array([LOW], dtype=np.int64))
    data = encode_batch(samples, np.zeros(1, dtype=np.int64))
    transaction = make_transaction(
        chain.network,
        ALICE,
        "contribute",
        Contribute("shared", 10**9, 1).to_fields(),
        nonce=chain.account(ALICE.id).nonce,
        payload=Payload(make_salt(5), data),
    )
    check_stateless(transaction, chain.network.chain_id, chain.network.genesis.parameters, 0)
    assert chain.run([transaction]).receipts[0].code == "ok"


def test_sparse_contribution_counts_its_entries() -> None:
    world = World()
    spec = make_spec("nearest_centroid", "sparse", 2, 2)
    world.send(OWNER, "create_model", CreateModel(describe("sparse", spec=spec)))
    starts, index, value = (np.array(each, dtype=np.int64) for each in ([0, 1], [1], [ONE]))
    data = encode_batch(SparseSamples(starts, index, value, 2), np.zeros(1, dtype=np.int64))
    assert world.send(ALICE, "contribute", Contribute("sparse", 10**9, 1), data).code == "ok"
    found = world.chain.store.read(contribution_key("sparse", 0), decode_contribution)
    assert found is not None
    assert found.entries == 1
    wrong = world.contribute(ALICE, [LOW], [0], model="sparse")
    assert wrong.code == "wrong_layout"


def test_deposit_taken_in_part_comes_back_from_the_state() -> None:
    world = World()
    world.contribute(ALICE, [HIGH], [0])
    for number, actor in enumerate((BOB, CAROL, OWNER), start=2):
        world.contribute(actor, [LOW], [0])
        assert world.judge("refund", actor, number).code == "ok"
    assert world.judge("report", BOB, 1).code == "ok"
    book = world.contribution(1).book
    assert len(book.partial) == 1
    assert 0 < book.held < book.share


def test_contributions_of_one_block_do_not_collide() -> None:
    world = World()
    chain = world.chain
    samples = DenseSamples(np.array([LOW], dtype=np.int64))
    data = encode_batch(samples, np.zeros(1, dtype=np.int64))
    nonce = chain.account(ALICE.id).nonce
    transactions = [
        make_transaction(
            chain.network,
            ALICE,
            "contribute",
            Contribute("shared", 10**9, 1).to_fields(),
            nonce=nonce + number,
            payload=Payload(make_salt(99), data),
        )
        for number in range(2)
    ]
    block = chain.run(transactions)
    assert [receipt.data[0] for receipt in block.receipts] == [1, 2]
    assert world.contribution(1).book == world.contribution(2).book
    chain.check_conservation()


def test_refund_pays_for_each_sample_that_the_model_agrees_with() -> None:
    world = World()
    before = world.chain.account(ALICE.id).balance
    share = world.contribute(ALICE, [LOW, HIGH, HIGH], [0, 1, 0]).data[1]
    assert world.judge("refund", ALICE, 1, after_ms=4_999).code == "too_early"
    done = world.judge("refund", ALICE, 1, 0, after_ms=1)
    assert list(done.data) == [1, share, 1]
    done = world.judge("refund", ALICE, 1)
    assert list(done.data) == [1, share, 1]
    assert world.judge("refund", ALICE, 1).code == "model_disagrees"
    assert world.judge("refund", ALICE, 1, 0, 1).code == "already_claimed"
    assert world.judge("refund", ALICE, 1, 3).code == "unknown_contribution"
    assert world.judge("refund", ALICE, 9).code == "unknown_contribution"
    assert world.judge("refund", BOB, 1).code == "not_contributor"
    assert world.chain.account(ALICE.id).balance == before - share
    assert world.karma(ALICE) == (2, 2)


def test_report_needs_standing_and_takes_its_share() -> None:
    world = World()
    share = world.contribute(ALICE, [HIGH], [0]).data[1]
    world.contribute(BOB, [LOW], [0])
    world.contribute(CAROL, [LOW], [0])
    assert world.judge("report", BOB, 1).code == "no_valid_contributions"
    assert world.judge("refund", BOB, 2).code == "ok"
    assert world.judge("refund", CAROL, 3).code == "ok"
    assert world.judge("report", ALICE, 1).code == "own_contribution"
    assert world.judge("report", BOB, 3).code == "already_claimed"
    assert world.judge("report", BOB, 0).code == "model_agrees"
    assert list(world.judge("report", BOB, 1).data) == [1, share // 2, 1]
    assert world.judge("report", BOB, 1).code == "already_claimed"
    assert list(world.judge("report", CAROL, 1).data) == [1, share - share // 2, 1]
    assert world.karma(BOB) == (2, 1)
    assert world.contribution(1).book.held == 0
    reporters = dict(world.contribution(1).book.reporters)
    assert set(reporters) == {BOB.id, CAROL.id}


def test_owner_claims_before_everybody_else() -> None:
    world = World()
    share = world.contribute(ALICE, [HIGH], [0]).data[1]
    assert world.claim(OWNER, 1, after_ms=9_999).code == "too_early"
    assert world.claim(BOB, 1, after_ms=1).code == "not_owner"
    assert list(world.claim(OWNER, 1, after_ms=1).data) == [share]
    assert world.claim(BOB, 1, after_ms=20_000).code == "already_claimed"
    second = world.contribute(ALICE, [HIGH], [0]).data[1]
    assert list(world.claim(BOB, 2, after_ms=20_000).data) == [second]
    assert world.claim(BOB, 7, after_ms=1).code == "unknown_contribution"


@pytest.mark.parametrize("kind", ["refund", "report"])
def test_judging_an_unknown_model_fails(kind: str) -> None:
    world = World()
    assert world.send(BOB, kind, Judgement("unknown", 0)).code == "unknown_model"
    assert world.send(BOB, "claim", Claim("unknown", 0)).code == "unknown_model"


def test_points_cost_nothing_and_count() -> None:
    world = World(Terms("points", 0, 0, 0, 0))
    before = world.chain.account(ALICE.id).balance
    world.contribute(ALICE, [LOW, HIGH], [0, 0])
    assert list(world.judge("refund", ALICE, 1).data) == [1, 0, 1]
    assert list(world.judge("report", BOB, 1).data) == [1, 0, 1]
    assert world.chain.account(ALICE.id).balance == before
    assert (world.karma(ALICE), world.karma(BOB)) == ((1, 1), (1, 0))


def test_replay_from_stored_payloads_reaches_the_same_roots() -> None:
    world = World()
    world.contribute(ALICE, [LOW, HIGH, HIGH], [0, 1, 0])
    world.judge("refund", ALICE, 1)
    store = world.chain.store
    replay = Chain(make_network(), payloads=world.chain.payloads)
    for height in range(1, store.tip().height + 1):
        header, transactions = store.block(height)
        block = replay.executor.execute(header, transactions)
        assert block.state_root == store.stored_block(height).state_root
        replay.finalize(block)


def test_body_out_of_form_is_refused() -> None:
    for kind, body in (
        (CONTRIBUTE, ["Upper", 0, 1, 0]),
        (CONTRIBUTE, ["shared", 0, 0, 0]),
        (CONTRIBUTE, ["shared", 0, 1]),
        (CONTRIBUTE, ["shared", 0, 1, -2]),
        (CONTRIBUTE, ["shared", 0, 1, 0, 0]),
        (REFUND, ["shared", 0, [1, 1]]),
        (REFUND, ["shared", 0, [2, 1]]),
        (REFUND, ["shared", -1, []]),
    ):
        with pytest.raises(InvalidInputError):
            kind.decode_body(body)


@given(st.integers(0, 2**200))
def test_sample_set_comes_back(samples: int) -> None:
    assert decode_sample_set(encode_sample_set(samples)) == samples


ACTORS = (OWNER, ALICE, BOB, CAROL)


@given(st.data())
@settings(max_examples=25)
def test_money_adds_up_whatever_the_actors_do(data: st.DataObject) -> None:
    world = World()
    for _ in range(data.draw(st.integers(1, 12))):
        actor = data.draw(st.sampled_from(ACTORS))
        sequence = data.draw(st.integers(0, 4))
        after_ms = data.draw(st.sampled_from((1, 2_000, 5_000, 20_000)))
        match data.draw(st.sampled_from(("contribute", "refund", "report", "claim"))):
            case "contribute":
                label = data.draw(st.integers(0, 1))
                world.contribute(actor, [LOW, HIGH], [label, 1], after_ms=after_ms)
            case "claim":
                world.claim(actor, sequence, after_ms)
            case kind:
                world.judge(kind, actor, sequence, after_ms=after_ms)
