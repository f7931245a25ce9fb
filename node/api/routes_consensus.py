"""Where consensus stands, and a sentence that says why the chain does or does not grow."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel, Field

from consensus.diagnosis import Severity, diagnose
from consensus.report import (
    AwaitedBlock,
    BlockStage,
    CatchUpReport,
    ConsensusReport,
    ValidatorReport,
    ViewReport,
)
from consensus.wording import is_present
from node.api.feed_frames import NodeStatus
from node.api.problems import problem_responses
from node.api.service import Service

__all__ = ["router"]

router = APIRouter(tags=["status"])


class DiagnosisView(BaseModel):
    """Why the chain does or does not grow, for people."""

    code: str = Field(description="Which rule found it; stable.")
    severity: Severity
    sentence: str
    advice: str = Field(description="What to do.")


class HeardView(BaseModel):
    """The last message of a validator."""

    message: str = Field(description="Its kind, such as `STATUS` or `COMMIT`.")
    view: int | None = Field(description="The view that it speaks of, if any.")
    age_ms: int


class ValidatorView(BaseModel):
    """One validator, as this node sees it."""

    index: int
    name: str
    is_self: bool
    is_present: bool = Field(description="Connected and heard within the last seconds, or self.")
    is_connected: bool
    connected_age_ms: int | None
    heard: HeardView | None = Field(description="None if it never was since the start.")
    claimed_height: int | None = Field(description="Final height that it claims; not verified.")
    clock_offset_ms: int | None = Field(
        description="How far its clock seems ahead of ours, less the way of the message."
    )
    votes: list[str] = Field(description="Kinds of its votes in the current view.")
    recent_votes: int = Field(description="Of `recent_prepared_views`, those in which it voted.")
    is_skipped: bool = Field(description="It was silent as leader; nobody waits for its next turn.")


class CertificateView(BaseModel):
    """A certificate of a view, or what it lacks."""

    kind: str = Field(description="`PREPARE`, `COMMIT` or `VIEW-CHANGE`.")
    is_complete: bool
    votes: int
    needed: int
    voters: list[str]
    lacking: list[str] = Field(description="Validators whose vote of this kind is not known here.")


class ViewView(BaseModel):
    """One view."""

    view: int
    leader: str
    has_proposal: bool
    certificates: list[CertificateView]


class FinalView(BaseModel):
    """The last final block."""

    height: int
    view: int
    age_ms: int = Field(description="Since it became final here, or since the start.")
    is_since_start: bool = Field(description="No block became final since this node started.")


class AwaitedView(BaseModel):
    """The highest block that a quorum prepared and that is not final."""

    view: int
    height: int | None = Field(description="None while the block is not here.")
    stage: BlockStage


class UnfinalView(BaseModel):
    """Blocks that are not final."""

    blocks: int
    with_transactions: int = Field(description="Below the highest prepared one, and itself.")
    with_transactions_max: int = Field(description="Beyond it only empty blocks are made.")
    awaited: AwaitedView | None


class CatchUpView(BaseModel):
    """Final blocks that are fetched because they are missing here."""

    from_height: int = Field(description="Reached so far.")
    to_height: int | None = Field(description="Highest that a connected validator claims.")
    peers: list[str] = Field(description="Validators asked within the last seconds.")


class TimeoutsView(BaseModel):
    """How views went."""

    current_ms: int = Field(description="How long a leader may be silent now.")
    failed_views: int = Field(description="Without progress since the last final block.")
    failed_views_total: int = Field(description="Without progress since the start.")


class HaltView(BaseModel):
    """Why this node signs nothing any more."""

    code: str
    text: str


class EvidenceView(BaseModel):
    """A vote rule that a validator broke."""

    kind: str
    validator: str
    epoch: int
    view: int


class ConsensusView(BaseModel):
    """Where consensus stands, as this node sees it."""

    diagnosis: DiagnosisView
    node: str
    version: str
    epoch: int
    epoch_end_height: int | None = Field(description="Height of its last block; None for never.")
    view: int
    leader: str
    quorum: int
    final: FinalView
    is_work_known: bool = Field(description="There is a reason to make a block.")
    are_transactions_pending: bool
    waiting_ms: int | None = Field(description="Work without a final block for so long.")
    heartbeat_in_ms: int = Field(description="Until an idle network makes a block.")
    timeouts: TimeoutsView
    validators: list[ValidatorView]
    recent_prepared_views: int = Field(description="Recent views with a prepared block.")
    views: list[ViewView] = Field(description="The current one and some before it, descending.")
    unfinal: UnfinalView
    catch_up: CatchUpView | None
    is_observing: bool = Field(description="Records were lost, so it signs nothing for a while.")
    signs_above_view: int | None = Field(description="Where that ends, once it is known.")
    halt: HaltView | None
    evidence: list[EvidenceView] = Field(description="The last ones since the start.")
    evidence_total: int
    alarms: dict[str, int] = Field(description="How often each was raised since the start.")
    peer_faults: dict[str, int] = Field(description="What peers sent that none should, by reason.")


@router.get(
    "/api/v1/consensus",
    operation_id="get_consensus",
    summary="Where consensus stands, and why",
    responses=problem_responses("node_unreachable"),
)
async def get_consensus(service: Service) -> ConsensusView:
    """Return what the node knows of its consensus, at most a quarter of a second old."""
    return _show(await service.feed.read_status())


def _show(status: NodeStatus) -> ConsensusView:
    report = status.consensus
    return ConsensusView(
        diagnosis=DiagnosisView(**asdict(diagnose(report))),
        node=status.name,
        version=status.version,
        epoch=report.epoch,
        epoch_end_height=report.epoch_end_height,
        view=report.view,
        leader=report.validators[report.leader].name,
        quorum=report.quorum,
        final=FinalView(
            height=report.final_height,
            view=report.final_view,
            age_ms=report.final_age_ms,
            is_since_start=not report.has_finalized,
        ),
        is_work_known=report.is_work_known,
        are_transactions_pending=report.are_transactions_pending,
        waiting_ms=report.waiting_ms,
        heartbeat_in_ms=report.heartbeat_in_ms,
        timeouts=TimeoutsView(
            current_ms=report.timeout_ms,
            failed_views=report.failures,
            failed_views_total=report.views_failed,
        ),
        validators=[_show_validator(each) for each in report.validators],
        recent_prepared_views=report.recent_prepared_views,
        views=[_show_view(report, each) for each in report.views],
        unfinal=UnfinalView(
            blocks=report.unfinal_blocks,
            with_transactions=report.unfinal_with_transactions,
            with_transactions_max=report.unfinal_blocks_max,
            awaited=_show_awaited(report.awaited),
        ),
        catch_up=_show_catch_up(report, report.catch_up),
        is_observing=report.is_observing,
        signs_above_view=report.signs_above_view,
        halt=None if report.halt is None else HaltView(**asdict(report.halt)),
        evidence=[
            EvidenceView(kind=each.kind, validator=each.name, epoch=each.epoch, view=each.view)
            for each in report.evidence
        ],
        evidence_total=report.evidence_count,
        alarms=dict(report.alarms),
        peer_faults=dict(report.peer_faults),
    )


def _show_validator(validator: ValidatorReport) -> ValidatorView:
    heard = None
    if validator.heard_message is not None and validator.heard_age_ms is not None:
        heard = HeardView(
            message=validator.heard_message,
            view=validator.heard_view,
            age_ms=validator.heard_age_ms,
        )
    return ValidatorView(
        index=validator.index,
        name=validator.name,
        is_self=validator.is_self,
        is_present=is_present(validator),
        is_connected=validator.is_connected,
        connected_age_ms=validator.connected_age_ms,
        heard=heard,
        claimed_height=validator.claimed_height,
        clock_offset_ms=validator.clock_offset_ms,
        votes=list(validator.votes),
        recent_votes=validator.recent_votes,
        is_skipped=validator.is_skipped,
    )


def _show_view(report: ConsensusReport, view: ViewReport) -> ViewView:
    certificates = [
        CertificateView(
            kind=each.kind,
            is_complete=each.is_complete,
            votes=len(each.voters),
            needed=report.quorum,
            voters=[report.validators[index].name for index in each.voters],
            lacking=[report.validators[index].name for index in each.lacking],
        )
        for each in view.certificates
    ]
    return ViewView(
        view=view.view,
        leader=report.validators[view.leader].name,
        has_proposal=view.has_proposal,
        certificates=certificates,
    )


def _show_awaited(awaited: AwaitedBlock | None) -> AwaitedView | None:
    return None if awaited is None else AwaitedView(**asdict(awaited))


def _show_catch_up(report: ConsensusReport, catch_up: CatchUpReport | None) -> CatchUpView | None:
    if catch_up is None:
        return None
    return CatchUpView(
        from_height=catch_up.from_height,
        to_height=catch_up.to_height,
        peers=[report.validators[index].name for index in catch_up.peers],
    )
