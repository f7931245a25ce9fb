"""Respect and thanks for good work, from Python: ``client.recognition``.

>>> [each.karma for each in client.recognition.leaderboard("digits")]    # doctest: +SKIP
[412, 96, 3]
>>> client.recognition.support("digits", 500)                             # doctest: +SKIP
>>> client.recognition.collect("digits").result["paid"]                   # doctest: +SKIP
'125'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from primitives.codec import Encodable
from quorate import bodies
from quorate.connection import Connection
from quorate.records import Json, Transaction
from quorate.sender import Sender

__all__ = ["Badge", "EarnedBadge", "Leader", "Recognition", "Support"]

Submit = Callable[[int, list[Encodable]], Transaction]
ListPages = Callable[[str, int | None], Iterator[Json]]

LEADERS_DEFAULT = 50


@dataclass(frozen=True, slots=True)
class Badge:
    """A badge that can be earned, on one model (``scope`` is ``model``) or by all work."""

    badge: str
    title: str
    criterion: str
    scope: str


@dataclass(frozen=True, slots=True)
class EarnedBadge:
    """A badge that an account has; ``model`` is None if it was given for all work together."""

    badge: str
    title: str
    model: str | None
    height: int
    timestamp_ms: int

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(**{name: body[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Leader:
    """An account on a leaderboard; karma as far as it has faded."""

    rank: int
    account: str
    karma: int
    validated_samples: int
    reported_samples: int
    badges: int


@dataclass(frozen=True, slots=True)
class Support:
    """Voluntary fees of a model.

    Parameters
    ----------
    model : name of the model.
    voluntary_fee : what its owner suggests; 0 if nothing.
    paid, held : ever paid in; of that, not collected yet.
    validated_samples : of everybody; a payment is shared by them.
    owed : to the account that was asked for, or None.
    """

    model: str
    voluntary_fee: int
    paid: int
    held: int
    validated_samples: int
    owed: int | None

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            model=body["model"],
            voluntary_fee=int(body["voluntary_fee"]),
            paid=int(body["paid"]),
            held=int(body["held"]),
            validated_samples=body["validated_samples"],
            owed=None if body["owed"] is None else int(body["owed"]),
        )


class Recognition:
    """Badges, leaderboards and voluntary fees, for one account; made by :class:`quorate.Client`.

    Parameters
    ----------
    connection : to the node.
    get_sender : returns who signs; raises without a key.
    submit : sends a transaction and returns it once it is final.
    list_pages : yields the items of all pages of a list, or as many as are asked for.
    """

    def __init__(
        self,
        connection: Connection,
        get_sender: Callable[[], Sender],
        submit: Submit,
        list_pages: ListPages,
    ) -> None:
        self._connection = connection
        self._get_sender = get_sender
        self._submit = submit
        self._list_pages = list_pages

    def criteria(self) -> list[Badge]:
        """Return the badges that can be earned, and what for."""
        return [Badge(**item) for item in self._connection.get("/api/v1/badges")["items"]]

    def badges(self, account: str | None = None) -> list[EarnedBadge]:
        """Return the badges of an account, one's own if none is named."""
        name = self._get_sender().account if account is None else account
        items = self._list_pages(f"/api/v1/accounts/{name}/badges", None)
        return [EarnedBadge.from_json(item) for item in items]

    def leaderboard(
        self, model: str | None = None, *, limit: int = LEADERS_DEFAULT, height: int | None = None
    ) -> list[Leader]:
        """Return who has the most karma, on a model or over all of them; 200 at most."""
        question = {"model": model, "limit": limit, "height": height}
        answer = self._connection.get("/api/v1/leaderboard", question)
        return [Leader(**item) for item in answer["items"]]

    def read_support(self, model: str, account: str | None = None) -> Support:
        """Return what a model's owner suggests, what was paid, and what an account is owed."""
        path = f"/api/v1/models/{model}/support"
        return Support.from_json(self._connection.get(path, {"account": account}))

    def support(self, model: str, amount: int) -> Transaction:
        """Pay those whose samples a model was taught with; predictions are free all the same."""
        return self._submit(bodies.SUPPORT_MODEL, [model, amount])

    def collect(self, model: str) -> Transaction:
        """Take one's share of what was paid for a model; ``result["paid"]`` says how much."""
        return self._submit(bodies.COLLECT_SUPPORT, [model])
