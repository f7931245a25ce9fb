"""Real validators on loopback behind a fault proxy; needs no root."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import permutations, product
from pathlib import Path

from node.local_network import ValidatorProcess, find_free_ports
from node.network_files import NetworkPlan, lay_out_network
from tests.processes.cabled_network import ACCOUNTS
from tests.processes.fault_proxy import HOST, FaultProxy
from tests.processes.faulty_network import FaultyNetwork

__all__ = ["ProxiedNetwork", "run_proxied_network"]


class ProxiedNetwork(FaultyNetwork):
    """All validators and the proxy between them.

    Parameters
    ----------
    validators
        In the order of the genesis.
    """

    proxy: FaultProxy

    def get_processes(self) -> dict[int, int]:
        """Return the process ids of the validators that run, by index."""
        return {
            index: validator.process.pid
            for index, validator in enumerate(self.validators)
            if validator.process is not None
        }

    def split(self, *groups: Iterable[int]) -> None:
        """Let every group hear itself only."""
        parts = [tuple(group) for group in groups]
        for one, other in permutations(parts, 2):
            for pair in product(one, other):
                self.proxy.cut(*pair)

    def heal(self) -> None:
        """End every fault of the connections."""
        self.proxy.heal()


@contextmanager
def run_proxied_network(
    folder: Path, *, validators: int = 4, idle_interval_ms: int = 500
) -> Iterator[ProxiedNetwork]:
    """Lay out a network whose genesis names the proxy's ports, and start everything."""
    ports = find_free_ports(HOST, 3 * validators)
    proxied, real, api = (ports[start::3] for start in range(3))
    plan = NetworkPlan(
        folder=folder,
        chain_name="processes",
        p2p_endpoints=tuple((HOST, port) for port in proxied),
        api_endpoints=tuple((HOST, port) for port in api),
        accounts=ACCOUNTS,
        idle_interval_ms=idle_interval_ms,
    )
    processes = []
    for files, public, own in zip(lay_out_network(plan), proxied, real, strict=True):
        settings = files.home.config_file.read_text()
        line = f"listen_port = {public}\n"
        assert line in settings
        files.home.config_file.write_text(settings.replace(line, f"listen_port = {own}\n"))
        processes.append(ValidatorProcess(files.name, files.home, files.api_url))
    network = ProxiedNetwork(processes)
    network.proxy = FaultProxy(proxied, real, network.get_processes)
    network.proxy.start()
    try:
        with network:
            network.start()
            network.wait_until_ready()
            yield network
    finally:
        network.proxy.stop()
