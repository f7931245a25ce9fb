"""The builder of whole trees against the one that updates them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.snapshot_tree import TreeBuilder
from primitives.errors import InvalidInputError
from primitives.hashing import ZERO_HASH
from primitives.sparse_merkle import update_tree


class NoNodes:
    def get_node(self, key: bytes) -> bytes | None:
        raise AssertionError(f"node {key.hex()} was read of an empty tree")


def check_against_update(leaves: dict[bytes, bytes], version: int = 7) -> None:
    expected = update_tree(NoNodes(), None, version, dict(leaves))
    builder = TreeBuilder(version)
    nodes = list(builder.build(sorted(leaves.items())))
    assert builder.root == expected.root
    assert dict(nodes) == expected.nodes
    assert len(nodes) == len(expected.nodes), "a node was made twice"


def test_empty_tree_has_the_zero_root() -> None:
    check_against_update({})
    assert TreeBuilder(3).root == ZERO_HASH


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1_000])
def test_random_leaves(count: int) -> None:
    check_against_update(
        {sha256(b"%d" % each).digest(): sha256(b"v%d" % each).digest() for each in range(count)}
    )


# Short alphabets make keys that share long prefixes, so that there are inner nodes with one child.
CLOSE_KEYS = st.builds(
    lambda head, tail: (head * 32)[: 32 - len(tail)] + tail,
    st.sampled_from([b"\x00", b"\xff", b"\x80", b"\x01"]),
    st.binary(min_size=1, max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(CLOSE_KEYS, st.binary(min_size=32, max_size=32), max_size=40))
def test_leaves_that_share_long_prefixes(leaves: dict[bytes, bytes]) -> None:
    check_against_update(leaves)


@pytest.mark.parametrize("order", ["descending", "repeated"])
def test_leaves_out_of_order_are_refused(order: str) -> None:
    leaves = [(bytes([number]) * 32, ZERO_HASH) for number in range(1, 6)]
    if order == "descending":
        leaves[2:4] = reversed(leaves[2:4])
    else:
        leaves.insert(2, leaves[1])
    with pytest.raises(InvalidInputError, match="ascend"):
        list(TreeBuilder(1).build(leaves))


def test_nothing_but_one_path_is_held() -> None:
    """Nodes come out while leaves go in: the builder is never far ahead of what it gives back."""
    source = random.Random(5)
    keys = sorted(source.randbytes(32) for _ in range(5_000))
    taken = 0

    def leaves() -> Iterator[tuple[bytes, bytes]]:
        nonlocal taken
        for key in keys:
            taken += 1
            yield key, key

    given_out = 0
    for _ in TreeBuilder(1).build(leaves()):
        given_out += 1
        assert taken - given_out < 64
    assert given_out > len(keys)
