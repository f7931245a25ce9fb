from __future__ import annotations

import pytest

from p2p.peer_book import PeerAddress, PeerBook
from primitives.errors import InvalidInputError

OWN = 1


def make_address(index: int, key: bytes | None = None) -> PeerAddress:
    return PeerAddress(index, key or bytes([index]) * 32, f"host{index}", 7000 + index)


@pytest.fixture
def book() -> PeerBook:
    return PeerBook(OWN, bytes([OWN]) * 32, [make_address(index) for index in (3, 0, 2)])


def test_members_with_a_higher_index_are_dialled(book: PeerBook) -> None:
    assert [peer.index for peer in book.list_dialled()] == [2, 3]
    assert book.count_expected() == 3


def test_every_pair_has_one_side_that_dials() -> None:
    count = 5
    books = [
        PeerBook(own, bytes([own]) * 32, [make_address(i) for i in range(count) if i != own])
        for own in range(count)
    ]
    dialled = [(own, peer.index) for own, book in enumerate(books) for peer in book.list_dialled()]
    assert dialled == [(low, high) for low in range(count) for high in range(low + 1, count)]


def test_a_caller_is_known_by_its_key(book: PeerBook) -> None:
    assert book.identify_caller(bytes(32)) == 0


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (b"\xff" * 32, "no member is registered"),
        (bytes([OWN]) * 32, "no member is registered"),
        (bytes([2]) * 32, "member 2 must not dial 1"),
    ],
)
def test_a_caller_is_refused(book: PeerBook, key: bytes, why: str) -> None:
    with pytest.raises(InvalidInputError, match=why) as caught:
        book.identify_caller(key)
    assert caught.value.code == "unknown_peer"


def test_whom_we_dialled_must_have_its_own_key(book: PeerBook) -> None:
    assert book.identify_dialled(bytes([2]) * 32, make_address(2)) == 2
    with pytest.raises(InvalidInputError, match=r"member 2 .* host2:7002") as caught:
        book.identify_dialled(bytes([3]) * 32, make_address(2))
    assert caught.value.code == "unknown_peer"


@pytest.mark.parametrize(
    "peers",
    [
        [make_address(OWN, b"\x09" * 32)],
        [make_address(2), make_address(2, b"\x09" * 32)],
        [make_address(2), make_address(3, bytes([2]) * 32)],
        [make_address(2, bytes([OWN]) * 32)],
    ],
)
def test_members_that_share_an_index_or_a_key_are_refused(peers: list[PeerAddress]) -> None:
    with pytest.raises(InvalidInputError, match="that no other has"):
        PeerBook(OWN, bytes([OWN]) * 32, peers)


def test_observers_are_not_expected() -> None:
    peers = [PeerAddress(1, b"a", "h", 1), PeerAddress(1001, b"b", "", 0, dials_us=True)]
    book = PeerBook(0, b"own", peers)
    assert book.count_expected() == 1
    assert [book.is_expected(index) for index in (1, 1001, 7)] == [True, False, False]
    assert [book.lists_observer(index) for index in (1, 1001, 7)] == [False, True, False]
