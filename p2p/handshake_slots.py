"""How many strangers may be on the doorstep at once.

Until a connection has proven a registered key, it costs us memory and arithmetic and is worth
nothing. So there are few slots. When all are taken the newcomer still gets one: the oldest
connection of whichever address holds most slots loses its own. An honest handshake takes a few
round trips, so whoever wants to keep members out has to be faster than that, again and again, and
not just hold sixteen connections open.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from primitives.errors import InvariantViolationError

__all__ = ["SLOTS_MAX", "HandshakeSlots"]

SLOTS_MAX: Final = 16


class HandshakeSlots:
    """Connections that have not proven who they are.

    Parameters
    ----------
    slots_max
        How many may be under way, > 0.
    """

    def __init__(self, slots_max: int = SLOTS_MAX) -> None:
        if slots_max < 1:
            raise InvariantViolationError(f"slots_max must be positive, found {slots_max}")
        self._slots_max = slots_max
        self._address_by_ticket: dict[int, str] = {}
        self._ticket_next = 0

    def __len__(self) -> int:
        return len(self._address_by_ticket)

    def admit(self, address: str) -> tuple[int, int | None]:
        """Give a slot to a connection from an address.

        Returns
        -------
        tuple of int and (int or None)
            The ticket to hand to :meth:`leave`, and the ticket of the connection that must go.
        """
        evicted = self._evict() if len(self) >= self._slots_max else None
        ticket = self._ticket_next
        self._ticket_next += 1
        self._address_by_ticket[ticket] = address
        return ticket, evicted

    def leave(self, ticket: int) -> None:
        """Give a slot back: its connection proved a key, failed, or had to go."""
        self._address_by_ticket.pop(ticket, None)

    def _evict(self) -> int:
        # Counted in the order of arrival, which also decides between addresses with equal counts.
        [(busiest, _)] = Counter(self._address_by_ticket.values()).most_common(1)
        ticket = next(t for t, address in self._address_by_ticket.items() if address == busiest)
        del self._address_by_ticket[ticket]
        return ticket
