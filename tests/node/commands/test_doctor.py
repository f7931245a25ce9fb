"""What ``quorate doctor`` says, of a node that answers and of one that does not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from consensus.events import PeerDisconnected
from consensus.messages import CertificateMessage
from node.commands import doctor
from node.commands.terminal import OutputFormat
from node.home import NodeHome
from node.network_files import NetworkPlan, lay_out_network
from node.storage.home_lock import HomeLock
from primitives.certificates import VoteKind
from tests.helpers.api import ApiScene, run_api
from tests.helpers.consensus import GENESIS, certify, make_header, make_pre_prepare
from tests.helpers.watched_consensus import WatchedBench

URL = "http://127.0.0.1:2"


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiScene]:
    # Tests change what the node says and ask at once.
    monkeypatch.setattr("node.api.feed_client.STATUS_AGE_MAX_S", -1.0)
    monkeypatch.setattr(doctor, "read_version", lambda: "1.2.3")
    with run_api(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUORATE_URL", raising=False)
    monkeypatch.delenv("QUORATE_HOME", raising=False)


@pytest.fixture
def home(tmp_path: Path) -> NodeHome:
    plan = NetworkPlan(
        folder=tmp_path / "net",
        chain_name="test",
        p2p_endpoints=(("127.0.0.1", 1),),
        api_endpoints=(("127.0.0.1", 2),),
        accounts=(),
    )
    return lay_out_network(plan)[0].home


def connect(scene: ApiScene) -> httpx.BaseTransport:
    """Return a network that leads to the API under test, whatever the URL."""

    def answer(request: httpx.Request) -> httpx.Response:
        found = scene.http.request(request.method, request.url.path)
        return httpx.Response(found.status_code, content=found.content)

    return httpx.MockTransport(answer)


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


NOBODY = httpx.MockTransport(refuse)


class Visit:
    """One run of the command: what it printed, and how it ended."""

    def __init__(
        self,
        capsys: pytest.CaptureFixture[str],
        transport: httpx.BaseTransport,
        home: NodeHome | None = None,
        url: str | None = None,
        output: OutputFormat = OutputFormat.TEXT,
    ) -> None:
        self.code: Any = 0
        try:
            folder = None if home is None else home.root
            doctor.run_doctor(url, folder, URL, output, transport)
        except SystemExit as leaving:
            self.code = leaving.code
        self.text = capsys.readouterr().out


def test_a_well_node_is_said_to_be_well(
    scene: ApiScene, capsys: pytest.CaptureFixture[str]
) -> None:
    visit = Visit(capsys, connect(scene))
    lines = visit.text.splitlines()
    assert visit.code == 0
    assert lines[0] == f"member-0 at {URL}"
    assert lines[2].startswith("Idle: nothing is waiting.")
    assert "What to do" not in visit.text
    assert "epoch 0, view 1 led by beta, final height 0" in lines
    assert "alpha      this node   -                            0 of 0  -" in lines
    assert "beta       connected   0.0 s ago: STATUS of view 1  0 of 0  -" in lines


def test_a_missing_quorum_is_explained_and_the_validators_are_listed(
    scene: ApiScene, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = WatchedBench()
    bench.connect(1, 2)
    proposal = make_pre_prepare(make_header(GENESIS, 1))
    bench.hear(1, proposal)
    bench.hear(1, CertificateMessage(certify(VoteKind.VIEW_CHANGE, 1)))
    bench.step(PeerDisconnected(2))
    scene.node.consensus = replace(bench.report(after_ms=41_000), epoch_end_height=90)
    visit = Visit(capsys, connect(scene))
    lines = visit.text.splitlines()
    assert visit.code == 1
    # Nobody is heard any more, so the one that is still connected is missing too.
    assert "1 of 4 validators are connected, this one included, 3 are needed" in lines[2]
    assert lines[3].startswith("What to do: Nobody is heard here")
    assert "epoch 0 (up to height 90), view 2 led by gamma, final height 0" in lines
    assert "view 1 of beta: proposed, VIEW-CHANGE 3 of 3" in lines
    table = [line for line in lines if line.startswith(("alpha ", "beta ", "gamma ", "delta "))]
    assert [line[11:29].strip() for line in table] == [
        "this node",
        "connected, silent",
        "not connected",
        "not connected",
    ]
    assert any(line.startswith("failed") and "no block becomes final" in line for line in lines)


def test_a_leader_that_is_skipped_is_marked_and_a_message_without_view_is_named() -> None:
    validator = {"is_self": False, "is_connected": True, "is_present": True, "is_skipped": True}
    assert doctor._tell_connection(validator) == "connected, skipped as leader"
    heard = {"message": "BLOCKS-REQUEST", "view": None, "age_ms": 1_500}
    assert doctor._tell_heard(heard) == "1.5 s ago: BLOCKS-REQUEST"


def test_the_surroundings_are_checked_and_decide_too(
    scene: ApiScene, home: NodeHome, capsys: pytest.CaptureFixture[str]
) -> None:
    with HomeLock(home.root):
        well = Visit(capsys, connect(scene), home)
        assert well.code == 0, well.text
        assert f"process {os.getpid()} runs in" in well.text
        home.validator_key_file.chmod(0o644)
        visit = Visit(capsys, connect(scene), home)
    assert visit.code == 1
    assert "validator.json can be read by other users" in visit.text


def test_another_version_and_a_wrong_clock_are_warnings(
    scene: ApiScene, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = scene.node.consensus
    first, second, *others = report.validators
    ahead = replace(second, clock_offset_ms=12)
    scene.node.consensus = replace(report, validators=(first, ahead, *others))
    assert "seems within 12 ms of 1 other" in Visit(capsys, connect(scene)).text
    ahead = replace(second, clock_offset_ms=90_000)
    scene.node.consensus = replace(
        report, validators=(first, ahead, ahead_of(others[0]), others[1])
    )
    monkeypatch.setattr(doctor, "read_version", lambda: "9.9.9")
    visit = Visit(capsys, connect(scene))
    assert visit.code == 1
    assert "the node runs 1.2.3, this is 9.9.9" in visit.text
    assert "The clock of this machine is about" in visit.text
    assert "within 90000 ms of 2 others" in visit.text


def ahead_of(validator: Any) -> Any:
    return replace(validator, clock_offset_ms=89_000)


def test_json_holds_everything(scene: ApiScene, capsys: pytest.CaptureFixture[str]) -> None:
    visit = Visit(capsys, connect(scene), output=OutputFormat.JSON)
    answer = json.loads(visit.text)
    assert answer["is_well"] is True
    assert answer["sentence"].startswith("Idle")
    assert answer["consensus"]["quorum"] == 3
    assert {each["name"] for each in answer["findings"]} == {"api", "ready", "version", "clock"}


def test_a_node_that_is_down_is_told_with_its_last_words(
    home: NodeHome, capsys: pytest.CaptureFixture[str]
) -> None:
    home.log_file.write_text("the last words\n", encoding="utf-8")
    visit = Visit(capsys, NOBODY, home)
    assert visit.code == 1
    lines = visit.text.splitlines()
    assert lines[:3] == [str(home.root), "", "This node is not running."]
    assert f"quorate start --home {home.root}" in lines[3]
    assert "http://127.0.0.1:2 does not answer: Connection refused" in visit.text
    assert lines[-1] == "  the last words"


def test_a_node_without_an_answering_api_is_told_from_one_that_is_down(
    home: NodeHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with HomeLock(home.root):
        visit = Visit(capsys, NOBODY, home)
        assert f"This node runs (process {os.getpid()}), but its API does not answer." in visit.text
        monkeypatch.setattr(doctor, "is_paused", lambda _: True)
        visit = Visit(capsys, NOBODY, home)
    assert f"This node is paused: its process {os.getpid()} was stopped" in visit.text
    assert f"`kill -CONT {os.getpid()}`" in visit.text
    assert visit.code == 1


def test_an_api_without_its_node_is_told(
    scene: ApiScene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.call(scene.node.feed.stop)
    visit = Visit(capsys, connect(scene))
    assert visit.code == 1
    assert "The API answers, but the node process behind it does not." in visit.text


def test_without_a_home_an_unreachable_node_is_all_that_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    visit = Visit(capsys, NOBODY, url="http://nowhere:1")
    assert visit.code == 1
    assert visit.text.startswith("http://nowhere:1\n\nThe node cannot be reached.")


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}"])
def test_what_is_no_node_is_not_taken_for_one(
    capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    visit = Visit(capsys, transport)
    assert visit.code == 1
    assert "is no node, or one of another version" in visit.text


def test_a_node_that_answers_something_else_is_of_another_version(
    scene: ApiScene, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v1/consensus":
            return httpx.Response(200, content=b"{}")
        return httpx.Response(200, content=scene.http.get(request.url.path).content)

    visit = Visit(capsys, httpx.MockTransport(answer))
    assert visit.code == 1
    assert "is no node, or one of another version" in visit.text


def test_a_url_that_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("http://host:port", "nowhere"):
        assert f"{url} does not answer" in Visit(capsys, NOBODY, url=url).text


def test_the_environment_names_what_is_not_given(
    home: NodeHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_URL", "http://environment:1")
    assert "http://environment:1 does not answer" in Visit(capsys, NOBODY).text
    # A folder that is given knows its own address.
    assert f"{URL} does not answer" in Visit(capsys, NOBODY, home).text
    monkeypatch.setenv("QUORATE_HOME", str(home.root))
    assert Visit(capsys, NOBODY).text.startswith(str(home.root))
    # An address that is given may be that of any node.
    assert "no node runs in" not in Visit(capsys, NOBODY, url="http://other:1").text


def test_a_node_that_does_not_know_the_question_is_of_another_version(
    scene: ApiScene, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path.replace("/api/v1/consensus", "/api/v1/unknown")
        found = scene.http.get(path)
        return httpx.Response(found.status_code, content=found.content)

    visit = Visit(capsys, httpx.MockTransport(answer))
    assert visit.code == 1
    assert "is no node, or one of another version" in visit.text


def test_the_url_is_that_of_the_settings(
    home: NodeHome, capsys: pytest.CaptureFixture[str]
) -> None:
    config = home.config_file.read_text(encoding="utf-8")
    assert "port = 2\n" in config
    everywhere = config.replace('host = "127.0.0.1"', 'host = "0.0.0.0"')
    home.config_file.write_text(everywhere.replace("port = 2\n", "port = 77\n"), encoding="utf-8")
    assert "http://127.0.0.1:77 does not answer" in Visit(capsys, NOBODY, home).text
    sixth = config.replace('host = "127.0.0.1"', 'host = "::1"')
    home.config_file.write_text(sixth, encoding="utf-8")
    assert "http://[::1]:2 does not answer" in Visit(capsys, NOBODY, home).text
    assert "http://other:1 does not answer" in Visit(capsys, NOBODY, home, "http://other:1").text
    silent = config.replace("[api]\n", "[api]\nenabled = false\n")
    home.config_file.write_text(silent, encoding="utf-8")
    assert "this node serves no API" in Visit(capsys, NOBODY, home).text
    home.config_file.write_text("no = [toml", encoding="utf-8")
    visit = Visit(capsys, NOBODY, home)
    assert "is no TOML" in visit.text
    assert visit.code == 1
