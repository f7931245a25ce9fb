"""Validators rotate keys, leave, and are suspended by evidence, as the ledger decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.changes import Reinstatement, Removal
from ledger.members import Role
from ledger.membership import read_next_validators, read_validators
from ledger.membership_records import (
    PENDING_DECISIONS_MAX,
    Decision,
    KeyHolder,
    PendingChanges,
    Suspension,
    decode_key_holder,
    decode_pending_changes,
    decode_suspension,
    key_holder_key,
    suspension_key,
)
from ledger.parameters import Parameters
from ledger.receipt import ReceiptStatus
from ledger.transactions.evidence import (
    EvidenceRecord,
    ReportEvidence,
    decode_evidence_record,
    evidence_key,
)
from ledger.transactions.membership import LeaveValidators, RotateValidatorKey
from primitives.accounts import account_id_from_public_key
from primitives.certificates import VoteKind
from primitives.codec import decode
from primitives.errors import InvariantViolationError
from primitives.evidence import Evidence, EvidenceKind
from primitives.hashing import ZERO_HASH
from primitives.keys import PrivateKey
from primitives.vote import Vote
from tests.helpers.evidence import make_evidence, make_vote, report
from tests.helpers.governance import (
    MEMBERS,
    NEWCOMER,
    decide,
    make_admission,
    pass_epoch,
    propose,
    prove,
    read_member,
    readmit,
    seats,
)
from tests.helpers.ledger import (
    Chain,
    TestAccount,
    make_key,
    make_network,
    make_transaction,
)

LENGTH = 8
PARAMETERS = Parameters(epoch_length=LENGTH, unfinal_blocks_max=2)


@pytest.fixture
def chain() -> Chain:
    return Chain(make_network(parameters=PARAMETERS))


def rotate(chain: Chain, account: TestAccount, key: PrivateKey) -> str:
    body = RotateValidatorKey(key.public_key, prove(chain, account.id, key)).to_fields()
    return chain.submit(account, "rotate_validator_key", body).receipts[0].code


def leave(chain: Chain, account: TestAccount) -> str:
    body = LeaveValidators().to_fields()
    return chain.submit(account, "leave_validators", body).receipts[0].code


def test_validator_changes_its_key(chain: Chain) -> None:
    key = make_key("next")
    assert rotate(chain, MEMBERS[2], key) == "ok"
    pass_epoch(chain)
    assert read_validators(chain.store.tip_state).validators[2].public_key == key.public_key
    assert read_member(chain, MEMBERS[2].id).validator_key == key.public_key
    assert rotate(chain, MEMBERS[1], key) == "key_in_use"
    assert rotate(chain, MEMBERS[2], chain.network.validators[2]) == "key_in_use"
    assert rotate(chain, NEWCOMER, make_key("more")) == "not_a_validator"


def test_rotation_of_one_that_was_removed_meanwhile_is_void(chain: Chain) -> None:
    decide(chain, MEMBERS[:3], Removal(MEMBERS[3].id))
    assert rotate(chain, MEMBERS[3], make_key("late")) == "ok"
    pass_epoch(chain)
    assert MEMBERS[3].id not in seats(chain)


def test_rotation_takes_the_place_of_an_earlier_one_that_waits(chain: Chain) -> None:
    """Or one validator could fill the queue alone."""
    keys = [make_key(f"rotation {number}") for number in range(PENDING_DECISIONS_MAX + 2)]
    transactions = []
    for number, key in enumerate(keys):
        body = RotateValidatorKey(key.public_key, prove(chain, MEMBERS[0].id, key)).to_fields()
        transactions.append(
            make_transaction(chain.network, MEMBERS[0], "rotate_validator_key", body, nonce=number)
        )
    block = chain.run(transactions)
    assert {receipt.code for receipt in block.receipts} == {"ok"}
    pass_epoch(chain)
    assert read_validators(chain.store.tip_state).validators[0].public_key == keys[-1].public_key


def test_validator_leaves_and_stays_a_member(chain: Chain) -> None:
    assert leave(chain, NEWCOMER) == "not_a_validator"
    assert leave(chain, MEMBERS[3]) == "ok"
    pass_epoch(chain)
    assert MEMBERS[3].id not in seats(chain)
    assert read_member(chain, MEMBERS[3].id).roles is Role.CONTRIBUTOR
    pass_epoch(chain)
    decide(chain, MEMBERS[:3], readmit(chain, 3, chain.network.validators[3]))
    pass_epoch(chain)
    assert MEMBERS[3].id in seats(chain), "with its old key, which did nothing wrong"


def test_last_validator_cannot_leave() -> None:
    alone = Chain(make_network(validators=1, parameters=PARAMETERS))
    assert leave(alone, MEMBERS[0]) == "ok"
    for _ in range(12):
        pass_epoch(alone)
    assert seats(alone) == [MEMBERS[0].id]
    assert alone.store.get(b"chain/pending_changes") is None, "it lapses in the end"


def test_key_of_another_is_refused(chain: Chain) -> None:
    link = chain.network.transports[0]
    admission = make_admission(chain)
    stolen = replace(
        admission,
        member=replace(admission.member, transport_key=link.public_key),
        transport_possession=prove(chain, NEWCOMER.id, link),
    )
    assert propose(chain, MEMBERS[0], stolen).code == "key_in_use"
    same_name = make_admission(chain, name="MEMBER-1")
    assert propose(chain, MEMBERS[0], same_name).code == "name_in_use"


def test_suspended_one_that_was_to_be_admitted_stays_out(chain: Chain) -> None:
    decide(chain, MEMBERS[:3], readmit(chain, 3, make_key("too late")))
    report(chain, make_evidence(chain))
    pass_epoch(chain)
    assert MEMBERS[3].id not in seats(chain)


def test_records_read_back() -> None:
    decision = Decision(3, 9, (Removal(MEMBERS[0].id),))
    pending = PendingChanges((decision,))
    assert decode_pending_changes(pending.encode()) == pending
    holder = KeyHolder(MEMBERS[0].id, is_burnt=True)
    assert decode_key_holder(holder.encode()) == holder
    suspension = Suspension(4, b"h" * 32)
    assert decode_suspension(suspension.encode()) == suspension
    record = EvidenceRecord(4, MEMBERS[0].id, b"evidence")
    assert decode_evidence_record(record.encode()) == record


def test_next_set_is_known_from_the_decision_height_on(chain: Chain) -> None:
    with pytest.raises(InvariantViolationError):
        read_next_validators(chain.store.tip_state)
    for _ in range(5):
        chain.run()
        assert chain.executor.next_validators_hash(chain.store.tip().height + 1, None) == ZERO_HASH
    for _ in range(2):
        chain.run()
    known = read_next_validators(chain.store.tip_state).to_validator_set().hash
    assert chain.executor.next_validators_hash(LENGTH, None) == known


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
    assert report(chain, make_evidence(chain, EvidenceKind.DOUBLE_PREPARE)) == "evidence_known"
    pass_epoch(chain)
    same = readmit(chain, 3, chain.network.validators[3])
    assert propose(chain, MEMBERS[0], same).code == "key_in_use"
    assert propose(chain, MEMBERS[0], Reinstatement(MEMBERS[3].id)).code == "not_suspended"
    decide(chain, MEMBERS[:3], readmit(chain, 3, make_key("reformed")))
    assert chain.store.get(suspension_key(MEMBERS[3].id)) is not None, "until it takes effect"
    pass_epoch(chain)
    assert chain.store.get(suspension_key(MEMBERS[3].id)) is None
    assert MEMBERS[3].id in seats(chain)


def test_old_evidence_about_a_burnt_key_suspends_nobody_again(chain: Chain) -> None:
    report(chain, make_evidence(chain))
    pass_epoch(chain)
    decide(chain, MEMBERS[:3], readmit(chain, 3, make_key("reformed")))
    pass_epoch(chain)
    late = make_evidence(chain, epoch=1)
    assert report(chain, late) == "not_evidence", "it had no seat then"
    assert MEMBERS[3].id in seats(chain)


def test_evidence_about_a_key_that_was_rotated_away_since_burns_it(chain: Chain) -> None:
    assert rotate(chain, MEMBERS[3], make_key("fresh")) == "ok"
    pass_epoch(chain)
    assert report(chain, make_evidence(chain)) == "ok"
    old = chain.network.validators[3].public_key
    assert chain.store.read(key_holder_key(old), decode_key_holder) == KeyHolder(
        MEMBERS[3].id, is_burnt=True
    )
    pass_epoch(chain)
    assert MEMBERS[3].id in seats(chain), "its present key has done nothing wrong"


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
