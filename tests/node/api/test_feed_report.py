"""A report reads back as it was written, and strange bytes are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from consensus.watch import Alarm
from node.api.feed_report import REPORT_BYTES_MAX, decode_report, encode_report
from primitives import codec
from primitives.errors import InvalidInputError
from primitives.validator_set import VALIDATORS_MAX
from tests.helpers.api import make_healthy_report

COUNT = 4
COUNTERS = st.integers(min_value=0, max_value=2**63 - 1)
OFFSETS = st.integers(min_value=-(2**63 - 1), max_value=2**63 - 1)
TEXTS = st.text(max_size=30)
INDICES = st.integers(min_value=0, max_value=COUNT - 1)
INDEX_SETS = st.sets(INDICES).map(sorted).map(tuple)
COUNTS = st.lists(st.tuples(TEXTS, COUNTERS), max_size=4).map(tuple)


def certificates() -> st.SearchStrategy[tuple[CertificateReport, ...]]:
    return st.tuples(
        *(
            st.builds(CertificateReport, st.just(kind), st.booleans(), INDEX_SETS, INDEX_SETS)
            for kind in ("PREPARE", "COMMIT", "VIEW-CHANGE")
        )
    )


def validators(index: int) -> st.SearchStrategy[ValidatorReport]:
    return st.builds(
        ValidatorReport,
        index=st.just(index),
        name=TEXTS,
        connected_age_ms=st.none() | COUNTERS,
        heard_message=st.none() | TEXTS,
        heard_view=st.none() | COUNTERS,
        heard_age_ms=st.none() | COUNTERS,
        claimed_height=st.none() | COUNTERS,
        clock_offset_ms=st.none() | OFFSETS,
        votes=st.lists(TEXTS, max_size=3).map(tuple),
        recent_votes=COUNTERS,
    )


NUMBERS = {
    name: COUNTERS
    for name, kind in ConsensusReport.__annotations__.items()
    if kind == "int" and name not in ("leader", "quorum")
}
REPORTS = st.builds(
    ConsensusReport,
    **NUMBERS,
    leader=INDICES,
    own_index=st.none() | INDICES,
    quorum=st.integers(min_value=1, max_value=VALIDATORS_MAX),
    epoch_end_height=st.none() | COUNTERS,
    waiting_ms=st.none() | COUNTERS,
    signs_above_view=st.none() | COUNTERS,
    views=st.lists(
        st.builds(ViewReport, COUNTERS, INDICES, st.booleans(), certificates()),
        min_size=1,
        max_size=5,
    ).map(tuple),
    validators=st.tuples(*map(validators, range(COUNT))),
    awaited=st.none()
    | st.builds(AwaitedBlock, COUNTERS, st.none() | COUNTERS, st.sampled_from(BlockStage)),
    catch_up=st.none() | st.builds(CatchUpReport, COUNTERS, st.none() | COUNTERS, INDEX_SETS),
    halt=st.none() | st.builds(Alarm, TEXTS, TEXTS),
    evidence=st.lists(st.builds(EvidenceReport, TEXTS, TEXTS, COUNTERS, COUNTERS), max_size=3).map(
        tuple
    ),
    alarms=COUNTS,
    peer_faults=COUNTS,
)


@given(REPORTS)
def test_every_report_reads_back_as_it_was_written(report: ConsensusReport) -> None:
    assert decode_report(encode_report(report)) == report


def test_the_largest_report_fits() -> None:
    everyone = tuple(range(VALIDATORS_MAX))
    healthy = make_healthy_report()
    certificate = replace(healthy.views[0].certificates[0], voters=everyone, lacking=everyone)
    kinds = [each.kind for each in healthy.views[0].certificates]
    view = replace(
        healthy.views[0], certificates=tuple(replace(certificate, kind=kind) for kind in kinds)
    )
    one = replace(
        healthy.validators[1],
        name="n" * 64,
        heard_view=2**63 - 1,
        heard_age_ms=2**63 - 1,
        votes=tuple(kinds),
    )
    largest = replace(
        healthy,
        views=(view,) * 5,
        validators=tuple(replace(one, index=index) for index in everyone),
        evidence=(EvidenceReport("COMMIT-AND-VIEW-CHANGE", "n" * 64, 1, 1),) * 32,
    )
    data = encode_report(largest)
    assert len(data) < REPORT_BYTES_MAX // 2
    assert decode_report(data) == largest


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_a_refusal(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_report(data)


def with_certificate(report: ConsensusReport, **changes: Any) -> ConsensusReport:
    first, *others = report.views[0].certificates
    certificates = (replace(first, **changes), *others)
    return replace(report, views=(replace(report.views[0], certificates=certificates),))


HEALTHY = make_healthy_report()


@pytest.mark.parametrize(
    "report",
    [
        replace(HEALTHY, leader=COUNT),
        replace(HEALTHY, own_index=COUNT),
        replace(HEALTHY, catch_up=CatchUpReport(1, 2, (COUNT,))),
        replace(HEALTHY, views=(replace(HEALTHY.views[0], leader=COUNT),)),
        with_certificate(HEALTHY, voters=(COUNT,)),
        with_certificate(HEALTHY, lacking=(COUNT,)),
        with_certificate(HEALTHY, kind="COMMIT"),
        replace(HEALTHY, views=()),
        replace(HEALTHY, validators=HEALTHY.validators[::-1]),
    ],
)
def test_a_report_that_speaks_of_what_it_does_not_list_is_refused(report: ConsensusReport) -> None:
    with pytest.raises(InvalidInputError) as caught:
        decode_report(encode_report(report))
    assert caught.value.code == "malformed"


def test_an_unknown_stage_and_a_vote_that_is_no_text_are_refused() -> None:
    report = replace(HEALTHY, awaited=AwaitedBlock(1, 1, BlockStage.MISSING))
    value: Any = codec.decode(encode_report(report), bytes_max=REPORT_BYTES_MAX, depth_max=6)
    value[25][2] = "lost"
    with pytest.raises(InvalidInputError, match="stage"):
        decode_report(codec.encode(value))
    value[25][2], value[24][0][10] = "missing", [7]
    with pytest.raises(InvalidInputError, match="no text"):
        decode_report(codec.encode(value))
