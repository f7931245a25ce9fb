"""What is remembered of peers."""

from __future__ import annotations

from consensus.parameters import PEERS_MAX
from consensus.peers import PeerTable


def test_no_peer_is_chosen_where_there_is_none() -> None:
    assert PeerTable(100).choose() is None


def test_peers_are_chosen_in_turn() -> None:
    table = PeerTable(100)
    for peer in (1, 2, 3, 2):
        table.note(peer)
    assert sorted(table.choose() or 0 for _ in range(3)) == [1, 2, 3]


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
    assert table.choose() is None
