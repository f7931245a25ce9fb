"""Voluntary fees: callers pay them now and then, contributors collect their parts at the end."""

from __future__ import annotations

from typing import Final

from incentives.support import SupportShare, settle
from ledger.karma_records import karma_key, read_karma
from ledger.support_records import decode_pot, decode_share, support_pot_key, support_share_key
from ledger.transactions.support import CollectSupport, SupportModel
from node.agents.chain import Holder
from node.agents.owner import Owner
from node.agents.person import Person, Wish
from node.agents.world import World

__all__ = ["collect_fees", "collect_owners_fees", "pay_fee"]

PAYING_SHARE: Final = 0.25
"""Who asked the model something pays its fee so often."""


def pay_fee(person: Person, world: World) -> Wish | None:
    """Return the fee that a caller pays for an answer, if it is in the mood and can be paid."""
    fee = world.terms.voluntary_fee
    if not fee or person.chance.random() >= PAYING_SHARE:
        return None
    holder = person.holders[0]
    # Nobody to be paid, or nothing to pay with.
    if not world.progress.valid or world.chain.get_balance(holder.account) < fee:
        return None
    body = SupportModel(world.model, fee).to_fields()
    return Wish(person, "support_model", world.chain.sign(holder, "support_model", body))


def collect_fees(person: Person, world: World) -> list[Wish]:
    """Return what a contributor sends to get its part; nothing where nothing is owed."""
    body = CollectSupport(world.model).to_fields()
    return [
        Wish(person, "collect_support", world.chain.sign(holder, "collect_support", body))
        for holder in person.holders
        if _is_owed(holder, world)
    ]


def collect_owners_fees(owner: Owner, world: World) -> None:
    """Let the owner have its part: in campaigns it taught the first samples as anybody would."""
    if _is_owed(owner.helper, world):
        body = CollectSupport(world.model).to_fields()
        receipt = owner.send("collect_support", body, None, world.chain.now_ms, as_helper=True)
        owner.tally.collected += sum(each for each in receipt.data if isinstance(each, int))


def _is_owed(holder: Holder, world: World) -> bool:
    pot = world.chain.get(support_pot_key(world.model), decode_pot)
    if pot is None:
        return False
    share = world.chain.get(support_share_key(holder.account, world.model), decode_share)
    valid = read_karma(world.chain, karma_key(holder.account, world.model)).valid
    return settle(pot.pot, SupportShare() if share is None else share.share, valid).owed > 0
