"""Guests: nodes that no registry lists yet, let in on an invitation to read along.

A guest has a number of its own range while it is connected, and limits of its own. Who is let in is
for the owner of the network to say; here is only who is in. Source: docs/spec/p2p.md §7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from p2p.rate_limit import InboundLimits, TokenBucket
from primitives.errors import InvalidInputError

__all__ = ["GUESTS_MAX", "GUEST_NUMBER_FIRST", "Guest", "GuestBook", "GuestCheck"]

GUESTS_MAX: Final = 8
GUEST_NUMBER_FIRST: Final = 2**31

_RATE_DIVISOR: Final = 20
_REMEMBERED_MAX: Final = 256
_CALLS_PER_SECOND: Final = 1
_CALLS_BURST: Final = 5

GuestCheck = Callable[[bytes, bytes], None]
"""Called with a transport key and the invitation shown; raises `InvalidInputError` to refuse."""


@dataclass(slots=True)
class Guest:
    """One guest.

    Parameters
    ----------
    number
        By which the layers above know it.
    public_key
        Of its transport key.
    invitation
        That it showed last.
    limits
        What it may send.
    """

    number: int
    public_key: bytes
    invitation: bytes
    limits: InboundLimits = field(default_factory=lambda: InboundLimits(_RATE_DIVISOR))


class GuestBook:
    """The guests that are connected.

    Parameters
    ----------
    check
        Decides about a stranger; None lets none in.
    """

    def __init__(self, check: GuestCheck | None) -> None:
        self._check = check
        self._guests: dict[bytes, Guest] = {}
        self._calls: dict[bytes, TokenBucket] = {}

    def __iter__(self) -> Iterator[Guest]:
        return iter(list(self._guests.values()))

    def __len__(self) -> int:
        return len(self._guests)

    @property
    def is_open(self) -> bool:
        """Whether strangers may ask to come in."""
        return self._check is not None

    def get(self, number: int) -> Guest | None:
        """Return the guest with a number, or None."""
        return next((each for each in self._guests.values() if each.number == number), None)

    def limit_calls(self, public_key: bytes, now_s: float) -> None:
        """Refuse a stranger that calls too often.

        Raises
        ------
        InvalidInputError
            ``too_many_requests``.
        """
        if public_key not in self._calls and len(self._calls) >= _REMEMBERED_MAX:
            del self._calls[next(iter(self._calls))]
        bucket = self._calls.setdefault(public_key, TokenBucket(_CALLS_PER_SECOND, _CALLS_BURST))
        if not bucket.take(1, now_s):
            raise InvalidInputError(
                "too_many_requests",
                f"the guest with key {public_key.hex()} calls more than {_CALLS_PER_SECOND} times"
                " a second",
                field="connection",
                limit=_CALLS_PER_SECOND,
            )

    def admit(self, public_key: bytes, invitation: bytes) -> Guest:
        """Let a stranger in that has proven a key and shows an invitation.

        Raises
        ------
        InvalidInputError
            ``unknown_peer`` without an invitation, ``too_many_guests``, or as the check refuses.
        """
        if self._check is None or not invitation:
            raise InvalidInputError(
                "unknown_peer",
                f"no member is registered with transport key {public_key.hex()}, and it shows no"
                " invitation",
                field="certificate.public_key",
                value=public_key.hex(),
            )
        self._check(public_key, invitation)
        guest = self._guests.get(public_key)
        if guest is None:
            if len(self._guests) >= GUESTS_MAX:
                raise InvalidInputError(
                    "too_many_guests",
                    f"{GUESTS_MAX} guests are connected already; try another member",
                    field="connection",
                    limit=GUESTS_MAX,
                )
            taken = {each.number for each in self._guests.values()}
            free = (GUEST_NUMBER_FIRST + place for place in range(GUESTS_MAX))
            guest = Guest(next(each for each in free if each not in taken), public_key, invitation)
            self._guests[public_key] = guest
        guest.invitation = invitation
        return guest

    def leave(self, number: int) -> None:
        """Forget a guest that is gone."""
        guest = self.get(number)
        if guest is not None:
            del self._guests[guest.public_key]

    def list_refused(self) -> list[int]:
        """Ask again about every guest; return the numbers of those that may not stay."""
        refused = []
        for guest in self:
            try:
                if self._check is not None:
                    self._check(guest.public_key, guest.invitation)
            except InvalidInputError:
                refused.append(guest.number)
        return refused
