from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.messages import Block
from ledger.body import encode_body
from ledger.transaction import Transaction
from node.commands.divergence import show_divergence
from node.commands.terminal import OutputFormat
from node.divergence import (
    REPORTS_MAX,
    DivergenceReport,
    describe_machine,
    examine_blocks,
    load_report,
    save_report,
)
from primitives.errors import InvalidInputError
from primitives.header import BlockHeader
from tests.helpers.ledger import Chain, make_header, make_network


def make_blocks(chain: Chain, count: int = 2) -> list[Block]:
    """Return unfinal blocks, each with two transfers."""
    alice, bob = chain.network.accounts[:2]
    blocks: list[Block] = []
    parent: BlockHeader = chain.tip_header
    for height in range(count):
        transactions: list[Transaction] = [
            chain.transfer(alice, bob.id, 5, nonce=height),
            chain.transfer(bob, alice.id, 7, nonce=height),
        ]
        parent = make_header(chain.network, parent, transactions)
        blocks.append(Block(parent, encode_body(transactions)))
    return blocks


@pytest.fixture
def chain() -> Chain:
    return Chain(make_network())


@pytest.fixture
def report(chain: Chain) -> DivergenceReport:
    found = examine_blocks(chain.values, chain.payloads, make_blocks(chain))
    return DivergenceReport(found, b"c" * 32, None, describe_machine())


def test_examining_is_executing(chain: Chain, report: DivergenceReport) -> None:
    first = chain.store.tip().state_root
    for digests, block in zip(report.blocks, make_blocks(chain), strict=True):
        assert (digests.parent_root, digests.failure) == (first, "")
        assert [each.code for each in digests.transactions] == ["ok", "ok"]
        assert digests.block_id == block.block_id
        first = digests.state_root
    assert chain.store.tip().height == 0


def test_an_execution_that_breaks_off_is_the_end_of_the_report(chain: Chain) -> None:
    blocks = make_blocks(chain, 3)
    blocks[1] = Block(blocks[1].header, b"no body")
    found = examine_blocks(chain.values, chain.payloads, blocks)
    assert len(found) == 2
    assert found[1].failure.startswith("InvalidInputError: ")
    assert found[1].state_root == b""
    assert found[1].parent_root == found[0].state_root


def test_blocks_that_the_chain_has_passed_are_not_looked_into(chain: Chain) -> None:
    blocks = make_blocks(chain)
    chain.run()
    assert examine_blocks(chain.values, chain.payloads, blocks) == ()


def test_what_ends_an_epoch_behind_its_last_block_is_left_out() -> None:
    network = make_network()
    chain = Chain(network)
    last = chain.store.parameters().epoch_length
    blocks = make_blocks(chain, 1)
    tail = Block(replace(blocks[0].header, height=last + 1), b"")
    assert len(examine_blocks(chain.values, chain.payloads, [blocks[0], tail])) == 1


def test_a_report_comes_back_from_its_file(tmp_path: Path, report: DivergenceReport) -> None:
    path = save_report(tmp_path / "divergence", report)
    assert path is not None
    assert path.name == f"2-{report.last.block_id.hex()[:8]}.json"
    assert load_report(path) == report
    assert save_report(tmp_path / "divergence", report) == path
    assert list(path.parent.iterdir()) == [path]


def test_there_are_only_so_many_reports(tmp_path: Path, report: DivergenceReport) -> None:
    for number in range(REPORTS_MAX):
        (tmp_path / f"{number}.json").write_text("{}")
    assert save_report(tmp_path, report) is None
    assert len(list(tmp_path.iterdir())) == REPORTS_MAX


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "blocks": [{}]}', '{"format": 1}']
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="is no report"):
        load_report(path)
    with pytest.raises(InvalidInputError, match="FileNotFoundError"):
        load_report(tmp_path / "missing.json")


def write_pair(folder: Path, report: DivergenceReport) -> tuple[Path, Path]:
    """Write a report, and one of a machine on which the last transaction came out differently."""
    block = report.last
    spoilt = replace(block.transactions[1], writes=b"x" * 32)
    other = replace(block, transactions=(block.transactions[0], spoilt), state_root=b"y" * 32)
    theirs = replace(
        report,
        blocks=(report.blocks[0], other),
        machine={**report.machine, "numba": "0.1"},
    )
    paths = save_report(folder / "a", report), save_report(folder / "b", theirs)
    assert paths[0] is not None
    assert paths[1] is not None
    return paths[0], paths[1]


def test_the_command_names_the_first_transaction_that_differs(
    tmp_path: Path, report: DivergenceReport, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = write_pair(tmp_path, report)
    show_divergence(ours, theirs, OutputFormat.TEXT)
    said = capsys.readouterr().out.splitlines()
    transaction_id = report.last.transactions[1].transaction_id.hex()
    assert said[0].endswith(f"transaction 1 ({transaction_id}): writes differ")
    assert said[1:] == [f"numba: {report.machine['numba']}, 0.1"]
    show_divergence(ours, theirs, OutputFormat.JSON)
    answer = json.loads(capsys.readouterr().out)
    assert answer["machines"] == {"numba": [report.machine["numba"], "0.1"]}


def test_the_command_says_if_nothing_differs(
    tmp_path: Path, report: DivergenceReport, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, _ = write_pair(tmp_path, report)
    show_divergence(ours, ours, OutputFormat.TEXT)
    assert capsys.readouterr().out.startswith("both executed every block")
