"""The bytes of a consensus report on its way from the node to its API process.

Part of :mod:`node.api.feed_frames`; both ends come from one installation, so the form has no
version of its own. Validators are indices, so a set of them is a byte string.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from consensus.report import (
    AwaitedBlock,
    BlockStage,
    CatchUpReport,
    CertificateReport,
    ConsensusReport,
    EvidenceReport,
    ValidatorReport,
    ViewReport,
)
from consensus.watch import EVIDENCE_REMEMBERED_MAX, Alarm, name_vote
from primitives import codec
from primitives.certificates import VoteKind
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.validator_set import VALIDATORS_MAX

__all__ = ["REPORT_BYTES_MAX", "decode_counts", "decode_report", "encode_report"]

REPORT_BYTES_MAX = 256 * 1024
"""Longest report; one of 100 validators with long names stays below half of it."""

COUNTS_MAX = 256
"""Most codes that are counted."""

_TEXT_BYTES_MAX = 4 * 1024
_VIEWS_MAX = 16
_VOTE_KINDS = [name_vote(kind.name) for kind in VoteKind]
_DEPTH_MAX = 6

_Item = TypeVar("_Item")


def encode_report(report: ConsensusReport) -> bytes:
    """Return the bytes of a report."""
    return codec.encode(
        [
            report.epoch,
            report.view,
            report.leader,
            report.epoch_end_height,
            report.own_index,
            report.quorum,
            report.final_height,
            report.final_view,
            report.final_age_ms,
            report.has_finalized,
            report.is_work_known,
            report.are_transactions_pending,
            report.waiting_ms,
            report.heartbeat_in_ms,
            report.idle_limit_ms,
            report.timeout_max_ms,
            report.timeout_ms,
            report.failures,
            report.views_failed,
            report.unfinal_blocks,
            report.unfinal_with_transactions,
            report.unfinal_blocks_max,
            report.recent_prepared_views,
            [_view_fields(each) for each in report.views],
            [_validator_fields(each) for each in report.validators],
            _awaited_fields(report.awaited),
            _catch_up_fields(report.catch_up),
            report.is_on_probation,
            report.signs_above_view,
            None if report.halt is None else [report.halt.code, report.halt.text],
            [[each.kind, each.name, each.epoch, each.view] for each in report.evidence],
            report.evidence_count,
            [list(each) for each in report.alarms],
            [list(each) for each in report.peer_faults],
        ]
    )


def decode_report(data: bytes) -> ConsensusReport:
    """Return the report that ``data`` encodes.

    Raises
    ------
    InvalidInputError
        ``malformed``, ``not_canonical``, ``out_of_range`` or ``too_large``.
    """
    value = codec.decode(data, bytes_max=REPORT_BYTES_MAX, depth_max=_DEPTH_MAX)
    reader = FieldReader(value, "report", 34)
    report = ConsensusReport(
        epoch=reader.counter("epoch"),
        view=reader.counter("view"),
        leader=_read_index(reader, "leader"),
        epoch_end_height=_read_optional_counter(reader, "epoch_end_height"),
        own_index=_read_optional_index(reader, "own_index"),
        quorum=reader.integer("quorum", 1, VALIDATORS_MAX),
        final_height=reader.counter("final_height"),
        final_view=reader.counter("final_view"),
        final_age_ms=reader.counter("final_age_ms"),
        has_finalized=reader.boolean("has_finalized"),
        is_work_known=reader.boolean("is_work_known"),
        are_transactions_pending=reader.boolean("are_transactions_pending"),
        waiting_ms=_read_optional_counter(reader, "waiting_ms"),
        heartbeat_in_ms=reader.counter("heartbeat_in_ms"),
        idle_limit_ms=reader.counter("idle_limit_ms"),
        timeout_max_ms=reader.counter("timeout_max_ms"),
        timeout_ms=reader.counter("timeout_ms"),
        failures=reader.counter("failures"),
        views_failed=reader.counter("views_failed"),
        unfinal_blocks=reader.counter("unfinal_blocks"),
        unfinal_with_transactions=reader.counter("unfinal_with_transactions"),
        unfinal_blocks_max=reader.counter("unfinal_blocks_max"),
        recent_prepared_views=reader.counter("recent_prepared_views"),
        views=_read_items(reader, "views", _VIEWS_MAX, _read_view),
        validators=_read_items(reader, "validators", VALIDATORS_MAX, _read_validator),
        awaited=_read_optional(reader, _read_awaited),
        catch_up=_read_optional(reader, _read_catch_up),
        is_on_probation=reader.boolean("is_on_probation"),
        signs_above_view=_read_optional_counter(reader, "signs_above_view"),
        halt=_read_optional(reader, _read_alarm),
        evidence=_read_items(reader, "evidence", EVIDENCE_REMEMBERED_MAX, _read_evidence),
        evidence_count=reader.counter("evidence_count"),
        alarms=decode_counts(reader, "alarms"),
        peer_faults=decode_counts(reader, "peer_faults"),
    )
    reader.end()
    _check_indices(report)
    return report


def decode_counts(reader: FieldReader, name: str) -> tuple[tuple[str, int], ...]:
    """Read how often something was counted, by code."""
    return _read_items(reader, name, COUNTS_MAX, _read_count)


def _view_fields(view: ViewReport) -> list[codec.Encodable]:
    return [
        view.view,
        view.leader,
        view.has_proposal,
        [
            [each.kind, each.is_complete, bytes(each.voters), bytes(each.lacking)]
            for each in view.certificates
        ],
    ]


def _read_view(value: codec.Value) -> ViewReport:
    reader = FieldReader(value, "view", 4)
    view = ViewReport(
        view=reader.counter("view"),
        leader=_read_index(reader, "leader"),
        has_proposal=reader.boolean("has_proposal"),
        certificates=_read_items(reader, "certificates", len(_VOTE_KINDS), _read_certificate),
    )
    reader.end()
    if [each.kind for each in view.certificates] != _VOTE_KINDS:
        raise InvalidInputError("malformed", "a view needs three certificates", field="view")
    return view


def _read_certificate(value: codec.Value) -> CertificateReport:
    reader = FieldReader(value, "certificate", 4)
    certificate = CertificateReport(
        kind=reader.text("kind", _TEXT_BYTES_MAX),
        is_complete=reader.boolean("is_complete"),
        voters=tuple(reader.bytes("voters", bytes_max=VALIDATORS_MAX)),
        lacking=tuple(reader.bytes("lacking", bytes_max=VALIDATORS_MAX)),
    )
    reader.end()
    return certificate


def _validator_fields(validator: ValidatorReport) -> list[codec.Encodable]:
    return [
        validator.index,
        validator.name,
        validator.is_self,
        validator.is_connected,
        validator.connected_age_ms,
        validator.heard_message,
        validator.heard_view,
        validator.heard_age_ms,
        validator.claimed_height,
        validator.clock_offset_ms,
        list(validator.votes),
        validator.recent_votes,
        validator.is_skipped,
    ]


def _read_validator(value: codec.Value) -> ValidatorReport:
    reader = FieldReader(value, "validator", 13)
    validator = ValidatorReport(
        index=_read_index(reader, "index"),
        name=reader.text("name", _TEXT_BYTES_MAX),
        is_self=reader.boolean("is_self"),
        is_connected=reader.boolean("is_connected"),
        connected_age_ms=_read_optional_counter(reader, "connected_age_ms"),
        heard_message=_read_optional(reader, _read_text),
        heard_view=_read_optional_counter(reader, "heard_view"),
        heard_age_ms=_read_optional_counter(reader, "heard_age_ms"),
        claimed_height=_read_optional_counter(reader, "claimed_height"),
        clock_offset_ms=reader.optional_integer("clock_offset_ms", -COUNTER_MAX, COUNTER_MAX),
        votes=_read_items(reader, "votes", len(_VOTE_KINDS), _read_text),
        recent_votes=reader.counter("recent_votes"),
        is_skipped=reader.boolean("is_skipped"),
    )
    reader.end()
    return validator


def _awaited_fields(awaited: AwaitedBlock | None) -> list[codec.Encodable] | None:
    return None if awaited is None else [awaited.view, awaited.height, awaited.stage.value]


def _read_awaited(value: codec.Value) -> AwaitedBlock:
    reader = FieldReader(value, "awaited", 3)
    view = reader.counter("view")
    height = _read_optional_counter(reader, "height")
    stage = reader.text("stage", _TEXT_BYTES_MAX)
    reader.end()
    if stage not in {each.value for each in BlockStage}:
        raise InvalidInputError("malformed", "awaited.stage is none", field="awaited.stage")
    return AwaitedBlock(view, height, BlockStage(stage))


def _catch_up_fields(catch_up: CatchUpReport | None) -> list[codec.Encodable] | None:
    return (
        None
        if catch_up is None
        else [catch_up.from_height, catch_up.to_height, bytes(catch_up.peers)]
    )


def _read_catch_up(value: codec.Value) -> CatchUpReport:
    reader = FieldReader(value, "catch_up", 3)
    catch_up = CatchUpReport(
        from_height=reader.counter("from_height"),
        to_height=_read_optional_counter(reader, "to_height"),
        peers=tuple(reader.bytes("peers", bytes_max=VALIDATORS_MAX)),
    )
    reader.end()
    return catch_up


def _read_alarm(value: codec.Value) -> Alarm:
    reader = FieldReader(value, "halt", 2)
    alarm = Alarm(reader.text("code", _TEXT_BYTES_MAX), reader.text("text", _TEXT_BYTES_MAX))
    reader.end()
    return alarm


def _read_evidence(value: codec.Value) -> EvidenceReport:
    reader = FieldReader(value, "evidence", 4)
    evidence = EvidenceReport(
        kind=reader.text("kind", _TEXT_BYTES_MAX),
        name=reader.text("name", _TEXT_BYTES_MAX),
        epoch=reader.counter("epoch"),
        view=reader.counter("view"),
    )
    reader.end()
    return evidence


def _read_count(value: codec.Value) -> tuple[str, int]:
    reader = FieldReader(value, "count", 2)
    count = reader.text("code", _TEXT_BYTES_MAX), reader.counter("count")
    reader.end()
    return count


def _read_text(value: codec.Value) -> str:
    if isinstance(value, str) and len(value) <= _TEXT_BYTES_MAX:
        return value
    raise InvalidInputError("malformed", "a report holds no text where one belongs", field="text")


def _read_index(reader: FieldReader, name: str) -> int:
    return reader.integer(name, 0, VALIDATORS_MAX - 1)


def _read_optional_index(reader: FieldReader, name: str) -> int | None:
    return reader.optional_integer(name, 0, VALIDATORS_MAX - 1)


def _read_optional_counter(reader: FieldReader, name: str) -> int | None:
    return reader.optional_integer(name, 0, COUNTER_MAX)


def _read_optional(reader: FieldReader, read: Callable[[codec.Value], _Item]) -> _Item | None:
    value = reader.value()
    return None if value is None else read(value)


def _read_items(
    reader: FieldReader, name: str, items_max: int, read: Callable[[codec.Value], _Item]
) -> tuple[_Item, ...]:
    return tuple(read(value) for value in reader.array(name, items_max))


def _check_indices(report: ConsensusReport) -> None:
    """Check that every index names a validator of the report, so that readers may rely on it."""
    count = len(report.validators)
    named = {report.leader, *(view.leader for view in report.views)}
    named |= {index for index in (report.own_index,) if index is not None}
    if report.catch_up is not None:
        named.update(report.catch_up.peers)
    for view in report.views:
        for certificate in view.certificates:
            named.update(certificate.voters, certificate.lacking)
    is_numbered = [each.index for each in report.validators] == list(range(count))
    if not is_numbered or not report.views or max(named) >= count:
        raise InvalidInputError(
            "malformed", "a report speaks of validators that it does not list", field="validators"
        )
