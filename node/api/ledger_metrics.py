"""Metrics that the API reads off its own copy of the ledger: models, members, votes, disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ledger.governance_records import (
    CHAIN_GOVERNANCE,
    CHAIN_PROTOCOL,
    Governance,
    Protocol,
    decode_governance,
    decode_protocol,
)
from ledger.members import MEMBER_PREFIX, decode_member
from ledger.model_records import MODEL_PREFIX, decode_model_progress, model_progress_key
from ledger.model_tensors import decode_model_tensors, tensors_key
from ledger.reader import LedgerReader
from ledger.stored_records import decode_own
from node.api.metrics_text import Metric, MetricKind, Sample
from primitives.header import PROTOCOL_VERSION_MAX

__all__ = ["list_disk_metrics", "list_ledger_metrics"]

MODELS_SHOWN_MAX: Final = 50
"""Models with a label of their own: every label is a series in somebody's database."""

_MEMBERS_COUNTED_MAX: Final = 1_000


def list_ledger_metrics(ledger: LedgerReader) -> Iterator[Metric]:
    """Return what the last final state says of members, proposals, protocol and models."""
    members = ledger.scan(MEMBER_PREFIX, limit=_MEMBERS_COUNTED_MAX)
    present = sum(bool(decode_own(value, decode_member).roles) for _, value in members)
    yield _gauge("quorate_members", "Organisations that have not left.", present)
    governance = ledger.read(CHAIN_GOVERNANCE, decode_governance) or Governance()
    yield _gauge(
        "quorate_proposals_open", "Proposals that wait for votes.", len(governance.open_numbers)
    )
    protocol = ledger.read(CHAIN_PROTOCOL, decode_protocol) or Protocol()
    newest = max(protocol.version, protocol.next_version)
    yield _gauge(
        "quorate_protocol_unsupported",
        "1 once blocks are decided to follow a protocol that this software does not know.",
        newest > PROTOCOL_VERSION_MAX,
    )
    yield from _list_models(ledger)


def list_disk_metrics(folder: Path) -> Iterator[Metric]:
    """Return how much room is left where a folder is."""
    usage = shutil.disk_usage(folder)
    yield _gauge("quorate_disk_free_bytes", "Room that is left for the ledger.", usage.free)
    yield _gauge("quorate_disk_size_bytes", "Of the disk that holds the ledger.", usage.total)


def _list_models(ledger: LedgerReader) -> Iterator[Metric]:
    names = [
        key[len(MODEL_PREFIX) :].decode()
        for key, _ in ledger.scan(MODEL_PREFIX, limit=MODELS_SHOWN_MAX)
    ]
    samples, accuracies, versions = [], [], []
    for name in names:
        label = (("model", name),)
        progress = ledger.read(model_progress_key(name), decode_model_progress)
        tensors = ledger.read(tensors_key(name), decode_model_tensors)
        if progress is not None:
            samples.append(Sample(progress.samples, label))
            if progress.judged:
                accuracies.append(Sample(progress.correct / progress.judged, label))
        if tensors is not None:
            versions.append(Sample(tensors.version, label))
    explained = f"of the first {MODELS_SHOWN_MAX} models by name."
    yield Metric(
        "quorate_model_samples_total", MetricKind.COUNTER, f"Samples learnt, {explained}", samples
    )
    yield Metric(
        "quorate_model_version", MetricKind.GAUGE, f"Newest version, {explained}", versions
    )
    yield Metric(
        "quorate_model_prequential_accuracy_ratio",
        MetricKind.GAUGE,
        f"Samples predicted rightly just before they were learnt, {explained}",
        accuracies,
    )


def _gauge(name: str, explanation: str, value: float) -> Metric:
    return Metric(name, MetricKind.GAUGE, explanation, [Sample(value)])
