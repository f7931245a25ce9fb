"""How agents settle what was contributed, under the mechanisms that judge samples by the model.

After each of its turns an agent looks through the open contributions, oldest first. It takes back
its own where the model agrees, reports others' where the model disagrees, and takes what is left
once everybody may. It sends only what would be paid as the model is now, which it can find out for
free; a block may change the model before its transaction's turn, which then fails.
"""

from __future__ import annotations

from typing import Final

from incentives.points import Points
from ledger.transactions.contributions import Claim, Judgement
from node.agents.chain import Holder
from node.agents.owner import Owner, teach_by_contributions
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
    owner : of the model; it teaches it first and takes no part after that.
    """

    def __init__(self, world: World, owner: Owner) -> None:
        self._world = world
        self._owner = owner
        self._needs_validated = world.terms.mechanism != Points.name

    @property
    def settling_ms(self) -> int:
        """How long after the last contribution everything can be paid out."""
        return self._world.terms.any_wait_ms

    def prepare(self, count: int) -> None:
        """Teach the model the first samples and leave nothing open."""
        teach_by_contributions(self._owner, self._world, count)

    def begin(self, _start_ms: int) -> None:
        """Do nothing: people begin by themselves."""

    def act(self, _now_ms: int) -> None:
        """Do nothing: people settle what there is by themselves."""

    def respond(self, person: Person, now_ms: int) -> list[Wish]:
        """Return what an agent sends about open contributions after its turn.

        Parameters
        ----------
        person : whose turn it was.
        now_ms : time of the block that will hold it.
        """
        wishes: list[Wish] = []
        terms, agreed = self._world.terms, self._world.find_agreed(now_ms)
        claim_ms = now_ms - terms.any_wait_ms
        own = person.accounts
        for known in self._world.open_contributions:
            # They are in order of time, and what can be settled was judged.
            if known.sequence not in agreed or len(wishes) >= _WISHES_MAX:
                break
            good = known.book.open_samples & agreed[known.sequence]
            bad = known.book.open_samples & ~good
            if known.account in own and good:
                wishes.append(
                    self._judge(person, person.get_holder(known.account), "refund", known)
                )
            elif known.timestamp_ms <= claim_ms:
                wishes.append(self._claim(person, known))
                continue
            if bad:
                reporters = self._find_reporters(person, known, bad)
                wishes += [self._judge(person, each, "report", known) for each in reporters]
        return wishes

    def _find_reporters(self, person: Person, known: KnownContribution, bad: int) -> list[Holder]:
        """Return which accounts of a person would be paid for a report; most made theirs before."""
        return [
            holder
            for holder in person.holders
            if bad & ~known.reported.get(holder.account, 0)
            and holder.account != known.account
            and self._may_report(holder)
        ]

    def _may_report(self, holder: Holder) -> bool:
        """Say whether a report would be paid: where money is shared, by one's validated samples."""
        return not self._needs_validated or self._world.count_valid(holder.account) > 0

    def _judge(self, person: Person, holder: Holder, kind: str, known: KnownContribution) -> Wish:
        body = Judgement(self._world.model, known.sequence).to_fields()
        transaction = self._world.chain.sign(holder, kind, body)
        return Wish(person, kind, transaction, known.sequence)

    def _claim(self, person: Person, known: KnownContribution) -> Wish:
        body = Claim(self._world.model, known.sequence).to_fields()
        transaction = self._world.chain.sign(person.holders[0], "claim", body)
        return Wish(person, "claim", transaction, known.sequence)
