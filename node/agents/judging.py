"""How agents settle what was contributed, under the mechanisms that judge samples by the model.

After each of its turns an agent looks through the open contributions, oldest first. It takes back
its own where the model agrees, reports others' where the model disagrees, and takes what is left
once everybody may. It sends only what would be paid as the model is now, which it can find out for
free; a block may change the model before its transaction's turn, which then fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from incentives.points import Points
from ledger.transactions.contributions import Claim, Judgement
from node.agents.chain import Holder
from node.agents.person import Person, Wish
from node.agents.world import KnownContribution, World

__all__ = ["Judging"]

_WISHES_MAX: Final = 400
"""Transactions of one turn; what is left over waits for the next one."""


class Judging:
    """Points, and deposit-refund-take.

    Parameters
    ----------
    world : the model and its contributions.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._needs_validated = world.terms.mechanism != Points.name

    @property
    def settling_ms(self) -> int:
        """How long after the last contribution everything can be paid out."""
        return self._world.terms.any_wait_ms

    def respond(self, person: Person, now_ms: int) -> list[Wish]:
        """Return what an agent sends about open contributions after its turn.

        Parameters
        ----------
        person : whose turn it was.
        now_ms : time of the block that will hold it.
        """
        wishes: list[Wish] = []
        refund_ms = now_ms - self._world.terms.refund_wait_ms
        for known in self._world.open_contributions:
            if known.timestamp_ms > refund_ms or len(wishes) >= _WISHES_MAX:
                break
            wishes.extend(self._look_at(person, known, now_ms))
        return wishes

    def _look_at(self, person: Person, known: KnownContribution, now_ms: int) -> Iterator[Wish]:
        opened = known.book.open_samples
        agreed = self._world.find_agreed(known.sequence)
        author = next((each for each in person.holders if each.account == known.account), None)
        if author is not None and opened & agreed:
            yield self._judge(person, author, "refund", known)
            opened &= ~agreed
        if not opened:
            return
        if now_ms - known.timestamp_ms >= self._world.terms.any_wait_ms:
            yield self._claim(person, known)
            return
        for holder in person.holders:
            bad = opened & ~agreed & ~known.book.reported_by(holder.account)
            if bad and holder is not author and self._may_report(holder):
                yield self._judge(person, holder, "report", known)

    def _may_report(self, holder: Holder) -> bool:
        """Say whether a report would be paid: where money is shared, by one's validated samples."""
        return not self._needs_validated or self._world.count_valid(holder.account) > 0

    def _judge(
        self, person: Person, holder: Holder, kind: str, known: KnownContribution
    ) -> Wish:
        body = Judgement(self._world.model, known.sequence).to_fields()
        transaction = self._world.chain.sign(holder, kind, body)
        return Wish(person, kind, transaction, known.sequence)

    def _claim(self, person: Person, known: KnownContribution) -> Wish:
        body = Claim(self._world.model, known.sequence).to_fields()
        transaction = self._world.chain.sign(person.holders[0], "claim", body)
        return Wish(person, "claim", transaction, known.sequence)
