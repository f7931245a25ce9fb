"""Stakes on the ledger: bonds, delegations, waits, slashes and what an epoch pays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from incentives.staking import EMPTY_POOL, SHARES_MAX, SharePool
from ledger.changes import ParameterChange, RoleChange, SuspensionOrder
from ledger.epoch_rewards import (
    CHAIN_EPOCH_REWARDS,
    EpochRewards,
    decode_epoch_rewards,
    note_block,
    share_rewards,
)
from ledger.layout import versioned_key
from ledger.members import Role
from ledger.membership import read_validators
from ledger.parameters import get_limits
from ledger.receipt import Receipt
from ledger.schema import CHAIN_SUPPLY, Account, Supply, account_key, decode_account, decode_supply
from ledger.stake_reader import (
    Delegation,
    Unbonding,
    list_delegations,
    list_pools,
    list_unbondings,
)
from ledger.stake_records import (
    Holding,
    StakePool,
    UnbondingPool,
    decode_holding,
    decode_stake_pool,
    decode_unbonding_pool,
    stake_key,
    unbonding_pool_key,
)
from ledger.state import BlockState
from ledger.transactions.evidence import EVIDENCE_EPOCHS_MAX, ReportEvidence
from ledger.transactions.registry import get_kind
from primitives.accounts import AccountId, account_id_from_public_key
from primitives.errors import CorruptStateError, InvalidInputError, InvariantViolationError
from primitives.evidence import EvidenceKind
from tests.helpers.evidence import make_evidence, report
from tests.helpers.governance import MEMBERS, decide, pass_epoch, readmit
from tests.helpers.ledger import (
    INITIAL_BALANCE,
    Chain,
    TestAccount,
    make_key,
    make_network,
)
from tests.helpers.staking import (
    STAKING_PARAMETERS,
    check_stakes,
    get_balance,
    make_staking_chain,
    read_pool,
    read_rewards,
    set_commission,
    stake,
    unstake,
    withdraw_stake,
)

LENGTH = STAKING_PARAMETERS.epoch_length
CULPRIT = MEMBERS[3]


@pytest.fixture
def chain() -> Chain:
    return make_staking_chain()


@pytest.fixture
def people(chain: Chain) -> tuple[TestAccount, ...]:
    return chain.network.accounts


def pass_epochs(chain: Chain, count: int) -> None:
    for _ in range(count):
        pass_epoch(chain)


def run_schedule(chain: Chain, blocks: list[int]) -> None:
    """Let each validator propose so many blocks, in turn."""
    for proposer, count in enumerate(blocks):
        for _ in range(count):
            chain.run(proposer=proposer)


def held(chain: Chain) -> int:
    supply = chain.store.read(CHAIN_SUPPLY, decode_supply)
    assert supply is not None
    return supply.held


def burnt(chain: Chain) -> int:
    supply = chain.store.read(CHAIN_SUPPLY, decode_supply)
    assert supply is not None
    return supply.burnt


class TestStaking:
    def test_bond_and_delegation_are_held_for_shares(
        self, chain: Chain, people: tuple[TestAccount, ...]
    ) -> None:
        assert list(stake(chain, CULPRIT, CULPRIT.id, 300).data) == [300, 300]
        assert list(stake(chain, people[0], CULPRIT.id, 100).data) == [100, 100]
        assert list(stake(chain, people[0], CULPRIT.id, 50).data) == [50, 50]
        assert read_pool(chain, CULPRIT.id).pool == SharePool(450, 450)
        assert (get_balance(chain, people[0]), held(chain)) == (INITIAL_BALANCE - 150, 450)
        check_stakes(chain)

    def test_nobody_stakes_on_who_is_no_validator(
        self, chain: Chain, people: tuple[TestAccount, ...]
    ) -> None:
        assert stake(chain, people[0], people[1].id, 5).code == "not_a_validator"
        assert set_commission(chain, people[0], 5).code == "not_a_validator"
        decide(chain, MEMBERS[:3], RoleChange(CULPRIT.id, Role.READER))
        pass_epochs(chain, 1)
        assert stake(chain, people[0], CULPRIT.id, 5).code == "not_a_validator"
        decide(chain, MEMBERS[:2], SuspensionOrder(MEMBERS[2].id))
        assert stake(chain, people[0], MEMBERS[2].id, 5).code == "not_a_validator"

    def test_nobody_stakes_more_than_it_has(
        self, chain: Chain, people: tuple[TestAccount, ...]
    ) -> None:
        receipt = stake(chain, people[0], CULPRIT.id, INITIAL_BALANCE + 1)
        assert receipt.code == "insufficient_balance"
        assert list_pools(chain.store, limit=9) == []

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("stake", [bytes(20), 0]),
            ("stake", [bytes(20), 2**63]),
            ("stake", [bytes(19), 1]),
            ("unstake", [bytes(20), 0]),
            ("unstake", [bytes(20), SHARES_MAX + 1]),
            ("withdraw_stake", [bytes(20), -1]),
            ("set_commission", [10_001]),
            ("set_commission", [-1]),
        ],
    )
    def test_body_out_of_range_is_refused(
        self, chain: Chain, kind: str, body: list[object]
    ) -> None:

        with pytest.raises(InvalidInputError):
            get_kind(kind).decode_body(body)

    def test_pool_above_what_a_counter_holds_is_refused(
        self, chain: Chain, people: tuple[TestAccount, ...]
    ) -> None:
        full = StakePool(SharePool(10, SHARES_MAX))
        overwrite(chain, stake_key(CULPRIT.id), full.encode())
        assert stake(chain, people[0], CULPRIT.id, 5).code == "stake_too_large"

    def test_share_that_is_dear_is_bought_whole_or_not_at_all(self) -> None:
        """The first depositor's trick: one share, a large reward, and a victim that rounds down."""
        chain = make_staking_chain(issuance_per_epoch=1_000)
        people = chain.network.accounts
        set_commission(chain, CULPRIT, 0)
        pass_epochs(chain, 1)
        stake(chain, CULPRIT, CULPRIT.id, 1)
        while chain.store.tip().height < 2 * LENGTH:
            chain.run(proposer=3)
        price = read_pool(chain, CULPRIT.id).pool.tokens
        assert read_pool(chain, CULPRIT.id).pool.shares == 1
        assert price > 900
        assert stake(chain, people[0], CULPRIT.id, price - 1).code == "stake_too_small"
        bought = stake(chain, people[0], CULPRIT.id, 2 * price - 1)
        assert list(bought.data) == [1, price], "the half that buys nothing stays with the buyer"
        assert unstake(chain, people[0], CULPRIT.id).data[1] == price
        check_stakes(chain)


class TestUnstaking:
    def test_stake_is_paid_out_after_its_wait_and_once(
        self, chain: Chain, people: tuple[TestAccount, ...]
    ) -> None:
        alice = people[0]
        stake(chain, alice, CULPRIT.id, 100)
        pass_epochs(chain, 1)
        assert list(unstake(chain, alice, CULPRIT.id, 40).data) == [40, 40, 1]
        assert list(unstake(chain, alice, CULPRIT.id).data) == [60, 60, 1]
        assert unstake(chain, alice, CULPRIT.id).code == "not_enough_stake"
        assert read_pool(chain, CULPRIT.id).pool == EMPTY_POOL
        assert list_unbondings(chain.store, alice.id, limit=9) == [
            Unbonding(CULPRIT.id, 1, 4, 100, 100)
        ]
        pass_epochs(chain, 3)
        for _ in range(LENGTH - 1):
            early = withdraw_stake(chain, alice, CULPRIT.id, 1)
            assert (early.code, early.message) == (
                "too_early",
                "it is paid out after epoch 4, this is epoch 4",
            )
        check_stakes(chain)
        chain.run()
        assert list(withdraw_stake(chain, alice, CULPRIT.id, 1).data) == [100]
        assert withdraw_stake(chain, alice, CULPRIT.id, 1).code == "unknown_unbonding"
        assert (get_balance(chain, alice), held(chain)) == (INITIAL_BALANCE, 0)
        assert chain.store.get(unbonding_pool_key(CULPRIT.id, 1)) is None
        check_stakes(chain)

    def test_wait_is_that_of_the_epoch_in_which_it_began(
        self, chain: Chain, people: tuple[TestAccount, ...]
    ) -> None:
        alice = people[0]
        stake(chain, alice, CULPRIT.id, 100)
        unstake(chain, alice, CULPRIT.id, 50)
        decide(chain, MEMBERS[:3], ParameterChange("unbonding_epochs", 5))
        pass_epochs(chain, 1)
        unstake(chain, alice, CULPRIT.id)
        found = list_unbondings(chain.store, alice.id, limit=9)
        assert [(each.epoch, each.matures) for each in found] == [(0, 3), (1, 6)]
        pass_epochs(chain, 3)
        assert withdraw_stake(chain, alice, CULPRIT.id, 0).code == "ok"
        assert withdraw_stake(chain, alice, CULPRIT.id, 1).code == "too_early"

    def test_every_wait_outlasts_evidence(self) -> None:
        assert get_limits("unbonding_epochs")[0] > EVIDENCE_EPOCHS_MAX

    def test_nobody_takes_what_is_not_its_own(
        self, chain: Chain, people: tuple[TestAccount, ...]
    ) -> None:
        alice, bob = people[:2]
        stake(chain, alice, CULPRIT.id, 100)
        assert unstake(chain, bob, CULPRIT.id, 1).code == "not_enough_stake"
        assert unstake(chain, alice, MEMBERS[0].id, 1).code == "not_enough_stake"
        assert unstake(chain, alice, CULPRIT.id, 101).code == "not_enough_stake"
        unstake(chain, alice, CULPRIT.id)
        pass_epochs(chain, 4)
        assert withdraw_stake(chain, bob, CULPRIT.id, 0).code == "unknown_unbonding"
        assert withdraw_stake(chain, alice, CULPRIT.id, 1).code == "unknown_unbonding"
        assert withdraw_stake(chain, alice, CULPRIT.id, 2**63 - 1).code == "unknown_unbonding"

    def test_two_that_leave_in_one_epoch_share_its_pool(
        self, chain: Chain, people: tuple[TestAccount, ...]
    ) -> None:
        alice, bob = people[:2]
        for each, amount in ((alice, 100), (bob, 60)):
            stake(chain, each, CULPRIT.id, amount)
            unstake(chain, each, CULPRIT.id)
        pass_epochs(chain, 4)
        assert list(withdraw_stake(chain, alice, CULPRIT.id, 0).data) == [100]
        check_stakes(chain)
        assert list(withdraw_stake(chain, bob, CULPRIT.id, 0).data) == [60]
        assert held(chain) == 0

    def test_who_leaves_the_validators_keeps_its_pool(
        self, chain: Chain, people: tuple[TestAccount, ...]
    ) -> None:
        stake(chain, people[0], CULPRIT.id, 100)
        decide(chain, MEMBERS[:3], RoleChange(CULPRIT.id, Role.READER))
        pass_epochs(chain, 2)
        assert read_pool(chain, CULPRIT.id).epochs == 1
        assert list(unstake(chain, people[0], CULPRIT.id).data) == [100, 100, 2]
        check_stakes(chain)


class TestRewards:
    def test_epoch_of_the_specification(self) -> None:
        """Fees of 100 and an issuance of 900; A takes a tenth, the others all."""
        chain = make_staking_chain(issuance_per_epoch=900)
        a, b, c, d = (member.id for member in MEMBERS[:4])
        state = BlockState([], chain.store.tip_state)
        pools = {
            a: StakePool(SharePool(300, 300), commission=9_999, next_commission=1_000),
            b: StakePool(SharePool(100, 100)),
            d: StakePool(SharePool(900, 900)),
        }
        for account, pool in pools.items():
            state.put(stake_key(account), pool)
        state.put(CHAIN_EPOCH_REWARDS, EpochRewards(100, (6, 3, 1, 0)))
        supply = state.get(CHAIN_SUPPLY, decode_supply)
        assert supply is not None
        state.put(CHAIN_SUPPLY, replace(supply, held=1_400))
        validators = read_validators(state)
        share_rewards(state, validators, chain.network.genesis.parameters, 0)

        def earned(account: AccountId) -> int:
            record = state.get(account_key(account), decode_account) or Account()
            return record.balance - INITIAL_BALANCE

        assert [earned(account) for account in (a, b, c, d)] == [72, 221, 50, 0]
        after = [state.get(stake_key(account), decode_stake_pool) for account in (a, b, c, d)]
        assert [each.pool for each in after if each] == [
            SharePool(956, 300),
            SharePool(100, 100),
            EMPTY_POOL,
            SharePool(900, 900),
        ]
        assert [(each.blocks, each.epochs, each.karma) for each in after if each] == [
            (6, 1, 6),
            (3, 1, 3),
            (1, 1, 1),
            (0, 1, 0),
        ]
        assert SharePool(956, 300).value_of(100) == 318
        assert state.get(CHAIN_SUPPLY, decode_supply) == Supply(
            supply.total + 899, held=1_400 - 100 + 656
        )
        assert state.get(CHAIN_EPOCH_REWARDS, decode_epoch_rewards) == EpochRewards(0)

    def test_fees_that_do_not_divide_stay_for_the_next_epoch(self) -> None:
        chain = make_staking_chain(fee_per_byte=1)
        alice, bob = chain.network.accounts[:2]
        chain.submit(alice, "transfer", [bob.id, 5], fee_limit=10_000)
        fee = read_rewards(chain).pot
        run_schedule(chain, [2, 2, 3, 2])
        assert fee == 195
        assert [get_balance(chain, each) - INITIAL_BALANCE for each in MEMBERS[:4]] == [
            58,
            39,
            58,
            39,
        ]
        assert read_rewards(chain) == EpochRewards(1)
        check_stakes(chain)

    def test_validator_without_stake_is_paid_to_its_account(self) -> None:
        chain = make_staking_chain(issuance_per_epoch=1_000)
        run_schedule(chain, [10, 0, 0, 0])
        assert get_balance(chain, MEMBERS[0]) == INITIAL_BALANCE + 1_000
        assert read_pool(chain, MEMBERS[0].id).karma == 10
        assert read_pool(chain, MEMBERS[1].id) == StakePool(epochs=1)
        check_stakes(chain)

    def test_nobody_takes_of_a_validators_pay_by_staking_on_it_unasked(self) -> None:
        chain = make_staking_chain(issuance_per_epoch=1_000)
        stranger = chain.network.accounts[0]
        stake(chain, stranger, MEMBERS[0].id, 1)
        run_schedule(chain, [9, 0, 0, 0])
        assert get_balance(chain, MEMBERS[0]) == INITIAL_BALANCE + 1_000
        assert list_delegations(chain.store, stranger.id, limit=9) == [
            Delegation(MEMBERS[0].id, 1, 1)
        ]

    def test_commission_holds_from_the_next_epoch_on(self) -> None:
        chain = make_staking_chain(issuance_per_epoch=1_000)
        owner, alice = MEMBERS[0], chain.network.accounts[0]
        stake(chain, alice, owner.id, 100)
        assert list(set_commission(chain, owner, 2_500).data) == [2_500, 1]
        run_schedule(chain, [8])
        assert get_balance(chain, owner) == INITIAL_BALANCE + 1_000, "not yet"
        assert list(set_commission(chain, owner, 9_000).data) == [9_000, 2]
        assert list(set_commission(chain, owner, 5_000).data) == [5_000, 2]
        run_schedule(chain, [8])
        assert get_balance(chain, owner) == INITIAL_BALANCE + 1_250
        assert read_pool(chain, owner.id).pool == SharePool(850, 100)
        run_schedule(chain, [10])
        assert get_balance(chain, owner) == INITIAL_BALANCE + 1_750
        assert read_pool(chain, owner.id).pool == SharePool(1_350, 100)
        assert unstake(chain, alice, owner.id).data[1] == 1_350
        check_stakes(chain)

    def test_block_without_a_known_proposer_or_supply_is_our_own_bug(self, chain: Chain) -> None:
        state = BlockState([], chain.store.tip_state)
        validators = read_validators(state)
        with pytest.raises(InvariantViolationError, match="no validator 4"):
            note_block(state, validators, 4, 0)
        state.put(CHAIN_SUPPLY, None)
        with pytest.raises(InvariantViolationError, match="supply"):
            note_block(state, validators, 0, 1)


class TestSlashing:
    def stake_and_leave(self, chain: Chain) -> None:
        """Stake 1,800 on the culprit; 100, 200 and 50 leave in epochs 0, 1 and 2."""
        alice, bob = chain.network.accounts[:2]
        stake(chain, CULPRIT, CULPRIT.id, 1_000)
        stake(chain, alice, CULPRIT.id, 500)
        stake(chain, bob, CULPRIT.id, 300)
        for who, shares in ((bob, 100), (alice, 200), (bob, 50)):
            unstake(chain, who, CULPRIT.id, shares)
            pass_epochs(chain, 1)

    def report(self, chain: Chain, sender: TestAccount, epoch: int) -> Receipt:
        body = ReportEvidence(make_evidence(chain, epoch=epoch)).to_fields()
        return chain.submit(sender, "report_evidence", body).receipts[0]

    def test_slash_takes_of_the_pool_and_of_what_left_since(self) -> None:
        chain = make_staking_chain()
        alice, bob, carol = chain.network.accounts[:3]
        self.stake_and_leave(chain)
        before = get_balance(chain, carol)
        receipt = self.report(chain, carol, epoch=1)
        kind = int(EvidenceKind.COMMIT_AND_VIEW_CHANGE)
        # A tenth of 1,450, of 200 and of 50; not of the 100 that had begun to leave before.
        assert list(receipt.data) == [CULPRIT.id, kind, 145 + 20 + 5, 17]
        assert (get_balance(chain, carol), burnt(chain)) == (before + 17, 153)
        pool = read_pool(chain, CULPRIT.id)
        assert (pool.pool, pool.is_tombstoned, pool.slashed) == (SharePool(1_305, 1_450), True, 170)
        check_stakes(chain)
        pass_epochs(chain, 3)
        assert list(withdraw_stake(chain, bob, CULPRIT.id, 0).data) == [100]
        assert list(withdraw_stake(chain, alice, CULPRIT.id, 1).data) == [180]
        assert list(withdraw_stake(chain, bob, CULPRIT.id, 2).data) == [45]
        assert list(unstake(chain, alice, CULPRIT.id).data)[:2] == [300, 270]
        check_stakes(chain)

    def test_tombstoned_pool_takes_no_stake_and_earns_nothing(self) -> None:
        chain = make_staking_chain(issuance_per_epoch=1_000)
        alice = chain.network.accounts[0]
        stake(chain, CULPRIT, CULPRIT.id, 100)
        self.report(chain, alice, epoch=0)
        assert stake(chain, alice, CULPRIT.id, 5).code == "not_a_validator", "it is suspended"
        before = get_balance(chain, CULPRIT)
        run_schedule(chain, [0, 1, 0, 6])
        assert get_balance(chain, CULPRIT) == before
        assert read_pool(chain, CULPRIT.id).pool == SharePool(90, 100)
        assert (read_pool(chain, CULPRIT.id).blocks, read_pool(chain, CULPRIT.id).karma) == (6, 0)
        decide(chain, MEMBERS[:3], readmit(chain, 3, make_key("reformed")))
        pass_epochs(chain, 1)
        assert stake(chain, alice, CULPRIT.id, 5).code == "tombstoned"
        assert set_commission(chain, CULPRIT, 5).code == "tombstoned"
        assert list(unstake(chain, CULPRIT, CULPRIT.id).data)[:2] == [100, 90]
        check_stakes(chain)

    def test_evidence_of_other_epochs_takes_nothing_more(self) -> None:
        chain = make_staking_chain()
        carol = chain.network.accounts[2]
        self.stake_and_leave(chain)
        assert self.report(chain, carol, epoch=1).data[2] == 170
        for epoch in (2, 3):
            receipt = self.report(chain, carol, epoch=epoch)
            assert (receipt.code, list(receipt.data)[2:]) == ("ok", [0, 0])
        assert self.report(chain, carol, epoch=1).code == "evidence_known"
        assert burnt(chain) == 153

    def test_evidence_of_a_nodes_own_key_pays_its_member(self) -> None:
        chain = make_staking_chain()
        stake(chain, CULPRIT, CULPRIT.id, 1_000)
        key = chain.network.validators[0]
        node = TestAccount(key, account_id_from_public_key(key.public_key))
        assert list(self.report(chain, node, epoch=0).data)[2:] == [100, 10]
        assert get_balance(chain, MEMBERS[0]) == INITIAL_BALANCE + 10
        check_stakes(chain)

    @pytest.mark.parametrize("by_its_node", [False, True])
    def test_culprit_that_reports_itself_is_paid_nothing(self, by_its_node: bool) -> None:
        chain = make_staking_chain()
        stake(chain, CULPRIT, CULPRIT.id, 1_000)
        key = chain.network.validators[3]
        node = TestAccount(key, account_id_from_public_key(key.public_key))
        receipt = self.report(chain, node if by_its_node else CULPRIT, epoch=0)
        assert list(receipt.data)[2:] == [100, 0]
        assert (get_balance(chain, CULPRIT), burnt(chain)) == (INITIAL_BALANCE - 1_000, 100)
        check_stakes(chain)

    def test_account_that_acts_for_the_culprit_is_paid_nothing(self) -> None:
        network = make_network(parameters=STAKING_PARAMETERS)
        members = list(network.genesis.members)
        helper = network.accounts[0]
        members[3] = replace(members[3], accounts=(helper.id,))
        chain = Chain(replace(network, genesis=replace(network.genesis, members=tuple(members))))
        stake(chain, helper, CULPRIT.id, 1_000)
        assert list(self.report(chain, helper, epoch=0).data)[2:] == [100, 0]
        check_stakes(chain)

    def test_nothing_taken_writes_nobodys_account(self) -> None:
        chain = Chain(make_network(parameters=STAKING_PARAMETERS))
        key = chain.network.validators[0]
        node = TestAccount(key, account_id_from_public_key(key.public_key))
        assert self.report(chain, node, epoch=0).code == "ok"
        assert chain.store.get(account_key(MEMBERS[0].id)) is None

    def test_reporter_may_get_all_of_it(self) -> None:
        chain = make_staking_chain(slash_reporter_percent=100)
        alice, bob = chain.network.accounts[:2]
        stake(chain, alice, CULPRIT.id, 1_000)
        assert list(self.report(chain, bob, epoch=0).data)[2:] == [100, 100]
        assert (get_balance(chain, bob), burnt(chain)) == (INITIAL_BALANCE + 100, 0)

    def test_slash_of_everything_leaves_shares_that_are_worth_nothing(self) -> None:
        chain = make_staking_chain(slash_percent=100, slash_reporter_percent=0)
        alice = chain.network.accounts[0]
        stake(chain, alice, CULPRIT.id, 100)
        unstake(chain, alice, CULPRIT.id, 30)
        self.report(chain, MEMBERS[0], epoch=0)
        assert burnt(chain) == 100
        assert list(unstake(chain, alice, CULPRIT.id).data)[:2] == [70, 0]
        pass_epochs(chain, 4)
        assert list(withdraw_stake(chain, alice, CULPRIT.id, 0).data) == [0]
        assert (list_delegations(chain.store, alice.id, limit=9), held(chain)) == ([], 0)
        check_stakes(chain)

    def test_what_leaves_after_a_slash_in_the_same_epoch_is_not_cut_again(self) -> None:
        chain = make_staking_chain()
        alice, bob = chain.network.accounts[:2]
        stake(chain, alice, CULPRIT.id, 100)
        stake(chain, bob, CULPRIT.id, 100)
        unstake(chain, alice, CULPRIT.id)
        self.report(chain, MEMBERS[0], epoch=0)
        assert list(unstake(chain, bob, CULPRIT.id).data)[:2] == [100, 90]
        pass_epochs(chain, 4)
        assert list(withdraw_stake(chain, bob, CULPRIT.id, 0).data) == [90]
        assert list(withdraw_stake(chain, alice, CULPRIT.id, 0).data) == [90]

    def test_validator_without_a_stake_is_tombstoned_all_the_same(self) -> None:
        chain = make_staking_chain()
        assert report(chain, make_evidence(chain)) == "ok"
        assert read_pool(chain, CULPRIT.id) == StakePool(is_tombstoned=True)


def test_pools_are_listed_by_account_and_in_pages(chain: Chain) -> None:
    for member in MEMBERS[:3]:
        stake(chain, member, member.id, 10)
    listed = list_pools(chain.store, limit=9)
    accounts = sorted(member.id for member in MEMBERS[:3])
    assert [account for account, _ in listed] == accounts
    assert list_pools(chain.store, start_after=accounts[0], limit=1) == listed[1:2]


def test_unbonding_without_its_pool_is_a_damaged_store(
    chain: Chain, people: tuple[TestAccount, ...]
) -> None:
    stake(chain, people[0], CULPRIT.id, 10)
    unstake(chain, people[0], CULPRIT.id)
    overwrite(chain, unbonding_pool_key(CULPRIT.id, 0), b"")
    with pytest.raises(CorruptStateError):
        list_unbondings(chain.store, people[0].id, limit=9)


def test_records_read_back() -> None:
    stake_pool = StakePool(SharePool(7, 8), 1, 2, 3, True, 4, 5, 6, 7)
    assert decode_stake_pool(stake_pool.encode()) == stake_pool
    unbonding = UnbondingPool(SharePool(7, 8), 9)
    assert decode_unbonding_pool(unbonding.encode()) == unbonding
    assert decode_holding(Holding(5).encode()) == Holding(5)
    rewards = EpochRewards(9, (1, 2, 3))
    assert decode_epoch_rewards(rewards.encode()) == rewards


def overwrite(chain: Chain, key: bytes, value: bytes) -> None:
    """Give a state key another value at the tip, behind the ledger's back; empty to remove it."""
    stored = b"\1" + value if value else b"\0"
    chain.values.write([(versioned_key(key, chain.store.tip().height), stored)], [], sync=True)
    chain.store.forget_cached()
