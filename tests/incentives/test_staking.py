"""Share pools and an epoch's rewards: by hand, under attack, and over random sequences."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.accounting import verify_pool_change, verify_split
from incentives.mechanism import RefusedError
from incentives.staking import (
    EMPTY_POOL,
    SHARES_MAX,
    STAKE_TOO_LARGE,
    STAKE_TOO_SMALL,
    SharePool,
    Work,
    add_reward,
    buy_shares,
    compute_uptime_karma,
    sell_shares,
    slash_pool,
    split_commission,
    split_epoch_reward,
)
from primitives.errors import InvariantViolationError

AMOUNTS = st.integers(1, 10**6) | st.integers(1, 2**60)


def test_first_shares_cost_one_token_each() -> None:
    bought = buy_shares(EMPTY_POOL, 7)
    assert (bought.pool, bought.shares, bought.paid) == (SharePool(7, 7), 7, 7)


def test_buyer_pays_for_whole_shares_and_the_pool_gets_the_rounding() -> None:
    bought = buy_shares(SharePool(tokens=300, shares=200), 100)
    assert (bought.shares, bought.paid) == (66, 99)
    assert sell_shares(bought.pool, 66) == (SharePool(300, 200), 99)
    bought = buy_shares(SharePool(tokens=10, shares=3), 4)
    assert (bought.shares, bought.paid) == (1, 4), "a share costs ten thirds, rounded up"
    assert sell_shares(bought.pool, 1) == (SharePool(11, 3), 3)


def test_last_to_leave_takes_all() -> None:
    pool, tokens = sell_shares(SharePool(100, 3), 1)
    assert tokens == 33
    assert sell_shares(pool, 2) == (EMPTY_POOL, 67)
    assert EMPTY_POOL.value_of(1) == 0


@pytest.mark.parametrize(
    ("pool", "amount", "code"),
    [
        (SharePool(10, 1), 9, STAKE_TOO_SMALL),
        (SharePool(0, 5), 9, STAKE_TOO_SMALL),
        (SharePool(SHARES_MAX - 3, SHARES_MAX - 3), 4, STAKE_TOO_LARGE),
        (SharePool(1, SHARES_MAX), 1, STAKE_TOO_LARGE),
    ],
)
def test_what_buys_nothing_or_too_much_is_refused(pool: SharePool, amount: int, code: str) -> None:
    with pytest.raises(RefusedError) as refused:
        buy_shares(pool, amount)
    assert refused.value.code == code


def test_largest_pool_is_not_refused() -> None:
    bought = buy_shares(SharePool(SHARES_MAX - 3, SHARES_MAX - 3), 3)
    assert bought.pool == SharePool(SHARES_MAX, SHARES_MAX)


def test_slash_and_commission_round_down() -> None:
    assert slash_pool(SharePool(199, 150), 10) == (SharePool(180, 150), 19)
    assert slash_pool(SharePool(199, 150), 100) == (SharePool(0, 150), 199)
    assert split_commission(199, 1_000) == (19, 180)
    assert split_commission(199, 10_000) == (199, 0)
    assert split_commission(199, 0) == (0, 199)


def test_reward_of_the_specification() -> None:
    work = [Work(6, 300), Work(3, 100), Work(1, 0), Work(0, 900)]
    assert split_epoch_reward(1_000, 50, work) == [728, 221, 50, 0]
    assert split_epoch_reward(1_000, 0, work) == [600, 300, 100, 0]
    assert split_epoch_reward(1_000, 100, work) == [857, 142, 0, 0]


def test_slash_of_the_specification() -> None:
    pool, taken = slash_pool(SharePool(956, 300), 10)
    assert (taken, taken * 10 // 100, pool.value_of(100)) == (95, 9, 287)


def test_reward_without_stakes_goes_by_blocks_and_without_blocks_nowhere() -> None:
    assert split_epoch_reward(100, 100, [Work(2, 0), Work(1, 0), Work(0, 9)]) == [66, 33, 0]
    assert split_epoch_reward(100, 50, [Work(0, 5), Work(0, 9)]) == [0, 0]
    assert split_epoch_reward(100, 50, []) == []


def test_uptime_karma_needs_half_of_the_fair_share() -> None:
    assert [compute_uptime_karma(blocks, 43, 4) for blocks in (0, 4, 5, 43)] == [0, 0, 5, 43]
    assert compute_uptime_karma(0, 3, 100) == 0
    assert compute_uptime_karma(1, 3, 100) == 1


@given(
    st.integers(0, 2**63 - 1),
    st.integers(0, 100),
    st.lists(st.builds(Work, st.integers(0, 2**40), st.integers(0, 2**63 - 1)), max_size=8),
)
def test_parts_of_a_reward_are_no_more_than_it(amount: int, percent: int, work: list[Work]) -> None:
    parts = split_epoch_reward(amount, percent, work)
    verify_split(amount, parts)
    assert all(part == 0 for part, each in zip(parts, work, strict=True) if each.blocks == 0)
    if any(each.blocks for each in work):
        assert amount - sum(parts) <= 2 * len(work)


@given(st.builds(SharePool, st.integers(1, 2**40), st.integers(1, 2**40)), st.integers(1, 2**40))
def test_buying_and_selling_at_once_loses_a_unit_at_most(pool: SharePool, amount: int) -> None:
    try:
        bought = buy_shares(pool, amount)
    except RefusedError:
        return
    verify_pool_change(pool, bought.pool, came_in=bought.paid)
    assert bought.paid <= amount
    _, back = sell_shares(bought.pool, bought.shares)
    assert bought.paid - 1 <= back <= bought.paid


@given(reward=st.integers(0, 2**50), amount=st.integers(1, 2**50), first=st.integers(1, 10))
def test_first_depositor_gains_nothing_from_who_comes_later(
    reward: int, amount: int, first: int
) -> None:
    pool = add_reward(buy_shares(EMPTY_POOL, first).pool, reward)
    worth = pool.value_of(first)
    try:
        victim = buy_shares(pool, amount)
    except RefusedError:
        return
    assert victim.pool.value_of(first) - worth <= 1
    assert victim.pool.value_of(victim.shares) >= victim.paid - 1


@dataclass
class Ledger:
    """A pool, what leaves it, and what everybody put in and got out."""

    pool: SharePool = EMPTY_POOL
    leaving: SharePool = EMPTY_POOL
    bonded: dict[int, int] = field(default_factory=dict)
    entries: dict[int, int] = field(default_factory=dict)
    put_in: dict[int, int] = field(default_factory=dict)
    got_out: dict[int, int] = field(default_factory=dict)
    rewards: int = 0
    slashed: int = 0
    is_tombstoned: bool = False
    divisions: dict[int, int] = field(default_factory=dict)

    def note_division(self, who: int) -> None:
        self.divisions[who] = self.divisions.get(who, 0) + 1

    def buy(self, who: int, amount: int) -> None:
        if self.is_tombstoned:
            return
        try:
            bought = buy_shares(self.pool, amount)
        except RefusedError:
            return
        verify_pool_change(self.pool, bought.pool, came_in=bought.paid)
        self.pool = bought.pool
        self.note_division(who)
        self.bonded[who] = self.bonded.get(who, 0) + bought.shares
        self.put_in[who] = self.put_in.get(who, 0) + bought.paid

    def sell(self, who: int, amount: int) -> None:
        shares = min(amount, self.bonded.get(who, 0))
        if not shares:
            return
        pool, tokens = sell_shares(self.pool, shares)
        verify_pool_change(self.pool, pool, went_out=tokens)
        self.pool = pool
        self.note_division(who)
        self.bonded[who] -= shares
        if tokens:
            bought = buy_shares(self.leaving, tokens)
            assert bought.paid == tokens, "all of it must go on"
            verify_pool_change(self.leaving, bought.pool, came_in=tokens)
            self.leaving = bought.pool
            self.note_division(who)
            self.entries[who] = self.entries.get(who, 0) + bought.shares

    def withdraw(self, who: int, _amount: int) -> None:
        shares = self.entries.pop(who, 0)
        self.note_division(who)
        self.leaving, tokens = sell_shares(self.leaving, shares)
        self.got_out[who] = self.got_out.get(who, 0) + tokens

    def reward(self, _who: int, amount: int) -> None:
        if self.pool.shares and not self.is_tombstoned:
            self.pool = add_reward(self.pool, amount)
            self.rewards += amount

    def slash(self, who: int, _amount: int) -> None:
        if not self.is_tombstoned:
            self.is_tombstoned = True
            self.pool, first = slash_pool(self.pool, 33 * who)
            self.leaving, second = slash_pool(self.leaving, 33 * who)
            self.slashed = first + second

    def check(self) -> None:
        inside = self.pool.tokens + self.leaving.tokens
        put_in, got_out = sum(self.put_in.values()), sum(self.got_out.values())
        assert put_in + self.rewards == inside + got_out + self.slashed
        assert min(inside, self.pool.tokens, self.leaving.tokens) >= 0
        assert sum(self.bonded.values()) == self.pool.shares
        assert sum(self.entries.values()) == self.leaving.shares
        assert not (self.pool.tokens and not self.pool.shares)
        for who, amount in self.got_out.items():
            # Less than a unit of every division by which somebody else loses, stays for the rest.
            from_others = sum(self.divisions.values()) - self.divisions.get(who, 0)
            assert amount <= self.put_in.get(who, 0) + self.rewards + from_others


STEPS = st.tuples(
    st.sampled_from(["buy", "buy", "sell", "withdraw", "reward", "slash"]), st.integers(0, 3)
)


@given(st.lists(st.tuples(STEPS, st.integers(1, 40) | st.integers(1, 2**52)), max_size=40))
def test_money_is_conserved_and_nobody_gets_more_than_its_own_rewards_and_crumbs(
    steps: list[tuple[tuple[str, int], int]],
) -> None:
    ledger = Ledger()
    for (name, who), amount in steps:
        getattr(ledger, name)(who, amount)
        ledger.check()
    for who in range(4):
        ledger.sell(who, SHARES_MAX)
        ledger.withdraw(who, 0)
        ledger.check()
    assert ledger.pool == ledger.leaving == EMPTY_POOL


def test_pools_that_do_not_add_up_are_noticed() -> None:
    before = SharePool(10, 5)
    for after, came_in, went_out in (
        (SharePool(11, 5), 0, 0),
        (SharePool(10, 6), 0, 0),
        (SharePool(10, -1), 0, 0),
        (SharePool(4, 5), -6, 0),
        (SharePool(9, 0), 0, 1),
    ):
        with pytest.raises(InvariantViolationError):
            verify_pool_change(before, after, came_in=came_in, went_out=went_out)


def test_splits_that_do_not_add_up_are_noticed() -> None:
    for parts in ([6, 5], [-1, 3]):
        with pytest.raises(InvariantViolationError):
            verify_split(10, parts)
