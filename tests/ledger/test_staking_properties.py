"""Stakes over random sequences: money is conserved after every block, whatever happens."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.schema import CHAIN_SUPPLY, decode_supply
from ledger.stake_reader import list_delegations, list_unbondings
from ledger.transactions.evidence import EVIDENCE_EPOCHS_MAX
from primitives.accounts import AccountId
from tests.helpers.evidence import make_evidence, report
from tests.helpers.governance import MEMBERS, seats
from tests.helpers.ledger import INITIAL_BALANCE, TestAccount
from tests.helpers.staking import (
    check_stakes,
    get_balance,
    make_staking_chain,
    set_commission,
    stake,
    unstake,
    withdraw_stake,
)


class Crowd:
    """Three holders and two validators that do something at random, one block each.

    Epochs have three blocks, so that ninety steps see many unbondings to their end.
    """

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.chain = make_staking_chain(issuance_per_epoch=997, epoch_length=3, slash_percent=37)
        self.done: Counter[str] = Counter()

    def step(self) -> None:
        holder = self.chance.choice(self.chain.network.accounts[:3])
        validator = self.chance.choice(MEMBERS[2:4])
        kinds = ("stake", "unstake", "unstake_all", "withdraw", "withdraw", "commission", "report")
        (kind,) = self.chance.choices(kinds, (4, 3, 1, 4, 4, 1, 0.2))
        if getattr(self, kind)(holder, validator.id) == "ok":
            self.done[kind] += 1

    def stake(self, holder: TestAccount, validator: AccountId) -> str:
        return stake(self.chain, holder, validator, self.chance.randint(1, 5_000)).code

    def unstake(self, holder: TestAccount, validator: AccountId) -> str:
        found = list_delegations(self.chain.store, holder.id, limit=9)
        shares = {each.validator: each.shares for each in found}.get(validator, 1)
        return unstake(self.chain, holder, validator, self.chance.randint(1, shares)).code

    def unstake_all(self, holder: TestAccount, validator: AccountId) -> str:
        return unstake(self.chain, holder, validator).code

    def withdraw(self, holder: TestAccount, _validator: AccountId) -> str:
        leaving = list_unbondings(self.chain.store, holder.id, limit=99)
        if not leaving:
            return "nothing"
        entry = self.chance.choice(leaving)
        return withdraw_stake(self.chain, holder, entry.validator, entry.epoch).code

    def commission(self, _holder: TestAccount, validator: AccountId) -> str:
        owner = next(each for each in MEMBERS if each.id == validator)
        return set_commission(self.chain, owner, self.chance.randint(0, 10_000)).code

    def report(self, _holder: TestAccount, _validator: AccountId) -> str:
        epoch = self.chain.store.tip().height // 3
        behind = self.chance.randint(0, min(epoch, EVIDENCE_EPOCHS_MAX))
        return report(self.chain, make_evidence(self.chain, epoch=epoch - behind))


def run_crowd(seed: int, steps: int = 90) -> Crowd:
    """Let a crowd act, and find money conserved after every block."""
    crowd = Crowd(seed)
    chain = crowd.chain
    for _ in range(steps):
        crowd.step()
        chain.run(proposer=crowd.chance.randint(2, 3) if len(seats(chain)) == 4 else 2)
        assert min(chain.balances().values()) >= 0
        check_stakes(chain)
    supply = chain.store.read(CHAIN_SUPPLY, decode_supply)
    assert supply is not None
    rewards = supply.total - chain.network.genesis.supply
    for holder in chain.network.accounts[:3]:
        assert get_balance(chain, holder) <= INITIAL_BALANCE + rewards + steps
    return crowd


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_money_is_conserved_over_random_sequences(seed: int) -> None:
    run_crowd(seed)


def test_random_sequences_see_everything_happen() -> None:
    done = run_crowd(1).done + run_crowd(2).done + run_crowd(3).done
    kinds = {"stake", "unstake", "unstake_all", "withdraw", "commission", "report"}
    assert set(done) == kinds, done
