"""A fifth organisation joins the network of containers, votes, changes its key, and is removed.

It has deploy/compose/member.yml and the invite, nothing else; that its container can reach the
others over the network of the composition stands for the internet.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.docker.engine import (
    IMAGE,
    PROJECT,
    ROOT,
    Validator,
    final_height,
    find_free_ports,
    require,
    run,
    say,
    succeeds,
    wait_for,
)

MEMBER_PROJECT = f"{PROJECT}-member"
MEMBER_NAME = "Clinic B"
INSIDE = "http://127.0.0.1:8080"
KEY = ("--key", "keys/account.json", "--url", INSIDE)

_STRANGER = """
import asyncio, os, ssl, sys
from p2p.certificate import make_identity
from p2p.tls import make_context
chain_id = bytes.fromhex(sys.argv[1])
context = make_context(make_identity(os.urandom(32), chain_id), ssl.PROTOCOL_TLS_CLIENT)
async def call():
    reader, writer = await asyncio.open_connection("validator0", 26656, ssl=context)
    try:
        heard = await asyncio.wait_for(reader.read(1), 15)
    except OSError:
        heard = b""
    print(len(heard))
asyncio.run(call())
"""


class Member(Validator):
    """The container of the organisation that joins."""

    @property
    def container(self) -> str:
        """What the engine calls it."""
        return run(*member_compose(), "ps", "--quiet", "node").strip()


def member_compose(*files: Path) -> tuple[str, ...]:
    """Return the compose command for the organisation that joins."""
    plugin = ("docker", "compose")
    chosen = plugin if succeeds(*plugin, "version") else ("docker-compose",)
    given = [str(ROOT / "deploy" / "compose" / "member.yml"), *map(str, files)]
    return (*chosen, *(f"--file={each}" for each in given), "--project-name", MEMBER_PROJECT)


@contextmanager
def running_member(invite: str) -> Iterator[Member]:
    """Start the container of the organisation with its invite; take everything down again."""
    api_port, p2p_port = find_free_ports(2)
    os.environ |= {
        "QUORATE_IMAGE": IMAGE,
        "QUORATE_INVITE": invite,
        "QUORATE_ENDPOINT": "clinic-b:26656",
        "QUORATE_CONTACT": "ops@clinic-b.example",
        "QUORATE_API_PORT": str(api_port),
        "QUORATE_P2P_PORT": str(p2p_port),
    }
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder, "network.yml")
        network.write_text(
            'version: "3.8"\n'
            "services:\n  node:\n    networks:\n      default:\n        aliases: [clinic-b]\n"
            f"networks:\n  default:\n    external: true\n    name: {PROJECT}_default\n"
        )
        command = member_compose(network)
        down = (*command, "down", "--volumes", "--timeout", "10")
        run(*down)
        try:
            run(*command, "up", "--detach", "--no-build")
            yield Member("clinic", api_port)
        except BaseException:
            subprocess.run([*command, "logs", "--tail", "60"], cwd=ROOT, check=False)
            raise
        finally:
            run(*down)


def inside(node: Validator, *arguments: str) -> Any:
    """Run the command line in a container, as its operator does; return its JSON answer."""
    return json.loads(node.execute("quorate", *arguments, "--output", "json"))


def list_names(node: Validator) -> list[str]:
    return [
        each["name"] for each in inside(node, "validator", "list", "--url", INSIDE)["validators"]
    ]


def vote(validators: Sequence[Validator], number: int) -> None:
    for validator in validators:
        wait_for(
            f"{validator.name} knows proposal {number}",
            lambda: validator.get(f"/api/v1/proposals/{number}"),  # noqa: B023
        )
        inside(validator, "proposal", "vote", str(number), "--yes", *KEY)


def wait_for_names(node: Validator, names: set[str]) -> None:
    def settled() -> bool | None:
        return True if set(list_names(node)) == names else None

    wait_for(f"the validators are {sorted(names)}", settled)


def wait_for_its_vote(node: Validator, index: int) -> None:
    def has_voted() -> bool | None:
        block = node.get(f"/api/v1/blocks/{final_height(node)}")
        signers = [] if block is None else (block["certificate"] or {}).get("signers", [])
        return True if index in signers else None

    wait_for("the newcomer's vote in a block", has_voted)


def check_joining(validators: Sequence[Validator]) -> None:
    """Invite, join, admit, rotate a key, remove."""
    first = validators[0]
    before = set(list_names(first))
    began = time.monotonic()
    invite = inside(first, "invite", "create", "--org", MEMBER_NAME, *KEY)["invite"]
    with running_member(invite) as member:
        proposals = wait_for(
            "the request is in the ledger",
            lambda: (first.get("/api/v1/proposals?status=open") or {}).get("items") or None,
        )
        vote(validators[:3], proposals[0]["number"])
        wait_for_names(first, before | {MEMBER_NAME})
        wait_for_its_vote(first, len(before))
        say(f"a fifth organisation joined with an invite, votes: {time.monotonic() - began:.0f} s")
        seat = inside(first, "validator", "list", "--url", INSIDE)["validators"][-1]
        home = ("--home", "/var/lib/quorate", "--url", INSIDE)
        inside(member, "keys", "rotate-validator", *home, "--plain")
        inside(member, "keys", "rotate-transport", *home, "--plain")

        def has_rotated() -> bool | None:
            now = inside(first, "validator", "list", "--url", INSIDE)["validators"][-1]
            return True if now["public_key"] != seat["public_key"] else None

        wait_for("its next key has the seat", has_rotated)
        wait_for_its_vote(first, len(before))
        say("it changed its validator key and its transport key, and votes")
        created = inside(first, "proposal", "create", "--remove", MEMBER_NAME, *KEY)
        vote(validators[1:4], created["number"])
        wait_for_names(first, before)
        height = final_height(first)
        wait_for("blocks go on", lambda: True if final_height(first) > height + 2 else None)
        say("it was removed by vote, and blocks go on")


def check_strangers(nodes: Sequence[Validator]) -> None:
    """Call a validator with a key that nobody lists; it must not say one byte."""
    status = nodes[0].get("/api/v1/status") or {}
    heard = run(
        *("docker", "run", "--rm", "--network", f"{PROJECT}_default", "--entrypoint", "python"),
        *(IMAGE, "-c", _STRANGER, str(status["chain_id"])),
    )
    require(heard.strip() == "0", f"a stranger heard {heard.strip()} bytes")
    say("an unknown key is refused without one byte")
