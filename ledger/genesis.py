"""The genesis: who the members are, what they own at first, and the first parameters.

The file is JSON for people; the chain id is the hash of a canonical encoding of what it says, so
spacing and order of keys do not matter. Source: docs/spec/ledger.md §10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from ledger.members import (
    ACCOUNTS_PER_MEMBER_MAX,
    CONTACT_PATTERN,
    ENDPOINT_PATTERN,
    MEMBER_NAME_PATTERN,
    OBSERVERS_PER_MEMBER_MAX,
    Member,
    NodeAddress,
    Role,
    check_member,
    roles_from_text,
    roles_to_text,
)
from ledger.parameters import Parameters, parameters_from_mapping
from ledger.schema import AMOUNT_MAX
from primitives.accounts import AccountId, account_from_text, account_to_text
from primitives.codec import encode
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX
from primitives.hashing import Tag, tagged_hash
from primitives.keys import PUBLIC_KEY_BYTES, check_public_key
from primitives.validator_set import VALIDATORS_MAX, ValidatorSet

__all__ = ["Genesis", "genesis_from_json"]

GENESIS_FORMAT: Final = "quorate-genesis/1"
GENESIS_BYTES_MAX: Final = 16 * 1024 * 1024

_CHAIN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

_FIELDS: Final = ("format", "chain_name", "timestamp_ms", "members", "allocations", "parameters")
_MEMBER_FIELDS: Final = ("name", "account", "validator_key", "transport_key", "endpoint")
_OPTIONAL_MEMBER_FIELDS: Final = ("contact", "roles", "observers", "accounts")


@dataclass(frozen=True)
class Genesis:
    """How a network starts.

    Parameters
    ----------
    chain_name : a name for people, ``[a-z0-9][a-z0-9-]*`` of at most 63 characters.
    timestamp_ms : time of the genesis block in milliseconds since 1970.
    members : organisations; each runs one validator, whose index is its place here.
    allocations : free money of accounts, in the smallest unit.
    parameters : limits and prices.
    """

    chain_name: str
    timestamp_ms: int
    members: tuple[Member, ...]
    allocations: Mapping[AccountId, int]
    parameters: Parameters

    @cached_property
    def chain_id(self) -> bytes:
        """The genesis hash, 32 bytes: names the network in everything that is signed."""
        return tagged_hash(
            Tag.GENESIS,
            encode(
                (
                    GENESIS_FORMAT,
                    self.chain_name,
                    self.timestamp_ms,
                    [member.encode() for member in self.members],
                    sorted(self.allocations.items()),
                    self.parameters.values(),
                )
            ),
        )

    @property
    def supply(self) -> int:
        """All money that exists at first."""
        return sum(self.allocations.values())

    def to_validator_set(self) -> ValidatorSet:
        """Return the validators of the first epoch."""
        keys = (member.validator_key for member in self.members)
        return ValidatorSet(tuple(key for key in keys if key is not None))

    def to_json(self) -> str:
        """Return the text of the genesis file."""
        document = {
            "format": GENESIS_FORMAT,
            "chain_name": self.chain_name,
            "timestamp_ms": self.timestamp_ms,
            "members": [_member_to_json(member) for member in self.members],
            "allocations": {
                account_to_text(account): amount
                for account, amount in sorted(self.allocations.items())
            },
            "parameters": self.parameters.to_mapping(),
        }
        return json.dumps(document, indent=2) + "\n"


def genesis_from_json(text: str) -> Genesis:
    """Return the genesis that a file describes.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``out_of_range``, ``too_large`` or ``duplicate``, with the path of the field.
    """
    if len(text) > GENESIS_BYTES_MAX:
        raise InvalidInputError(
            "too_large",
            f"genesis has {len(text)} characters, more than the limit of {GENESIS_BYTES_MAX}",
            field="genesis",
            value=len(text),
            limit=GENESIS_BYTES_MAX,
        )
    try:
        parsed = json.loads(text, object_pairs_hook=_object_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _malformed("genesis", f"is not valid JSON: {error}") from error
    document = _object(parsed, "genesis", _FIELDS)
    if document["format"] != GENESIS_FORMAT:
        raise _malformed(
            "genesis.format", f"must be {GENESIS_FORMAT!r}, found {document['format']!r}"
        )
    members = document["members"]
    if not isinstance(members, list) or not 1 <= len(members) <= VALIDATORS_MAX:
        raise _malformed("genesis.members", f"must be a list of 1 to {VALIDATORS_MAX} members")
    genesis = Genesis(
        chain_name=_text(document["chain_name"], "genesis.chain_name", _CHAIN_NAME),
        timestamp_ms=_integer(document["timestamp_ms"], "genesis.timestamp_ms", COUNTER_MAX),
        members=tuple(_read_member(item, index) for index, item in enumerate(members)),
        allocations=_read_allocations(document["allocations"]),
        parameters=parameters_from_mapping(_mapping(document["parameters"], "genesis.parameters")),
    )
    _check_distinct(genesis)
    return genesis


def _read_member(value: object, index: int) -> Member:
    path = f"genesis.members[{index}]"
    fields = _object(value, path, _MEMBER_FIELDS, _OPTIONAL_MEMBER_FIELDS)
    roles = roles_from_text(_texts(fields.get("roles", ["validator", "contributor"]), path))
    if Role.VALIDATOR not in roles:
        raise _malformed(f"{path}.roles", "must hold validator: each of the first members is one")
    observers = fields.get("observers", [])
    accounts = _texts(fields.get("accounts", []), f"{path}.accounts")
    if not isinstance(observers, list) or len(observers) > OBSERVERS_PER_MEMBER_MAX:
        raise _malformed(
            f"{path}.observers", f"must be a list of at most {OBSERVERS_PER_MEMBER_MAX}"
        )
    if len(accounts) > ACCOUNTS_PER_MEMBER_MAX:
        raise _malformed(f"{path}.accounts", f"must be at most {ACCOUNTS_PER_MEMBER_MAX}")
    member = Member(
        name=_text(fields["name"], f"{path}.name", MEMBER_NAME_PATTERN),
        account=_account(fields["account"], f"{path}.account"),
        validator_key=_public_key(fields["validator_key"], f"{path}.validator_key"),
        transport_key=_public_key(fields["transport_key"], f"{path}.transport_key"),
        endpoint=_text(fields["endpoint"], f"{path}.endpoint", ENDPOINT_PATTERN),
        contact=_text(fields.get("contact", ""), f"{path}.contact", CONTACT_PATTERN),
        roles=roles,
        observers=tuple(
            _read_node(item, f"{path}.observers[{place}]") for place, item in enumerate(observers)
        ),
        accounts=tuple(_account(text, f"{path}.accounts") for text in accounts),
    )
    check_member(member, path)
    return member


def _read_node(value: object, path: str) -> NodeAddress:
    fields = _object(value, path, ("transport_key", "endpoint"))
    endpoint = fields["endpoint"]
    return NodeAddress(
        _public_key(fields["transport_key"], f"{path}.transport_key"),
        "" if endpoint == "" else _text(endpoint, f"{path}.endpoint", ENDPOINT_PATTERN),
    )


def _member_to_json(member: Member) -> dict[str, object]:
    return {
        "name": member.name,
        "account": account_to_text(member.account),
        "validator_key": (member.validator_key or b"").hex(),
        "transport_key": (member.transport_key or b"").hex(),
        "endpoint": member.endpoint,
        "contact": member.contact,
        "roles": roles_to_text(member.roles),
        "observers": [
            {"transport_key": node.transport_key.hex(), "endpoint": node.endpoint}
            for node in member.observers
        ],
        "accounts": [account_to_text(account) for account in member.accounts],
    }


def _read_allocations(value: object) -> dict[AccountId, int]:
    path = "genesis.allocations"
    allocations = {}
    for text, amount in _mapping(value, path).items():
        account = _account(text, path)
        if account in allocations:
            raise InvalidInputError(
                "duplicate", f"{path} names {text} twice", field=path, value=text
            )
        allocations[account] = _integer(amount, f"{path}.{text}", AMOUNT_MAX)
    total = sum(allocations.values())
    if total > AMOUNT_MAX:
        raise InvalidInputError(
            "out_of_range",
            f"{path} add up to {total}, more than {AMOUNT_MAX}",
            field=path,
            value=total,
            limit=AMOUNT_MAX,
        )
    return allocations


def _check_distinct(genesis: Genesis) -> None:
    """Check that no two members share what identifies one of them."""
    for name in ("name", "account", "validator_key", "transport_key"):
        values = [getattr(member, name) for member in genesis.members]
        for index, value in enumerate(values):
            if value in values[:index]:
                raise InvalidInputError(
                    "duplicate",
                    f"genesis.members[{index}].{name} is that of an earlier member too",
                    field=f"genesis.members[{index}].{name}",
                    value=value if isinstance(value, str) else value.hex(),
                )
    for name, values in (
        ("transport_key", [key for member in genesis.members for key in _list_keys(member)]),
        ("accounts", [each for member in genesis.members for each in _list_accounts(member)]),
    ):
        if len(set(values)) < len(values):
            raise InvalidInputError(
                "duplicate",
                f"genesis.members names the same {name} for two",
                field=f"genesis.members.{name}",
            )


def _list_keys(member: Member) -> list[bytes]:
    nodes = [node.transport_key for node in member.list_nodes() if node is not None]
    return [member.validator_key or b"", *nodes]


def _list_accounts(member: Member) -> list[AccountId]:
    return [member.account, *member.accounts]


def _object_without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse what JSON readers disagree about."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice in an object")
    return result


def _object(
    value: object, path: str, names: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, object]:
    mapping = _mapping(value, path)
    if set(mapping) - set(optional) != set(names):
        raise _malformed(path, f"must have the fields {', '.join(names)}; found {sorted(mapping)}")
    return mapping


def _mapping(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _malformed(path, "must be an object")
    return value


def _text(value: object, path: str, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise _malformed(path, f"must be text of the form {pattern.pattern}, found {value!r}")
    return value


def _texts(value: object, path: str) -> list[str]:
    if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
        raise _malformed(path, "must be a list of texts")
    return value


def _integer(value: object, path: str, high: int) -> int:
    if type(value) is not int:
        raise _malformed(path, f"must be an integer, found {value!r}")
    if not 0 <= value <= high:
        raise InvalidInputError(
            "out_of_range",
            f"{path} must lie in [0, {high}], found {value}",
            field=path,
            value=value,
            limit=high,
        )
    return value


def _account(value: object, path: str) -> AccountId:
    if not isinstance(value, str):
        raise _malformed(path, f"must be an account as text, found {value!r}")
    try:
        return account_from_text(value)
    except InvalidInputError as error:
        raise _malformed(path, f"is not an account: {error.message}") from error


def _public_key(value: object, path: str) -> bytes:
    if not isinstance(value, str) or re.fullmatch(r"[0-9a-f]{64}", value) is None:
        raise _malformed(
            path, f"must be {2 * PUBLIC_KEY_BYTES} lower-case hexadecimal digits, found {value!r}"
        )
    public_key = bytes.fromhex(value)
    check_public_key(public_key, path)
    return public_key


def _malformed(path: str, complaint: str) -> InvalidInputError:
    return InvalidInputError("malformed", f"{path} {complaint}", field=path)
