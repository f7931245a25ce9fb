"""Build the image, run a network of four containers and ask each of them.

``make test-docker``. What must hold: every container becomes healthy, runs as nobody on a read-only
root without capabilities and finds its kernels compiled; all four hold the same block at the same
height; a model trained through one validator answers the same through every other; the network goes
on while one container is killed, and the killed one catches up by itself.

Needs a Docker engine with its compose command (``tests/docker/install-engine`` gets Debian's).
Where no image registry can be reached, a local base made of Debian's packages stands in for the
official one.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from sklearn.datasets import load_digits

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent.parent
OFFICIAL_BASE = "python:3.11-slim-bookworm"
STAND_IN_BASE = "quorate-stand-in-base"
IMAGE = "quorate:under-test"
PROJECT = "quorate-under-test"
VALIDATOR_COUNT = 4
USER_ID = "10001"
# Where pip gets its packages is this machine's matter; the build is told the same.
FORWARDED_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")

MODEL_FILE = ROOT / "examples" / "digits.toml"
TRAINING_SAMPLES = 400
ASKED_SAMPLES = 20
ACCURACY_MIN = 0.7

WAIT_S_MAX = 120.0
POLL_S = 0.5
ANSWER_S_MAX = 5.0

FORMATTER = argparse.RawDescriptionHelpFormatter


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


def choose_base() -> str:
    """Return the official base where it is or can be had, else the stand-in."""
    has_official = succeeds("docker", "image", "inspect", OFFICIAL_BASE)
    if has_official or succeeds("docker", "pull", "--quiet", OFFICIAL_BASE):
        return OFFICIAL_BASE
    run("tests/docker/make-stand-in-base", STAND_IN_BASE)
    return STAND_IN_BASE


def build_image(base: str) -> None:
    settings = [name for name in FORWARDED_SETTINGS if name in os.environ]
    arguments = [f"--build-arg=BASE={base}", *(f"--build-arg={name}" for name in settings)]
    run("docker", "build", *arguments, "--tag", IMAGE, ".")


def find_free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on right now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextmanager
def running_network() -> Iterator[tuple[Validator, ...]]:
    """Bring the composition up; take it down afterwards, volumes and all."""
    ports = find_free_ports(VALIDATOR_COUNT)
    os.environ["QUORATE_IMAGE"] = IMAGE
    for index, port in enumerate(ports):
        os.environ[f"QUORATE_PORT_{index}"] = str(port)
    down = (*compose(), "down", "--volumes", "--timeout", "10")
    run(*down)
    try:
        run(*compose(), "up", "--detach", "--no-build")
        yield tuple(Validator(f"validator{index}", port) for index, port in enumerate(ports))
    except BaseException:
        subprocess.run([*compose(), "logs", "--tail", "40"], cwd=ROOT, check=False)
        raise
    finally:
        run(*down)


def check_health(validators: Sequence[Validator]) -> None:
    """Wait until the engine itself finds every container healthy."""
    template = "{{.State.Health.Status}}"

    def all_healthy() -> bool | None:
        states = [
            run("docker", "inspect", "--format", template, validator.container).strip()
            for validator in validators
        ]
        return True if states == ["healthy"] * len(validators) else None

    wait_for("every container is healthy", all_healthy)


def check_confinement(validator: Validator) -> None:
    """Look at what a container may do: nothing but its own work."""
    require(validator.execute("id", "-u").strip() == USER_ID, f"{validator.name} runs as root")
    described = json.loads(run("docker", "inspect", validator.container))[0]
    host = described["HostConfig"]
    require(described["Config"]["User"].startswith(USER_ID), "the image names another user")
    require(host["ReadonlyRootfs"], "the root file system can be written")
    require(host["CapDrop"] == ["ALL"], "capabilities are left")
    require("no-new-privileges:true" in host["SecurityOpt"], "privileges can be gained")
    first_process = validator.execute("cat", "/proc/1/comm").strip()
    require(first_process == "tini", f"process 1 is {first_process}")
    keys = validator.execute("find", "keys", "-type", "f", "-perm", "/077").strip()
    require(not keys, f"others may read {keys}")


def count_kernels(validator: Validator, folder: str) -> int:
    return len(validator.execute("find", folder, "-name", "*.nbc").split())


def check_kernels_came_compiled(validator: Validator) -> None:
    """After training and predicting, nothing may have been compiled beyond the image's cache."""
    shipped = count_kernels(validator, "/opt/quorate/kernels")
    present = count_kernels(validator, "/run/quorate/kernels")
    require(shipped > 0, "the image holds no compiled kernels")
    require(present == shipped, f"{present - shipped} kernels were compiled in {validator.name}")


def check_one_history(validators: Sequence[Validator], height: int) -> None:
    """Wait for a height everywhere, then compare what each says of it.

    Every block writes its parent's state root into the state, so one id stands for one history.
    """

    def read(validator: Validator) -> dict[str, Any]:
        path = f"/api/v1/blocks/{height}"
        return wait_for(f"{validator.name} has block {height}", lambda: validator.get(path))

    identities = {read(validator)["block_id"] for validator in validators}
    require(len(identities) == 1, f"the validators differ at height {height}")


def final_height(validator: Validator) -> int:
    answer = wait_for(f"{validator.name} answers", lambda: validator.get("/api/v1/status"))
    return int(answer["height"])


def wait_for_height(validator: Validator, height: int) -> None:
    def reached() -> bool | None:
        return True if final_height(validator) >= height else None

    wait_for(f"{validator.name} reaches height {height}", reached)


def write_rows(path: Path, rows: Iterable[Iterable[int]]) -> Path:
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return path


def check_learning(validators: Sequence[Validator]) -> None:
    """Train through the first validator; every one must answer the same, and well."""
    first = validators[0]
    model = tomllib.loads(MODEL_FILE.read_text(encoding="utf-8"))["name"]
    digits = load_digits()
    features = digits.data.astype(int).tolist()
    classes = digits.target.astype(int).tolist()
    learnt = [[*row, label] for row, label in zip(features, classes, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder, "account.json")
        key.write_text(first.execute("cat", "keys/account.json"), encoding="utf-8")
        training = write_rows(Path(folder, "training.csv"), learnt[:TRAINING_SAMPLES])
        asked = write_rows(Path(folder, "asked.csv"), features[-ASKED_SAMPLES:])
        first.quorate("model", "create", str(MODEL_FILE), "--key", str(key))
        first.quorate("contribute", model, str(training), "--key", str(key))
        height = final_height(first)
        answers = []
        for validator in validators:
            wait_for_height(validator, height)
            question = ("predict", model, "--file", str(asked), "--height", str(height))
            answers.append(validator.quorate(*question)["labels"])
    require(all(answer == answers[0] for answer in answers), f"predictions differ: {answers}")
    truth = classes[-ASKED_SAMPLES:]
    right = sum(int(answer) == label for answer, label in zip(answers[0], truth, strict=True))
    require(right >= ASKED_SAMPLES * ACCURACY_MIN, f"only {right} of {ASKED_SAMPLES} are right")
    say(f"{right} of {ASKED_SAMPLES} unseen digits are right, the same through every validator")


def check_recovery(validators: Sequence[Validator]) -> None:
    """Kill one container: the others go on; started again, it catches up."""
    *others, victim = validators
    before = final_height(victim)
    run("docker", "kill", "--signal", "KILL", victim.container)
    for validator in others:
        wait_for_height(validator, before + 2)
    run(*compose(), "up", "--detach", "--no-build", "--no-recreate", victim.name)
    wait_for_height(victim, final_height(others[0]))


def check_network(validators: Sequence[Validator]) -> None:
    check_health(validators)
    say("four containers are healthy")
    for validator in validators:
        check_confinement(validator)
    say("they run as nobody, on a read-only root, without capabilities")
    for validator in validators:
        wait_for_height(validator, 1)
    check_learning(validators)
    for validator in validators:
        check_kernels_came_compiled(validator)
    say("no kernel was compiled in a container")
    check_recovery(validators)
    check_one_history(validators, final_height(validators[0]))
    say("one was killed and caught up; all four hold the same chain")


def main() -> int:
    """Run every check; the exit code says whether all held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=FORMATTER)
    parser.add_argument("--base", help="image to build on instead of the official one")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        require(succeeds("docker", "info"), "no Docker engine answers; see tests/docker")
        base = options.base or choose_base()
        say(f"building {IMAGE} on {base}")
        build_image(base)
        with running_network() as validators:
            check_network(validators)
    except CheckFailedError as failure:
        print(f"container check failed: {failure}", file=sys.stderr)
        return 1
    say(f"containers hold, in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
