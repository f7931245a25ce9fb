"""``quorate invite``: make one, and see what one says."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

from ledger.invite import INVITE_ID_BYTES, Invite, invite_from_text, invite_to_text
from ledger.members import NodeAddress, Role, roles_from_text, roles_to_text
from node.clock import read_wall_ms
from node.commands.keys import open_client, open_key
from node.commands.terminal import OutputFormat, print_answer, print_note
from primitives.accounts import account_from_text, account_to_text
from primitives.errors import InvalidInputError
from quorate.client import Client

__all__ = ["create_invite", "describe_invite", "parse_duration_ms", "read_invite", "show_invite"]

PEERS_NAMED_MAX = 4
DURATIONS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION_MS_MAX = 90 * 86_400_000


def create_invite(
    url: str,
    key: Path,
    name: str,
    roles: str,
    expires: str,
    output: OutputFormat,
) -> None:
    """Make an invite that the account of a key file signs, and print it."""
    invited = roles_from_text(roles.split(","))
    duration_ms = parse_duration_ms(expires)
    with open_client(url, key) as client:
        account = client.account().account
        validators = client.governance.validators()
        if all(each.account != account for each in validators):
            raise InvalidInputError(
                "not_a_validator",
                f"{account} has no vote; a member with a vote must invite",
                field="key",
                value=str(key),
            )
        private_key = open_key(key)
        status = client.status()
        height, block_id = _find_checkpoint(client)
        invite = Invite(
            chain_id=bytes.fromhex(status.chain_id),
            chain_name=str(status.raw["chain_name"]),
            peers=_choose_peers(client, account),
            trusted_height=height,
            trusted_block_id=bytes.fromhex(block_id),
            name=name,
            roles=invited,
            expires_ms=read_wall_ms() + duration_ms,
            invite_id=secrets.token_bytes(INVITE_ID_BYTES),
            inviter=account_from_text(account),
            public_key=private_key.public_key,
        ).sign(private_key)
    text = invite_to_text(invite)
    if output is OutputFormat.TEXT:
        print_note(describe_invite(invite))
        print_note("send this line to them; it holds no secret, but lets its reader follow along:")
    print_answer({**_to_json(invite), "invite": text}, text, output)


def show_invite(text: str, output: OutputFormat) -> None:
    """Print what an invite says, and whether it still counts by our clock."""
    invite = read_invite(text)
    print_answer(_to_json(invite), describe_invite(invite), output)
    invite.check_time(read_wall_ms())


def read_invite(text: str) -> Invite:
    """Return an invite, given as text or as the name of a file that holds it."""
    candidate = Path(text)
    if len(text) < 200 and candidate.is_file():
        text = candidate.read_text(encoding="utf-8")
    return invite_from_text(text)


def describe_invite(invite: Invite) -> str:
    """Return what an invite says, for people."""
    until = datetime.fromtimestamp(invite.expires_ms / 1000, UTC)
    lines = [
        f"invite for   {invite.name}, as {', '.join(roles_to_text(invite.roles))}",
        f"to           {invite.chain_name}, chain {invite.chain_id.hex()}",
        f"by           {account_to_text(invite.inviter)}",
        f"until        {until:%Y-%m-%d %H:%M} UTC",
        f"checkpoint   height {invite.trusted_height}, block {invite.trusted_block_id.hex()}",
    ]
    lines += [f"peer         {peer.endpoint}" for peer in invite.peers]
    return "\n".join(lines)


def parse_duration_ms(text: str) -> int:
    """Return the milliseconds in ``7d``, ``12h`` or ``30m``.

    Examples
    --------
    >>> parse_duration_ms("7d")
    604800000
    """
    number, unit = text[:-1], text[-1:]
    duration = int(number) * DURATIONS_MS.get(unit, 0) if number.isdigit() else 0
    if not 0 < duration <= DURATION_MS_MAX:
        raise InvalidInputError(
            "malformed",
            f"expires must look like 7d, 12h or 30m, at most 90d; found {text!r}",
            field="expires",
            value=text,
        )
    return duration


def _to_json(invite: Invite) -> dict[str, object]:
    return {
        "name": invite.name,
        "roles": roles_to_text(invite.roles),
        "chain_id": invite.chain_id.hex(),
        "chain_name": invite.chain_name,
        "inviter": account_to_text(invite.inviter),
        "expires_ms": invite.expires_ms,
        "trusted_height": invite.trusted_height,
        "trusted_block_id": invite.trusted_block_id.hex(),
        "peers": [
            {"transport_key": peer.transport_key.hex(), "endpoint": peer.endpoint}
            for peer in invite.peers
        ],
    }


def _find_checkpoint(client: Client) -> tuple[int, str]:
    """Return the last block of an epoch, or the genesis block: both are found on every path."""
    length = client.governance.parameters()["epoch_length"]
    status = client.status()
    height = status.height // length * length
    return height, client.block(height).block_id


def _choose_peers(client: Client, account: str) -> tuple[NodeAddress, ...]:
    """Return the inviter's own node first, then those of other validators."""
    members = [each for each in client.governance.members() if each.is_validator]
    members.sort(key=lambda each: each.account != account)
    nodes = [each.to_member().first_node for each in members]
    reachable = [node for node in nodes if node.endpoint]
    if not reachable:
        raise InvalidInputError("no_endpoint", "no validator has an endpoint", field="peers")
    return tuple(reachable[:PEERS_NAMED_MAX])


# Whoever invites a validator invites a reader too: it reads before it votes.
ROLES_DEFAULT = ",".join(roles_to_text(Role.VALIDATOR | Role.CONTRIBUTOR))
