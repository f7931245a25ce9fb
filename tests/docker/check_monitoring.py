"""Debian's Prometheus with the project's own configuration, against the network of containers.

``tests/docker/install-monitoring`` gets it. What must hold: configuration, rules and their own
tests are right; the names and labels of every node's metrics are in order; every target is scraped;
the rule for a node that is down fires when a validator is stopped, and ends when it is back.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.docker.engine import (
    ANSWER_S_MAX,
    ROOT,
    Validator,
    compose,
    find_free_ports,
    require,
    run,
    say,
    wait_for,
)

CONFIGURATION = ROOT / "deploy" / "prometheus"
ALERT = "QuorateNodeDown"


def check_monitoring(nodes: Sequence[Validator]) -> None:
    """Check the rules, scrape every node, stop one and see the alert fire."""
    run("promtool", "test", "rules", str(CONFIGURATION / "alerts.test.yml"))
    for node in nodes:
        check_metrics(node)
    say("promtool finds every metric of every node in order")
    with running_prometheus(nodes) as url:
        wait_for("every target is scraped", lambda: all_up(url, len(nodes)))
        say(f"Prometheus scrapes all {len(nodes)} targets")
        victim = nodes[3]
        run("docker", "stop", "--time", "20", victim.container)
        wait_for(f"{ALERT} fires", lambda: True if is_firing(url) else None)
        run(*compose(), "up", "--detach", "--no-build", "--no-recreate", victim.name)
        wait_for(f"{ALERT} ends", lambda: None if is_firing(url) else True)
        say(f"{ALERT} fired while a validator was stopped")


def check_metrics(node: Validator) -> None:
    text = httpx.get(f"{node.url}/metrics", timeout=ANSWER_S_MAX).text
    finished = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    complaint = f"{node.name}: {finished.stdout}{finished.stderr}"
    require(finished.returncode == 0 and not finished.stderr.strip(), complaint)


@contextmanager
def running_prometheus(nodes: Sequence[Validator]) -> Iterator[str]:
    """Run Prometheus on this machine with the project's rules; only the targets are this test's."""
    (port,) = find_free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        text = (CONFIGURATION / "prometheus.yml").read_text(encoding="utf-8")
        for node in nodes:
            require(f"- {node.name}:8080\n" in text, f"{node.name} is no target")
            text = text.replace(f"- {node.name}:8080\n", f"- 127.0.0.1:{node.port}\n")
        Path(folder, "prometheus.yml").write_text(text, encoding="utf-8")
        rules = (CONFIGURATION / "alerts.yml").read_text(encoding="utf-8")
        Path(folder, "alerts.yml").write_text(rules, encoding="utf-8")
        run("promtool", "check", "config", f"{folder}/prometheus.yml")
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def ask(url: str, path: str) -> dict[str, Any]:
    try:
        answer = httpx.get(f"{url}/api/v1/{path}", timeout=ANSWER_S_MAX)
    except httpx.HTTPError:
        return {}
    return dict(answer.json()["data"]) if answer.is_success else {}


def all_up(url: str, count: int) -> bool | None:
    targets = ask(url, "targets").get("activeTargets", [])
    healthy = [each for each in targets if each["health"] == "up"]
    return True if len(healthy) == count == len(targets) else None


def is_firing(url: str) -> bool:
    alerts = ask(url, "alerts").get("alerts", [])
    return any(
        each["labels"]["alertname"] == ALERT and each["state"] == "firing" for each in alerts
    )
