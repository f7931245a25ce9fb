"""Members over real TLS on the loopback interface; every wait is for an event."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from p2p.certificate import TransportIdentity
from p2p.frames import Channel, encode_frame, get_cap_bytes
from p2p.handshake_slots import SLOTS_MAX
from p2p.peer_book import OWN_INDEX_UNKNOWN, PeerAddress
from p2p.tcp import NetworkTiming
from primitives.errors import InvalidInputError, InvariantViolationError
from tests.helpers.peer_network import (
    CHAIN,
    HOST,
    LOOPS,
    calling,
    hello_of,
    make_member,
    make_member_identity,
    run,
    running,
    running_mesh,
)

SPOKEN = [channel for channel in Channel if channel not in {Channel.HELLO, Channel.PING}]
VOTE = encode_frame(Channel.CONSENSUS_VOTE, b"vote")
IMPATIENT = NetworkTiming(ping_interval_s=0.01, silent_intervals_max=3)


@pytest.mark.parametrize("loop", LOOPS)
def test_messages_arrive_in_both_directions_on_every_channel(loop: str) -> None:
    async def test() -> None:
        async with running_mesh(2) as (low, high):
            for channel in SPOKEN:
                low.network.send(1, channel, b"up")
                await high.expect("message", 0, channel, b"up")
                high.network.broadcast(channel, b"")
                await low.expect("message", 1, channel, b"")

    run(test, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_every_pair_of_a_mesh_has_one_connection(loop: str) -> None:
    async def test() -> None:
        async with running_mesh(5) as members:
            for index, member in enumerate(members):
                assert member.network.connected == [i for i in range(5) if i != index]
                assert member.network.counters["connections_made"] == 4
                member.network.broadcast(Channel.SYNC, bytes([index]))
            for index, member in enumerate(members):
                heard = {(await member.events.get())[1] for _ in range(4)}
                assert heard == set(range(5)) - {index}

    run(test, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_largest_message_arrives_whole(loop: str) -> None:
    async def test() -> None:
        async with running_mesh(2) as (low, high):
            data = bytes(range(256)) * (get_cap_bytes(Channel.SYNC) // 256)
            low.network.send(1, Channel.SYNC, data)
            await high.expect("message", 0, Channel.SYNC, data)

    run(test, loop)


def test_sending_to_who_is_not_connected_is_no_error() -> None:
    async def test() -> None:
        member = make_member(0, {1: 9})
        member.network.send(1, Channel.SYNC, b"lost")
        member.network.broadcast(Channel.SYNC, b"lost")
        assert member.network.statistics()["queued_bytes"] == 0

    run(test)


def test_a_message_beyond_the_cap_of_its_channel_does_not_leave() -> None:
    async def test() -> None:
        member = make_member(0, {})
        with pytest.raises(InvalidInputError, match="CONSENSUS_VOTE"):
            member.network.broadcast(Channel.CONSENSUS_VOTE, bytes(5000))

    run(test)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stranger_is_sent_nothing_and_not_listened_to(loop: str) -> None:
    """Its certificate is right, as everybody can make one; only its key is not registered."""

    async def test() -> None:
        member = make_member(1, {0: 0})
        stranger = make_member_identity(9)
        async with running(member):
            async with calling(member, stranger, say=hello_of(0) + VOTE) as wire:
                assert await wire.read_until_closed() == b""
            await member.wait_for_count("handshakes_failed")
            assert member.events.empty()
            assert member.network.statistics()["peers_connected"] == 0

    run(test, loop)


def test_a_stranger_without_a_certificate_is_not_listened_to() -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        async with running(member):
            with pytest.raises((OSError, EOFError)):
                reader, writer = await asyncio.open_connection(
                    HOST, member.network.port, ssl=context
                )
                writer.write(hello_of(0) + VOTE)
                await reader.readexactly(1)
            await member.wait_for_count("handshakes_failed")
            assert member.events.empty()

    run(test)


def test_an_older_tls_is_refused() -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        async with running(member):
            with pytest.raises(OSError):
                await asyncio.open_connection(HOST, member.network.port, ssl=context)
            await member.wait_for_count("handshakes_failed")

    run(test)


def test_whoever_answers_at_a_members_address_must_have_its_key() -> None:
    async def test() -> None:
        impostor = make_member(2, {0: 0, 1: 0})
        async with running(impostor):
            member = make_member(0, {1: impostor.network.port})
            async with running(member):
                await member.wait_for_count("handshakes_failed")
                await impostor.wait_for_count("handshakes_failed")
            assert member.events.empty()
            assert impostor.events.empty()

    run(test)


def test_a_member_of_another_network_is_refused() -> None:
    async def test() -> None:
        other = make_member(1, {0: 0}, chain_id=b"\x08" * 32)
        async with running(other):
            member = make_member(0, {1: other.network.port})
            async with running(member):
                await member.wait_for_count("handshakes_failed")
                await other.wait_for_count("handshakes_failed")
            assert member.events.empty()
            assert other.events.empty()

    run(test)


@pytest.mark.parametrize(
    "first",
    [
        hello_of(0, b"\x08" * 32),
        hello_of(3),
        VOTE,
        encode_frame(Channel.HELLO, b"\xc0"),
        b"\xff" * 64,
        bytes(64),
    ],
    ids=["other chain", "other index", "vote", "no hello", "too large", "no channel"],
)
def test_a_member_with_a_wrong_hello_is_refused(first: bytes) -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        async with running(member):
            async with calling(member, make_member_identity(0), say=first + VOTE) as wire:
                assert await wire.read_until_closed() in {b"", hello_of(1)}
            await member.wait_for_count("handshakes_failed")
            assert member.events.empty()

    run(test)


def test_a_member_that_should_wait_for_our_call_is_refused() -> None:
    async def test() -> None:
        member = make_member(0, {1: 9})
        async with running(member):
            async with calling(member, make_member_identity(1), say=hello_of(1)) as wire:
                assert await wire.read_until_closed() == b""
            assert member.events.empty()

    run(test)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("years", [(1980, 1981), (2990, 2999)], ids=["expired", "not yet valid"])
def test_dates_in_certificates_are_not_looked_at(years: tuple[int, int], loop: str) -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        async with running(member), calling(member, make_dated_identity(0, years)) as wire:
            wire.writer.write(hello_of(0) + VOTE)
            await member.expect("connected", 0)
            await member.expect("message", 0, Channel.CONSENSUS_VOTE, b"vote")

    run(test, loop)


def make_dated_identity(index: int, years: tuple[int, int]) -> TransportIdentity:
    """Return a registered key with a certificate of other dates, made as docs/spec/p2p.md says."""
    usual = make_member_identity(index)
    seed = hashlib.sha256(b"quorate/public-authority/1" + CHAIN).digest()
    authority = x509.load_pem_x509_certificate(usual.authority_pem)
    public_key = Ed25519PrivateKey.from_private_bytes(bytes([index + 1]) * 32).public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anything")]))
        .issuer_name(authority.subject)
        .public_key(public_key)
        .serial_number(5)
        .not_valid_before(datetime(years[0], 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(years[1], 1, 1, tzinfo=UTC))
        .sign(Ed25519PrivateKey.from_private_bytes(seed), None)
    )
    return TransportIdentity(
        public_key=usual.public_key,
        certificate_pem=certificate.public_bytes(Encoding.PEM),
        private_key_pem=usual.private_key_pem,
        authority_pem=usual.authority_pem,
    )


@pytest.mark.parametrize(
    "bad",
    [
        hello_of(0),
        b"\x7f\xff\xff\xff\x01",
        b"\x00\x00\x00\x00\x01",
        b"\x00\x00\x00\x01\x63",
        b"\x00\x00\x20\x01\x01",
    ],
    ids=["second hello", "two gigabytes", "empty", "unknown channel", "above the cap"],
)
def test_a_malformed_frame_ends_the_connection_of_its_sender_only(bad: bytes) -> None:
    async def test() -> None:
        member = make_member(2, {0: 0, 1: 0})
        async with (
            running(member),
            calling(member, make_member_identity(0), say=hello_of(0)) as good,
        ):
            await member.expect("connected", 0)
            async with calling(member, make_member_identity(1), say=hello_of(1) + bad) as wire:
                await member.expect("connected", 1)
                assert await wire.read_until_closed() == hello_of(2)
                await member.expect("disconnected", 1)
            good.writer.write(VOTE)
            await member.expect("message", 0, Channel.CONSENSUS_VOTE, b"vote")

    run(test)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_reads_nothing_is_reset_and_never_awaited(loop: str) -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        block = bytes(1024 * 1024)
        async with running(member), calling(member, make_member_identity(0)) as wire:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            wire.writer.write(hello_of(0))
            await member.expect("connected", 0)
            while not member.network.counters["peers_stuck"]:
                member.network.send(0, Channel.SYNC, block)
            await member.expect("disconnected", 0)
            assert member.network.connected == []

    run(test, loop)


def test_a_peer_that_takes_too_long_is_reset() -> None:
    async def test() -> None:
        timing = NetworkTiming(stuck_write_s_max=0.05)
        member = make_member(1, {0: 0}, timing=timing)
        async with running(member), calling(member, make_member_identity(0)) as wire:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            wire.writer.write(hello_of(0))
            await member.expect("connected", 0)
            for _ in range(15):
                member.network.send(0, Channel.SYNC, bytes(1024 * 1024))
            await member.expect("disconnected", 0)
            assert not member.network.counters["peers_stuck"]

    run(test)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_peer_that_falls_silent_is_found(loop: str) -> None:
    async def test() -> None:
        member = make_member(1, {0: 0}, timing=IMPATIENT)
        async with (
            running(member),
            calling(member, make_member_identity(0), say=hello_of(0)) as wire,
        ):
            await member.expect("connected", 0)
            assert await wire.read_frame() == (Channel.HELLO, hello_of(1)[5:])
            assert await wire.read_frame() == (Channel.PING, b"")
            await member.expect("disconnected", 0)
            assert member.network.counters["peers_silent"] == 1

    run(test, loop)


def test_pings_keep_an_idle_connection_and_are_told_to_nobody() -> None:
    async def test() -> None:
        high = make_member(1, {0: 0}, timing=IMPATIENT)
        async with running(high):
            low = make_member(0, {1: high.network.port}, timing=IMPATIENT)
            async with running(low):
                await low.expect("connected", 1)
                await low.wait_for_count("bytes_received_ping", 20 * 5)
                assert low.network.connected == [1]
                assert low.events.empty()

    run(test)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_member_that_comes_back_is_found_again(loop: str) -> None:
    async def test() -> None:
        high = make_member(1, {0: 0})
        async with running(high):
            port = high.network.port
            low = make_member(0, {1: port})
            async with running(low):
                await low.expect("connected", 1)
                await high.network.stop()
                await low.expect("disconnected", 1)
                again = make_member(1, {0: 0}, port=port)
                async with running(again):
                    await low.expect("connected", 1)
                    low.network.send(1, Channel.SYNC, b"welcome")
                    await again.expect("connected", 0)
                    await again.expect("message", 0, Channel.SYNC, b"welcome")

    run(test, loop)


def test_the_newest_connection_of_a_peer_replaces_the_older() -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        identity = make_member_identity(0)
        async with running(member), calling(member, identity, say=hello_of(0)) as old:
            await member.expect("connected", 0)
            async with calling(member, identity, say=hello_of(0) + VOTE):
                await member.expect("disconnected", 0)
                await member.expect("connected", 0)
                await member.expect("message", 0, Channel.CONSENSUS_VOTE, b"vote")
                assert await old.read_until_closed() == hello_of(1)
                assert member.network.connected == [0]

    run(test)


def test_a_peer_that_connects_again_and_again_is_refused_for_a_while() -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        async with running(member):
            while not member.network.counters["handshakes_failed"]:
                async with calling(member, make_member_identity(0), say=hello_of(0)) as wire:
                    await wire.reader.read(1)
            assert member.network.counters["connections_made"] >= 10

    run(test)


@pytest.mark.parametrize("loop", LOOPS)
def test_who_never_finishes_the_handshake_is_let_go(loop: str) -> None:
    async def test() -> None:
        member = make_member(1, {0: 0}, timing=NetworkTiming(handshake_timeout_s=0.05))
        async with running(member):
            reader, writer = await asyncio.open_connection(HOST, member.network.port)
            assert await reader.read() == b""
            writer.transport.abort()
            assert member.network.counters["handshakes_failed"] == 1
            assert member.network.statistics()["handshakes_pending"] == 0

    run(test, loop)


def test_a_member_that_never_says_hello_is_let_go() -> None:
    async def test() -> None:
        member = make_member(1, {0: 0}, timing=NetworkTiming(handshake_timeout_s=1.0))
        async with running(member), calling(member, make_member_identity(0)) as wire:
            # On a machine that is slow enough our own hello does not make it either.
            assert await wire.read_until_closed() in {b"", hello_of(1)}
            await member.wait_for_count("handshakes_failed")
            assert member.events.empty()

    run(test)


@pytest.mark.parametrize("loop", LOOPS)
def test_strangers_that_hold_connections_open_do_not_keep_a_member_out(loop: str) -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        async with running(member):
            strangers = [
                await asyncio.open_connection(HOST, member.network.port)
                for _ in range(2 * SLOTS_MAX)
            ]
            await member.wait_for_count("handshakes_evicted", SLOTS_MAX)
            assert member.network.statistics()["handshakes_pending"] == SLOTS_MAX
            async with calling(member, make_member_identity(0), say=hello_of(0)):
                await member.expect("connected", 0)
            for _, writer in strangers:
                writer.transport.abort()

    run(test, loop)


def test_a_flood_of_votes_is_slowed_and_none_is_lost() -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        count = 6_000
        async with running(member), calling(member, make_member_identity(0)) as wire:
            wire.writer.write(hello_of(0) + VOTE * count)
            await member.expect("connected", 0)
            for _ in range(count):
                await member.expect("message", 0, Channel.CONSENSUS_VOTE, b"vote")
            assert member.network.counters["reads_slowed"] > 0

    run(test)


def test_a_flood_of_transactions_is_thinned_and_the_vote_behind_it_arrives() -> None:
    async def test() -> None:
        member = make_member(1, {0: 0})
        flood = encode_frame(Channel.TRANSACTION, b"t") * 5_000
        async with running(member), calling(member, make_member_identity(0)) as wire:
            wire.writer.write(hello_of(0) + flood + VOTE)
            await member.skip_to("message", 0, Channel.CONSENSUS_VOTE, b"vote")
            assert member.network.counters["frames_dropped_transaction"] > 0

    run(test)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_failure_of_our_own_costs_one_connection_and_not_the_network(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(peer: int, channel: Channel, data: bytes) -> None:
        raise ArithmeticError("a mistake of ours")

    async def test() -> None:
        high = make_member(1, {0: 0})
        async with running(high):
            low = make_member(0, {1: high.network.port}, on_message=fail)
            async with running(low):
                await high.expect("connected", 0)
                high.network.send(0, Channel.SYNC, b"boom")
                await high.expect("disconnected", 0)
                await high.expect("connected", 0)
                assert low.network.counters["connections_broken"] == 1

    run(test, loop)
    assert "a mistake of ours" in caplog.text


def test_stopping_tells_of_every_connection_and_frees_the_port() -> None:
    async def test() -> None:
        async with running_mesh(2) as (low, high):
            port = high.network.port
            await high.network.stop()
            await high.expect("disconnected", 0)
            await low.expect("disconnected", 1)
            assert high.network.connected == []
            assert high.network.port == 0
            async with running(make_member(1, {0: 0}, port=port)):
                pass

    run(test)


def test_a_port_that_is_taken_is_named() -> None:
    async def test() -> None:
        member = make_member(0, {})
        async with running(member):
            with pytest.raises(InvalidInputError, match=str(member.network.port)) as caught:
                await make_member(0, {}, port=member.network.port).network.start()
            assert caught.value.code == "cannot_listen"

    run(test)


def test_a_network_that_has_nobody_to_tell_does_not_start() -> None:
    async def test() -> None:
        member = make_member(0, {})
        member.network._callbacks = None
        with pytest.raises(InvariantViolationError):
            await member.network.start()

    run(test)


def test_statistics_count_bytes_by_channel() -> None:
    async def test() -> None:
        async with running_mesh(2) as (low, high):
            low.network.send(1, Channel.CONSENSUS_VOTE, b"vote")
            await high.expect("message", 0, Channel.CONSENSUS_VOTE, b"vote")
            assert low.network.statistics()["bytes_sent_consensus_vote"] == len(VOTE)
            assert high.network.statistics()["bytes_received_consensus_vote"] == len(VOTE)
            assert high.network.statistics()["peers_expected"] == 1

    run(test)


def address_of(index: int, port: int) -> PeerAddress:
    return PeerAddress(index, make_member_identity(index).public_key, HOST, port)


@pytest.mark.parametrize("loop", LOOPS)
def test_member_that_is_taken_off_the_list_is_disconnected_and_may_come_back(loop: str) -> None:
    async def test() -> None:
        async with running_mesh(3) as members:
            first = members[0]
            peers = [address_of(index, members[index].network.port) for index in (1, 2)]
            first.network.update_members(0, peers[:1])
            await first.skip_to("disconnected", 2)
            assert first.network.connected == [1]
            first.network.update_members(0, peers)
            await first.skip_to("connected", 2)
            assert first.network.connected == [1, 2]

    run(test, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_member_that_does_not_know_its_number_is_dialled_by_the_others(loop: str) -> None:
    async def test() -> None:
        first, newcomer = make_member(0, {}), make_member(1, {})
        async with running(newcomer, first):
            newcomer.network.update_members(OWN_INDEX_UNKNOWN, [address_of(0, 0)])
            first.network.update_members(0, [address_of(1, newcomer.network.port)])
            await first.expect("connected", 1)
            await newcomer.expect("connected", 0)

    run(test, loop)
