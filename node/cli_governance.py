"""Commands about members and votes: ``join``, ``invite``, ``proposal``, ``validator``, ``member``.

Names, options and help; what a command does is in ``node/commands/``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.cli_options import DEFAULT_URL, Home, Key, Output, PasswordFile, Plain, Url
from node.commands.terminal import OutputFormat, handles_problems

__all__ = [
    "invite_commands",
    "join",
    "member_commands",
    "proposal_commands",
    "validator_commands",
]

invite_commands = typer.Typer(help="Invite an organisation.", no_args_is_help=True)
proposal_commands = typer.Typer(help="Put changes to the vote, and vote.", no_args_is_help=True)
validator_commands = typer.Typer(help="Who decides, and who wants to.", no_args_is_help=True)
member_commands = typer.Typer(help="Organisations of the consortium.", no_args_is_help=True)

InviteText = Annotated[
    str,
    typer.Argument(
        envvar="QUORATE_INVITE", help="The invite, or a file that holds it.", show_default=False
    ),
]
Number = Annotated[int, typer.Argument(help="Number of the proposal.", show_default=False)]
Names = Annotated[list[str] | None, typer.Option(help="Member, by name or account; repeatable.")]
Yes = Annotated[bool, typer.Option("--yes/--no", help="For or against.")]
Sure = Annotated[bool, typer.Option("--sure", help="Do not ask on a terminal.")]


@handles_problems
def join(
    invite: InviteText,
    *,
    home: Home,
    endpoint: Annotated[
        str,
        typer.Option(
            envvar="QUORATE_ENDPOINT",
            help="HOST:PORT where other members reach this node; a validator needs one.",
        ),
    ] = "",
    contact: Annotated[
        str, typer.Option(envvar="QUORATE_CONTACT", help="How to reach your people.")
    ] = "",
    api_port: Annotated[int, typer.Option(help="Port of REST.")] = 8080,
    p2p_port: Annotated[
        int | None, typer.Option(help="Port to listen on; default: that of the endpoint.")
    ] = None,
    plain: Plain = False,
    password_file: PasswordFile = None,
    start: Annotated[
        bool, typer.Option("--start", help="Go on running as the node afterwards.")
    ] = False,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "WARNING",
    output: Output = OutputFormat.TEXT,
) -> None:
    """Join a network: make keys, sync, ask to be admitted. Can be interrupted and run again."""
    from node.commands.join import JoinRequest, run_join

    request = JoinRequest(
        endpoint=endpoint,
        contact=contact,
        api_port=api_port,
        p2p_port=p2p_port,
        plain=plain,
        password_file=password_file,
        output=output,
    )
    run_join(invite, home, request, keeps_running=start, log_level=log_level)


@invite_commands.command("create")
@handles_problems
def invite_create(
    name: Annotated[str, typer.Option("--org", help="Name of the organisation.")],
    key: Key,
    roles: Annotated[
        str, typer.Option("--role", help="Roles, separated by commas.")
    ] = "validator,contributor",
    expires: Annotated[str, typer.Option(help="How long it counts: 7d, 12h, 30m.")] = "7d",
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Make an invite: one line to paste, signed with the account of KEY, which must have a vote."""
    from node.commands.invites import create_invite

    create_invite(url, key, name, roles, expires, output)


@invite_commands.command("show")
@handles_problems
def invite_show(invite: InviteText, output: Output = OutputFormat.TEXT) -> None:
    """Say what an invite says; needs no node."""
    from node.commands.invites import show_invite

    show_invite(invite, output)


@proposal_commands.command("create")
@handles_problems
def proposal_create(
    *,
    key: Key,
    title: Annotated[str, typer.Option(help="For people.")] = "",
    set_parameter: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of a parameter: limits, prices, issuance."),
    ] = None,
    remove: Names = None,
    suspend: Names = None,
    reinstate: Names = None,
    roles: Annotated[list[str] | None, typer.Option(help="MEMBER=role,role.")] = None,
    recover: Annotated[
        list[str] | None,
        typer.Option(help="MEMBER=PROOF: another key for an account; see `quorate keys prove`."),
    ] = None,
    upgrade: Annotated[
        str, typer.Option(help="VERSION@HEIGHT: blocks follow another protocol from there on.")
    ] = "",
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Put changes to the vote; all that are named take effect together, or none."""
    from node.commands.governance import ProposalOptions, create_proposal

    options = ProposalOptions(
        title=title,
        set_parameters=set_parameter or (),
        remove=remove or (),
        suspend=suspend or (),
        reinstate=reinstate or (),
        roles=roles or (),
        recover=recover or (),
        upgrade=upgrade,
    )
    create_proposal(url, key, options, output)


@proposal_commands.command("list")
@handles_problems
def proposal_list(
    status: Annotated[str | None, typer.Option(help="Only those: open, passed, applied …")] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """List proposals, newest first."""
    from node.commands.governance import list_proposals

    list_proposals(url, status, output)


@proposal_commands.command("show")
@handles_problems
def proposal_show(
    number: Number, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT
) -> None:
    """Show a proposal: what it would change as against now, and who voted how."""
    from node.commands.governance import show_proposal

    show_proposal(url, number, output)


@proposal_commands.command("vote")
@validator_commands.command("vote")
@handles_problems
def proposal_vote(
    number: Number,
    key: Key,
    yes: Yes,
    sure: Sure = False,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Vote on a proposal, after showing what it would change."""
    from node.commands.governance import vote

    vote(url, key, number, output, yes=yes, is_sure=sure)


@proposal_commands.command("withdraw")
@handles_problems
def proposal_withdraw(
    number: Number, key: Key, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT
) -> None:
    """Take back your own proposal."""
    from node.commands.governance import withdraw

    withdraw(url, key, number, output)


@validator_commands.command("list")
@handles_problems
def validator_list(url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """List who decides this epoch, and the next if it is settled."""
    from node.commands.governance import list_validators

    list_validators(url, output)


@validator_commands.command("request")
@handles_problems
def validator_request(
    home: Home,
    endpoint: Annotated[
        str | None, typer.Option(help="HOST:PORT where other members reach this node.")
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Ask, as a member, for a vote with the keys of this home."""
    from node.commands.governance import request_validator

    request_validator(url, home, endpoint, output)


@validator_commands.command("leave")
@handles_problems
def validator_leave(key: Key, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """Give up your vote; you stay a member."""
    from node.commands.governance import leave_validators

    leave_validators(url, key, output)


@member_commands.command("list")
@handles_problems
def member_list(url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """List organisations."""
    from node.commands.governance import list_members

    list_members(url, output)


@member_commands.command("show")
@handles_problems
def member_show(
    name: Annotated[str, typer.Argument(help="Name or account.", show_default=False)],
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show an organisation."""
    from node.commands.governance import show_member

    show_member(url, name, output)


@member_commands.command("add-observer")
@handles_problems
def member_add_observer(
    new_home: Annotated[
        Path, typer.Argument(help="Folder of the new node; made.", show_default=False)
    ],
    home: Home,
    *,
    api_port: Annotated[int, typer.Option(help="Port of REST of the new node.")] = 8080,
    plain: Plain = False,
    password_file: PasswordFile = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Lay out a node that follows and serves REST, and enter it for the organisation of HOME."""
    from node.commands.governance import MemberUpdate, update_member
    from node.commands.observers import lay_out_observer
    from node.home import NodeHome

    lay_out_observer(new_home, NodeHome(home), api_port, plain=plain, password_file=password_file)
    update = MemberUpdate(None, None, (new_home,), None)
    update_member(url, NodeHome(home).account_key_file, update, output)


@member_commands.command("update")
@handles_problems
def member_update(
    *,
    key: Key,
    contact: Annotated[str | None, typer.Option(help="How to reach your people.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="HOST:PORT where others reach your first node.")
    ] = None,
    observer: Annotated[
        list[Path] | None,
        typer.Option(help="Home of a further node, whose transport key is entered; repeatable."),
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(help="Further accounts with your roles, all of them; repeatable."),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Change your own entry: contact, endpoint, observers, further accounts."""
    from node.commands.governance import MemberUpdate, update_member

    update = MemberUpdate(
        contact=contact, endpoint=endpoint, observer_homes=observer or (), accounts=account
    )
    update_member(url, key, update, output)
