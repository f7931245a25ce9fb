"""A network that loses its quorum says which validators it lacks, and that it is well again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.local_network import get_json, run_network, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent


def visit(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and what it says as JSON."""
    command = [sys.executable, "-m", "node", "doctor", *arguments, "--output", "json"]
    environment = {**os.environ, "QUORATE_URL": "", "QUORATE_HOME": ""}
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return finished.returncode, json.loads(finished.stdout)


def read_code(url: str) -> str:
    return str(get_json(url, "/api/v1/consensus")["diagnosis"]["code"])


@pytest.mark.slow
def test_a_lost_quorum_is_explained_until_it_is_back(tmp_path: Path) -> None:
    with run_network(tmp_path / "net", idle_interval_ms=300) as network:
        first, second, third, fourth = network.validators
        well = {"idle", "well"}
        wait_for(lambda: read_code(first.url) in well, "a network that is well")
        third.kill()
        wait_for(lambda: read_code(first.url) == "validators_missing", "one that is missing")
        fourth.kill()
        wait_for(lambda: read_code(first.url) == "cut_off", "a lost quorum")

        code, said = visit("--node", first.url)
        assert code == 1
        assert (
            "2 of 4 validators are connected, this one included, 3 are needed" in said["sentence"]
        )
        missing = said["sentence"].partition("Missing: ")[2]
        assert third.name in missing
        assert fourth.name in missing
        assert second.name not in missing

        code, said = visit(str(third.home.root))
        assert (code, said["sentence"]) == (1, "This node is not running.")
        found = {each["name"]: each["text"] for each in said["findings"]}
        assert found["wal"].endswith("all read back")

        third.start()
        fourth.start()
        wait_for(lambda: all(each.is_ready() for each in network.validators), "all ready again")
        wait_for(lambda: read_code(first.url) in well, "a network that is well again")
