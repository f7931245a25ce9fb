"""What somebody in a run did, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """Counts; money in the smallest unit.

    Parameters
    ----------
    turns : how often it was its turn while people contributed.
    too_dear, no_money : turns that it skipped for the price, or because it could not pay.
    refused : contributions that the ledger refused.
    samples : sent and learnt, or collected.
    validated : of them, by refunds or by their worth in a campaign.
    reported : samples of others that it reported rightly.
    deposited : put in with samples, or promised as bounty.
    refunded : of that, what it got back.
    taken : what it got beyond that: of others' deposits, or as pay.
    karma : points earned, less those lost.
    calls : predictions that it asked for instead.
    supported : paid as voluntary fees.
    collected : got of voluntary fees.
    """

    turns: int = 0
    too_dear: int = 0
    no_money: int = 0
    refused: int = 0
    samples: int = 0
    validated: int = 0
    reported: int = 0
    deposited: int = 0
    refunded: int = 0
    taken: int = 0
    karma: int = 0
    calls: int = 0
    supported: int = 0
    collected: int = 0
