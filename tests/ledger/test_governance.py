"""Proposals and votes: what passes, what does not, and when it takes effect."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.changes import (
    AccountRecovery,
    Change,
    ParameterChange,
    Reinstatement,
    Removal,
    RoleChange,
    Rotation,
    SuspensionOrder,
    Upgrade,
    check_change,
    compute_changes_hash,
    concerns,
    read_change,
)
from ledger.governance import compute_votes_needed, read_protocol
from ledger.governance_records import (
    CHAIN_GOVERNANCE,
    Governance,
    ProposalStatus,
    Protocol,
    UsedInvite,
    decode_governance,
    decode_proposal,
    decode_protocol,
    decode_used_invite,
    proposal_key,
)
from ledger.members import Role
from ledger.membership_records import CHAIN_PENDING_CHANGES, suspension_key
from ledger.parameters import Parameters, check_parameter
from ledger.schema import CHAIN_SUPPLY, decode_supply
from ledger.transactions.governance import Propose, Vote
from ledger.transactions.registry import get_kind
from primitives.errors import InvalidInputError
from primitives.hashing import ZERO_HASH
from primitives.validator_set import quorum_size
from tests.helpers.governance import (
    MEMBERS,
    NEWCOMER,
    decide,
    make_admission,
    pass_epoch,
    propose,
    prove,
    read_member,
    read_proposal,
    seats,
    status_of,
    vote,
    withdraw,
)
from tests.helpers.ledger import Chain, make_account, make_key, make_network, make_transaction

PARAMETERS = Parameters(epoch_length=12, unfinal_blocks_max=2, proposal_expiry_blocks=20)


@pytest.fixture
def chain() -> Chain:
    return Chain(make_network(parameters=PARAMETERS))


def test_quorum_admits_and_the_next_epoch_counts_the_newcomer(chain: Chain) -> None:
    proposal = decide(chain, MEMBERS[:3], make_admission(chain))
    assert proposal.status is ProposalStatus.PASSED
    assert read_member(chain, NEWCOMER.id).roles is Role.READER, "it may read before it votes"
    assert NEWCOMER.id not in seats(chain)
    pass_epoch(chain)
    assert seats(chain)[-1] == NEWCOMER.id
    assert Role.VALIDATOR in read_member(chain, NEWCOMER.id).roles
    assert status_of(chain, 1) is ProposalStatus.APPLIED
    chain.check_conservation()


def test_two_of_four_decide_nothing(chain: Chain) -> None:
    assert decide(chain, MEMBERS[:2], make_admission(chain)).status is ProposalStatus.OPEN
    pass_epoch(chain)
    assert len(seats(chain)) == 4


@given(count=st.integers(1, 100), percent=st.integers(51, 67))
def test_threshold_is_more_than_half_and_never_more_than_a_quorum(count: int, percent: int) -> None:
    parameters = Parameters(members_threshold_percent=percent)
    needed = compute_votes_needed(parameters, (Removal(NEWCOMER.id),), count)
    assert count / 2 < needed <= quorum_size(count)


@pytest.mark.parametrize(
    "name", [each for each in Parameters().to_mapping() if "threshold" in each]
)
@pytest.mark.parametrize("percent", [50, 68, 100])
def test_threshold_that_would_lose_the_quorum_is_refused(name: str, percent: int) -> None:
    with pytest.raises(InvalidInputError, match=r"must lie in \[51, 67\]"):
        check_parameter(name, percent)


def test_hardest_of_several_changes_counts() -> None:
    changes: tuple[Change, ...] = (SuspensionOrder(NEWCOMER.id), Removal(NEWCOMER.id))
    parameters = Parameters()
    assert compute_votes_needed(parameters, changes[:1], 10) == 6
    assert compute_votes_needed(parameters, changes, 10) == 7


def test_so_many_against_reject_it_at_once(chain: Chain) -> None:
    propose(chain, MEMBERS[0], ParameterChange("fee_per_byte", 5))
    vote(chain, MEMBERS[1], 1, yes=False)
    assert status_of(chain, 1) is ProposalStatus.OPEN
    vote(chain, MEMBERS[2], 1, yes=False)
    assert status_of(chain, 1) is ProposalStatus.REJECTED
    assert vote(chain, MEMBERS[3], 1).code == "proposal_closed"


def test_vote_can_be_changed_while_it_is_open(chain: Chain) -> None:
    propose(chain, MEMBERS[0], ParameterChange("fee_per_byte", 5))
    assert vote(chain, MEMBERS[1], 1, yes=False).code == "ok"
    assert vote(chain, MEMBERS[1], 1, yes=False).code == "already_voted"
    assert vote(chain, MEMBERS[1], 1).code == "ok"
    assert vote(chain, MEMBERS[2], 1).code == "ok"
    assert status_of(chain, 1) is ProposalStatus.PASSED


def test_who_has_no_vote_cannot_vote_and_strangers_cannot_propose(chain: Chain) -> None:
    assert propose(chain, NEWCOMER, ParameterChange("fee_per_byte", 5)).code == "unknown_member"
    propose(chain, MEMBERS[0], ParameterChange("fee_per_byte", 5))
    assert vote(chain, NEWCOMER, 1).code == "not_a_validator"
    body = Vote(9, ZERO_HASH, yes=True).to_fields()
    assert chain.submit(MEMBERS[1], "vote", body).receipts[0].code == "unknown_proposal"


def test_vote_is_for_what_was_seen(chain: Chain) -> None:
    propose(chain, MEMBERS[0], ParameterChange("fee_per_byte", 5))
    other = compute_changes_hash((ParameterChange("fee_per_byte", 6),))
    body = Vote(1, other, yes=True).to_fields()
    assert chain.submit(MEMBERS[1], "vote", body).receipts[0].code == "wrong_proposal"


def test_proposal_expires_and_is_closed_at_an_epochs_end(chain: Chain) -> None:
    propose(chain, MEMBERS[0], ParameterChange("fee_per_byte", 5))
    while chain.store.tip().height < 22:
        chain.run()
    assert vote(chain, MEMBERS[1], 1).code == "proposal_closed"
    pass_epoch(chain)
    assert status_of(chain, 1) is ProposalStatus.EXPIRED
    governance = chain.store.read(CHAIN_GOVERNANCE, decode_governance)
    assert governance == Governance(1, ())


def test_proposer_alone_withdraws(chain: Chain) -> None:
    propose(chain, MEMBERS[0], ParameterChange("fee_per_byte", 5))
    assert withdraw(chain, MEMBERS[1], 1).code == "not_the_proposer"
    assert withdraw(chain, MEMBERS[0], 1).code == "ok"
    assert status_of(chain, 1) is ProposalStatus.WITHDRAWN
    assert withdraw(chain, MEMBERS[0], 1).code == "proposal_closed"


def test_withdrawn_proposals_count_until_the_epoch_ends(chain: Chain) -> None:
    bodies = [Propose("t", (ParameterChange("fee_per_byte", n),)).to_fields() for n in range(8)]
    transactions = []
    for number, body in enumerate(bodies):
        transactions += [
            make_transaction(chain.network, MEMBERS[0], "propose", body, nonce=2 * number),
            make_transaction(
                chain.network, MEMBERS[0], "withdraw_proposal", [number + 1], nonce=2 * number + 1
            ),
        ]
    assert {each.code for each in chain.run(transactions).receipts} == {"ok"}
    assert propose(chain, MEMBERS[0], ParameterChange("fee_per_byte", 9)).code == (
        "too_many_pending"
    )
    pass_epoch(chain)
    assert propose(chain, MEMBERS[0], ParameterChange("fee_per_byte", 9)).code == "ok"


def test_name_of_a_former_member_is_free_again(chain: Chain) -> None:
    decide(chain, [MEMBERS[0], MEMBERS[2], MEMBERS[3]], Removal(MEMBERS[1].id))
    pass_epoch(chain)
    again = make_admission(chain, name="member-1")
    assert propose(chain, MEMBERS[0], again).code == "ok"


def test_validator_has_eight_proposals_open_and_another_member_one(chain: Chain) -> None:
    for number in range(8):
        change = ParameterChange("fee_per_byte", number)
        assert propose(chain, MEMBERS[0], change).code == "ok"
    assert propose(chain, MEMBERS[0], ParameterChange("fee_per_byte", 9)).code == (
        "too_many_pending"
    )
    decide(chain, MEMBERS[1:4], make_admission(chain, roles=Role.READER))
    pass_epoch(chain)
    assert propose(chain, NEWCOMER, ParameterChange("fee_per_byte", 1)).code == "ok"
    assert propose(chain, NEWCOMER, ParameterChange("fee_per_byte", 2)).code == "too_many_pending"


def test_parameters_change_with_the_epoch_and_are_in_force_from_the_next_block(
    chain: Chain,
) -> None:
    decide(
        chain,
        MEMBERS[:3],
        ParameterChange("fee_per_byte", 5),
        ParameterChange("payload_bytes_max", 2048),
    )
    while chain.store.tip().height < PARAMETERS.epoch_length - 1:
        assert chain.store.parameters().fee_per_byte == 0
        chain.run()
    chain.run()
    assert chain.store.parameters() == replace(PARAMETERS, fee_per_byte=5, payload_bytes_max=2048)
    poor = chain.submit(NEWCOMER, "transfer", [MEMBERS[0].id, 1], fee_limit=10**6).receipts[0]
    assert poor.code == "insufficient_balance"


def test_what_is_asked_of_validators_is_free_whatever_the_price(chain: Chain) -> None:
    decide(chain, MEMBERS[:3], ParameterChange("fee_per_byte", 2**31))
    pass_epoch(chain)
    assert decide(chain, MEMBERS[:3], ParameterChange("fee_per_byte", 0)).status is (
        ProposalStatus.PASSED
    )
    assert withdraw(chain, NEWCOMER, 2).code == "fee_too_low"
    pass_epoch(chain)
    assert chain.store.parameters().fee_per_byte == 0


def test_step_that_could_never_be_safe_is_refused(chain: Chain) -> None:
    changes = [
        make_admission(
            chain, make_account(f"m{i}").id, key=f"k{i}", transport=f"t{i}", name=f"m{i}"
        )
        for i in range(4)
    ]
    receipt = propose(chain, MEMBERS[0], *changes)
    assert receipt.code == "unsafe_step"
    assert "change fewer at a time" in receipt.message


def test_put_off_decision_waits_and_what_concerns_the_same_member_waits_behind_it(
    chain: Chain,
) -> None:
    first = make_admission(chain)
    other = make_account("other")
    second = make_admission(chain, other.id, key="k2", transport="t2", name="other")
    decide(chain, MEMBERS[:3], first, Removal(MEMBERS[1].id))
    decide(chain, [MEMBERS[0], MEMBERS[3], MEMBERS[2]], second, Removal(MEMBERS[2].id))
    decide(chain, [MEMBERS[0], MEMBERS[3], MEMBERS[2]], RoleChange(other.id, Role.READER))
    pass_epoch(chain)
    assert NEWCOMER.id in seats(chain)
    assert other.id not in seats(chain)
    assert [status_of(chain, number) for number in (1, 2, 3)] == [
        ProposalStatus.APPLIED,
        ProposalStatus.PASSED,
        ProposalStatus.PASSED,
    ]
    pass_epoch(chain)
    pass_epoch(chain)
    assert other.id not in seats(chain), "the later decision took its vote again"
    assert read_member(chain, other.id).roles is Role.READER


def test_removal_takes_vote_roles_and_connections_and_nothing_else(chain: Chain) -> None:
    balance = chain.account(MEMBERS[1].id).balance
    decide(chain, [MEMBERS[0], MEMBERS[2], MEMBERS[3]], Removal(MEMBERS[1].id))
    pass_epoch(chain)
    assert MEMBERS[1].id not in seats(chain)
    assert read_member(chain, MEMBERS[1].id).roles is Role.NONE
    assert chain.account(MEMBERS[1].id).balance == balance
    assert propose(chain, MEMBERS[1], ParameterChange("fee_per_byte", 1)).code == "unknown_member"
    assert propose(chain, MEMBERS[0], Removal(MEMBERS[1].id)).code == "unknown_member"
    chain.check_conservation()


def test_suspension_by_vote_and_reinstatement(chain: Chain) -> None:
    assert propose(chain, MEMBERS[0], Reinstatement(MEMBERS[3].id)).code == "not_suspended"
    decide(chain, MEMBERS[:3], SuspensionOrder(MEMBERS[3].id))
    assert propose(chain, MEMBERS[3], ParameterChange("fee_per_byte", 1)).code == "suspended"
    pass_epoch(chain)
    assert MEMBERS[3].id not in seats(chain)
    decide(chain, MEMBERS[:2], Reinstatement(MEMBERS[3].id))
    pass_epoch(chain)
    assert MEMBERS[3].id in seats(chain)
    assert chain.store.get(suspension_key(MEMBERS[3].id)) is None


def test_account_whose_key_was_lost_gets_another(chain: Chain) -> None:
    key = make_key("found")
    recovery = AccountRecovery(MEMBERS[3].id, key.public_key, prove(chain, MEMBERS[3].id, key))
    decide(chain, MEMBERS[:3], recovery)
    pass_epoch(chain)
    receipt = propose(chain, MEMBERS[3], ParameterChange("fee_per_byte", 1))
    assert receipt.code == "key_not_current"
    assert chain.account(MEMBERS[3].id).public_key == key.public_key


def test_vote_key_can_be_replaced_by_vote(chain: Chain) -> None:
    key = make_key("rescued")
    rotation = Rotation(MEMBERS[3].id, key.public_key, prove(chain, MEMBERS[3].id, key))
    decide(chain, MEMBERS[:3], rotation)
    pass_epoch(chain)
    assert read_member(chain, MEMBERS[3].id).validator_key == key.public_key


def test_issuance_is_shared_and_conserved_and_never_beyond_what_money_can_be(chain: Chain) -> None:
    before = chain.store.read(CHAIN_SUPPLY, decode_supply)
    decide(chain, MEMBERS[:3], ParameterChange("issuance_per_epoch", 1003))
    pass_epoch(chain)
    for height in range(PARAMETERS.epoch_length):
        chain.run(proposer=height % 4)
    after = chain.store.read(CHAIN_SUPPLY, decode_supply)
    assert before is not None
    assert after is not None
    assert after.total - before.total == 1000, "what does not divide is not made"
    assert [chain.account(each.id).balance for each in MEMBERS[:4]] == [250] * 4
    chain.check_conservation()


def test_upgrade_is_announced_and_comes_with_its_epoch(chain: Chain) -> None:
    assert propose(chain, MEMBERS[0], Upgrade(2, 0 + 1)).code == "ok"
    withdraw(chain, MEMBERS[0], 1)
    decide(chain, MEMBERS[:3], Upgrade(2, 2))
    assert read_protocol(chain.store.tip_state) == Protocol(1, 2, 2)
    pass_epoch(chain)
    assert read_protocol(chain.store.tip_state).version == 1
    pass_epoch(chain)
    assert read_protocol(chain.store.tip_state) == Protocol(2)
    assert propose(chain, MEMBERS[0], Upgrade(2, 9)).code == "too_late"
    assert propose(chain, MEMBERS[0], Upgrade(3, 2)).code == "too_late"


def test_what_is_no_longer_feasible_when_it_passes_lapses(chain: Chain) -> None:
    propose(chain, MEMBERS[0], make_admission(chain))
    propose(chain, MEMBERS[1], make_admission(chain, MEMBERS[7].id, transport="link two"))
    for voter in MEMBERS[1:3]:
        vote(chain, voter, 1)
    for voter in (MEMBERS[0], MEMBERS[2]):
        vote(chain, voter, 2)
    assert status_of(chain, 1) is ProposalStatus.PASSED
    assert status_of(chain, 2) is ProposalStatus.LAPSED, "its key is the other's by now"


@pytest.mark.parametrize(
    "change",
    [
        ParameterChange("epoch_length", 5),
        ParameterChange("no_such", 5),
        ParameterChange("block_bytes_max", 2**40),
        Rotation(NEWCOMER.id, make_key("x").public_key, bytes(64)),
    ],
)
def test_change_that_is_wrong_by_itself_never_enters_a_block(chain: Chain, change: Change) -> None:
    body = Propose("t", (change,))
    transaction = make_transaction(chain.network, MEMBERS[0], "propose", body.to_fields())
    with pytest.raises(InvalidInputError):
        get_kind("propose").check(transaction, body, PARAMETERS)


def test_admission_without_possession_or_roles_is_refused(chain: Chain) -> None:
    good = make_admission(chain)
    for bad in (
        replace(good, possession=None),
        replace(good, transport_possession=bytes(64)),
        replace(good, member=replace(good.member, roles=Role.NONE)),
        replace(good, member=replace(good.member, account=MEMBERS[5].id)),
    ):
        with pytest.raises(InvalidInputError):
            check_change(bad, chain.network.chain_id)


def test_titles_that_play_tricks_are_refused(chain: Chain) -> None:
    body = Propose("a\x1b[2Jb", (Removal(MEMBERS[1].id),))
    transaction = make_transaction(chain.network, MEMBERS[0], "propose", body.to_fields())
    with pytest.raises(InvalidInputError, match="printable"):
        get_kind("propose").check(transaction, body, PARAMETERS)
    with pytest.raises(InvalidInputError, match="at least one"):
        get_kind("propose").decode_body(["t", []])


def test_every_change_reads_back(chain: Chain) -> None:
    changes: list[Change] = [
        make_admission(chain),
        Removal(NEWCOMER.id),
        Rotation(NEWCOMER.id, b"k" * 32, b"s" * 64),
        RoleChange(NEWCOMER.id, Role.READER),
        SuspensionOrder(NEWCOMER.id),
        Reinstatement(NEWCOMER.id),
        AccountRecovery(NEWCOMER.id, b"k" * 32, b"s" * 64),
        ParameterChange("fee_per_byte", 3),
        Upgrade(2, 7),
    ]
    for change in changes:
        assert read_change(change.to_fields()) == change  # type: ignore[arg-type]
    assert [concerns(each) for each in changes[-2:]] == [None, None]
    for bad in ([], [0], [10], [True], b"x", None, [2, b"short"]):
        with pytest.raises(InvalidInputError):
            read_change(bad)  # type: ignore[arg-type]


def test_records_read_back(chain: Chain) -> None:
    decide(chain, MEMBERS[:2], ParameterChange("fee_per_byte", 5))
    proposal = read_proposal(chain, 1)
    assert decode_proposal(proposal.encode()) == proposal
    assert chain.store.get(proposal_key(1)) == proposal.encode()
    for record, decode in (
        (Governance(3, (1, 3)), decode_governance),
        (Protocol(2, 3, 4), decode_protocol),
        (UsedInvite(NEWCOMER.id, 7), decode_used_invite),
    ):
        assert decode(record.encode()) == record  # type: ignore[operator]


def test_nothing_waits_when_nothing_was_decided(chain: Chain) -> None:
    pass_epoch(chain)
    assert chain.store.get(CHAIN_PENDING_CHANGES) is None
