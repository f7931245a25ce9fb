"""Status, blocks and accounts over REST, and the form of every error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.api import app as app_module
from primitives.accounts import account_to_text
from tests.helpers.api import ApiScene, run_api
from tests.helpers.ledger import INITIAL_BALANCE


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[ApiScene]:
    with run_api(tmp_path) as running:
        yield running


def pay(scene: ApiScene, amount: int) -> None:
    alice, bob = scene.chain.network.accounts[:2]
    scene.run([scene.chain.transfer(alice, bob.id, amount)])


def test_status_names_the_chain_its_tip_and_the_node(scene: ApiScene) -> None:
    pay(scene, 5)
    status = scene.get("/api/v1/status")
    tip = scene.chain.store.tip()
    assert status["chain_id"] == scene.chain.network.chain_id.hex()
    assert status["chain_name"] == "test-chain"
    assert (status["height"], status["block_id"]) == (1, tip.block_id.hex())
    assert status["state_root"] == tip.state_root.hex()
    assert status["validators"] == 4
    assert status["parameters"]["unfinal_blocks_max"] == 8
    assert status["is_ready"] is True
    assert status["node"]["name"] == "member-0"


def test_without_a_node_status_still_shows_the_chain(scene: ApiScene) -> None:
    scene.call(scene.node.feed.stop)
    status = scene.get("/api/v1/status")
    assert status["node"] is None
    assert status["is_ready"] is False


def test_liveness_and_readiness(scene: ApiScene) -> None:
    assert scene.get("/livez") == {"live": True}
    ready = scene.get("/readyz")
    assert ready["ready"] is True
    assert all(ready["checks"].values())
    scene.call(scene.node.feed.stop)
    response = scene.http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["node_connected"] is False
    assert scene.get("/livez") == {"live": True}


def test_a_node_that_is_catching_up_is_not_ready(scene: ApiScene) -> None:
    scene.node.is_catching_up = True
    response = scene.http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["node_synced"] is False


def test_before_the_first_state_reads_are_not_ready(scene: ApiScene) -> None:
    scene.service.follower.close()
    for path in ("/api/v1/status", "/api/v1/blocks", "/api/v1/blocks/0"):
        response = scene.http.get(path)
        assert (response.status_code, response.json()["code"]) == (503, "not_ready")
        assert "Block-Height" not in response.headers


def test_a_block_shows_its_transactions_and_may_be_kept_for_ever(scene: ApiScene) -> None:
    pay(scene, 5)
    response = scene.http.get("/api/v1/blocks/1")
    block = response.json()
    assert block["height"] == 1
    assert block["parent_id"] == scene.get("/api/v1/blocks/0")["block_id"]
    assert block["time"] == "2023-11-14T22:13:21.000Z"
    assert block["transaction_count"] == 1
    assert block["transactions"][0]["kind"] == "transfer"
    assert block["transactions"][0]["status"] == "ok"
    assert block["certificate"]["signers"] == [0, 1, 2]
    assert block["certificate"]["state_root"] == block["state_root"]
    assert response.headers["etag"] == f'"{block["block_id"]}"'
    assert "immutable" in response.headers["cache-control"]


def test_the_genesis_block_has_no_certificate(scene: ApiScene) -> None:
    block = scene.get("/api/v1/blocks/0")
    assert block["certificate"] is None
    assert block["transactions"] == []


def test_blocks_are_listed_newest_first_in_pages_that_meet(scene: ApiScene) -> None:
    for _ in range(6):
        scene.run()
    heights: list[int] = []
    cursor = None
    while True:
        page = scene.get(
            "/api/v1/blocks", limit=3, **({} if cursor is None else {"cursor": cursor})
        )
        heights += [block["height"] for block in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        scene.run()
    assert heights == [6, 5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("cursor", ["!!", "a", "ä", "A" * 600])
def test_a_cursor_that_was_never_given_out_is_malformed(scene: ApiScene, cursor: str) -> None:
    response = scene.http.get("/api/v1/blocks", params={"cursor": cursor})
    assert (response.status_code, response.json()["code"]) == (400, "malformed_request")


def test_a_height_above_the_tip_is_unknown(scene: ApiScene) -> None:
    account = account_to_text(scene.chain.network.accounts[0].id)
    for path in ("/api/v1/blocks/9", f"/api/v1/accounts/{account}?height=9"):
        response = scene.http.get(path)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_height")


@pytest.mark.parametrize("height", ["-1", "x", "1.5", str(2**63)])
def test_what_is_no_height_is_malformed(scene: ApiScene, height: str) -> None:
    response = scene.http.get(f"/api/v1/blocks/{height}")
    assert response.status_code == 400
    assert response.json()["code"] == "malformed_request"
    assert response.json()["field"] == "path.height"


def test_an_account_shows_its_money_now_and_before(scene: ApiScene) -> None:
    alice, bob = (account_to_text(holder.id) for holder in scene.chain.network.accounts[:2])
    pay(scene, 5)
    now = scene.get(f"/api/v1/accounts/{alice}")
    assert (now["balance"], now["nonce"], now["height"]) == (str(INITIAL_BALANCE - 5), "1", 1)
    assert scene.get(f"/api/v1/accounts/{bob}")["balance"] == str(INITIAL_BALANCE + 5)
    before = scene.get(f"/api/v1/accounts/{alice}", height=0)
    assert (before["balance"], before["nonce"]) == (str(INITIAL_BALANCE), "0")


def test_an_account_that_nobody_paid_is_all_zero(scene: ApiScene) -> None:
    account = account_to_text(scene.chain.network.genesis.members[1].account)
    assert scene.get(f"/api/v1/accounts/{account}")["balance"] == "0"


def test_what_is_no_account_is_malformed(scene: ApiScene) -> None:
    response = scene.http.get("/api/v1/accounts/qr1nonsense")
    assert (response.status_code, response.json()["code"]) == (400, "malformed_request")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/blocks/", 404, "not_found"),
        ("PUT", "/api/v1/blocks", 405, "method_not_allowed"),
        ("GET", "/api/v1/transactions", 405, "method_not_allowed"),
        ("GET", "/api/v1/blocks?limit=0", 400, "malformed_request"),
        ("GET", "/api/v1/blocks?limit=201", 400, "malformed_request"),
    ],
)
def test_every_error_is_problem_details(
    scene: ApiScene, method: str, path: str, status: int, code: str
) -> None:
    response = scene.http.request(method, path)
    problem = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["code"] == code
    assert problem["type"] == f"urn:quorate:{code}"
    assert problem["status"] == status
    assert problem["instance"] == path.split("?", maxsplit=1)[0]
    assert problem["title"]
    assert problem["detail"]


def test_a_fault_of_our_own_is_problem_details_too(
    scene: ApiScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(scene.service.follower.ledger, "stored_block", fail)
    response = scene.http.get("/api/v1/blocks/0")
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert "broken" not in response.text


def test_an_answer_that_did_not_change_is_not_sent_again(scene: ApiScene) -> None:
    account = account_to_text(scene.chain.network.accounts[0].id)
    path = f"/api/v1/accounts/{account}"
    first = scene.http.get(path)
    tag = first.headers["etag"]
    again = scene.http.get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    pay(scene, 5)
    changed = scene.http.get(path, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.json()["nonce"] == "1"
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize("path", ["/api/v1/status", "/readyz", "/api/v1/models/nothing"])
def test_what_is_no_function_of_the_state_or_no_success_has_no_tag(
    scene: ApiScene, path: str
) -> None:
    assert "etag" not in scene.http.get(path).headers


def test_requests_beyond_the_limit_are_refused(
    scene: ApiScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "REQUESTS_MAX", 0)
    response = scene.http.get("/livez")
    assert (response.status_code, response.json()["code"]) == (429, "too_many_requests")
