"""``quorate devnet``: a whole network on this machine, and the demonstration on it."""

from __future__ import annotations

import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from ledger.parameters import Parameters
from node.commands.terminal import fail, print_note
from node.commands.warmup import run_warmup
from node.configuration import load_settings
from node.demonstration.digits import ACCOUNT_NAMES, run_demonstration
from node.home import NodeHome
from node.local_network import (
    LocalNetwork,
    LocalNetworkError,
    ValidatorProcess,
    check_ports_free,
    find_free_ports,
)
from node.network_files import NetworkPlan, lay_out_network
from node.storage.home_lock import HomeLock

__all__ = ["DevnetOptions", "run_devnet"]

EPOCH_LENGTH = 20
IDLE_INTERVAL_MS = 1_000
HOST = "127.0.0.1"
MARKER = ".quorate-devnet"
"""Written into a devnet's folder: only a folder that has it is ever cleared."""


@dataclass(frozen=True, slots=True)
class DevnetOptions:
    """Options of ``quorate devnet``; see its help."""

    folder: Path
    validators: int
    first_port: int
    with_demonstration: bool
    exit_after: bool
    keep: bool


def run_devnet(options: DevnetOptions) -> None:
    """Run the network until Ctrl-C, or until the demonstration is over if that is asked for."""
    # SIGTERM ends the children as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    run_warmup()
    with LocalNetwork(_prepare_validators(options)) as network:
        network.start()
        network.wait_until_ready(on_ready=_announce)
        print_note(f"{options.validators} validators, ready in {time.monotonic() - started:.1f} s")
        if options.with_demonstration:
            urls = [validator.url for validator in network.validators]
            run_demonstration(urls, options.folder / "accounts")
        if options.exit_after:
            return
        print_note(f"\nkeys: {options.folder}/accounts/*.json, of accounts with money")
        print_note(f"logs: {options.folder}/validator*/node.log     Ctrl-C stops the network")
        try:
            network.watch(_announce_end)
        except KeyboardInterrupt:
            print_note("\nstopping")
        except LocalNetworkError as error:
            raise fail(str(error)) from error


def _prepare_validators(options: DevnetOptions) -> list[ValidatorProcess]:
    marker = options.folder / MARKER
    if marker.exists():
        _check_unused(options.folder)
    if options.keep and marker.exists():
        return _find_validators(options.folder)
    if options.first_port:
        check_ports_free(HOST, _list_api_ports(options))
    if marker.exists():
        shutil.rmtree(options.folder)
    ports = find_free_ports(HOST, 2 * options.validators)
    p2p_ports, api_ports = ports[: options.validators], ports[options.validators :]
    if options.first_port:
        api_ports = _list_api_ports(options)
    plan = NetworkPlan(
        folder=options.folder,
        chain_name="devnet",
        p2p_endpoints=tuple((HOST, port) for port in p2p_ports),
        api_endpoints=tuple((HOST, port) for port in api_ports),
        accounts=ACCOUNT_NAMES,
        # Short, so that a vote of the members takes effect while one looks on.
        parameters=Parameters(epoch_length=EPOCH_LENGTH),
        idle_interval_ms=IDLE_INTERVAL_MS,
    )
    files = lay_out_network(plan)
    marker.write_text("Made by quorate devnet, which may clear this folder.\n", encoding="utf-8")
    return [ValidatorProcess(each.name, each.home, each.api_url) for each in files]


def _find_validators(folder: Path) -> list[ValidatorProcess]:
    validators = []
    for root in sorted(folder.glob("validator*"), key=lambda path: int(path.name[9:])):
        home = NodeHome(root)
        api = load_settings(home.config_file).api
        check_ports_free(api.host, [api.port])
        validators.append(ValidatorProcess(root.name, home, f"http://{api.host}:{api.port}"))
    return validators


def _list_api_ports(options: DevnetOptions) -> list[int]:
    return [options.first_port + index for index in range(options.validators)]


def _check_unused(folder: Path) -> None:
    """Refuse a folder whose validators run: it must not be cleared under them."""
    for root in folder.glob("validator*"):
        with HomeLock(root):
            pass


def _announce(validator: ValidatorProcess) -> None:
    print_note(f"  {validator.name}  {validator.url}")


def _announce_end(validator: ValidatorProcess) -> None:
    code = validator.process.returncode if validator.process is not None else None
    print_note(
        f"{validator.name} ended with code {code}; its log is {validator.home.log_file}; to start"
        f" it again: quorate start --home {validator.home.root}"
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
