"""``quorate init``: lay out a new network on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ledger.parameters import Parameters, parameters_from_mapping
from node.commands.terminal import OutputFormat, print_answer, print_note, render_table
from node.network_files import NetworkPlan, lay_out_network
from node.passwords import read_password_file

__all__ = ["NetworkOptions", "run_init"]


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """Options of ``quorate init``.

    ``hosts`` may contain ``{index}``; without it all validators share one host and each adds its
    number to the ports.
    """

    folder: Path
    validators: int
    hosts: str
    p2p_port: int
    api_port: int
    chain_name: str
    observers: int = 0
    parameters: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    password_file: Path | None = None


def run_init(options: NetworkOptions) -> None:
    """Write the network and say how to start it."""
    shared_host = "{index}" not in options.hosts
    offset = 1 if shared_host else 0
    indices = range(options.validators)
    endpoints = tuple(
        (options.hosts.replace("{index}", str(index)), options.p2p_port + offset * index)
        for index in indices
    )
    plan = NetworkPlan(
        folder=options.folder,
        chain_name=options.chain_name,
        p2p_endpoints=endpoints,
        p2p_listen_host="127.0.0.1" if shared_host else "0.0.0.0",  # noqa: S104 (reached by name)
        api_endpoints=tuple(
            ("127.0.0.1", options.api_port + offset * index)
            for index in range(options.validators + options.observers)
        ),
        observers=options.observers,
        accounts=options.accounts,
        parameters=_parse_parameters(options.parameters),
        password=None
        if options.password_file is None
        else read_password_file(options.password_file),
    )
    files = lay_out_network(plan)
    rows = [[each.name, each.home.root, each.api_url] for each in files]
    print_answer(
        [{"name": each.name, "home": str(each.home.root), "url": each.api_url} for each in files],
        render_table(["validator", "home", "REST"], rows),
        OutputFormat.TEXT,
    )
    print_note(f"start each with: quorate start --home {files[0].home.root}")


def _parse_parameters(texts: tuple[str, ...]) -> Parameters:
    """Return the parameters of a new network; raises for an unknown name or a bad value."""
    values: dict[str, object] = {}
    for text in texts:
        name, _, value = text.partition("=")
        values[name] = int(value) if value.replace("_", "").isdigit() else value
    return parameters_from_mapping(values)
