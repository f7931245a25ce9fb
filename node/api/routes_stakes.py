"""Stakes, what the running epoch has brought so far, and how much money there is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from ledger.epoch_rewards import CHAIN_EPOCH_REWARDS, EpochRewards, decode_epoch_rewards
from ledger.members import Role, decode_member, member_key
from ledger.parameters import Parameters
from ledger.reader import LedgerReader
from ledger.schema import (
    CHAIN_SUPPLY,
    CHAIN_VALIDATORS,
    Validators,
    decode_supply,
    decode_validators,
)
from ledger.stake_reader import (
    Delegation,
    Unbonding,
    list_delegations,
    list_pools,
    list_unbondings,
)
from ledger.stake_records import StakePool, decode_stake_pool, stake_key
from node.api.json_codec import parse_account
from node.api.pages import (
    PAGE_LIMIT_DEFAULT,
    CursorQuery,
    HeightQuery,
    LimitQuery,
    decode_cursor,
    encode_cursor,
)
from node.api.problems import problem_responses
from node.api.service import ApiService, Service
from primitives.accounts import AccountId, account_to_text
from primitives.errors import CorruptStateError, InvalidInputError

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["stakes"])

STAKES_LISTED_MAX = 1_000
"""Delegations of one account, and as many unbondings; a network has at most 1,000 members."""

PRICE_DIGITS = 9

ValidatorPath = Annotated[str, Path(description="Account of the validator, `qr1…`.")]
AccountPath = Annotated[str, Path(description="`qr1…`, 41 characters.")]


class PoolView(BaseModel):
    """What stands behind a validator, and what it did."""

    validator: str = Field(description="Its account.")
    name: str | None = Field(description="Of the organisation; null if it is no member.")
    has_seat: bool = Field(description="It decides in the last epoch that has begun.")
    tokens: str = Field(description="Money in the pool, in the smallest unit.")
    shares: str = Field(description="That the money belongs to.")
    share_price: float | None = Field(
        description="Tokens that a share is worth, rounded; null without shares, 1 for the first."
    )
    commission_basis_points: int = Field(
        description="Its part of what the pool earns, in the epoch of the next block; of 10,000."
    )
    next_commission_basis_points: int = Field(description="The same from `next_epoch` on.")
    next_epoch: int = Field(description="First epoch of the latest change of the commission.")
    is_tombstoned: bool = Field(
        description="It was slashed: takes no stake and earns nothing, for good."
    )
    slashed: str = Field(description="Money taken from the pool and from what was leaving it.")
    blocks: int = Field(description="That it proposed, in epochs that are over.")
    epochs: int = Field(description="In which it had a seat to the end.")
    uptime_karma: int = Field(description="A point for each block of epochs with half its share.")


class OnePoolView(PoolView):
    """One validator's pool as of a final block."""

    height: int = Field(description="The final block as of which this holds.")


class PoolPage(BaseModel):
    """Pools by validator's account; one that nobody staked in appears when an epoch ends."""

    height: int = Field(description="The final block as of which this holds.")
    items: list[PoolView]
    next_cursor: str | None


class DelegationView(BaseModel):
    """Shares of an account in a validator's pool; a bond, if they are the validator's own."""

    validator: str
    name: str | None = Field(description="Of the organisation; null if it is no member.")
    shares: str
    tokens: str = Field(description="What they would bring now, rounded down.")


class UnbondingView(BaseModel):
    """What is on its way out of a pool, and can be slashed until it is withdrawn."""

    validator: str
    name: str | None = Field(description="Of the organisation; null if it is no member.")
    epoch: int = Field(description="In which it began to leave; `withdraw_stake` names it.")
    tokens: str = Field(description="What would be paid out now, rounded down.")
    withdrawable_height: int = Field(description="First block in which it can be withdrawn.")
    is_withdrawable: bool = Field(description="The next block is that one or a later one.")


class AccountStakesView(BaseModel):
    """All that an account has staked and what is coming back."""

    account: str
    height: int = Field(description="The final block as of which this holds.")
    tokens: str = Field(description="All delegations together, as far as they are listed.")
    delegations: list[DelegationView] = Field(
        description=f"By validator's account, at most {STAKES_LISTED_MAX}."
    )
    unbondings: list[UnbondingView] = Field(
        description=f"By validator's account and epoch, at most {STAKES_LISTED_MAX}."
    )


class ProposerView(BaseModel):
    """Blocks of one validator in the running epoch."""

    index: int
    validator: str
    name: str | None = Field(description="Of the organisation; null if it is no member.")
    blocks: int = Field(description="That it proposed so far.")


class RewardsView(BaseModel):
    """What the running epoch has brought so far; shared with its last block."""

    height: int = Field(description="The final block as of which this holds.")
    epoch: int = Field(description="Of the next block.")
    epoch_end_height: int = Field(description="The block with which it is shared.")
    pot: str = Field(description="Fees that were not shared yet.")
    issuance: str = Field(description="Money that is made for it at most.")
    stake_reward_percent: int = Field(
        description="Shared by blocks and stake together; the rest by blocks alone."
    )
    blocks: int = Field(description="Proposed so far by all.")
    validators: list[ProposerView]


class SupplyView(BaseModel):
    """All money, in the smallest unit: minted is balances, held and burnt together."""

    height: int = Field(description="The final block as of which this holds.")
    minted: str = Field(description="Ever made: by genesis, and issued since.")
    balances: str = Field(description="In accounts, free.")
    held: str = Field(description="In deposits, stakes, bounties and pots.")
    burnt: str = Field(description="Gone for good.")


@router.get(
    "/stakes",
    operation_id="list_stakes",
    summary="Stake pools by validator",
    responses=problem_responses("unknown_height", "not_ready"),
)
async def list_stakes(
    service: Service,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    cursor: CursorQuery = None,
    height: HeightQuery = None,
) -> PoolPage:
    """Return a page of pools."""
    pools = _Pools(service, height)
    after = decode_cursor(cursor)
    found = list_pools(
        service.ledger,
        height=pools.height,
        start_after=None if after is None else AccountId(after),
        limit=limit + 1,
    )
    page = found[:limit]
    return PoolPage(
        height=pools.height,
        items=[pools.show(validator, pool) for validator, pool in page],
        next_cursor=encode_cursor(page[-1][0]) if len(found) > limit else None,
    )


@router.get(
    "/stakes/{account}",
    operation_id="get_stake",
    summary="What stands behind one validator",
    responses=problem_responses("unknown_account", "unknown_height", "not_ready"),
)
async def get_stake(
    service: Service, account: ValidatorPath, height: HeightQuery = None
) -> OnePoolView:
    """Return a validator's pool; one that nobody staked in yet is empty."""
    pools = _Pools(service, height)
    validator = parse_account(account)
    pool = service.ledger.read(stake_key(validator), decode_stake_pool, pools.height)
    if pool is None and not pools.is_validator(validator):
        raise InvalidInputError(
            "unknown_account",
            f"{account} is no validator and never had a stake pool",
            field="account",
            value=account,
        )
    view = pools.show(validator, pool or StakePool())
    return OnePoolView(**view.model_dump(), height=pools.height)


@router.get(
    "/accounts/{account}/stakes",
    operation_id="get_account_stakes",
    summary="What an account has staked, and what is coming back",
    responses=problem_responses("unknown_height", "not_ready"),
)
async def get_account_stakes(
    service: Service, account: AccountPath, height: HeightQuery = None
) -> AccountStakesView:
    """Return delegations with what they are worth, and unbondings with when they are paid."""
    pools = _Pools(service, height)
    owner, at = parse_account(account), pools.height
    delegations = list_delegations(service.ledger, owner, height=at, limit=STAKES_LISTED_MAX)
    unbondings = list_unbondings(service.ledger, owner, height=at, limit=STAKES_LISTED_MAX)
    return AccountStakesView(
        account=account_to_text(owner),
        height=at,
        tokens=str(sum(each.tokens for each in delegations)),
        delegations=[pools.show_delegation(each) for each in delegations],
        unbondings=[pools.show_unbonding(each) for each in unbondings],
    )


@router.get(
    "/rewards",
    operation_id="get_rewards",
    summary="What the running epoch has brought so far",
    responses=problem_responses("not_ready"),
)
async def get_rewards(service: Service) -> RewardsView:
    """Return the pot and the blocks that each validator has proposed."""
    pools, parameters = _Pools(service, None), service.read_parameters()
    ledger, height = service.ledger, pools.height
    rewards = ledger.read(CHAIN_EPOCH_REWARDS, decode_epoch_rewards, height) or EpochRewards()
    seats = pools.seats.validators
    blocks = rewards.blocks or (0,) * len(seats)
    epoch = parameters.epoch_of(height + 1)
    return RewardsView(
        height=height,
        epoch=epoch,
        epoch_end_height=parameters.epoch_end(epoch),
        pot=str(rewards.pot),
        issuance=str(parameters.issuance_per_epoch),
        stake_reward_percent=parameters.stake_reward_percent,
        blocks=sum(blocks),
        validators=[
            ProposerView(
                index=index,
                validator=account_to_text(seat.account),
                name=pools.name_of(seat.account),
                blocks=proposed,
            )
            for index, (seat, proposed) in enumerate(zip(seats, blocks, strict=True))
        ],
    )


@router.get(
    "/supply",
    operation_id="get_supply",
    summary="How much money there is",
    responses=problem_responses("unknown_height", "not_ready"),
)
async def get_supply(service: Service, height: HeightQuery = None) -> SupplyView:
    """Return what was minted, and where it is."""
    at = service.ledger.tip().height if height is None else height
    supply = service.ledger.read(CHAIN_SUPPLY, decode_supply, at)
    if supply is None:
        raise CorruptStateError("the supply is missing in the state")
    return SupplyView(
        height=at,
        minted=str(supply.total),
        balances=str(supply.total - supply.held - supply.burnt),
        held=str(supply.held),
        burnt=str(supply.burnt),
    )


class _Pools:
    """Shows pools as of one height, with the names of those whose they are."""

    def __init__(self, service: ApiService, height: int | None) -> None:
        self._ledger: LedgerReader = service.ledger
        self._parameters: Parameters = service.read_parameters()
        self.height = self._ledger.tip().height if height is None else height
        found = self._ledger.read(CHAIN_VALIDATORS, decode_validators, self.height)
        self.seats = found or Validators(())
        self._seated = {seat.account for seat in self.seats.validators}

    def name_of(self, account: AccountId) -> str | None:
        """Return a member's name, or None."""
        member = self._ledger.read(member_key(account), decode_member, self.height)
        return None if member is None else member.name

    def is_validator(self, account: AccountId) -> bool:
        """Return whether a member has the role."""
        member = self._ledger.read(member_key(account), decode_member, self.height)
        return member is not None and Role.VALIDATOR in member.roles

    def show(self, validator: AccountId, stake: StakePool) -> PoolView:
        """Return a pool as it is shown."""
        pool = stake.pool
        epoch = self._parameters.epoch_of(self.height + 1)
        return PoolView(
            validator=account_to_text(validator),
            name=self.name_of(validator),
            has_seat=validator in self._seated,
            tokens=str(pool.tokens),
            shares=str(pool.shares),
            share_price=round(pool.tokens / pool.shares, PRICE_DIGITS) if pool.shares else None,
            commission_basis_points=stake.commission_in(epoch),
            next_commission_basis_points=stake.next_commission,
            next_epoch=stake.next_epoch,
            is_tombstoned=stake.is_tombstoned,
            slashed=str(stake.slashed),
            blocks=stake.blocks,
            epochs=stake.epochs,
            uptime_karma=stake.karma,
        )

    def show_delegation(self, delegation: Delegation) -> DelegationView:
        """Return shares of an account as they are shown."""
        return DelegationView(
            validator=account_to_text(delegation.validator),
            name=self.name_of(delegation.validator),
            shares=str(delegation.shares),
            tokens=str(delegation.tokens),
        )

    def show_unbonding(self, unbonding: Unbonding) -> UnbondingView:
        """Return what is on its way out as it is shown."""
        first = self._parameters.epoch_end(unbonding.matures) + 1
        return UnbondingView(
            validator=account_to_text(unbonding.validator),
            name=self.name_of(unbonding.validator),
            epoch=unbonding.epoch,
            tokens=str(unbonding.tokens),
            withdrawable_height=first,
            is_withdrawable=self.height + 1 >= first,
        )
