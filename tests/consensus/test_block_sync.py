"""Final blocks are fetched in several ranges from several peers at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus.actions import Action, FinalizeBlocks, RaiseAlarm, ReportPeer, ValidateBlock
from consensus.block_sync import HELD_BYTES_MAX, RANGES_IN_FLIGHT_MAX
from consensus.events import MessageReceived, PeerConnected, PeerDisconnected, Ticked
from consensus.messages import BlocksRequest, BlocksResponse, PrePrepare, Status
from consensus.parameters import BLOCKS_PER_RESPONSE_MAX
from primitives.certificates import VoteKind
from tests.consensus.test_catch_up import commit, finish, learn, make_chain, requests
from tests.helpers.consensus import (
    Bench,
    certify,
    make_header,
    make_pre_prepare,
    make_validators,
    of_kind,
)

SIZE = BLOCKS_PER_RESPONSE_MAX
CHAIN = make_chain(6 * SIZE)
PEERS = (1, 2, 3)
TIMEOUT_MS = 1_000


def make_bench(claim: int = len(CHAIN), **changes: int) -> Bench:
    """A core far behind; all peers say how far they are."""
    bench = Bench(fetch_delay_ms=100, request_timeout_ms=TIMEOUT_MS, **changes)
    for peer in PEERS:
        bench.step(PeerConnected(peer))
        bench.step(MessageReceived(peer, Status(0, claim, claim, claim)))
    return bench


def ask(bench: Bench, target: PrePrepare = CHAIN[-1]) -> dict[int, BlocksRequest]:
    """Let the core find out that it is behind; return whom it asks for what."""
    actions = learn(bench, commit(target))
    return asked(actions + bench.step(Ticked(), after_ms=100))


def asked(actions: list[Action]) -> dict[int, BlocksRequest]:
    return {
        peer: message for peer, message in requests(actions) if isinstance(message, BlocksRequest)
    }


def answer(
    bench: Bench, peer: int, request: BlocksRequest, chain: list[PrePrepare] = CHAIN
) -> list[Action]:
    """Let a peer give all that it was asked for."""
    found = chain[request.from_height - 1 : request.from_height - 1 + request.count]
    blocks = tuple(each.block for each in found)
    return bench.step(MessageReceived(peer, BlocksResponse(blocks, commit(found[-1]))))


def test_every_peer_is_asked_for_a_range_of_its_own() -> None:
    wanted = ask(make_bench())
    assert set(wanted) == set(PEERS)
    assert sorted(each.from_height for each in wanted.values()) == [1, SIZE + 1, 2 * SIZE + 1]


def test_answers_may_come_in_any_order_and_are_joined_by_height() -> None:
    bench = make_bench()
    wanted = ask(bench)
    by_height = sorted(wanted.items(), key=lambda each: -each[1].from_height)
    for peer, request in by_height[:-1]:
        assert not of_kind(answer(bench, peer, request), ValidateBlock)
    actions = finish(bench, answer(bench, *by_height[-1]))
    final = [block for each in of_kind(actions, FinalizeBlocks) for block in each.blocks]
    assert [block.header.height for block in final] == list(range(1, 3 * SIZE + 1))


def test_whole_chain_comes_from_all_peers() -> None:
    bench = make_bench()
    open_requests = list(ask(bench).items())
    helpers = set()
    while open_requests:
        peer, request = open_requests.pop(0)
        helpers.add(peer)
        actions = finish(bench, answer(bench, peer, request))
        open_requests += asked(actions).items()
    assert helpers == set(PEERS)
    assert bench.core.state.tree.final == CHAIN[-1].header
    assert not bench.core.state.is_behind
    assert bench.core.state.safety.is_on


def test_no_more_is_fetched_than_execution_can_follow() -> None:
    bench = make_bench()
    open_requests = list(ask(bench).items())
    given = 0
    while open_requests:
        peer, request = open_requests.pop(0)
        given = max(given, request.from_height + request.count - 1)
        open_requests += asked(answer(bench, peer, request)).items()
    assert given == RANGES_IN_FLIGHT_MAX * SIZE
    assert not asked(bench.step(Ticked(), after_ms=5 * TIMEOUT_MS))


def test_front_that_alone_is_missing_is_asked_of_one_more_peer() -> None:
    bench = make_bench()
    wanted = ask(bench)
    front = next(peer for peer, request in wanted.items() if request.from_height == 1)
    for peer, request in wanted.items():
        if peer != front:
            more = asked(answer(bench, peer, request))
            for other, another in more.items():
                answer(bench, other, another)
    assert bench.core.next_deadline() is not None
    again = asked(bench.step(Ticked(), after_ms=TIMEOUT_MS // 4))
    assert [request.from_height for request in again.values()] == [1]
    assert front not in again
    actions = answer(bench, *next(iter(again.items())))
    assert of_kind(actions, ValidateBlock)
    assert not answer(bench, front, wanted[front]), "the second answer is for nothing any more"


def test_silent_peer_is_asked_last() -> None:
    bench = make_bench()
    wanted = ask(bench)
    front = next(peer for peer, request in wanted.items() if request.from_height == 1)
    late = asked(bench.step(Ticked(), after_ms=TIMEOUT_MS))
    assert next(peer for peer, each in late.items() if each.from_height == 1) != front


def test_liar_delays_nothing_but_its_own_answer() -> None:
    bench = make_bench()
    wanted = ask(bench)
    liar, request = next(each for each in wanted.items() if each[1].from_height == 1)
    others = make_chain(SIZE, b"lie")
    forged = replace(commit(others[-1]), signatures=(bytes(64),) * 3)
    blocks = tuple(each.block for each in others)
    actions = bench.step(MessageReceived(liar, BlocksResponse(blocks, forged)))
    assert of_kind(actions, ReportPeer)
    assert [each.from_height for each in asked(actions).values()] == [1]
    assert liar not in asked(actions)
    assert request.from_height == 1


def test_range_that_a_peer_does_not_have_is_put_off() -> None:
    bench = make_bench()
    wanted = ask(bench)
    peer, _ = max(wanted.items(), key=lambda each: each[1].from_height)
    bench.step(MessageReceived(peer, BlocksResponse((), None)))
    assert bench.core.state.peers.highest == len(CHAIN), "the others still say so"
    assert asked(bench.step(Ticked(), after_ms=100))


def test_claims_that_are_too_low_only_make_it_slower() -> None:
    bench = make_bench(claim=0)
    wanted = ask(bench)
    assert [each.from_height for each in wanted.values()] == [1]
    ((peer, request),) = wanted.items()
    more = asked(answer(bench, peer, request))
    assert [each.from_height for each in more.values()] == [SIZE + 1]


def test_peers_that_vanish_are_replaced_by_those_that_come() -> None:
    bench = make_bench()
    ask(bench)
    for peer in PEERS:
        bench.step(PeerDisconnected(peer))
    assert not asked(bench.step(Ticked(), after_ms=TIMEOUT_MS))
    bench.step(PeerConnected(9))
    later = asked(bench.step(Ticked(), after_ms=TIMEOUT_MS))
    assert later[9].from_height == 1


def test_more_blocks_than_asked_for_are_refused() -> None:
    bench = make_bench()
    wanted = ask(bench)
    peer, request = next(each for each in wanted.items() if each[1].from_height == 1)
    blocks = tuple(each.block for each in CHAIN[: request.count + 1])
    actions = bench.step(
        MessageReceived(peer, BlocksResponse(blocks, commit(CHAIN[request.count])))
    )
    assert ReportPeer(peer, "unlinked_blocks") in actions


def test_answers_that_hold_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert HELD_BYTES_MAX > 0
    monkeypatch.setattr("consensus.block_sync.HELD_BYTES_MAX", 10)
    chain = make_chain(4, b"four")
    bench = make_bench(claim=4)
    ((peer, request),) = ask(bench, chain[-1]).items()
    actions = answer(bench, peer, replace(request, count=4), chain)
    assert ReportPeer(peer, "unlinked_blocks") in actions


def test_unproven_answer_behind_the_front_is_refused() -> None:
    bench = make_bench()
    wanted = ask(bench)
    peer, request = max(wanted.items(), key=lambda each: each[1].from_height)
    blocks = tuple(each.block for each in CHAIN[request.from_height - 1 :][:4])
    actions = bench.step(MessageReceived(peer, BlocksResponse(blocks, None)))
    assert ReportPeer(peer, "unproven_blocks") in actions


def test_proven_answer_that_passes_our_chain_by_is_a_fork() -> None:
    bench = make_bench()
    ((peer, request), *_) = [each for each in ask(bench).items() if each[1].from_height == 1]
    strangers = make_chain(SIZE, b"", make_header(CHAIN[0].header, 1, b"x"))
    blocks = []
    parent = replace(CHAIN[0].header, height=0)
    for each in strangers:
        header = replace(each.header, height=parent.height + 1, parent_id=parent.block_id)
        blocks.append(make_pre_prepare(header).block)
        parent = header
    final = certify(VoteKind.COMMIT, parent.view, parent.block_id, b"r" * 32)
    actions = bench.step(MessageReceived(peer, BlocksResponse(tuple(blocks), final)))
    assert [each.code for each in of_kind(actions, RaiseAlarm)] == ["fork"]
    assert request.from_height == 1


def test_epoch_is_the_end_of_what_is_asked_for_and_tails_prove_it() -> None:
    bench = make_bench(epoch_end_height=4)
    chain = make_chain(3)
    end = make_pre_prepare(
        replace(make_header(chain[-1].header, 4), next_validators_hash=make_validators().hash)
    )
    tails = [make_pre_prepare(make_header(end.header, 5))]
    tails.append(make_pre_prepare(make_header(tails[0].header, 6)))
    wanted = ask(bench, tails[-1])
    assert len(wanted) == 1, "nothing lies beyond the end"
    ((peer, _),) = wanted.items()
    blocks = tuple(each.block for each in (*chain, end, *tails))
    actions = finish(
        bench, bench.step(MessageReceived(peer, BlocksResponse(blocks, commit(tails[-1]))))
    )
    final = of_kind(actions, FinalizeBlocks)[0]
    assert len(final.blocks) == 6
    assert bench.core.state.is_epoch_over


def test_front_is_not_asked_again_where_there_is_nobody_else() -> None:
    bench = make_bench()
    wanted = ask(bench)
    front = next(peer for peer, request in wanted.items() if request.from_height == 1)
    for peer, request in wanted.items():
        if peer != front:
            for other, another in asked(answer(bench, peer, request)).items():
                answer(bench, other, another)
            bench.step(PeerDisconnected(peer))
    assert not asked(bench.step(Ticked(), after_ms=TIMEOUT_MS // 4))


def test_nothing_more_is_asked_for_while_execution_has_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chain = make_chain(3 * SIZE, b"full")
    bench = make_bench(claim=SIZE)
    monkeypatch.setattr("consensus.block_sync.HELD_BYTES_MAX", 5 * SIZE)
    ((peer, request),) = ask(bench, chain[-1]).items()
    ((peer, request),) = asked(answer(bench, peer, request, chain)).items()
    assert not asked(answer(bench, peer, request, chain))
    assert not asked(bench.step(Ticked(), after_ms=5 * TIMEOUT_MS))
    monkeypatch.setattr("consensus.block_sync.HELD_BYTES_MAX", 8 * SIZE)
    assert asked(bench.step(Ticked(), after_ms=1))
