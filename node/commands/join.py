"""``quorate join``: from an invite to a running node whose admission members vote on."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from ledger.governance_records import ProposalStatus
from ledger.invite import Invite
from ledger.members import Role, check_endpoint
from node.application import Node, NodeHandles
from node.clock import read_wall_ms
from node.commands.invites import describe_invite, read_invite
from node.commands.keys import choose_new_password
from node.commands.terminal import OutputFormat, print_answer, print_note
from node.configuration import NodeSettings, load_settings
from node.home import NodeHome
from node.join import JoinOptions, JoinProcedure, JoinProgress, fetch_genesis, prepare_home
from node.log_format import start_logging
from node.node_keys import NodeKeys
from node.passwords import PasswordSource
from primitives.accounts import account_id_from_public_key, account_to_text
from primitives.errors import InvalidInputError

__all__ = ["JoinRequest", "run_join"]

logger = logging.getLogger(__name__)

BAR_WIDTH: Final = 30
LINE_INTERVAL_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What ``quorate join`` was told; see its help."""

    endpoint: str
    contact: str
    api_port: int
    p2p_port: int | None
    plain: bool
    password_file: Path | None
    output: OutputFormat

    def to_options(self, *, is_new: bool) -> JoinOptions:
        """Return what the newcomer says of itself; asks for a new password if it needs one."""
        port = int(self.endpoint.rpartition(":")[2] or 26656)
        password = None
        if is_new:
            password = choose_new_password(plain=self.plain, password_file=self.password_file)
        return JoinOptions(
            endpoint=self.endpoint,
            contact=self.contact,
            api_port=self.api_port,
            p2p_port=port if self.p2p_port is None else self.p2p_port,
            password=password,
        )


def run_join(
    invite_text: str,
    home_folder: Path,
    request: JoinRequest,
    *,
    keeps_running: bool,
    log_level: str,
) -> None:
    """Join the network of an invite; return once the request is in the ledger, or run on.

    Raises
    ------
    QuorateError
        The invite, the network or the ledger says no; the message says what to do.
    """
    start_logging(log_level)
    home = NodeHome(home_folder)
    invite = read_invite(invite_text)
    is_new = not home.invite_file.exists()
    if is_new:
        invite.check_time(read_wall_ms())
        print_note(describe_invite(invite))
    if Role.VALIDATOR in invite.roles:
        if not request.endpoint:
            raise InvalidInputError(
                "malformed",
                "a validator is reached by the others: say where with --endpoint HOST:PORT",
                field="endpoint",
            )
        check_endpoint(request.endpoint, "--endpoint")
    options = request.to_options(is_new=is_new)
    prepare_home(home, invite, options)
    passwords = PasswordSource(request.password_file)
    keys = NodeKeys(home, lambda path: options.password or passwords.read(path))

    bar = _Bar()
    procedure = JoinProcedure(home, invite, options, keys, bar.show)

    async def accompany(handles: NodeHandles, stop: asyncio.Event) -> None:
        number = await procedure.run(handles)
        bar.end()
        _say_what_next(home, keys, number, request.output, keeps_running=keeps_running)
        if not keeps_running:
            stop.set()
        elif number is not None:
            _tell_decision(await procedure.wait_for_decision(handles, number), number)

    # Who only asks and ends needs no REST, and its port may be taken.
    flags = {} if keeps_running else {"api": {"enabled": False}}
    settings = load_settings(home.config_file, **flags)
    uvloop.run(_run(home, invite, settings, keys, accompany))


async def _run(
    home: NodeHome,
    invite: Invite,
    settings: NodeSettings,
    keys: NodeKeys,
    accompany: Callable[[NodeHandles, asyncio.Event], Coroutine[Any, Any, None]],
) -> None:
    if not home.genesis_file.exists():
        print_note("asking the nodes that the invite names for the genesis …")
        genesis = await fetch_genesis(invite, keys.open(home.transport_key_file))
        home.genesis_file.write_text(genesis.to_json(), encoding="utf-8")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Node(home, settings, keys=keys, companion=lambda each: accompany(each, stop)).run(stop)


def _say_what_next(
    home: NodeHome,
    keys: NodeKeys,
    number: int | None,
    output: OutputFormat,
    *,
    keeps_running: bool,
) -> None:
    account = account_to_text(account_id_from_public_key(keys.load_account_key().public_key))
    if output is OutputFormat.JSON:
        print_answer({"account": account, "proposal": number, "home": str(home.root)}, "", output)
    if number is None:
        print_note(f"{account} is a member already")
        return
    print_note(
        f"the request is in the ledger as proposal {number}, from account {account}.\n"
        "next: the members look at it and vote, each with\n"
        f"  quorate proposal vote {number} --yes --key KEYFILE\n"
        "when enough have, it takes effect with the end of an epoch."
    )
    if not keeps_running:
        print_note(
            f"until then and afterwards keep the node running: quorate start --home {home.root}"
        )


def _tell_decision(status: ProposalStatus, number: int) -> None:
    if status is ProposalStatus.APPLIED:
        logger.info("the members have admitted this organisation")
    else:
        logger.error(
            "proposal %d is %s: this organisation was not admitted; ask for another invite",
            number,
            status.name.lower(),
        )


class _Bar:
    """A progress bar on a terminal, else a line every ten seconds."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty() and "CI" not in os.environ
        self._told_ms = 0
        self._told = ""

    def show(self, progress: JoinProgress) -> None:
        """Show how far it is."""
        target = max(progress.target, 1)
        part = min(1.0, progress.height / target)
        count = f"block {progress.height:,} of {progress.target:,}"
        if self._is_terminal:
            bar = "█" * int(part * BAR_WIDTH)
            sys.stderr.write(f"\r{progress.sentence:<24} {bar:<{BAR_WIDTH}} {count}\x1b[K")
            sys.stderr.flush()
            return
        now_ms = read_wall_ms()
        if progress.sentence != self._told or now_ms - self._told_ms > LINE_INTERVAL_MS:
            self._told, self._told_ms = progress.sentence, now_ms
            print_note(f"{progress.sentence}: {count}")

    def end(self) -> None:
        """Leave the bar's line."""
        if self._is_terminal:
            sys.stderr.write("\n")
