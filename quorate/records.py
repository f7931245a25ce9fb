"""What a client returns: the node's answers as immutable records.

Amounts are whole numbers of the smallest unit of money; accounts are ``qr1…``; hashes are
lower-case hexadecimal; times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from ml_runtime.encoders import Encoder, decode_encoder
from quorate.bodies import Incentive

__all__ = [
    "Account",
    "Block",
    "Contribution",
    "Model",
    "Prediction",
    "Status",
    "Transaction",
    "Version",
]

TransactionStatus = Literal["pending", "ok", "failed", "void"]

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Status:
    """Where the chain stands, as one node sees it.

    ``node_connected`` is False while the API process has lost its node: reads go on, submissions
    do not. ``peers_connected`` and what follows are None then.
    """

    chain_id: str
    height: int
    block_id: str
    state_root: str
    node_connected: bool
    is_ready: bool
    validator_index: int | None
    view: int | None
    peers_connected: int | None
    mempool_transactions: int | None
    raw: Json

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        node = body["node"] or {}
        return cls(
            chain_id=body["chain_id"],
            height=body["height"],
            block_id=body["block_id"],
            state_root=body["state_root"],
            node_connected=body["node"] is not None,
            is_ready=body["is_ready"],
            validator_index=node.get("validator_index"),
            view=node.get("view"),
            peers_connected=node.get("peers_connected"),
            mempool_transactions=node.get("mempool_transactions"),
            raw=body,
        )


@dataclass(frozen=True, slots=True)
class Account:
    """Money, nonce and karma of an account; karma also by model.

    Karma fades; what was validated and reported, and badges, are counted for good. ``public_key``
    is None as long as it is the first one, which the account is made of.
    """

    account: str
    balance: int
    nonce: int
    karma: int
    karma_by_model: Mapping[str, int]
    validated_samples: int
    reported_samples: int
    badges: int
    public_key: str | None

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            account=body["account"],
            balance=int(body["balance"]),
            nonce=int(body["nonce"]),
            karma=body["karma"],
            karma_by_model={item["model"]: item["karma"] for item in body["karma_by_model"]},
            validated_samples=body["validated_samples"],
            reported_samples=body["reported_samples"],
            badges=body["badges"],
            public_key=body["public_key"],
        )


@dataclass(frozen=True, slots=True)
class Block:
    """One final block."""

    height: int
    block_id: str
    parent_id: str
    timestamp_ms: int
    view: int
    proposer: int
    transaction_count: int
    state_root: str

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            height=body["height"],
            block_id=body["block_id"],
            parent_id=body["parent_id"],
            timestamp_ms=body["timestamp_ms"],
            view=body["view"],
            proposer=body["proposer"],
            transaction_count=body["transaction_count"],
            state_root=body["state_root"],
        )


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction and what became of it; without height and receipt while it is pending.

    ``result`` holds what the kind has to tell, by name: the sequence of a contribution, what a
    refund paid.
    """

    transaction_id: str
    status: TransactionStatus
    height: int | None
    code: str
    message: str
    fee: int
    result: Json

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        receipt = body.get("receipt") or {}
        return cls(
            transaction_id=body["transaction_id"],
            status=body["status"],
            height=body.get("height"),
            code=receipt.get("code", ""),
            message=receipt.get("message", ""),
            fee=int(receipt.get("fee", 0)),
            result=receipt.get("result") or {},
        )


@dataclass(frozen=True, slots=True)
class Model:
    """A model: what it is, what it promises, how far it has come.

    ``accuracy`` is that of predictions made before each sample was learnt, None before the first;
    ``raw`` is the whole answer.
    """

    name: str
    owner: str
    family: str
    layout: str
    feature_count: int
    class_names: tuple[str, ...]
    encoder: Encoder
    incentive: Incentive
    licence: str
    task: str
    groups: tuple[str, ...]
    version: int
    contributions: int
    samples: int
    accuracy: float | None
    raw: Json

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        terms, progress = body["incentive"], body["progress"]
        return cls(
            name=body["name"],
            owner=body["owner"],
            family=body["family"],
            layout=body["layout"],
            feature_count=body["feature_count"],
            class_names=tuple(body["class_names"]),
            encoder=decode_encoder(body["encoder"]),
            incentive=Incentive(
                mechanism=terms["mechanism"],
                weight=int(terms["weight"]),
                refund_wait_ms=terms["refund_wait_ms"],
                owner_wait_ms=terms["owner_wait_ms"],
                any_wait_ms=terms["any_wait_ms"],
                sponsored_samples_max=terms["sponsored_samples_max"],
                karma_price=int(terms["karma_price"]),
                karma_percent_max=terms["karma_percent_max"],
                karma_half_life_ms=terms["karma_half_life_ms"],
                voluntary_fee=int(terms["voluntary_fee"]),
            ),
            licence=body["licence"],
            task=body["task"],
            groups=tuple(body["groups"]),
            version=progress["version"],
            contributions=progress["contributions"],
            samples=progress["samples"],
            accuracy=progress["accuracy"],
            raw=body,
        )


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model: made by which block, after how many samples, how good by then."""

    model: str
    version: int
    height: int
    timestamp_ms: int
    samples: int
    accuracy: float | None
    mean_loss: float | None
    origin: str
    digest: str

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            model=body["model"],
            version=body["version"],
            height=body["height"],
            timestamp_ms=body["timestamp_ms"],
            samples=body["samples"],
            accuracy=body["accuracy"],
            mean_loss=body["mean_loss"],
            origin=body["origin"],
            digest=body["digest"],
        )


@dataclass(frozen=True, slots=True)
class Contribution:
    """One contribution: what was put in, and what is left on how many of its samples.

    ``depositor`` paid the deposit: the contributor or a sponsor. ``karma_per_sample`` points stood
    in for a part of it, of which ``karma_held`` can still return.
    """

    model: str
    sequence: int
    transaction_id: str
    contributor: str
    depositor: str
    height: int
    timestamp_ms: int
    samples: int
    correct: int
    deposit: int
    held: int
    open_samples: int
    validated_samples: int
    karma_per_sample: int
    karma_held: int

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            model=body["model"],
            sequence=body["sequence"],
            transaction_id=body["transaction_id"],
            contributor=body["contributor"],
            depositor=body["depositor"],
            height=body["height"],
            timestamp_ms=body["timestamp_ms"],
            samples=body["samples"],
            correct=body["correct"],
            deposit=int(body["deposit"]),
            held=int(body["held"]),
            open_samples=body["open_samples"],
            validated_samples=body["validated_samples"],
            karma_per_sample=body["karma_per_sample"],
            karma_held=body["karma_held"],
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predictions for a batch, and the state that they were made from.

    Parameters
    ----------
    labels : class or group number of each sample; empty for a model of numbers or outliers.
    class_names : the same by name; empty without classes.
    probabilities : per sample, one number for each class, group or part of a mixture; they add up
        to about 1.
    values : per sample, the number that is predicted, or how unusual the sample is.
    model, version : what predicted.
    height, state_root : the final block whose state it was, and the root that certifies it.
    """

    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    values: tuple[float, ...]
    model: str
    version: int
    height: int
    state_root: str

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer; which outputs it holds depends on the model's task."""
        outputs = {tensor["name"]: tensor for tensor in body["outputs"]}
        shares = outputs.get("probabilities") or outputs.get("responsibilities")
        parameters = body["parameters"]
        return cls(
            labels=_get_data(outputs, "label"),
            class_names=_get_data(outputs, "class_name"),
            probabilities=() if shares is None else _cut_rows(shares["data"], shares["shape"][1]),
            values=_get_data(outputs, "value") or _get_data(outputs, "score"),
            model=body["model_name"],
            version=parameters["version"],
            height=parameters["height"],
            state_root=parameters["state_root"],
        )


def _get_data(outputs: Mapping[str, Json], name: str) -> tuple[Any, ...]:
    return tuple(outputs[name]["data"]) if name in outputs else ()


def _cut_rows(flat: list[float], width: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(flat[start : start + width]) for start in range(0, len(flat), width))
