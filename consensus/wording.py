"""How the facts of a report are put into words for people; `diagnosis` decides which are told."""

from __future__ import annotations

from collections.abc import Sequence

from consensus.report import CertificateReport, ConsensusReport, ValidatorReport

__all__ = [
    "SILENT_AFTER_MS",
    "advise_on_lacking",
    "is_present",
    "join_names",
    "tell_duration",
    "tell_failures",
    "tell_final_block",
    "tell_lacking",
    "tell_missing",
    "tell_own_inclusion",
    "tell_own_part",
    "tell_standstill",
    "tell_validator",
]

SILENT_AFTER_MS = 10_000
"""A connected validator that says nothing for so long is missing: STATUS comes every 2 seconds."""


def is_present(validator: ValidatorReport) -> bool:
    """Say whether a validator can be counted on: connected, and not silent for long."""
    return validator.is_self or (
        validator.is_connected and _compute_silence_ms(validator) <= SILENT_AFTER_MS
    )


def tell_own_part(report: ConsensusReport) -> str:
    """Return what this node is."""
    return "observer" if report.own_index is None else "validator"


def tell_own_inclusion(report: ConsensusReport) -> str:
    """Return what follows a count of validators to which this node may belong."""
    return "" if report.own_index is None else ", this one included"


def tell_standstill(report: ConsensusReport) -> str:
    """Say for how long no block has become final."""
    age = tell_duration(report.final_age_ms)
    if report.has_finalized:
        return f"No block has become final for {age}"
    return f"No block has become final since this node started {age} ago"


def tell_final_block(report: ConsensusReport) -> str:
    """Say which block became final last, and when."""
    age = tell_duration(report.final_age_ms)
    if report.has_finalized:
        return f"Block {report.final_height} became final {age} ago"
    return f"Block {report.final_height} was final when this node started {age} ago"


def tell_failures(report: ConsensusReport) -> str:
    """Say how many views came to nothing, as a sentence of its own; empty if none did."""
    if not report.failures:
        return ""
    views = "1 view" if report.failures == 1 else f"{report.failures} views"
    return f" {views} before it brought no progress."


def tell_lacking(report: ConsensusReport, certificate: CertificateReport, aim: str = "") -> str:
    """Say how many votes a certificate lacks and whose may come, after the subject.

    Parameters
    ----------
    report : that the certificate is in.
    certificate : the one that is not complete.
    aim : what it is needed for, after a space; nothing if that is plain.
    """
    count = len(certificate.voters)
    if count >= report.quorum:
        return f"has {count} {certificate.kind}s{aim}, which do not agree"
    absent = [tell_validator(report, report.validators[index]) for index in certificate.lacking]
    return (
        f"lacks {report.quorum - count} of {report.quorum} {certificate.kind}s{aim}: none came from"
        f" {join_names(absent)}"
    )


def advise_on_lacking(report: ConsensusReport, lacking: Sequence[int]) -> str:
    """Say what to do about validators, by index, whose votes have not come."""
    absent = [report.validators[index] for index in lacking]
    gone = [each.name for each in absent if not is_present(each)]
    mute = [each.name for each in absent if is_present(each) and not each.is_self]
    advice = []
    if gone:
        run = "is running" if len(gone) == 1 else "are running"
        advice.append(f"See whether {join_names(gone)} can be reached from here and {run}.")
    if mute:
        advice.append(f"Run `quorate doctor` at {join_names(mute)}: connected, but without a vote.")
    if report.is_observing and report.own_index in lacking:
        advice.append(
            "Only if they cannot come back, `quorate start --accept-lost-votes` lets this node vote"
            " at once; docs/operations/recovery.md says when that is safe."
        )
    if not advice:
        advice.append("This node itself has not voted: look at its log and at its machine's load.")
    return " ".join(advice)


def tell_missing(report: ConsensusReport) -> str:
    """Return the validators that cannot be counted on, each with the reason."""
    return join_names(
        [tell_validator(report, each) for each in report.validators if not is_present(each)]
    )


def tell_validator(report: ConsensusReport, validator: ValidatorReport) -> str:
    """Name a validator, with what explains that it does not vote."""
    if validator.is_self:
        reason = "this node"
        if report.is_observing:
            reason += ", which only observes because its records were lost"
    elif is_present(validator):
        return validator.name
    elif validator.is_connected:
        reason = f"connected, but silent for {tell_duration(_compute_silence_ms(validator))}"
    elif validator.heard_age_ms is None:
        reason = "never heard"
    else:
        reason = f"last heard {tell_duration(validator.heard_age_ms)} ago"
    return f"{validator.name} ({reason})"


def join_names(names: Sequence[str]) -> str:
    """Return names as in a sentence.

    Examples
    --------
    >>> join_names(["a", "b", "c"])
    'a, b and c'
    """
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def tell_duration(duration_ms: int) -> str:
    """Return a duration as people say it.

    Examples
    --------
    >>> tell_duration(340), tell_duration(42_900), tell_duration(600_000)
    ('0.3 s', '42 s', '10 min')
    >>> tell_duration(90_000_000)
    '25 h'
    """
    seconds = duration_ms // 1000
    if seconds < 10:
        return f"{seconds}.{duration_ms % 1000 // 100} s"
    if seconds < 180:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 10_800 else f"{seconds // 3600} h"


def _compute_silence_ms(validator: ValidatorReport) -> int:
    """Return for how long a connected validator has said nothing since it connected."""
    ages = (validator.connected_age_ms, validator.heard_age_ms)
    return min((age for age in ages if age is not None), default=0)
