"""Keys in order, compared with a sorted list under thousands of random steps."""

from itertools import pairwise
from random import Random

import pytest

from ledger.sorted_keys import SortedKeys


def make_key(number: int) -> bytes:
    return number.to_bytes(4, "big")


def expected(present: set[bytes], start: bytes | None, stop: bytes | None) -> list[bytes]:
    return sorted(
        key for key in present if (start is None or key >= start) and (stop is None or key < stop)
    )


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_of_steps_leaves_the_same_as_a_sorted_set(seed: int) -> None:
    random = Random(seed)
    keys, present = SortedKeys(), set[bytes]()
    highest = random.choice([40, 20_000])
    for _ in range(6_000):
        key = make_key(random.randrange(highest))
        if key in present:
            keys.remove(key)
            present.remove(key)
        else:
            keys.add(key)
            present.add(key)
    bounds = [None, *(make_key(random.randrange(highest + 1)) for _ in range(40))]
    for start, stop in pairwise(bounds):
        wanted = expected(present, start, stop)
        assert list(keys.iterate(start, stop)) == wanted
        assert list(keys.iterate(start, stop, reverse=True)) == wanted[::-1]
    for key in sorted(present):
        keys.remove(key)
    assert list(keys.iterate(None, None)) == []
    assert list(keys.iterate(None, None, reverse=True)) == []


def test_every_range_of_many_buckets_is_walked_both_ways() -> None:
    keys = SortedKeys()
    present = {make_key(2 * number) for number in range(5_000)}
    for key in present:
        keys.add(key)
    for start in (None, *map(make_key, (0, 1, 1_023, 1_024, 2_048, 5_001, 9_998, 9_999))):
        for stop in (None, *map(make_key, (0, 1, 2, 1_024, 1_025, 2_047, 5_000, 10_001))):
            wanted = expected(present, start, stop)
            assert list(keys.iterate(start, stop)) == wanted
            assert list(keys.iterate(start, stop, reverse=True)) == wanted[::-1]


def test_a_copy_does_not_follow_the_original() -> None:
    keys = SortedKeys([[b"a"], [b"b", b"c"]])
    copy = keys.copy()
    keys.remove(b"a")
    keys.add(b"d")
    assert list(copy.iterate(None, None)) == [b"a", b"b", b"c"]
    assert list(keys.iterate(None, None)) == [b"b", b"c", b"d"]
