"""An exchange on a real chain: models that are good, middling and bad, and a hidden test set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from incentives.exchange import Offer
from incentives.terms import Terms
from ledger.exchange_records import (
    ExchangeProgress,
    Submission,
    commit_to_model,
    decode_exchange_progress,
    decode_submission,
    exchange_progress_key,
    submission_key,
)
from ledger.exchange_terms import ExchangeTerms, Layout
from ledger.model_policies import DEFAULT_POLICIES, ModelPolicies
from ledger.model_records import ModelDescription, decode_model, model_key
from ledger.model_tensors import decode_model_tensors, tensors_key
from ledger.model_versions import PINNED_PREFIX, decode_pinned_version, pinned_version_key
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.receipt import Receipt
from ledger.transactions.contributions import Contribute
from ledger.transactions.exchange_settlement import AdvanceExchange
from ledger.transactions.exchanges import (
    OpenExchange,
    RevealModel,
    ShowExchangePiece,
    SubmitModel,
)
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, encode_batch
from ml_runtime.spec import ModelSpec, make_spec
from tests.helpers.ledger import Chain, TestAccount, make_network, make_salt

BALANCE = 1_000_000
BOUNTY, STAKE = 1_000, 10
LENGTH_MS, WAIT_MS = 10_000, 60_000
LOW, HIGH, EDGE = [0, 0], [4 * ONE, 4 * ONE], [3 * ONE, 3 * ONE]
SPEC = make_spec("nearest_centroid", "dense", 2, 2)
LAYOUT = Layout(2, "dense", 2, -8 * ONE, 8 * ONE)
OFFER = Offer("accuracy", 500_000, BOUNTY, STAKE)
TERMS = ExchangeTerms("cup", "Low or high?", LAYOUT, OFFER, 8, LENGTH_MS, WAIT_MS, 8)
PIECES = (([LOW, HIGH], [0, 1]), ([EDGE, LOW], [1, 0]), ([HIGH], [1]))
HOST, ALICE, BOB, CAROL, DAVE = make_network(accounts=5).accounts

GOOD = ([LOW, HIGH], [0, 1])
"""All five test samples right."""
MIDDLING = ([LOW, [7 * ONE, 7 * ONE]], [0, 1])
"""Four right: the sample at the edge is nearer to the wrong centre."""
BAD = ([LOW, HIGH], [1, 0])
"""None right."""


def make_data(rows: list[list[int]], targets: list[int], kind: Any = "labels") -> bytes:
    samples = DenseSamples(np.array(rows, dtype=np.int64))
    return encode_batch(samples, np.array(targets, dtype=np.int64), kind)


def make_pieces(pieces: Any = PIECES, kind: Any = "labels") -> tuple[Payload, ...]:
    """Return the payloads of a test set, each with a salt of its own."""
    return tuple(
        Payload(make_salt(1_000 + place), make_data(rows, targets, kind))
        for place, (rows, targets) in enumerate(pieces)
    )


class Fair:
    """A chain on which money is counted after every block."""

    def __init__(
        self,
        terms: ExchangeTerms = TERMS,
        pieces: tuple[Payload, ...] | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        network = make_network(accounts=5, balance=BALANCE, parameters=parameters)
        self.chain = Chain(network)
        self.now_ms = self.chain.tip_header.timestamp_ms
        self.salts = 0
        self.terms = terms
        self.pieces = make_pieces() if pieces is None else pieces

    def send(
        self,
        sender: TestAccount,
        kind: str,
        body: Any,
        payload: Payload | None = None,
        after_ms: int = 1,
    ) -> Receipt:
        """Run a block with one transaction."""
        self.now_ms += after_ms
        fields = body if isinstance(body, list) else body.to_fields()
        block = self.chain.submit(sender, kind, fields, payload, timestamp_ms=self.now_ms)
        self.chain.check_conservation()
        return block.receipts[0]

    def wait(self, milliseconds: int) -> None:
        """Let time pass before the next block."""
        self.now_ms += milliseconds

    def train(
        self,
        owner: TestAccount,
        name: str,
        data: tuple[list[list[int]], list[int]],
        spec: ModelSpec = SPEC,
        kind: Any = "labels",
        *,
        times: int = 1,
        policies: ModelPolicies = DEFAULT_POLICIES,
    ) -> None:
        """Create a model and teach it."""
        description = ModelDescription(
            name=name,
            description="",
            spec=spec,
            class_names=tuple(str(number) for number in range(spec.class_count)),
            encoder=ScaleEncoder(),
            terms=Terms("points", 0, 0, 0, 0),
            licence="CC0-1.0",
            guidelines="",
            policies=policies,
        )
        assert self.send(owner, "create_model", CreateModel(description)).code == "ok"
        for _ in range(times):
            assert self.teach(owner, name, data, kind).code == "ok"

    def teach(
        self,
        sender: TestAccount,
        name: str,
        data: tuple[list[list[int]], list[int]],
        kind: Any = "labels",
    ) -> Receipt:
        self.salts += 1
        payload = Payload(make_salt(self.salts), make_data(*data, kind))
        return self.send(sender, "contribute", Contribute(name, 0, len(data[1])), payload)

    def open(self, **changes: Any) -> Receipt:
        """Open the exchange."""
        self.terms = replace(self.terms, **changes)
        commitments = tuple(piece.commitment for piece in self.pieces)
        return self.send(HOST, "open_exchange", OpenExchange(self.terms, commitments))

    def seal(self, account: TestAccount, model: str) -> bytes:
        """Return an account's commitment to a model as it is now, salted with its name."""
        found = self.chain.store.read(model_key(model), decode_model)
        tensors = self.chain.store.read(tensors_key(model), decode_model_tensors)
        assert found is not None and tensors is not None
        spec = found.description.spec
        return commit_to_model(salt_of(model), account.id, spec, tensors.digest)

    def submit(
        self, account: TestAccount, model: str, *, max_stake: int = STAKE, after_ms: int = 1
    ) -> Receipt:
        body = SubmitModel(self.terms.name, self.seal(account, model), max_stake)
        return self.send(account, "submit_model", body, after_ms=after_ms)

    def version(self, model: str) -> int:
        """Return the number of a model's version in force; 0 if there is no such model."""
        tensors = self.chain.store.read(tensors_key(model), decode_model_tensors)
        return 0 if tensors is None else tensors.version

    def reveal(
        self, account: TestAccount, model: str, *, version: int | None = None, after_ms: int = 1
    ) -> Receipt:
        """Open what an account submitted, by the version in force unless told otherwise."""
        number = self.version(model) if version is None else version
        body = RevealModel(self.terms.name, model, number, salt_of(model))
        return self.send(account, "reveal_model", body, after_ms=after_ms)

    def show(self, piece: int, *, after_ms: int = 1, sender: TestAccount = HOST) -> Receipt:
        body = ShowExchangePiece(self.terms.name, piece)
        return self.send(sender, "show_exchange_piece", body, self.pieces[piece], after_ms)

    def show_all(self) -> None:
        for piece in range(len(self.pieces)):
            assert self.show(piece).code == "ok"

    def advance(
        self, items: int = 1_024, *, after_ms: int = 1, sender: TestAccount = DAVE
    ) -> Receipt:
        body = AdvanceExchange(self.terms.name, items)
        return self.send(sender, "advance_exchange", body, after_ms=after_ms)

    def references(self, model: str, version: int) -> int:
        """Return how often a version is pinned."""
        found = self.chain.store.read(pinned_version_key(model, version), decode_pinned_version)
        return 0 if found is None else found.references

    def pins(self) -> dict[bytes, int]:
        """Return how often each version of all models is pinned, those by windows among them."""
        found = self.chain.store.scan(PINNED_PREFIX, limit=10_000)
        return {key: decode_pinned_version(value).references for key, value in found}

    @property
    def progress(self) -> ExchangeProgress:
        key = exchange_progress_key(self.terms.name)
        found = self.chain.store.read(key, decode_exchange_progress)
        assert found is not None
        return found

    def submission(self, account: TestAccount) -> Submission:
        key = submission_key(self.terms.name, account.id)
        found = self.chain.store.read(key, decode_submission)
        assert found is not None
        return found

    def gain(self, account: TestAccount) -> int:
        """Return what an account has more than at first."""
        return self.chain.account(account.id).balance - BALANCE


def salt_of(model: str) -> bytes:
    return model.encode().ljust(32, b".")


def hold_fair(
    models: dict[TestAccount, Any],
    prepare: Callable[[Fair], None] | None = None,
    **changes: Any,
) -> Fair:
    """Return a fair whose test set is shown; each account submitted and opened a model of its own.

    A model is named after its owner's place among the accounts.
    """
    fair = Fair()
    for account, data in models.items():
        fair.train(account, name_of(account), data)
    assert fair.open(**changes).code == "ok"
    for account in models:
        assert fair.submit(account, name_of(account)).code == "ok"
    fair.wait(LENGTH_MS)
    for account in models:
        assert fair.reveal(account, name_of(account)).code == "ok"
    if prepare is not None:
        prepare(fair)
    fair.show_all()
    return fair


def name_of(account: TestAccount) -> str:
    return "model-" + account.id.hex()[:8]
