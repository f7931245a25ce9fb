"""What members decide about themselves, and how strangers become members."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.changes import ParameterChange, Removal
from ledger.errors import TransactionFailedError
from ledger.governance import require_role
from ledger.governance_records import ProposalStatus, decode_used_invite, used_invite_key
from ledger.invite import (
    INVITE_BYTES_MAX,
    INVITE_PREFIX,
    decode_invite,
    invite_from_text,
    invite_to_text,
)
from ledger.members import (
    ActsFor,
    Member,
    NodeAddress,
    Role,
    acts_for_key,
    check_endpoint,
    check_member,
    decode_acts_for,
    decode_member,
    find_member,
    roles_from_text,
    roles_to_text,
)
from ledger.parameters import Parameters
from ledger.transactions.accounts import RotateAccountKey
from ledger.transactions.membership import RequestMembership, UpdateMember
from ledger.transactions.registry import get_kind
from primitives.codec import Encodable
from primitives.errors import InvalidInputError
from tests.helpers.governance import (
    INVITE_ID,
    MEMBERS,
    NEWCOMER,
    decide,
    make_admission,
    make_invite,
    pass_epoch,
    propose,
    prove,
    read_member,
    request,
    seats,
    status_of,
    vote,
)
from tests.helpers.ledger import (
    GENESIS_TIME_MS,
    Chain,
    TestAccount,
    make_account,
    make_key,
    make_network,
    make_transaction,
)

PARAMETERS = Parameters(epoch_length=10, unfinal_blocks_max=2)


@pytest.fixture
def chain() -> Chain:
    return Chain(make_network(parameters=PARAMETERS))


def rotate_account(chain: Chain, account: TestAccount, name: str) -> tuple[str, TestAccount]:
    key = make_key(name)
    body = RotateAccountKey(key.public_key, prove(chain, account.id, key)).to_fields()
    code = chain.submit(account, "rotate_account_key", body).receipts[0].code
    return code, TestAccount(key, account.id)


def update(chain: Chain, sender: TestAccount, member: Member, *possessions: bytes) -> str:
    body = UpdateMember(member, possessions).to_fields()
    return chain.submit(sender, "update_member", body).receipts[0].code


def test_account_gets_another_key_and_stays_the_same_account(chain: Chain) -> None:
    owner = chain.network.accounts[0]
    balance = chain.account(owner.id).balance
    code, renewed = rotate_account(chain, owner, "renewed")
    assert code == "ok"
    assert chain.submit(owner, "transfer", [NEWCOMER.id, 1]).receipts[0].code == "key_not_current"
    assert chain.submit(renewed, "transfer", [NEWCOMER.id, 1]).receipts[0].code == "ok"
    assert chain.account(owner.id).balance == balance - 1
    code, again = rotate_account(chain, renewed, "again")
    assert code == "ok"
    assert chain.submit(again, "transfer", [NEWCOMER.id, 1]).receipts[0].code == "ok"


def test_sponsor_pays_with_its_present_key_alone(chain: Chain) -> None:
    sponsor = chain.network.accounts[0]
    _, renewed = rotate_account(chain, sponsor, "renewed")
    body: list[Encodable] = [NEWCOMER.id, 1]
    sender = chain.network.accounts[1]
    for payer, code in ((sponsor, "key_not_current"), (renewed, "ok")):
        transaction = make_transaction(chain.network, sender, "transfer", body, sponsor=payer)
        assert chain.run([transaction]).receipts[0].code == code


def test_new_account_key_must_be_held(chain: Chain) -> None:
    body = RotateAccountKey(make_key("x").public_key, bytes(64))
    transaction = make_transaction(
        chain.network, MEMBERS[0], "rotate_account_key", body.to_fields()
    )
    with pytest.raises(InvalidInputError) as caught:
        get_kind("rotate_account_key").check(transaction, body, PARAMETERS)
    assert caught.value.code == "bad_signature"


def test_member_changes_contact_endpoint_and_transport_key_at_once(chain: Chain) -> None:
    member = chain.network.genesis.members[1]
    key = make_key("new link")
    changed = replace(
        member, contact="ops@example.org", endpoint="node.example:1", transport_key=key.public_key
    )
    assert update(chain, MEMBERS[1], changed) == "bad_signature"
    assert update(chain, MEMBERS[1], changed, prove(chain, MEMBERS[2].id, key)) == "bad_signature"
    assert update(chain, MEMBERS[1], changed, prove(chain, MEMBERS[1].id, key)) == "ok"
    assert read_member(chain, MEMBERS[1].id) == changed
    assert update(chain, MEMBERS[1], member) == "key_in_use", "a key given up stays given up"


def test_member_adds_observers(chain: Chain) -> None:
    member = chain.network.genesis.members[1]
    keys = [make_key(f"observer {number}") for number in range(2)]
    nodes = tuple(NodeAddress(key.public_key) for key in keys)
    proofs = [prove(chain, member.account, key) for key in keys]
    assert update(chain, MEMBERS[1], replace(member, observers=nodes), *proofs) == "ok"
    taken = replace(chain.network.genesis.members[2], observers=nodes[:1])
    proof = prove(chain, MEMBERS[2].id, keys[0])
    assert update(chain, MEMBERS[2], taken, proof) == "key_in_use"
    assert update(chain, MEMBERS[1], replace(member, observers=nodes[1:])) == "ok"


def test_member_cannot_give_itself_a_name_a_vote_or_roles(chain: Chain) -> None:
    member = chain.network.genesis.members[1]
    for changed in (
        replace(member, name="other"),
        replace(member, roles=member.roles | Role.AUDITOR),
        replace(member, validator_key=make_key("x").public_key),
    ):
        assert update(chain, MEMBERS[1], changed) == "not_yours"
    body = UpdateMember(member)
    transaction = make_transaction(chain.network, MEMBERS[2], "update_member", body.to_fields())
    with pytest.raises(InvalidInputError, match="must be the sender"):
        get_kind("update_member").check(transaction, body, PARAMETERS)
    stranger = replace(member, account=NEWCOMER.id)
    assert update(chain, NEWCOMER, stranger) == "unknown_member"


def test_further_accounts_have_the_roles_of_their_member(chain: Chain) -> None:
    member = chain.network.genesis.members[1]
    ward = make_account("ward")
    assert update(chain, MEMBERS[1], replace(member, accounts=(ward.id,))) == "ok"
    state = chain.store.tip_state
    assert find_member(state, ward.id) == replace(member, accounts=(ward.id,))
    require_role(state, ward.id, Role.CONTRIBUTOR)
    other = replace(chain.network.genesis.members[2], accounts=(ward.id,))
    assert update(chain, MEMBERS[2], other) == "account_in_use"
    mine = replace(chain.network.genesis.members[2], accounts=(MEMBERS[0].id,))
    assert update(chain, MEMBERS[2], mine) == "account_in_use"
    assert update(chain, MEMBERS[1], member) == "ok"
    with pytest.raises(TransactionFailedError) as caught:
        require_role(chain.store.tip_state, ward.id, Role.CONTRIBUTOR)
    assert caught.value.code == "role_needed"
    require_role(chain.store.tip_state, ward.id, 0)


def test_what_is_limited_to_roles_is_refused_to_others(chain: Chain) -> None:
    changes = (
        ParameterChange("create_model_roles", int(Role.CONTRIBUTOR)),
        ParameterChange("contribute_roles", int(Role.CONTRIBUTOR)),
    )
    decide(chain, MEMBERS[:3], *changes)
    pass_epoch(chain)
    for account, roles, code in (
        (NEWCOMER, Role.CONTRIBUTOR, "role_needed"),
        (MEMBERS[0], Role.CONTRIBUTOR, ""),
        (MEMBERS[0], Role.AUDITOR, "role_needed"),
    ):
        try:
            require_role(chain.store.tip_state, account.id, roles)
            found = ""
        except TransactionFailedError as error:
            found = error.code
        assert found == code


def test_newcomer_with_an_invite_asks_and_is_admitted(chain: Chain) -> None:
    receipt = request(chain, make_invite(chain))
    assert (receipt.code, receipt.data, receipt.fee) == ("ok", [1], 0)
    for voter in MEMBERS[:3]:
        vote(chain, voter, 1)
    assert status_of(chain, 1) is ProposalStatus.PASSED
    pass_epoch(chain)
    assert NEWCOMER.id in seats(chain)
    used = chain.store.read(used_invite_key(INVITE_ID), decode_used_invite)
    assert used is not None
    assert used.account == NEWCOMER.id


def test_invite_is_used_once(chain: Chain) -> None:
    invite = make_invite(chain)
    assert request(chain, invite).code == "ok"
    other = make_account("other")
    second = make_admission(chain, other.id, key="k2", transport="t2", name="other")
    assert request(chain, invite, second, other).code == "invite_used"
    assert request(chain, invite).code == "invite_used"


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda chain: make_invite(chain, expires_ms=GENESIS_TIME_MS - 1), "invite_expired"),
        (lambda chain: make_invite(chain, NEWCOMER), "invite_refused"),
        (lambda chain: make_invite(chain, roles=Role.READER), "roles_not_invited"),
    ],
)
def test_invite_that_does_not_count_is_refused(chain: Chain, spoil: object, code: str) -> None:
    assert request(chain, spoil(chain)).code == code  # type: ignore[operator]


def test_invite_of_one_that_changed_its_key_or_lost_its_vote_is_refused(chain: Chain) -> None:
    invite = make_invite(chain, MEMBERS[1])
    _, renewed = rotate_account(chain, MEMBERS[1], "renewed")
    assert request(chain, invite).code == "invite_refused"
    again = make_invite(chain, renewed, invite_id=b"j" * 16)
    decide(chain, [MEMBERS[0], MEMBERS[2], MEMBERS[3]], Removal(MEMBERS[1].id))
    pass_epoch(chain)
    assert request(chain, again).code == "invite_refused"


def test_request_is_free_with_a_valid_invite_alone() -> None:
    chain = Chain(make_network(parameters=replace(PARAMETERS, fee_per_byte=1)))
    assert request(chain, make_invite(chain)).code == "ok"
    late = make_invite(chain, expires_ms=GENESIS_TIME_MS, invite_id=b"j" * 16)
    other = make_account("other")
    second = make_admission(chain, other.id, key="k2", transport="t2", name="other")
    assert request(chain, late, second, other).code == "fee_too_low"


def test_member_asks_for_a_vote_without_an_invite(chain: Chain) -> None:
    decide(chain, MEMBERS[:3], make_admission(chain, roles=Role.READER))
    pass_epoch(chain)
    assert request(chain, make_invite(chain)).code == "already_member"
    wanted = make_admission(chain)
    assert request(chain, None, wanted).code == "ok"
    stranger = make_account("stranger")
    alone = make_admission(chain, stranger.id, key="k3", transport="t3", name="stranger")
    assert request(chain, None, alone, stranger).code == "unknown_member"


def test_request_that_is_wrong_by_itself_never_enters_a_block(chain: Chain) -> None:
    invite, admission = make_invite(chain), make_admission(chain)
    foreign = make_invite(chain, chain_id=b"f" * 32)
    forged = replace(invite, name="somebody else")
    for body, sender in (
        (RequestMembership(invite.encode(), replace(admission, possession=None)), NEWCOMER),
        (RequestMembership(invite.encode(), admission), MEMBERS[0]),
        (RequestMembership(foreign.encode(), admission), NEWCOMER),
        (RequestMembership(forged.encode(), admission), NEWCOMER),
    ):
        transaction = make_transaction(
            chain.network, sender, "request_membership", body.to_fields()
        )
        with pytest.raises(InvalidInputError):
            get_kind("request_membership").check(transaction, body, PARAMETERS)


def test_key_that_is_a_validators_already_is_refused(chain: Chain) -> None:
    key = chain.network.validators[0]
    admission = make_admission(chain)
    stolen = replace(
        admission,
        member=replace(admission.member, validator_key=key.public_key),
        possession=prove(chain, NEWCOMER.id, key),
    )
    assert request(chain, make_invite(chain), stolen).code == "key_in_use"
    assert propose(chain, MEMBERS[0], stolen).code == "key_in_use"


def test_invite_reads_back_from_what_was_pasted(chain: Chain) -> None:
    invite = make_invite(chain)
    text = invite_to_text(invite)
    assert invite_from_text(text) == invite
    assert invite_from_text(f"  {text[:40]}\n {text[40:]}\n") == invite
    assert decode_invite(invite.encode()) == invite
    assert len(invite.encode()) <= INVITE_BYTES_MAX
    with pytest.raises(InvalidInputError, match="begins with"):
        invite_from_text("hello")
    with pytest.raises(InvalidInputError, match="copy it whole"):
        invite_from_text(text + "é")


def test_one_character_that_is_wrong_is_found_out(chain: Chain) -> None:
    text = invite_to_text(make_invite(chain))
    for place in range(len(INVITE_PREFIX), len(text), 7):
        other = "A" if text[place] != "A" else "B"
        with pytest.raises(InvalidInputError):
            invite_from_text(text[:place] + other + text[place + 1 :])
        with pytest.raises(InvalidInputError):
            invite_from_text(text[:place] + text[place + 1 :])


def test_every_signed_field_of_an_invite_counts(chain: Chain) -> None:
    invite = make_invite(chain)
    for forged in (
        replace(invite, chain_id=b"f" * 32),
        replace(invite, trusted_height=40),
        replace(invite, trusted_block_id=b"f" * 32),
        replace(invite, roles=Role(15)),
        replace(invite, expires_ms=invite.expires_ms + 1),
        replace(invite, invite_id=b"x" * 16),
        replace(invite, inviter=MEMBERS[1].id),
        replace(invite, peers=(NodeAddress(make_key("evil").public_key, "evil.example:1"),)),
    ):
        with pytest.raises(InvalidInputError) as caught:
            forged.check()
        assert caught.value.code == "bad_signature"
    with pytest.raises(InvalidInputError):
        replace(invite, name="a\x00b").sign(MEMBERS[0].key).check()
    no_peers = replace(invite, peers=()).encode()
    with pytest.raises(InvalidInputError, match="at least one node"):
        decode_invite(no_peers)


@given(st.binary(max_size=300))
def test_other_bytes_are_no_invite(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        decode_invite(data)


def test_members_read_back_and_are_checked() -> None:
    member = Member(
        name="Clinic B",
        account=NEWCOMER.id,
        validator_key=make_key("v").public_key,
        transport_key=make_key("t").public_key,
        endpoint="b.example:26656",
        contact="ops@b.example",
        roles=Role.VALIDATOR | Role.AUDITOR,
        observers=(NodeAddress(make_key("o").public_key, "o.example:1"),),
        accounts=(MEMBERS[0].id,),
    )
    assert decode_member(member.encode()) == member
    assert member.list_nodes()[1] == member.observers[0]
    check_member(member)
    for bad in (
        replace(member, name=""),
        replace(member, contact="a\nb"),
        replace(member, endpoint=""),
        replace(member, endpoint="h:0"),
        replace(member, endpoint="h:70000"),
        replace(member, validator_key=None),
        replace(member, transport_key=None, roles=Role.READER),
        replace(member, transport_key=member.validator_key),
        replace(member, accounts=(member.account,)),
        replace(member, transport_key=bytes(32)),
    ):
        with pytest.raises(InvalidInputError):
            check_member(bad)
    nowhere = replace(
        member, transport_key=None, endpoint="", roles=Role.CONTRIBUTOR, validator_key=None
    )
    check_member(nowhere)
    assert nowhere.list_nodes()[0] is None
    record = ActsFor(NEWCOMER.id)
    assert decode_acts_for(record.encode()) == record
    assert acts_for_key(NEWCOMER.id).endswith(NEWCOMER.id)
    with pytest.raises(InvalidInputError):
        check_endpoint("nowhere", "endpoint")


def test_roles_have_names() -> None:
    assert roles_to_text(roles_from_text(["reader", "validator"])) == ["validator", "reader"]
    with pytest.raises(InvalidInputError, match="roles knows validator"):
        roles_from_text(["king"])
