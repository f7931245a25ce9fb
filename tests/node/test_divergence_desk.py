"""A node whose execution differs mends itself if it can, and otherwise stands aside, never dead."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consensus.messages import Block, Vote
from ledger.divergence import BlockDigests
from ledger.executed_block import ExecutedBlock
from ledger.executor import BlockExecutor
from ledger.key_value import MemoryKeyValueStore
from ledger.payload import MemoryPayloadStore, PayloadReader
from ledger.store import LedgerStore
from ledger.transactions import registry
from node import divergence, divergence_desk
from node.divergence import load_report
from node.divergence_desk import Divergence, DivergenceDesk, LedgerToExamine
from node.home import NodeHome
from node.storage.sign_guard import GuardState, create_guard, guard_path
from primitives.certificates import VoteKind
from primitives.errors import CorruptStateError, InvariantViolationError
from tests.helpers.consensus import GENESIS, Bench, make_header
from tests.helpers.crashing_validator import (
    Boundaries,
    Life,
    Script,
    Writer,
    find_contradictions,
    read_left,
)
from tests.helpers.probe_kind import PROBE_CODE

Spoil = Callable[[ExecutedBlock], ExecutedBlock]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    # The writer makes the probe a kind; this takes it back in the end.
    monkeypatch.setitem(registry._BY_CODE, PROBE_CODE, registry.get_kind("transfer"))
    return Writer().write()


@pytest.fixture
def home(tmp_path: Path, script: Script) -> NodeHome:
    home = NodeHome(tmp_path)
    create_guard(guard_path(home.validator_key_file), GuardState(script.network.chain_id))
    return home


def flip(executed: ExecutedBlock) -> ExecutedBlock:
    return replace(executed, tree=replace(executed.tree, root=b"wrong".ljust(32)))


def fail(executed: ExecutedBlock) -> ExecutedBlock:
    raise InvariantViolationError("a kernel returned nonsense")


def lose_disk(executed: ExecutedBlock) -> ExecutedBlock:
    raise CorruptStateError("the database does not answer")


def run(
    script: Script, home: NodeHome, spoil: Spoil, height: int, times: int
) -> tuple[dict[str, Any], list[str]]:
    """Live with an executor that spoils a block so often; return the end and what was spoilt."""
    spoilt: list[str] = []
    block_id = script.blocks[height - 1].block_id

    class Spoiling(BlockExecutor):
        def __init__(self, store: LedgerStore, payloads: PayloadReader) -> None:
            super().__init__(store, payloads)

        def execute(self, header: Any, *arguments: Any, **options: Any) -> ExecutedBlock:
            executed = super().execute(header, *arguments, **options)
            if header.block_id != block_id or len(spoilt) >= times:
                return executed
            spoilt.append(header.block_id.hex())
            return spoil(executed)

    life = Life(script, home, Boundaries(None), Spoiling, repetitions=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(divergence, "BlockExecutor", Spoiling)
        return asyncio.run(life.live()), spoilt


def reports(home: NodeHome) -> list[Path]:
    return sorted((home.root / "data" / "divergence").glob("*.json"))


@pytest.mark.parametrize("height", [1, 2, 3, 4])
@pytest.mark.parametrize("spoil", [flip, fail])
def test_what_was_wrong_once_is_executed_again_and_the_node_goes_on(
    script: Script, home: NodeHome, spoil: Spoil, height: int
) -> None:
    end, spoilt = run(script, home, spoil, height, times=1)
    assert len(spoilt) == 1
    assert end["height"] == len(script.blocks)
    assert end["root"] == script.blocks[-1].state_root.hex()
    assert end["broken"] == []
    assert len(reports(home)) == 1
    report = load_report(reports(home)[0])
    assert report.last.state_root == script.blocks[report.last.height - 1].state_root
    assert find_contradictions(read_left(home)) == []


@pytest.mark.parametrize("spoil", [flip, fail])
def test_what_stays_wrong_ends_the_part_of_the_node_and_not_the_node(
    script: Script, home: NodeHome, spoil: Spoil, caplog: pytest.LogCaptureFixture
) -> None:
    end, _ = run(script, home, spoil, 4, times=1_000)
    assert end["height"] == 3
    assert end["broken"] == []
    assert sum("divergence_remains" in text for text in caplog.messages) == 1
    said = {
        message.state_root
        for message in read_left(home)
        if isinstance(message, Vote) and message.kind is VoteKind.COMMIT
    }
    assert not said & {block.state_root for block in script.blocks[3:]}
    assert find_contradictions(read_left(home)) == []


def test_after_an_upgrade_the_node_tries_again_from_the_last_final_block(
    script: Script, home: NodeHome
) -> None:
    run(script, home, flip, 4, times=1_000)
    end, _ = run(script, home, flip, 4, times=0)
    assert end["started_at"] == 3
    assert end["height"] == len(script.blocks)
    assert find_contradictions(read_left(home)) == []


def test_a_report_says_what_each_transaction_did(script: Script, home: NodeHome) -> None:
    run(script, home, flip, 1, times=1)
    report = load_report(reports(home)[0])
    assert report.certified_root is None, "two validators had said otherwise, not yet a quorum"
    assert report.own_root == b"wrong".ljust(32)
    assert [each.code for each in report.last.transactions] == ["ok", "ok"]
    ids = [each.transaction_id for each in script.blocks[0].transactions]
    assert [each.transaction_id for each in report.last.transactions] == ids
    assert {"numpy", "numba", "python", "processor"} <= report.machine.keys()
    assert json.loads(reports(home)[0].read_text())["format"] == 1


def test_a_disk_that_fails_stops_the_node(script: Script, home: NodeHome) -> None:
    end, _ = run(script, home, lose_disk, 1, times=1)
    assert end["broken"][0] == "the database does not answer"


class Scene:
    """A desk whose examinations end when the test says so."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, examined_root: bytes) -> None:
        self.core = Bench().core
        self.said: list[str] = []
        self.gate = threading.Event()
        self.tasks: list[asyncio.Task[None]] = []
        self._folder = folder
        header = make_header(GENESIS, 1, b"body")
        found = BlockDigests(1, 1, header.block_id, b"p" * 32, examined_root, ())
        wanted = Divergence((Block(header, b"body"),), b"c" * 32, b"o" * 32)

        def examine(*arguments: object) -> tuple[BlockDigests, ...]:
            self.gate.wait()
            return (found,)

        patch.setattr(divergence_desk, "examine_blocks", examine)
        patch.setattr(divergence_desk, "find_divergence", lambda state: wanted)

    def begin_again(self) -> None:
        self.said.append("begins again")

    def suspend(self) -> None:
        self.said.append("suspends")

    async def hear(self, *codes: str) -> None:
        """Take alarms while the first examination goes on, and wait for its end."""

        def run(work: Coroutine[Any, Any, None]) -> None:
            self.tasks.append(asyncio.create_task(work))

        with ThreadPoolExecutor(1) as thread:
            ledger = LedgerToExamine(
                MemoryKeyValueStore(), MemoryPayloadStore(), thread, lambda then: then()
            )
            desk = DivergenceDesk(self, ledger, self._folder, run, lambda error: None)
            for code in codes:
                self.core.state.is_halted |= code in ("diverged", "fork")
                desk.on_alarm(code)
                await asyncio.sleep(0)
            self.gate.set()
            await asyncio.gather(*self.tasks)


@pytest.mark.parametrize(
    ("codes", "examined_root", "said"),
    [
        (["state_root_differs"], b"c", ["begins again"]),
        (["state_root_differs"], b"o", []),
        (["diverged"], b"c", ["begins again"]),
        (["diverged"], b"o", ["suspends"]),
        (["state_root_differs", "diverged"], b"c", ["begins again"]),
        (["state_root_differs", "diverged"], b"o", ["suspends"]),
        (["state_root_differs", "fork"], b"c", []),
        (["fork", "state_root_differs"], b"c", []),
        (["own_votes_unknown"], b"c", []),
    ],
)
def test_what_is_heard_meanwhile_counts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    codes: list[str],
    examined_root: bytes,
    said: list[str],
) -> None:
    scene = Scene(tmp_path, monkeypatch, 32 * examined_root)
    asyncio.run(scene.hear(*codes))
    assert scene.said == said
