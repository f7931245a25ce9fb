"""A hundred thousand random transactions of every kind that moves money: not a unit goes astray."""

from __future__ import annotations

import pytest

from ledger.parameters import Parameters
from tests.helpers.money import MoneyWorld
from tests.helpers.money_deeds import MODELS, create_models, draw_orders

SEEDS = range(10)
BLOCKS = 100
ORDERS_PER_BLOCK = 100
PARAMETERS = Parameters(
    fee_per_byte=1, fee_per_compute_unit=0, epoch_length=20, issuance_per_epoch=10_001
)


@pytest.mark.parametrize("seed", SEEDS)
def test_money_is_conserved_after_every_transaction(seed: int) -> None:
    world = MoneyWorld(seed, PARAMETERS)
    create_models(world, MODELS)
    for _ in range(BLOCKS):
        world.run_block(draw_orders(world, ORDERS_PER_BLOCK))
    done = {kind for kind, code in world.counts if code == "ok"}
    refused = {code for _, code in world.counts}
    assert done >= {"transfer", "contribute", "refund", "report", "claim"}
    assert refused >= {"insufficient_balance", "insufficient_deposit", "already_claimed"}
