"""Whoever made the model: teaches it first, and provides the campaigns if there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ledger.payload import Payload
from ledger.receipt import Receipt, ReceiptStatus
from ledger.transactions.contributions import Claim
from ml_runtime.samples import Integers, Samples, take_samples
from node.agents.chain import Holder, SimulatedChain
from node.agents.settings import DAY_MS
from node.agents.tally import Tally
from node.agents.world import World
from primitives.codec import Encodable
from primitives.errors import InvalidInputError

__all__ = ["Owner", "cut_first_samples", "teach_by_contributions"]

BATCH_SAMPLES_MAX: Final = 200
BATCH_BYTES_MAX: Final = 400_000


class Owner:
    """The model's owner, and its accounts.

    Parameters
    ----------
    chain : the ledger.
    holder : the account that the model belongs to.
    helper : another account of the same person; a provider's own one would have no say in its
        campaigns.
    start : what both have at first, in the smallest unit.
    """

    def __init__(self, chain: SimulatedChain, holder: Holder, helper: Holder, start: int) -> None:
        self._chain = chain
        self.holder = holder
        self.helper = helper
        self.start = start
        self.tally = Tally()

    def count_money(self) -> int:
        """Return its free money."""
        return sum(self._chain.get_balance(each.account) for each in (self.holder, self.helper))

    def send(
        self,
        kind: str,
        body: Sequence[Encodable],
        data: bytes | Payload | None,
        time_ms: int,
        *,
        as_helper: bool = False,
    ) -> Receipt:
        """Make a block of one transaction.

        Raises
        ------
        InvalidInputError
            It was refused: what the run was told makes no sense to the ledger.
        """
        transaction = self._chain.sign(self.helper if as_helper else self.holder, kind, body, data)
        (receipt,) = self._chain.run([transaction], time_ms)
        if receipt.status is not ReceiptStatus.OK:
            raise InvalidInputError(receipt.code, receipt.message, field=kind)
        return receipt


def cut_first_samples(world: World, count: int) -> list[tuple[Samples, Integers]]:
    """Return the first samples in batches that fit into one contribution each."""
    data = world.data
    row_bytes = 8 * data.feature_count if data.layout == "dense" else 0
    size = max(1, min(BATCH_SAMPLES_MAX, BATCH_BYTES_MAX // max(row_bytes, 1)))
    parts = [np.arange(start, min(start + size, count)) for start in range(0, count, size)]
    return [(take_samples(data.samples, rows), data.labels[rows]) for rows in parts]


def teach_by_contributions(owner: Owner, world: World, count: int) -> None:
    """Contribute the first samples and take all deposits back, so that nothing is left open."""
    chain = world.chain
    batches = cut_first_samples(world, count)
    for samples, labels in batches:
        body, batch = world.describe_contribution(owner.start, samples, labels)
        # A day apart, so that the price has come down.
        owner.send("contribute", body, batch, chain.now_ms + DAY_MS)
    later_ms = chain.now_ms + world.terms.any_wait_ms
    for sequence in range(len(batches)):
        owner.send("claim", Claim(world.model, sequence).to_fields(), None, later_ms)
