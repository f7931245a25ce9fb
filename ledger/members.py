"""Members of the consortium, as the registry on the ledger knows them.

A member is an organisation: it has a name, an account, roles that validators gave it, and nodes.
Its first node is its validator if it has a vote; further nodes are observers. Peers connect to the
nodes that are listed here and to nobody else. Source: docs/spec/ledger.md §14.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from ledger.schema import RECORD_BYTES_MAX, StateReader, read_record
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from primitives.keys import PUBLIC_KEY_BYTES, check_public_key

__all__ = [
    "ACCOUNTS_PER_MEMBER_MAX",
    "CONTACT_PATTERN",
    "ENDPOINT_PATTERN",
    "MEMBER_NAME_PATTERN",
    "MEMBER_PREFIX",
    "OBSERVERS_PER_MEMBER_MAX",
    "ROLES_MAX",
    "ActsFor",
    "Member",
    "NodeAddress",
    "Role",
    "acts_for_key",
    "check_endpoint",
    "check_member",
    "decode_acts_for",
    "decode_member",
    "find_member",
    "member_key",
    "name_key",
    "read_member_fields",
    "roles_from_text",
    "roles_to_text",
]

NAME_BYTES_MAX: Final = 64
CONTACT_BYTES_MAX: Final = 128
ENDPOINT_BYTES_MAX: Final = 256
OBSERVERS_PER_MEMBER_MAX: Final = 8
ACCOUNTS_PER_MEMBER_MAX: Final = 32

MEMBER_NAME_PATTERN: Final = re.compile(r"[^\x00-\x1f\x7f]{1,64}")
CONTACT_PATTERN: Final = re.compile(r"[^\x00-\x1f\x7f]{0,128}")
ENDPOINT_PATTERN: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,249}:[0-9]{1,5}")

MEMBER_PREFIX: Final = b"member/"


class Role(IntFlag):
    """What a member may do; a member without any has left."""

    NONE = 0
    VALIDATOR = 1
    """Votes on blocks and proposals, as soon as it has a seat."""
    CONTRIBUTOR = 2
    """Sends contributions where the network asks for this role."""
    READER = 4
    """Follows with nodes of its own."""
    AUDITOR = 8
    """Follows to examine; the same rights as a reader, another purpose."""


ROLES_MAX: Final = int(Role.VALIDATOR | Role.CONTRIBUTOR | Role.READER | Role.AUDITOR)


def roles_to_text(roles: Role) -> list[str]:
    """Return the names of roles, in their order: ``["validator", "reader"]``."""
    return [role.name.lower() for role in Role if role and role in roles and role.name]


def roles_from_text(names: list[str]) -> Role:
    """Return the roles with these names.

    Raises
    ------
    InvalidInputError
        ``malformed`` for an unknown name.
    """
    roles = Role.NONE
    for name in names:
        try:
            roles |= Role[name.strip().upper()]
        except KeyError as error:
            known = ", ".join(roles_to_text(Role(ROLES_MAX)))
            raise InvalidInputError(
                "malformed", f"roles knows {known}; found {name!r}", field="roles", value=name
            ) from error
    return roles


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A further node of a member.

    Parameters
    ----------
    transport_key : of its connections.
    endpoint : ``host:port`` where it listens, or empty if nobody can reach it.
    """

    transport_key: bytes
    endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """An organisation of the consortium.

    Parameters
    ----------
    name : for people, 1 to 64 characters.
    account : its money and its identity; what it earns for blocks that it proposes goes there.
    validator_key : of its votes, or None if it has never had one.
    transport_key : of the connections of its first node, or None if it has no node.
    endpoint : ``host:port`` where its first node listens, or empty if nobody can reach it.
    contact : how to reach its people, up to 128 characters.
    roles : what it may do.
    observers : its further nodes, at most `OBSERVERS_PER_MEMBER_MAX`.
    accounts : further accounts that have its roles, at most `ACCOUNTS_PER_MEMBER_MAX`.
    """

    name: str
    account: AccountId
    validator_key: bytes | None
    transport_key: bytes | None
    endpoint: str
    contact: str = ""
    roles: Role = Role.VALIDATOR | Role.CONTRIBUTOR
    observers: tuple[NodeAddress, ...] = ()
    accounts: tuple[AccountId, ...] = ()

    def to_fields(self) -> list[Encodable]:
        """Return the canonical form."""
        return [
            self.name,
            self.account,
            self.validator_key,
            self.transport_key,
            self.endpoint,
            self.contact,
            int(self.roles),
            [[node.transport_key, node.endpoint] for node in self.observers],
            list(self.accounts),
        ]

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(self.to_fields())

    def list_nodes(self) -> list[NodeAddress | None]:
        """Return its nodes by slot: the first node or None, then the observers."""
        first = None if self.transport_key is None else self.first_node
        return [first, *self.observers]

    @property
    def first_node(self) -> NodeAddress:
        """Return where its first node is; only if it has one."""
        return NodeAddress(self.transport_key or b"", self.endpoint)


def read_member_fields(value: Value, name: str = "member") -> Member:
    """Return the member that a field describes; its texts are checked by `check_member`.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range`` or ``too_large``.
    """
    reader = FieldReader(value, name, 9)
    member = Member(
        name=reader.text("name", NAME_BYTES_MAX),
        account=AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)),
        validator_key=reader.optional_bytes("validator_key", PUBLIC_KEY_BYTES),
        transport_key=reader.optional_bytes("transport_key", PUBLIC_KEY_BYTES),
        endpoint=reader.text("endpoint", ENDPOINT_BYTES_MAX),
        contact=reader.text("contact", CONTACT_BYTES_MAX),
        roles=Role(reader.integer("roles", 0, ROLES_MAX)),
        observers=tuple(
            _read_node(item) for item in reader.array("observers", OBSERVERS_PER_MEMBER_MAX)
        ),
        accounts=tuple(
            AccountId(FieldReader([item], name, 1).bytes("account", ACCOUNT_ID_BYTES))
            for item in reader.array("accounts", ACCOUNTS_PER_MEMBER_MAX)
        ),
    )
    reader.end()
    return member


def decode_member(data: bytes) -> Member:
    """Return the member whose canonical bytes are `data`; raises as `read_record`."""
    return read_member_fields(decode(data, bytes_max=RECORD_BYTES_MAX))


def check_member(member: Member, name: str = "member") -> None:
    """Check what the form of the fields does not say: texts, keys, that nothing occurs twice.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``bad_public_key`` or ``duplicate``.
    """
    _check_text(member.name, f"{name}.name", MEMBER_NAME_PATTERN)
    _check_text(member.contact, f"{name}.contact", CONTACT_PATTERN)
    nodes = [node for node in member.list_nodes() if node is not None]
    for node in nodes:
        check_public_key(node.transport_key, f"{name}.transport_key")
        if node.endpoint:
            check_endpoint(node.endpoint, f"{name}.endpoint")
    if member.transport_key is None and member.endpoint:
        raise _malformed(f"{name}.endpoint", "is given for a node without a transport key")
    if member.validator_key is not None:
        check_public_key(member.validator_key, f"{name}.validator_key")
    if Role.VALIDATOR in member.roles and (
        member.validator_key is None or member.transport_key is None or not member.endpoint
    ):
        raise _malformed(
            f"{name}.roles", "has validator, which needs validator key, transport key and endpoint"
        )
    keys = [node.transport_key for node in nodes]
    keys += [] if member.validator_key is None else [member.validator_key]
    accounts = [member.account, *member.accounts]
    if len(set(keys)) < len(keys) or len(set(accounts)) < len(accounts):
        raise InvalidInputError(
            "duplicate", f"{name} names a key or an account twice", field=name, value=member.name
        )


def check_endpoint(endpoint: str, field: str) -> None:
    """Check that an endpoint is ``host:port``; raises `InvalidInputError`, ``malformed``."""
    _check_text(endpoint, field, ENDPOINT_PATTERN)
    if not 1 <= int(endpoint.rpartition(":")[2]) <= 65_535:
        raise _malformed(field, f"must end with a port from 1 to 65535, found {endpoint!r}")


def member_key(account: AccountId) -> bytes:
    """Return the state key of a member, who is known by its account."""
    return MEMBER_PREFIX + account


def name_key(name: str) -> bytes:
    """Return the state key that says whose a name is, so that no two members look the same."""
    return b"name/" + name.casefold().encode()


@dataclass(frozen=True, slots=True)
class ActsFor:
    """Whose a further account, or a name, is."""

    account: AccountId

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.account,))


def decode_acts_for(data: bytes) -> ActsFor:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "acts_for", 1)
    return ActsFor(AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)))


def acts_for_key(account: AccountId) -> bytes:
    """Return the state key of the member that a further account acts for."""
    return b"acts_for/" + account


def find_member(state: StateReader, account: AccountId) -> Member | None:
    """Return the member that an account is, or that it acts for, or None."""
    member = state.get(member_key(account), decode_member)
    if member is None:
        holder = state.get(acts_for_key(account), decode_acts_for)
        if holder is not None:
            member = state.get(member_key(holder.account), decode_member)
    return member


def _read_node(value: Value) -> NodeAddress:
    reader = FieldReader(value, "node", 2)
    return NodeAddress(
        reader.bytes("transport_key", PUBLIC_KEY_BYTES), reader.text("endpoint", ENDPOINT_BYTES_MAX)
    )


def _check_text(text: str, field: str, pattern: re.Pattern[str]) -> None:
    if pattern.fullmatch(text) is None:
        raise InvalidInputError(
            "malformed",
            f"{field} must be text of the form {pattern.pattern}, found {text!r}",
            field=field,
            value=text,
        )


def _malformed(field: str, complaint: str) -> InvalidInputError:
    return InvalidInputError("malformed", f"{field} {complaint}", field=field)
