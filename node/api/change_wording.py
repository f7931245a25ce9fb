"""Decisions as people and programs read them: one sentence and one object for each change.

A sentence says what would be different from now, so that a voter sees the difference before it
signs. Source of the changes: docs/spec/ledger.md §7.6.
"""

from __future__ import annotations

from typing import Any

from ledger.changes import (
    AccountRecovery,
    Admission,
    Change,
    ParameterChange,
    Reinstatement,
    Removal,
    RoleChange,
    Rotation,
    SuspensionOrder,
    Upgrade,
)
from ledger.members import Member, Role, decode_member, member_key, roles_to_text
from ledger.parameters import Parameters
from ledger.reader import LedgerReader
from primitives.accounts import AccountId, account_to_text

__all__ = ["describe_change", "show_change", "show_member_fields"]


def show_member_fields(member: Member) -> dict[str, Any]:
    """Return a member's entry as JSON."""
    return {
        "name": member.name,
        "account": account_to_text(member.account),
        "contact": member.contact,
        "roles": roles_to_text(member.roles),
        "accounts": [account_to_text(account) for account in member.accounts],
        "validator_key": None if member.validator_key is None else member.validator_key.hex(),
        "transport_key": None if member.transport_key is None else member.transport_key.hex(),
        "endpoint": member.endpoint,
        "observers": [
            {"transport_key": node.transport_key.hex(), "endpoint": node.endpoint}
            for node in member.observers
        ],
    }


def show_change(change: Change) -> dict[str, Any]:
    """Return a change as JSON, by its kind."""
    match change:
        case Admission(member=member):
            return {"kind": "admit", "member": show_member_fields(member)}
        case ParameterChange(name=name, value=value):
            return {"kind": "change_parameter", "name": name, "value": value}
        case Upgrade(version=version, epoch=epoch):
            return {"kind": "upgrade", "version": version, "epoch": epoch}
        case RoleChange(account=account, roles=roles):
            shown = {"roles": roles_to_text(roles)}
            return {"kind": "change_roles", "account": account_to_text(account), **shown}
        case (
            Rotation(account=account, public_key=key)
            | AccountRecovery(account=account, public_key=key)
        ):
            kind = "rotate_validator_key" if isinstance(change, Rotation) else "recover_account"
            return {"kind": kind, "account": account_to_text(account), "public_key": key.hex()}
        case Removal(account=account):
            return {"kind": "remove", "account": account_to_text(account)}
        case SuspensionOrder(account=account):
            return {"kind": "suspend", "account": account_to_text(account)}
        case Reinstatement(account=account):
            return {"kind": "reinstate", "account": account_to_text(account)}


def describe_change(change: Change, ledger: LedgerReader, parameters: Parameters) -> str:
    """Return what a change would do, as against the present state, in a sentence."""
    match change:
        case Admission(member=member):
            return _describe_admission(member, _find(ledger, member.account))
        case ParameterChange(name=name, value=value):
            present = parameters.to_mapping().get(name)
            return f"parameter {name}: {present:,} → {value:,}"
        case Upgrade(version=version, epoch=epoch):
            first = epoch * parameters.epoch_length + 1
            return (
                f"blocks follow version {version} of the protocol from height {first:,} on; nodes"
                " that do not know it stop there"
            )
        case RoleChange(account=account, roles=roles):
            found = _find(ledger, account)
            before = "none" if found is None else _list(found.roles)
            return f"{_name(found, account)}: roles {before} → {_list(roles)}"
        case Rotation(account=account, public_key=key):
            found = _find(ledger, account)
            return f"the vote of {_name(found, account)} moves to key {key.hex()}"
        case AccountRecovery(account=account, public_key=key):
            found = _find(ledger, account)
            return f"key {key.hex()} signs for {_name(found, account)} and no other does"
        case Removal(account=account):
            found = _find(ledger, account)
            return f"{_name(found, account)} loses its vote, its roles and its connections"
        case SuspensionOrder(account=account):
            found = _find(ledger, account)
            return f"{_name(found, account)} loses its seat and its roles until it is reinstated"
        case Reinstatement(account=account):
            return f"the suspension of {_name(_find(ledger, account), account)} ends"


def _describe_admission(member: Member, known: Member | None) -> str:
    name = f"{member.name!r} ({account_to_text(member.account)})"
    if known is None or not known.roles:
        votes = " with a vote" if Role.VALIDATOR in member.roles else " without a vote"
        at = f", reached at {member.endpoint}" if member.endpoint else ""
        contact = f", contact {member.contact}" if member.contact else ""
        return f"{name} becomes a member{votes}: {_list(member.roles)}{at}{contact}"
    differences = [
        f"{field}: {before or 'none'} → {after or 'none'}"
        for field, before, after in (
            ("name", known.name, member.name),
            ("roles", _list(known.roles), _list(member.roles)),
            ("endpoint", known.endpoint, member.endpoint),
            ("contact", known.contact, member.contact),
            ("validator key", _hex(known.validator_key), _hex(member.validator_key)),
            ("transport key", _hex(known.transport_key), _hex(member.transport_key)),
            ("observers", len(known.observers), len(member.observers)),
            ("further accounts", len(known.accounts), len(member.accounts)),
        )
        if before != after
    ]
    return f"{name} stays a member; " + ("; ".join(differences) or "nothing changes")


def _find(ledger: LedgerReader, account: AccountId) -> Member | None:
    return ledger.read(member_key(account), decode_member)


def _name(member: Member | None, account: AccountId) -> str:
    text = account_to_text(account)
    return text if member is None else f"{member.name!r} ({text})"


def _list(roles: Role) -> str:
    return ", ".join(roles_to_text(roles)) or "none"


def _hex(key: bytes | None) -> str:
    return "" if key is None else key.hex()
