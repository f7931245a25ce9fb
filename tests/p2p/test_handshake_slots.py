from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.handshake_slots import HandshakeSlots
from primitives.errors import InvariantViolationError


def test_slots_are_given_until_they_are_used_up() -> None:
    slots = HandshakeSlots(2)
    assert [slots.admit("a")[1], slots.admit("b")[1]] == [None, None]
    assert slots.admit("c")[1] is not None
    assert len(slots) == 2


def test_the_oldest_of_the_busiest_address_has_to_go() -> None:
    slots = HandshakeSlots(4)
    honest, _ = slots.admit("honest")
    flood = [slots.admit("flood")[0] for _ in range(3)]
    evicted = [slots.admit(address)[1] for address in ("flood", "other", "third")]
    assert evicted == [flood[0], flood[1], flood[2]]
    assert honest not in evicted


def test_a_slot_that_is_left_is_free_again() -> None:
    slots = HandshakeSlots(1)
    ticket, _ = slots.admit("a")
    slots.leave(ticket)
    slots.leave(ticket)
    assert len(slots) == 0
    assert slots.admit("b")[1] is None


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(1, 5))
def test_never_more_slots_than_the_limit_and_no_ticket_twice(
    addresses: list[str], slots_max: int
) -> None:
    slots = HandshakeSlots(slots_max)
    tickets = []
    for address in addresses:
        ticket, evicted = slots.admit(address)
        tickets.append(ticket)
        assert evicted is None or evicted in tickets[:-1]
        assert len(slots) <= slots_max
    assert len(set(tickets)) == len(tickets)


def test_slots_without_room_are_a_mistake_of_ours() -> None:
    with pytest.raises(InvariantViolationError):
        HandshakeSlots(0)
