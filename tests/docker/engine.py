"""What the container checks share: commands of the engine, one node of the network, waiting."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGE = "quorate:under-test"
PROJECT = "quorate-under-test"
WAIT_S_MAX = 180.0
POLL_S = 0.5
ANSWER_S_MAX = 5.0


class CheckFailedError(Exception):
    """Something that must hold does not."""


@dataclass(frozen=True, slots=True)
class Validator:
    """One container of the network and where its REST is published."""

    name: str
    port: int

    @property
    def url(self) -> str:
        """Where it answers on this machine."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def container(self) -> str:
        """What the engine calls it."""
        return run(*compose(), "ps", "--quiet", self.name).strip()

    def get(self, path: str) -> dict[str, Any] | None:
        """Return the JSON at a path; nothing while the node does not answer with success."""
        try:
            answer = httpx.get(f"{self.url}{path}", timeout=ANSWER_S_MAX)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.is_success else None

    def execute(self, *command: str) -> str:
        """Run a command inside, as the user that the node runs as."""
        return run("docker", "exec", self.container, *command)

    def quorate(self, *arguments: str) -> Any:
        """Run this machine's command line against the container; return its JSON answer."""
        command = (sys.executable, "-m", "node", *arguments)
        return json.loads(run(*command, "--url", self.url, "--output", "json"))


def say(text: str) -> None:
    print(f"-- {text}", flush=True)


def require(condition: object, complaint: str) -> None:
    if not condition:
        raise CheckFailedError(complaint)


def run(*command: str) -> str:
    """Run a command to its end and return what it printed; a failure fails the check."""
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    printed = f"{finished.stdout}\n{finished.stderr}".strip()
    require(finished.returncode == 0, f"{' '.join(command)}\n{printed[-6000:]}")
    return finished.stdout


def succeeds(*command: str) -> bool:
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def wait_for(what: str, probe: Callable[[], T | None]) -> T:
    """Ask again and again until there is an answer."""
    deadline = time.monotonic() + WAIT_S_MAX
    while time.monotonic() < deadline:
        if (answer := probe()) is not None:
            return answer
        time.sleep(POLL_S)
    raise CheckFailedError(f"not within {WAIT_S_MAX:.0f} s: {what}")


def compose() -> tuple[str, ...]:
    """Return the compose command that this machine has, the plugin or the older program."""
    plugin = ("docker", "compose")
    chosen = plugin if succeeds(*plugin, "version") else ("docker-compose",)
    return (*chosen, "--project-name", PROJECT)


def find_free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on right now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def final_height(validator: Validator) -> int:
    answer = wait_for(f"{validator.name} answers", lambda: validator.get("/api/v1/status"))
    return int(answer["height"])


def wait_for_height(validator: Validator, height: int) -> None:
    def reached() -> bool | None:
        return True if final_height(validator) >= height else None

    wait_for(f"{validator.name} reaches height {height}", reached)
