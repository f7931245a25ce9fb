from hashlib import sha256

from primitives.state_keys import state_key_hash, state_value_hash


def test_keys_and_values_are_hashed_apart():
    assert state_key_hash(b"a") == sha256(b"\x11quorate/state-keya").digest()
    assert state_value_hash(b"a") == sha256(b"\x13quorate/state-valuea").digest()
