"""The client: everything that a contributor, consumer or model owner does, from Python.

>>> client = Client("http://127.0.0.1:8080", private_key=key)          # doctest: +SKIP
>>> client.create_model("digits", family="nearest_centroid", feature_count=64,
...                     class_names="0123456789", scale=1 / 16)        # doctest: +SKIP
>>> client.contribute("digits", features, labels)                      # doctest: +SKIP
>>> client.predict("digits", features[:3]).class_names                 # doctest: +SKIP
('0', '1', '2')
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from ledger.payload import Payload
from ml_runtime.encoders import Encoder
from ml_runtime.samples import encode_batch, sample_count
from primitives.codec import Encodable
from primitives.errors import InvalidInputError
from primitives.keys import PrivateKey
from quorate import bodies
from quorate.batches import encode_groups, encode_samples, encode_targets, make_tensors
from quorate.bodies import Incentive, ModelDefinition, Policies
from quorate.campaigns import Campaigns
from quorate.connection import Connection
from quorate.errors import NotFinalError, NotFoundError, TransactionFailedError
from quorate.exchanges import Exchanges
from quorate.governance import Governance
from quorate.lifecycle import Lifecycle
from quorate.recognition import Recognition
from quorate.records import (
    Account,
    Block,
    Contribution,
    Model,
    Prediction,
    Status,
    Transaction,
    Version,
)
from quorate.sender import Sender
from quorate.sponsorship import Sponsorship
from quorate.staking import Staking

__all__ = ["Client"]

PAGE_LIMIT = 200
WAIT_S_DEFAULT = 30.0
WAIT_S_PER_REQUEST = 20.0
POLL_PAUSE_S = 0.05

OUTPUTS = {
    "classification": ("label", "class_name", "probabilities"),
    "regression": ("value",),
    "clustering": ("label", "probabilities"),
    "outliers": ("score",),
}
"""What a prediction asks for, by what the model is for."""

CAMPAIGN_MECHANISMS = ("prediction_market", "contribution_pay")
"""Mechanisms of models that take contributions in campaigns alone, each with the same stake."""

PRICE_PER_WEIGHT_MAX = 3600
"""A sample's price is at most this times the model's weight: right after another update."""


class Client:
    """A connection to one node, and an account if there is a key.

    Parameters
    ----------
    url : of the node, ``http://127.0.0.1:8080``.
    private_key : of the account that acts: a key or its 32 secret bytes. Reading needs none.
    timeout_s : seconds to wait for an answer.
    fee_limit : most that each transaction may pay as fee, in the smallest unit.
    account : ``qr1…`` that the key signs for; needed once the account's key was rotated.
    transport : replaces the network, for tests and for programs that bring their own.

    Notes
    -----
    Methods that change the ledger return once the change is final, or at once with ``wait=False``;
    the transaction is then ``pending`` and :meth:`wait` can wait for it. All of them raise
    ``RefusedError`` when the node does not take the transaction, ``TransactionFailedError`` when it
    is final without effect, ``NotFinalError`` when that takes too long, and ``UnreachableError``.
    """

    def __init__(
        self,
        url: str,
        private_key: PrivateKey | bytes | None = None,
        *,
        timeout_s: float = 30.0,
        fee_limit: int = 0,
        account: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = Connection(url, timeout_s=timeout_s, transport=transport)
        self._sender: Sender | None = None
        if private_key is not None:
            key = private_key if isinstance(private_key, PrivateKey) else PrivateKey(private_key)
            self._sender = Sender(self._connection, key, fee_limit=fee_limit, account=account)
        self._models: dict[str, Model] = {}
        self.governance = Governance(
            self._connection,
            self._get_sender,
            lambda kind, body: self._submit(kind, body, wait=True),
        )
        """Members, proposals, votes and keys."""
        self.lifecycle = Lifecycle(
            self._connection,
            lambda kind, body, data: self._submit(kind, body, data=data, wait=True),
            self.model,
            self.create_model,
        )
        """What the owner of a model does with it."""
        self.campaigns = Campaigns(
            self._connection,
            lambda kind, body, data: self._submit(kind, body, data=data, wait=True),
            self.lifecycle.make_validation_piece,
            self._list,
        )
        """Prediction markets and contribution pay."""
        self.exchanges = Exchanges(
            self._connection,
            self._get_sender,
            lambda kind, body, data: self._submit(kind, body, data=data, wait=True),
            self.model,
        )
        """Bounties for the best model."""
        context = (
            self._connection,
            self._get_sender,
            lambda kind, body: self._submit(kind, body, wait=True),
            self._list,
        )
        self.stakes = Staking(*context)
        """Stakes on validators, rewards and supply."""
        self.recognition = Recognition(*context)
        """Badges, leaderboards and voluntary fees."""
        self.sponsorship = Sponsorship(self._get_sender, self._make_contribution, self.wait)
        """Contributions that somebody else pays for."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._connection.close()

    def status(self) -> Status:
        """Return where the chain stands, as the node sees it."""
        return Status.from_json(self._connection.get("/api/v1/status"))

    def account(self, account: str | None = None, *, height: int | None = None) -> Account:
        """Return an account, one's own if none is named, now or as of a final block."""
        name = self._get_sender().account if account is None else account
        body = self._connection.get(f"/api/v1/accounts/{name}", {"height": height})
        return Account.from_json(body)

    def blocks(self, limit: int = 50) -> list[Block]:
        """Return the newest final blocks, newest first."""
        return [Block.from_json(item) for item in self._list("/api/v1/blocks", limit)]

    def block(self, height: int) -> Block:
        """Return a final block."""
        return Block.from_json(self._connection.get(f"/api/v1/blocks/{height}"))

    def transaction(self, transaction_id: str) -> Transaction:
        """Return a transaction; raises ``NotFoundError`` if the node does not know it."""
        body = self._connection.get(f"/api/v1/transactions/{transaction_id}")
        return Transaction.from_json(body)

    def wait(self, transaction_id: str, *, timeout_s: float = WAIT_S_DEFAULT) -> Transaction:
        """Return a transaction once it is final and took effect.

        Parameters
        ----------
        transaction_id : hexadecimal.
        timeout_s : seconds to wait.

        Raises
        ------
        TransactionFailedError
            It is final, and failed or was void.
        NotFinalError
            It is not final in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline_s - time.monotonic())
            transaction = self._ask_final(transaction_id, min(left_s, WAIT_S_PER_REQUEST))
            if transaction is not None:
                break
            if left_s <= 0:
                raise NotFinalError(transaction_id, timeout_s)
            time.sleep(min(left_s, POLL_PAUSE_S))
        if transaction.status != "ok":
            if transaction.status == "void" and self._sender is not None:
                # Its nonce was not used; the node knows which one is next.
                self._sender.forget_nonce()
            raise TransactionFailedError(transaction)
        return transaction

    def models(self) -> list[Model]:
        """Return all models by name."""
        return [Model.from_json(item) for item in self._list("/api/v1/models", None)]

    def model(self, name: str, *, height: int | None = None) -> Model:
        """Return a model, now or as of a final block."""
        body = self._connection.get(f"/api/v1/models/{name}", {"height": height})
        return Model.from_json(body)

    def versions(self, model: str, limit: int | None = None) -> list[Version]:
        """Return versions of a model, newest first: its accuracy over block heights."""
        path = f"/api/v1/models/{model}/versions"
        return [Version.from_json(item) for item in self._list(path, limit)]

    def contributions(self, model: str, limit: int | None = None) -> list[Contribution]:
        """Return contributions to a model, newest first."""
        path = f"/api/v1/models/{model}/contributions"
        return [Contribution.from_json(item) for item in self._list(path, limit)]

    def contribution(self, model: str, sequence: int) -> Contribution:
        """Return one contribution."""
        path = f"/api/v1/models/{model}/contributions/{sequence}"
        return Contribution.from_json(self._connection.get(path))

    def predict(
        self,
        model: str,
        features: Any,
        *,
        version: int | str | None = None,
        height: int | None = None,
    ) -> Prediction:
        """Return predictions, free of charge.

        Parameters
        ----------
        model : name of the model.
        features : rows of numbers, shape (n_samples, n_features), or a SciPy sparse matrix, which
            only a sparse model takes; or what else the model's encoder takes.
        version : which version answers, by number or alias; else the one in force.
        height : the version in force after that block answers.

        Raises
        ------
        InvalidInputError
            The features are not what the model takes.
        RefusedError
            The node says so; ``NotFoundError`` for an unknown model, version or height.
        """
        described = self._get_model(model)
        path = f"/v2/models/{model}"
        if version is not None:
            path += f"/versions/{version}"
        body = {
            "inputs": make_tensors(
                features, described.layout, described.feature_count, described.encoder
            ),
            "outputs": [{"name": name} for name in OUTPUTS.get(described.task, ())],
        }
        answer = self._connection.post(f"{path}/infer", body, {"height": height})
        return Prediction.from_json(answer)

    def transfer(self, recipient: str, amount: int, *, wait: bool = True) -> Transaction:
        """Send money, in the smallest unit, to ``qr1…``."""
        return self._submit(bodies.TRANSFER, bodies.make_transfer(recipient, amount), wait=wait)

    def create_model(
        self,
        name: str,
        *,
        family: str,
        feature_count: int,
        class_names: Sequence[str] = (),
        layout: str = "dense",
        parameters: Mapping[str, int] | None = None,
        scale: float = 1.0,
        offset: float = 0.0,
        encoder: Encoder | None = None,
        incentive: Incentive | None = None,
        description: str = "",
        licence: str = "",
        guidelines: str = "",
        groups: Sequence[str] = (),
        tensors: Mapping[str, tuple[int, ...]] | None = None,
        policies: Policies | None = None,
        wait: bool = True,
    ) -> Transaction:
        """Create a model; this account becomes its owner.

        Parameters
        ----------
        name : 1 to 63 of ``a-z 0-9 -``; also its identifier.
        family : one of ``GET /api/v1/families``: ``softmax_regression``, ``ridge`` and so on.
        feature_count : numbers of a sample.
        class_names : one for each class, distinct; none for a model of numbers, groups or outliers.
        layout : ``dense`` or ``sparse``.
        parameters : settings of the family.
        scale, offset : a feature x enters the model as x · scale + offset.
        encoder : how inputs of another kind enter it, in place of scale and offset.
        incentive : what contributions cost and earn; karma alone if left out.
        description, licence, guidelines : for people; the licence is an SPDX expression.
        groups : sites, regions or cohorts that samples may name; accuracy is counted for each.
        tensors : names and shapes, for the family ``external_tensors`` alone.
        policies : how it may grow, what a drift does, which versions are kept.
        wait : return only once the model exists.
        """
        definition = ModelDefinition(
            name=name,
            family=family,
            feature_count=feature_count,
            class_names=tuple(class_names),
            layout=layout,
            parameters=parameters or {},
            encoder=encoder or bodies.make_encoder(scale, offset),
            incentive=incentive or Incentive(),
            description=description,
            licence=licence,
            guidelines=guidelines,
            groups=tuple(groups),
            tensors=tensors,
            policies=policies,
        )
        return self._submit(bodies.CREATE_MODEL, bodies.make_create_model(definition), wait=wait)

    def contribute(
        self,
        model: str,
        features: Any,
        labels: Any = None,
        *,
        groups: Any = None,
        max_deposit: int | None = None,
        karma: int = 0,
        wait: bool = True,
    ) -> Transaction:
        """Send samples; ``result["sequence"]`` numbers the contribution.

        Parameters
        ----------
        model : name of the model.
        features : rows of numbers, shape (n_samples, n_features), or a SciPy sparse matrix; as many
            samples as the network allows, 1,024 by default; or what else the model's encoder takes.
        labels : one class number or class name for each sample; one number for a model of numbers;
            left out for a model of groups or outliers.
        groups : to which of the model's groups each sample belongs, by number or name.
        max_deposit : most that may be held as deposit for all samples together; if left out, the
            most that the model's terms can ever ask for, or the stake of its campaign.
        karma : most points of the own karma on the model to be staked for all samples together, in
            place of a part of the money, as the model's terms allow.
        wait : return only once the model has learnt them.

        Raises
        ------
        InvalidInputError
            ``wrong_feature_count``, ``feature_not_finite``, ``feature_out_of_range``,
            ``unknown_class``, ``unknown_group`` or ``malformed``: nothing was sent.
        """
        body, data = self._make_contribution(
            model, features, labels, groups=groups, max_deposit=max_deposit, karma=karma
        )
        return self._submit(bodies.CONTRIBUTE, body, data=data, wait=wait)

    def refund(
        self, model: str, sequence: int, samples: Sequence[int] = (), *, wait: bool = True
    ) -> Transaction:
        """Take back the deposit of own samples that the model agrees with; all if none is named."""
        return self._submit(bodies.REFUND, [model, sequence, sorted(samples)], wait=wait)

    def report(
        self, model: str, sequence: int, samples: Sequence[int] = (), *, wait: bool = True
    ) -> Transaction:
        """Report samples of others that the model disagrees with; all such if none is named."""
        return self._submit(bodies.REPORT, [model, sequence, sorted(samples)], wait=wait)

    def claim(self, model: str, sequence: int, *, wait: bool = True) -> Transaction:
        """Claim what is left of a deposit, as the model's owner or after the last wait."""
        return self._submit(bodies.CLAIM, [model, sequence], wait=wait)

    def _make_contribution(
        self,
        model: str,
        features: Any,
        labels: Any,
        *,
        groups: Any,
        max_deposit: int | None,
        karma: int,
    ) -> tuple[list[Encodable], bytes]:
        """Return body and payload of a contribution; see :meth:`contribute`."""
        described = self._get_model(model)
        samples = encode_samples(
            features, described.layout, described.feature_count, described.encoder
        )
        count = sample_count(samples)
        kind, targets = encode_targets(labels, described.task, described.class_names, count)
        sites = None if groups is None else encode_groups(groups, described.groups, count)
        if max_deposit is None:
            max_deposit = described.incentive.weight * PRICE_PER_WEIGHT_MAX * count
            if described.incentive.mechanism in CAMPAIGN_MECHANISMS:
                max_deposit = self.campaigns.find_stake(model)
        return [model, max_deposit, count, karma], encode_batch(samples, targets, kind, sites)

    def _submit(
        self,
        kind: int,
        body: Sequence[Encodable],
        *,
        data: bytes | Payload | None = None,
        wait: bool,
    ) -> Transaction:
        transaction_id = self._get_sender().submit(kind, body, data)
        if wait:
            return self.wait(transaction_id)
        return Transaction(transaction_id, "pending", None, "", "", 0, {})

    def _ask_final(self, transaction_id: str, timeout_s: float) -> Transaction | None:
        """Return a transaction if it is final after some seconds at most, else None."""
        parameters = {"wait": "final", "timeout": timeout_s}
        try:
            body = self._connection.get(f"/api/v1/transactions/{transaction_id}", parameters)
        except NotFoundError:
            return None
        transaction = Transaction.from_json(body)
        return None if transaction.status == "pending" else transaction

    def _get_sender(self) -> Sender:
        if self._sender is None:
            raise InvalidInputError(
                "no_private_key", "this needs a private_key, the client has none"
            )
        return self._sender

    def _get_model(self, name: str) -> Model:
        """Return what a model is; asked for once, unless classes and features may be added."""
        known = self._models.get(name)
        if known is None:
            known = self.model(name)
            if known.raw["policies"]["growth"] == "fixed":
                self._models[name] = known
        return known

    def _list(self, path: str, limit: int | None) -> Iterator[Mapping[str, Any]]:
        cursor = None
        left = limit
        while left is None or left > 0:
            page_limit = PAGE_LIMIT if left is None else min(left, PAGE_LIMIT)
            page = self._connection.get(path, {"limit": page_limit, "cursor": cursor})
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return
            left = None if left is None else left - page_limit
