"""The command ``quorate``: names, options and help of every command, and nothing else.

What a command does is in ``node/commands/``; it is imported when the command runs, so that
``quorate --help``, ``keys`` and ``status`` load neither the compiler nor the web server.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from node.cli_agents import agents
from node.cli_campaigns import campaign_commands
from node.cli_exchange import exchange_commands
from node.cli_governance import (
    invite_commands,
    join,
    member_commands,
    proposal_commands,
    validator_commands,
)
from node.cli_lifecycle import model_commands
from node.cli_operations import config_commands, snapshot_commands
from node.cli_options import (
    AMOUNT_MAX,
    DEFAULT_URL,
    Home,
    Key,
    Model,
    Output,
    PasswordFile,
    Plain,
    Samples,
    Sequence,
    Url,
)
from node.cli_recognition import badges, leaderboard, sponsor_commands
from node.cli_stakes import stake_commands
from node.commands.terminal import ExitCode, OutputFormat, fail, handles_problems

__all__ = ["main"]

application = typer.Typer(
    name="quorate",
    help="A permissioned blockchain node: members of a consortium train models together.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
keys_commands = typer.Typer(help="Make and show keys.", no_args_is_help=True)
transaction_commands = typer.Typer(help="Look at transactions.", no_args_is_help=True)
application.add_typer(keys_commands, name="keys")
application.add_typer(model_commands, name="model")
application.add_typer(campaign_commands, name="campaign")
application.add_typer(exchange_commands, name="exchange")
application.add_typer(transaction_commands, name="tx")
application.add_typer(invite_commands, name="invite")
application.add_typer(proposal_commands, name="proposal")
application.add_typer(validator_commands, name="validator")
application.add_typer(member_commands, name="member")
application.add_typer(config_commands, name="config")
application.add_typer(snapshot_commands, name="snapshot")
application.add_typer(stake_commands, name="stake")
application.add_typer(sponsor_commands, name="sponsor")
application.command("join")(join)
application.command("leaderboard")(leaderboard)
application.command("badges")(badges)
application.command("agents")(agents)


@application.command()
@handles_problems
def devnet(
    folder: Annotated[Path, typer.Option(help="Where keys, data and logs go.")] = Path(".devnet"),
    validators: Annotated[int, typer.Option(min=1, max=16, help="How many.")] = 4,
    port: Annotated[int, typer.Option(help="Port of the first API; 0 picks free ones.")] = 8080,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="Let four contributors train a model on handwritten digits."),
    ] = False,
    exit_after: Annotated[
        bool, typer.Option("--exit", help="Stop after the demonstration instead of staying up.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Go on with the chain that is in the folder already.")
    ] = False,
) -> None:
    """Run validators as separate processes on this machine; Ctrl-C stops them all."""
    from node.commands.devnet import DevnetOptions, run_devnet

    options = DevnetOptions(
        folder=folder,
        validators=validators,
        first_port=port,
        with_demonstration=demo,
        exit_after=exit_after,
        keep=keep,
    )
    run_devnet(options)


@application.command()
@handles_problems
def init(
    *,
    output: Annotated[Path, typer.Option("--folder", help="Where to lay out the network.")],
    validators: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 4,
    hosts: Annotated[
        str, typer.Option(help="Host of each validator; {index} stands for its number.")
    ] = "127.0.0.1",
    p2p_port: Annotated[
        int, typer.Option(help="Port for peers; on one host each validator adds its number.")
    ] = 26656,
    api_port: Annotated[
        int, typer.Option(help="Port of REST; on one host each validator adds its number.")
    ] = 8080,
    chain_name: Annotated[str, typer.Option(help="Name of the network.")] = "quorate-local",
    observers: Annotated[
        int, typer.Option(min=0, max=8, help="Observers of the first validator's organisation.")
    ] = 0,
    parameter: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE of a governed parameter; can be given several times."),
    ] = None,
    accounts: Annotated[
        str, typer.Option(help="Further accounts with money, by name, separated by commas.")
    ] = "",
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password of all keys; default: plain keys.")
    ] = None,
) -> None:
    """Lay out a new network: a genesis, and a folder with keys and settings for each validator.

    For trials, and to begin a network whose other members then join with keys of their own.
    """
    from node.commands.network import NetworkOptions, run_init

    options = NetworkOptions(
        folder=output,
        validators=validators,
        hosts=hosts,
        p2p_port=p2p_port,
        api_port=api_port,
        chain_name=chain_name,
        observers=observers,
        parameters=tuple(parameter or ()),
        accounts=tuple(filter(None, accounts.split(","))),
        password_file=password_file,
    )
    run_init(options)


@application.command()
@handles_problems
def divergence(
    first: Annotated[
        Path, typer.Argument(help="Report of one node, data/divergence/….json.", show_default=False)
    ],
    second: Annotated[
        Path, typer.Argument(help="Report of another node on the same blocks.", show_default=False)
    ],
    output: Output = OutputFormat.TEXT,
) -> None:
    """Say at which transaction two nodes' executions of the same blocks part."""
    from node.commands.divergence import show_divergence

    show_divergence(first, second, output)


@application.command()
@handles_problems
def start(
    home: Home,
    *,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = "INFO",
    password_file: PasswordFile = None,
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", hidden=True)] = False,
    fresh_key: Annotated[
        bool,
        typer.Option(
            "--fresh-key", help="The keys have never signed on this chain; write the missing guard."
        ),
    ] = False,
    observe_first: Annotated[
        bool,
        typer.Option(
            "--observe-first", help="The keys, or this home, may be a copy: watch before voting."
        ),
    ] = False,
    accept_lost_votes: Annotated[
        bool,
        typer.Option(
            "--accept-lost-votes",
            help="Vote at once although votes were lost; read docs/operations/recovery.md first.",
        ),
    ] = False,
) -> None:
    """Run the node whose folder is HOME, until SIGTERM or Ctrl-C."""
    from node.commands.start import run_start
    from node.recovery import choose_assurance

    assurance = choose_assurance(
        fresh_key=fresh_key, observe_first=observe_first, accept_lost_votes=accept_lost_votes
    )
    run_start(
        home,
        log_level,
        exit_with_parent=exit_with_parent,
        assurance=assurance,
        password_file=password_file,
    )


@application.command()
@handles_problems
def warmup() -> None:
    """Compile the kernels now, so that the first start of a node does not have to."""
    from node.commands.warmup import run_warmup

    run_warmup()


@application.command()
@handles_problems
def status(url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """Say where the chain stands, as one node sees it."""
    from node.commands.inspect import show_status

    show_status(url, output)


@application.command()
@handles_problems
def doctor(
    home: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of the node, if it is on this machine; default: QUORATE_HOME.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            "--node",
            "--url",
            help=f"API to ask; default: that of HOME, QUORATE_URL, or {DEFAULT_URL}.",
            show_default=False,
        ),
    ] = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Say in a sentence why the chain does or does not grow, and check this node's surroundings.

    Works while the node is down, too. Exit code 0 when all is well, else 1.
    """
    from node.commands.doctor import run_doctor

    run_doctor(url, home, DEFAULT_URL, output)


@application.command()
@handles_problems
def account(
    account_id: Annotated[str, typer.Argument(help="Account, qr1…", show_default=False)],
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show balance, nonce and karma of an account."""
    from node.commands.inspect import show_account

    show_account(url, account_id, output)


@keys_commands.command("new")
@handles_problems
def keys_new(
    file: Annotated[
        Path, typer.Argument(help="File to write; must not exist.", show_default=False)
    ],
    plain: Plain = False,
    password_file: PasswordFile = None,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Make a key and the account that it signs for."""
    from node.commands.keys import make_key

    make_key(file, output, plain=plain, password_file=password_file)


@keys_commands.command("prove")
@handles_problems
def keys_prove(
    file: Annotated[Path, typer.Argument(help="Key file.", show_default=False)],
    account: Annotated[str, typer.Option(help="Account that it is to sign for, qr1…")],
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Print a proof, without a secret, that you hold a key; for `proposal create --recover`."""
    from node.commands.keys import prove_key

    prove_key(url, file, account, output)


@keys_commands.command("rotate-account")
@handles_problems
def keys_rotate_account(
    key: Key,
    new: Annotated[Path, typer.Option("--new", help="File for the new key; must not exist.")],
    plain: Plain = False,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Let a new key sign for the account of KEY; the account stays what it is."""
    from node.commands.keys import rotate_account_key

    rotate_account_key(url, key, new, output, plain=plain)


@keys_commands.command("rotate-validator")
@handles_problems
def keys_rotate_validator(
    home: Home, plain: Plain = False, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT
) -> None:
    """Move the vote of this home's validator to a new key, with the end of the epoch."""
    from node.commands.keys import rotate_validator_key

    rotate_validator_key(url, home, output, plain=plain)


@keys_commands.command("rotate-transport")
@handles_problems
def keys_rotate_transport(
    home: Home, plain: Plain = False, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT
) -> None:
    """Give the node of this home a new transport key, at once."""
    from node.commands.keys import rotate_transport_key

    rotate_transport_key(url, home, output, plain=plain)


@keys_commands.command("show")
@handles_problems
def keys_show(
    file: Annotated[Path, typer.Argument(help="Key file.", show_default=False)],
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show the account and the public key of a key file; asks for no password."""
    from node.commands.keys import show_key

    show_key(file, output)


@model_commands.command("create")
@handles_problems
def model_create(
    file: Annotated[
        Path,
        typer.Argument(
            help="Description of the model, TOML; see examples/digits.toml.", show_default=False
        ),
    ],
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Create a model; the signing account becomes its owner."""
    from node.commands.models import create_model

    create_model(url, key, file, output)


@model_commands.command("families")
@handles_problems
def model_families(url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """List the families of models that can be created."""
    from node.commands.models import list_families

    list_families(url, output)


@model_commands.command("list")
@handles_problems
def model_list(url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """List all models."""
    from node.commands.models import list_models

    list_models(url, output)


@model_commands.command("show")
@handles_problems
def model_show(model: Model, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT) -> None:
    """Show everything about one model."""
    from node.commands.models import show_model

    show_model(url, model, output)


@model_commands.command("versions")
@handles_problems
def model_versions(
    model: Model, url: Url = DEFAULT_URL, output: Output = OutputFormat.TEXT
) -> None:
    """List the versions of a model with height and accuracy."""
    from node.commands.models import list_versions

    list_versions(url, model, output)


@application.command()
@handles_problems
def contribute(
    model: Model,
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV: features, then the class in the last column.", show_default=False
        ),
    ],
    key: Key,
    max_deposit: Annotated[
        int | None, typer.Option(help="Most that may be held as deposit; default: the price now.")
    ] = None,
    *,
    karma: Annotated[
        int,
        typer.Option(
            min=0,
            help="Points of karma on the model to stake at most; refused if you have too few left.",
        ),
    ] = 0,
    ask_sponsor: Annotated[
        str | None,
        typer.Option(help="Account, qr1…, that is to pay; sends nothing, see --save."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="File for the request to the sponsor; must not exist.")
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Send samples to a model, in as many transactions as they need."""
    from node.commands.contributions import ask_sponsor as ask
    from node.commands.contributions import contribute_file

    if (ask_sponsor is None) != (save is None):
        raise fail("--ask-sponsor and --save go together", ExitCode.USAGE)
    if ask_sponsor is None or save is None:
        contribute_file(url, key, model, file, max_deposit, output, karma=karma)
    else:
        ask(
            url,
            key,
            model,
            file,
            output,
            sponsor=ask_sponsor,
            save=save,
            max_deposit=max_deposit,
            karma=karma,
        )


@application.command()
@handles_problems
def predict(
    model: Model,
    *,
    features: Annotated[
        str | None,
        typer.Option("--features", "-f", help="One sample: numbers separated by commas."),
    ] = None,
    file: Annotated[Path | None, typer.Option(help="CSV with one sample a line.")] = None,
    height: Annotated[
        int | None, typer.Option(help="Ask the model as it was at this height.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Ask this version, by number or alias.")
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Ask a model; free, needs no key."""
    from node.commands.models import predict as ask

    ask(url, model, features, file, output, height=height, version=version)


@application.command()
@handles_problems
def refund(
    model: Model,
    sequence: Sequence,
    key: Key,
    samples: Samples = "",
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Take back the deposit of your own samples that the model agrees with."""
    from node.commands.contributions import refund_contribution

    refund_contribution(url, key, model, sequence, samples, output)


@application.command()
@handles_problems
def report(
    model: Model,
    sequence: Sequence,
    key: Key,
    samples: Samples = "",
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Report samples of others that the model disagrees with; takes your share of their deposit."""
    from node.commands.contributions import report_contribution

    report_contribution(url, key, model, sequence, samples, output)


@application.command()
@handles_problems
def claim(
    model: Model,
    sequence: Sequence,
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Take what is left of a contribution's deposit after the last wait."""
    from node.commands.contributions import claim_contribution

    claim_contribution(url, key, model, sequence, output)


@application.command()
@handles_problems
def transfer(
    to: Annotated[str, typer.Argument(help="Account, qr1…", show_default=False)],
    amount: Annotated[
        int,
        typer.Argument(min=1, max=AMOUNT_MAX, help="In the smallest unit.", show_default=False),
    ],
    key: Key,
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Send money to another account."""
    from node.commands.inspect import transfer as send

    send(url, key, to, amount, output)


@transaction_commands.command("show")
@handles_problems
def transaction_show(
    transaction_id: Annotated[
        str, typer.Argument(help="64 hexadecimal digits.", show_default=False)
    ],
    url: Url = DEFAULT_URL,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show a transaction and what became of it."""
    from node.commands.inspect import show_transaction

    show_transaction(url, transaction_id, output)


def main() -> None:
    """Run the command line."""
    # Threads of linear algebra wait for each other longer than they work where cores are busy; the
    # results are the same. Read when numpy is loaded, so it has to stand before that.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    application()
