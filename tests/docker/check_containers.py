"""Build the image, run a network of containers and do with it what its operators will.

``make test-docker``. What must hold: the image is small; every container becomes healthy, runs as
nobody on a read-only root without capabilities and finds its kernels compiled; all hold the same
block at the same height; a model trained through one validator answers the same through every other
and through the observer; a fifth organisation joins with only an invite and votes
(`check_joining`); one is killed and catches up, all are restarted in turn, and no block is lost; an
unknown key hears nothing; Prometheus sees it all and an alert fires (`check_monitoring`).

Needs a Docker engine with its compose command (``tests/docker/install-engine`` gets Debian's).
Where no image registry can be reached, a local base made of Debian's packages stands in for the
official one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sklearn.datasets import load_digits

from tests.docker.check_joining import check_joining, check_strangers
from tests.docker.check_monitoring import check_monitoring
from tests.docker.engine import (
    IMAGE,
    ROOT,
    CheckFailedError,
    Validator,
    compose,
    final_height,
    find_free_ports,
    require,
    run,
    say,
    succeeds,
    wait_for,
    wait_for_height,
)

OFFICIAL_BASE = "python:3.11-slim-bookworm"
STAND_IN_BASE = "quorate-stand-in-base"
VALIDATOR_COUNT = 4
NODE_NAMES = (*(f"validator{index}" for index in range(VALIDATOR_COUNT)), "observer")
IMAGE_BYTES_MAX = 600_000_000
EPOCH_LENGTH = 10
USER_ID = "10001"
# Where pip gets its packages is this machine's matter; the build is told the same.
FORWARDED_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")

MODEL_FILE = ROOT / "examples" / "digits.toml"
TRAINING_SAMPLES = 400
ASKED_SAMPLES = 20
ACCURACY_MIN = 0.7


FORMATTER = argparse.RawDescriptionHelpFormatter


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


@contextmanager
def running_network() -> Iterator[tuple[Validator, ...]]:
    """Bring the composition up; take it down afterwards, volumes and all."""
    ports = find_free_ports(len(NODE_NAMES))
    os.environ["QUORATE_IMAGE"] = IMAGE
    os.environ["QUORATE_INIT_OPTIONS"] = f"--parameter epoch_length={EPOCH_LENGTH}"
    for index, port in enumerate(ports):
        os.environ[f"QUORATE_PORT_{index}"] = str(port)
    down = (*compose(), "down", "--volumes", "--timeout", "10")
    run(*down)
    try:
        began = time.monotonic()
        run(*compose(), "up", "--detach", "--no-build")
        nodes = tuple(Validator(*each) for each in zip(NODE_NAMES, ports, strict=True))
        wait_for_height(nodes[0], 1)
        say(f"from compose up to the first final block: {time.monotonic() - began:.1f} s")
        yield nodes
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


def check_rolling_restart(nodes: Sequence[Validator]) -> None:
    """Restart one node after the other; every block that was final stays what it was."""
    first = nodes[-1]
    before = {height: read_block(first, height)["block_id"] for height in read_heights(first)}
    for node in nodes:
        run("docker", "restart", "--time", "20", node.container)
        others = [each for each in nodes if each is not node]
        height = final_height(others[0])
        wait_for_height(others[0], height + 1)
        check_health([node])
        wait_for_height(node, height)
    for height, block_id in before.items():
        require(read_block(first, height)["block_id"] == block_id, f"block {height} is another")
    check_one_history(nodes, final_height(nodes[0]))


def read_heights(node: Validator) -> range:
    return range(1, final_height(node) + 1)


def read_block(node: Validator, height: int) -> dict[str, Any]:
    path = f"/api/v1/blocks/{height}"
    return wait_for(f"{node.name} has block {height}", lambda: node.get(path))


def check_image() -> None:
    described = json.loads(run("docker", "image", "inspect", IMAGE))[0]
    size, configured = described["Size"], described["Config"]
    say(
        f"image: {size / 1e6:.0f} MB, user {configured['User']},"
        f" health check {configured['Healthcheck']['Test'][-1]!r}"
    )
    require(size < IMAGE_BYTES_MAX, f"the image has {size} bytes, {IMAGE_BYTES_MAX} are the limit")


def check_network(nodes: Sequence[Validator]) -> None:
    check_health(nodes)
    for node in nodes:
        check_confinement(node)
    say(f"{len(nodes)} containers are healthy, on read-only roots, capabilities: none")
    check_learning(nodes)
    for node in nodes:
        check_kernels_came_compiled(node)
    say("no kernel was compiled in a container")
    check_strangers(nodes)
    validators = nodes[:VALIDATOR_COUNT]
    check_monitoring(nodes)
    check_joining(validators)
    check_recovery(validators)
    check_one_history(nodes, final_height(nodes[0]))
    say("one was killed and caught up; all hold the same chain")
    check_rolling_restart(nodes)
    say("all were restarted in turn; every block stayed what it was")


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
        check_image()
        with running_network() as nodes:
            check_network(nodes)
    except CheckFailedError as failure:
        print(f"container check failed: {failure}", file=sys.stderr)
        return 1
    say(f"containers hold, in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
