"""Real validators as processes on loopback, for tests and benchmarks."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ledger.parameters import Parameters
from node.local_network import LocalNetwork, ValidatorProcess, find_free_ports
from node.network_files import NetworkPlan, lay_out_network

HOST = "127.0.0.1"
ACCOUNTS = ("alice", "bob", "carol", "dave")
T = TypeVar("T")


@contextmanager
def run_network(
    folder: Path,
    *,
    validators: int = 4,
    accounts: tuple[str, ...] = ACCOUNTS,
    idle_interval_ms: int = 1_000,
    base_timeout_ms: int = 150,
    parameters: Parameters | None = None,
) -> Iterator[LocalNetwork]:
    """Lay out a network in `folder`, start it, and end every process in the end."""
    ports = find_free_ports(HOST, 2 * validators)
    plan = NetworkPlan(
        folder=folder,
        chain_name="test",
        p2p_endpoints=tuple((HOST, port) for port in ports[:validators]),
        api_endpoints=tuple((HOST, port) for port in ports[validators:]),
        accounts=accounts,
        idle_interval_ms=idle_interval_ms,
        base_timeout_ms=base_timeout_ms,
        parameters=parameters or Parameters(),
    )
    files = lay_out_network(plan)
    processes = [ValidatorProcess(each.name, each.home, each.api_url) for each in files]
    with LocalNetwork(processes) as network:
        network.start()
        network.wait_until_ready()
        yield network


def get_json(url: str, path: str) -> dict[str, Any]:
    """Return what a node answers to a GET."""
    with urllib.request.urlopen(f"{url}{path}", timeout=10) as answer:  # noqa: S310
        return dict(json.load(answer))


def get_height(validator: ValidatorProcess) -> int:
    """Return the height of the last final block that a validator's API shows."""
    return int(get_json(validator.url, "/api/v1/status")["height"])


def wait_for(condition: Callable[[], T], what: str, timeout_s: float = 60.0) -> T:
    """Return the first true result of a condition; an unreachable node counts as false."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            result = condition()
        except (urllib.error.URLError, OSError):
            result = None  # type: ignore[assignment]
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.05)


def wait_for_height(validator: ValidatorProcess, height: int, timeout_s: float = 60.0) -> None:
    """Wait until a validator's API shows a height."""
    wait_for(
        lambda: get_height(validator) >= height,
        f"{validator.name} at height {height}",
        timeout_s,
    )


def get_roots(validator: ValidatorProcess, up_to: int) -> dict[int, str]:
    """Return the state root at every height from 1 to `up_to`."""
    return {
        height: str(get_json(validator.url, f"/api/v1/blocks/{height}")["state_root"])
        for height in range(1, up_to + 1)
    }
