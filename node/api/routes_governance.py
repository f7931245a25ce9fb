"""Members, validators, proposals, parameters, protocol and genesis: who decides, and about what."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from ledger.changes import compute_changes_hash
from ledger.governance import compute_votes_needed
from ledger.governance_records import (
    CHAIN_PROTOCOL,
    PROPOSAL_PREFIX,
    Proposal,
    ProposalStatus,
    Protocol,
    decode_proposal,
    decode_protocol,
    proposal_key,
)
from ledger.members import Member, decode_member, member_key
from ledger.membership import find_step, is_safe_step
from ledger.membership_records import Decision, decode_suspension, suspension_key
from ledger.parameters import get_limits
from ledger.reader import LedgerReader
from ledger.schema import (
    CHAIN_NEXT_VALIDATORS,
    CHAIN_ROSTER,
    CHAIN_VALIDATORS,
    MEMBERS_MAX,
    Validators,
    decode_roster,
    decode_validators,
)
from ledger.stored_records import decode_own
from node.api.change_wording import describe_change, show_change
from node.api.json_codec import parse_account
from node.api.pages import (
    PAGE_LIMIT_DEFAULT,
    CursorQuery,
    LimitQuery,
    decode_cursor,
    encode_cursor,
)
from node.api.problems import problem_responses
from node.api.service import ApiService, Service
from node.final_state import FinalState
from primitives.accounts import AccountId, account_to_text
from primitives.errors import InvalidInputError
from primitives.header import PROTOCOL_VERSION_MAX

__all__ = ["router"]

router = APIRouter(prefix="/api/v1", tags=["governance"])

NumberPath = Annotated[int, Path(ge=1, le=2**63 - 1, description="Number of the proposal.")]
AccountPath = Annotated[str, Path(description="Account of the member, qr1…", max_length=90)]
StatusQuery = Annotated[
    str | None, Query(description="Only proposals of this status, such as `open`.")
]


class NodeView(BaseModel):
    """A node of a member."""

    number: int = Field(description="By which peers know it.")
    transport_key: str
    endpoint: str = Field(description="host:port; empty if nobody can reach it.")
    is_observer: bool


class MemberView(BaseModel):
    """An organisation of the consortium."""

    account: str
    name: str
    contact: str
    roles: list[str] = Field(description="None for a former member.")
    accounts: list[str] = Field(description="Further accounts with its roles.")
    validator_key: str | None
    nodes: list[NodeView]
    is_validator: bool = Field(description="It has a seat in this epoch.")
    suspended_height: int | None


class MemberPage(BaseModel):
    """Members in the order of their admission."""

    items: list[MemberView]


class SeatView(BaseModel):
    """A validator."""

    index: int
    name: str
    account: str
    public_key: str


class ValidatorsView(BaseModel):
    """Who decides this epoch and, once that is settled, the next."""

    epoch: int
    height: int
    epoch_end_height: int
    quorum: int
    validators: list[SeatView]
    next_validators: list[SeatView] | None


class VoteView(BaseModel):
    """A validator's vote."""

    account: str
    name: str
    yes: bool


class ProposalView(BaseModel):
    """Changes that validators vote on."""

    number: int
    title: str
    status: str
    proposer: str
    proposer_name: str
    created_height: int
    expires_height: int
    closed_height: int | None
    blocks_left: int
    changes_hash: str = Field(description="A vote names it: what was seen is what is voted for.")
    changes: list[dict[str, Any]]
    sentences: list[str] = Field(description="What each change does, as against now.")
    votes: list[VoteView]
    yes: int
    no: int
    needed: int = Field(description="Yes votes, of the validators of this epoch.")
    validators_before: list[str]
    validators_after: list[str] = Field(description="If nothing but this were decided.")
    is_safe_step: bool


class ProposalPage(BaseModel):
    """Proposals, newest first."""

    items: list[ProposalView]
    next_cursor: str | None


class ParameterView(BaseModel):
    """A governed parameter."""

    name: str
    value: int
    minimum: int
    maximum: int


class ParameterPage(BaseModel):
    """All parameters in force."""

    height: int
    items: list[ParameterView]


class ProtocolView(BaseModel):
    """Which version of the protocol blocks follow."""

    version: int
    next_version: int | None
    next_height: int | None = Field(description="Of the first block that follows it.")
    supported_version: int = Field(description="The newest that this node's software knows.")
    is_supported: bool = Field(description="This node can go on as things are decided.")


@router.get("/members", operation_id="list_members", responses=problem_responses("not_ready"))
async def list_members(service: Service) -> MemberPage:
    """Return every organisation that was ever admitted."""
    names = _Names(service.ledger)
    return MemberPage(items=[names.show(account) for account in names.roster])


@router.get(
    "/members/{account}",
    operation_id="get_member",
    responses=problem_responses("unknown_account", "malformed_request", "not_ready"),
)
async def get_member(service: Service, account: AccountPath) -> MemberView:
    """Return one organisation."""
    names, account_id = _Names(service.ledger), parse_account(account)
    if account_id not in names.roster:
        raise InvalidInputError(
            "unknown_account", f"{account} is no member", field="account", value=account
        )
    return names.show(account_id)


@router.get("/validators", operation_id="list_validators", responses=problem_responses("not_ready"))
async def list_validators(service: Service) -> ValidatorsView:
    """Return who decides this epoch and the next."""
    ledger, parameters = service.ledger, service.read_parameters()
    names = _Names(ledger)
    height = ledger.tip().height
    epoch = parameters.epoch_of(height + 1)
    following = ledger.read(CHAIN_NEXT_VALIDATORS, decode_validators)
    return ValidatorsView(
        epoch=epoch,
        height=height,
        epoch_end_height=parameters.epoch_end(epoch),
        quorum=names.seats.to_validator_set().quorum,
        validators=names.show_seats(names.seats),
        next_validators=None if following is None else names.show_seats(following),
    )


@router.get(
    "/proposals",
    operation_id="list_proposals",
    responses=problem_responses("malformed_request", "not_ready"),
)
async def list_proposals(
    service: Service,
    status: StatusQuery = None,
    limit: LimitQuery = PAGE_LIMIT_DEFAULT,
    cursor: CursorQuery = None,
) -> ProposalPage:
    """Return proposals, newest first."""
    wanted = _parse_status(status)
    start = decode_cursor(cursor)
    found = service.ledger.scan(PROPOSAL_PREFIX, start_after=start, limit=limit + 1, reverse=True)
    names = _Names(service.ledger)
    proposals = [decode_own(value, decode_proposal) for _, value in found[:limit]]
    shown = [each for each in proposals if wanted is None or each.status is wanted]
    return ProposalPage(
        items=[_show_proposal(service, names, each) for each in shown],
        next_cursor=encode_cursor(found[limit - 1][0]) if len(found) > limit else None,
    )


@router.get(
    "/proposals/{number}",
    operation_id="get_proposal",
    responses=problem_responses("unknown_proposal", "not_ready"),
)
async def get_proposal(service: Service, number: NumberPath) -> ProposalView:
    """Return one proposal with what it would change."""
    proposal = service.ledger.read(proposal_key(number), decode_proposal)
    if proposal is None:
        raise InvalidInputError(
            "unknown_proposal", f"there is no proposal {number}", field="number", value=number
        )
    return _show_proposal(service, _Names(service.ledger), proposal)


@router.get("/parameters", operation_id="list_parameters", responses=problem_responses("not_ready"))
async def list_parameters(service: Service) -> ParameterPage:
    """Return the parameters in force and what a vote may make of each."""
    items = []
    for name, value in service.read_parameters().to_mapping().items():
        low, high = get_limits(name)
        items.append(ParameterView(name=name, value=value, minimum=low, maximum=high))
    return ParameterPage(height=service.ledger.tip().height, items=items)


@router.get("/protocol", operation_id="get_protocol", responses=problem_responses("not_ready"))
async def get_protocol(service: Service) -> ProtocolView:
    """Return the version of the protocol, and the next one if it is decided."""
    protocol = service.ledger.read(CHAIN_PROTOCOL, decode_protocol) or Protocol()
    has_next = protocol.next_version > 0
    first = protocol.next_epoch * service.read_parameters().epoch_length + 1
    return ProtocolView(
        version=protocol.version,
        next_version=protocol.next_version if has_next else None,
        next_height=first if has_next else None,
        supported_version=PROTOCOL_VERSION_MAX,
        is_supported=max(protocol.version, protocol.next_version) <= PROTOCOL_VERSION_MAX,
    )


@router.get("/genesis", operation_id="get_genesis", responses=problem_responses("not_ready"))
async def get_genesis(service: Service) -> dict[str, Any]:
    """Return the genesis file; its hash is the chain id."""
    document: dict[str, Any] = json.loads(service.ledger.genesis().to_json())
    return document


class _Names:
    """Members and seats as of one moment, looked up once for an answer."""

    def __init__(self, ledger: LedgerReader) -> None:
        self._ledger = ledger
        roster = ledger.read(CHAIN_ROSTER, decode_roster)
        self.roster = () if roster is None else roster.accounts
        self.seats = ledger.read(CHAIN_VALIDATORS, decode_validators) or Validators(())

    def name_of(self, account: AccountId) -> str:
        """Return a member's name, or the account if it is none."""
        member = self._find(account)
        return account_to_text(account) if member is None else member.name

    def show(self, account: AccountId) -> MemberView:
        """Return a member's page."""
        member = self._find(account)
        if member is None:
            raise InvalidInputError("unknown_account", "no such member", field="account")
        suspension = self._ledger.read(suspension_key(account), decode_suspension)
        place = self.roster.index(account)
        nodes = [
            NodeView(
                number=slot * MEMBERS_MAX + place,
                transport_key=node.transport_key.hex(),
                endpoint=node.endpoint,
                is_observer=slot > 0 or "validator" not in _list_roles(member),
            )
            for slot, node in enumerate(member.list_nodes())
            if node is not None
        ]
        return MemberView(
            account=account_to_text(account),
            name=member.name,
            contact=member.contact,
            roles=_list_roles(member),
            accounts=[account_to_text(each) for each in member.accounts],
            validator_key=None if member.validator_key is None else member.validator_key.hex(),
            nodes=nodes,
            is_validator=any(seat.account == account for seat in self.seats.validators),
            suspended_height=None if suspension is None else suspension.height,
        )

    def show_seats(self, validators: Validators) -> list[SeatView]:
        """Return validators in the order of their indices."""
        return [
            SeatView(
                index=index,
                name=self.name_of(seat.account),
                account=account_to_text(seat.account),
                public_key=seat.public_key.hex(),
            )
            for index, seat in enumerate(validators.validators)
        ]

    def _find(self, account: AccountId) -> Member | None:
        return self._ledger.read(member_key(account), decode_member)


def _list_roles(member: Member) -> list[str]:
    return [role.name.lower() for role in type(member.roles) if role & member.roles and role.name]


def _parse_status(status: str | None) -> ProposalStatus | None:
    if status is None:
        return None
    try:
        return ProposalStatus[status.upper()]
    except KeyError as error:
        known = ", ".join(each.name.lower() for each in ProposalStatus)
        raise InvalidInputError(
            "malformed_request",
            f"status knows {known}; found {status!r}",
            field="status",
            value=status,
        ) from error


def _show_proposal(service: ApiService, names: _Names, proposal: Proposal) -> ProposalView:
    ledger, parameters = service.ledger, service.read_parameters()
    height = ledger.tip().height
    is_open = proposal.status is ProposalStatus.OPEN
    decision = Decision(proposal.number, height, proposal.changes)
    before, after = find_step(FinalState(ledger), decision)
    yes = sum(vote for _, vote in proposal.votes)
    return ProposalView(
        number=proposal.number,
        title=proposal.title,
        status=proposal.status.name.lower(),
        proposer=account_to_text(proposal.proposer),
        proposer_name=names.name_of(proposal.proposer),
        created_height=proposal.created_height,
        expires_height=proposal.expires_height,
        closed_height=proposal.closed_height or None,
        blocks_left=max(0, proposal.expires_height - height) if is_open else 0,
        changes_hash=compute_changes_hash(proposal.changes).hex(),
        changes=[show_change(change) for change in proposal.changes],
        sentences=[describe_change(each, ledger, parameters) for each in proposal.changes],
        votes=[
            VoteView(account=account_to_text(account), name=names.name_of(account), yes=vote)
            for account, vote in proposal.votes
        ],
        yes=yes,
        no=len(proposal.votes) - yes,
        needed=compute_votes_needed(parameters, proposal.changes, len(before.validators)),
        validators_before=[names.name_of(seat.account) for seat in before.validators],
        validators_after=[_name_after(names, proposal, seat.account) for seat in after.validators],
        is_safe_step=before == after or is_safe_step(before, after),
    )


def _name_after(names: _Names, proposal: Proposal, account: AccountId) -> str:
    """Return a name that the proposal itself may bring."""
    for change in proposal.changes:
        shown = show_change(change).get("member")
        if shown is not None and shown["account"] == account_to_text(account):
            return str(shown["name"])
    return names.name_of(account)
