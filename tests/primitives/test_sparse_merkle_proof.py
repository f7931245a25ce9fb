"""What the light client's verifier must accept, and a corpus of what it must not."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primitives.codec import encode
from primitives.errors import InvalidInputError
from primitives.hashing import ZERO_HASH
from primitives.sparse_merkle import prove, update_tree
from primitives.sparse_merkle_proof import (
    DEPTH_BITS_MAX,
    PROOF_BYTES_MAX,
    Proof,
    decode_proof,
    hash_inner,
    hash_leaf,
    verify_proof,
)

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "state_tree.json").read_text(encoding="utf-8")
)


class NodeStore(dict):
    def get_node(self, key):
        return self.get(key)


def from_hex(text):
    return None if text is None else bytes.fromhex(text)


STATE = {bytes.fromhex(key): bytes.fromhex(value) for key, value in VECTORS["state"].items()}
ROOT = bytes.fromhex(VECTORS["root"])
STORE = NodeStore(update_tree(NodeStore(), None, 0, STATE).nodes)
PRESENT = next(iter(STATE))
PROOF = prove(STORE, 0, PRESENT)
DEPTH = len(PROOF.siblings)

# Absent keys of both sorts: their place is empty, or another leaf has it.
OCCUPIED = next(
    key
    for key in (sha256(b"absent%d" % number).digest() for number in range(1000))
    if prove(STORE, 0, key).other_leaf
)
VACANT = next(
    key
    for key in (sha256(b"absent%d" % number).digest() for number in range(10_000))
    if not prove(STORE, 0, key).other_leaf
)


@pytest.mark.parametrize("vector", VECTORS["proofs"], ids=lambda vector: vector["name"])
def test_frozen_proofs_are_made_and_accepted(vector):
    key, value = bytes.fromhex(vector["key_hash"]), from_hex(vector["value_hash"])
    data = bytes.fromhex(vector["proof"])
    assert prove(STORE, 0, key).encode() == data
    assert verify_proof(ROOT, key, value, decode_proof(data))


def flipped(data, bit=0):
    return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")


def with_siblings(proof, *siblings):
    return Proof(tuple(siblings), proof.other_leaf)


def inner_node_as_leaf():
    """Pass the two hashes below an inner node off as a leaf's key and value."""
    node = hash_leaf(PRESENT, STATE[PRESENT])
    sibling = PROOF.siblings[-1]
    goes_right = int.from_bytes(PRESENT, "big") >> DEPTH_BITS_MAX - DEPTH & 1
    return (sibling, node) if goes_right else (node, sibling)


def forgeries():
    """Yield (name, root, key hash, value hash or None, proof) that are all wrong."""
    yield from forgeries_about_keys()
    yield from forgeries_of_siblings()
    yield from forgeries_of_lengths()


def forgeries_about_keys():
    value = STATE[PRESENT]
    siblings = PROOF.siblings
    occupied, vacant = prove(STORE, 0, OCCUPIED), prove(STORE, 0, VACANT)
    fake_key, fake_value = inner_node_as_leaf()
    other = next(key for key in STATE if key[0] >> 7 != PRESENT[0] >> 7)
    yield "another value", ROOT, PRESENT, flipped(value), PROOF
    yield "another root", flipped(ROOT), PRESENT, value, PROOF
    yield "the proof of another key", ROOT, other, STATE[other], PROOF
    yield "an absent key with its neighbour's value", ROOT, OCCUPIED, value, PROOF
    yield "an absent key with its own path", ROOT, OCCUPIED, value, Proof(occupied.siblings)
    yield "a vacant key with a value", ROOT, VACANT, value, vacant
    yield "a vacant key with zeros as value", ROOT, VACANT, ZERO_HASH, vacant
    yield "a present key as absent", ROOT, PRESENT, None, PROOF
    yield "a present key as the other leaf", ROOT, PRESENT, None, Proof(siblings, (PRESENT, value))
    yield (
        "presence with another leaf beside it",
        ROOT,
        PRESENT,
        value,
        Proof(siblings, (other, value)),
    )
    yield "absence by a leaf elsewhere", ROOT, PRESENT, None, Proof(siblings, (other, STATE[other]))
    yield (
        "absence by a leaf elsewhere with its path",
        ROOT,
        PRESENT,
        None,
        Proof(prove(STORE, 0, other).siblings, (other, STATE[other])),
    )
    yield "absence without the other leaf", ROOT, OCCUPIED, None, Proof(occupied.siblings)
    yield (
        "absence by an inner node as leaf",
        ROOT,
        PRESENT,
        None,
        Proof(siblings[:-1], (fake_key, fake_value)),
    )
    yield "an inner node as leaf", ROOT, fake_key, fake_value, Proof(siblings[:-1])


def forgeries_of_siblings():
    value = STATE[PRESENT]
    siblings = PROOF.siblings
    leaf_below = hash_leaf(PRESENT, value)
    yield "a leaf as inner node", ROOT, PRESENT, value, with_siblings(PROOF, *siblings, value)
    yield "a leaf's hash as value", ROOT, PRESENT, leaf_below, PROOF
    yield (
        "one sibling more, zeros",
        ROOT,
        PRESENT,
        value,
        with_siblings(PROOF, *siblings, ZERO_HASH),
    )
    yield (
        "one sibling more on top",
        ROOT,
        PRESENT,
        value,
        with_siblings(PROOF, ZERO_HASH, *siblings),
    )
    yield "one sibling less", ROOT, PRESENT, value, with_siblings(PROOF, *siblings[:-1])
    yield "the top sibling missing", ROOT, PRESENT, value, with_siblings(PROOF, *siblings[1:])
    yield "no siblings", ROOT, PRESENT, value, Proof(())
    yield "no siblings, absent", ROOT, PRESENT, None, Proof(())
    yield "siblings upside down", ROOT, PRESENT, value, with_siblings(PROOF, *siblings[::-1])
    yield "the first bit of the key flipped", ROOT, flipped(PRESENT, 255), value, PROOF
    yield "the last bit of the key flipped", ROOT, flipped(PRESENT), value, PROOF


def forgeries_of_lengths():
    value = STATE[PRESENT]
    siblings = PROOF.siblings
    occupied = prove(STORE, 0, OCCUPIED)
    yield "more siblings than bits", ROOT, PRESENT, value, Proof((ZERO_HASH,) * 257)
    yield (
        "a short sibling",
        ROOT,
        PRESENT,
        value,
        with_siblings(PROOF, siblings[0][:31], *siblings[1:]),
    )
    yield (
        "bytes moved between siblings",
        ROOT,
        PRESENT,
        value,
        with_siblings(PROOF, siblings[0] + siblings[1][:1], siblings[1][1:], *siblings[2:]),
    )
    yield "a byte moved from value to key", ROOT, PRESENT + value[:1], value[1:], PROOF
    yield "a byte moved from key to value", ROOT, PRESENT[:31], PRESENT[31:] + value, PROOF
    yield (
        "bytes moved within the other leaf",
        ROOT,
        OCCUPIED,
        None,
        Proof(occupied.siblings, (occupied.other_leaf[0] + b"x", occupied.other_leaf[1][1:])),
    )
    yield "an empty root for a present key", ZERO_HASH, PRESENT, value, PROOF
    yield "a short root", ROOT[:31], PRESENT, value, PROOF
    yield "an empty root as empty bytes", b"", PRESENT, None, Proof(())


FORGERIES = list(forgeries())


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery[0])
def test_forgeries_are_refused(forgery):
    assert not verify_proof(*forgery[1:])


@pytest.mark.parametrize("vector", VECTORS["forgeries"], ids=lambda vector: vector["name"])
def test_frozen_forgeries_are_refused(vector):
    root, key, value = (from_hex(vector[name]) for name in ("root", "key_hash", "value_hash"))
    assert not verify_proof(root, key, value, decode_proof(bytes.fromhex(vector["proof"])))


def test_frozen_forgeries_are_those_above_that_have_an_encoding():
    """The corpus is also written down, for verifiers in other languages."""
    frozen = {vector["name"]: vector for vector in VECTORS["forgeries"]}
    for name, root, key, value, proof in FORGERIES:
        if name in frozen:
            vector = frozen[name]
            assert vector["root"] == root.hex()
            assert vector["key_hash"] == key.hex()
            assert vector["value_hash"] == (None if value is None else value.hex())
            assert vector["proof"] == proof.encode().hex()
    assert len(frozen) >= 30


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([PRESENT, OCCUPIED, VACANT]), st.data())
def test_any_changed_byte_of_a_proof_is_refused(key, data):
    encoded = prove(STORE, 0, key).encode()
    position = data.draw(st.integers(0, len(encoded) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda item: item != encoded[position]))
    changed = encoded[:position] + bytes([byte]) + encoded[position + 1 :]
    try:
        proof = decode_proof(changed)
    except InvalidInputError:
        return
    assert not verify_proof(ROOT, key, STATE.get(key), proof)


def test_the_empty_tree_proves_that_nothing_is_there():
    assert verify_proof(ZERO_HASH, PRESENT, None, Proof(()))
    assert not verify_proof(ZERO_HASH, PRESENT, ZERO_HASH, Proof(()))


def test_a_single_leaf_is_the_root():
    root = hash_leaf(PRESENT, STATE[PRESENT])
    assert verify_proof(root, PRESENT, STATE[PRESENT], Proof(()))
    assert verify_proof(root, OCCUPIED, None, Proof((), (PRESENT, STATE[PRESENT])))


def test_lengths_and_places_are_checked_even_where_the_hashes_fit():
    """Roots that no honest tree has, so that nothing but the check itself can refuse."""
    value = STATE[PRESENT]
    leaf = hash_leaf(PRESENT, value)
    assert not verify_proof(leaf, PRESENT, None, Proof((), (PRESENT[:31], PRESENT[31:] + value)))
    long_value = value + b"x"
    assert not verify_proof(hash_leaf(PRESENT, long_value), PRESENT, long_value, Proof(()))
    misplaced = flipped(PRESENT, 255)
    pair = (ZERO_HASH, leaf) if misplaced[0] >> 7 else (leaf, ZERO_HASH)
    elsewhere = Proof((ZERO_HASH,), (PRESENT, value))
    assert not verify_proof(hash_inner(*pair), misplaced, None, elsewhere)


def test_two_keys_that_differ_in_the_last_bit_are_at_full_depth():
    twin = flipped(PRESENT)
    changes = {PRESENT: STATE[PRESENT], twin: ZERO_HASH}
    update = update_tree(NodeStore(), None, 0, changes)
    proof = prove(NodeStore(update.nodes), 0, twin)
    assert len(proof.siblings) == DEPTH_BITS_MAX
    assert verify_proof(update.root, twin, ZERO_HASH, proof)
    assert decode_proof(proof.encode()) == proof
    assert len(proof.encode()) <= PROOF_BYTES_MAX


def test_an_inner_node_is_not_hashed_as_a_leaf_is():
    assert hash_inner(PRESENT, ZERO_HASH) != hash_leaf(PRESENT, ZERO_HASH)


@given(
    st.lists(st.binary(min_size=32, max_size=32), max_size=20),
    st.none() | st.tuples(*[st.binary(min_size=32, max_size=32)] * 2),
)
def test_a_proof_survives_as_bytes(siblings, other_leaf):
    proof = Proof(tuple(siblings), other_leaf)
    assert decode_proof(proof.encode()) == proof


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ([], "malformed"),
        ([b"", None, None], "malformed"),
        ([bytes(31), None], "malformed"),
        ([b"", bytes(63)], "malformed"),
        ([b"", []], "malformed"),
        ([[], None], "malformed"),
        ([bytes(32 * 257), None], "too_large"),
    ],
)
def test_malformed_proofs_are_refused(value, code):
    with pytest.raises(InvalidInputError) as caught:
        decode_proof(encode(value))
    assert caught.value.code == code
