"""Detectors of drift decide what River's decide, find planted changes and keep to their bounds."""

import json
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_runtime.drift import (
    DDM,
    DETECTOR_NAMES,
    PAGE_HINKLEY,
    SAMPLES_MAX,
    DriftReport,
    new_detector,
    watch,
)
from ml_runtime.kernels import drift as compiled
from ml_runtime.kernels.reference import drift as plain
from primitives.errors import InvalidInputError

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "drift.json"
KINDS = tuple(DETECTOR_NAMES)
STATIONARY = {
    DDM: [(0.2, 0), (0.2, 2), (0.3, 3), (0.3, 4), (0.5, 5), (0.5, 6)],
    PAGE_HINKLEY: [(0.05, 0), (0.05, 1), (0.1, 3), (0.1, 4), (0.2, 2), (0.2, 3)],
}
"""Error rates and seeds; both detectors do raise false alarms on others (benchmarks/drift.py)."""

STREAMS = {
    "all right": [(0.0, 3_000)],
    "all wrong": [(1.0, 3_000)],
    "right, then wrong": [(0.0, 500), (1.0, 500)],
    "stationary": [(0.2, 8_000)],
    "sudden": [(0.1, 3_000), (0.5, 3_000)],
    "small": [(0.05, 3_000), (0.15, 5_000)],
    "back and forth": [(0.1, 1_500), (0.6, 1_500), (0.1, 1_500), (0.6, 1_500)],
    "gradual": [(rate / 20, 500) for rate in range(1, 12)],
    "learning": [(0.5, 300), (0.3, 600), (0.1, 1_200), (0.05, 2_400)],
}
SEEDS = 5


def make_errors(parts: list[tuple[float, int]], seed: int) -> np.ndarray:
    rates = np.concatenate([np.full(count, rate) for rate, count in parts])
    return (np.random.default_rng(seed).random(len(rates)) < rates).astype(np.int64)


def to_fields(report: DriftReport) -> dict[str, list[int]]:
    return {"warnings": list(report.warnings), "drifts": list(report.drifts)}


def watch_by(kernels, kind: int, state: np.ndarray, errors: np.ndarray) -> list[int]:
    show = {DDM: kernels.watch_ddm, PAGE_HINKLEY: kernels.watch_page_hinkley}[kind]
    marks = np.empty_like(errors)
    show(state, errors, marks)
    return marks.tolist()


def read_streams() -> list[dict]:
    return json.loads(VECTORS.read_text())["streams"]


def read_errors(stream: dict) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(stream["errors"]), dtype=np.uint8))
    return bits[: stream["samples"]].astype(np.int64)


@pytest.mark.parametrize("kind", KINDS)
def test_decisions_are_those_of_river(kind: int) -> None:
    decided = 0
    for stream in read_streams():
        state = new_detector(kind)
        expected = stream[DETECTOR_NAMES[kind]]
        report = watch(kind, state, read_errors(stream))
        assert to_fields(report) == expected["river"], stream["name"]
        assert state.tolist() == expected["state"], stream["name"]
        decided += len(report.drifts)
    assert decided > 20


@given(st.integers(1, SAMPLES_MAX), st.data())
@settings(max_examples=500)
def test_deviation_is_the_exact_root_rounded_down(samples: int, data: st.DataObject) -> None:
    errors = data.draw(st.integers(0, samples))
    expected = isqrt((errors * (samples - errors) << 64) // samples**3)
    assert int(compiled.deviation(errors, samples)) == expected
    assert plain.deviation(errors, samples) == expected


@pytest.mark.parametrize("samples", [1, 2, 3, 31, 1 << 15, (1 << 29) + 1, SAMPLES_MAX])
def test_deviation_is_exact_at_its_bounds(samples: int) -> None:
    for errors in {0, 1, samples // 2, (samples + 1) // 2, samples - 1, samples}:
        assert int(compiled.deviation(errors, samples)) == plain.deviation(errors, samples)


@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 300)), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None)
def test_twins_decide_the_same(kind: int, parts: list[tuple[float, int]], seed: int) -> None:
    errors = make_errors(parts, seed)
    first, second = new_detector(kind), new_detector(kind)
    assert watch_by(compiled, kind, first, errors) == watch_by(plain, kind, second, errors)
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 64, 1_000])
def test_batches_cannot_be_seen(kind: int, size: int) -> None:
    errors = make_errors(STREAMS["back and forth"], 1)
    whole, split = new_detector(kind), new_detector(kind)
    expected = watch(kind, whole, errors)
    warnings: list[int] = []
    drifts: list[int] = []
    for start in range(0, len(errors), size):
        report = watch(kind, split, errors[start : start + size])
        warnings += [start + place for place in report.warnings]
        drifts += [start + place for place in report.drifts]
    assert DriftReport(tuple(warnings), tuple(drifts)) == expected
    assert split.tolist() == whole.tolist()
    assert expected.drifts


@pytest.mark.parametrize("seed", [2, 3, 6, 7, 8, 9, 11, 12])
@pytest.mark.parametrize(
    ("kind", "after", "delay_max"),
    [(DDM, 0.4, 400), (DDM, 0.7, 150), (PAGE_HINKLEY, 0.4, 400), (PAGE_HINKLEY, 0.7, 150)],
)
def test_planted_change_is_found(kind: int, after: float, delay_max: int, seed: int) -> None:
    before = 1_000
    errors = make_errors([(0.2, before), (after, 1_000)], 100 + seed)
    state = new_detector(kind)
    assert watch(kind, state, errors[:before]).drifts == ()
    report = watch(kind, state, errors[before:])
    assert report.drifts, f"seed {seed}"
    assert report.drifts[0] < delay_max, f"seed {seed}"


@pytest.mark.parametrize(
    ("kind", "rate", "seed"), [(kind, *each) for kind in KINDS for each in STATIONARY[kind]]
)
def test_stationary_stream_raises_no_alarm(kind: int, rate: float, seed: int) -> None:
    errors = make_errors([(rate, 20_000)], seed)
    assert watch(kind, new_detector(kind), errors).drifts == ()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pattern", [[0], [1], [0, 1], [1, 0]])
def test_extreme_streams_raise_no_alarm(kind: int, pattern: list[int]) -> None:
    errors = np.resize(np.array(pattern, dtype=np.int64), 20_000)
    assert watch(kind, new_detector(kind), errors) == DriftReport((), ())


@pytest.mark.parametrize("kind", KINDS)
def test_errors_that_become_rarer_are_no_drift(kind: int) -> None:
    errors = make_errors([(0.8, 2_000), (0.2, 2_000)], 4)
    assert watch(kind, new_detector(kind), errors[:2_000]).drifts == ()
    assert watch(kind, new_detector(kind), errors).drifts == ()


def test_first_mistake_of_a_model_without_any_is_a_drift_after_warming_up_only() -> None:
    for right, drifts in ((29, ()), (31, (31,))):
        errors = np.array([0] * right + [1], dtype=np.int64)
        assert watch(DDM, new_detector(DDM), errors).drifts == drifts


@pytest.mark.parametrize("kind", KINDS)
def test_detector_begins_anew_after_a_drift(kind: int) -> None:
    errors = make_errors([(0.1, 500), (0.9, 500)], 3)
    state = new_detector(kind)
    drift = watch(kind, state, errors).drifts[0]
    again = new_detector(kind)
    watch(kind, again, errors[: drift + 1])
    assert again.tolist() == new_detector(kind).tolist()


@pytest.mark.parametrize("errors_share", [0, 2, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_counters_at_their_bound_begin_anew_without_an_alarm(kind: int, errors_share: int) -> None:
    """Just below the bound every number is as large as it gets; the twin has no bounds."""
    last = SAMPLES_MAX - 40
    count = last // errors_share if errors_share else 0
    rest = {DDM: [1 << 33, 0, 0], PAGE_HINKLEY: [-(1 << 45), -(1 << 45)]}[kind]
    first = np.array([last, count, *rest], dtype=np.int64)
    second = first.copy()
    for errors in (np.ones(39, dtype=np.int64), np.array([0, 1, 1])):
        marks = watch_by(compiled, kind, first, errors)
        assert marks == watch_by(plain, kind, second, errors)
        assert first.tolist() == second.tolist()
        if len(errors) == 39 and max(marks) < 2:
            assert int(first[0]) == SAMPLES_MAX - 1
    assert int(first[0]) < 50


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("error", [0, 1])
@pytest.mark.parametrize("wrong", [0, 10**6])
def test_sum_of_page_and_hinkley_never_leaves_its_bound(side: int, error: int, wrong: int) -> None:
    """Whatever the mean, one more sample cannot take the sum over 10,000 · (1.005 · 2^32 + 1)."""
    bound = 10_000 * ((1 << 32) + 21_474_836 + 1)
    assert bound < 1 << 46
    state = np.array([10**6, wrong, side * bound, 0], dtype=np.int64)
    watch_by(plain, PAGE_HINKLEY, state, np.array([error]))
    # A drift, on the upper side, has begun anew.
    assert -bound <= int(state[2]) <= bound
    state = np.array([10, min(wrong, 10), side * bound, 0], dtype=np.int64)
    watch_by(plain, PAGE_HINKLEY, state, np.array([error]))
    assert state[0] == 11
    assert -bound <= int(state[2]) <= bound


@pytest.mark.parametrize("kind", KINDS)
def test_empty_batch_changes_nothing(kind: int) -> None:
    state = new_detector(kind)
    watch(kind, state, make_errors([(0.3, 100)], 1))
    before = state.copy()
    assert watch(kind, state, np.zeros(0, dtype=np.int64)) == DriftReport((), ())
    assert state.tolist() == before.tolist()


def test_what_is_no_detector_no_state_and_no_error_is_refused() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    state = new_detector(DDM)
    for code, call in (
        ("unknown_detector", lambda: new_detector(0)),
        ("unknown_detector", lambda: watch(3, state, nothing)),
        ("wrong_tensors", lambda: watch(PAGE_HINKLEY, state, nothing)),
        ("not_an_error", lambda: watch(DDM, state, np.array([0, 1, 2]))),
        ("not_an_error", lambda: watch(DDM, state, np.array([0, -1]))),
    ):
        with pytest.raises(InvalidInputError) as refused:
            call()
        assert refused.value.code == code
    assert state.tolist() == new_detector(DDM).tolist()


def record_river() -> list[dict]:
    """Return streams with what River says of them, and our states at their ends."""
    # Imported here: the tests read what it said and do not need it.
    from river.drift import PageHinkley, binary

    streams = []
    for name, parts in STREAMS.items():
        for seed in range(SEEDS if 0 < parts[0][0] < 1 else 1):
            errors = make_errors(parts, seed)
            stream = {"name": f"{name} {seed}", "samples": len(errors)}
            stream["errors"] = np.packbits(errors.astype(np.uint8)).tobytes().hex()
            for kind, theirs in ((DDM, binary.DDM()), (PAGE_HINKLEY, PageHinkley(mode="up"))):
                found: dict[str, list[int]] = {"warnings": [], "drifts": []}
                warned = False
                for place, error in enumerate(errors.tolist()):
                    theirs.update(error)
                    warns = kind == DDM and theirs.warning_detected
                    if warns and not warned:
                        found["warnings"].append(place)
                    if theirs.drift_detected:
                        found["drifts"].append(place)
                    warned = warns
                state = new_detector(kind)
                watch(kind, state, errors)
                stream[DETECTOR_NAMES[kind]] = {"river": found, "state": state.tolist()}
            streams.append(stream)
    return streams


if __name__ == "__main__":
    VECTORS.write_text(json.dumps({"streams": record_river()}, separators=(",", ":")) + "\n")
