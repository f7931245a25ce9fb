"""The models of a `MoneyWorld`, and samples for them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from incentives.terms import Terms
from ledger.model_records import ModelDescription
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, encode_batch
from ml_runtime.spec import make_spec
from tests.helpers.ledger import TestAccount
from tests.helpers.money import MoneyWorld, Order

__all__ = ["CLASSES", "FEATURES", "MODELS", "WILD", "create_models", "make_batch"]

MODELS = {
    "points": Terms("points", 0, 0, 20_000, 60_000),
    "deposits": Terms("deposit_refund_take", 50, 5_000, 30_000, 120_000),
    "karma": Terms(
        "deposit_refund_take",
        200,
        1_000,
        10_000,
        40_000,
        sponsored_samples_max=20,
        karma_price=100,
        karma_percent_max=60,
        karma_half_life_ms=600_000,
        voluntary_fee=500,
    ),
    "free": Terms("deposit_refund_take", 0, 0, 0, 0),
}
FEATURES = 4
CLASSES = 3
WILD = (0, 1, 2**31, 2**62, 2**63 - 1)
"""Amounts at which sums overflow if somebody forgot to look."""


def create_models(world: MoneyWorld, owner: TestAccount, terms: Mapping[str, Terms]) -> None:
    """Let somebody create a model for each kind of terms."""
    orders = [
        Order(owner, "create_model", CreateModel(_describe(name, each)).to_fields())
        for name, each in terms.items()
    ]
    codes = [receipt.code for receipt in world.run_block(orders)]
    assert codes == ["ok"] * len(terms), codes


def make_batch(world: MoneyWorld, count: int) -> bytes:
    """Return samples of classes that lie apart, with a wrong label now and then."""
    rows, labels = [], []
    for _ in range(count):
        label = world.random.randrange(CLASSES)
        row = [ONE * (4 if place == label else 0) for place in range(FEATURES)]
        row[-1] = world.random.randrange(-ONE, ONE)
        rows.append(row)
        is_wrong = world.random.random() < 0.25
        labels.append((label + is_wrong) % CLASSES)
    samples = DenseSamples(np.array(rows, dtype=np.int64))
    return encode_batch(samples, np.array(labels, dtype=np.int64))


def _describe(name: str, terms: Terms) -> ModelDescription:
    return ModelDescription(
        name=name,
        description="",
        spec=make_spec("nearest_centroid", "dense", FEATURES, CLASSES),
        class_names=("red", "green", "blue"),
        encoder=ScaleEncoder(),
        terms=terms,
        licence="CC0-1.0",
        guidelines="",
    )
