"""What Prometheus is told."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.diagnosis import DiagnosisCode
from consensus.report import CatchUpReport
from consensus.watch import Alarm
from tests.helpers.api import ApiScene, run_api
from tests.helpers.metrics_format import Family, read_metrics
from tests.helpers.watched_consensus import WatchedBench


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiScene]:
    # Tests change what the node says and ask at once.
    monkeypatch.setattr("node.api.feed_client.STATUS_AGE_MAX_S", -1.0)
    with run_api(tmp_path) as running:
        yield running


def read(scene: ApiScene) -> dict[str, Family]:
    response = scene.http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return read_metrics(response.text)


def test_a_healthy_node_is_told_in_full(scene: ApiScene) -> None:
    scene.run()
    scene.node.consensus = replace(
        scene.node.consensus,
        epoch_end_height=90,
        final_height=7,
        view=9,
        final_age_ms=1_250,
        waiting_ms=None,
    )
    metrics = read(scene)
    values = {
        "quorate_node_up": 1,
        "quorate_api_height": 1,
        "quorate_mempool_transactions": 0,
        "quorate_consensus_final_height": 7,
        "quorate_consensus_view": 9,
        "quorate_consensus_epoch": 0,
        "quorate_consensus_epoch_end_height": 90,
        "quorate_consensus_final_age_seconds": 1.25,
        "quorate_consensus_waiting_seconds": 0,
        "quorate_consensus_validators": 4,
        "quorate_consensus_validators_connected": 4,
        "quorate_consensus_validators_missing": 0,
        "quorate_consensus_quorum_validators": 3,
        "quorate_consensus_evidence_total": 0,
        "quorate_consensus_catching_up": 0,
        "quorate_consensus_catch_up_gap_blocks": 0,
        "quorate_consensus_halted": 0,
        "quorate_consensus_probation": 0,
    }
    assert {name: metrics[name].value for name in values} == values
    # No view with a block yet.
    assert "quorate_consensus_validator_participation_ratio" not in metrics
    info = metrics["quorate_build_info"].samples
    assert info == {(("version", "1.2.3"), ("name", "member-0")): 1}


def test_what_is_wrong_is_told(scene: ApiScene) -> None:
    bench = WatchedBench()
    bench.connect(1)
    scene.node.consensus = replace(
        bench.report(),
        catch_up=CatchUpReport(100, 480, (1,)),
        halt=Alarm("fork", "two chains"),
        is_on_probation=True,
        evidence_count=3,
        views_failed=12,
        waiting_ms=2_500,
        alarms=(("fork", 1),),
        peer_faults=(("bad_signature", 4),),
    )
    metrics = read(scene)
    values = {
        "quorate_consensus_validators_connected": 2,
        "quorate_consensus_validators_missing": 2,
        "quorate_consensus_catching_up": 1,
        "quorate_consensus_catch_up_gap_blocks": 380,
        "quorate_consensus_halted": 1,
        "quorate_consensus_probation": 1,
        "quorate_consensus_evidence_total": 3,
        "quorate_consensus_failed_views_total": 12,
        "quorate_consensus_waiting_seconds": 2.5,
    }
    assert {name: metrics[name].value for name in values} == values
    assert metrics["quorate_consensus_alarms_total"].samples == {(("code", "fork"),): 1}
    faults = metrics["quorate_consensus_peer_faults_total"].samples
    assert faults == {(("reason", "bad_signature"),): 4}
    up = metrics["quorate_consensus_validator_up"].samples
    assert [up[(("validator", name),)] for name in ("alpha", "beta", "gamma")] == [1, 1, 0]
    diagnosis = metrics["quorate_consensus_diagnosis"].samples
    assert len(diagnosis) == len(DiagnosisCode)
    assert [labels for labels, value in diagnosis.items() if value] == [(("code", "halted"),)]


def test_who_votes_is_told(scene: ApiScene) -> None:
    report = scene.node.consensus
    voting = tuple(replace(each, recent_votes=4 * each.index) for each in report.validators)
    scene.node.consensus = replace(report, recent_prepared_views=16, validators=voting)
    ratios = read(scene)["quorate_consensus_validator_participation_ratio"].samples
    assert list(ratios.values()) == [0, 0.25, 0.5, 0.75]


def test_a_gap_of_unknown_size_is_no_number(scene: ApiScene) -> None:
    scene.node.consensus = replace(scene.node.consensus, catch_up=CatchUpReport(100, None, ()))
    metrics = read(scene)
    assert metrics["quorate_consensus_catching_up"].value == 1
    assert metrics["quorate_consensus_catch_up_gap_blocks"].value == 0


def test_what_the_node_counts_is_told_with_labels(scene: ApiScene) -> None:
    scene.node.counters = {
        "accepted": 5,
        "alarm_fork": 9,
        "bytes_received_sync": 70,
        "bytes_sent_sync": 80,
        "connections_made": 3,
        "evidence": 9,
        "messages_malformed": 2,
        "peer_fault_bad_signature": 9,
        "peer_refused_nonce_gap": 3,
        "refused_nonce_gap": 4,
        "peers_connected": 3,
        "queued_bytes": 11,
    }
    metrics = read(scene)
    assert metrics["quorate_p2p_peers"].value == 3
    assert metrics["quorate_p2p_queued_bytes"].value == 11
    assert metrics["quorate_p2p_sent_bytes_total"].samples == {(("channel", "sync"),): 80}
    assert metrics["quorate_p2p_received_bytes_total"].samples == {(("channel", "sync"),): 70}
    assert metrics["quorate_messages_refused_total"].samples == {(("reason", "malformed"),): 2}
    assert metrics["quorate_transactions_accepted_total"].value == 5
    assert metrics["quorate_transactions_refused_total"].samples == {
        (("source", "client"), ("reason", "nonce_gap")): 4,
        (("source", "peer"), ("reason", "nonce_gap")): 3,
    }
    # What the report tells is not told twice.
    assert metrics["quorate_events_total"].samples == {(("event", "connections_made"),): 3}


def test_without_a_node_metrics_say_so(scene: ApiScene) -> None:
    scene.call(scene.node.feed.stop)
    metrics = read(scene)
    assert metrics["quorate_node_up"].value == 0
    disk = {"quorate_disk_free_bytes", "quorate_disk_size_bytes"}
    ledger = {"quorate_members", "quorate_proposals_open", "quorate_protocol_unsupported"}
    assert set(metrics) == {"quorate_node_up", "quorate_api_height"} | disk | ledger
    scene.service.follower.close()
    assert set(read(scene)) == {"quorate_node_up"} | disk


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_to_complain_about(scene: ApiScene) -> None:
    scene.node.counters = {"bytes_sent_sync": 80, "messages_malformed": 2, "tasks_broken": 0}
    text = scene.http.get("/metrics").text
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_start_up_is_over_once_a_state_can_be_read(scene: ApiScene) -> None:
    assert scene.http.get("/startupz").json() == {"started": True}
    scene.service.follower.close()
    early = scene.http.get("/startupz")
    assert (early.status_code, early.json()["code"]) == (503, "not_ready")
