"""``quorate proposal``, ``validator`` and ``member``: who decides, about what, how it stands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.changes import (
    AccountRecovery,
    Admission,
    Change,
    ParameterChange,
    Reinstatement,
    Removal,
    RoleChange,
    SuspensionOrder,
    Upgrade,
)
from ledger.members import NodeAddress, Role, roles_from_text
from node.commands.keys import open_client, open_key
from node.commands.terminal import ExitCode, OutputFormat, fail, print_answer, render_table
from node.home import NodeHome
from primitives.accounts import AccountId, account_from_text
from primitives.errors import InvalidInputError
from primitives.keys import PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from quorate.client import Client
from quorate.governance import MemberRecord, ProposalRecord, prove_possession
from quorate.records import Transaction

__all__ = [
    "MemberUpdate",
    "ProposalOptions",
    "create_proposal",
    "leave_validators",
    "list_members",
    "list_proposals",
    "list_validators",
    "request_validator",
    "show_member",
    "show_proposal",
    "update_member",
    "vote",
    "withdraw",
]

STATUS_NAMES = ("open", "passed", "applied", "rejected", "withdrawn", "expired", "lapsed")


class ProposalOptions:
    """What ``quorate proposal create`` was asked to put to the vote.

    Parameters
    ----------
    title
        For people; made from the changes if empty.
    set_parameters
        ``NAME=VALUE`` each.
    remove, suspend, reinstate
        Members, by name or account.
    roles
        ``MEMBER=role,role`` each.
    recover
        ``MEMBER=PROOF`` each: the account's new key, as ``quorate keys prove`` prints it.
    upgrade
        ``VERSION@HEIGHT``, or empty.
    """

    def __init__(
        self,
        *,
        title: str,
        set_parameters: Sequence[str],
        remove: Sequence[str],
        suspend: Sequence[str],
        reinstate: Sequence[str],
        roles: Sequence[str],
        recover: Sequence[str],
        upgrade: str,
    ) -> None:
        self.title = title
        self.set_parameters = set_parameters
        self.remove = remove
        self.suspend = suspend
        self.reinstate = reinstate
        self.roles = roles
        self.recover = recover
        self.upgrade = upgrade

    def to_changes(self, client: Client) -> list[Change]:
        """Return the changes; raises `InvalidInputError` for what cannot be understood."""
        find = _Members(client).find
        changes: list[Change] = [_parse_parameter(text) for text in self.set_parameters]
        changes += [Removal(find(text)) for text in self.remove]
        changes += [SuspensionOrder(find(text)) for text in self.suspend]
        changes += [Reinstatement(find(text)) for text in self.reinstate]
        for text in self.roles:
            name, roles = _split(text, "roles", "MEMBER=role,role")
            changes.append(RoleChange(find(name), roles_from_text(roles.split(","))))
        for text in self.recover:
            name, proof = _split(text, "recover", "MEMBER=PROOF")
            changes.append(_parse_recovery(find(name), proof))
        if self.upgrade:
            changes.append(_parse_upgrade(client, self.upgrade))
        return changes


def create_proposal(url: str, key: Path, options: ProposalOptions, output: OutputFormat) -> None:
    """Put changes to the vote, and show what they would do."""
    with open_client(url, key) as client:
        changes = options.to_changes(client)
        if not changes:
            raise fail("name at least one change; see --help", ExitCode.USAGE)
        title = options.title or ", ".join(type(each).__name__ for each in changes)
        result = client.governance.propose(title, *changes)
        _print_proposal(client.governance.proposal(int(result.result["number"])), output)


def list_proposals(url: str, status: str | None, output: OutputFormat) -> None:
    """List proposals, newest first."""
    with Client(url) as client:
        found = client.governance.proposals(status=status)
    rows = [
        [each.number, each.status, f"{each.yes}/{each.needed}", each.expires_height, each.title]
        for each in found
    ]
    text = render_table(["number", "status", "yes", "until height", "title"], rows)
    print_answer([each.raw for each in found], text, output)


def show_proposal(url: str, number: int, output: OutputFormat) -> None:
    """Show one proposal and what it would change."""
    with Client(url) as client:
        _print_proposal(client.governance.proposal(number), output)


def vote(
    url: str, key: Path, number: int, output: OutputFormat, *, yes: bool, is_sure: bool
) -> None:
    """Vote; on a terminal only after the difference was shown and confirmed."""
    with open_client(url, key) as client:
        proposal = client.governance.proposal(number)
        if output is OutputFormat.TEXT:
            sys.stderr.write(describe_proposal(proposal) + "\n")
        if not is_sure and sys.stdin.isatty():
            answer = input(f"vote {'YES' if yes else 'NO'} on proposal {number}? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                raise fail("nothing was sent")
        result = client.governance.vote(proposal, yes=yes)
        _print_vote(result, output)


def withdraw(url: str, key: Path, number: int, output: OutputFormat) -> None:
    """Take back one's own proposal."""
    with open_client(url, key) as client:
        client.governance.withdraw(number)
        _print_proposal(client.governance.proposal(number), output)


def list_validators(url: str, output: OutputFormat) -> None:
    """List who decides this epoch, and the next if it is settled."""
    with Client(url) as client:
        answer = client.governance.read_validators()
    following = answer["next_validators"]
    rows = [[each["index"], each["name"], each["account"]] for each in answer["validators"]]
    lines = [
        render_table(["index", "name", "account"], rows),
        f"epoch {answer['epoch']}, which ends at height {answer['epoch_end_height']}; now"
        f" {answer['height']}; {answer['quorum']} of {len(rows)} decide",
    ]
    if following is not None:
        lines.append("next epoch: " + ", ".join(each["name"] for each in following))
    print_answer(answer, "\n".join(lines), output)


def list_members(url: str, output: OutputFormat) -> None:
    """List organisations."""
    with Client(url) as client:
        members = client.governance.members()
    rows = [
        [
            each.name,
            ", ".join(each.roles) or "left",
            "yes" if each.is_validator else "no",
            "" if each.suspended_height is None else f"since {each.suspended_height}",
            each.account,
        ]
        for each in members
    ]
    text = render_table(["name", "roles", "votes", "suspended", "account"], rows)
    print_answer([each.raw for each in members], text, output)


def show_member(url: str, name: str, output: OutputFormat) -> None:
    """Show one organisation."""
    with Client(url) as client:
        member = _Members(client).get(name)
    lines = [f"{field:<17} {value}" for field, value in member.raw.items() if field != "nodes"]
    lines += [
        f"node {node['number']:<12} {node['endpoint'] or 'dials out'} {node['transport_key']}"
        for node in member.raw["nodes"]
    ]
    print_answer(member.raw, "\n".join(lines), output)


@dataclass(frozen=True, slots=True)
class MemberUpdate:
    """What a member changes of its own entry; None leaves it as it is."""

    contact: str | None
    endpoint: str | None
    observer_homes: Sequence[Path]
    accounts: Sequence[str] | None


def update_member(url: str, key: Path, update: MemberUpdate, output: OutputFormat) -> None:
    """Change one's own contact, endpoint, observers and further accounts."""
    with open_client(url, key) as client:
        governance = client.governance
        record = governance.member()
        member = record.to_member()
        observers, possessions = list(member.observers), []
        for folder in update.observer_homes:
            transport = open_key(NodeHome(folder).transport_key_file)
            observers.append(NodeAddress(transport.public_key))
            possessions.append(governance.prove_possession(transport))
        changed = replace(
            member,
            contact=member.contact if update.contact is None else update.contact,
            endpoint=member.endpoint if update.endpoint is None else update.endpoint,
            observers=tuple(observers),
            accounts=member.accounts
            if update.accounts is None
            else tuple(account_from_text(each) for each in update.accounts),
        )
        governance.update_member(changed, tuple(possessions))
        name = record.account
    show_member(url, name, output)


def request_validator(
    url: str, home_folder: Path, endpoint: str | None, output: OutputFormat
) -> None:
    """Ask, as a member, for a vote; the home's keys become those of the validator."""
    home = NodeHome(home_folder)
    with open_client(url, home.account_key_file) as client:
        governance = client.governance
        record = governance.member()
        member = record.to_member()
        validator, transport = (
            open_key(home.validator_key_file),
            open_key(home.transport_key_file),
        )
        wanted = replace(
            member,
            validator_key=validator.public_key,
            transport_key=transport.public_key,
            endpoint=member.endpoint if endpoint is None else endpoint,
            roles=member.roles | Role.VALIDATOR,
        )
        chain_id = governance.read_chain_id()
        result = governance.request_roles(
            Admission(
                wanted,
                prove_possession(validator, chain_id, record.account),
                prove_possession(transport, chain_id, record.account),
            )
        )
        _print_proposal(governance.proposal(int(result.result["number"])), output)


def leave_validators(url: str, key: Path, output: OutputFormat) -> None:
    """Give up one's vote."""
    with open_client(url, key) as client:
        result = client.governance.leave_validators()
    text = (
        "the vote ends with an epoch that can spare it; keep the validator running until"
        " `quorate validator list` no longer shows it"
    )
    print_answer({"transaction_id": result.transaction_id, "status": result.status}, text, output)


def describe_proposal(proposal: ProposalRecord) -> str:
    """Return a proposal as people read it before they vote."""
    raw = proposal.raw
    lines = [
        f"proposal {proposal.number}: {proposal.title}",
        f"  by {raw['proposer_name']}, {proposal.status}",
    ]
    lines += [f"  - {sentence}" for sentence in proposal.sentences]
    before, after = raw["validators_before"], raw["validators_after"]
    if before != after:
        safe = "" if raw["is_safe_step"] else "  (not possible as things are: too few stay)"
        lines.append(f"  validators: {', '.join(before)} → {', '.join(after)}{safe}")
    votes = [f"{each['name']} {'yes' if each['yes'] else 'no'}" for each in raw["votes"]]
    lines.append(f"  votes: {', '.join(votes) or 'none'}; {proposal.yes} of {proposal.needed} yes")
    if proposal.status == "open":
        lines.append(f"  open until height {proposal.expires_height}, {raw['blocks_left']} blocks")
    elif proposal.status == "passed":
        lines.append("  takes effect with the end of an epoch")
    return "\n".join(lines)


class _Members:
    """Finds members by what people call them."""

    def __init__(self, client: Client) -> None:
        self._members = client.governance.members()

    def get(self, text: str) -> MemberRecord:
        """Return the member with a name or an account."""
        for member in self._members:
            if text in (member.name, member.account):
                return member
        raise InvalidInputError(
            "unknown_member",
            f"no member is called {text!r}; known are"
            f" {', '.join(member.name for member in self._members)}",
            field="member",
            value=text,
        )

    def find(self, text: str) -> AccountId:
        """Return the account of a member."""
        return account_from_text(self.get(text).account)


def _print_proposal(proposal: ProposalRecord, output: OutputFormat) -> None:
    print_answer(proposal.raw, describe_proposal(proposal), output)


def _print_vote(result: Transaction, output: OutputFormat) -> None:
    status = STATUS_NAMES[int(result.result["status"])]
    answer = {**result.result, "status": status, "transaction_id": result.transaction_id}
    text = (
        f"voted at height {result.height}: {result.result['yes']} of {result.result['needed']} yes,"
        f" {status}"
    )
    print_answer(answer, text, output)


def _split(text: str, field: str, form: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name or not value:
        raise InvalidInputError(
            "malformed", f"--{field} must look like {form}, found {text!r}", field=field, value=text
        )
    return name, value


def _parse_parameter(text: str) -> ParameterChange:
    name, value = _split(text, "set", "NAME=VALUE")
    digits = value.replace("_", "")
    if not digits.isdigit():
        raise InvalidInputError(
            "malformed", f"{name} must be a whole number, found {value!r}", field=name, value=value
        )
    return ParameterChange(name, int(digits))


def _parse_recovery(account: AccountId, text: str) -> AccountRecovery:
    public_key, separator, possession = text.partition(":")
    try:
        keys = bytes.fromhex(public_key), bytes.fromhex(possession)
    except ValueError:
        keys = b"", b""
    if not separator or (len(keys[0]), len(keys[1])) != (PUBLIC_KEY_BYTES, SIGNATURE_BYTES):
        raise InvalidInputError(
            "malformed",
            "--recover must look like MEMBER=PROOF, the line that `quorate keys prove` prints",
            field="recover",
            value=text,
        )
    return AccountRecovery(account, *keys)


def _parse_upgrade(client: Client, text: str) -> Upgrade:
    version, separator, height = text.partition("@")
    if not separator or not version.isdigit() or not height.isdigit():
        raise InvalidInputError(
            "malformed",
            f"--upgrade must look like VERSION@HEIGHT, found {text!r}",
            field="upgrade",
            value=text,
        )
    length = client.governance.parameters()["epoch_length"]
    # The first epoch that begins at the height or above.
    return Upgrade(int(version), max(1, -(-(int(height) - 1) // length)))
