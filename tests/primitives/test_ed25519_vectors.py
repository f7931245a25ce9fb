"""The edges on which Ed25519 verifiers disagree, frozen in tests/vectors/ed25519.json.

The plain curve arithmetic below rebuilds the vectors, so that nobody has to trust the file.
"""

import json
from hashlib import sha512
from pathlib import Path

import pytest

from primitives.errors import InvalidInputError
from primitives.keys import PrivateKey, check_public_key, verify_signature

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "ed25519.json").read_text(encoding="utf-8")
)
GRID = VECTORS["small_order_grid"]
GRID_MESSAGE = bytes.fromhex(GRID["message"])

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P


def add(left, right):
    product = D * left[0] * right[0] * left[1] * right[1] % P
    x = (left[0] * right[1] + left[1] * right[0]) * pow(1 + product, -1, P) % P
    y = (left[1] * right[1] + left[0] * right[0]) * pow(1 - product, -1, P) % P
    return x, y


def multiply(scalar, point):
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def recover(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return (x if x % 2 == sign or x == 0 else P - x), y


def compress(point):
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def decompress(encoded):
    number = int.from_bytes(encoded, "little")
    return recover((number & 2**255 - 1) % P, number >> 255)


BASE = recover(BASE_Y, 0)
TORSION = recover(int(VECTORS["order_eight_y"], 16), 0)


def challenge(public_key, commitment, message):
    digest = sha512(commitment + public_key + message).digest()
    return int.from_bytes(digest, "little") % L


def sign_with_torsion(message, key_torsion, commitment_torsion):
    """Sign with secrets 7 and 11, after adding torsion to the key or the commitment."""
    public_key = compress(add(multiply(7, BASE), multiply(key_torsion, TORSION)))
    commitment = compress(add(multiply(11, BASE), multiply(commitment_torsion, TORSION)))
    scalar = (11 + 7 * challenge(public_key, commitment, message)) % L
    return public_key, commitment + scalar.to_bytes(32, "little")


def test_the_fourteen_encodings_are_all_of_the_small_order_points():
    points = {multiply(factor, TORSION) for factor in range(8)}
    assert len(points) == 8
    encodings = set()
    for _, y in points:
        for representative in (y, y + P):
            if representative < 2**255:
                encodings |= {
                    (representative | sign << 255).to_bytes(32, "little") for sign in (0, 1)
                }
    assert sorted(encodings) == sorted(bytes.fromhex(item) for item in GRID["encodings"])
    assert len(encodings) == 14


def test_the_grid_is_every_pair_of_encodings_with_scalar_zero():
    expected = [
        [key, commitment + "00" * 32]
        for key in GRID["encodings"]
        for commitment in GRID["encodings"]
    ]
    assert GRID["cases"] == expected
    assert len(expected) == 196


@pytest.mark.parametrize("case", range(196))
def test_small_order_grid_is_refused(case):
    public_key, signature = (bytes.fromhex(item) for item in GRID["cases"][case])
    assert not verify_signature(public_key, GRID_MESSAGE, signature)


@pytest.mark.parametrize("encoding", GRID["encodings"])
def test_small_order_keys_cannot_be_registered(encoding):
    with pytest.raises(InvalidInputError) as caught:
        check_public_key(bytes.fromhex(encoding), "member.key")
    assert caught.value.code == "invalid_public_key"
    assert caught.value.field == "member.key"


@pytest.mark.parametrize("encoding", GRID["encodings"])
def test_small_order_commitments_are_refused_under_an_honest_key(encoding):
    """S = h·a makes the equation hold for R = identity; only the check of R refuses it."""
    message = b"message"
    public_key = compress(multiply(7, BASE))
    commitment = bytes.fromhex(encoding)
    scalar = 7 * challenge(public_key, commitment, message) % L
    assert not verify_signature(public_key, message, commitment + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("vector", VECTORS["rfc_8032"], ids=lambda vector: vector["name"])
def test_published_signatures_are_made_and_accepted(vector):
    key = PrivateKey(bytes.fromhex(vector["seed"]))
    message = bytes.fromhex(vector["message"])
    signature = bytes.fromhex(vector["signature"])
    assert key.public_key.hex() == vector["public_key"]
    assert key.sign(message) == signature
    assert verify_signature(key.public_key, message, signature)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_crafted_signatures_are_refused(vector):
    public_key, message, signature = (
        bytes.fromhex(vector[name]) for name in ("public_key", "message", "signature")
    )
    assert not verify_signature(public_key, message, signature)


def test_scalar_above_the_order_is_the_honest_one_plus_the_order():
    honest = bytes.fromhex(VECTORS["rfc_8032"][1]["signature"])
    (crafted,) = (
        bytes.fromhex(vector["signature"])
        for vector in VECTORS["refused"]
        if vector["name"] == "scalar plus group order"
    )
    scalar = int.from_bytes(honest[32:], "little") + L
    assert crafted == honest[:32] + scalar.to_bytes(32, "little")


@pytest.mark.parametrize("vector", VECTORS["mixed_order"], ids=lambda vector: vector["name"])
def test_points_with_a_torsion_part_are_judged_as_frozen(vector):
    """Verifiers with and without cofactor differ here, so the linked library is pinned by it."""
    message = bytes.fromhex(vector["message"])
    public_key, signature = sign_with_torsion(
        message, vector["key_torsion"], vector["commitment_torsion"]
    )
    assert public_key.hex() == vector["public_key"]
    assert signature.hex() == vector["signature"]
    assert verify_signature(public_key, message, signature) is vector["accepted"]


def test_keys_with_a_torsion_part_cannot_be_registered():
    for factor in range(1, 8):
        key = compress(add(multiply(7, BASE), multiply(factor, TORSION)))
        with pytest.raises(InvalidInputError, match="prime-order"):
            check_public_key(key)
