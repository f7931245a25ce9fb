"""A chain with models that organisations contribute to, with time, sponsors and karma at hand.

>>> scene = Scene(Terms("points", 0, 0, 0, 0))
>>> scene.validate(scene.accounts[1], 3)
>>> scene.karma(scene.accounts[1]).valid
3
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from incentives.terms import Terms
from ledger.contribution_records import Contribution, contribution_key, decode_contribution
from ledger.karma_records import (
    Karma,
    current_points,
    decode_karma,
    karma_key,
    overall_karma_key,
)
from ledger.leaderboard import read_half_life
from ledger.model_records import ModelDescription
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.receipt import Receipt
from ledger.transactions.contributions import Claim, Contribute, Judgement
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, SparseSamples, TargetKind, encode_batch
from ml_runtime.spec import make_spec
from primitives.codec import Encodable
from tests.helpers.ledger import Chain, TestAccount, make_network, make_salt, make_transaction
from tests.helpers.probe_kind import PROBE_CODE, ProbeKind

LOW, HIGH = [0, 0], [4 * ONE, 4 * ONE]
BALANCE = 10**15


def describe_model(name: str, terms: Terms, **changes: Any) -> ModelDescription:
    """Return a model of two classes, which is sure of itself between `LOW` and `HIGH`."""
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


class _Fields(NamedTuple):
    """The body of a probe."""

    fields: list[Encodable]

    def to_fields(self) -> list[Encodable]:
        return self.fields


class Scene:
    """A model ``shared`` that has learnt one sample of each class from its owner, accounts[0]."""

    def __init__(
        self, terms: Terms, *, accounts: int = 4, parameters: Parameters | None = None
    ) -> None:
        network = make_network(accounts=accounts, balance=BALANCE, parameters=parameters)
        self.chain = Chain(network)
        self.accounts = network.accounts
        self.now_ms = self.chain.tip_header.timestamp_ms
        self.sent = 0
        self.next_sequence: dict[str, int] = {}
        self.create("shared", terms)

    def create(self, name: str, terms: Terms, **changes: Any) -> None:
        """Create a model and teach it a sample of each class."""
        model = CreateModel(describe_model(name, terms, **changes))
        assert self.send(self.accounts[0], "create_model", model).code == "ok"
        spec = model.description.spec
        rows = [[value] * spec.feature_count for value in (0, 4 * ONE)]
        kind = "labels" if spec.class_count else "values"
        first = self.contribute(
            self.accounts[0], rows, [0, 1], model=name, layout=spec.layout, kind=kind
        )
        assert first.code == "ok"

    def send(
        self,
        sender: TestAccount,
        kind: str | int,
        body: Any,
        data: bytes | None = None,
        *,
        sponsor: TestAccount | None = None,
        after_ms: int = 1,
    ) -> Receipt:
        """Run a block with one transaction and check that money still adds up."""
        self.now_ms += after_ms
        self.sent += 1
        transaction = make_transaction(
            self.chain.network,
            sender,
            kind,
            body.to_fields(),
            nonce=self.chain.account(sender.id).nonce,
            payload=None if data is None else Payload(make_salt(self.sent), data),
            sponsor=sponsor,
        )
        block = self.chain.run([transaction], timestamp_ms=self.now_ms)
        self.chain.check_conservation()
        return block.receipts[0]

    def perform(
        self, probe: ProbeKind, action: Callable[[ExecutionContext], object], **options: Any
    ) -> Receipt:
        """Run a block with a transaction of accounts[0] that does what the action does."""

        def act(context: ExecutionContext) -> list[Encodable]:
            action(context)
            return []

        return self.send(self.accounts[0], PROBE_CODE, _Fields(probe.add(act)), **options)

    def contribute(
        self,
        sender: TestAccount,
        features: list[list[int]],
        labels: list[int],
        *,
        model: str = "shared",
        layout: str = "dense",
        kind: TargetKind = "labels",
        max_deposit: int = 2**62,
        karma: int = 0,
        **options: Any,
    ) -> Receipt:
        dense = np.array(features, dtype=np.int64)
        samples: DenseSamples | SparseSamples = DenseSamples(dense)
        if layout == "sparse":
            count, width = dense.shape
            starts = np.arange(count + 1, dtype=np.int64) * width
            indices = np.tile(np.arange(width, dtype=np.int64), count)
            samples = SparseSamples(starts, indices, dense.reshape(-1), width)
        data = encode_batch(samples, np.array(labels, dtype=np.int64), kind)
        body = Contribute(model, max_deposit, len(labels), karma)
        receipt = self.send(sender, "contribute", body, data, **options)
        if receipt.code == "ok":
            self.next_sequence[model] = int(receipt.data[0]) + 1  # type: ignore[call-overload]
        return receipt

    def refund(self, sender: TestAccount, sequence: int, *samples: int, **options: Any) -> Receipt:
        return self._judge("refund", sender, sequence, samples, **options)

    def report(self, sender: TestAccount, sequence: int, *samples: int, **options: Any) -> Receipt:
        return self._judge("report", sender, sequence, samples, **options)

    def _judge(
        self,
        kind: str,
        sender: TestAccount,
        sequence: int,
        samples: tuple[int, ...],
        *,
        model: str = "shared",
        **options: Any,
    ) -> Receipt:
        return self.send(sender, kind, Judgement(model, sequence, samples), **options)

    def claim(self, sender: TestAccount, sequence: int, **options: Any) -> Receipt:
        return self.send(sender, "claim", Claim("shared", sequence), **options)

    def validate(
        self, sender: TestAccount, samples: int, *, model: str = "shared", wait_ms: int = 0
    ) -> None:
        """Contribute good samples and have them validated."""
        sent = self.contribute(sender, [LOW] * samples, [0] * samples, model=model)
        assert sent.code == "ok"
        sequence = self.next_sequence[model] - 1
        assert self.refund(sender, sequence, model=model, after_ms=wait_ms).code == "ok"

    def contribution(self, sequence: int, model: str = "shared") -> Contribution:
        found = self.chain.store.read(contribution_key(model, sequence), decode_contribution)
        assert found is not None
        return found

    def karma(self, account: TestAccount, model: str = "shared") -> Karma:
        """Return the record of an account; overall if the model is empty."""
        key = karma_key(account.id, model) if model else overall_karma_key(account.id)
        return self.chain.store.read(key, decode_karma) or Karma()

    def points(self, account: TestAccount, model: str = "shared") -> int:
        """Return the points of an account as of the tip."""
        half_life_ms = read_half_life(self.chain.store, model)
        return current_points(self.karma(account, model), self.now_ms, half_life_ms)

    def balance(self, account: TestAccount) -> int:
        return self.chain.account(account.id).balance
