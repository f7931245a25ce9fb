"""Validators as separate processes on this machine.

Starts what ``quorate init`` laid out, waits until every validator answers, and ends all of them
with this process, however it ends: each child holds a pipe whose closing tells it that we are gone
(node/parent_watch.py).
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from node.home import NodeHome
from primitives.errors import QuorateError

__all__ = [
    "LocalNetwork",
    "LocalNetworkError",
    "ValidatorProcess",
    "check_ports_free",
    "find_free_ports",
]

POLL_INTERVAL_S = 0.05
WATCH_INTERVAL_S = 0.5
STOP_TIMEOUT_S = 10.0
LOG_TAIL_LINES = 12


class LocalNetworkError(QuorateError):
    """The local network cannot start, or has ended by itself."""


@dataclass(slots=True)
class ValidatorProcess:
    """One validator of the local network.

    Parameters
    ----------
    name
        As the genesis lists it.
    home
        Its folder.
    url
        Where its API answers.
    """

    name: str
    home: NodeHome
    url: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start the process; what it prints goes to its log file."""
        command = [sys.executable, "-m", "node", "start", "--home", str(self.home.root)]
        self.home.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.home.log_file.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
                [*command, "--exit-with-parent"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        """Return whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def is_ready(self) -> bool:
        """Return whether the API says that this node is synced."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End the process as ``kill -9`` does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """Ask the process to end; wait for it."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def read_log_tail(self) -> str:
        """Return the last lines that the process printed."""
        with contextlib.suppress(OSError):
            lines = self.home.log_file.read_text(errors="replace").splitlines()
            return "\n".join(lines[-LOG_TAIL_LINES:])
        return ""


class LocalNetwork:
    """All validators of one folder; a context manager that leaves no process behind.

    Parameters
    ----------
    validators
        In the order of the genesis.
    """

    def __init__(self, validators: list[ValidatorProcess]) -> None:
        self.validators = validators

    def __enter__(self) -> LocalNetwork:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start every validator that does not run."""
        for validator in self.validators:
            if not validator.is_running():
                validator.start()

    def stop(self) -> None:
        """End every validator, all at once rather than one after the other."""
        for validator in self.validators:
            if validator.process is not None and validator.process.poll() is None:
                validator.process.terminate()
        for validator in self.validators:
            validator.stop()

    def wait_until_ready(
        self, timeout_s: float = 120.0, on_ready: Callable[[ValidatorProcess], None] | None = None
    ) -> None:
        """Wait until every validator answers that it is synced.

        Parameters
        ----------
        timeout_s
            How long to wait for all of them together.
        on_ready
            Called once for each validator, as soon as it is ready.

        Raises
        ------
        LocalNetworkError
            One ended, or not all were ready in time; the message holds the end of its log.
        """
        waiting = list(self.validators)
        deadline = time.monotonic() + timeout_s
        while waiting:
            for validator in list(waiting):
                if validator.is_ready():
                    waiting.remove(validator)
                    if on_ready is not None:
                        on_ready(validator)
            self._check_running(waiting)
            if waiting and time.monotonic() > deadline:
                late = waiting[0]
                raise LocalNetworkError(
                    f"{late.name} was not ready after {timeout_s:.0f} s:\n{late.read_log_tail()}"
                )
            if waiting:
                time.sleep(POLL_INTERVAL_S)

    def watch(self, on_ended: Callable[[ValidatorProcess], None]) -> None:
        """Wait as long as a validator runs: the network is made to go on without some of them.

        Parameters
        ----------
        on_ended
            Called once for each validator that ends by itself.

        Raises
        ------
        LocalNetworkError
            Once none runs.
        """
        running = list(self.validators)
        while running:
            time.sleep(WATCH_INTERVAL_S)
            for validator in [each for each in running if not each.is_running()]:
                running.remove(validator)
                on_ended(validator)
        raise LocalNetworkError("no validator runs any more")

    @staticmethod
    def _check_running(validators: list[ValidatorProcess]) -> None:
        for validator in validators:
            if not validator.is_running():
                code = validator.process.returncode if validator.process is not None else None
                raise LocalNetworkError(
                    f"{validator.name} ended with code {code}:\n{validator.read_log_tail()}"
                )


def check_ports_free(host: str, ports: list[int]) -> None:
    """Refuse ports that something listens on, before it answers in the name of our validators."""
    for port in ports:
        with socket.socket() as probe:
            # As the servers do, so that connections of a network just stopped are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except (OSError, OverflowError) as error:
                raise LocalNetworkError(
                    f"port {port} of {host} cannot be used: {error}; does another network"
                    " run? --port chooses other ports, and --port 0 free ones"
                ) from error


def find_free_ports(host: str, count: int) -> list[int]:
    """Return ports of ``host`` that nothing listens on right now, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((host, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
