"""The bounded cache never holds more than its weight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.cache import BoundedCache


def test_the_value_put_longest_ago_goes_first() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.put("a", 3)
    cache.put("c", 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (3, None, 4)


def test_a_value_heavier_than_the_cache_is_not_kept() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(4, len)
    cache.put("a", b"1")
    cache.put("b", b"12345")
    assert len(cache) == 0


def test_discarding_makes_room() -> None:
    cache: BoundedCache[str, bytes] = BoundedCache(4, len)
    cache.put("a", b"12")
    cache.put("b", b"34")
    cache.discard("a")
    cache.discard("absent")
    cache.put("c", b"56")
    assert cache.get("b") == b"34"
    assert cache.get("c") == b"56"
    assert cache.get("a", b"other") == b"other"


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=6)), max_size=40))
def test_the_weight_is_bounded(puts: list[tuple[int, bytes]]) -> None:
    cache: BoundedCache[int, bytes] = BoundedCache(10, len)
    for key, value in puts:
        cache.put(key, value)
        held = [cache.get(key) for key in range(10)]
        assert sum(len(value) for value in held if value is not None) <= 10
