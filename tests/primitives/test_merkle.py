import pytest
from hypothesis import given
from hypothesis import strategies as st

from primitives.errors import InvariantViolationError
from primitives.hashing import Tag, tagged_hash
from primitives.merkle import merkle_path, merkle_root, verify_merkle_path

leaf_lists = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def root_as_rfc_9162_says(leaves):
    """MTH of RFC 9162 §2.1.1, by its recursive definition."""
    if not leaves:
        return tagged_hash(Tag.MERKLE_EMPTY, b"")
    if len(leaves) == 1:
        return tagged_hash(Tag.MERKLE_LEAF, leaves[0])
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = (root_as_rfc_9162_says(part) for part in (leaves[:split], leaves[split:]))
    return tagged_hash(Tag.MERKLE_NODE, left + right)


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_root_is_that_of_the_recursive_definition(leaves):
    assert merkle_root(leaves) == root_as_rfc_9162_says(leaves)


@given(leaf_lists)
def test_every_leaf_has_a_path(leaves):
    root = merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle_path(leaves, index)
        assert verify_merkle_path(root, leaf, index, len(leaves), path)


@given(leaf_lists, st.data())
def test_a_path_convinces_of_one_leaf_at_one_place_only(leaves, data):
    count = len(leaves)
    root = merkle_root(leaves)
    index = data.draw(st.integers(0, count - 1))
    path = merkle_path(leaves, index)
    leaf = leaves[index]
    assert not verify_merkle_path(root, leaf + b"x", index, count, path)
    assert not verify_merkle_path(b"x" * 32, leaf, index, count, path)
    assert not verify_merkle_path(root, leaf, index, count, (*path, b"x" * 32))
    assert not verify_merkle_path(root, leaf, index, count, (*path, b""))
    assert not verify_merkle_path(root, leaf, count, count, path)
    assert not verify_merkle_path(root, leaf, -1, count, path)
    for position, sibling in enumerate(path):
        for other in (b"x" * 32, sibling[:31], sibling + b"x"):
            changed = (*path[:position], other, *path[position + 1 :])
            assert not verify_merkle_path(root, leaf, index, count, changed)
        assert not verify_merkle_path(
            root, leaf, index, count, path[:position] + path[position + 1 :]
        )


@given(st.lists(st.binary(max_size=4), min_size=2, max_size=70, unique=True), st.data())
def test_a_path_does_not_fit_another_index(leaves, data):
    index = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.integers(0, len(leaves) - 1).filter(lambda item: item != index))
    path = merkle_path(leaves, index)
    assert not verify_merkle_path(merkle_root(leaves), leaves[index], other, len(leaves), path)


def test_an_inner_node_does_not_pass_as_a_leaf():
    leaves = [b"a", b"b", b"c", b"d"]
    left = b"".join(tagged_hash(Tag.MERKLE_LEAF, leaf) for leaf in leaves[:2])
    right = tagged_hash(
        Tag.MERKLE_NODE, b"".join(tagged_hash(Tag.MERKLE_LEAF, leaf) for leaf in leaves[2:])
    )
    assert not verify_merkle_path(merkle_root(leaves), left, 0, 2, (right,))


def test_repeating_the_last_leaf_changes_the_root():
    """Trees that pad with the last leaf confuse these two lists (CVE-2012-2459)."""
    assert merkle_root([b"a", b"b", b"c"]) != merkle_root([b"a", b"b", b"c", b"c"])


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_path_to_a_leaf_that_is_not_there(index):
    with pytest.raises(InvariantViolationError, match=f"leaf index {index} is not below 3"):
        merkle_path([b"a", b"b", b"c"], index)


def test_frozen_roots():
    assert merkle_root([]).hex() == (
        "0860fcbdd50dea6ce4bf49a056879c41864f730c3997d74437e7b3fc423aa5bb"
    )
    assert merkle_root([b"a"]).hex() == (
        "92af5b6089d1d8bb80c4e5fae58e3cd67ceae14316c6fbf7d05cd740d584bcb0"
    )
    assert merkle_root([b"a", b"b", b"c"]).hex() == (
        "c848ef2e78cc2a9bc8191bc18c3648544c5036ac8b2b307900035b76c00f559d"
    )
