"""What people type about karma, thanks and sponsors, against a real API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import quorate
from ledger.transaction import Signature, TransactionContent, compute_signing_hash
from node.commands import contributions, sponsors
from node.commands.terms_wording import describe_duration, describe_terms
from primitives.accounts import account_to_text
from quorate import bodies
from quorate.records import Transaction
from quorate.sponsorship import SponsorRequest
from tests.helpers.api import ApiScene, run_api
from tests.helpers.commands import Run, ask_json, make_runner, save_keys
from tests.helpers.learning import CLASS_NAMES, connect, create, make_rows
from tests.helpers.ledger import make_account

ROWS, LABELS = make_rows(12)
NEWCOMER = make_account("newcomer")
TERMS = quorate.Incentive(
    *("deposit_refund_take", 1, 0, 0, 0),
    sponsored_samples_max=6,
    karma_price=100,
    karma_percent_max=50,
    karma_half_life_ms=30 * bodies.DAY_MS,
    voluntary_fee=70,
)
MODEL_FILE = """
name = "described"
family = "nearest_centroid"
feature_count = 6
class_names = ["left", "middle", "right"]
[incentive]
mechanism = "deposit_refund_take"
weight = 1
refund_wait_ms = 7200000
owner_wait_ms = 86400000
any_wait_ms = 172800000
sponsored_samples_max = 0
karma_price = 100
karma_percent_max = 50
karma_half_life_ms = 2592000000
voluntary_fee = 70
"""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    """Run an API with a model that alice has taught 8 validated samples."""
    with run_api(tmp_path) as running:
        alice = connect(running, running.chain.network.accounts[0])
        create(alice, incentive=TERMS)
        create(alice, "free", incentive=quorate.Incentive("points", 0, 0, 0, 0))
        sequence = alice.contribute("sides", ROWS[:8], LABELS[:8]).result["sequence"]
        alice.refund("sides", sequence)
        yield running


@pytest.fixture
def run(scene: ApiScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    names = {"alice": "account 0", "bob": "account 1", "newcomer": "newcomer"}
    return make_runner(scene, save_keys(tmp_path, names), monkeypatch)


def name(scene: ApiScene, place: int) -> str:
    return account_to_text(scene.chain.network.accounts[place].id)


def write_samples(file: Path, count: int) -> Path:
    lines = [
        ",".join([*(f"{value:.4f}" for value in row), CLASS_NAMES[label]])
        for row, label in zip(ROWS[:count], LABELS[:count], strict=True)
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_leaders_and_badges_are_shown(scene: ApiScene, run: Run) -> None:
    alice = name(scene, 0)
    board = run("leaderboard", "--model", "sides").splitlines()
    assert board[1].split() == ["1", alice, "8", "8", "0", "1"]
    assert ask_json(run, "leaderboard")[0]["account"] == alice
    assert "nobody has karma yet" in run("leaderboard", "--model", "free")
    run("leaderboard", "--model", "none", code=4, says="unknown_model")
    assert "Hundred" in run("badges")
    assert ask_json(run, "badges")[0]["badge"] == "first-validated"
    held = run("badges", alice)
    assert "First step   all work" in held
    assert "All-rounder  sides" in held
    assert len(ask_json(run, "badges", alice)) == 2
    assert "no badges yet" in run("badges", name(scene, 1))
    shown = run("account", alice)
    assert "validated samples    8" in shown
    assert "badges               2" in shown


def test_a_model_is_supported_and_its_teacher_collects(run: Run) -> None:
    shown = run("model", "support", "sides", key=None)
    assert "the owner suggests 70" in shown
    assert "0 were paid so far" in shown
    run("model", "support", "sides", 40, code=2, says="paying needs a --key", key=None)
    assert "validated_samples    8" in run("model", "support", "sides", 40, key="bob")
    assert "40 are yours" in run("model", "support", "sides")
    assert ask_json(run, "model", "support", "sides", key="bob")["owed"] == 0
    assert "paid                 40" in run("model", "collect-support", "sides")
    run("model", "collect-support", "sides", code=4, says="nothing_to_collect")
    run("model", "support", "free", 1, code=4, says="no_valid_contributions")
    assert "the owner suggests nothing" in run("model", "support", "free", key=None)


def test_a_model_with_every_term_is_created_and_read_in_words(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(MODEL_FILE)
    run("model", "create", tmp_path / "model.toml")
    shown = run("model", "show", "described")
    for sentence in (
        "incentive  deposit_refund_take, weight 1: a deposit of up to 3,600 for a sample",
        "waits      refund 2 h, owner 1 day, anybody 2 days",
        "karma      halves in 30 days; a point stands in for 100 of a deposit, for at most 50 %",
        "sponsors   may pay nobody's deposits",
        "support    a voluntary fee of 70 is suggested",
    ):
        assert sentence in shown
    (tmp_path / "model.toml").write_text(MODEL_FILE.replace("voluntary_fee", "tip"))
    run("model", "create", tmp_path / "model.toml", code=1, says="tip")


def test_terms_are_put_into_words() -> None:
    words = dict(describe_terms(quorate.Incentive()))
    assert words["karma"] == "never fades, and cannot stand in for deposits"
    assert words["sponsors"] == "may pay deposits of 1,000 samples of each contributor"
    assert words["support"] == "no voluntary fee is suggested"
    market = dict(describe_terms(quorate.Incentive("prediction_market")))
    assert "in campaigns" in market["incentive"]
    assert [describe_duration(each) for each in (0, 1_500, 3_600_000, bodies.DAY_MS)] == [
        *("0 s", "1.5 s", "1 h", "1 day")
    ]


def test_karma_is_staked_and_spread_over_the_batches(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.commands.contributions.BATCH_SAMPLES", 3)
    file = write_samples(tmp_path / "five.csv", 5)
    sent = ask_json(run, "contribute", "sides", file, "--karma", 5)
    assert [each["result"]["karma_per_sample"] for each in sent] == [1, 1]
    table = run("contribute", "sides", file, "--karma", 0).splitlines()
    assert [line.split()[-1] for line in table] == ["karma", "0", "0"]
    run("contribute", "sides", file, "--karma", 50, code=4, says="insufficient_karma")


def test_a_sponsor_looks_signs_and_pays(scene: ApiScene, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    samples = write_samples(tmp_path / "four.csv", 4)
    asked = run(
        *("contribute", "sides", samples, "--ask-sponsor", name(scene, 1), "--save", file),
        key="newcomer",
    )
    assert "send nothing else from this account" in asked
    assert file.stat().st_mode & 0o777 == 0o600
    shown = run("sponsor", "show", file, key=None)
    assert "4 samples to 'sides'" in shown
    assert "deposit of at most 14,400" in shown
    assert "it can be sent for" in shown
    described = ask_json(run, "sponsor", "show", file)["contribution"]
    assert sum(described["labels"].values()) == 4
    assert described["first_samples"][0] == pytest.approx(ROWS[0].tolist(), abs=0.001)

    says = f"asks {name(scene, 1)} to pay, this account is {name(scene, 0)}"
    run("sponsor", "sign", file, code=1, says=says)
    done = run("sponsor", "sign", file, key="bob", says="4 samples to 'sides'")
    assert "samples              4" in done
    assert "it cannot be sent: it was sent already" in run("sponsor", "show", file)
    run(
        *("contribute", "sides", samples, "--ask-sponsor", name(scene, 1), "--save", file),
        key="newcomer",
        code=1,
        says="never written over",
    )
    other = tmp_path / "other.json"
    more = write_samples(tmp_path / "more.csv", 3)
    run(
        *("contribute", "sides", more, "--karma", 1),
        *("--ask-sponsor", name(scene, 1), "--save", other),
        key="newcomer",
    )
    assert "stakes up to 1 points" in run("sponsor", "show", other)
    run("sponsor", "sign", other, key="bob", code=4, says="sponsor_limit")


def test_nothing_is_sent_before_the_sponsor_has_said_yes(
    scene: ApiScene, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "request.json"
    samples = write_samples(tmp_path / "four.csv", 4)
    run(
        *("contribute", "sides", samples, "--ask-sponsor", name(scene, 1), "--save", file),
        key="newcomer",
    )
    answers = ["n", "Y"]
    monkeypatch.setattr(sponsors, "is_terminal", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: answers.pop(0))
    run("sponsor", "sign", file, key="bob", code=1, says="nothing was sent")
    assert scene.chain.account(NEWCOMER.id).nonce == 0
    assert ask_json(run, "sponsor", "sign", file, "--sure", key="bob")["status"] == "ok"
    assert scene.chain.account(NEWCOMER.id).nonce == 1


def make_request(scene: ApiScene, **changes: Any) -> SponsorRequest:
    network = scene.chain.network
    fields: dict[str, Any] = {
        "chain_id": network.chain_id,
        "sender": NEWCOMER.id,
        "nonce": 0,
        "valid_until_height": 100,
        "fee_limit": 5,
        "sponsor": network.accounts[1].id,
        "kind": bodies.TRANSFER,
        "body": [network.accounts[0].id, 7],
    }
    content = TransactionContent(**{**fields, **changes})
    signature = NEWCOMER.key.sign(compute_signing_hash(content, None))
    return SponsorRequest(content, None, Signature(NEWCOMER.key.public_key, signature))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "it can be sent for"),
        ({"chain_id": bytes(32)}, "it is for the chain 0000"),
        ({"nonce": 4}, "its nonce is 4, the next one of its sender 0"),
        ({"valid_until_height": 2}, "it was valid until height 2"),
        ({"sender": make_account("account 0").id}, "not signed with the key of its sender"),
    ],
)
def test_other_requests_are_shown_with_what_is_in_their_way(
    scene: ApiScene, run: Run, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(make_request(scene, **changes).to_json()))
    shown = run("sponsor", "show", file)
    assert says in shown
    assert "to pay for: transfer" in shown
    assert "amount=7" in shown


def test_samples_are_shown_as_far_as_people_read(
    scene: ApiScene, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = connect(scene, scene.chain.network.accounts[0])
    create(alice, "words", layout="sparse")
    create(alice, "numbers", family="linear_regression", class_names=())
    file = tmp_path / "request.json"
    newcomer = connect(scene, NEWCOMER)
    rows = [[0, 1, 0, 2, 0, 0], [0, 0, 3, 0, 0, 0]]
    for model, labels in (("words", ["left", "right"]), ("numbers", [0.5, 1.5])):
        request = newcomer.sponsorship.ask(name(scene, 1), model, rows, labels)
        file.write_text(json.dumps(request.to_json()))
        shown = run("sponsor", "show", file)
        assert ("labels" in shown) == (model == "words")
        assert ("sample 0: 1, 2\n" in shown) == (model == "words")
    monkeypatch.setattr(sponsors, "FEATURES_SHOWN", 2)
    assert "sample 1: 0, 0, …" in run("sponsor", "show", file)


def test_targets_that_are_no_numbers_are_refused_with_their_place(
    scene: ApiScene, run: Run, tmp_path: Path
) -> None:
    alice = connect(scene, scene.chain.network.accounts[0])
    create(alice, "numbers", family="linear_regression", class_names=())
    file = tmp_path / "targets.csv"
    file.write_text("1,0,0,0,0,0,0.5\n1,0,0,0,0,0,high\n")
    run("contribute", "numbers", file, code=1, says="sample 2: the last column must be a number")
    file.unlink()
    run("contribute", "numbers", file, code=1, says=f"{file}: No such file or directory")


def test_batches_that_were_sent_before_one_failed_are_told(
    scene: ApiScene, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contributions, "BATCH_SAMPLES", 2)
    file = tmp_path / "samples.csv"
    pairs = zip(ROWS[8:], LABELS[8:], strict=True)
    rows = [",".join([*map(str, row), CLASS_NAMES[label]]) for row, label in pairs]
    file.write_text("\n".join(rows) + "\n")
    send = quorate.Client.contribute
    seen: list[int] = []

    def fail_later(self: quorate.Client, *arguments: Any, **options: Any) -> Transaction:
        seen.append(len(arguments[1]))
        return send(
            self, *arguments, **(options | {"max_deposit": 0} if len(seen) > 1 else options)
        )

    monkeypatch.setattr(quorate.Client, "contribute", fail_later)
    text = run(
        *("contribute", "sides", file),
        code=4,
        says="samples from number 3 on are not contributed",
    )
    assert len(text.splitlines()) == 2


def test_what_is_no_request_is_refused_in_a_sentence(
    scene: ApiScene, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "request.json"
    run("sponsor", "show", file, code=1, says="is no request to a sponsor")
    file.write_text("[1")
    run("sponsor", "show", file, code=1, says="is no request to a sponsor")
    file.write_text("[]")
    run("sponsor", "show", file, code=1, says="cannot be read")
    file.write_text(json.dumps(make_request(scene, kind=999).to_json()))
    run("sponsor", "show", file, code=1, says="kind 999, which this release does not know")
    forged = replace(make_request(scene), payload=None)
    forged = replace(forged, content=replace(forged.content, fee_limit=9))
    file.write_text(json.dumps(forged.to_json()))
    run("sponsor", "show", file, code=1, says="not signed by its sender")
    monkeypatch.setattr(sponsors, "REQUEST_BYTES_MAX", 10)
    run("sponsor", "show", file, code=1, says="longer than 10 bytes")

    samples = write_samples(tmp_path / "four.csv", 4)
    alone = "--ask-sponsor and --save go together"
    run("contribute", "sides", samples, "--save", tmp_path / "x", code=2, says=alone)
    run("contribute", "sides", samples, "--ask-sponsor", name(scene, 1), code=2, says=alone)
    many = tmp_path / "many.csv"
    many.write_text(samples.read_text() * 300)
    run(
        *("contribute", "sides", many, "--ask-sponsor", name(scene, 1), "--save", tmp_path / "x"),
        code=1,
        says="holds 1200 samples, a request is one contribution of at most 1024",
    )
