from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from node.storage.keystore import load_private_key, load_seed, read_key_file, save_seed
from primitives.errors import InvalidInputError
from primitives.keys import PrivateKey

SEED = bytes(range(32))
LIGHT = 2**4
PASSWORD = "correct horse"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "validator.json"
    save_seed(path, SEED, description="votes", password=PASSWORD, scrypt_cost=LIGHT)
    return path


def change(path: Path, *keys: str, value: Any) -> None:
    """Set one value of a key file."""
    document = json.loads(path.read_text())
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(document))


def code_of(path: Path, password: str | None = PASSWORD) -> str:
    with pytest.raises(InvalidInputError) as caught:
        load_seed(path, password)
    assert str(path) in caught.value.message
    return caught.value.code


def test_an_encrypted_key_opens_with_its_password(file: Path) -> None:
    assert load_seed(file, PASSWORD) == SEED
    assert load_private_key(file, PASSWORD).public_key == PrivateKey(SEED).public_key


def test_the_default_cost_is_that_of_the_standard(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    save_seed(path, SEED, password=PASSWORD)
    parameters = json.loads(path.read_text())["crypto"]["kdf"]["params"]
    assert (parameters["n"], parameters["r"], parameters["p"]) == (2**18, 8, 1)
    assert load_seed(path, PASSWORD) == SEED


def test_the_public_half_needs_no_password(file: Path) -> None:
    found = read_key_file(file)
    assert found.public_key == PrivateKey(SEED).public_key
    assert (found.description, found.is_encrypted) == ("votes", True)


def test_an_encrypted_file_does_not_hold_the_secret(file: Path) -> None:
    assert SEED.hex() not in file.read_text()
    assert "plain" not in json.loads(file.read_text())


def test_a_plain_key_says_that_it_is_plain(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    save_seed(path, SEED)
    assert load_seed(path) == SEED
    assert not read_key_file(path).is_encrypted
    assert "NOT ENCRYPTED" in path.read_text()


@pytest.mark.parametrize("password", [None, PASSWORD])
def test_a_key_file_is_for_its_owner_alone(tmp_path: Path, password: str | None) -> None:
    path = tmp_path / "keys" / "key.json"
    save_seed(path, SEED, password=password, scrypt_cost=LIGHT)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_key_is_never_written_over(file: Path) -> None:
    with pytest.raises(InvalidInputError, match="never written over") as caught:
        save_seed(file, bytes(32))
    assert caught.value.code == "file_exists"
    assert load_seed(file, PASSWORD) == SEED


def test_a_key_that_could_not_be_written_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, f"no room for {descriptor}")

    path = tmp_path / "key.json"
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no room"):
        save_seed(path, SEED)
    assert not path.exists()


def test_a_wrong_password_is_told_from_none(file: Path) -> None:
    assert code_of(file, "wrong") == "wrong_password"
    assert code_of(file, None) == "password_missing"


def test_passwords_are_compared_as_the_standard_says(tmp_path: Path) -> None:
    """Composed and decomposed letters are the same; control characters do not count."""
    path = tmp_path / "key.json"
    save_seed(path, SEED, password="caf\u00e9\u0007", scrypt_cost=LIGHT)
    assert load_seed(path, "cafe\u0301") == SEED


def test_a_file_of_the_standards_test_vector_opens(tmp_path: Path) -> None:
    """The scrypt vector of ERC-2335, with the public key that the secret has on Ed25519."""
    secret = bytes.fromhex("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
    document = {
        "crypto": {
            "kdf": {
                "function": "scrypt",
                "params": {
                    "dklen": 32,
                    "n": 262144,
                    "p": 1,
                    "r": 8,
                    "salt": "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
                },
                "message": "",
            },
            "checksum": {
                "function": "sha256",
                "params": {},
                "message": "d2217fe5f3e9a1e34581ef8a78f7c9928e436d36dacc5e846690a5581e8ea484",
            },
            "cipher": {
                "function": "aes-128-ctr",
                "params": {"iv": "264daa3f303d7259501c93d997d84fe6"},
                "message": "06ae90d55fe0a6e9c5c3bc5b170827b2e5cce3929ed3f116c2811e6366dfe20f",
            },
        },
        "description": "",
        "pubkey": PrivateKey(secret).public_key.hex(),
        "path": "",
        "uuid": "1d85ae20-35c5-4611-98e8-aa14a633906f",
        "version": 4,
    }
    path = tmp_path / "key.json"
    path.write_text(json.dumps(document))
    password = (
        "\U0001d531\U0001d522\U0001d530\U0001d531\U0001d52d\U0001d51e\U0001d530\U0001d530"
        "\U0001d534\U0001d52c\U0001d52f\U0001d521\U0001f511"
    )
    assert load_seed(path, password) == secret


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("version",), 3),
        (("pubkey",), "00"),
        (("pubkey",), "no hex"),
        (("pubkey",), bytes(32).hex()),
        (("crypto",), "text"),
        (("crypto",), {}),
        (("crypto",), None),
        (("crypto", "kdf", "function"), "pbkdf2"),
        (("crypto", "cipher", "function"), "aes-256-gcm"),
        (("crypto", "kdf", "params", "n"), 2**30),
        (("crypto", "kdf", "params", "n"), 3),
        (("crypto", "kdf", "params", "r"), 2**30),
        (("crypto", "kdf", "params", "p"), 2**20),
        (("crypto", "kdf", "params", "dklen"), 64),
        (("crypto", "kdf", "params", "salt"), 7),
        (("crypto", "cipher", "params", "iv"), "00"),
    ],
)
def test_a_file_that_is_no_key_file_is_refused_and_named(
    file: Path, keys: tuple[str, ...], value: Any
) -> None:
    change(file, *keys, value=value)
    assert code_of(file) == "invalid_key_file"


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "{"])
def test_text_that_is_no_key_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(text)
    assert code_of(path) == "invalid_key_file"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert code_of(tmp_path / "none.json") == "invalid_key_file"


def test_a_changed_ciphertext_does_not_open(file: Path) -> None:
    change(file, "crypto", "cipher", "message", value=bytes(32).hex())
    assert code_of(file) == "wrong_password"
