"""Karma through the executor: it is counted, fades, earns badges, and is shown on leaderboards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from incentives.karma import PARTS_MAX, PARTS_PER_POINT
from incentives.terms import HALF_LIFE_MS_MIN, Terms
from ledger.badge_records import badge_key, decode_earned_badge, list_badges
from ledger.karma import charge_karma, credit_karma
from ledger.karma_records import Karma, decode_karma, karma_key
from ledger.leaderboard import list_leaders, read_half_life
from ledger.model_policies import DEFAULT_POLICIES, GROWTH_POLICIES
from ledger.model_records import decode_model_progress, model_progress_key
from ledger.parameters import Parameters
from ledger.transactions.model_versions import ExtendModel
from ml_runtime.fixed_point import ONE
from ml_runtime.regions import find_regions
from ml_runtime.samples import DenseSamples
from ml_runtime.spec import make_spec
from primitives.errors import InvalidInputError
from primitives.fields import COUNTER_MAX
from tests.helpers.contributions import HIGH, LOW, Scene
from tests.helpers.probe_kind import ProbeKind, install_probe

DAY_MS = 86_400_000
POINTS = Terms("points", 0, 0, 0, 0)
HALVING = Terms("points", 0, 0, 0, 0, karma_half_life_ms=HALF_LIFE_MS_MIN)


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> ProbeKind:
    return install_probe(monkeypatch)


def badges_of(scene: Scene, account: int = 1) -> set[tuple[str, str]]:
    found = list_badges(scene.chain.store, scene.accounts[account].id, limit=100)
    return {(badge_id, model) for badge_id, model, _ in found}


def test_work_is_counted_on_the_model_and_overall() -> None:
    scene = Scene(POINTS)
    _, alice, bob, _ = scene.accounts
    scene.contribute(alice, [LOW, HIGH, LOW], [0, 1, 1])
    assert list(scene.refund(alice, 1, 0).data) == [1, 0, 1]
    assert list(scene.refund(alice, 1).data) == [1, 0, 1]
    assert list(scene.report(bob, 1).data) == [1, 0, 1]
    for model in ("shared", ""):
        karma = scene.karma(alice, model)
        assert (scene.points(alice, model), karma.valid, karma.contributions) == (2, 2, 1)
        assert (karma.models, karma.reported, karma.days.count) == (1, 0, 1)
        karma = scene.karma(bob, model)
        assert (scene.points(bob, model), karma.valid, karma.reported) == (1, 0, 1)
        assert (karma.models, karma.contributions, karma.days.count) == (0, 0, 0)
    assert scene.karma(alice).classes == 0b11
    assert scene.karma(alice).regions.bit_count() == 1
    overall = scene.karma(alice, "")
    assert (overall.classes, overall.regions, overall.sponsored) == (0, 0, 0)
    assert scene.contribution(1).validated == 2
    progress = scene.chain.store.read(model_progress_key("shared"), decode_model_progress)
    assert progress is not None
    assert progress.valid == 2


def test_deposits_earn_the_same_karma() -> None:
    scene = Scene(Terms("deposit_refund_take", 10, 0, 0, 0))
    scene.validate(scene.accounts[1], 3)
    karma = scene.karma(scene.accounts[1])
    assert (scene.points(scene.accounts[1]), karma.valid, karma.contributions) == (3, 3, 1)


def test_points_fade_and_counters_stay() -> None:
    scene = Scene(HALVING)
    alice = scene.accounts[1]
    scene.validate(alice, 4)
    scene.chain.run(timestamp_ms=scene.now_ms + HALF_LIFE_MS_MIN)
    scene.now_ms += HALF_LIFE_MS_MIN
    assert (scene.points(alice), scene.points(alice, "")) == (2, 4)
    scene.validate(alice, 1)
    # A millisecond more than the half-life has passed: the fraction shows in the parts alone.
    assert scene.karma(alice).parts // PARTS_PER_POINT == 2
    assert scene.karma(alice).parts == 3 * PARTS_PER_POINT - 25
    assert (scene.karma(alice).valid, scene.points(alice, "")) == (5, 5)


def test_karma_overall_fades_as_members_govern() -> None:
    scene = Scene(POINTS, parameters=Parameters(karma_half_life_ms=1_000))
    alice = scene.accounts[1]
    scene.validate(alice, 8)
    scene.chain.run(timestamp_ms=scene.now_ms + 2_000)
    scene.now_ms += 2_000
    assert (scene.points(alice), scene.points(alice, "")) == (8, 2)


def test_harm_costs_karma_and_nobody_falls_below_nothing(probe: ProbeKind) -> None:
    scene = Scene(POINTS)
    alice = scene.accounts[1]
    scene.validate(alice, 5)
    for charged, left in ((2, 3), (10**18, 0)):
        scene.perform(
            probe, lambda context, points=charged: charge_karma(context, alice.id, "shared", points)
        )
        assert (scene.points(alice), scene.points(alice, "")) == (left, left)
    assert scene.karma(alice).valid == 5


def test_karma_beyond_what_can_be_counted_is_cut_off(probe: ProbeKind) -> None:
    scene = Scene(POINTS)
    alice = scene.accounts[1].id

    def credit(context) -> None:
        credit_karma(context, alice, "shared", points=COUNTER_MAX, valid=COUNTER_MAX)
        credit_karma(context, alice, "shared", points=1, valid=0)

    assert scene.perform(probe, credit).code == "ok"
    karma = scene.karma(scene.accounts[1])
    assert (karma.parts, karma.valid) == (PARTS_MAX, COUNTER_MAX)


def test_points_can_be_earned_on_what_is_no_model(probe: ProbeKind) -> None:
    scene = Scene(POINTS)
    alice = scene.accounts[1]
    receipt = scene.perform(
        probe, lambda context: credit_karma(context, alice.id, "none", points=3, valid=0)
    )
    assert receipt.code == "ok"
    assert (scene.points(alice, "none"), scene.points(alice, "")) == (3, 3)
    assert read_half_life(scene.chain.store, "none") == 0


def test_days_are_those_of_contributions_and_count_once() -> None:
    scene = Scene(Terms("points", 0, 0, DAY_MS, DAY_MS))
    alice = scene.accounts[1]
    to_midnight = DAY_MS - scene.now_ms % DAY_MS
    scene.contribute(alice, [LOW, LOW], [0, 0], after_ms=to_midnight)
    scene.contribute(alice, [LOW], [0])
    scene.contribute(alice, [LOW], [0], after_ms=DAY_MS)
    # Refunds come later, the last one first, and of one contribution in two parts on two days.
    scene.refund(alice, 3)
    scene.refund(alice, 1, 0)
    scene.refund(alice, 1, 1, after_ms=DAY_MS)
    scene.refund(alice, 2)
    days = scene.karma(alice).days
    assert (days.count, days.longest_streak, days.recent) == (2, 2, 0b11)
    assert days.last == scene.contribution(3).timestamp_ms // DAY_MS
    assert scene.karma(alice).contributions == 3


def test_badges_are_recorded_with_the_transaction_that_earns_them() -> None:
    scene = Scene(POINTS)
    alice = scene.accounts[1]
    scene.validate(alice, 99)
    first = ("first-validated", "")
    assert badges_of(scene) == {first}
    scene.validate(alice, 1)
    assert badges_of(scene) == {first, ("hundred-validated", "shared")}
    key = badge_key(alice.id, "hundred-validated", "shared")
    earned = scene.chain.store.read(key, decode_earned_badge)
    assert earned is not None
    assert earned.height == scene.chain.tip_header.height
    assert earned.timestamp_ms == scene.now_ms
    scene.validate(alice, 1)
    assert scene.chain.store.read(key, decode_earned_badge) == earned
    assert (scene.karma(alice).badges, scene.karma(alice, "").badges) == (1, 2)


def test_badge_stays_when_the_model_grows_beyond_it() -> None:
    scene = Scene(POINTS)
    owner, alice = scene.accounts[:2]
    growth = GROWTH_POLICIES.index("owner")
    scene.create("growing", POINTS, policies=replace(DEFAULT_POLICIES, growth=growth))
    scene.contribute(alice, [LOW, HIGH], [0, 1], model="growing")
    scene.refund(alice, 1, model="growing")
    badge = ("all-classes", "growing")
    assert badge in badges_of(scene)
    key = badge_key(alice.id, *badge)
    earned = scene.chain.store.read(key, decode_earned_badge)
    assert scene.send(owner, "extend_model", ExtendModel("growing", ("third",), 2)).code == "ok"
    scene.validate(alice, 1, model="growing")
    assert scene.chain.store.read(key, decode_earned_badge) == earned
    assert scene.karma(alice, "growing").badges == 1


def test_polymath_has_samples_validated_on_five_models() -> None:
    scene = Scene(POINTS)
    alice = scene.accounts[1]
    names = ["shared", "second", "third", "fourth", "fifth"]
    for name in names[1:]:
        scene.create(name, POINTS)
    for name in names:
        assert ("polymath", "") not in badges_of(scene)
        scene.validate(alice, 1, model=name)
        scene.validate(alice, 1, model=name)
    assert ("polymath", "") in badges_of(scene)
    assert scene.karma(alice, "").models == 5


def test_explorer_is_earned_by_variety() -> None:
    scene = Scene(POINTS)
    alice = scene.accounts[1]
    scene.create("wide", POINTS, spec=make_spec("nearest_centroid", "dense", 64, 2))
    rows = np.random.default_rng(3).integers(-ONE, ONE, size=(400, 64))
    assert (
        scene.contribute(alice, [list(row) for row in rows], [0] * 400, model="wide").code == "ok"
    )
    assert scene.refund(alice, 1, 0, model="wide").code == "ok"
    assert scene.karma(alice, "wide").regions == 1 << int(find_regions(DenseSamples(rows))[0])
    assert ("explorer", "wide") not in badges_of(scene)
    scene.refund(alice, 1, model="wide")
    assert scene.karma(alice, "wide").regions.bit_count() >= 32
    assert ("explorer", "wide") in badges_of(scene)


def test_watchful_is_earned_by_reports() -> None:
    scene = Scene(POINTS)
    owner, _, bob, _ = scene.accounts
    scene.contribute(owner, [LOW] * 100, [0] * 100)
    scene.contribute(owner, [HIGH] * 10, [0] * 10)
    assert list(scene.report(bob, 2, *range(9)).data) == [9, 0, 9]
    assert badges_of(scene, 2) == set()
    assert list(scene.report(bob, 2).data) == [1, 0, 1]
    assert badges_of(scene, 2) == {("watchful", "")}


def test_sparse_samples_and_numbers_show_their_regions_too() -> None:
    scene = Scene(POINTS)
    alice = scene.accounts[1]
    scene.create("sparse", POINTS, spec=make_spec("nearest_centroid", "sparse", 2, 2))
    scene.contribute(alice, [LOW, HIGH], [0, 1], model="sparse", layout="sparse")
    assert scene.refund(alice, 1, model="sparse").code == "ok"
    assert scene.karma(alice, "sparse").regions
    numbers = make_spec("linear_regression", "dense", 2, 0)
    scene.create("numbers", POINTS, spec=numbers, class_names=())
    scene.contribute(alice, [LOW], [0], model="numbers", kind="values")
    assert scene.refund(alice, 1, model="numbers").code == "ok"
    karma = scene.karma(alice, "numbers")
    assert (karma.classes, karma.valid) == (0, 1)
    assert karma.regions


def test_leaderboard_shows_current_points() -> None:
    scene = Scene(HALVING)
    early, late = scene.accounts[1:3]
    scene.validate(early, 6)
    scene.chain.run(timestamp_ms=scene.now_ms + HALF_LIFE_MS_MIN)
    scene.now_ms += HALF_LIFE_MS_MIN
    scene.validate(late, 5)
    store = scene.chain.store
    board = list_leaders(store, "shared", limit=10)
    assert [(leader.account, leader.points) for leader in board.leaders] == [
        (late.id, 5),
        (early.id, 2),
    ]
    assert board.is_complete
    overall = list_leaders(store, limit=1)
    assert [(leader.account, leader.points) for leader in overall.leaders] == [(early.id, 6)]


def test_leaderboard_of_a_model_breaks_ties_by_account() -> None:
    scene = Scene(POINTS, accounts=6)
    scene.create("other", POINTS)
    accounts = scene.accounts
    for account in accounts[1:5]:
        scene.validate(account, 100)
    scene.validate(accounts[5], 200, model="other")
    board = list_leaders(scene.chain.store, "shared", limit=3)
    expected = sorted(account.id for account in accounts[1:5])[:3]
    assert [leader.account for leader in board.leaders] == expected
    first = board.leaders[0]
    assert (first.points, first.valid, first.reported, first.badges) == (100, 100, 0, 1)
    overall = list_leaders(scene.chain.store, limit=1).leaders[0]
    assert (overall.account, overall.points, overall.badges) == (accounts[5].id, 200, 2)
    assert list_leaders(scene.chain.store, "unknown", limit=3).leaders == ()


def test_leaderboard_says_when_it_did_not_look_at_everybody() -> None:
    scene = Scene(POINTS)
    for account in scene.accounts[1:]:
        scene.validate(account, 1)
    board = list_leaders(scene.chain.store, limit=10, records_max=5)
    assert not board.is_complete
    assert len(board.leaders) == 3
    assert list_leaders(scene.chain.store, limit=10, records_max=6).is_complete


def test_refund_is_metered_for_the_regions_it_looks_up() -> None:
    scene = Scene(POINTS)
    alice, bob = scene.accounts[1:3]
    scene.contribute(alice, [LOW] * 100, [0] * 50 + [1] * 50)
    refund, report = scene.refund(alice, 1, 0), scene.report(bob, 1, 99)
    assert refund.compute_units - report.compute_units >= 40_000 + 64 * 100


def test_judging_one_sample_is_metered_for_all_that_is_read_and_written() -> None:
    scene = Scene(POINTS)
    alice, bob = scene.accounts[1:3]
    scene.contribute(alice, [LOW, LOW], [0, 1])
    refund, report = scene.refund(alice, 1, 0), scene.report(bob, 1, 1)
    unknown = scene.refund(alice, 7), scene.report(bob, 7)
    for found, missing, least in zip((refund, report), unknown, (140_000, 100_000), strict=True):
        assert (found.code, missing.code) == ("ok", "unknown_contribution")
        assert least < found.compute_units - missing.compute_units < least + 1_000


def test_karma_comes_back_from_the_state(probe: ProbeKind) -> None:
    scene = Scene(POINTS)
    alice = scene.accounts[1]
    scene.validate(alice, 3)
    karma = scene.karma(alice)
    assert decode_karma(karma.encode()) == karma
    assert scene.chain.store.get(karma_key(alice.id, "shared")) == karma.encode()
    with pytest.raises(InvalidInputError):
        decode_karma(Karma(parts=PARTS_MAX + 1).encode())


def test_leaders_and_badges_are_read_as_of_an_earlier_block() -> None:
    scene = Scene(POINTS)
    alice = scene.accounts[1]
    scene.validate(alice, 3)
    store = scene.chain.store
    before = store.tip().height
    scene.validate(alice, 2)
    assert list_leaders(store, "shared", height=before, limit=9).leaders[0].points == 3
    assert list_leaders(store, "shared", limit=9).leaders[0].points == 5
    every = list_badges(store, alice.id, limit=9)
    assert list_badges(store, alice.id, height=0, limit=9) == []
    last = badge_key(alice.id, *every[0][:2])
    assert list_badges(store, alice.id, start_after=last, limit=9) == every[1:]
