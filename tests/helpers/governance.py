"""Proposals, votes and members for the tests of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ledger.changes import Admission, Change, compute_changes_hash, possession_message
from ledger.governance_records import (
    Proposal,
    ProposalStatus,
    decode_proposal,
    proposal_key,
)
from ledger.invite import Invite
from ledger.members import Member, NodeAddress, Role, decode_member, member_key
from ledger.membership import read_validators
from ledger.receipt import Receipt
from ledger.transactions.governance import Propose, Vote, WithdrawProposal
from ledger.transactions.membership import RequestMembership
from primitives.accounts import AccountId
from primitives.keys import PrivateKey
from tests.helpers.ledger import GENESIS_TIME_MS, Chain, TestAccount, make_account, make_key

MEMBERS = tuple(make_account(f"member {index}") for index in range(10))
NEWCOMER = make_account("newcomer")
INVITE_ID = b"i" * 16


def prove(chain: Chain, account: AccountId, key: PrivateKey) -> bytes:
    """Return the signature by which a key shows that it is held."""
    return key.sign(possession_message(chain.network.chain_id, account, key.public_key))


def make_admission(
    chain: Chain,
    account: AccountId = NEWCOMER.id,
    *,
    key: str = "vote",
    transport: str = "link",
    name: str = "newcomer",
    roles: Role = Role.VALIDATOR | Role.CONTRIBUTOR,
) -> Admission:
    """Return the admission of somebody new."""
    vote, link = make_key(key), make_key(transport)
    is_validator = Role.VALIDATOR in roles
    member = Member(
        name=name,
        account=account,
        validator_key=vote.public_key if is_validator else None,
        transport_key=link.public_key,
        endpoint="127.0.0.1:1" if is_validator else "",
        roles=roles,
    )
    possession = prove(chain, account, vote) if is_validator else None
    return Admission(member, possession, prove(chain, account, link))


def readmit(chain: Chain, index: int, key: PrivateKey) -> Admission:
    """Return an admission of a member of the genesis with another validator key."""
    member = chain.network.genesis.members[index]
    link = chain.network.transports[index]
    return Admission(
        replace(member, validator_key=key.public_key),
        prove(chain, member.account, key),
        prove(chain, member.account, link),
    )


def propose(chain: Chain, proposer: TestAccount, *changes: Change, title: str = "t") -> Receipt:
    """Let somebody propose; a block of its own."""
    return chain.submit(proposer, "propose", Propose(title, changes).to_fields()).receipts[0]


def vote(chain: Chain, voter: TestAccount, number: int, *, yes: bool = True) -> Receipt:
    """Let somebody vote; a block of its own."""
    proposal = read_proposal(chain, number)
    body = Vote(number, compute_changes_hash(proposal.changes), yes)
    return chain.submit(voter, "vote", body.to_fields()).receipts[0]


def withdraw(chain: Chain, sender: TestAccount, number: int) -> Receipt:
    """Let somebody take a proposal back."""
    body = WithdrawProposal(number).to_fields()
    return chain.submit(sender, "withdraw_proposal", body).receipts[0]


def decide(chain: Chain, voters: Sequence[TestAccount], *changes: Change) -> Proposal:
    """Let the first voter propose and the others agree; return the proposal as it is then."""
    receipt = propose(chain, voters[0], *changes)
    assert receipt.code == "ok", receipt
    number = int(str(receipt.data[0]))
    for voter in voters[1:]:
        receipt = vote(chain, voter, number)
        assert receipt.code == "ok", receipt
    return read_proposal(chain, number)


def read_proposal(chain: Chain, number: int) -> Proposal:
    """Return a proposal that there is."""
    proposal = chain.store.read(proposal_key(number), decode_proposal)
    assert proposal is not None
    return proposal


def status_of(chain: Chain, number: int) -> ProposalStatus:
    """Return what became of a proposal."""
    return read_proposal(chain, number).status


def read_member(chain: Chain, account: AccountId) -> Member:
    """Return a member that there is."""
    member = chain.store.read(member_key(account), decode_member)
    assert member is not None
    return member


def seats(chain: Chain) -> list[AccountId]:
    """Return the accounts of the validators that decide the next block."""
    return [each.account for each in read_validators(chain.store.tip_state).validators]


def pass_epoch(chain: Chain) -> None:
    """Run blocks until the next epoch has begun."""
    length = chain.network.genesis.parameters.epoch_length
    height = chain.store.tip().height
    while chain.store.tip().height < (height // length + 1) * length:
        chain.run()


def make_invite(
    chain: Chain,
    inviter: TestAccount = MEMBERS[0],
    *,
    roles: Role = Role.VALIDATOR | Role.CONTRIBUTOR,
    expires_ms: int = GENESIS_TIME_MS + 10**9,
    invite_id: bytes = INVITE_ID,
    chain_id: bytes | None = None,
) -> Invite:
    """Return a signed invite."""
    member = chain.network.genesis.members[0]
    assert member.transport_key is not None
    return Invite(
        chain_id=chain.network.chain_id if chain_id is None else chain_id,
        chain_name="test-chain",
        peers=(NodeAddress(member.transport_key, member.endpoint),),
        trusted_height=0,
        trusted_block_id=chain.store.header(0).block_id,
        name="newcomer",
        roles=roles,
        expires_ms=expires_ms,
        invite_id=invite_id,
        inviter=inviter.id,
        public_key=inviter.key.public_key,
    ).sign(inviter.key)


def request(
    chain: Chain,
    invite: Invite | None,
    admission: Admission | None = None,
    sender: TestAccount = NEWCOMER,
    *,
    fee_limit: int = 0,
) -> Receipt:
    """Let a newcomer ask to be admitted."""
    body = RequestMembership(
        b"" if invite is None else invite.encode(), admission or make_admission(chain)
    )
    block = chain.submit(sender, "request_membership", body.to_fields(), fee_limit=fee_limit)
    return block.receipts[0]
