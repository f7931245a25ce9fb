"""What the API tells of consensus, and when it calls a node ready."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.events import PeerDisconnected
from consensus.messages import CertificateMessage, Status
from consensus.report import AwaitedBlock, BlockStage, CatchUpReport, EvidenceReport
from consensus.watch import Alarm
from node.api.app import HEALTH_PATHS
from primitives.certificates import VoteKind
from tests.helpers.api import ApiScene, run_api
from tests.helpers.consensus import certify, make_vote
from tests.helpers.watched_consensus import WatchedBench


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiScene]:
    # Tests change what the node says and ask at once.
    monkeypatch.setattr("node.api.feed_client.STATUS_AGE_MAX_S", -1.0)
    with run_api(tmp_path) as running:
        yield running


def test_a_healthy_node_says_so(scene: ApiScene) -> None:
    shown = scene.get("/api/v1/consensus")
    assert shown["diagnosis"] == {
        "code": "idle",
        "severity": "well",
        "sentence": "Idle: nothing is waiting. Block 0 was final when this node started 0.0 s ago;"
        " the next heartbeat block is due in 10 s.",
        "advice": "Nothing.",
    }
    assert (shown["node"], shown["version"]) == ("member-0", "1.2.3")
    assert (shown["epoch"], shown["view"], shown["leader"], shown["quorum"]) == (0, 1, "beta", 3)
    assert shown["final"] == {"height": 0, "view": 0, "age_ms": 0, "is_since_start": True}
    assert [each["name"] for each in shown["validators"]] == ["alpha", "beta", "gamma", "delta"]
    assert all(each["is_present"] for each in shown["validators"])
    assert shown["catch_up"] is None
    assert shown["halt"] is None


def test_votes_and_what_certificates_lack_are_shown_by_name(scene: ApiScene) -> None:
    bench = WatchedBench()
    bench.connect(1, 2)
    bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, 1)))
    bench.hear(2, make_vote(VoteKind.VIEW_CHANGE, 2, validator=2))
    bench.hear(2, Status(0, 2, 7, 2), after_ms=30)
    bench.step(PeerDisconnected(2))
    scene.node.consensus = bench.report(after_ms=10)
    shown = scene.get("/api/v1/consensus")
    assert shown["diagnosis"]["code"] == "cut_off"
    assert shown["timeouts"]["failed_views"] == 1
    gamma = shown["validators"][2]
    assert gamma["heard"] == {"message": "STATUS", "view": 2, "age_ms": 10}
    assert (gamma["is_connected"], gamma["claimed_height"]) == (False, 7)
    assert gamma["votes"] == ["VIEW-CHANGE"]
    assert shown["validators"][3]["heard"] is None
    current, last = shown["views"]
    assert (current["view"], current["leader"], last["view"]) == (2, "gamma", 1)
    assert current["certificates"][2] == {
        "kind": "VIEW-CHANGE",
        "is_complete": False,
        "votes": 2,
        "needed": 3,
        "voters": ["alpha", "gamma"],
        "lacking": ["beta", "delta"],
    }
    assert last["certificates"][2]["is_complete"] is True


def test_what_is_wrong_is_shown(scene: ApiScene) -> None:
    scene.node.consensus = replace(
        scene.node.consensus,
        awaited=AwaitedBlock(9, None, BlockStage.MISSING),
        catch_up=CatchUpReport(3, 90, (1, 2)),
        halt=Alarm("fork", "two chains"),
        evidence=(EvidenceReport("DOUBLE-COMMIT", "delta", 0, 4),),
        evidence_count=1,
        alarms=(("fork", 1),),
        peer_faults=(("bad_signature", 2),),
    )
    shown = scene.get("/api/v1/consensus")
    assert shown["unfinal"]["awaited"] == {"view": 9, "height": None, "stage": "missing"}
    assert shown["catch_up"] == {"from_height": 3, "to_height": 90, "peers": ["beta", "gamma"]}
    assert shown["halt"] == {"code": "fork", "text": "two chains"}
    evidence = {"kind": "DOUBLE-COMMIT", "validator": "delta", "epoch": 0, "view": 4}
    assert (shown["evidence"], shown["evidence_total"]) == ([evidence], 1)
    assert (shown["alarms"], shown["peer_faults"]) == ({"fork": 1}, {"bad_signature": 2})


def test_without_a_node_there_is_nothing_to_tell(scene: ApiScene) -> None:
    scene.call(scene.node.feed.stop)
    response = scene.http.get("/api/v1/consensus")
    assert (response.status_code, response.json()["code"]) == (503, "node_unreachable")


@pytest.mark.parametrize("path", ["/readyz", "/v2/health/ready"])
def test_a_node_that_is_cut_off_or_halted_is_not_ready(scene: ApiScene, path: str) -> None:
    healthy = scene.node.consensus
    assert scene.http.get(path).status_code == 200
    for broken in (
        WatchedBench().report(),
        replace(healthy, final_age_ms=3_600_000),
        replace(healthy, halt=Alarm("diverged", "another root")),
        replace(healthy, catch_up=CatchUpReport(3, 90, (2,))),
    ):
        scene.node.consensus = broken
        assert scene.http.get(path).status_code == 503
    scene.node.consensus = replace(healthy, is_on_probation=True)
    assert scene.http.get(path).status_code == 200


def test_readiness_says_why(scene: ApiScene) -> None:
    assert scene.get("/readyz")["reason"].startswith("Idle: nothing is waiting.")
    scene.node.consensus = WatchedBench().report()
    shown = scene.http.get("/readyz").json()
    assert shown["checks"]["chain_followed"] is False
    assert "1 of 4 validators are connected" in shown["reason"]
    scene.call(scene.node.feed.stop)
    assert "does not answer" in scene.http.get("/readyz").json()["reason"]


def test_a_store_that_lags_is_the_reason(scene: ApiScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.api.routes_status.LAG_HEIGHTS_MAX", -1)
    shown = scene.http.get("/readyz")
    assert shown.status_code == 503
    assert "lags behind the node" in shown.json()["reason"]


@pytest.mark.parametrize("path", sorted(HEALTH_PATHS))
def test_health_pages_answer_head_like_get(scene: ApiScene, path: str) -> None:
    assert scene.http.head(path).status_code == 200
    scene.node.consensus = WatchedBench().report()
    for answer in (scene.http.head(path), scene.http.get(path)):
        assert answer.status_code == (503 if "ready" in path else 200)
    assert scene.http.head(path).content == b""


def test_other_pages_do_not_answer_head(scene: ApiScene) -> None:
    assert scene.http.head("/api/v1/consensus").status_code == 405
