"""Frozen numbers and bytes of karma, deposits and regions, for other implementations.

``python -m tests.ledger.test_karma_vectors`` writes the file anew; a change of it is a change of
the protocol.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from incentives.activity import ActiveDays
from incentives.deposit import split_price
from incentives.karma import PARTS_MAX, PARTS_PER_POINT, halve
from incentives.support import SupportPot, SupportShare, pay_in, settle
from incentives.terms import Terms
from ledger.badge_records import EarnedBadge, badge_key
from ledger.karma_records import Karma
from ledger.support_records import PotRecord, ShareRecord
from ml_runtime.regions import find_regions
from ml_runtime.samples import DenseSamples
from tests.helpers.ledger import GENESIS_TIME_MS, make_account

VECTORS = Path(__file__).parents[1] / "vectors" / "karma.json"
DAY = GENESIS_TIME_MS // 86_400_000


def fade(parts: int, elapsed_ms: int, half_life_ms: int) -> dict[str, int]:
    return {
        "parts": parts,
        "elapsed_ms": elapsed_ms,
        "half_life_ms": half_life_ms,
        "left": halve(parts, elapsed_ms, half_life_ms),
    }


def split(price: int, points: int, karma_price: int, percent: int) -> dict[str, int]:
    terms = Terms("", 0, 0, 0, 0, karma_price=karma_price, karma_percent_max=percent)
    money, staked = split_price(terms, price, points)
    return {
        "price": price,
        "points": points,
        "karma_price": karma_price,
        "karma_percent_max": percent,
        "money": money,
        "staked": staked,
    }


def build_vectors() -> dict[str, Any]:
    days = ActiveDays()
    noted = [DAY, DAY + 2, DAY + 1, DAY + 2, DAY + 70, DAY + 6, DAY + 7]
    for day in noted:
        days = days.note(day)
    karma = Karma(
        parts=7 * PARTS_PER_POINT + 5,
        as_of_ms=GENESIS_TIME_MS,
        valid=9,
        reported=2,
        contributions=3,
        models=1,
        badges=1,
        sponsored=4,
        days=days,
        classes=0b1000000001,
        regions=1 << 63 | 1,
    )
    pot = pay_in(pay_in(SupportPot(), 10, 3), 2**62, 7)
    share = settle(pot, SupportShare(), 2)
    account = make_account("stranger").id
    rows = [[0, 0, 0], [1, 0, 0], [-1, 0, 0], [5, -7, 3], [-(2**63), 2**63 - 1, 1]]
    regions = find_regions(DenseSamples(np.array(rows, dtype=np.int64)))
    return {
        "fading": [
            fade(PARTS_MAX, 1, 3),
            fade(PARTS_MAX, 10**12, 10**12 + 1),
            fade(1_000 * PARTS_PER_POINT, 86_400_000, 30 * 86_400_000),
            fade(1_000 * PARTS_PER_POINT, 63 * 60_000, 60_000),
            fade(PARTS_MAX, 64 * 60_000, 60_000),
            fade(3, 1, 315_360_000_000),
            fade(12_345, 5, 0),
        ],
        "deposits": [split(36_000, 21, 100, 50), split(36_000, 999, 700, 33), split(5, 9, 7, 100)],
        "days": {
            "noted": noted,
            "count": days.count,
            "longest_streak": days.longest_streak,
            "last": days.last,
            "recent": f"{days.recent:016x}",
        },
        "regions": [
            {"sample": row, "region": int(r)} for row, r in zip(rows, regions, strict=True)
        ],
        "records": {
            "karma": karma.encode().hex(),
            "no_karma": Karma().encode().hex(),
            "support_pot": PotRecord(pot).encode().hex(),
            "support_share": ShareRecord(share).encode().hex(),
            "badge_key": badge_key(account, "all-classes", "shared").hex(),
            "overall_badge_key": badge_key(account, "polymath", "").hex(),
            "badge": EarnedBadge(7, GENESIS_TIME_MS).encode().hex(),
        },
    }


def test_the_numbers_and_bytes_are_those_of_the_frozen_vectors() -> None:
    assert build_vectors() == json.loads(VECTORS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(build_vectors(), indent=1) + "\n", encoding="utf-8")
