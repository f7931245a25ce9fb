"""Validators are admitted, removed, replaced, rotated and suspended, as the ledger decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from ledger.membership import read_next_validators, read_validators
from ledger.membership_records import (
    CHAIN_PENDING_CHANGES,
    CHANGES_PER_DECISION_MAX,
    PENDING_DECISIONS_MAX,
    Admission,
    Approval,
    Change,
    KeyHolder,
    PendingChanges,
    Removal,
    Rotation,
    Suspension,
    decode_approval,
    decode_key_holder,
    decode_pending_changes,
    decode_suspension,
    possession_message,
    read_change,
    suspension_key,
)
from ledger.parameters import Parameters
from ledger.receipt import ReceiptStatus
from ledger.schema import CHAIN_ROSTER, Member, decode_roster
from ledger.transactions.evidence import (
    EvidenceRecord,
    ReportEvidence,
    decode_evidence_record,
    evidence_key,
)
from ledger.transactions.membership import (
    APPROVAL_EPOCHS_MAX,
    ChangeValidators,
    RotateValidatorKey,
)
from ledger.transactions.registry import get_kind
from primitives.accounts import AccountId, account_id_from_public_key
from primitives.certificates import VoteKind, vote_signing_bytes
from primitives.codec import Value, decode
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.evidence import Evidence, EvidenceKind, SignedHeader, proposal_signing_bytes
from primitives.hashing import ZERO_HASH
from primitives.keys import PrivateKey
from primitives.vote import Vote
from tests.helpers.ledger import (
    Chain,
    TestAccount,
    make_account,
    make_header,
    make_key,
    make_network,
    make_transaction,
)

LENGTH = 4
PARAMETERS = Parameters(epoch_length=LENGTH, unfinal_blocks_max=2)
MEMBERS = tuple(make_account(f"member {index}") for index in range(10))
NEWCOMER = make_account("newcomer")


@pytest.fixture
def chain() -> Chain:
    return Chain(make_network(parameters=PARAMETERS))


def make_admission(
    chain: Chain, account: AccountId = NEWCOMER.id, *, key: str = "vote", transport: str = "link"
) -> Admission:
    validator_key = make_key(key)
    member = Member(
        "newcomer",
        account,
        validator_key.public_key,
        make_key(transport).public_key,
        "127.0.0.1:1",
    )
    message = possession_message(chain.network.chain_id, account, validator_key.public_key)
    return Admission(member, validator_key.sign(message))


def approve(chain: Chain, voters: Sequence[TestAccount], *changes: Change) -> list[str]:
    """Let members approve changes, a block each; return the codes of their receipts."""
    body = ChangeValidators(tuple(changes)).to_fields()
    blocks = [chain.submit(voter, "change_validators", body) for voter in voters]
    return [block.receipts[0].code for block in blocks]


def seats(chain: Chain) -> list[AccountId]:
    return [each.account for each in read_validators(chain.store.tip_state).validators]


def pass_epoch(chain: Chain) -> None:
    """Run blocks until the next epoch has begun."""
    height = chain.store.tip().height
    while chain.store.tip().height < (height // LENGTH + 1) * LENGTH:
        chain.run()


def test_quorum_admits_and_the_next_epoch_counts_the_newcomer(chain: Chain) -> None:
    assert approve(chain, MEMBERS[:2], make_admission(chain)) == ["ok", "ok"]
    pass_epoch(chain)
    assert len(seats(chain)) == 4, "two of four decide nothing"
    assert approve(chain, MEMBERS[2:3], make_admission(chain)) == ["ok"]
    pass_epoch(chain)
    assert seats(chain)[-1] == NEWCOMER.id
    roster = chain.store.read(CHAIN_ROSTER, decode_roster)
    assert roster is not None
    assert roster.accounts.index(NEWCOMER.id) == 4
    chain.check_conservation()


def test_who_has_no_seat_and_who_has_approved_already_fails(chain: Chain) -> None:
    admission = make_admission(chain)
    assert approve(chain, [NEWCOMER], admission) == ["not_a_validator"]
    assert approve(chain, [MEMBERS[0], MEMBERS[0]], admission) == ["ok", "already_approved"]


def test_approvals_lapse_together(chain: Chain) -> None:
    admission = make_admission(chain)
    approve(chain, MEMBERS[:2], admission)
    for _ in range(APPROVAL_EPOCHS_MAX + 1):
        pass_epoch(chain)
    assert approve(chain, [MEMBERS[0], MEMBERS[2]], admission) == ["ok", "ok"]
    pass_epoch(chain)
    assert len(seats(chain)) == 4


def test_removed_validator_goes_and_one_is_replaced_at_once(chain: Chain) -> None:
    changes = (Removal(MEMBERS[1].id), make_admission(chain))
    approve(chain, MEMBERS[:3], *changes)
    pass_epoch(chain)
    pass_epoch(chain)
    assert seats(chain) == [MEMBERS[0].id, MEMBERS[2].id, MEMBERS[3].id, NEWCOMER.id]


def test_decision_that_leaves_too_few_in_place_waits_for_another_epoch(chain: Chain) -> None:
    other = make_account("other")
    first = (Removal(MEMBERS[1].id), make_admission(chain))
    second = (
        Removal(MEMBERS[2].id),
        make_admission(chain, other.id, key="other vote", transport="other link"),
    )
    pass_epoch(chain)
    body = [ChangeValidators(each).to_fields() for each in (first, second)]
    nonces = {voter.id: chain.account(voter.id).nonce for voter in MEMBERS[:4]}
    transactions = [
        make_transaction(
            chain.network, voter, "change_validators", fields, nonce=nonces[voter.id] + number
        )
        for voter in (MEMBERS[0], MEMBERS[3], MEMBERS[1])
        for number, fields in enumerate(body)
    ]
    block = chain.run(transactions)
    assert [receipt.code for receipt in block.receipts] == ["ok"] * 6
    pass_epoch(chain)
    assert NEWCOMER.id in seats(chain)
    assert other.id not in seats(chain)
    pass_epoch(chain)
    assert other.id in seats(chain)


def test_void_changes_change_nothing(chain: Chain) -> None:
    stranger = make_account("stranger")
    approve(chain, MEMBERS[:3], Removal(stranger.id))
    pass_epoch(chain)
    pass_epoch(chain)
    pending = chain.store.read(CHAIN_PENDING_CHANGES, decode_pending_changes)
    assert pending == PendingChanges()
    assert len(seats(chain)) == 4
    present = chain.network.genesis.members[0]
    message = possession_message(chain.network.chain_id, present.account, present.validator_key)
    again = Admission(present, chain.network.validators[0].sign(message))
    assert approve(chain, MEMBERS[:3], again) == ["ok"] * 3
    pass_epoch(chain)
    assert len(seats(chain)) == 4


def rotate(chain: Chain, account: TestAccount, key: PrivateKey) -> str:
    message = possession_message(chain.network.chain_id, account.id, key.public_key)
    body = RotateValidatorKey(key.public_key, key.sign(message)).to_fields()
    return chain.submit(account, "rotate_validator_key", body).receipts[0].code


def test_validator_changes_its_key(chain: Chain) -> None:
    key = make_key("next")
    assert rotate(chain, MEMBERS[2], key) == "ok"
    pass_epoch(chain)
    assert read_validators(chain.store.tip_state).validators[2].public_key == key.public_key
    assert rotate(chain, MEMBERS[1], key) == "key_in_use"
    assert rotate(chain, NEWCOMER, make_key("more")) == "not_a_validator"


def test_rotation_of_one_that_was_removed_meanwhile_is_void(chain: Chain) -> None:
    approve(chain, MEMBERS[:3], Removal(MEMBERS[3].id))
    assert rotate(chain, MEMBERS[3], make_key("late")) == "ok"
    pass_epoch(chain)
    pass_epoch(chain)
    assert MEMBERS[3].id not in seats(chain)


def test_key_of_another_is_refused(chain: Chain) -> None:
    taken = chain.network.genesis.members[0].transport_key
    admission = make_admission(chain)
    stolen = replace(admission, member=replace(admission.member, transport_key=taken))
    assert approve(chain, MEMBERS[:3], stolen)[-1] == "key_in_use"


def test_no_more_decisions_wait_than_the_limit(chain: Chain) -> None:
    """All in one block, so that none of them takes effect."""
    strangers = [make_account(f"stranger {number}").id for number in range(65)]
    transactions = [
        make_transaction(
            chain.network,
            voter,
            "change_validators",
            ChangeValidators((Removal(stranger),)).to_fields(),
            nonce=number,
        )
        for voter in MEMBERS[:3]
        for number, stranger in enumerate(strangers)
    ]
    codes = [receipt.code for receipt in chain.run(transactions).receipts]
    assert len(strangers) == PENDING_DECISIONS_MAX + 1
    assert codes == ["ok"] * (len(codes) - 1) + ["too_many_pending"]


def test_rotation_takes_the_place_of_an_earlier_one_that_waits(chain: Chain) -> None:
    """Or one validator could fill the queue alone."""
    keys = [make_key(f"rotation {number}") for number in range(PENDING_DECISIONS_MAX + 2)]
    transactions = []
    for number, key in enumerate(keys):
        message = possession_message(chain.network.chain_id, MEMBERS[0].id, key.public_key)
        body = RotateValidatorKey(key.public_key, key.sign(message)).to_fields()
        transactions.append(
            make_transaction(chain.network, MEMBERS[0], "rotate_validator_key", body, nonce=number)
        )
    block = chain.run(transactions)
    assert {receipt.code for receipt in block.receipts} == {"ok"}
    pass_epoch(chain)
    assert read_validators(chain.store.tip_state).validators[0].public_key == keys[-1].public_key


def test_suspended_one_that_was_to_be_admitted_stays_out(chain: Chain) -> None:
    member = chain.network.genesis.members[3]
    key = make_key("too late")
    message = possession_message(chain.network.chain_id, member.account, key.public_key)
    again = Admission(replace(member, validator_key=key.public_key), key.sign(message))
    chain.run()
    body = ChangeValidators((Removal(member.account), again)).to_fields()
    transactions = [
        make_transaction(chain.network, voter, "change_validators", body) for voter in MEMBERS[:3]
    ]
    reported = ReportEvidence(make_evidence(chain)).to_fields()
    transactions.append(
        make_transaction(chain.network, MEMBERS[0], "report_evidence", reported, nonce=1)
    )
    assert {each.code for each in chain.run(transactions).receipts} == {"ok"}
    pass_epoch(chain)
    assert member.account not in seats(chain)


def test_admission_of_one_with_a_seat_changes_its_key(chain: Chain) -> None:
    member = chain.network.genesis.members[3]
    key = make_key("another")
    message = possession_message(chain.network.chain_id, member.account, key.public_key)
    changed = Admission(replace(member, validator_key=key.public_key), key.sign(message))
    assert approve(chain, MEMBERS[:3], changed) == ["ok"] * 3
    pass_epoch(chain)
    pass_epoch(chain)
    assert read_validators(chain.store.tip_state).validators[3].public_key == key.public_key


@pytest.mark.parametrize(
    "spoil",
    [
        lambda member: replace(member, name="a\x00b"),
        lambda member: replace(member, endpoint="nowhere"),
        lambda member: replace(member, validator_key=bytes(32)),
        lambda member: replace(member, transport_key=bytes(32)),
        lambda member: replace(member, account=MEMBERS[5].id),
    ],
)
def test_admission_that_is_not_in_order_is_refused(chain: Chain, spoil: object) -> None:
    admission = make_admission(chain)
    bad = replace(admission, member=spoil(admission.member))  # type: ignore[operator]
    body = ChangeValidators((bad,))

    transaction = make_transaction(chain.network, MEMBERS[0], "change_validators", body.to_fields())
    with pytest.raises(InvalidInputError):
        get_kind("change_validators").check(transaction, body, PARAMETERS)


@pytest.mark.parametrize("changes", [[], [[3, b"a" * 20, b"k" * 32, b"s" * 64]], [[9]], [b"x"]])
def test_body_of_other_changes_is_refused(changes: list[object]) -> None:

    with pytest.raises(InvalidInputError):
        get_kind("change_validators").decode_body(cast("list[Value]", [changes]))


def test_changes_come_back() -> None:
    changes: list[Change] = [
        Removal(MEMBERS[0].id),
        Rotation(MEMBERS[0].id, b"k" * 32, b"s" * 64),
        Admission(Member("n", MEMBERS[0].id, b"v" * 32, b"t" * 32, "h:1"), b"s" * 64),
    ]
    assert [read_change(each.to_fields()) for each in changes] == changes  # type: ignore[arg-type]
    pending = PendingChanges((tuple(changes),))
    assert decode_pending_changes(pending.encode()) == pending
    approval = Approval(3, (MEMBERS[0].id,))
    assert decode_approval(approval.encode()) == approval
    holder = KeyHolder(MEMBERS[0].id)
    assert decode_key_holder(holder.encode()) == holder
    suspension = Suspension(4, b"h" * 32)
    assert decode_suspension(suspension.encode()) == suspension
    record = EvidenceRecord(4, MEMBERS[0].id, b"evidence")
    assert decode_evidence_record(record.encode()) == record
    assert CHANGES_PER_DECISION_MAX > 0


def test_next_set_is_known_from_the_decision_height_on(chain: Chain) -> None:
    with pytest.raises(InvariantViolationError):
        read_next_validators(chain.store.tip_state)
    chain.run()
    assert chain.executor.next_validators_hash(2, None) == ZERO_HASH
    chain.run()
    chain.run()
    known = read_next_validators(chain.store.tip_state).to_validator_set().hash
    assert chain.executor.next_validators_hash(LENGTH, None) == known


def make_vote(chain: Chain, validator: int, kind: VoteKind, block: bytes, epoch: int = 0) -> Vote:
    block_id = ZERO_HASH if kind is VoteKind.VIEW_CHANGE else block
    root = b"r" * 32 if kind is VoteKind.COMMIT else ZERO_HASH
    message = vote_signing_bytes(chain.network.chain_id, epoch, kind, 7, block_id, root)
    signature = chain.network.validators[validator].sign(message)
    return Vote(kind, epoch, 7, block_id, root, validator, signature)


def make_evidence(
    chain: Chain, kind: EvidenceKind = EvidenceKind.COMMIT_AND_VIEW_CHANGE, epoch: int = 0
) -> Evidence:
    """Return evidence against the fourth validator."""
    if kind is EvidenceKind.DOUBLE_PROPOSAL:
        headers = [
            make_header(chain.network, chain.tip_header, view=7, proposer=3, timestamp_ms=time)
            for time in (chain.tip_header.timestamp_ms + 1, chain.tip_header.timestamp_ms + 2)
        ]
        key = chain.network.validators[3]
        sides = [
            SignedHeader(each, key.sign(proposal_signing_bytes(each.block_id))) for each in headers
        ]
        return Evidence(kind, 3, 0, 7, sides[0], sides[1])
    kinds = {
        EvidenceKind.DOUBLE_PREPARE: (VoteKind.PREPARE, VoteKind.PREPARE),
        EvidenceKind.DOUBLE_COMMIT: (VoteKind.COMMIT, VoteKind.COMMIT),
    }.get(kind, (VoteKind.COMMIT, VoteKind.VIEW_CHANGE))
    votes = [
        make_vote(chain, 3, each, block * 32, epoch)
        for each, block in zip(kinds, (b"a", b"b"), strict=True)
    ]
    return Evidence(kind, 3, epoch, 7, votes[0], votes[1])


def report(chain: Chain, evidence: Evidence, sender: TestAccount = MEMBERS[0]) -> str:
    body = ReportEvidence(evidence).to_fields()
    return chain.submit(sender, "report_evidence", body).receipts[0].code


@pytest.mark.parametrize("kind", EvidenceKind)
def test_evidence_suspends_from_the_next_epoch_on(chain: Chain, kind: EvidenceKind) -> None:
    evidence = make_evidence(chain, kind)
    assert report(chain, evidence) == "ok"
    assert report(chain, evidence) == "evidence_known"
    assert chain.store.get(evidence_key(evidence)) is not None
    assert MEMBERS[3].id in seats(chain)
    pass_epoch(chain)
    assert MEMBERS[3].id not in seats(chain)


def test_evidence_of_the_wrong_time_or_signature_is_refused(chain: Chain) -> None:
    assert report(chain, make_evidence(chain, epoch=5)) == "not_evidence"
    good = make_evidence(chain)
    assert isinstance(good.second, Vote)
    forged = replace(good, second=replace(good.second, signature=bytes(64)))
    assert report(chain, forged) == "not_evidence"
    for _ in range(3):
        pass_epoch(chain)
    assert report(chain, good) == "evidence_too_old"


def test_suspended_one_comes_back_with_another_key_alone(chain: Chain) -> None:
    report(chain, make_evidence(chain))
    report(chain, make_evidence(chain, EvidenceKind.DOUBLE_PREPARE))
    pass_epoch(chain)
    member = chain.network.genesis.members[3]
    message = possession_message(chain.network.chain_id, member.account, member.validator_key)
    same = Admission(member, chain.network.validators[3].sign(message))
    assert approve(chain, MEMBERS[:3], same)[-1] == "key_in_use"
    key = make_key("reformed")
    message = possession_message(chain.network.chain_id, member.account, key.public_key)
    reformed = Admission(replace(member, validator_key=key.public_key), key.sign(message))
    assert approve(chain, MEMBERS[:3], reformed) == ["ok"] * 3
    assert chain.store.get(suspension_key(member.account)) is None
    pass_epoch(chain)
    pass_epoch(chain)
    assert member.account in seats(chain)


def test_too_many_suspensions_at_once_keep_a_seat_rather_than_nobody() -> None:
    alone = Chain(make_network(validators=1, parameters=PARAMETERS))
    votes = [make_vote(alone, 0, VoteKind.COMMIT, b"a" * 32)]
    votes.append(make_vote(alone, 0, VoteKind.VIEW_CHANGE, b""))
    evidence = Evidence(EvidenceKind.COMMIT_AND_VIEW_CHANGE, 0, 0, 7, votes[0], votes[1])
    assert report(alone, evidence) == "ok"
    pass_epoch(alone)
    assert len(seats(alone)) == 1


def test_evidence_is_free_for_a_validator_key_and_paid_by_others() -> None:
    parameters = replace(PARAMETERS, fee_per_byte=1)
    chain = Chain(make_network(parameters=parameters))
    key = chain.network.validators[0]

    voter = TestAccount(key, account_id_from_public_key(key.public_key))
    body = ReportEvidence(make_evidence(chain)).to_fields()
    first = make_transaction(chain.network, voter, "report_evidence", body)
    poor = make_transaction(chain.network, MEMBERS[0], "report_evidence", body)
    block = chain.run([first, poor])
    assert [each.status for each in block.receipts] == [ReceiptStatus.OK, ReceiptStatus.VOID]
    assert block.receipts[0].fee == 0
    payer = chain.network.accounts[0]
    sponsored = make_transaction(
        chain.network, voter, "report_evidence", body, nonce=1, sponsor=payer, fee_limit=10**6
    )
    assert chain.run([sponsored]).receipts[0].fee > 0
    chain.check_conservation()


def test_evidence_bytes_decode_to_what_they_were(chain: Chain) -> None:
    data = make_evidence(chain).encode()
    assert isinstance(decode(data, bytes_max=2000), list)
