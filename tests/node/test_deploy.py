"""What ships for operators agrees with the node: names of metrics, ports, volumes, settings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ledger.model_records import MODEL_PREFIX
from node.api.ledger_metrics import list_disk_metrics, list_ledger_metrics
from node.configuration import NodeSettings
from node.configuration_check import ENVIRONMENT_PREFIX, OTHER_VARIABLES
from tests.helpers.api import run_api

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
METRIC = re.compile(r"\bquorate_[a-z0-9_]+\b")
COMPOSE_FILES = (
    ROOT / "docker-compose.yml",
    DEPLOY / "compose" / "member.yml",
    DEPLOY / "compose" / "member.password.yml",
)


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def list_source_metrics() -> set[str]:
    """Return every name that the API's code can give a metric."""
    text = "".join(
        (ROOT / "node" / "api" / name).read_text(encoding="utf-8")
        for name in ("routes_metrics.py", "ledger_metrics.py")
    )
    plain = set(re.findall(r'"(quorate_[a-z0-9_]+)"', text))
    prefixed = re.findall(r'_(?:gauge|counter|count_by)\(\s*"([a-z0-9_]+)"', text)
    return plain | {f"quorate_{name}" for name in prefixed}


@pytest.mark.parametrize(
    "path",
    [DEPLOY / "prometheus" / "alerts.yml", DEPLOY / "grafana" / "dashboards" / "quorate.json"],
    ids=lambda path: path.name,
)
def test_rules_and_dashboard_speak_of_metrics_that_exist(path: Path) -> None:
    data = load(path) if path.suffix == ".yml" else json.loads(path.read_text(encoding="utf-8"))
    expressions = re.findall(r"'expr': ['\"](.*?)['\"](?:,|})", str(data))
    named = {name for text in expressions for name in METRIC.findall(text)}
    assert len(named) > 8
    assert named <= list_source_metrics()


def test_metrics_page_has_those_of_the_ledger(tmp_path: Path) -> None:
    with run_api(tmp_path) as scene:
        text = scene.http.get("/metrics").text
        for metric in (*list_ledger_metrics(scene.chain.store), *list_disk_metrics(tmp_path)):
            assert not metric.samples or f"# TYPE {metric.name} " in text
        assert "quorate_members 4" in text
        assert "quorate_protocol_unsupported 0" in text
        assert MODEL_PREFIX


def test_dashboard_is_whole() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "quorate.json").read_text())
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)
    assert dashboard["uid"] == "quorate"
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert rows == ["Consensus", "Models", "Transactions and votes", "P2P", "Host"]
    source = load(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")
    current = dashboard["templating"]["list"][0]["current"]["value"]
    assert current == source["datasources"][0]["uid"]


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.name)
def test_compose_files_confine_every_node_and_read_what_the_node_reads(path: Path) -> None:
    document = load(path)
    volumes = set(document.get("volumes", {}))
    known = OTHER_VARIABLES | {"QUORATE_INIT_OPTIONS"}
    for name, service in document["services"].items():
        if path.name == "member.password.yml":
            continue
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert source in volumes or (ROOT / source).exists(), mount
        for variable in service.get("environment", {}):
            if variable.startswith(ENVIRONMENT_PREFIX):
                assert variable in known, variable
    nodes = [each for each in document["services"] if each.startswith(("validator", "observer"))]
    assert path.name != "docker-compose.yml" or len(nodes) == 5


def test_prometheus_scrapes_every_node_of_the_composition() -> None:
    services = load(ROOT / "docker-compose.yml")["services"]
    nodes = {name for name in services if name.startswith(("validator", "observer"))}
    targets = load(DEPLOY / "prometheus" / "prometheus.yml")["scrape_configs"][0]["static_configs"]
    assert {target.split(":")[0] for target in targets[0]["targets"]} == nodes
    assert all(target.endswith(":8080") for target in targets[0]["targets"])
    assert NodeSettings().api.port == 8080


def test_kubernetes_base_holds_together() -> None:
    base = DEPLOY / "kubernetes" / "base"
    documents = [
        document
        for name in load(base / "kustomization.yaml")["resources"]
        for document in yaml.safe_load_all((base / name).read_text(encoding="utf-8"))
    ]
    by_kind: dict[str, list[Any]] = {}
    for document in documents:
        by_kind.setdefault(document["kind"], []).append(document)
    (validator,), (observer,) = by_kind["StatefulSet"], by_kind["Deployment"]
    assert validator["spec"]["replicas"] == 1
    for workload in (validator, observer):
        pod = workload["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        probes = [container[f"{each}Probe"] for each in ("startup", "liveness", "readiness")]
        assert [each["httpGet"]["path"] for each in probes] == ["/startupz", "/livez", "/readyz"]
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"] for volume in pod["volumes"]}
        claims = workload["spec"].get("volumeClaimTemplates", [])
        assert mounts == volumes | {claim["metadata"]["name"] for claim in claims}
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"] == labels
    headless = next(each for each in by_kind["Service"] if each["spec"].get("clusterIP") == "None")
    assert headless["spec"]["publishNotReadyAddresses"] is True
    assert validator["spec"]["serviceName"] == headless["metadata"]["name"]
    assert len(by_kind["NetworkPolicy"]) == 2
    overlay = DEPLOY / "kubernetes" / "overlays" / "joining-member" / "kustomization.yaml"
    for resource in load(overlay)["resources"]:
        assert (overlay.parent / resource / "kustomization.yaml").exists()
