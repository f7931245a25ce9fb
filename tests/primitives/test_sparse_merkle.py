"""The tree against a dictionary and the recursive definition of the root."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primitives.errors import CorruptStateError, InvariantViolationError
from primitives.hashing import ZERO_HASH, Tag, tagged_hash
from primitives.sparse_merkle import prove, root_key, update_tree
from primitives.sparse_merkle_proof import verify_proof


class NodeStore(dict):
    def get_node(self, key):
        return self.get(key)

    def write(self, update):
        assert not self.keys() & update.nodes.keys()
        assert len(set(update.stale)) == len(update.stale)
        self.update(update.nodes)


def naive_root(state, depth=0):
    """The definition in docs/spec/encoding.md §12, without any storage."""
    if not state:
        return ZERO_HASH
    if len(state) == 1:
        ((key, value),) = state.items()
        return tagged_hash(Tag.STATE_LEAF, key + value)
    sides = ({}, {})
    for key, value in state.items():
        sides[key[depth // 8] >> 7 - depth % 8 & 1][key] = value
    children = [naive_root(side, depth + 1) for side in sides]
    return tagged_hash(Tag.STATE_INNER, b"".join(children))


def reachable(store, version):
    """The keys of all nodes of a version, found by the stored layout alone."""
    found = set()
    pending = [(version.to_bytes(8, "big"), "")]
    while pending:
        written, path = pending.pop()
        bits = path + "0" * (-len(path) % 8)
        packed = int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""
        key = written + len(path).to_bytes(2, "big") + packed
        found.add(key)
        node = store[key]
        if node[0] == 2:
            for side, reference in (("0", node[1:42]), ("1", node[42:83])):
                if reference[0]:
                    pending.append((reference[1:9], path + side))
    return found


def number_key(number):
    return number.to_bytes(32, "big")


# Keys that share long prefixes make chains, splits at the last bit and leaves that rise far; hashed
# ones are what the ledger uses.
keys = st.one_of(
    st.integers(0, 5).map(number_key),
    st.integers(0, 255).map(lambda shift: number_key(1 << shift)),
    st.integers(0, 40).map(lambda number: sha256(number_key(number)).digest()),
)
values = st.integers(1, 4).map(number_key)
batches = st.dictionaries(keys, st.none() | values, max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(batches, max_size=8))
def test_every_version_is_the_dictionary_it_stands_for(history):
    store = NodeStore()
    state = {}
    previous = None
    for version, changes in enumerate(history, start=3):
        update = update_tree(store, previous, version, changes)
        before = reachable(store, previous) if previous is not None else set()
        store.write(update)
        state.update(changes)
        state = {key: value for key, value in state.items() if value is not None}
        assert update.root == naive_root(state)
        after = reachable(store, version)
        assert set(update.nodes) == after - before
        assert set(update.stale) == before - after
        previous = version


@settings(max_examples=150, deadline=None)
@given(st.lists(batches, min_size=1, max_size=6), keys)
def test_every_version_proves_presence_and_absence_until_it_is_pruned(history, probe):
    store = NodeStore()
    versions = []
    state = {}
    for version, changes in enumerate(history):
        update = update_tree(store, version - 1 if version else None, version, changes)
        store.write(update)
        state = {k: v for k, v in {**state, **changes}.items() if v is not None}
        versions.append((update, state))
    for version, (update, held) in enumerate(versions):
        for key in {*held, probe}:
            proof = prove(store, version, key)
            assert verify_proof(update.root, key, held.get(key), proof)
            assert not verify_proof(update.root, key, number_key(99), proof)
            if key in held:
                assert not verify_proof(update.root, key, None, proof)
    for update, _ in versions:
        for key in update.stale:
            del store[key]
    last, held = versions[-1]
    for key in {*held, probe}:
        assert verify_proof(last.root, key, held.get(key), prove(store, len(versions) - 1, key))


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(keys, values, max_size=20), st.randoms(use_true_random=False))
def test_the_root_does_not_depend_on_order_or_batches(state, random):
    whole = update_tree(NodeStore(), None, 0, state)
    store = NodeStore()
    items = list(state.items())
    random.shuffle(items)
    store.write(update_tree(store, None, 0, {}))
    for version, (key, value) in enumerate(items, start=1):
        store.write(update_tree(store, version - 1, version, {key: value}))
    final = update_tree(store, len(items), len(items) + 1, {})
    assert final.root == whole.root
    assert update_tree(NodeStore(), None, 0, dict(items)).nodes == whole.nodes


def test_removing_everything_leaves_the_empty_tree():
    store = NodeStore()
    state = {sha256(number_key(number)).digest(): number_key(1) for number in range(50)}
    store.write(update_tree(store, None, 0, state))
    update = update_tree(store, 0, 1, dict.fromkeys(state))
    assert update.root == ZERO_HASH
    assert update.nodes == {root_key(1): b"\x00"}
    assert set(update.stale) == set(store)


def test_a_version_without_changes_only_rewrites_its_root():
    store = NodeStore()
    for state in ({}, {number_key(1): number_key(1)}, {number_key(2): number_key(1)}):
        version = len(store)
        store.write(update_tree(store, version - 1 if version else None, version, state))
        update = update_tree(store, version, version + 1, {number_key(77): None, **state})
        assert update.nodes == {root_key(version + 1): store[root_key(version)]}
        assert update.stale == (root_key(version),)
        store.write(update)
        assert update.root == update_tree(store, version + 1, version + 2, {}).root
        store.clear()
        store.write(update_tree(store, None, 0, {}))


def test_a_change_touches_only_its_path():
    store = NodeStore()
    state = {sha256(number_key(number)).digest(): number_key(1) for number in range(1000)}
    store.write(update_tree(store, None, 0, state))
    update = update_tree(store, 0, 1, {sha256(number_key(7)).digest(): number_key(2)})
    assert 8 <= len(update.nodes) == len(update.stale) <= 24


def test_a_frozen_tree_has_its_frozen_root():
    state = {sha256(bytes([number])).digest(): bytes([number]) * 32 for number in range(8)}
    assert update_tree(NodeStore(), None, 0, state).root.hex() == (
        "f232807817a74f6e637fc71f6ca65bf496ad2f617a5b2546003a4e89543ddeca"
    )


def test_the_root_key_is_the_version_and_an_empty_path():
    assert root_key(1) == bytes.fromhex("0000000000000001" + "0000")


@pytest.mark.parametrize(("previous", "version"), [(3, 3), (3, 2)])
def test_versions_must_ascend(previous, version):
    with pytest.raises(InvariantViolationError, match="is not above"):
        update_tree(NodeStore(), previous, version, {})


@pytest.mark.parametrize(
    "changes", [{b"k" * 31: b"v" * 32}, {b"k" * 32: b"v" * 31}, {b"k" * 33: None}]
)
def test_keys_and_values_must_be_hashes(changes):
    with pytest.raises(InvariantViolationError, match="32 bytes"):
        update_tree(NodeStore(), None, 0, changes)


def test_a_proof_is_of_a_key_hash():
    with pytest.raises(InvariantViolationError, match="32 bytes"):
        prove(NodeStore(), 0, b"k")


FIRST, SECOND = bytes(32), b"\x80" + bytes(31)


def make_pair():
    """A root over two leaves, at depth 1 each."""
    store = NodeStore()
    store.write(update_tree(store, None, 0, {FIRST: number_key(1), SECOND: number_key(1)}))
    return store, bytes(8) + b"\x00\x01\x00", bytes(8) + b"\x00\x01\x80"


def test_a_missing_version_is_corrupt_state():
    for use in (lambda: update_tree(NodeStore(), 0, 1, {}), lambda: prove(NodeStore(), 0, FIRST)):
        with pytest.raises(CorruptStateError, match="missing"):
            use()


@pytest.mark.parametrize(
    "node",
    [b"", b"\x00", b"\x01" + bytes(63), b"\x02" + bytes(64), b"\x03" + bytes(64)],
    ids=["nothing", "empty below the root", "short leaf", "short inner node", "unknown kind"],
)
def test_a_malformed_node_is_corrupt_state(node):
    store, first_key, _ = make_pair()
    store[first_key] = node
    for use in (
        lambda: update_tree(store, 0, 1, {FIRST: number_key(2)}),
        lambda: prove(store, 0, FIRST),
    ):
        with pytest.raises(CorruptStateError, match="tree node"):
            use()


def test_a_node_of_another_kind_than_its_parent_says_is_corrupt_state():
    store, first_key, second_key = make_pair()
    store[first_key] = store[root_key(0)]
    with pytest.raises(CorruptStateError, match="kind its parent says"):
        update_tree(store, 0, 1, {FIRST: number_key(2)})
    with pytest.raises(CorruptStateError, match="kind its parent says"):
        update_tree(store, 0, 1, {SECOND: None})
    del store[first_key], store[second_key]
    with pytest.raises(CorruptStateError, match="missing"):
        update_tree(store, 0, 1, {SECOND: None})


def test_an_inner_node_below_the_last_bit_is_corrupt_state():
    """A cycle in the store must not become an endless walk."""

    class EverInner:
        def get_node(self, key):
            return b"\x02" + (b"\x02" + bytes(40)) * 2

    for use in (
        lambda: update_tree(EverInner(), 0, 1, {FIRST: number_key(1)}),
        lambda: prove(EverInner(), 0, FIRST),
    ):
        with pytest.raises(CorruptStateError, match="depth 256"):
            use()
