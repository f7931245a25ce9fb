"""A hundred thousand random transactions of every kind that moves money: not a unit goes astray."""

from __future__ import annotations

import pytest

from ledger.parameters import Parameters
from tests.helpers.money import MoneyWorld
from tests.helpers.money_deeds import draw_orders, prepare

SEEDS = range(10)
BLOCKS = 500
ORDERS_PER_BLOCK = 20
KINDS_WITH_MONEY = (
    "transfer",
    "contribute",
    "refund",
    "report",
    "claim",
    "report_evidence",
    "open_campaign",
    "show_piece",
    "advance_campaign",
    "open_exchange",
    "submit_model",
    "reveal_model",
    "show_exchange_piece",
    "advance_exchange",
    "stake",
    "unstake",
    "withdraw_stake",
    "set_commission",
    "support_model",
    "collect_support",
)
PARAMETERS = Parameters(
    fee_per_byte=1, fee_per_compute_unit=0, epoch_length=20, issuance_per_epoch=10_001
)


@pytest.mark.parametrize("seed", SEEDS)
def test_money_is_conserved_after_every_transaction(seed: int) -> None:
    world = MoneyWorld(seed, PARAMETERS)
    prepare(world)
    for _ in range(BLOCKS):
        world.run_block(draw_orders(world, ORDERS_PER_BLOCK))
    world.check_held()
    done = {kind for kind, code in world.counts if code == "ok"}
    refused = {code for _, code in world.counts}
    assert sum(world.counts.values()) >= BLOCKS * ORDERS_PER_BLOCK
    assert done >= set(KINDS_WITH_MONEY)
    assert refused >= {"insufficient_balance", "insufficient_deposit", "already_claimed"}
