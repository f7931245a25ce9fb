import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from primitives import keys
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.keys import PrivateKey, check_public_key, check_verifier, verify_signature

seeds = st.binary(min_size=32, max_size=32)


@settings(max_examples=50)
@given(seeds, st.binary(max_size=200), st.binary(max_size=200))
def test_a_signature_holds_for_its_key_and_message_only(seed, message, other):
    key = PrivateKey(seed)
    signature = key.sign(message)
    check_public_key(key.public_key)
    assert verify_signature(key.public_key, message, signature)
    assert verify_signature(key.public_key, other, signature) is (other == message)


@settings(max_examples=50)
@given(seeds, st.integers(0, 511))
def test_any_flipped_bit_breaks_a_signature(seed, bit):
    key = PrivateKey(seed)
    signature = bytearray(key.sign(b"message"))
    signature[bit // 8] ^= 1 << bit % 8
    assert not verify_signature(key.public_key, b"message", bytes(signature))


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=70))
def test_verifying_never_raises(public_key, message, signature):
    assert not verify_signature(public_key, message, signature)


def test_signing_is_deterministic():
    assert PrivateKey(b"s" * 32).sign(b"m") == PrivateKey(b"s" * 32).sign(b"m")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_seeds_of_another_length_are_refused(length):
    with pytest.raises(InvalidInputError, match=f"must have 32 bytes, found {length}") as caught:
        PrivateKey(b"s" * length)
    assert caught.value.value is None


def test_the_seed_is_not_shown():
    key = PrivateKey(b"secret seed of exactly 32 bytes!")
    assert repr(key) == f"PrivateKey(public_key={key.public_key.hex()})"


@pytest.mark.parametrize("length", [0, 31, 33])
def test_registering_a_key_of_another_length_is_refused(length):
    with pytest.raises(InvalidInputError) as caught:
        check_public_key(b"k" * length)
    assert (caught.value.code, caught.value.value) == ("invalid_public_key", length)


def test_registering_a_key_off_the_curve_is_refused():
    with pytest.raises(InvalidInputError, match="prime-order"):
        check_public_key((2).to_bytes(32, "little"))


def test_the_linked_verifier_is_the_one_of_the_protocol():
    check_verifier()


def test_a_verifier_with_cofactor_stops_the_node(monkeypatch):
    monkeypatch.setattr(keys, "verify_signature", lambda *_: True)
    with pytest.raises(InvariantViolationError, match="cofactor"):
        check_verifier()
