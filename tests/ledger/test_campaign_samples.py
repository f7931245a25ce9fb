"""A campaign takes each sample once; what tells samples apart, and what that costs."""

from __future__ import annotations

import numpy as np
import pytest

from ledger.campaign_costs import compute_collecting_units
from ledger.campaign_samples import (
    CampaignSamples,
    count_duplicates,
    decode_campaign_samples,
    fingerprint_samples,
)
from ledger.members import ActsFor, acts_for_key
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import Batch, DenseSamples, SparseSamples
from tests.helpers.campaigns import (
    BAD,
    GOOD,
    HIGH,
    LENGTH_MS,
    LOW,
    WAIT_MS,
    CampaignWorld,
    has_fingerprints,
)

START = 1_000_000


def make_dense(features, targets, **groups) -> Batch:
    return Batch(
        DenseSamples(np.array(features, dtype=np.int64)),
        np.array(targets, dtype=np.int64),
        **groups,
    )


def make_sparse(rows, targets) -> Batch:
    starts = np.cumsum([0, *(len(row) for row in rows)])
    pairs = [pair for row in rows for pair in row]
    indices = np.array([index for index, _ in pairs], dtype=np.int64)
    values = np.array([value for _, value in pairs], dtype=np.int64)
    return Batch(SparseSamples(starts, indices, values, 100), np.array(targets, dtype=np.int64))


def cut(samples: CampaignSamples) -> list[bytes]:
    data = samples.fingerprints
    return [data[place : place + 8] for place in range(0, len(data), 8)]


def test_vector_of_fingerprints() -> None:
    """docs/spec/ledger.md §5.11 states them, for second implementations."""
    dense = fingerprint_samples(make_dense([[1, -2]], [3]))
    sparse = fingerprint_samples(make_sparse([[(4, 5), (6, 0), (7, -8)]], [3]))
    assert dense.fingerprints.hex() == "3bd4a4ee0904b830"
    assert sparse.fingerprints.hex() == "00819535fceab9e9"


def test_features_and_target_tell_samples_apart_and_the_group_does_not() -> None:
    first = make_dense([[1, 2], [1, 2], [2, 1], [1, 2]], [0, 1, 0, 0])
    one, two, three, again = cut(fingerprint_samples(first))
    assert len({one, two, three}) == 3
    assert again == one
    grouped = make_dense([[1, 2]], [0], groups=np.array([1], dtype=np.int64))
    assert cut(fingerprint_samples(grouped)) == [one]


def test_zeros_that_are_written_down_make_no_other_sparse_sample() -> None:
    plain = make_sparse([[(1, 5), (9, 6)], [], [(1, 5)]], [0, 0, 0])
    padded = make_sparse([[(1, 5), (3, 0), (9, 6)], [(2, 0)], [(0, 0), (1, 5)]], [0, 0, 0])
    assert fingerprint_samples(plain) == fingerprint_samples(padded)
    assert len(set(cut(fingerprint_samples(plain)))) == 3


def test_duplicates_are_counted_within_a_batch_and_against_all_before() -> None:
    def make(*numbers: int) -> CampaignSamples:
        return CampaignSamples(np.array(numbers, dtype="<u8").tobytes())

    assert count_duplicates(make(1, 2, 3), []) == 0
    assert count_duplicates(make(1, 2, 1, 1), []) == 2
    assert count_duplicates(make(5, 7, 9), [make(1, 7), make(9, 2**64 - 1), make(7)]) == 2
    assert count_duplicates(make(5, 5), [make(5)]) == 2
    samples = make(3, 4)
    assert decode_campaign_samples(samples.encode()) == samples


def test_sample_that_the_campaign_holds_is_refused_and_costs_no_stake() -> None:
    world = CampaignWorld("shapley")
    world.open()
    world.show_drawn()
    assert world.contribute(world.alice, *GOOD, verbatim=True).code == "ok"
    for sender in (world.bob, world.alice):
        copy = world.contribute(sender, [[7, 7], HIGH], [0, 1], verbatim=True)
        assert copy.code == "duplicate_samples"
        assert copy.message.startswith("1 samples")
    assert world.contribute(world.bob, [[7, 7], [7, 7]], [0, 0], verbatim=True).code == (
        "duplicate_samples"
    )
    # The same features with another answer are another sample.
    assert world.contribute(world.bob, [HIGH], [0], verbatim=True).code == "ok"
    assert world.balance(world.bob) == START - 10
    assert len(world.campaign.entries) == 2


@pytest.mark.parametrize("rule", ["market_single", "shapley"])
def test_copycat_gets_nothing_because_it_does_not_get_in(rule: str) -> None:
    world = CampaignWorld(rule)
    world.open()
    world.show_drawn()
    world.contribute(world.alice, *GOOD, verbatim=True)
    assert world.contribute(world.bob, *GOOD, verbatim=True).code == "duplicate_samples"
    world.advance(after_ms=LENGTH_MS)
    world.show_rest()
    world.evaluate()
    assert world.balance(world.bob) == START
    assert world.balance(world.alice) > START
    assert not has_fingerprints(world)
    # The next campaign asks again for whatever is good.
    world.open()
    world.show_drawn()
    assert world.contribute(world.bob, *GOOD, verbatim=True).code == "ok"


def test_fingerprints_go_when_pieces_are_kept_back() -> None:
    world = CampaignWorld()
    world.open(contributions_max=2)
    world.show_drawn()
    world.contribute(world.alice, *GOOD)
    world.contribute(world.bob, *BAD)
    assert has_fingerprints(world)
    assert world.advance(after_ms=WAIT_MS).data[1] == "not_revealed"
    assert not has_fingerprints(world)


def test_every_fingerprint_that_is_compared_is_metered() -> None:
    world = CampaignWorld()
    world.open()
    world.show_drawn()
    empty = compute_collecting_units(world.campaign, 2)
    world.contribute(world.alice, [[each, ONE] for each in range(50)], [0] * 50)
    grown = compute_collecting_units(world.campaign, 2) - empty
    world.contribute(world.alice, [LOW], [0])
    assert grown == 20_000 + 2_000 + 50 * 100
    assert compute_collecting_units(world.campaign, 2) - empty == grown + 22_100


def test_provider_cannot_be_paid_by_its_own_campaign() -> None:
    world = CampaignWorld()
    world.open()
    world.show_drawn()
    assert world.contribute(world.owner, *GOOD).code == "own_campaign"
    assert world.contribute(world.alice, *GOOD, sponsor=world.owner).code == "ok"


def test_accounts_of_the_same_member_cannot_be_paid_by_its_campaign_either() -> None:
    world = CampaignWorld()
    member, other = world.network.genesis.members[:2]
    state = world.chain.store.tip_state
    for account, holder in (
        (world.owner, member),
        (world.alice, member),
        (world.bob, other),
    ):
        state.remember(acts_for_key(account.id), ActsFor(holder.account))
    world.open()
    world.show_drawn()
    assert world.contribute(world.alice, *GOOD).code == "own_campaign"
    assert world.contribute(world.bob, *GOOD).code == "ok"
    assert world.contribute(world.carol, *GOOD).code == "ok"
