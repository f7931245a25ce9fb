"""Who a node connects to, by which number, with which key; which strangers it lets in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.changes import Removal, RoleChange
from ledger.members import NodeAddress, Role
from ledger.parameters import Parameters
from ledger.reader import LedgerReader
from ledger.transactions.membership import UpdateMember
from node.guests import GuestDoor
from node.home import NodeHome
from node.node_keys import NodeKeys
from node.peering import Peering
from node.registry import PROVISIONAL_NUMBER_FIRST, make_invited_peers, read_registry
from node.storage.keystore import save_seed
from p2p.peer_book import OWN_INDEX_UNKNOWN
from primitives.errors import InvalidInputError
from primitives.keys import PrivateKey
from tests.helpers.governance import (
    MEMBERS,
    NEWCOMER,
    decide,
    make_admission,
    make_invite,
    pass_epoch,
    prove,
    request,
    vote,
)
from tests.helpers.ledger import GENESIS_TIME_MS, Chain, make_key, make_network

PARAMETERS = Parameters(epoch_length=10, unfinal_blocks_max=2)
LINK = make_key("link").public_key


@pytest.fixture
def chain() -> Chain:
    return Chain(make_network(parameters=PARAMETERS))


def reader_of(chain: Chain) -> LedgerReader:
    return LedgerReader(chain.values)


def own_key(chain: Chain, index: int) -> bytes:
    return chain.network.transports[index].public_key


def test_validators_form_the_mesh(chain: Chain) -> None:
    registry = read_registry(reader_of(chain), [own_key(chain, 2)])
    assert (registry.own_number, registry.is_in_mesh) == (2, True)
    assert [peer.index for peer in registry.peers] == [0, 1, 3]
    assert not any(peer.dials_us for peer in registry.peers)


def test_observers_dial_the_mesh_and_nobody_dials_them(chain: Chain) -> None:
    key = make_key("observer")
    member = chain.network.genesis.members[1]
    changed = replace(member, observers=(NodeAddress(key.public_key),))
    body = UpdateMember(changed, (prove(chain, member.account, key),)).to_fields()
    chain.submit(MEMBERS[1], "update_member", body)
    observer = read_registry(reader_of(chain), [key.public_key])
    assert (observer.own_number, observer.is_in_mesh) == (1001, False)
    assert [peer.index for peer in observer.peers] == [0, 1, 2, 3]
    validator = read_registry(reader_of(chain), [own_key(chain, 0)])
    assert [(peer.index, peer.dials_us) for peer in validator.peers][-1] == (3, False)
    assert (1001, True) in [(peer.index, peer.dials_us) for peer in validator.peers]


def test_newcomer_is_listed_before_it_has_a_vote_and_who_has_left_is_not(chain: Chain) -> None:
    stranger = read_registry(reader_of(chain), [LINK])
    assert (stranger.own_number, stranger.is_listed) == (OWN_INDEX_UNKNOWN, False)
    decide(chain, MEMBERS[:3], make_admission(chain))
    waiting = read_registry(reader_of(chain), [LINK])
    assert (waiting.own_number, waiting.is_in_mesh) == (4, False)
    pass_epoch(chain)
    assert read_registry(reader_of(chain), [LINK]).is_in_mesh
    decide(chain, MEMBERS[:4], Removal(NEWCOMER.id))
    pass_epoch(chain)
    gone = read_registry(reader_of(chain), [LINK])
    assert not gone.is_listed
    assert 4 not in [
        peer.index for peer in read_registry(reader_of(chain), [own_key(chain, 0)]).peers
    ]


def test_member_without_a_vote_is_an_observer(chain: Chain) -> None:
    decide(chain, MEMBERS[:3], RoleChange(MEMBERS[3].id, Role.READER))
    pass_epoch(chain)
    registry = read_registry(reader_of(chain), [own_key(chain, 3)])
    assert (registry.own_number, registry.is_in_mesh) == (3, False)


def test_node_uses_the_key_that_is_listed(chain: Chain) -> None:
    first, second = make_key("new link"), own_key(chain, 1)
    registry = read_registry(reader_of(chain), [first.public_key, second])
    assert registry.own_key == second
    assert read_registry(reader_of(chain), [first.public_key]).own_key == first.public_key


def test_nodes_of_an_invite_are_called_as_long_as_the_ledger_does_not_list_them(
    chain: Chain,
) -> None:
    registry = read_registry(reader_of(chain), [LINK])
    known = NodeAddress(own_key(chain, 0), "127.0.0.1:7000")
    moved = NodeAddress(make_key("moved").public_key, "elsewhere.example:5")
    peers = make_invited_peers(registry, [known, moved])
    assert [peer.index for peer in peers] == [0, 1, 2, 3, PROVISIONAL_NUMBER_FIRST + 1]
    assert (peers[-1].host, peers[-1].port) == ("elsewhere.example", 5)


class Clock:
    """A wall clock that stands where it was put."""

    def __init__(self) -> None:
        self.now_ms = GENESIS_TIME_MS

    def read(self) -> int:
        return self.now_ms


def test_guest_with_a_valid_invite_is_let_in_until_it_expires(chain: Chain) -> None:
    clock = Clock()
    door = GuestDoor(chain.network.chain_id, chain.store.tip_state, clock.read)
    invite = make_invite(chain, expires_ms=GENESIS_TIME_MS + 1_000)
    door.admit(LINK, invite.encode())
    clock.now_ms += 1_001
    with pytest.raises(InvalidInputError) as caught:
        door.admit(LINK, invite.encode())
    assert caught.value.code == "invite_expired"


def test_used_invite_serves_the_one_that_used_it_while_its_request_is_open(chain: Chain) -> None:
    clock = Clock()
    door = GuestDoor(chain.network.chain_id, chain.store.tip_state, clock.read)
    invite = make_invite(chain)
    assert request(chain, invite).code == "ok"
    clock.now_ms = invite.expires_ms + 1
    door.admit(LINK, invite.encode())
    with pytest.raises(InvalidInputError):
        door.admit(make_key("thief").public_key, invite.encode())
    for voter in MEMBERS[:2]:
        vote(chain, voter, 1, yes=False)
    with pytest.raises(InvalidInputError):
        door.admit(LINK, invite.encode())


def test_forged_and_foreign_invites_open_nothing(chain: Chain) -> None:
    door = GuestDoor(chain.network.chain_id, chain.store.tip_state, Clock().read)
    good = make_invite(chain)
    for bad, code in (
        (replace(good, expires_ms=good.expires_ms + 1).encode(), "bad_signature"),
        (make_invite(chain, chain_id=b"f" * 32).encode(), "wrong_chain"),
        (make_invite(chain, NEWCOMER).encode(), "invite_refused"),
        (b"nonsense", ""),
    ):
        with pytest.raises(InvalidInputError) as caught:
            door.admit(LINK, bad)
        assert not code or caught.value.code == code


def test_keys_are_opened_once_and_the_password_is_asked_for_once(tmp_path: Path) -> None:
    home = NodeHome(tmp_path)
    asked: list[Path] = []

    def read_password(path: Path) -> str:
        asked.append(path)
        return "long enough"

    save_seed(home.transport_key_file, b"t" * 32, password="long enough", scrypt_cost=2)
    save_seed(home.validator_key_file, b"v" * 32)
    keys = NodeKeys(home, read_password)
    for _ in range(2):
        assert list(keys.load_transport_seeds()) == [PrivateKey(b"t" * 32).public_key]
        assert list(keys.load_validator_keys()) == [PrivateKey(b"v" * 32).public_key]
    assert asked == [home.transport_key_file]
    save_seed(home.transport_key_file.with_name("transport-2.json"), b"u" * 32)
    assert len(keys.load_transport_seeds()) == 2


def test_blocks_that_change_members_concern_the_network() -> None:
    assert Peering.is_concerned([b"account/x", b"member/" + b"a" * 20])
    assert Peering.is_concerned([b"proposal/" + bytes(8)])
    assert not Peering.is_concerned([b"account/x", b"chain/parent"])
