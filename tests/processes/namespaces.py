"""Network namespaces of a test: one for each validator, all on one bridge in one of their own.

The host's interfaces are never touched: cables (veth pairs) lead from a validator's namespace to
the hub's, which holds the bridge and whoever asks the validators. Needs root and Debian's iproute2.

Names carry the process id of their maker, so that runs do not meet, and what a run left behind that
was killed with -9 is removed by the next.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Hub", "enter", "find_obstacle", "lay_cables"]

PREFIX = "quorate"
SUBNET = "10.213.0"
HUB_ADDRESS = f"{SUBNET}.254"
# A hardware address that nobody has: what is sent there is lost without a word.
NOWHERE = "02:00:00:00:00:fe"
_NETWORK_NAMESPACE = 0x40000000  # CLONE_NEWNET of <linux/sched.h>


def run_ip(*arguments: str) -> None:
    """Run ``ip``; raises with its own words."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def find_obstacle() -> str | None:
    """Return why no namespaces can be made here, None if they can."""
    if shutil.which("ip") is None:
        return "there is no `ip`; tests/processes/install-tools installs it"
    if os.geteuid() != 0:
        return "namespaces need root"
    name = f"{PREFIX}-{os.getpid()}-probe"
    try:
        run_ip("netns", "add", name)
        run_ip("-n", name, "link", "add", "name", "first", "type", "veth", "peer", "name", "second")
        run_ip("-n", name, "link", "add", "name", "third", "type", "bridge")
    except OSError as error:
        return str(error)
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return None


class Hub:
    """The namespaces of one network and what can be done to its cables.

    Parameters
    ----------
    count
        How many validators.
    """

    def __init__(self, count: int) -> None:
        self.name = f"{PREFIX}-{os.getpid()}-hub"
        self.names = [f"{PREFIX}-{os.getpid()}-{index}" for index in range(count)]
        self.addresses = [f"{SUBNET}.{index + 1}" for index in range(count)]

    def make(self) -> None:
        """Make everything."""
        run_ip("netns", "add", self.name)
        run_ip("-n", self.name, "link", "set", "lo", "up")
        run_ip("-n", self.name, "link", "add", "name", "bridge", "type", "bridge")
        run_ip("-n", self.name, "addr", "add", f"{HUB_ADDRESS}/24", "dev", "bridge")
        run_ip("-n", self.name, "link", "set", "bridge", "up")
        for index, name in enumerate(self.names):
            run_ip("netns", "add", name)
            run_ip("-n", name, "link", "set", "lo", "up")
            cable = ("link", "add", "name", f"cable{index}", "type", "veth", "peer", "name", "net")
            run_ip("-n", self.name, *cable, "netns", name)
            run_ip("-n", self.name, "link", "set", f"cable{index}", "master", "bridge", "up")
            run_ip("-n", name, "addr", "add", f"{self.addresses[index]}/24", "dev", "net")
            run_ip("-n", name, "link", "set", "net", "up")

    def remove(self) -> None:
        """Remove everything, as far as it was made."""
        for name in [*self.names, self.name]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)

    def cut(self, sender: int, receiver: int) -> None:
        """Lose everything that one validator sends to another, without either being told."""
        self._set_neighbour("replace", sender, receiver)

    def join(self, sender: int, receiver: int) -> None:
        """End :meth:`cut`."""
        self._set_neighbour("del", sender, receiver)

    def _set_neighbour(self, verb: str, sender: int, receiver: int) -> None:
        entry = [self.addresses[receiver], "lladdr", NOWHERE, "nud", "permanent", "dev", "net"]
        run_ip(
            "-n",
            self.names[sender],
            "neigh",
            verb,
            *(entry if verb == "replace" else entry[:1]),
            *(() if verb == "replace" else ("dev", "net")),
        )

    def unplug(self, index: int) -> None:
        """Pull the cable of a validator out, the one to its clients too."""
        run_ip("-n", self.name, "link", "set", f"cable{index}", "down")

    def plug(self, index: int) -> None:
        """End :meth:`unplug`."""
        run_ip("-n", self.name, "link", "set", f"cable{index}", "up")

    def delay(self, index: int, delay_ms: int, jitter_ms: int, loss_percent: int = 0) -> bool:
        """Delay, disorder and lose what a validator sends; False if this kernel cannot."""
        command = ["tc", "-n", self.names[index], "qdisc", "replace", "dev", "net", "root", "netem"]
        command += ["delay", f"{delay_ms}ms", f"{jitter_ms}ms", "loss", f"{loss_percent}%"]
        return subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def enter(name: str) -> Iterator[None]:
    """Move this thread, and what it starts meanwhile, into a namespace, and back."""
    libc = ctypes.CDLL(None, use_errno=True)

    def move(path: str) -> None:
        with Path(path).open() as file:
            if libc.setns(file.fileno(), _NETWORK_NAMESPACE):
                raise OSError(ctypes.get_errno(), f"cannot enter {path}")

    with Path("/proc/thread-self/ns/net").open() as home:
        move(f"/run/netns/{name}")
        try:
            yield
        finally:
            move(f"/proc/self/fd/{home.fileno()}")


@contextmanager
def lay_cables(count: int) -> Iterator[Hub]:
    """Make namespaces and remove them, whatever happens; this thread is in the hub meanwhile."""
    _remove_leftovers()
    hub = Hub(count)
    try:
        hub.make()
        with enter(hub.name):
            yield hub
    finally:
        hub.remove()


def _remove_leftovers() -> None:
    """Remove namespaces whose maker does not live any more."""
    folder = Path("/run/netns")
    for path in folder.iterdir() if folder.is_dir() else ():
        maker = path.name.split("-")[1] if path.name.startswith(f"{PREFIX}-") else ""
        if maker.isdigit() and not Path(f"/proc/{maker}").exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True)
