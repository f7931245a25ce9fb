"""Fetching what others have: one block by its id, many by height, and back to normal by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.actions import (
    Action,
    Broadcast,
    ExecuteBlock,
    FinalizeBlocks,
    Persist,
    RaiseAlarm,
    ReportPeer,
    Send,
    ServeBlocks,
    ValidateBlock,
)
from consensus.block_sync import STAGED_BLOCKS_MAX
from consensus.blocks import BlockEntry
from consensus.events import (
    BlockExecuted,
    BlockValidated,
    MessageReceived,
    PeerConnected,
    Ticked,
    Verdict,
)
from consensus.messages import (
    BlockRequest,
    BlockResponse,
    BlocksRequest,
    BlocksResponse,
    CertificateBatch,
    CertificateMessage,
    Message,
    PrePrepare,
    Vote,
)
from consensus.parameters import BLOCKS_PER_RESPONSE_MAX
from consensus.records import decode_record
from primitives.certificates import Certificate, VoteKind
from primitives.header import BlockHeader
from tests.helpers.consensus import (
    GENESIS,
    Bench,
    certify,
    make_header,
    make_pre_prepare,
    of_kind,
)
from tests.helpers.consensus_network import Faults, Network

ROOT = b"r" * 32


def make_chain(length: int, body: bytes = b"", parent: BlockHeader = GENESIS) -> list[PrePrepare]:
    chain: list[PrePrepare] = []
    certificate = None
    for view in range(1, length + 1):
        proposal = make_pre_prepare(make_header(parent, view, body), body, certificate)
        chain.append(proposal)
        parent = proposal.header
        certificate = certify(VoteKind.PREPARE, view, proposal.block_id)
    return chain


CHAIN = make_chain(8)


def commit(proposal: PrePrepare, root: bytes = ROOT) -> Certificate:
    return certify(VoteKind.COMMIT, proposal.header.view, proposal.block_id, root)


def prepared(proposal: PrePrepare) -> Certificate:
    return certify(VoteKind.PREPARE, proposal.header.view, proposal.block_id)


def learn(bench: Bench, certificate: Certificate, peer: int = 2) -> list[Action]:
    return bench.step(MessageReceived(peer, CertificateMessage(certificate)))


def requests(actions: list[Action]) -> list[tuple[int, Message]]:
    kinds = (BlockRequest, BlocksRequest)
    return [
        (each.peer, each.message)
        for each in of_kind(actions, Send)
        if isinstance(each.message, kinds)
    ]


def make_bench(**changes: int) -> Bench:
    bench = Bench(fetch_delay_ms=100, request_timeout_ms=1_000, **changes)
    for peer in (1, 2, 3):
        bench.step(PeerConnected(peer))
    return bench


def ask_for_range(bench: Bench, target: PrePrepare) -> int:
    """Make the core ask for blocks up to a target; return whom it asks."""
    learn(bench, commit(target))
    ((peer, message),) = requests(bench.step(Ticked(), after_ms=100))
    assert message == BlocksRequest(1, BLOCKS_PER_RESPONSE_MAX)
    return peer


def respond(
    bench: Bench, peer: int, proposals: list[PrePrepare], certificate: Certificate | None
) -> list[Action]:
    blocks = tuple(proposal.block for proposal in proposals)
    return bench.step(MessageReceived(peer, BlocksResponse(blocks, certificate)))


def finish(bench: Bench, actions: list[Action]) -> list[Action]:
    """Answer every validation and execution as a driver would, with one root for all blocks."""
    done = list(actions)
    todo = list(actions)
    while todo:
        action = todo.pop(0)
        if isinstance(action, ValidateBlock):
            event = BlockValidated(action.block.block_id, Verdict.VALID)
        elif isinstance(action, ExecuteBlock):
            event = BlockExecuted(action.block.block_id, ROOT)
        else:
            continue
        new = bench.step(event)
        done += new
        todo += new
    return done


def test_a_block_that_a_certificate_names_is_fetched_after_a_moment_from_peers_in_turn() -> None:
    bench = make_bench()
    assert requests(learn(bench, prepared(CHAIN[0]))) == []
    first = requests(bench.step(Ticked(), after_ms=100))
    second = requests(bench.step(Ticked(), after_ms=1_000))
    third = requests(bench.step(Ticked(), after_ms=1_000))
    asked = first + second + third
    assert {message for _, message in asked} == {BlockRequest(CHAIN[0].block_id)}
    assert sorted(peer for peer, _ in asked) == [1, 2, 3]


def test_a_body_that_was_only_late_is_not_fetched() -> None:
    bench = make_bench()
    learn(bench, prepared(CHAIN[0]))
    actions = bench.step(MessageReceived(1, CHAIN[0]))
    assert of_kind(actions, ValidateBlock) == [ValidateBlock(CHAIN[0].block, certified=True)]
    assert requests(bench.step(Ticked(), after_ms=200)) == []


def test_missing_ancestors_are_fetched_one_after_another_and_all_become_final() -> None:
    bench = make_bench()
    learn(bench, prepared(CHAIN[2]))
    bench.step(Ticked(), after_ms=100)
    for proposal in (CHAIN[2], CHAIN[1]):
        actions = bench.step(MessageReceived(1, BlockResponse(proposal)))
        ((_, message),) = requests(actions)
        assert message == BlockRequest(proposal.header.parent_id)
    actions = finish(bench, bench.step(MessageReceived(1, BlockResponse(CHAIN[0]))))
    assert requests(actions) == []
    votes = [each.message for each in of_kind(actions, Broadcast)]
    commits = [each for each in votes if isinstance(each, Vote) and each.kind is VoteKind.COMMIT]
    assert sorted(vote.view for vote in commits) == [1, 2, 3]
    final = of_kind(learn(bench, commit(CHAIN[2])), FinalizeBlocks)[0]
    assert [block.header.height for block in final.blocks] == [1, 2, 3]


def test_a_commit_for_a_fetched_block_persists_it_and_its_ancestors() -> None:
    bench = make_bench()
    learn(bench, prepared(CHAIN[1]))
    bench.step(Ticked(), after_ms=100)
    bench.step(MessageReceived(1, BlockResponse(CHAIN[1])))
    actions = finish(bench, bench.step(MessageReceived(1, BlockResponse(CHAIN[0]))))
    records = [decode_record(each.record) for each in of_kind(actions, Persist)]
    kept = [proposal.block_id for record in records for proposal in record.pre_prepares]
    assert kept == [CHAIN[0].block_id, CHAIN[1].block_id]


@pytest.mark.parametrize("proposal", [CHAIN[3], replace(CHAIN[2], body=b"x" * 101)])
def test_a_block_that_was_not_asked_for_or_is_too_long_is_not_taken(proposal: PrePrepare) -> None:
    bench = make_bench(body_bytes_max=100)
    assert not of_kind(bench.step(MessageReceived(1, BlockResponse(proposal))), ValidateBlock)
    learn(bench, prepared(CHAIN[2]))
    bench.step(Ticked(), after_ms=100)
    bench.step(MessageReceived(1, BlockResponse(proposal)))
    assert len(bench.core.state.tree) == 0


def test_a_wrong_body_is_dropped_reported_and_fetched_from_another_peer() -> None:
    bench = make_bench()
    learn(bench, prepared(CHAIN[0]))
    asked = requests(bench.step(Ticked(), after_ms=100))
    bench.step(MessageReceived(3, BlockResponse(replace(CHAIN[0], body=b"junk"))))
    actions = bench.step(BlockValidated(CHAIN[0].block_id, Verdict.INVALID))
    assert of_kind(actions, ReportPeer) == [ReportPeer(3, "wrong_body")]
    again = requests(bench.step(Ticked(), after_ms=1_000))
    assert [message for _, message in again] == [BlockRequest(CHAIN[0].block_id)]
    assert again[0][0] != asked[0][0]


def test_a_certified_block_whose_bodies_all_are_refused_raises_an_alarm() -> None:
    bench = make_bench()
    learn(bench, prepared(CHAIN[0]))
    alarms: list[RaiseAlarm] = []
    for peer in (1, 2, 3):
        bench.step(Ticked(), after_ms=1_000)
        bench.step(MessageReceived(peer, BlockResponse(CHAIN[0])))
        actions = bench.step(BlockValidated(CHAIN[0].block_id, Verdict.INVALID))
        alarms += of_kind(actions, RaiseAlarm)
    assert [alarm.code for alarm in alarms] == ["certified_block_refused"]


def test_one_peer_that_sends_a_wrong_body_again_and_again_raises_no_alarm() -> None:
    bench = make_bench()
    learn(bench, prepared(CHAIN[0]))
    for _ in range(4):
        bench.step(Ticked(), after_ms=1_000)
        bench.step(MessageReceived(2, BlockResponse(CHAIN[0])))
        actions = bench.step(BlockValidated(CHAIN[0].block_id, Verdict.INVALID))
        assert not of_kind(actions, RaiseAlarm)


def test_a_certified_block_that_cannot_be_judged_yet_is_judged_again() -> None:
    bench = make_bench(validate_retry_ms=50)
    learn(bench, prepared(CHAIN[0]))
    bench.step(MessageReceived(1, CHAIN[0]))
    bench.step(BlockValidated(CHAIN[0].block_id, Verdict.RETRY))
    assert of_kind(bench.step(Ticked(), after_ms=50), ValidateBlock)


def test_nothing_is_signed_while_final_blocks_are_missing() -> None:
    bench = make_bench()
    learn(bench, commit(CHAIN[7]))
    assert bench.core.state.is_behind
    actions = bench.step(Ticked(), after_ms=60_000)
    assert not [each for each in of_kind(actions, Broadcast) if isinstance(each.message, Vote)]


def test_blocks_are_fetched_by_height_proven_by_one_certificate_and_made_final() -> None:
    bench = make_bench()
    peer = ask_for_range(bench, CHAIN[7])
    actions = finish(bench, respond(bench, peer, CHAIN, commit(CHAIN[7])))
    final = of_kind(actions, FinalizeBlocks)[0]
    assert [block.header.height for block in final.blocks] == list(range(1, 9))
    assert all(each.certified for each in of_kind(actions, ValidateBlock))
    assert not bench.core.state.is_behind
    assert bench.core.state.safety.is_on
    assert bench.core.state.view == 9


def test_a_short_batch_is_followed_by_the_next_request() -> None:
    bench = make_bench()
    peer = ask_for_range(bench, CHAIN[7])
    actions = respond(bench, peer, CHAIN[:3], commit(CHAIN[2]))
    assert [message for _, message in requests(actions)] == [
        BlocksRequest(4, BLOCKS_PER_RESPONSE_MAX - 3)
    ]
    assert bench.core.state.is_behind


def test_blocks_without_certificate_wait_for_one_that_proves_them() -> None:
    bench = make_bench()
    peer = ask_for_range(bench, CHAIN[7])
    actions = respond(bench, peer, CHAIN[:3], None)
    ((peer, message),) = requests(actions)
    assert message == BlocksRequest(4, BLOCKS_PER_RESPONSE_MAX)
    assert not of_kind(actions, ValidateBlock)
    actions = finish(bench, respond(bench, peer, CHAIN[3:], commit(CHAIN[7])))
    assert len(of_kind(actions, FinalizeBlocks)[0].blocks) == 8


def test_a_peer_without_blocks_is_followed_by_another_after_a_moment() -> None:
    bench = make_bench()
    peer = ask_for_range(bench, CHAIN[7])
    assert requests(respond(bench, peer, [], None)) == []
    ((other, message),) = requests(bench.step(Ticked(), after_ms=100))
    assert other != peer
    assert message == BlocksRequest(1, BLOCKS_PER_RESPONSE_MAX)


def test_a_peer_that_does_not_answer_is_followed_by_another_and_its_blocks_are_dropped() -> None:
    bench = make_bench()
    peer = ask_for_range(bench, CHAIN[7])
    ((peer, _),) = requests(respond(bench, peer, CHAIN[:3], None))
    ((other, message),) = requests(bench.step(Ticked(), after_ms=1_000))
    assert other != peer
    assert message == BlocksRequest(1, BLOCKS_PER_RESPONSE_MAX)


def test_answers_that_nobody_asked_for_are_ignored() -> None:
    bench = make_bench()
    respond(bench, 1, CHAIN, commit(CHAIN[7]))
    peer = ask_for_range(bench, CHAIN[7])
    stranger = peer % 3 + 1
    assert respond(bench, stranger, CHAIN, commit(CHAIN[7])) == []
    assert respond(bench, peer, CHAIN[3:], commit(CHAIN[7])) == []
    assert len(bench.core.state.tree) == 0
    assert of_kind(respond(bench, peer, CHAIN, commit(CHAIN[7])), ValidateBlock)


def test_an_answer_that_has_been_overtaken_by_finality_is_dropped() -> None:
    bench = make_bench()
    peer = ask_for_range(bench, CHAIN[7])
    learn(bench, commit(CHAIN[0]))
    finish(bench, bench.step(MessageReceived(1, CHAIN[0])))
    assert bench.core.state.tree.final == CHAIN[0].header
    actions = respond(bench, peer, CHAIN, commit(CHAIN[7]))
    assert not of_kind(actions, ReportPeer)
    asked = requests(bench.step(Ticked(), after_ms=100))
    assert [message for _, message in asked] == [BlocksRequest(2, BLOCKS_PER_RESPONSE_MAX)]


OTHER_CHAIN = make_chain(8, b"other")
FORGED = replace(commit(OTHER_CHAIN[7]), signatures=(bytes(64),) * 3)


@pytest.mark.parametrize(
    ("proposals", "certificate", "code"),
    [
        ([CHAIN[0], OTHER_CHAIN[1]], commit(OTHER_CHAIN[1]), "unlinked_blocks"),
        ([CHAIN[0], CHAIN[2]], commit(CHAIN[2]), "unlinked_blocks"),
        (CHAIN, prepared(CHAIN[7]), "unproven_blocks"),
        (CHAIN[:3], commit(CHAIN[7]), "unproven_blocks"),
        (
            OTHER_CHAIN,
            replace(commit(OTHER_CHAIN[7]), signatures=(bytes(64),) * 3),
            "bad_signature",
        ),
        (OTHER_CHAIN, replace(commit(OTHER_CHAIN[7]), epoch=1), "wrong_epoch"),
        (CHAIN, replace(commit(CHAIN[7]), view=9), "unproven_blocks"),
    ],
)
def test_a_batch_that_proves_nothing_is_reported_and_asked_for_elsewhere(
    proposals: list[PrePrepare], certificate: Certificate, code: str
) -> None:
    bench = make_bench()
    peer = ask_for_range(bench, CHAIN[7])
    actions = respond(bench, peer, proposals, certificate)
    assert ReportPeer(peer, code) in actions
    assert len(bench.core.state.tree) == 0
    ((other, message),) = requests(actions)
    assert other != peer
    assert message == BlocksRequest(1, BLOCKS_PER_RESPONSE_MAX)


def test_unproven_blocks_do_not_pile_up() -> None:
    bench = make_bench()
    chain = make_chain(STAGED_BLOCKS_MAX + 1)
    peer = ask_for_range(bench, chain[-1])
    reports: list[ReportPeer] = []
    for start in range(0, len(chain), 40):
        actions = respond(bench, peer, chain[start : start + 40], None)
        reports += of_kind(actions, ReportPeer)
        asked = requests(actions)
        peer = asked[0][0] if asked else peer
    assert [report.code for report in reports] == ["unproven_blocks"]


def test_a_wrong_body_in_a_proven_batch_is_fetched_again() -> None:
    bench = make_bench()
    peer = ask_for_range(bench, CHAIN[1])
    wrong = [CHAIN[0], replace(CHAIN[1], body=b"junk")]
    respond(bench, peer, wrong, commit(CHAIN[1]))
    bench.step(BlockValidated(CHAIN[0].block_id, Verdict.VALID))
    actions = bench.step(BlockValidated(CHAIN[1].block_id, Verdict.INVALID))
    assert ReportPeer(peer, "wrong_body") in actions
    assert bench.core.state.is_behind
    ((other, message),) = requests(bench.step(Ticked(), after_ms=100))
    assert (other != peer, message) == (True, BlocksRequest(1, BLOCKS_PER_RESPONSE_MAX))
    bench.step(BlockExecuted(CHAIN[0].block_id, ROOT))
    actions = finish(bench, respond(bench, other, CHAIN[:2], commit(CHAIN[1])))
    assert len(of_kind(actions, FinalizeBlocks)[0].blocks) == 2


def test_without_peers_nobody_is_asked() -> None:
    bench = Bench()
    bench.core.state.log.add_certificate(prepared(CHAIN[0]))
    bench.step(Ticked())
    assert requests(bench.step(Ticked(), after_ms=5_000)) == []
    bench.core.state.log.add_certificate(commit(CHAIN[1]))
    bench.step(Ticked())
    assert requests(bench.step(Ticked(), after_ms=5_000)) == []


def test_a_committed_block_on_another_branch_stops_the_node_with_an_alarm() -> None:
    bench = make_bench()
    finish(bench, bench.step(MessageReceived(1, CHAIN[0])))
    finish(bench, learn(bench, commit(CHAIN[0])))
    assert bench.core.state.tree.final == CHAIN[0].header
    bench.step(MessageReceived(2, CHAIN[1]))
    stray = make_pre_prepare(make_header(OTHER_CHAIN[0].header, 2, b"stray"), b"stray")
    learn(bench, commit(stray))
    bench.step(Ticked(), after_ms=100)
    bench.core._catch_up.on_block(1, stray)
    actions = bench.step(Ticked())
    assert [alarm.code for alarm in of_kind(actions, RaiseAlarm)] == ["fork"]
    assert not bench.core.state.safety.is_on
    assert not of_kind(bench.step(Ticked(), after_ms=60_000), RaiseAlarm)


ANOTHER_GENESIS = replace(GENESIS, timestamp_ms=GENESIS.timestamp_ms + 1)
STRANGERS = make_chain(3, parent=ANOTHER_GENESIS)


@pytest.mark.parametrize(
    ("certificate", "codes"),
    [
        (commit(STRANGERS[2]), ["fork"]),
        (None, []),
        (prepared(STRANGERS[2]), []),
        (commit(STRANGERS[1]), []),
        (replace(commit(STRANGERS[2]), epoch=1), []),
        (replace(commit(STRANGERS[2]), signatures=(bytes(64),) * 3), []),
    ],
)
def test_a_committed_chain_that_passes_ours_by_is_a_fork_if_it_is_proven(
    certificate: Certificate | None, codes: list[str]
) -> None:
    bench = make_bench()
    peer = ask_for_range(bench, CHAIN[7])
    actions = respond(bench, peer, STRANGERS, certificate)
    assert [alarm.code for alarm in of_kind(actions, RaiseAlarm)] == codes
    assert bench.core.state.is_halted is bool(codes)


def test_a_body_of_our_own_that_is_refused_is_blamed_on_nobody() -> None:
    bench = make_bench()
    entry = BlockEntry(CHAIN[0], certified=True)
    bench.core.state.tree.insert(entry)
    bench.core._catch_up.on_refused(entry)
    assert bench.step(Ticked()) == []
    assert len(bench.core.state.tree) == 0


def test_requests_of_others_are_served() -> None:
    bench = make_bench()
    bench.step(MessageReceived(1, CHAIN[0]))
    request = BlockRequest(CHAIN[0].block_id)
    assert bench.step(MessageReceived(3, request)) == []
    bench.step(BlockValidated(CHAIN[0].block_id, Verdict.VALID))
    assert bench.step(MessageReceived(3, request)) == [Send(3, BlockResponse(CHAIN[0]))]
    finish(bench, learn(bench, commit(CHAIN[0])))
    bench.step(BlockExecuted(CHAIN[0].block_id, ROOT))
    certificate = CertificateBatch((commit(CHAIN[0]),))
    assert bench.step(MessageReceived(3, request)) == [Send(3, certificate)]
    assert bench.step(MessageReceived(3, BlocksRequest(1, 5))) == [ServeBlocks(3, 1, 5)]


def test_a_request_for_what_nobody_has_is_not_answered() -> None:
    assert make_bench().step(MessageReceived(3, BlockRequest(b"?" * 32))) == []


def test_a_validator_that_was_down_for_long_comes_back_by_itself_and_votes_again() -> None:
    network = Network(seed=3).start()
    network.nodes[3].crash()
    for number in range(150):
        network.submit(number)
        network.run(100)
    network.run(5_000)
    assert network.nodes[0].height > 50
    network.nodes[3].start()
    network.submit(1_000)
    assert network.run_until(lambda: len(set(network.heights())) == 1, 10_000)
    network.nodes[1].crash()
    before = network.nodes[0].height
    network.submit(1_001)
    assert network.run_until(lambda: network.nodes[0].height > before, 10_000)


def test_a_target_that_moves_while_a_laggard_syncs_is_reached() -> None:
    network = Network(seed=4).start()
    network.faults = Faults(is_cut=lambda source, target: 3 in (source, target))
    network.submit(*range(400))
    network.run(5_000)
    assert network.nodes[3].height == 0
    network.faults = Faults()
    network.submit(*range(400, 800))
    assert network.run_until(lambda: network.nodes[3].height > 100, 60_000)
    assert network.run_until(lambda: len(set(network.heights())) == 1, 10_000)
