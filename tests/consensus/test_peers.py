"""What is remembered of peers."""

from __future__ import annotations

from consensus.parameters import PEERS_MAX
from consensus.peers import PeerTable


def test_no_peer_is_chosen_where_there_is_none() -> None:
    assert PeerTable(100).choose(0) is None


def test_peers_are_chosen_in_turn() -> None:
    table = PeerTable(100)
    for peer in (1, 2, 3, 2):
        table.note(peer)
    assert sorted(table.choose(0) or 0 for _ in range(3)) == [1, 2, 3]


def test_a_peer_is_answered_once_in_the_interval() -> None:
    table = PeerTable(100)
    table.note(1)
    assert table.may_answer(1, 50)
    assert not table.may_answer(1, 149)
    assert table.may_answer(1, 150)


def test_the_oldest_peer_makes_room_for_a_newcomer() -> None:
    table = PeerTable(100)
    for peer in range(PEERS_MAX + 5):
        table.note(peer)
    assert len(table) == PEERS_MAX


def test_a_peer_that_left_is_not_chosen() -> None:
    table = PeerTable(100)
    table.note(1)
    table.forget(1)
    table.forget(2)
    assert table.choose(0) is None


def test_busy_peers_are_not_chosen_and_avoided_ones_only_if_there_is_nobody_else() -> None:
    table = PeerTable(100)
    for peer in (1, 2, 3):
        table.note(peer)
    table.avoid(2, 500)
    table.avoid(9, 500)
    assert {table.choose_free(0, frozenset({3})) for _ in range(4)} == {1}
    assert table.choose_free(0, frozenset({1, 3})) is None
    assert {table.choose_free(500, frozenset({3})) for _ in range(4)} == {1, 2}
    assert {table.choose(0) for _ in range(4)} == {1, 3}


def test_of_peers_that_are_all_avoided_the_one_is_chosen_that_may_be_asked_first() -> None:
    table = PeerTable(100)
    for peer, until_ms in ((1, 900), (2, 500), (3, 700)):
        table.note(peer)
        table.avoid(peer, until_ms)
    table.avoid(2, 100)
    assert table.choose(0) == 2


def test_highest_claim_is_that_of_the_peers_that_are_there() -> None:
    table = PeerTable(100)
    assert table.highest == 0
    for peer, height in ((1, 5), (2, 9)):
        table.note(peer)
        table.note_height(peer, height)
    table.note_height(3, 99)
    assert table.highest == 9
    table.forget(2)
    assert table.highest == 5


def test_stranger_may_always_be_answered() -> None:
    assert PeerTable(100).may_answer(7, 0)
