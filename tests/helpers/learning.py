"""Small models and samples whose labels are easy to learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import quorate
from quorate.bodies import DAY_MS
from tests.helpers.api import ApiScene
from tests.helpers.ledger import TestAccount

CLASS_NAMES = ("left", "middle", "right")
FEATURE_COUNT = 6
TERMS = quorate.Incentive("deposit_refund_take", 1, 1_500, 5_000, 9_000)


def make_rows(count: int, seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return rows of six numbers, two of which are high: those of the class."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    rows = generator.random((count, FEATURE_COUNT)) / 4
    rows[np.arange(count), 2 * labels] += 1
    rows[np.arange(count), 2 * labels + 1] += 1
    return rows, labels


def connect(scene: ApiScene, account: TestAccount | None = None) -> quorate.Client:
    """Return a client of the scene's API, acting for an account."""
    return quorate.Client(
        "http://node",
        None if account is None else account.key,
        transport=scene.http._transport,
    )


def create(client: quorate.Client, name: str = "sides", **changes: Any) -> None:
    settings: dict[str, Any] = {
        "family": "nearest_centroid",
        "feature_count": FEATURE_COUNT,
        "class_names": CLASS_NAMES,
        "incentive": TERMS,
        "licence": "CC0-1.0",
        "description": "Which pair is high?",
    }
    client.create_model(name, **(settings | changes))


__all__ = ["CLASS_NAMES", "DAY_MS", "FEATURE_COUNT", "TERMS", "connect", "create", "make_rows"]
