"""Members, votes and keys, from Python: ``client.governance``.

>>> client.governance.proposals(status="open")[0].sentences          # doctest: +SKIP
('parameter fee_per_byte: 0 → 5',)
>>> proposal = client.governance.proposal(3)                          # doctest: +SKIP
>>> client.governance.vote(proposal, yes=True).result["status"]       # doctest: +SKIP
'passed'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ledger.changes import Admission, Change, possession_message
from ledger.members import Member, NodeAddress, roles_from_text
from primitives.accounts import account_from_text
from primitives.codec import Encodable
from primitives.keys import PrivateKey
from quorate import bodies
from quorate.connection import Connection, Json
from quorate.records import Transaction
from quorate.sender import Sender

__all__ = ["Governance", "MemberRecord", "ProposalRecord", "ValidatorRecord", "prove_possession"]

Submit = Callable[[int, list[Encodable]], Transaction]


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """An organisation of the consortium; ``roles`` is empty for a former one."""

    account: str
    name: str
    contact: str
    roles: tuple[str, ...]
    validator_key: str | None
    is_validator: bool
    suspended_height: int | None
    raw: Json

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            body["account"],
            body["name"],
            body["contact"],
            tuple(body["roles"]),
            body["validator_key"],
            body["is_validator"],
            body["suspended_height"],
            body,
        )

    def to_member(self) -> Member:
        """Return the entry of the registry, to be changed and sent."""
        nodes = [
            NodeAddress(bytes.fromhex(node["transport_key"]), node["endpoint"])
            for node in self.raw["nodes"]
        ]
        # The first node is of slot 0, whatever else it is.
        has_first = bool(self.raw["nodes"]) and self.raw["nodes"][0]["number"] < SLOT_FACTOR
        first = nodes[0] if has_first else None
        return Member(
            name=self.name,
            account=account_from_text(self.account),
            validator_key=None if self.validator_key is None else bytes.fromhex(self.validator_key),
            transport_key=None if first is None else first.transport_key,
            endpoint="" if first is None else first.endpoint,
            contact=self.contact,
            roles=roles_from_text(list(self.roles)),
            observers=tuple(nodes[1:] if has_first else nodes),
            accounts=tuple(account_from_text(each) for each in self.raw["accounts"]),
        )


SLOT_FACTOR = 1_000
"""Numbers of nodes below it are those of first nodes (docs/spec/p2p.md §1)."""


@dataclass(frozen=True, slots=True)
class ValidatorRecord:
    """A seat of the present epoch."""

    index: int
    name: str
    account: str
    public_key: str


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """Changes that validators vote on, and how it stands."""

    number: int
    title: str
    status: str
    proposer: str
    expires_height: int
    changes_hash: str
    sentences: tuple[str, ...]
    yes: int
    no: int
    needed: int
    raw: Json

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        return cls(
            body["number"],
            body["title"],
            body["status"],
            body["proposer"],
            body["expires_height"],
            body["changes_hash"],
            tuple(body["sentences"]),
            body["yes"],
            body["no"],
            body["needed"],
            body,
        )


class Governance:
    """What members decide, for one account; made by :class:`quorate.Client`.

    Parameters
    ----------
    connection : to the node.
    get_sender : returns who signs; raises without a key.
    submit : sends a transaction and returns it once it is final.
    """

    def __init__(
        self, connection: Connection, get_sender: Callable[[], Sender], submit: Submit
    ) -> None:
        self._connection = connection
        self._get_sender = get_sender
        self._submit = submit

    def members(self) -> list[MemberRecord]:
        """Return every organisation that was ever admitted."""
        items = self._connection.get("/api/v1/members")["items"]
        return [MemberRecord.from_json(item) for item in items]

    def member(self, account: str | None = None) -> MemberRecord:
        """Return an organisation, one's own if none is named."""
        name = self._get_sender().account if account is None else account
        return MemberRecord.from_json(self._connection.get(f"/api/v1/members/{name}"))

    def validators(self) -> list[ValidatorRecord]:
        """Return who decides this epoch."""
        return [ValidatorRecord(**item) for item in self.read_validators()["validators"]]

    def read_validators(self) -> Json:
        """Return who decides this epoch and, once that is settled, the next, as JSON."""
        return self._connection.get("/api/v1/validators")

    def proposals(self, *, status: str | None = None, limit: int = 50) -> list[ProposalRecord]:
        """Return the newest proposals, newest first."""
        page = self._connection.get("/api/v1/proposals", {"status": status, "limit": limit})
        return [ProposalRecord.from_json(item) for item in page["items"]]

    def proposal(self, number: int) -> ProposalRecord:
        """Return one proposal."""
        return ProposalRecord.from_json(self._connection.get(f"/api/v1/proposals/{number}"))

    def parameters(self) -> dict[str, int]:
        """Return the parameters in force."""
        items = self._connection.get("/api/v1/parameters")["items"]
        return {item["name"]: item["value"] for item in items}

    def read_chain_id(self) -> bytes:
        """Return the chain id of the node's network, 32 bytes."""
        return bytes.fromhex(self._connection.get("/api/v1/status")["chain_id"])

    def propose(self, title: str, *changes: Change) -> Transaction:
        """Put changes to the vote; ``result["number"]`` is the proposal's number."""
        fields: list[Encodable] = [change.to_fields() for change in changes]
        return self._submit(bodies.PROPOSE, [title, fields])

    def vote(self, proposal: ProposalRecord, *, yes: bool) -> Transaction:
        """Vote on a proposal as it was read."""
        body: list[Encodable] = [proposal.number, bytes.fromhex(proposal.changes_hash), yes]
        return self._submit(bodies.VOTE, body)

    def withdraw(self, number: int) -> Transaction:
        """Take back one's own proposal."""
        return self._submit(bodies.WITHDRAW_PROPOSAL, [number])

    def leave_validators(self) -> Transaction:
        """Give up one's vote; takes effect with an epoch that can spare it."""
        return self._submit(bodies.LEAVE_VALIDATORS, [])

    def request_roles(self, admission: Admission) -> Transaction:
        """Ask, as a member, for what an admission says."""
        return self._submit(bodies.REQUEST_MEMBERSHIP, [b"", *admission.to_fields()[1:]])

    def update_member(self, member: Member, possessions: tuple[bytes, ...] = ()) -> Transaction:
        """Write another contact, other nodes or further accounts of one's own."""
        return self._submit(bodies.UPDATE_MEMBER, [member.to_fields(), list(possessions)])

    def rotate_account_key(self, key: PrivateKey) -> Transaction:
        """Let another key sign for the account from the next transaction on."""
        possession = self.prove_possession(key)
        return self._submit(bodies.ROTATE_ACCOUNT_KEY, [key.public_key, possession])

    def rotate_validator_key(self, key: PrivateKey) -> Transaction:
        """Move one's vote to another key with the next epoch."""
        possession = self.prove_possession(key)
        return self._submit(bodies.ROTATE_VALIDATOR_KEY, [key.public_key, possession])

    def prove_possession(self, key: PrivateKey) -> bytes:
        """Return a key's signature for one's own account."""
        return prove_possession(key, self.read_chain_id(), self._get_sender().account)


def prove_possession(key: PrivateKey, chain_id: bytes, account: str) -> bytes:
    """Return the signature by which a key shows that somebody holds it for an account."""
    return key.sign(possession_message(chain_id, account_from_text(account), key.public_key))
