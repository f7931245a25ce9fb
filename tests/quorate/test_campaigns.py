"""Campaigns over REST, from a provider's first command to an audit of what was paid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quorate
from ledger.executor import BlockExecutor
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.store import LedgerStore
from node.api import routes_campaigns
from quorate.campaign_audit import audit_campaign
from quorate.campaign_records import CampaignRecord, CampaignSecrets
from quorate.errors import NotFoundError, RefusedError, TransactionFailedError
from tests.helpers import learning
from tests.helpers.api import ApiScene, run_api
from tests.helpers.learning import connect, make_rows

MARKET = quorate.Incentive("prediction_market")
PAY = quorate.Incentive("contribution_pay")
ROWS, LABELS = make_rows(60, seed=3)
PIECES = [(ROWS[place::6], LABELS[place::6]) for place in range(6)]
LENGTH_MS = 3_600_000
WAIT_MS = 600_000
DRAW_BLOCKS = 9


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiScene]:
    with run_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def alice(scene: ApiScene) -> quorate.Client:
    return connect(scene, scene.chain.network.accounts[0])


@pytest.fixture
def others(scene: ApiScene) -> list[quorate.Client]:
    return [connect(scene, account) for account in scene.chain.network.accounts[1:4]]


def open_campaign(client: quorate.Client, model: str, **changes: Any) -> CampaignSecrets:
    settings: dict[str, Any] = {
        "rule": "market_grouped",
        "bounty": 1_000,
        "stake": 10,
        "length_ms": LENGTH_MS,
        "reveal_wait_ms": WAIT_MS,
    }
    return client.campaigns.open(model, PIECES, **(settings | changes)).secrets


def wait_for_draw(scene: ApiScene) -> None:
    for _ in range(DRAW_BLOCKS):
        scene.run()


def pass_time(scene: ApiScene, duration_ms: int) -> None:
    now_ms = scene.chain.tip_header.timestamp_ms
    scene.run(timestamp_ms=now_ms + duration_ms)


def contribute_good_and_bad(model: str, clients: Sequence[quorate.Client]) -> None:
    rows, labels = make_rows(60, seed=8)
    clients[0].contribute(model, rows[:20], labels[:20])
    clients[1].contribute(model, rows[20:40], (labels[20:40] + 1) % 3)
    clients[0].contribute(model, rows[40:], labels[40:])


def restart(scene: ApiScene) -> None:
    """Go on with what the disk holds and nothing else, as a node does after a crash."""
    node = scene.node
    node.chain.store = LedgerStore(node.values)
    node.chain.executor = BlockExecutor(node.chain.store, node.chain.payloads)


def expect_code(code: str, call: Callable[[], object]) -> None:
    with pytest.raises((quorate.InvalidInputError, RefusedError, TransactionFailedError)) as caught:
        call()
    assert caught.value.code == code  # type: ignore[union-attr]


def test_a_market_is_opened_played_paid_and_computed_again(
    scene: ApiScene, alice: quorate.Client, others: list[quorate.Client]
) -> None:
    learning.create(alice, "market", incentive=MARKET)
    assert alice.model("market").raw["open_campaign"] is None
    expect_code("unknown_campaign", lambda: alice.campaigns.get("market"))
    expect_code("no_campaign", lambda: others[0].contribute("market", ROWS[:5], LABELS[:5]))
    secrets = open_campaign(alice, "market")
    assert alice.model("market").raw["open_campaign"] == 0
    begun = alice.campaigns.get("market")
    assert (begun.phase, begun.next_action, begun.deadline_ms) == ("draw", "wait_for_draw", None)
    assert "block at height" in begun.next_sentence
    expect_code("not_drawn", lambda: alice.campaigns.show_drawn(secrets))

    wait_for_draw(scene)
    drawn = alice.campaigns.get("market")
    assert drawn.next_action == "show_drawn_piece"
    assert drawn.deadline_ms is not None
    assert alice.campaigns.show_drawn(secrets).result["phase"] == "participation"
    taking = alice.campaigns.get("market")
    block_id = bytes.fromhex(taking.raw["draw"]["block_id"])
    assert taking.raw["draw"]["piece"] == secrets.find_drawn(block_id)
    assert "nobody has contributed" in taking.next_sentence
    # Asked too early, nothing happens, and that is no error.
    assert alice.campaigns.advance("market").phase == "participation"

    contribute_good_and_bad("market", others)
    listed = alice.campaigns.list()
    assert [(each.model, each.raw["contributors"]) for each in listed] == [("market", 2)]
    expect_code("not_settled", lambda: alice.campaigns.verify("market"))
    expect_code("wrong_phase", lambda: alice.campaigns.show_next(secrets))
    pass_time(scene, LENGTH_MS)
    assert others[2].campaigns.advance("market").next_action == "show_pieces"

    told: list[tuple[int, int]] = []
    shown = alice.campaigns.show_all(secrets, tell=lambda *numbers: told.append(numbers))
    assert len(shown) == len(PIECES) - 1
    assert told[0] == (1, 6)
    assert told[-1] == (5, 6)
    evaluated: list[tuple[int, int]] = []

    def note(campaign: CampaignRecord) -> None:
        progress = campaign.raw["progress"]
        evaluated.append((progress["items_done"], progress["items_estimated"]))

    settled = others[2].campaigns.advance("market", items=3, tell=note)
    assert settled.phase == "settled"
    assert evaluated[0][0] == 0
    # Every transaction but the last does three items, and they are counted as they are done.
    assert [done for done, _ in evaluated] == list(range(0, 3 * len(evaluated), 3))
    assert all(done <= estimated for done, estimated in evaluated)

    assert settled.next_hidden is None
    good, bad, more = settled.entries
    assert [good.kept, bad.kept, more.kept] == [True, False, True]
    assert (bad.payout, bad.value) == (0, Fraction(-10))
    assert sum(each.payout or 0 for each in settled.entries) + settled.returned == 1_030
    raw = settled.raw["entries"][0]
    assert abs(float(raw["value"]) - float(Fraction(raw["value_exact"]))) <= 5e-7
    assert settled.raw["progress"] is None
    assert alice.versions("market")[0].origin == "settled"
    audit = alice.campaigns.verify("market")
    assert audit.is_right
    assert audit.payouts == tuple(each.payout for each in settled.entries)
    assert alice.campaigns.list() == []
    # What is over stays as it is.
    assert alice.campaigns.advance("market") == settled


def test_a_restart_in_the_middle_of_an_evaluation_changes_nothing(
    scene: ApiScene, alice: quorate.Client, others: list[quorate.Client]
) -> None:
    payouts = []
    for model, crashes in (("steady", False), ("shaken", True)):
        learning.create(alice, model, incentive=PAY)
        secrets = open_campaign(alice, model, rule="shapley", min_contributions=3)
        # What a provider kept in a file is as good as what it was given.
        secrets = CampaignSecrets.from_json(secrets.to_json())
        wait_for_draw(scene)
        alice.campaigns.show_drawn(secrets)
        contribute_good_and_bad(model, others)
        assert alice.campaigns.advance(model).phase == "reveal"
        alice.campaigns.show_next(secrets)
        alice.campaigns.show_all(secrets)

        def crash(campaign: CampaignRecord, crashes: bool = crashes) -> None:
            if crashes:
                scene.call(_restart_soon, scene)

        settled = others[2].campaigns.advance(model, items=2, tell=crash)
        assert settled.phase == "settled"
        payouts.append([each.payout for each in settled.entries])
        assert alice.campaigns.verify(model, 0).is_right
    assert payouts[0] == payouts[1]


async def _restart_soon(scene: ApiScene) -> None:
    restart(scene)


def test_an_evaluation_is_counted_to_its_end(
    scene: ApiScene, alice: quorate.Client, others: list[quorate.Client]
) -> None:
    learning.create(alice, "counted", incentive=PAY)
    secrets = open_campaign(alice, "counted", rule="leave_one_out", min_contributions=3)
    wait_for_draw(scene)
    alice.campaigns.show_drawn(secrets)
    contribute_good_and_bad("counted", others)
    alice.campaigns.advance("counted")
    alice.campaigns.show_all(secrets)
    counts = []

    def note(campaign: CampaignRecord) -> None:
        progress = campaign.raw["progress"]
        counts.append((progress["items_done"], progress["items_estimated"], campaign.phase))
        assert progress["items_max"] == routes_campaigns.ITEMS_MAX

    alice.campaigns.advance("counted", items=1, tell=note)
    # Everybody, then without each of two: three starts, 3 + 1 + 2 trainings, five pieces each time;
    # then a start that finds nothing more, settling, and the contributions that are learnt.
    assert counts[0] == (0, 3 + 6 + 15 + 2 + 3, "evaluation")
    learnt = sum(phase == "learning" for *_, phase in counts)
    assert [done for done, *_ in counts] == list(range(len(counts)))
    assert counts[-1][1] == len(counts)
    assert 1 <= learnt <= 3


def test_a_provider_that_hides_or_finds_nobody_is_told_and_audited(
    scene: ApiScene, alice: quorate.Client, others: list[quorate.Client]
) -> None:
    learning.create(alice, "ends", incentive=MARKET)
    secrets = open_campaign(alice, "ends")
    wait_for_draw(scene)
    pass_time(scene, WAIT_MS)
    expect_code("too_late", lambda: alice.campaigns.show_drawn(secrets))
    withheld = others[0].campaigns.advance("ends")
    assert (withheld.phase, withheld.burnt, withheld.returned) == ("withheld", 100, 900)

    secrets = open_campaign(alice, "ends")
    wait_for_draw(scene)
    alice.campaigns.show_drawn(secrets)
    pass_time(scene, LENGTH_MS)
    assert others[0].campaigns.advance("ends").phase == "empty"

    secrets = open_campaign(alice, "ends", contributions_max=3)
    expect_code(
        "wrong_commitment",
        lambda: alice.campaigns.show_drawn(replace(secrets, pieces=secrets.pieces[::-1])),
    )
    wait_for_draw(scene)
    alice.campaigns.show_drawn(secrets)
    contribute_good_and_bad("ends", others)
    pass_time(scene, WAIT_MS)
    assert others[0].campaigns.advance("ends").phase == "not_revealed"

    campaigns = alice.campaigns.list("ends")
    assert [each.number for each in campaigns] == [2, 1, 0]
    assert [each.number for each in alice.campaigns.list("ends", 2)] == [2, 1]
    assert all(alice.campaigns.verify("ends", number).is_right for number in range(3))
    assert {each.next_action for each in campaigns} == {"none"}
    page = scene.get("/api/v1/models/ends/campaigns", limit=1)
    assert page["next_cursor"] is not None
    later = scene.get("/api/v1/models/ends/campaigns", limit=1, cursor=page["next_cursor"])
    assert later["items"][0]["campaign"] == 1


def test_an_audit_finds_whatever_is_not_as_the_rule_says(
    scene: ApiScene, alice: quorate.Client, others: list[quorate.Client]
) -> None:
    learning.create(alice, "audited", incentive=MARKET)
    secrets = open_campaign(alice, "audited", contributions_max=3)
    wait_for_draw(scene)
    alice.campaigns.show_drawn(secrets)
    contribute_good_and_bad("audited", others)
    alice.campaigns.show_all(secrets)
    settled = alice.campaigns.advance("audited")
    assert audit_campaign(settled, secrets.seed).is_right
    first, *rest = settled.entries
    measures = settled.raw["measures"]

    def find(campaign: CampaignRecord, seed: bytes | None = secrets.seed) -> str:
        return "; ".join(audit_campaign(campaign, seed).differences)

    def change(**raw: Any) -> CampaignRecord:
        return replace(settled, raw={**settled.raw, **raw})

    cheated = replace(settled, entries=(replace(first, payout=0, kept=False), *rest))
    assert "was paid: 0, by the rule" in find(cheated)
    assert "is kept: False, by the rule True" in find(cheated)
    assert "returned is 0" in find(replace(settled, returned=0))
    assert "burnt is 7, by the rule 0" in find(replace(settled, burnt=7))
    assert "which is not where it ends" in find(change(measures=[measures[0][:-1], *measures[1:]]))
    assert "which is not where it ends" in find(change(measures=[[], *measures[1:]]))
    assert "chains, which is not what" in find(change(measures=measures[:-1]))
    assert "chains, which is not what" in find(change(measures=[*measures, measures[-1]]))
    assert "no contributions" in find(replace(settled, entries=()))
    assert "the pieces hold 50" in find(change(test_samples=51))
    assert "not the one that was committed to" in find(settled, bytes(32))
    paid = tuple(
        replace(each, payout=10, value=Fraction(0), kept=False) for each in settled.entries
    )
    aborted = replace(settled, phase="aborted", entries=paid, returned=1_000)
    assert audit_campaign(aborted).is_right
    assert "returned is 999, by the rule 1000" in find(replace(aborted, returned=999))
    other = (settled.raw["draw"]["piece"] + 1) % len(PIECES)
    assert "was drawn" in find(change(draw={**settled.raw["draw"], "piece": other}))


def test_what_could_not_be_shown_is_not_committed_to(alice: quorate.Client) -> None:
    learning.create(alice, "sizes", incentive=MARKET)
    huge = Payload(bytes(32), bytes(600_000))
    expect_code("too_large", lambda: alice.campaigns.prepare("sizes", [huge, huge]))
    many, labels = np.repeat(ROWS, 20, axis=0), np.repeat(LABELS, 20)
    expect_code("too_many_samples", lambda: alice.campaigns.prepare("sizes", [(many, labels)]))
    expect_code("invalid_campaign", lambda: open_campaign(alice, "sizes", metric="loss"))
    expect_code("wrong_rule", lambda: open_campaign(alice, "sizes", rule="shapley"))
    for broken in ({}, {"format": "quorate-campaign-secrets", "version": 1, "seed": "00"}, []):
        expect_code("malformed", lambda broken=broken: CampaignSecrets.from_json(broken))
    kept = alice.campaigns.prepare("sizes", PIECES[:2]).to_json()
    for change in ({"seed": "00"}, {"pieces": [{"salt": "00", "payload": ""}]}, {"version": 2}):
        expect_code("malformed", lambda change=change: CampaignSecrets.from_json(kept | change))


def test_fewer_items_are_sent_where_a_quota_is_used_up(
    scene: ApiScene,
    alice: quorate.Client,
    others: list[quorate.Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learning.create(alice, "full", incentive=PAY)
    secrets = open_campaign(alice, "full", rule="leave_one_out", contributions_max=3)
    wait_for_draw(scene)
    alice.campaigns.show_drawn(secrets)
    contribute_good_and_bad("full", others)
    alice.campaigns.show_all(secrets)
    submit, asked = alice.campaigns._submit, []

    def be_full(kind: int, body: list[Any], data: Any) -> quorate.records.Transaction:
        asked.append(body[1])
        if body[1] > 300:
            failed = quorate.records.Transaction("00", "void", 1, "block_full", "", 0, {})
            raise TransactionFailedError(failed)
        return submit(kind, body, data)

    monkeypatch.setattr(alice.campaigns, "_submit", be_full)
    assert alice.campaigns.advance("full").phase == "settled"
    assert asked == [1024, 512, 256]


def test_questions_about_what_is_not_there_are_refused(
    scene: ApiScene, alice: quorate.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError) as refused:
        alice.campaigns.get("nobody", 0)
    assert refused.value.code == "unknown_model"
    learning.create(alice, "quiet", incentive=MARKET)
    with pytest.raises(NotFoundError) as refused:
        alice.campaigns.get("quiet", 4)
    assert refused.value.code == "unknown_campaign"
    assert scene.http.get("/api/v1/models/quiet/campaigns/-1").status_code == 400
    # A page of open ones is cut by how many models were looked at.
    monkeypatch.setattr(routes_campaigns, "MODELS_LOOKED_AT_MAX", 1)
    open_campaign(alice, "quiet")
    assert [each.model for each in alice.campaigns.list()] == ["quiet"]
    page = scene.get("/api/v1/campaigns")
    assert page["items"] == []
    assert page["next_cursor"] is not None


def test_an_evaluation_fits_into_a_small_quota(tmp_path: Path) -> None:
    quota = Parameters(compute_units_per_account_max=2_000_000)
    with run_api(tmp_path, parameters=quota) as scene:
        alice, *others = [connect(scene, each) for each in scene.chain.network.accounts[:4]]
        learning.create(alice, "slow", incentive=PAY)
        secrets = open_campaign(alice, "slow", rule="shapley", contributions_max=3)
        wait_for_draw(scene)
        alice.campaigns.show_drawn(secrets)
        contribute_good_and_bad("slow", others)
        alice.campaigns.show_all(secrets)
        items: list[int] = []

        def note(campaign: CampaignRecord) -> None:
            items.append(campaign.raw["progress"]["items_max"])

        # None of the transactions exceeds the quota, or this would raise.
        assert alice.campaigns.advance("slow", tell=note).phase == "settled"
        # What is left in the end fits whole.
        assert len(items) > 2
        assert max(items[:-1]) < 20


def test_a_campaign_that_somebody_else_ends_meanwhile_is_no_error(
    scene: ApiScene, alice: quorate.Client, others: list[quorate.Client]
) -> None:
    learning.create(alice, "raced", incentive=MARKET)
    open_campaign(alice, "raced")
    wait_for_draw(scene)
    pass_time(scene, WAIT_MS)

    def overtake(_campaign: CampaignRecord) -> None:
        others[1].campaigns.advance("raced")

    assert others[0].campaigns.advance("raced", tell=overtake).phase == "withheld"


def test_an_advance_that_fails_for_another_reason_says_so(
    scene: ApiScene,
    alice: quorate.Client,
    others: list[quorate.Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learning.create(alice, "failing", incentive=MARKET)
    open_campaign(alice, "failing")
    wait_for_draw(scene)
    pass_time(scene, WAIT_MS)

    def fail(*_arguments: Any) -> quorate.records.Transaction:
        raise TransactionFailedError(
            quorate.records.Transaction("00", "void", 1, "block_full", "", 0, {})
        )

    with monkeypatch.context() as patched:
        patched.setattr(others[0].campaigns, "_submit", fail)
        expect_code("block_full", lambda: others[0].campaigns.advance("failing"))
    assert others[0].campaigns.advance("failing").phase == "withheld"


def test_an_audit_without_the_transaction_that_showed_the_seed_goes_on(
    scene: ApiScene,
    alice: quorate.Client,
    others: list[quorate.Client],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learning.create(alice, "pruned", incentive=MARKET)
    secrets = open_campaign(alice, "pruned", contributions_max=3)
    wait_for_draw(scene)
    alice.campaigns.show_drawn(secrets)
    contribute_good_and_bad("pruned", others)
    alice.campaigns.show_all(secrets)
    alice.campaigns.advance("pruned")
    get = alice._connection.get

    def forget(path: str, parameters: Any = None) -> Any:
        if path.startswith("/api/v1/transactions/"):
            raise NotFoundError(404, "unknown_transaction", "it was before the snapshot")
        return get(path, parameters)

    monkeypatch.setattr(alice._connection, "get", forget)
    assert alice.campaigns.verify("pruned").is_right
