"""Real validators, each in a network namespace of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import permutations, product
from pathlib import Path

from ledger.parameters import Parameters
from node.local_network import ValidatorProcess
from node.network_files import NetworkPlan, lay_out_network
from tests.processes.faulty_network import FaultyNetwork
from tests.processes.namespaces import Hub, lay_cables

__all__ = ["ACCOUNTS", "CabledNetwork", "run_cabled_network"]

P2P_PORT, API_PORT = 26656, 8080
ACCOUNTS = tuple(f"client{index}" for index in range(8))


class CabledValidator(ValidatorProcess):
    """A validator that runs in a namespace."""

    namespace = ""
    file_bytes_max: int | None = None

    def start(self) -> None:
        """Start the process; ``ip`` becomes it, so its id is that of the node."""
        command = ["ip", "netns", "exec", self.namespace]
        if self.file_bytes_max is not None:
            command += ["prlimit", f"--fsize={self.file_bytes_max}", "--"]
        command += [sys.executable, "-m", "node", "start", "--home", str(self.home.root)]
        self.home.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.home.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--exit-with-parent"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


class CabledNetwork(FaultyNetwork):
    """All validators and their cables.

    Parameters
    ----------
    validators
        In the order of the genesis.
    hub
        Their namespaces.
    folder
        Where everything lies.
    """

    def __init__(self, validators: list[CabledValidator], hub: Hub, folder: Path) -> None:
        super().__init__(list(validators))
        self.hub = hub
        self.folder = folder
        self._cuts: set[tuple[int, int]] = set()

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Cut from sender to receiver, for each pair."""
        for pair in set(pairs) - self._cuts:
            self.hub.cut(*pair)
            self._cuts.add(pair)

    def split(self, *groups: Iterable[int]) -> None:
        """Let every group hear itself only."""
        parts = [tuple(group) for group in groups]
        self.cut(pair for one, other in permutations(parts, 2) for pair in product(one, other))

    def heal(self) -> None:
        """Join whatever was cut."""
        for pair in self._cuts:
            self.hub.join(*pair)
        self._cuts.clear()


@contextmanager
def run_cabled_network(
    folder: Path,
    *,
    validators: int = 4,
    idle_interval_ms: int = 500,
    parameters: Parameters | None = None,
) -> Iterator[CabledNetwork]:
    """Make namespaces, start a validator in each, and end and remove everything afterwards."""
    with lay_cables(validators) as hub:
        plan = NetworkPlan(
            folder=folder,
            chain_name="processes",
            p2p_endpoints=tuple((address, P2P_PORT) for address in hub.addresses),
            p2p_listen_host="0.0.0.0",  # noqa: S104 (alone in its namespace)
            api_endpoints=tuple((address, API_PORT) for address in hub.addresses),
            accounts=ACCOUNTS,
            idle_interval_ms=idle_interval_ms,
            parameters=parameters or Parameters(),
        )
        processes = []
        for files, namespace in zip(lay_out_network(plan), hub.names, strict=True):
            process = CabledValidator(files.name, files.home, files.api_url)
            process.namespace = namespace
            processes.append(process)
        network = CabledNetwork(processes, hub, folder)
        with network:
            network.start()
            network.wait_until_ready()
            yield network
