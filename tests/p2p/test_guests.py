"""Guests, observers and changed keys, over real TLS on the loopback interface."""

from __future__ import annotations

import asyncio

import pytest

from p2p.frames import Channel, encode_frame
from p2p.guests import GUEST_NUMBER_FIRST, GUESTS_MAX, GuestBook
from p2p.hello import PROVISIONAL_INDEX_FIRST, UNKNOWN_INDEX, Hello
from p2p.peer_book import OWN_INDEX_UNKNOWN, PeerAddress, PeerBook
from p2p.rate_limit import InboundLimits
from p2p.tcp import NetworkTiming
from primitives.errors import InvalidInputError
from tests.helpers.peer_network import (
    CHAIN,
    HOST,
    LOOPS,
    Member,
    calling,
    hello_of,
    make_member,
    make_member_identity,
    run,
    running,
)

INVITATION = b"please"
STRANGER = 50


class Door:
    """Admits whoever shows the right invitation, until it is closed."""

    def __init__(self) -> None:
        self.is_closed = False

    def admit(self, _public_key: bytes, invitation: bytes) -> None:
        if self.is_closed or invitation != INVITATION:
            raise InvalidInputError("invite_used", "not you", field="hello.invitation")


def make_guest(host: Member, *, identity: int = STRANGER, invitation: bytes = INVITATION) -> Member:
    """Return a node that nobody lists and that knows where member 0 is."""
    guest = make_member(
        identity,
        {},
        own_index=OWN_INDEX_UNKNOWN,
        dials_all=True,
        invitation=invitation,
    )
    at = PeerAddress(
        PROVISIONAL_INDEX_FIRST, make_member_identity(0).public_key, HOST, host.network.port
    )
    guest.network.update_members(OWN_INDEX_UNKNOWN, [at], dials_all=True)
    return guest


def greet(invitation: bytes, index: int = UNKNOWN_INDEX) -> bytes:
    return encode_frame(Channel.HELLO, Hello(CHAIN, index, invitation).encode())


@pytest.mark.parametrize("loop", LOOPS)
def test_guest_with_an_invitation_reads_and_speaks(loop: str) -> None:
    async def test() -> None:
        host = make_member(0, {1: 0}, admit_guest=Door().admit)
        async with running(host):
            guest = make_guest(host)
            async with running(guest):
                await guest.expect("connected", PROVISIONAL_INDEX_FIRST)
                await host.expect("connected", GUEST_NUMBER_FIRST)
                assert host.network.statistics()["guests_connected"] == 1
                host.network.broadcast(Channel.TRANSACTION, b"not for guests")
                host.network.broadcast(Channel.CONSENSUS_VOTE, b"vote")
                await guest.expect(
                    "message", PROVISIONAL_INDEX_FIRST, Channel.CONSENSUS_VOTE, b"vote"
                )
                guest.network.send(PROVISIONAL_INDEX_FIRST, Channel.SYNC, b"blocks?")
                await host.expect("message", GUEST_NUMBER_FIRST, Channel.SYNC, b"blocks?")
            await host.expect("disconnected", GUEST_NUMBER_FIRST)
            assert host.network.statistics()["guests_connected"] == 0

    run(test, loop)


@pytest.mark.parametrize(
    "say",
    [
        pytest.param(greet(b""), id="no invitation"),
        pytest.param(greet(b"forged"), id="refused invitation"),
        pytest.param(greet(INVITATION, index=1), id="another's index"),
        pytest.param(hello_of(0), id="hello of a member"),
        pytest.param(encode_frame(Channel.CONSENSUS_VOTE, b"vote"), id="no hello"),
    ],
)
def test_stranger_that_is_not_let_in_hears_not_one_byte(say: bytes) -> None:
    async def test() -> None:
        host = make_member(0, {1: 0}, admit_guest=Door().admit)
        async with (
            running(host),
            calling(host, make_member_identity(STRANGER), say=say) as wire,
        ):
            assert await wire.read_until_closed() == b""
            assert host.network.connected == []

    run(test)


def test_without_a_door_an_invitation_opens_nothing() -> None:
    async def test() -> None:
        host = make_member(0, {1: 0})
        async with (
            running(host),
            calling(host, make_member_identity(STRANGER), say=greet(INVITATION)) as wire,
        ):
            assert await wire.read_until_closed() == b""

    run(test)


def test_guest_that_may_not_stay_is_disconnected() -> None:
    async def test() -> None:
        door = Door()
        host = make_member(0, {1: 0}, admit_guest=door.admit)
        async with running(host):
            guest = make_guest(host)
            async with running(guest):
                await host.expect("connected", GUEST_NUMBER_FIRST)
                host.network.recheck_guests()
                assert host.network.connected == [GUEST_NUMBER_FIRST]
                door.is_closed = True
                host.network.recheck_guests()
                await host.expect("disconnected", GUEST_NUMBER_FIRST)

    run(test)


def test_guest_that_becomes_a_member_connects_as_one() -> None:
    async def test() -> None:
        host = make_member(0, {1: 0}, admit_guest=Door().admit)
        async with running(host):
            guest = make_guest(host)
            async with running(guest):
                await host.expect("connected", GUEST_NUMBER_FIRST)
                listed = PeerAddress(
                    7, make_member_identity(STRANGER).public_key, HOST, 0, dials_us=True
                )
                host.network.update_members(0, [listed])
                await host.expect("disconnected", GUEST_NUMBER_FIRST)
                await host.expect("connected", 7)

    run(test)


def test_newer_connection_of_a_guest_takes_the_place_of_the_older() -> None:
    async def test() -> None:
        host = make_member(0, {1: 0}, admit_guest=Door().admit)
        identity = make_member_identity(STRANGER)
        async with (
            running(host),
            calling(host, identity, say=greet(INVITATION)) as first,
            calling(host, identity, say=greet(INVITATION)) as second,
        ):
            await host.expect("connected", GUEST_NUMBER_FIRST)
            await host.expect("disconnected", GUEST_NUMBER_FIRST)
            await host.expect("connected", GUEST_NUMBER_FIRST)
            await asyncio.gather(first.read_frame(), second.read_frame())
            assert host.network.statistics()["guests_connected"] == 1

    run(test)


def test_book_has_room_for_so_many_guests() -> None:
    book = GuestBook(Door().admit)
    guests = [book.admit(bytes([index]) * 32, INVITATION) for index in range(GUESTS_MAX)]
    assert [each.number for each in guests] == [
        GUEST_NUMBER_FIRST + index for index in range(GUESTS_MAX)
    ]
    with pytest.raises(InvalidInputError) as caught:
        book.admit(b"x" * 32, INVITATION)
    assert caught.value.code == "too_many_guests"
    book.leave(guests[3].number)
    assert book.admit(b"x" * 32, INVITATION).number == guests[3].number


def test_stranger_that_calls_too_often_is_refused_and_forgotten_in_time() -> None:
    book = GuestBook(Door().admit)
    for _ in range(5):
        book.limit_calls(b"k", 0.0)
    with pytest.raises(InvalidInputError) as caught:
        book.limit_calls(b"k", 0.0)
    assert caught.value.code == "too_many_requests"
    book.limit_calls(b"k", 1.0)
    for number in range(256):
        book.limit_calls(number.to_bytes(2, "big"), 1.0)
    book.limit_calls(b"k", 1.0)


def test_guest_may_send_a_twentieth_of_what_a_member_may() -> None:
    member, guest = InboundLimits(), InboundLimits(20)
    assert [each.charge(Channel.SYNC, 8 * 1024 * 1024, 0.0) for each in (member, guest)] == [0, 0]
    assert all(member.charge(Channel.SYNC, 1, 0.0) == 0 for _ in range(300))
    assert any(guest.charge(Channel.SYNC, 1, 0.0) for _ in range(30))


def test_observer_dials_all_and_is_dialled_by_nobody() -> None:
    async def test() -> None:
        validator = make_member(3, {9: 0}, observers=[9])
        async with running(validator):
            observer = make_member(9, {3: validator.network.port}, dials_all=True)
            async with running(observer):
                await validator.expect("connected", 9)
                await observer.expect("connected", 3)

    run(test)


def test_book_says_who_dials_whom() -> None:
    mesh, observer = PeerAddress(5, b"m", HOST, 1), PeerAddress(6, b"o", "", 0, dials_us=True)
    book = PeerBook(2, b"own", [mesh, observer])
    assert book.list_dialled() == [mesh]
    assert book.identify_caller(b"o") == 6
    with pytest.raises(InvalidInputError):
        book.identify_caller(b"m")
    assert PeerBook(9, b"own", [mesh], dials_all=True).list_dialled() == [mesh]
    assert PeerBook(9, b"own", [mesh]).list_dialled() == []
    assert book.lists(b"o")
    assert not book.lists(b"x")


def test_changed_key_is_shown_to_everybody() -> None:
    async def test() -> None:
        high = make_member(1, {0: 0})
        async with running(high):
            low = make_member(0, {1: high.network.port})
            async with running(low):
                await high.expect("connected", 0)
                await low.expect("connected", 1)
                fresh = make_member_identity(STRANGER)
                high.network.update_members(1, [PeerAddress(0, fresh.public_key, HOST, 0)])
                await high.expect("disconnected", 0)
                low.network.change_identity(fresh)
                await high.expect("connected", 0)

    run(test)


def test_nodes_that_read_different_registries_find_each_other() -> None:
    """One was listed as a validator while it was away; the other way round, one was a validator."""

    async def test() -> None:
        quick = NetworkTiming(stray_interval_s=0.05)
        unaware = make_member(9, {}, own_index=OWN_INDEX_UNKNOWN, dials_all=True)
        async with running(unaware):
            low = make_member(0, {9: unaware.network.port})
            at = PeerAddress(0, make_member_identity(0).public_key, HOST, 0)
            unaware.network.update_members(OWN_INDEX_UNKNOWN, [at], dials_all=True)
            async with running(low):
                await low.expect("connected", 9)
        validator = make_member(2, {8: 0}, observers=[8])
        async with running(validator):
            demoted = make_member(8, {2: validator.network.port}, timing=quick)
            async with running(demoted):
                await validator.expect("connected", 8)

    run(test)


def test_dialling_survives_what_a_task_group_leaves_behind() -> None:
    """Or the next timeout of a handshake would end it for good, silently, on Python 3.11."""

    async def test() -> None:
        high = make_member(1, {0: 0})
        async with running(high):
            low = make_member(0, {1: high.network.port})
            async with running(low):
                for _ in range(2):
                    await low.expect("connected", 1)
                    (dialling,) = low.network._dials.values()
                    high.network.change_identity(make_member_identity(1))
                    await low.expect("disconnected", 1)
                await low.expect("connected", 1)
                assert dialling.cancelling() == 0
                assert not dialling.done()

    run(test)
