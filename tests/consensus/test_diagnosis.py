"""The sentence that says why the chain stands still: each rule, and which of two speaks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from consensus.diagnosis import (
    CLOCK_AHEAD_MS_MAX,
    CLOCK_BEHIND_MS_MAX,
    PREPARED_VIEWS_MIN,
    Diagnosis,
    DiagnosisCode,
    Severity,
    diagnose,
)
from consensus.events import (
    BlockExecuted,
    BlockValidated,
    PeerDisconnected,
    Ticked,
    Verdict,
    WorkChanged,
)
from consensus.messages import CertificateMessage, Status
from consensus.report import (
    AwaitedBlock,
    BlockStage,
    CatchUpReport,
    CertificateReport,
    ConsensusReport,
    EvidenceReport,
    ViewReport,
)
from consensus.watch import Alarm
from consensus.wording import SILENT_AFTER_MS
from primitives.certificates import VoteKind
from tests.helpers.consensus import GENESIS, certify, make_header, make_pre_prepare, make_vote
from tests.helpers.watched_consensus import WatchedBench

ROOT = b"r" * 32
FIRST = make_pre_prepare(make_header(GENESIS, 1, b"body"), b"body")
PREPARED = certify(VoteKind.PREPARE, 1, FIRST.block_id)
OVERDUE_MS = 42_000


def make_report(**changes: Any) -> ConsensusReport:
    """Return the report of a node that has just made block 4312 final, with all connected."""
    bench = WatchedBench()
    bench.connect(1, 2, 3)
    healthy = replace(
        bench.report(),
        final_height=4312,
        final_age_ms=340,
        has_finalized=True,
        is_work_known=True,
        waiting_ms=100,
    )
    return replace(healthy, **changes)


def change_validator(report: ConsensusReport, index: int, **changes: Any) -> ConsensusReport:
    validators = list(report.validators)
    validators[index] = replace(validators[index], **changes)
    return replace(report, validators=tuple(validators))


def lose(report: ConsensusReport, index: int, heard_age_ms: int | None) -> ConsensusReport:
    return change_validator(
        report, index, is_connected=False, connected_age_ms=None, heard_age_ms=heard_age_ms
    )


def make_standing(**changes: Any) -> ConsensusReport:
    """Return the report of a chain that has stood for a while with all connected."""
    return make_report(
        **{"final_age_ms": OVERDUE_MS, "waiting_ms": OVERDUE_MS, "view": 17, "leader": 1, **changes}
    )


def make_view(view: int, *, has_proposal: bool = False, **voters: tuple[int, ...]) -> ViewReport:
    certificates = []
    for kind in ("PREPARE", "COMMIT", "VIEW-CHANGE"):
        there = voters.get(kind.lower().replace("-", "_"), ())
        lacking = tuple(index for index in range(4) if index not in there)
        certificates.append(CertificateReport(kind, len(there) >= 3, there, lacking))
    return ViewReport(view, view % 4, has_proposal, tuple(certificates))


def check(found: Diagnosis, code: DiagnosisCode, severity: Severity, sentence: str) -> None:
    assert (found.sentence, found.code, found.severity) == (sentence, code, severity)
    assert found.advice


def test_a_chain_that_grows_is_well() -> None:
    check(
        diagnose(make_report()),
        DiagnosisCode.WELL,
        Severity.WELL,
        "All is well: block 4312 became final 0.3 s ago.",
    )


def test_a_network_without_work_is_idle() -> None:
    check(
        diagnose(make_report(is_work_known=False, waiting_ms=None, heartbeat_in_ms=3_000)),
        DiagnosisCode.IDLE,
        Severity.WELL,
        "Idle: nothing is waiting. Block 4312 became final 0.3 s ago; the next heartbeat block is"
        " due in 3.0 s.",
    )


def test_a_node_that_has_just_started_does_not_claim_a_block_for_itself() -> None:
    check(
        diagnose(make_report(has_finalized=False, final_age_ms=1_000)),
        DiagnosisCode.WELL,
        Severity.WELL,
        "All is well: block 4312 was final when this node started 1.0 s ago.",
    )


def test_too_few_validators_are_named_with_when_they_were_heard() -> None:
    report = lose(lose(make_report(final_age_ms=OVERDUE_MS), 2, 41_000), 3, None)
    found = diagnose(report)
    check(
        found,
        DiagnosisCode.CUT_OFF,
        Severity.FAILURE,
        "No block has become final for 42 s: 2 of 4 validators are connected, this one included,"
        " 3 are needed. Missing: gamma (last heard 41 s ago) and delta (never heard).",
    )
    assert found.advice.startswith("See whether the missing nodes run")
    assert "once 1 of them is back" in found.advice


def test_an_observer_does_not_count_itself_and_says_since_when_it_runs() -> None:
    bench = WatchedBench(own_index=None)
    found = diagnose(bench.report(after_ms=2_000))
    check(
        found,
        DiagnosisCode.CUT_OFF,
        Severity.FAILURE,
        "No block has become final since this node started 2.0 s ago: 0 of 4 validators are"
        " connected, 3 are needed. Missing: alpha (never heard), beta (never heard), gamma (never"
        " heard) and delta (never heard).",
    )
    assert found.advice.startswith("Nobody is heard here")
    assert "once 3 of them are back" in found.advice


def test_a_connected_validator_that_has_gone_silent_is_missing() -> None:
    quiet = {"connected_age_ms": 90_000, "heard_age_ms": SILENT_AFTER_MS + 1}
    report = change_validator(change_validator(make_report(), 1, **quiet), 2, **quiet)
    found = diagnose(report)
    assert found.code is DiagnosisCode.CUT_OFF
    assert "beta (connected, but silent for 10 s)" in found.sentence
    report = change_validator(report, 1, heard_age_ms=SILENT_AFTER_MS)
    assert diagnose(report).code is DiagnosisCode.VALIDATORS_MISSING


def test_a_validator_that_has_just_connected_is_not_silent() -> None:
    report = change_validator(make_report(), 1, connected_age_ms=5, heard_age_ms=60_000)
    assert diagnose(report).code is DiagnosisCode.WELL
    report = change_validator(report, 1, connected_age_ms=5, heard_age_ms=None)
    assert diagnose(report).code is DiagnosisCode.WELL


def test_a_halt_is_told_with_its_reason_before_anything_else() -> None:
    report = make_standing(
        halt=Alarm("diverged", "a quorum reached another state root"),
        catch_up=CatchUpReport(1, 2, ()),
    )
    found = diagnose(report)
    check(
        found,
        DiagnosisCode.HALTED,
        Severity.FAILURE,
        "This node halted and signs nothing: a quorum reached another state root. What was final"
        " here is intact, up to block 4312.",
    )
    assert "`quorate divergence` compares" in found.advice


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("fork", "two chains"),
        ("key_used_elsewhere", "Find the other process"),
        ("contradicting_certificates", "more validators are faulty"),
        ("another", "look at its log"),
    ],
)
def test_the_advice_for_a_halt_depends_on_its_reason(code: str, advice: str) -> None:
    assert advice in diagnose(make_report(halt=Alarm(code, "text"))).advice


@pytest.mark.parametrize(
    ("gap", "sentence"),
    [
        (
            CatchUpReport(120, 480, (1, 3)),
            "This validator is catching up: at height 120 of 480, from beta and delta.",
        ),
        (CatchUpReport(120, None, ()), "This validator is catching up: at height 120."),
    ],
)
def test_a_node_that_lacks_blocks_is_catching_up(gap: CatchUpReport, sentence: str) -> None:
    # The commit certificate that shows the gap also makes the chain seem to stand here.
    check(
        diagnose(make_standing(catch_up=gap)),
        DiagnosisCode.CATCHING_UP,
        Severity.FAILURE,
        sentence,
    )


def test_an_observer_catches_up_as_one() -> None:
    report = make_report(own_index=None, catch_up=CatchUpReport(1, 2, ()))
    assert diagnose(report).sentence.startswith("This observer is catching up")


def test_catching_up_from_one_is_told_though_a_quorum_is_not_there() -> None:
    report = lose(lose(make_report(catch_up=CatchUpReport(120, 480, (3,))), 1, None), 2, None)
    assert diagnose(report).code is DiagnosisCode.CATCHING_UP


def test_catching_up_from_nobody_is_being_cut_off() -> None:
    report = make_report(catch_up=CatchUpReport(120, 480, (3,)))
    for index in (1, 2, 3):
        report = lose(report, index, None)
    assert diagnose(report).code is DiagnosisCode.CUT_OFF


def test_a_wait_within_the_longest_timeout_is_no_standstill() -> None:
    report = make_standing(waiting_ms=10_000, final_age_ms=20_000)
    assert (report.timeout_max_ms, report.idle_limit_ms) == (10_000, 10_000)
    assert diagnose(report).code is DiagnosisCode.WELL
    assert diagnose(replace(report, waiting_ms=10_001)).severity is Severity.FAILURE
    assert diagnose(replace(report, final_age_ms=20_001)).severity is Severity.FAILURE


def test_a_heartbeat_that_does_not_come_is_a_standstill_without_any_work() -> None:
    report = make_standing(waiting_ms=None, is_work_known=False)
    assert diagnose(report).severity is Severity.FAILURE
    assert diagnose(replace(report, final_age_ms=20_000)).code is DiagnosisCode.IDLE


@pytest.mark.parametrize(
    ("stage", "code", "words"),
    [
        (BlockStage.MISSING, DiagnosisCode.BLOCK_MISSING, "prepared in view 16, or one below it"),
        (BlockStage.JUDGING, DiagnosisCode.BLOCK_UNJUDGED, "block 4313 of view 16 is here but not"),
        (BlockStage.EXECUTING, DiagnosisCode.BLOCK_EXECUTING, "not finished executing block 4313"),
    ],
)
def test_a_block_that_this_node_holds_up_is_told(
    stage: BlockStage, code: DiagnosisCode, words: str
) -> None:
    report = make_standing(awaited=AwaitedBlock(16, 4313, stage))
    found = diagnose(report)
    assert found.code is code
    assert found.sentence.startswith("No block has become final for 42 s: ")
    assert words in found.sentence
    assert found.advice
    assert diagnose(replace(report, final_age_ms=5, waiting_ms=5)).code is DiagnosisCode.WELL


def make_committing(**voters: tuple[int, ...]) -> ConsensusReport:
    return make_standing(
        awaited=AwaitedBlock(16, 4313, BlockStage.COMMITTING),
        views=(make_view(17), make_view(16, has_proposal=True, **voters)),
    )


def test_commits_that_are_lacking_are_named() -> None:
    found = diagnose(make_committing(prepare=(0, 1, 2), commit=(0, 1)))
    check(
        found,
        DiagnosisCode.COMMITS_LACKING,
        Severity.FAILURE,
        "No block has become final for 42 s: view 16 lacks 1 of 3 COMMITs: none came from gamma and"
        " delta.",
    )
    assert found.advice.startswith("Run `quorate doctor` at gamma and delta")


def test_commits_that_do_not_agree_are_no_certificate() -> None:
    found = diagnose(make_committing(commit=(0, 1, 2)))
    assert "view 16 has 3 COMMITs, which do not agree" in found.sentence


def test_commits_are_not_waited_for_once_too_many_gave_the_view_up() -> None:
    one = make_committing(commit=(0, 1), view_change=(2,))
    assert diagnose(one).code is DiagnosisCode.COMMITS_LACKING
    two = make_committing(commit=(0, 1), view_change=(2, 3))
    assert diagnose(two).code is DiagnosisCode.PROPOSAL_LACKING


def test_commits_of_an_older_view_are_not_waited_for() -> None:
    report = make_standing(
        awaited=AwaitedBlock(15, 4313, BlockStage.COMMITTING),
        views=(make_view(17), make_view(16), make_view(15, commit=(0, 1))),
    )
    assert diagnose(report).code is DiagnosisCode.PROPOSAL_LACKING


def test_commits_that_came_in_time_are_not_spoken_of() -> None:
    report = replace(make_committing(commit=(0, 1)), final_age_ms=5, waiting_ms=5)
    assert diagnose(report).code is DiagnosisCode.WELL


def test_a_silent_leader_is_named_and_who_does_not_give_up_on_it() -> None:
    report = lose(make_standing(views=(make_view(17, view_change=(0, 2)),)), 1, 9_000)
    found = diagnose(replace(report, failures=3))
    check(
        found,
        DiagnosisCode.PROPOSAL_LACKING,
        Severity.FAILURE,
        "No block has become final for 42 s: view 17 has no proposal of its leader beta (last heard"
        " 9.0 s ago), and lacks 1 of 3 VIEW-CHANGEs to go on without it: none came from beta (last"
        " heard 9.0 s ago) and delta. 3 views before it brought no progress.",
    )
    assert found.advice == (
        "See whether beta can be reached from here and is running. Run `quorate doctor` at delta:"
        " connected, but without a vote."
    )


def test_prepares_that_are_lacking_are_named() -> None:
    view = make_view(17, has_proposal=True, prepare=(0, 1))
    found = diagnose(make_standing(views=(view,), failures=1))
    check(
        found,
        DiagnosisCode.PREPARES_LACKING,
        Severity.FAILURE,
        "No block has become final for 42 s: view 17 lacks 1 of 3 PREPAREs: none came from gamma"
        " and delta. 1 view before it brought no progress.",
    )


def test_a_node_that_does_not_vote_itself_says_so() -> None:
    view = make_view(17, has_proposal=True, prepare=(1, 2, 3))
    report = make_standing(views=(replace(view, certificates=view.certificates),))
    found = diagnose(report)
    assert "This node itself has not voted" in found.advice
    view = make_view(17, has_proposal=True, prepare=(1, 2))
    found = diagnose(make_standing(views=(view,), is_on_probation=True))
    assert "--accept-lost-votes" in found.advice
    assert (
        "alpha (this node, which only observes because its records were lost) and delta."
        in found.sentence
    )
    found = diagnose(make_standing(views=(view,)))
    assert "alpha (this node) and delta." in found.sentence
    assert "--accept-lost-votes" not in found.advice
    others = make_view(17, has_proposal=True, prepare=(0, 1))
    found = diagnose(make_standing(views=(others,), is_on_probation=True))
    assert "--accept-lost-votes" not in found.advice


@pytest.mark.parametrize(
    ("above", "sentence"),
    [
        (
            231,
            "This validator observes only, because its records were lost; it votes again above view"
            " 231, now it is 1.",
        ),
        (
            None,
            "This validator observes only, because its records were lost; until when is known once"
            " 3 others have said where they are.",
        ),
    ],
)
def test_probation_is_told_while_the_chain_goes_on(above: int | None, sentence: str) -> None:
    found = diagnose(make_report(is_on_probation=True, signs_above_view=above))
    check(found, DiagnosisCode.ON_PROBATION, Severity.WARNING, sentence)


def test_a_validator_that_may_not_sign_yet_is_told_like_one_on_probation() -> None:
    found = diagnose(make_report(is_on_probation=False, signs_above_view=64))
    assert "it votes again above view 64, now it is 1." in found.sentence


def set_clocks(*offsets_ms: int | None) -> ConsensusReport:
    report = make_report()
    for index, offset_ms in enumerate(offsets_ms, start=1):
        report = change_validator(report, index, clock_offset_ms=offset_ms)
    return report


def test_clocks_that_differ_a_little_are_well() -> None:
    report = set_clocks(CLOCK_AHEAD_MS_MAX, -CLOCK_BEHIND_MS_MAX, None)
    assert diagnose(report).code is DiagnosisCode.WELL


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            set_clocks(CLOCK_AHEAD_MS_MAX + 1, 0, 0),
            "The clock of beta differs from that of this machine, by 0.5 s.",
        ),
        (
            set_clocks(0, -4_000, None),
            "The clock of gamma differs from that of this machine, by 4.0 s.",
        ),
        (
            set_clocks(2_500, 2_600, 0),
            "The clock of this machine is about 2.5 s behind those of the others.",
        ),
        (
            set_clocks(-7_000, -7_500, 0),
            "The clock of this machine is about 7.0 s ahead of those of the others.",
        ),
        (
            set_clocks(9_000, None, None),
            "The clock of beta differs from that of this machine, by 9.0 s.",
        ),
    ],
)
def test_a_wrong_clock_is_told_and_whose_it_is(report: ConsensusReport, words: str) -> None:
    found = diagnose(report)
    check(found, DiagnosisCode.CLOCK_WRONG, Severity.WARNING, words)


def test_the_clock_of_a_validator_that_left_is_forgotten() -> None:
    report = lose(set_clocks(90_000, 0, 0), 1, 5)
    assert diagnose(report).code is DiagnosisCode.VALIDATORS_MISSING


def test_a_missing_validator_is_told_though_blocks_become_final() -> None:
    found = diagnose(lose(make_report(), 2, 200_000))
    check(
        found,
        DiagnosisCode.VALIDATORS_MISSING,
        Severity.WARNING,
        "Block 4312 became final 0.3 s ago, but 1 of 4 validators is missing: gamma (last heard 3"
        " min ago). 3 are needed, so no other may fail.",
    )


def test_how_many_more_may_fail_is_told() -> None:
    bench = WatchedBench(count=7)
    bench.connect(1, 2, 3, 4, 5, 6)
    report = lose(bench.report(), 6, None)
    assert diagnose(report).sentence.endswith("5 are needed, so 1 more may fail.")
    assert "2 of 7 validators are missing" in diagnose(lose(report, 5, None)).sentence


def test_a_validator_that_is_connected_and_does_not_vote_is_told() -> None:
    report = make_report(recent_prepared_views=PREPARED_VIEWS_MIN)
    for index in (0, 1, 3):
        report = change_validator(report, index, recent_votes=1)
    found = diagnose(report)
    check(
        found,
        DiagnosisCode.VALIDATORS_MUTE,
        Severity.WARNING,
        "Block 4312 became final 0.3 s ago, but gamma does not vote: no vote came in the last 8"
        " views with a block.",
    )
    found = diagnose(change_validator(report, 3, recent_votes=0))
    assert "gamma and delta do not vote" in found.sentence
    assert diagnose(change_validator(report, 2, recent_votes=1)).code is DiagnosisCode.WELL
    few = replace(report, recent_prepared_views=PREPARED_VIEWS_MIN - 1)
    assert diagnose(few).code is DiagnosisCode.WELL


def test_alarms_and_evidence_are_told_last() -> None:
    report = make_report(
        alarms=(("state_root_differs", 2),),
        evidence=(EvidenceReport("DOUBLE-PREPARE", "delta", 0, 9),),
        evidence_count=5,
    )
    found = diagnose(report)
    check(
        found,
        DiagnosisCode.ALARM_RAISED,
        Severity.WARNING,
        "Block 4312 became final 0.3 s ago, but this node has raised alarms since it started:"
        " state_root_differs (2).",
    )
    check(
        diagnose(replace(report, alarms=())),
        DiagnosisCode.EVIDENCE_SEEN,
        Severity.WARNING,
        "Block 4312 became final 0.3 s ago, but delta broke a vote rule: DOUBLE-PREPARE in view 9"
        " of epoch 0 (5 such in all).",
    )


def test_a_core_whose_peers_die_is_told_apart_stage_by_stage() -> None:
    """The same through a real core: work, a prepared block, lost peers, peers that say nothing."""
    bench = WatchedBench()
    bench.connect(1, 2, 3)
    assert diagnose(bench.report()).code is DiagnosisCode.IDLE
    bench.step(WorkChanged(True))
    bench.hear(1, FIRST)
    bench.step(BlockValidated(FIRST.block_id, Verdict.VALID))
    bench.hear(1, CertificateMessage(PREPARED))
    bench.step(BlockExecuted(FIRST.block_id, ROOT))
    assert diagnose(bench.report()).code is DiagnosisCode.WELL
    bench.hear(1, make_vote(VoteKind.COMMIT, 1, FIRST.block_id, ROOT, validator=1))
    bench.step(Ticked(), after_ms=11_000)
    for peer in (1, 2, 3):
        bench.hear(peer, Status(0, 2, 0, 2))
    found = diagnose(bench.report())
    assert found.code is DiagnosisCode.COMMITS_LACKING
    assert "view 1 lacks 1 of 3 COMMITs: none came from gamma and delta" in found.sentence
    bench.step(PeerDisconnected(2))
    assert diagnose(bench.report()).code is DiagnosisCode.COMMITS_LACKING
    bench.step(PeerDisconnected(3))
    assert diagnose(bench.report()).code is DiagnosisCode.CUT_OFF
