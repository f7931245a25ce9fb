"""A sentence that says why the chain stands still, and one that says what to do about it.

Rules are tried in a fixed order and the first that applies speaks: first what stops this node
alone (a halt, a gap), then what stops the chain (too few validators, a block or votes that are
lacking), then what is wrong though blocks become final, and last that all is well. A rule looks at
the report alone, so that each can be tested by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from consensus.report import BlockStage, ConsensusReport, ValidatorReport
from consensus.wording import (
    advise_on_lacking,
    is_present,
    join_names,
    tell_duration,
    tell_failures,
    tell_final_block,
    tell_lacking,
    tell_missing,
    tell_own_inclusion,
    tell_own_part,
    tell_standstill,
    tell_validator,
)
from primitives.certificates import VoteKind

__all__ = [
    "CLOCK_AHEAD_MS_MAX",
    "CLOCK_BEHIND_MS_MAX",
    "PREPARED_VIEWS_MIN",
    "Diagnosis",
    "DiagnosisCode",
    "Severity",
    "diagnose",
]

CLOCK_AHEAD_MS_MAX = 500
"""Blocks from further in the future are put off (`Parameters.timestamp_precision_ms`)."""

CLOCK_BEHIND_MS_MAX = 2_000
"""Seen from here a clock is behind by the way of the message too, so more is allowed."""


PREPARED_VIEWS_MIN = 8
"""Of fewer views it is not concluded that somebody does not vote: some may have come as mere
certificates, which hold the votes of a quorum only."""


class Severity(StrEnum):
    """How bad it is."""

    WELL = "well"
    """Nothing is to be done."""

    WARNING = "warning"
    """Blocks become final, but something has to be looked after."""

    FAILURE = "failure"
    """This node does not follow the chain, or the chain stands still."""


class DiagnosisCode(StrEnum):
    """Which rule spoke; stable, for metrics and alerts."""

    HALTED = "halted"
    CATCHING_UP = "catching_up"
    CUT_OFF = "cut_off"
    BLOCK_MISSING = "block_missing"
    BLOCK_UNJUDGED = "block_unjudged"
    BLOCK_EXECUTING = "block_executing"
    COMMITS_LACKING = "commits_lacking"
    PROPOSAL_LACKING = "proposal_lacking"
    PREPARES_LACKING = "prepares_lacking"
    ON_PROBATION = "on_probation"
    CLOCK_WRONG = "clock_wrong"
    VALIDATORS_MISSING = "validators_missing"
    VALIDATORS_MUTE = "validators_mute"
    ALARM_RAISED = "alarm_raised"
    EVIDENCE_SEEN = "evidence_seen"
    IDLE = "idle"
    WELL = "well"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is the matter, for people.

    Parameters
    ----------
    code, severity : for programs.
    sentence : why things are as they are.
    advice : what to do.
    """

    code: DiagnosisCode
    severity: Severity
    sentence: str
    advice: str


_HALT_ADVICE = {
    "diverged": (
        "Keep this node's folder as it is: its final chain is intact. It writes down what each"
        " transaction came to, in data/divergence/; `quorate divergence` compares that with what"
        " another member has. Once the cause is mended, start the node again."
    ),
    "key_used_elsewhere": (
        "Find the other process that uses this validator's key, such as a copy of this folder on"
        " another machine, and stop it; then start this node again."
    ),
    "fork": (
        "Stop submitting at every member: two chains became final. The evidence that each member"
        " holds names the validators that signed both; the members have to decide."
    ),
    "contradicting_certificates": (
        "Stop submitting at every member: more validators are faulty than can be tolerated. The"
        " evidence names them; the members have to decide."
    ),
}
_HALT_ADVICE_OTHER = "Keep this node's folder as it is and look at its log."


def diagnose(report: ConsensusReport) -> Diagnosis:
    """Return what the first rule that applies has to say."""
    for rule in _RULES:
        found = rule(report)
        if found is not None:
            return found
    return _say_well(report)


def _report_halt(report: ConsensusReport) -> Diagnosis | None:
    halt = report.halt
    if halt is None:
        return None
    return Diagnosis(
        DiagnosisCode.HALTED,
        Severity.FAILURE,
        f"This node halted and signs nothing: {halt.text}. What was final here is intact, up to"
        f" block {report.final_height}.",
        _HALT_ADVICE.get(halt.code, _HALT_ADVICE_OTHER),
    )


def _report_gap(report: ConsensusReport) -> Diagnosis | None:
    gap = report.catch_up
    if gap is None or not any(is_present(each) for each in _list_others(report)):
        return None
    reached = f"at height {gap.from_height}"
    if gap.to_height is not None:
        reached += f" of {gap.to_height}"
    if gap.peers:
        reached += f", from {join_names([report.validators[peer].name for peer in gap.peers])}"
    return Diagnosis(
        DiagnosisCode.CATCHING_UP,
        Severity.FAILURE,
        f"This {tell_own_part(report)} is catching up: {reached}.",
        "Wait: it signs nothing meanwhile and goes on by itself. If the height does not grow, look"
        " at the disk and at the connections of this machine.",
    )


def _report_cut_off(report: ConsensusReport) -> Diagnosis | None:
    present = sum(map(is_present, report.validators))
    if present >= report.quorum:
        return None
    lacking = report.quorum - present
    if any(is_present(each) for each in _list_others(report)):
        advice = "See whether the missing nodes run and can be reached from here."
    else:
        advice = "Nobody is heard here: look at this machine's own network first."
    return Diagnosis(
        DiagnosisCode.CUT_OFF,
        Severity.FAILURE,
        f"{tell_standstill(report)}: {present} of {len(report.validators)} validators are"
        f" connected{tell_own_inclusion(report)}, {report.quorum} are needed. Missing:"
        f" {tell_missing(report)}.",
        f"{advice} The chain goes on by itself once {lacking} of them"
        f" {'is' if lacking == 1 else 'are'} back.",
    )


def _report_block(report: ConsensusReport) -> Diagnosis | None:
    """Speak of the highest prepared block if it is this node that holds it up."""
    awaited = report.awaited
    if awaited is None or not _is_standing(report):
        return None
    standstill = f"{tell_standstill(report)}: "
    match awaited.stage:
        case BlockStage.MISSING:
            return Diagnosis(
                DiagnosisCode.BLOCK_MISSING,
                Severity.FAILURE,
                f"{standstill}the block that a quorum prepared in view {awaited.view}, or one"
                " below it, is not here yet.",
                "Wait some seconds: it is asked of one connected validator after another. If it"
                " stays so, look at the connections of this machine.",
            )
        case BlockStage.JUDGING:
            return Diagnosis(
                DiagnosisCode.BLOCK_UNJUDGED,
                Severity.FAILURE,
                f"{standstill}block {awaited.height} of view {awaited.view} is here but not judged"
                " yet; a payload of its transactions may be under way.",
                "Wait some seconds. If it stays so, look at the log, the load and the disk of this"
                " machine.",
            )
        case BlockStage.EXECUTING:
            return Diagnosis(
                DiagnosisCode.BLOCK_EXECUTING,
                Severity.FAILURE,
                f"{standstill}this node has not finished executing block {awaited.height} of view"
                f" {awaited.view}.",
                "Wait: a large contribution takes its time. If it stays so, look at the load of"
                " this machine.",
            )
        case _:
            return None


def _report_commits(report: ConsensusReport) -> Diagnosis | None:
    """Speak of COMMITs while those of the view before may still come."""
    awaited = report.awaited
    if awaited is None or awaited.view != report.view - 1 or not _is_standing(report):
        return None
    # In `views` the current view comes first and the one before it second.
    commits = report.views[1].certificate(VoteKind.COMMIT)
    given_up = report.views[1].certificate(VoteKind.VIEW_CHANGE)
    if len(given_up.voters) > len(report.validators) - report.quorum:
        return None
    return Diagnosis(
        DiagnosisCode.COMMITS_LACKING,
        Severity.FAILURE,
        f"{tell_standstill(report)}: view {awaited.view} "
        f"{tell_lacking(report, commits)}.{tell_failures(report)}",
        advise_on_lacking(report, commits.lacking),
    )


def _report_view(report: ConsensusReport) -> Diagnosis | None:
    """Speak of what the current view lacks to end."""
    if not _is_standing(report):
        return None
    current = report.views[0]
    given_up = current.certificate(VoteKind.VIEW_CHANGE)
    if current.has_proposal:
        prepares = current.certificate(VoteKind.PREPARE)
        return Diagnosis(
            DiagnosisCode.PREPARES_LACKING,
            Severity.FAILURE,
            f"{tell_standstill(report)}: view {current.view} "
            f"{tell_lacking(report, prepares)}.{tell_failures(report)}",
            advise_on_lacking(report, prepares.lacking),
        )
    leader = tell_validator(report, report.validators[current.leader])
    return Diagnosis(
        DiagnosisCode.PROPOSAL_LACKING,
        Severity.FAILURE,
        f"{tell_standstill(report)}: view {current.view} has no proposal of its leader {leader},"
        f" and {tell_lacking(report, given_up, ' to go on without it')}."
        f"{tell_failures(report)}",
        advise_on_lacking(report, given_up.lacking),
    )


def _report_probation(report: ConsensusReport) -> Diagnosis | None:
    if not report.is_observing:
        return None
    if report.signs_above_view is None:
        needed = 2 * (len(report.validators) - report.quorum) + 1
        until = f"until when is known once {needed} others have said where they are"
        advice = "Wait, and see that the others run and can be reached from here."
    else:
        until = f"it votes again above view {report.signs_above_view}, now it is {report.view}"
        advice = "Wait. Meanwhile one validator less may fail than otherwise."
    return Diagnosis(
        DiagnosisCode.ON_PROBATION,
        Severity.WARNING,
        f"This validator observes only, because its records were lost; {until}.",
        advice,
    )


def _report_clock(report: ConsensusReport) -> Diagnosis | None:
    offsets = sorted(
        (each.clock_offset_ms, each.name)
        for each in _list_others(report)
        if each.is_connected and each.clock_offset_ms is not None
    )
    wrong = [name for offset, name in offsets if _is_clock_wrong(offset)]
    if not wrong:
        return None
    # If most clocks seem wrong from here it is ours that is.
    if 2 * len(wrong) > len(offsets) > 1:
        middle_ms = offsets[len(offsets) // 2][0]
        way = "behind" if middle_ms > 0 else "ahead of"
        sentence = (
            f"The clock of this machine is about {tell_duration(abs(middle_ms))} {way} those of"
            " the others."
        )
    else:
        distances = [tell_duration(abs(offset)) for offset, name in offsets if name in wrong]
        sentence = (
            f"The clock of {join_names(wrong)} differs from that of this machine, by"
            f" {join_names(distances)}."
        )
    return Diagnosis(
        DiagnosisCode.CLOCK_WRONG,
        Severity.WARNING,
        sentence,
        "Let the machine set its clock (chrony or systemd-timesyncd): blocks from the future are"
        " put off until it has come.",
    )


def _report_missing(report: ConsensusReport) -> Diagnosis | None:
    present = sum(map(is_present, report.validators))
    missing = len(report.validators) - present
    if not missing:
        return None
    spare = present - report.quorum
    more = f"{spare} more" if spare else "no other"
    return Diagnosis(
        DiagnosisCode.VALIDATORS_MISSING,
        Severity.WARNING,
        f"{tell_final_block(report)}, but {missing} of {len(report.validators)} validators"
        f" {'is' if missing == 1 else 'are'} missing: {tell_missing(report)}. {report.quorum} are"
        f" needed, so {more} may fail.",
        "See whether the missing nodes run and can be reached from here.",
    )


def _report_mute(report: ConsensusReport) -> Diagnosis | None:
    """Speak of validators that are connected and do not vote."""
    if report.recent_prepared_views < PREPARED_VIEWS_MIN:
        return None
    mute = [each.name for each in report.validators if not each.recent_votes]
    if not mute:
        return None
    does = "does" if len(mute) == 1 else "do"
    return Diagnosis(
        DiagnosisCode.VALIDATORS_MUTE,
        Severity.WARNING,
        f"{tell_final_block(report)}, but {join_names(mute)} {does} not vote: no vote came in the"
        f" last {report.recent_prepared_views} views with a block.",
        f"Run `quorate doctor` at {join_names(mute)}. The chain can lose fewer others meanwhile.",
    )


def _report_alarm(report: ConsensusReport) -> Diagnosis | None:
    if not report.alarms:
        return None
    raised = join_names([f"{code} ({count})" for code, count in report.alarms])
    return Diagnosis(
        DiagnosisCode.ALARM_RAISED,
        Severity.WARNING,
        f"{tell_final_block(report)}, but this node has raised alarms since it started: {raised}.",
        "Look for them in its log; every one asks for an operator.",
    )


def _report_evidence(report: ConsensusReport) -> Diagnosis | None:
    if not report.evidence:
        return None
    last = report.evidence[0]
    return Diagnosis(
        DiagnosisCode.EVIDENCE_SEEN,
        Severity.WARNING,
        f"{tell_final_block(report)}, but {last.name} broke a vote rule: {last.kind} in view"
        f" {last.view} of epoch {last.epoch} ({report.evidence_count} such in all).",
        f"Ask {last.name} whether two processes use its key; if not, it is not to be trusted.",
    )


def _report_idle(report: ConsensusReport) -> Diagnosis | None:
    if report.is_work_known:
        return None
    return Diagnosis(
        DiagnosisCode.IDLE,
        Severity.WELL,
        f"Idle: nothing is waiting. {tell_final_block(report)}; the next heartbeat block is due in"
        f" {tell_duration(report.heartbeat_in_ms)}.",
        "Nothing.",
    )


def _say_well(report: ConsensusReport) -> Diagnosis:
    final = tell_final_block(report)
    return Diagnosis(
        DiagnosisCode.WELL,
        Severity.WELL,
        f"All is well: {final[0].lower()}{final[1:]}.",
        "Nothing.",
    )


_RULES: tuple[Callable[[ConsensusReport], Diagnosis | None], ...] = (
    _report_halt,
    _report_gap,
    _report_cut_off,
    _report_block,
    _report_commits,
    _report_view,
    _report_probation,
    _report_clock,
    _report_missing,
    _report_mute,
    _report_alarm,
    _report_evidence,
    _report_idle,
)


def _is_standing(report: ConsensusReport) -> bool:
    """Say whether the next block is overdue: there is work, or a heartbeat has not come."""
    if report.waiting_ms is not None and report.waiting_ms > report.timeout_max_ms:
        return True
    return report.final_age_ms > report.idle_limit_ms + report.timeout_max_ms


def _list_others(report: ConsensusReport) -> list[ValidatorReport]:
    return [each for each in report.validators if not each.is_self]


def _is_clock_wrong(offset_ms: int) -> bool:
    return not -CLOCK_BEHIND_MS_MAX <= offset_ms <= CLOCK_AHEAD_MS_MAX
