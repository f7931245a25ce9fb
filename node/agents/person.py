"""One agent in a run: its accounts, its habits, what it sent and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ledger.transaction import Transaction
from node.agents.chain import Holder
from node.agents.desk import Desk
from node.agents.habits import Habits, draw_deposit
from node.agents.kinds import AgentKind, Sending
from node.agents.settings import UNITS_PER_COIN
from node.agents.tally import Tally
from node.agents.world import World
from primitives.accounts import AccountId

__all__ = ["Person", "Wish"]


@dataclass(frozen=True, slots=True)
class Wish:
    """A transaction that waits for its block, and whose it is.

    Parameters
    ----------
    person : who signed.
    kind : of the transaction, by name.
    transaction : as it enters the block.
    sequence : the contribution that it is about; -1 for a new one.
    sending : what a new contribution holds.
    """

    person: Person
    kind: str
    transaction: Transaction
    sequence: int = -1
    sending: Sending | None = None


@dataclass(slots=True)
class Person:
    """An agent.

    Parameters
    ----------
    number : decides who is first at the same time.
    name : for people, such as ``honest 2``.
    kind, habits : how it behaves.
    holders : its accounts.
    start : what they had at first, in the smallest unit.
    chance : of its habits, not of its data.
    """

    number: int
    name: str
    kind: AgentKind
    habits: Habits
    holders: tuple[Holder, ...]
    start: int
    chance: np.random.Generator
    tally: Tally = field(default_factory=Tally)

    @property
    def accounts(self) -> frozenset[AccountId]:
        """Its accounts."""
        return frozenset(holder.account for holder in self.holders)

    def get_holder(self, account: AccountId) -> Holder:
        """Return what one of its accounts is signed for with."""
        return next(holder for holder in self.holders if holder.account == account)

    def count_money(self, world: World) -> int:
        """Return the free money of all its accounts."""
        return sum(world.chain.get_balance(holder.account) for holder in self.holders)

    def contribute(self, world: World, desk: Desk, block_ms: int) -> Wish | None:
        """Return the contribution of this turn, if it wants one and can afford it.

        Parameters
        ----------
        world, desk : what it knows.
        block_ms : time of the block that will hold it.
        """
        tally = self.tally
        holder = self.holders[tally.turns % len(self.holders)]
        tally.turns += 1
        sending = self.kind.prepare(desk, self.habits)
        tally.calls = desk.calls
        if sending is None:
            return None
        count = len(sending.labels)
        willing = int(draw_deposit(self.habits, self.chance) * UNITS_PER_COIN) * count
        price = world.compute_deposit(block_ms, count)
        if price is None:
            return None
        if price > willing:
            tally.too_dear += 1
            return None
        if price > world.chain.get_balance(holder.account):
            tally.no_money += 1
            return None
        body, data = world.describe_contribution(willing, sending.samples, sending.labels)
        transaction = world.chain.sign(holder, "contribute", body, data)
        return Wish(self, "contribute", transaction, sending=sending)
