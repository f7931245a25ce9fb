"""Stakes on validators, and what an epoch earns, from Python: ``client.stakes``.

>>> pool = client.stakes.pools()[0]                                       # doctest: +SKIP
>>> pool.name, pool.commission_basis_points                               # doctest: +SKIP
('hospital-a', 500)
>>> client.stakes.stake(pool.validator, 10_000).result                    # doctest: +SKIP
{'shares': '10000', 'paid': '10000'}
>>> client.stakes.unstake(pool.validator).result["epoch"]                 # doctest: +SKIP
12
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from primitives.accounts import account_from_text
from primitives.codec import Encodable
from quorate import bodies
from quorate.connection import Connection
from quorate.records import Json, Transaction
from quorate.sender import Sender

__all__ = ["AccountStakes", "Delegation", "StakePool", "Staking", "Supply", "Unbonding"]

Submit = Callable[[int, list[Encodable]], Transaction]
ListPages = Callable[[str, int | None], Iterator[Json]]


@dataclass(frozen=True, slots=True)
class StakePool:
    """What stands behind a validator, and what it did.

    ``share_price`` is what a share is worth in money, rounded, None without any. Commissions are in
    basis points, of 10,000; ``next_commission_basis_points`` holds from ``next_epoch`` on. ``name``
    is None if the account is no member's.
    """

    validator: str
    name: str | None
    has_seat: bool
    tokens: int
    shares: int
    share_price: float | None
    commission_basis_points: int
    next_commission_basis_points: int
    next_epoch: int
    is_tombstoned: bool
    slashed: int
    blocks: int
    epochs: int
    uptime_karma: int

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        fields = {name: body[name] for name in cls.__slots__}
        fields |= {name: int(body[name]) for name in ("tokens", "shares", "slashed")}
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Delegation:
    """Shares in a validator's pool, and the money that they would bring now."""

    validator: str
    name: str | None
    shares: int
    tokens: int

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(body["validator"], body["name"], int(body["shares"]), int(body["tokens"]))


@dataclass(frozen=True, slots=True)
class Unbonding:
    """Money on its way out of a pool since an epoch, and from which block on it can be had."""

    validator: str
    name: str | None
    epoch: int
    tokens: int
    withdrawable_height: int
    is_withdrawable: bool

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            body["validator"],
            body["name"],
            body["epoch"],
            int(body["tokens"]),
            body["withdrawable_height"],
            body["is_withdrawable"],
        )


@dataclass(frozen=True, slots=True)
class AccountStakes:
    """All that an account has staked, and what is coming back, as of a block."""

    account: str
    height: int
    delegations: tuple[Delegation, ...]
    unbondings: tuple[Unbonding, ...]

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            body["account"],
            body["height"],
            tuple(Delegation.from_json(item) for item in body["delegations"]),
            tuple(Unbonding.from_json(item) for item in body["unbondings"]),
        )


@dataclass(frozen=True, slots=True)
class Supply:
    """All money: what was minted is in balances, held, or burnt."""

    height: int
    minted: int
    balances: int
    held: int
    burnt: int

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(**{name: int(body[name]) for name in cls.__slots__})


class Staking:
    """Stakes, rewards and supply, for one account; made by :class:`quorate.Client`.

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

    def pools(self, limit: int | None = None) -> list[StakePool]:
        """Return the stake pools, by validator's account."""
        return [StakePool.from_json(item) for item in self._list_pages("/api/v1/stakes", limit)]

    def pool(self, validator: str | None = None, *, height: int | None = None) -> StakePool:
        """Return what stands behind a validator, oneself if none is named."""
        name = self._get_sender().account if validator is None else validator
        body = self._connection.get(f"/api/v1/stakes/{name}", {"height": height})
        return StakePool.from_json(body)

    def mine(self, account: str | None = None, *, height: int | None = None) -> AccountStakes:
        """Return what an account, one's own if none is named, has staked and is getting back."""
        name = self._get_sender().account if account is None else account
        body = self._connection.get(f"/api/v1/accounts/{name}/stakes", {"height": height})
        return AccountStakes.from_json(body)

    def rewards(self) -> Json:
        """Return what the running epoch has brought so far, as JSON."""
        return self._connection.get("/api/v1/rewards")

    def supply(self, *, height: int | None = None) -> Supply:
        """Return how much money there is, and where."""
        return Supply.from_json(self._connection.get("/api/v1/supply", {"height": height}))

    def stake(self, validator: str, amount: int) -> Transaction:
        """Let money stand behind a validator: a bond on oneself, a delegation on another.

        Parameters
        ----------
        validator : ``qr1…``; look at its commission first.
        amount : most that is taken, in the smallest unit; what buys no whole share stays.
            ``result`` has the shares and what was paid for them.
        """
        return self._submit(bodies.STAKE, [account_from_text(validator), amount])

    def unstake(self, validator: str, shares: int | None = None) -> Transaction:
        """Begin to take a stake back: so many shares, or all.

        It earns nothing from then on and can be slashed until it is withdrawn, which
        :meth:`mine` says from when on it can be. ``result`` has the tokens and the epoch.
        """
        return self._submit(bodies.UNSTAKE, [account_from_text(validator), shares])

    def withdraw(self, validator: str, epoch: int) -> Transaction:
        """Have paid out what began to leave a validator's pool in an epoch."""
        return self._submit(bodies.WITHDRAW_STAKE, [account_from_text(validator), epoch])

    def set_commission(self, basis_points: int) -> Transaction:
        """Say, as a validator, what part of its rewards is not for the pool, from next epoch on."""
        return self._submit(bodies.SET_COMMISSION, [basis_points])
