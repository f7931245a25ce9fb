"""What seldom happens in governance: limits, what changed meanwhile, a genesis that says more."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from incentives.terms import Terms
from ledger.changes import (
    AccountRecovery,
    ParameterChange,
    Reinstatement,
    Removal,
    RoleChange,
    SuspensionOrder,
    check_change,
)
from ledger.epoch_rewards import CHAIN_EPOCH_REWARDS, EpochRewards
from ledger.errors import TransactionFailedError
from ledger.genesis import genesis_from_json
from ledger.governance import check_feasible, forget_expired
from ledger.governance_records import CHAIN_GOVERNANCE, Governance, ProposalStatus
from ledger.members import Role, acts_for_key, roles_to_text
from ledger.membership import close_block
from ledger.membership_records import (
    CHAIN_PENDING_CHANGES,
    PENDING_DECISIONS_MAX,
    Decision,
    PendingChanges,
    Suspension,
    suspension_key,
)
from ledger.model_records import ModelDescription
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.schema import (
    AMOUNT_MAX,
    CHAIN_ROSTER,
    CHAIN_SUPPLY,
    MEMBERS_MAX,
    Roster,
    StateReader,
    Supply,
    decode_roster,
    decode_supply,
)
from ledger.state import BlockState
from ledger.transactions.contributions import Contribute
from ledger.transactions.membership import LeaveValidators, RotateValidatorKey, UpdateMember
from ledger.transactions.models import CreateModel
from ledger.transactions.registry import get_kind
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, encode_batch
from ml_runtime.spec import make_spec
from primitives.accounts import AccountId, account_to_text
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.hashing import ZERO_HASH
from tests.helpers.governance import (
    MEMBERS,
    NEWCOMER,
    decide,
    make_admission,
    pass_epoch,
    propose,
    prove,
    read_member,
    seats,
    status_of,
)
from tests.helpers.ledger import Chain, make_account, make_key, make_network, make_transaction
from tests.helpers.snapshots import EpochedChain

PARAMETERS = Parameters(epoch_length=12, unfinal_blocks_max=2)


@pytest.fixture
def chain() -> Chain:
    return Chain(make_network(parameters=PARAMETERS))


def state_of(chain: Chain) -> BlockState:
    """Return the final state, to be written to without consequences."""
    reader: StateReader = chain.store.tip_state
    return BlockState([], reader)


def make_document(chain: Chain) -> dict[str, object]:
    document: dict[str, object] = json.loads(chain.network.genesis.to_json())
    return document


def change_member(document: dict[str, object], index: int, **fields: object) -> str:
    members = document["members"]
    assert isinstance(members, list)
    members[index].update(fields)
    return json.dumps(document)


def test_genesis_may_say_more_of_its_members(chain: Chain) -> None:
    observer = {"transport_key": make_key("o").public_key.hex(), "endpoint": ""}
    reached = {"transport_key": make_key("p").public_key.hex(), "endpoint": "p.example:1"}
    text = change_member(
        make_document(chain),
        1,
        contact="ops@example.org",
        roles=["validator", "auditor"],
        observers=[observer, reached],
        accounts=[account_to_text(NEWCOMER.id)],
    )
    genesis = genesis_from_json(text)
    assert genesis_from_json(genesis.to_json()) == genesis
    member = genesis.members[1]
    assert roles_to_text(member.roles) == ["validator", "auditor"]
    own = Chain(replace(chain.network, genesis=genesis))
    assert own.store.get(acts_for_key(NEWCOMER.id)) is not None
    assert propose(own, NEWCOMER, Removal(MEMBERS[0].id)).code == "unknown_member"


@pytest.mark.parametrize(
    "fields",
    [
        {"roles": ["reader"]},
        {"roles": "validator"},
        {"roles": [5]},
        {"observers": "x"},
        {"observers": [{"transport_key": "00", "endpoint": ""}]},
        {"accounts": [account_to_text(AccountId(bytes([n]) * 20)) for n in range(33)]},
        {"contact": "a\nb"},
        {"surplus": 1},
    ],
)
def test_genesis_that_says_nonsense_of_a_member_is_refused(
    chain: Chain, fields: dict[str, object]
) -> None:
    with pytest.raises(InvalidInputError):
        genesis_from_json(change_member(make_document(chain), 0, **fields))


def test_genesis_names_no_key_and_no_account_twice(chain: Chain) -> None:
    members = chain.network.genesis.members
    key = members[1].validator_key
    assert key is not None
    for fields in (
        {"observers": [{"transport_key": key.hex(), "endpoint": ""}]},
        {"accounts": [account_to_text(members[1].account)]},
    ):
        with pytest.raises(InvalidInputError) as caught:
            genesis_from_json(change_member(make_document(chain), 0, **fields))
        assert caught.value.code == "duplicate"


def test_roster_has_an_end(chain: Chain) -> None:
    state = state_of(chain)
    full = Roster(tuple(AccountId(number.to_bytes(20, "big")) for number in range(MEMBERS_MAX)))
    assert decode_roster(full.encode()) == full
    state.put(CHAIN_ROSTER, full)
    with pytest.raises(TransactionFailedError) as caught:
        check_feasible(state, make_admission(chain), 0)
    assert caught.value.code == "too_many_members"


def test_account_that_acts_for_a_member_becomes_none_itself(chain: Chain) -> None:
    member = chain.network.genesis.members[1]
    body = UpdateMember(replace(member, accounts=(NEWCOMER.id,))).to_fields()
    chain.submit(MEMBERS[1], "update_member", body)
    assert propose(chain, MEMBERS[0], make_admission(chain)).code == "account_in_use"


def test_account_that_was_taken_meanwhile_is_left_out_of_an_admission(chain: Chain) -> None:
    ward = make_account("ward")
    admission = make_admission(chain)
    wanted = replace(admission, member=replace(admission.member, accounts=(ward.id,)))
    decide(chain, MEMBERS[:3], wanted)
    assert read_member(chain, NEWCOMER.id).accounts == (ward.id,), "it is the newcomer's by now"
    pass_epoch(chain)
    assert read_member(chain, NEWCOMER.id).accounts == (ward.id,)
    decide(chain, MEMBERS[:4], Removal(NEWCOMER.id))
    pass_epoch(chain)
    assert chain.store.get(acts_for_key(ward.id)) is None


def test_suspended_twice_stays_as_first_suspended(chain: Chain) -> None:
    decide(chain, MEMBERS[:3], SuspensionOrder(MEMBERS[3].id))
    first = chain.store.get(suspension_key(MEMBERS[3].id))
    decide(chain, MEMBERS[:3], SuspensionOrder(MEMBERS[3].id))
    assert chain.store.get(suspension_key(MEMBERS[3].id)) == first
    member = chain.network.genesis.members[3]
    body = UpdateMember(replace(member, contact="x")).to_fields()
    assert chain.submit(MEMBERS[3], "update_member", body).receipts[0].code == "suspended"


def test_reinstatement_does_not_end_what_evidence_began(chain: Chain) -> None:
    decide(chain, MEMBERS[:3], SuspensionOrder(MEMBERS[3].id))
    pass_epoch(chain)
    decide(chain, MEMBERS[:2], Reinstatement(MEMBERS[3].id))
    state = state_of(chain)
    state.put(suspension_key(MEMBERS[3].id), Suspension(chain.store.tip().height, b"e" * 32))
    height = chain.store.tip().height
    end = PARAMETERS.epoch_end(PARAMETERS.epoch_of(height + 1))
    close_block(state, end - 2, PARAMETERS)
    close_block(state, end, PARAMETERS)
    assert state.get(suspension_key(MEMBERS[3].id), lambda _: Suspension(0, b"")) is not None


def test_no_more_decisions_wait_than_the_limit(chain: Chain) -> None:
    waiting = PendingChanges(
        tuple(
            Decision(number, 0, (RoleChange(MEMBERS[9].id, Role.READER),))
            for number in range(1, PENDING_DECISIONS_MAX + 1)
        )
    )
    key = make_key("next")
    rotate = RotateValidatorKey(key.public_key, prove(chain, MEMBERS[0].id, key))
    # As if so many had been decided: the final state is shown what it never held.
    chain.store.tip_state.remember(CHAIN_PENDING_CHANGES, waiting)
    for sender, kind, body in (
        (MEMBERS[0], "rotate_validator_key", rotate.to_fields()),
        (MEMBERS[1], "leave_validators", LeaveValidators().to_fields()),
    ):
        assert chain.submit(sender, kind, body).receipts[0].code == "too_many_pending"
    decide(chain, MEMBERS[:3], ParameterChange("fee_per_byte", 1))
    assert status_of(chain, 1) is ProposalStatus.LAPSED


def test_possession_of_the_new_vote_key_is_checked_before_a_block(chain: Chain) -> None:
    body = RotateValidatorKey(make_key("x").public_key, bytes(64))
    transaction = make_transaction(
        chain.network, MEMBERS[0], "rotate_validator_key", body.to_fields()
    )
    with pytest.raises(InvalidInputError):
        get_kind("rotate_validator_key").check(transaction, body, PARAMETERS)


def test_changes_that_need_no_check_pass_it(chain: Chain) -> None:
    chain_id = chain.network.chain_id
    check_change(Removal(NEWCOMER.id), chain_id)
    nodeless = make_admission(chain, roles=Role.CONTRIBUTOR)
    check_change(
        replace(
            nodeless,
            member=replace(nodeless.member, transport_key=None),
            transport_possession=None,
        ),
        chain_id,
    )
    key = make_key("k")
    check_change(
        AccountRecovery(NEWCOMER.id, key.public_key, prove(chain, NEWCOMER.id, key)), chain_id
    )


def test_sixty_four_proposals_are_open_at_most(chain: Chain) -> None:
    state = state_of(chain)
    state.put(CHAIN_GOVERNANCE, Governance(64, tuple(range(1, 65))))
    with pytest.raises(InvariantViolationError):
        forget_expired(state, 1)


def test_issuance_stops_where_money_ends_and_needs_a_supply(chain: Chain) -> None:
    parameters = replace(PARAMETERS, issuance_per_epoch=100)
    state = state_of(chain)
    state.put(CHAIN_EPOCH_REWARDS, EpochRewards(0, (3, 3, 3, 3)))
    close_block(state, 10, parameters)
    state.put(CHAIN_SUPPLY, Supply(AMOUNT_MAX - 6))
    close_block(state, 12, parameters)
    supply = state.get(CHAIN_SUPPLY, decode_supply)
    assert supply == Supply(AMOUNT_MAX - 2), "one for each of four, and what is left is not made"
    poor = state_of(chain)
    close_block(poor, 10, parameters)
    poor.put(CHAIN_SUPPLY, None)
    with pytest.raises(InvariantViolationError):
        close_block(poor, 12, parameters)
    assert ZERO_HASH
    assert len(seats(chain)) == 4


def test_only_members_with_the_role_create_models_and_contribute(chain: Chain) -> None:
    limited = replace(
        PARAMETERS, create_model_roles=int(Role.CONTRIBUTOR), contribute_roles=int(Role.AUDITOR)
    )
    scene = EpochedChain(make_network(parameters=limited))
    member, holder = MEMBERS[0], scene.network.accounts[0]
    description = ModelDescription(
        name="shared",
        description="",
        spec=make_spec("nearest_centroid", "dense", 2, 2),
        class_names=("a", "b"),
        encoder=ScaleEncoder(),
        terms=Terms("points", 0, 5_000, 10_000, 20_000),
        licence="CC0-1.0",
        guidelines="",
    )
    body = CreateModel(description).to_fields()
    assert scene.submit(holder, "create_model", body).receipts[0].code == "role_needed"
    assert scene.submit(member, "create_model", body).receipts[0].code == "ok"
    data = encode_batch(
        DenseSamples(np.full((1, 2), ONE, dtype=np.int64)), np.zeros(1, dtype=np.int64)
    )
    sent = scene.submit(
        member, "contribute", Contribute("shared", 0, 1).to_fields(), Payload(bytes(32), data)
    )
    assert sent.receipts[0].code == "role_needed"
