"""Metrics for Prometheus: the node, its consensus, and the store from which reads are answered.

Names follow prometheus.io/docs/practices/naming: one prefix, base units, ``_total`` for counters;
labels take few values and never a hash or an account. While the node process is away only
``quorate_node_up`` and what this process knows by itself are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastapi import APIRouter
from starlette.responses import Response

from consensus.diagnosis import DiagnosisCode, diagnose
from consensus.report import ConsensusReport
from consensus.wording import is_present
from node.api.feed_client import NodeUnreachableError
from node.api.feed_frames import NodeStatus
from node.api.ledger_metrics import list_disk_metrics, list_ledger_metrics
from node.api.metrics_text import CONTENT_TYPE, Metric, MetricKind, Sample, render_metrics
from node.api.problems import problem_responses
from node.api.service import Service
from primitives.errors import InvalidInputError

__all__ = ["router"]

router = APIRouter(tags=["status"])

_CHANNEL_COUNTERS = {
    "bytes_sent_": ("quorate_p2p_sent_bytes_total", "Bytes sent to peers, by channel."),
    "bytes_received_": ("quorate_p2p_received_bytes_total", "Bytes got from peers, by channel."),
    "frames_dropped_": ("quorate_p2p_frames_dropped_total", "Frames beyond a rate, by channel."),
}
_PRESENT_STATES = {
    "peers_connected": ("quorate_p2p_peers", "Members connected now."),
    "peers_expected": ("quorate_p2p_peers_expected", "Members that should be connected."),
    "observers_connected": ("quorate_p2p_observers", "Observers connected now."),
    "guests_connected": ("quorate_p2p_guests", "Newcomers with an invite, connected now."),
    "handshakes_pending": ("quorate_p2p_handshakes", "Connections that are not admitted yet."),
    "queued_bytes": ("quorate_p2p_queued_bytes", "Bytes that wait to be sent."),
}
_REFUSAL_PREFIX = "messages_"
_CONSENSUS_PREFIXES = ("evidence", "peer_fault_", "alarm_")
"""What the report tells better."""


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Metrics in the text format of Prometheus",
    response_class=Response,
    responses={
        **problem_responses(),
        200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}},
    },
)
async def get_metrics(service: Service) -> Response:
    """Return all metrics; 200 also while the node process is away."""
    try:
        status = await service.feed.read_status()
    except (NodeUnreachableError, InvalidInputError):
        status = None
    metrics = [_gauge("node_up", "1 while the node process answers.", status is not None)]
    position = service.follower.get_position()
    if position is not None:
        metrics.append(_gauge("api_height", "Height up to which reads are answered.", position[0]))
        metrics += list_ledger_metrics(service.ledger)
    metrics += list_disk_metrics(service.follower.folder)
    if status is not None:
        metrics += [*_list_node(status), *_list_consensus(status.consensus)]
        metrics += _list_counters(status)
    return Response(render_metrics(metrics), media_type=CONTENT_TYPE)


def _list_node(status: NodeStatus) -> Iterator[Metric]:
    labels = (("version", status.version), ("name", status.name))
    yield Metric(
        "quorate_build_info", MetricKind.GAUGE, "Always 1; says what runs.", [Sample(1, labels)]
    )
    role = "observer" if status.validator_index is None else "validator"
    yield Metric(
        "quorate_node_role",
        MetricKind.GAUGE,
        "Always 1; says whether this node has a vote in this epoch.",
        [Sample(1, (("role", role),))],
    )
    yield _gauge("mempool_transactions", "Transactions that wait.", status.mempool_transactions)
    yield _gauge("mempool_size_bytes", "What they take up.", status.mempool_bytes)


def _list_consensus(report: ConsensusReport) -> Iterator[Metric]:
    yield from _list_progress(report)
    yield from _list_validators(report)
    yield from _list_condition(report)
    yield from _list_incidents(report)


def _list_progress(report: ConsensusReport) -> Iterator[Metric]:
    yield _gauge("consensus_final_height", "Height of the last final block.", report.final_height)
    yield _gauge("consensus_epoch", "Which validator set decides.", report.epoch)
    if report.epoch_end_height is not None:
        yield _gauge(
            "consensus_epoch_end_height", "Height of its last block.", report.epoch_end_height
        )
    yield _gauge("consensus_view", "The current view.", report.view)
    yield _gauge(
        "consensus_final_age_seconds",
        "Since the last block became final here, or since the start.",
        report.final_age_ms / 1000,
    )
    yield _gauge(
        "consensus_waiting_seconds",
        "Work without a final block for so long; 0 without work.",
        (report.waiting_ms or 0) / 1000,
    )
    yield _gauge(
        "consensus_unfinal_blocks", "Blocks held that are not final.", report.unfinal_blocks
    )
    yield _gauge(
        "consensus_view_timeout_seconds",
        "How long a leader may be silent now.",
        report.timeout_ms / 1000,
    )
    yield _gauge(
        "consensus_consecutive_failed_views",
        "Views without progress since the last final block.",
        report.failures,
    )
    yield _counter("consensus_failed_views_total", "Views without progress.", report.views_failed)


def _list_validators(report: ConsensusReport) -> Iterator[Metric]:
    present = sum(map(is_present, report.validators))
    count = len(report.validators)
    yield _gauge("consensus_validators", "Validators of the epoch.", count)
    yield _gauge("consensus_quorum_validators", "Votes that decide.", report.quorum)
    yield _gauge(
        "consensus_validators_connected",
        "Validators that are connected and not silent, this one included.",
        present,
    )
    yield _gauge("consensus_validators_missing", "All other validators.", count - present)
    yield Metric(
        "quorate_consensus_validator_up",
        MetricKind.GAUGE,
        "1 for each validator that is connected and not silent.",
        [Sample(is_present(each), (("validator", each.name),)) for each in report.validators],
    )
    views = report.recent_prepared_views
    yield Metric(
        "quorate_consensus_validator_participation_ratio",
        MetricKind.GAUGE,
        "Of the last 16 views with a prepared block, the part in which a validator voted.",
        [
            Sample(each.recent_votes / views, (("validator", each.name),))
            for each in report.validators
            if views
        ],
    )


def _list_condition(report: ConsensusReport) -> Iterator[Metric]:
    behind = 0
    if report.catch_up is not None and report.catch_up.to_height is not None:
        behind = report.catch_up.to_height - report.catch_up.from_height
    yield _gauge(
        "consensus_catching_up",
        "1 while final blocks are missing here.",
        report.catch_up is not None,
    )
    yield _gauge(
        "consensus_catch_up_gap_blocks", "Blocks that peers claim and that are missing.", behind
    )
    yield _gauge(
        "consensus_probation",
        "1 while it observes only, having lost its records.",
        report.is_observing,
    )
    yield _gauge("consensus_halted", "1 if it signs nothing any more.", report.halt is not None)


def _list_incidents(report: ConsensusReport) -> Iterator[Metric]:
    found = diagnose(report).code
    yield Metric(
        "quorate_consensus_diagnosis",
        MetricKind.GAUGE,
        "1 for what is the matter now; /api/v1/consensus says it in a sentence.",
        [Sample(code is found, (("code", code.value),)) for code in DiagnosisCode],
    )
    yield _counter("consensus_evidence_total", "Broken vote rules seen.", report.evidence_count)
    yield _count_by("consensus_alarms_total", "Alarms raised.", "code", report.alarms)
    yield _count_by(
        "consensus_peer_faults_total",
        "Messages that no correct peer sends.",
        "reason",
        report.peer_faults,
    )


def _list_counters(status: NodeStatus) -> Iterator[Metric]:
    """Return what the node counts of its messages and connections."""
    left = {
        name: count for name, count in status.counters if not name.startswith(_CONSENSUS_PREFIXES)
    }
    for name, (metric, explanation) in _PRESENT_STATES.items():
        if name in left:
            yield Metric(metric, MetricKind.GAUGE, explanation, [Sample(left.pop(name))])
    for prefix, (metric, explanation) in _CHANNEL_COUNTERS.items():
        yield Metric(
            metric, MetricKind.COUNTER, explanation, _take_samples(left, prefix, "channel")
        )
    if "accepted" in left:
        yield _counter(
            "transactions_accepted_total", "Taken into the mempool.", left.pop("accepted")
        )
    refused = [
        Sample(sample.value, (("source", source), *sample.labels))
        for source, prefix in (("client", "refused_"), ("peer", "peer_refused_"))
        for sample in _take_samples(left, prefix, "reason")
    ]
    yield Metric(
        "quorate_transactions_refused_total",
        MetricKind.COUNTER,
        "Transactions not taken into the mempool, by where they came from and why.",
        refused,
    )
    yield Metric(
        "quorate_messages_refused_total",
        MetricKind.COUNTER,
        "Messages of peers that consensus was not shown, by reason.",
        _take_samples(left, _REFUSAL_PREFIX, "reason"),
    )
    yield Metric(
        "quorate_events_total",
        MetricKind.COUNTER,
        "Other events of connections and turns, by name.",
        _take_samples(left, "", "event"),
    )


def _take_samples(counters: dict[str, int], prefix: str, label: str) -> list[Sample]:
    """Take the counters whose names begin in a certain way, and label each by the rest of it."""
    names = [name for name in counters if name.startswith(prefix)]
    return [Sample(counters.pop(name), ((label, name.removeprefix(prefix)),)) for name in names]


def _gauge(name: str, explanation: str, value: float) -> Metric:
    return Metric(f"quorate_{name}", MetricKind.GAUGE, explanation, [Sample(value)])


def _counter(name: str, explanation: str, value: float) -> Metric:
    return Metric(f"quorate_{name}", MetricKind.COUNTER, explanation, [Sample(value)])


def _count_by(name: str, explanation: str, label: str, counts: Iterable[tuple[str, int]]) -> Metric:
    samples = [Sample(count, ((label, code),)) for code, count in counts]
    return Metric(f"quorate_{name}", MetricKind.COUNTER, explanation, samples)
