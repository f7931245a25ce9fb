"""Lays out a new network on disk: keys, one genesis, settings of every validator.

For trials, development and containers. A consortium of separate organisations does the same with
each organisation making its own keys.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path

from ledger.genesis import Genesis
from ledger.members import Member, NodeAddress
from ledger.parameters import Parameters
from node.clock import read_wall_ms
from node.home import NodeHome
from node.storage.keystore import save_seed
from node.storage.sign_guard import GuardState, create_guard, guard_path
from primitives.accounts import AccountId, account_id_from_public_key, account_to_text
from primitives.errors import InvalidInputError
from primitives.keys import SEED_BYTES, PrivateKey

__all__ = ["NetworkPlan", "ValidatorFiles", "lay_out_network", "make_seed"]

MEMBER_ALLOCATION = 1_000_000_000
"""What every account named in the plan owns at first, in the smallest unit."""


@dataclass(frozen=True, slots=True)
class ValidatorFiles:
    """One validator of a network that was laid out."""

    name: str
    home: NodeHome
    api_url: str


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What a new network looks like.

    Parameters
    ----------
    folder
        Must be missing or empty.
    chain_name
        Name of the network.
    p2p_endpoints
        ``(host, port)`` where each validator is reached by the others.
    p2p_listen_host
        Where every validator listens for the others.
    api_endpoints
        ``(host, port)`` on which each validator answers REST, and then each observer.
    observers
        Further nodes, of the first validator's organisation; they dial out.
    accounts
        Names of further accounts with money; their keys go to ``accounts/NAME.json``.
    parameters
        Limits and prices.
    password
        Encrypts the keys of the nodes; None keeps them plain.
    base_timeout_ms, idle_interval_ms
        See :class:`node.configuration.ConsensusSettings`.
    """

    folder: Path
    chain_name: str
    p2p_endpoints: tuple[tuple[str, int], ...]
    api_endpoints: tuple[tuple[str, int], ...]
    p2p_listen_host: str = "127.0.0.1"
    accounts: tuple[str, ...] = ()
    observers: int = 0
    parameters: Parameters = field(default_factory=Parameters)
    base_timeout_ms: int = 150
    idle_interval_ms: int = 5_000
    password: str | None = None


def make_seed() -> bytes:
    """Return the seed of a new private key, from the operating system's randomness."""
    return secrets.token_bytes(SEED_BYTES)


def lay_out_network(plan: NetworkPlan) -> list[ValidatorFiles]:
    """Write everything; return the validators in the order of the genesis.

    Raises
    ------
    InvalidInputError
        ``folder_not_empty``: nothing that exists is ever written over.
    """
    if plan.folder.exists() and any(plan.folder.iterdir()):
        raise InvalidInputError(
            "folder_not_empty",
            f"{plan.folder} is not empty; a network is never laid over another one",
            field="folder",
            value=str(plan.folder),
        )
    allocations: dict[AccountId, int] = {}
    members: list[Member] = []
    for index, endpoint in enumerate(plan.p2p_endpoints):
        home = NodeHome(plan.folder / f"validator{index}")
        members.append(_write_keys(home, f"validator{index}", endpoint, plan.password))
        allocations[members[-1].account] = MEMBER_ALLOCATION
    members[0] = replace(members[0], observers=_write_observer_keys(plan))
    for name in plan.accounts:
        seed = make_seed()
        save_seed(plan.folder / "accounts" / f"{name}.json", seed, description=name)
        allocations[_account_of(seed)] = MEMBER_ALLOCATION
    genesis = Genesis(
        chain_name=plan.chain_name,
        timestamp_ms=read_wall_ms(),
        members=tuple(members),
        allocations=allocations,
        parameters=plan.parameters,
    )
    files = [_write_validator_settings(plan, genesis, index) for index in range(len(members))]
    return files + [_write_observer_settings(plan, genesis, i) for i in range(plan.observers)]


def _write_observer_keys(plan: NetworkPlan) -> tuple[NodeAddress, ...]:
    nodes = []
    for index in range(plan.observers):
        seed = make_seed()
        home = NodeHome(plan.folder / f"observer{index}")
        description = f"observer{index} transport"
        save_seed(home.transport_key_file, seed, description=description, password=plan.password)
        nodes.append(NodeAddress(PrivateKey(seed).public_key))
    return tuple(nodes)


def _write_keys(
    home: NodeHome, name: str, endpoint: tuple[str, int], password: str | None
) -> Member:
    validator, transport, account = make_seed(), make_seed(), make_seed()
    save_seed(home.validator_key_file, validator, description=f"{name} votes", password=password)
    save_seed(
        home.transport_key_file, transport, description=f"{name} transport", password=password
    )
    save_seed(home.account_key_file, account, description=f"{name} account", password=password)
    return Member(
        name=name,
        account=_account_of(account),
        validator_key=PrivateKey(validator).public_key,
        transport_key=PrivateKey(transport).public_key,
        endpoint=f"{endpoint[0]}:{endpoint[1]}",
    )


def _account_of(seed: bytes) -> AccountId:
    return account_id_from_public_key(PrivateKey(seed).public_key)


def _write_validator_settings(plan: NetworkPlan, genesis: Genesis, index: int) -> ValidatorFiles:
    home = NodeHome(plan.folder / f"validator{index}")
    _, p2p_port = plan.p2p_endpoints[index]
    member = genesis.members[index]
    create_guard(guard_path(home.validator_key_file), GuardState(genesis.chain_id))
    lines = [
        f"# Settings of {member.name}, account {account_to_text(member.account)}.",
        "# Each can be overridden in the environment: QUORATE_API__PORT=8081.",
        f"validator = {json.dumps(member.name)}",
        "",
        "[p2p]",
        f"listen_host = {json.dumps(plan.p2p_listen_host)}",
        f"listen_port = {p2p_port}",
    ]
    return _write_home(plan, genesis, home, lines, plan.api_endpoints[index])


def _write_observer_settings(plan: NetworkPlan, genesis: Genesis, index: int) -> ValidatorFiles:
    home = NodeHome(plan.folder / f"observer{index}")
    lines = [
        f"# Settings of an observer of {genesis.members[0].name}: it follows, and never votes.",
        'validator = ""',
        "",
        "[p2p]",
        'listen_host = "127.0.0.1"',
        "listen_port = 0",
    ]
    endpoint = plan.api_endpoints[len(genesis.members) + index]
    return _write_home(plan, genesis, home, lines, endpoint)


def _write_home(
    plan: NetworkPlan, genesis: Genesis, home: NodeHome, lines: list[str], api: tuple[str, int]
) -> ValidatorFiles:
    home.config_file.parent.mkdir(parents=True, exist_ok=True)
    home.genesis_file.write_text(genesis.to_json(), encoding="utf-8")
    api_host, api_port = api
    lines = [
        *lines,
        "",
        "[api]",
        f"host = {json.dumps(api_host)}",
        f"port = {api_port}",
        "",
        "[consensus]",
        f"base_timeout_ms = {plan.base_timeout_ms}",
        f"idle_interval_ms = {plan.idle_interval_ms}",
        "",
    ]
    home.config_file.write_text("\n".join(lines), encoding="utf-8")
    return ValidatorFiles(home.root.name, home, f"http://{api_host}:{api_port}")
