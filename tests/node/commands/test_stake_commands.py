"""What people type about stakes, against a real API: text, JSON, exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.transactions.evidence import ReportEvidence
from node.commands.stakes import parse_percent
from primitives.accounts import account_to_text
from primitives.errors import InvalidInputError
from tests.helpers.api import ApiScene, run_api
from tests.helpers.commands import Run, ask_json, make_runner, save_keys
from tests.helpers.evidence import make_evidence
from tests.helpers.ledger import INITIAL_BALANCE, make_account, make_transaction
from tests.helpers.staking import STAKING_PARAMETERS

VALIDATOR = account_to_text(make_account("member 0").id)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path, parameters=STAKING_PARAMETERS) as running:
        yield running


@pytest.fixture
def run(scene: ApiScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    names = {"alice": "account 0", "bob": "account 1", "validator": "member 0"}
    return make_runner(scene, save_keys(tmp_path, names), monkeypatch)


def grow(scene: ApiScene, height: int) -> None:
    while scene.node.height < height:
        scene.run()


def test_a_stake_goes_from_the_shell_and_comes_back(scene: ApiScene, run: Run) -> None:
    alice = account_to_text(scene.chain.network.accounts[0].id)
    assert "nothing staked" in run("stake", "mine")
    assert "paid                 500" in run("stake", "add", "member-0", 500)
    assert ask_json(run, "stake", "add", VALIDATOR, 100)["result"]["shares"] == "100"
    mine = run("stake", "mine")
    assert mine.splitlines()[0] == f"{alice} at height 2"
    assert mine.splitlines()[2].split() == ["member-0", "600", "600"]

    first = ask_json(run, "stake", "remove", "member-0", "--shares", 200)
    assert (first["withdrawable_height"], first["result"]["tokens"]) == (41, "200")
    assert "400 left the pool at height 4" in run("stake", "remove", "member-0")
    run("stake", "remove", "member-0", code=4, says="nothing of yours is staked on member-0")
    run("stake", "remove", "member-0", "--shares", 1, code=4, says="has 0 shares")
    nothing = "nothing can be withdrawn yet: 600 of member-0 from height 41 on, now 6"
    run("stake", "withdraw", code=4, says=nothing)
    run("stake", "withdraw", code=4, says="nothing is on its way out", key="bob")
    assert "from height 41 on" in run("stake", "mine", alice, key=None)

    grow(scene, 40)
    run("stake", "withdraw", "member-1", code=4, says="nothing is on its way out")
    assert run("stake", "mine").splitlines()[-1].split()[-1] == "now"
    assert run("stake", "withdraw", "member-0").splitlines()[1].split() == [
        *("member-0", "0", "41", "600")
    ]
    assert ask_json(run, "account", alice)["balance"] == INITIAL_BALANCE
    assert ask_json(run, "stake", "mine")["unbondings"] == []


def test_pools_are_listed_with_what_a_delegator_should_know(scene: ApiScene, run: Run) -> None:
    assert "no pools yet" in run("stake", "list")
    run("stake", "add", "member-0", 500)
    announced = run("stake", "commission", "2.5", key="validator")
    assert "basis_points         250" in announced
    shown = run("stake", "show", "member-0")
    assert "commission  100 %, 2.5 % from epoch 1 on" in shown
    assert "staked      500 for 500 shares, each worth 1.000000" in shown
    assert "has a seat" in shown
    assert "staked      nothing" in run("stake", "show", "member-3")
    listed = run("stake", "list").splitlines()
    assert listed[1].split()[:4] == ["member-0", "500", "1.000000", "100"]
    assert "shared at height 10, now 2" in listed[-1]
    answer = ask_json(run, "stake", "list")
    assert (answer["pools"][0]["tokens"], answer["rewards"]["epoch"]) == (500, 0)
    grow(scene, 10)
    assert "commission  2.5 %" in run("stake", "show", VALIDATOR)
    assert ask_json(run, "stake", "show", "member-0")["blocks"] == 10


def test_a_slashed_pool_says_so(scene: ApiScene, run: Run) -> None:
    run("stake", "add", "member-3", 500)
    evidence = ReportEvidence(make_evidence(scene.chain)).to_fields()
    member = make_account("member 1")
    network = scene.chain.network
    scene.run([make_transaction(network, member, "report_evidence", evidence, nonce=0)])
    shown = ask_json(run, "stake", "show", "member-3")
    percent = STAKING_PARAMETERS.slash_percent
    assert (shown["is_tombstoned"], shown["slashed"]) == (True, 500 * percent // 100)
    assert "state       slashed for good" in run("stake", "show", "member-3")
    run("stake", "add", "member-3", 500, code=4, says="not_a_validator")
    assert ask_json(run, "stake", "mine")["delegations"][0]["tokens"] == 500 - shown["slashed"]
    assert int(scene.get("/api/v1/supply")["burnt"]) > 0


def test_what_goes_wrong_is_said_in_a_sentence(run: Run) -> None:
    run("stake", "add", "nobody", 5, code=1, says="no member is called 'nobody'; validators are")
    run("stake", "add", "member-0", 2 * INITIAL_BALANCE, code=4, says="insufficient_balance")
    run("stake", "add", "member-0", 0, code=2)
    run("stake", "commission", "5", code=4, says="not_a_validator")
    run("stake", "commission", "101", code=1, says="0 to 100 percent")
    run("stake", "show", "qr1nonsense", code=4, says="'qr1nonsense' is no account, qr1…: bech32m")
    for amount in (2**63, 2**64):
        run("stake", "add", "member-0", amount, code=2, says="9223372036854775807")
        run("stake", "remove", "member-0", "--shares", amount, code=2, says="9223372036854775807")
        run("transfer", "qr1nonsense", amount, code=2, says="9223372036854775807")
    run("stake", "mine", code=1, says="name an account, or give a --key", key=None)


@pytest.mark.parametrize(
    ("text", "basis_points"), [("0", 0), ("100", 10_000), ("7.5%", 750), ("0.05", 5), ("3.10", 310)]
)
def test_percentages_are_read_exactly(text: str, basis_points: int) -> None:
    assert parse_percent(text) == basis_points


@pytest.mark.parametrize("text", ["", "-1", "100.01", "1.234", "1e1", "a", "1.", ".5", "١"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="0 to 100 percent"):
        parse_percent(text)
