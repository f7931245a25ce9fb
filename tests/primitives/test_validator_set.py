import pytest

from primitives.codec import encode
from primitives.errors import InvalidInputError
from primitives.hashing import Tag, tagged_hash
from primitives.validator_set import VALIDATORS_MAX, ValidatorSet


def keys(count):
    return tuple(bytes([index]) * 32 for index in range(count))


@pytest.mark.parametrize(
    ("count", "faults", "quorum"),
    [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 1, 3), (5, 1, 4), (6, 1, 5), (7, 2, 5), (10, 3, 7)],
)
def test_small_sets_tolerate_what_the_protocol_says(count, faults, quorum):
    validators = ValidatorSet(keys(count))
    assert (validators.count, validators.faults_max, validators.quorum) == (count, faults, quorum)


def test_two_quorums_share_an_honest_validator_and_the_honest_reach_a_quorum():
    for count in range(1, VALIDATORS_MAX + 1):
        validators = ValidatorSet(keys(count))
        assert 2 * validators.quorum - count > validators.faults_max
        assert count - validators.faults_max >= validators.quorum


def test_a_key_is_found_by_its_index():
    validators = ValidatorSet(keys(4))
    assert [validators.public_key(index) for index in range(4)] == list(keys(4))
    for index in (-1, 4):
        with pytest.raises(InvalidInputError) as caught:
            validators.public_key(index)
        assert (caught.value.code, caught.value.value) == ("unknown_validator", index)


def test_the_hash_covers_every_key_in_order():
    first, second, *rest = keys(4)
    expected = tagged_hash(Tag.VALIDATOR_SET, encode([first, second, *rest]))
    assert ValidatorSet((first, second, *rest)).hash == expected
    assert ValidatorSet((second, first, *rest)).hash != expected


@pytest.mark.parametrize(
    "public_keys",
    [(), keys(101), (b"k" * 31,), (b"k" * 33,), (b"k" * 32, b"k" * 32)],
    ids=["none", "too many", "short key", "long key", "repeated key"],
)
def test_impossible_sets_are_refused(public_keys):
    with pytest.raises(InvalidInputError) as caught:
        ValidatorSet(public_keys)
    assert caught.value.code == "invalid_validator_set"
