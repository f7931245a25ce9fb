"""Private keys in files: the layout of ERC-2335, encrypted with scrypt, for the owner alone.

The layout is that of https://eips.ethereum.org/EIPS/eip-2335 with an Ed25519 seed as the secret. A
key may also be kept plain, for trials: the file then says so in as many words.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from node.storage.durable_files import create_private_file, make_folder, sync_folder
from primitives.errors import InvalidInputError
from primitives.keys import PrivateKey

__all__ = [
    "KeyFile",
    "load_private_key",
    "load_seed",
    "name_account",
    "read_key_file",
    "save_seed",
]

SCRYPT_COST: Final = 2**18
"""The standard's parameter; opening a key takes about a second and 256 MiB."""

_SCRYPT_MEMORY_BYTES_MAX: Final = 1024**3
_SCRYPT_PARALLELISM_MAX: Final = 16
_BLOCK_SIZE: Final = 8
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 16
_DERIVED_BYTES: Final = 32
_VERSION: Final = 4
_FUNCTIONS: Final = {"kdf": "scrypt", "checksum": "sha256", "cipher": "aes-128-ctr"}
_PLAIN_WARNING: Final = "NOT ENCRYPTED: for trials only"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What a key file says without its password.

    Parameters
    ----------
    public_key
        32 bytes.
    description
        For people.
    is_encrypted
        Whether a password is needed.
    account
        That the key signs for if it is not the one whose id is made of it, else empty.
    """

    public_key: bytes
    description: str
    is_encrypted: bool
    account: str = ""


def save_seed(
    path: Path,
    seed: bytes,
    *,
    description: str = "",
    account: str = "",
    password: str | None = None,
    scrypt_cost: int = SCRYPT_COST,
) -> None:
    """Write a key to a new file of mode 0600.

    Parameters
    ----------
    seed
        Of the private key, 32 bytes.
    description
        For people.
    account
        That it signs for, if that is not the account whose id is made of it.
    password
        Encrypts the key; None keeps it plain, and the file says so.
    scrypt_cost
        A power of two; lower ones are for tests.

    Raises
    ------
    InvalidInputError
        ``file_exists``: a key is never written over.
    """
    secret = _encrypt(seed, password, scrypt_cost) if password is not None else None
    document = {
        "crypto": secret,
        "description": description,
        "pubkey": PrivateKey(seed).public_key.hex(),
        "path": "",
        "uuid": str(uuid.uuid4()),
        "version": _VERSION,
    }
    if account:
        document["account"] = account
    if secret is None:
        document["plain"] = {"warning": _PLAIN_WARNING, "seed": seed.hex()}
    make_folder(path.parent)
    _create(path, json.dumps(document, indent=2) + "\n")


def name_account(path: Path, account: str) -> None:
    """Write into a key file which account it signs for; the key itself is not touched."""
    document = _read(path)
    document["account"] = account
    temporary = path.with_name(f"{path.name}.new")
    _create(temporary, json.dumps(document, indent=2) + "\n")
    temporary.rename(path)
    sync_folder(path.parent)


def read_key_file(path: Path) -> KeyFile:
    """Return what a key file says openly; raises ``invalid_key_file``."""
    document = _read(path)
    return KeyFile(
        public_key=bytes.fromhex(document["pubkey"]),
        description=str(document.get("description", "")),
        is_encrypted=document.get("crypto") is not None,
        account=str(document.get("account", "")),
    )


def load_private_key(path: Path, password: str | None = None) -> PrivateKey:
    """Return the key in a file; raises as :func:`load_seed`."""
    return PrivateKey(load_seed(path, password))


def load_seed(path: Path, password: str | None = None) -> bytes:
    """Return the 32 secret bytes in a file, for libraries that want them bare.

    Raises
    ------
    InvalidInputError
        ``invalid_key_file``, ``password_missing`` or ``wrong_password``.
    """
    document = _read(path)
    if document.get("crypto") is None:
        seed = bytes.fromhex(document["plain"]["seed"])
    elif password is None:
        raise InvalidInputError(
            "password_missing", f"{path} is encrypted and no password was given", field="password"
        )
    else:
        seed = _decrypt(document["crypto"], password, path)
    if PrivateKey(seed).public_key.hex() != document["pubkey"]:
        raise _invalid(path, "its public key is not that of its private key")
    return seed


def _create(path: Path, text: str) -> None:
    """Write a new file that its owner alone can read; leave none behind if that fails."""
    try:
        create_private_file(path, text.encode())
    except FileExistsError as error:
        raise InvalidInputError(
            "file_exists",
            f"{path} exists; a key is never written over",
            field="file",
            value=str(path),
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        is_plain = document.get("crypto") is None
        complete = len(bytes.fromhex(document["pubkey"])) == 32 and (
            not is_plain or len(bytes.fromhex(document["plain"]["seed"])) == 32
        )
    except FileNotFoundError as error:
        raise InvalidInputError(
            "invalid_key_file", f"there is no key file at {path}", field="file", value=str(path)
        ) from error
    except json.JSONDecodeError as error:
        raise _invalid(path, "it is not JSON") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(path, f"{type(error).__name__}: {error}") from error
    if not complete or document.get("version") != _VERSION:
        raise _invalid(path, f"it is not of version {_VERSION}")
    return dict(document)


def _invalid(path: Path, why: str) -> InvalidInputError:
    return InvalidInputError(
        "invalid_key_file", f"{path} is no key file: {why}", field="file", value=str(path)
    )


def _encrypt(seed: bytes, password: str, cost: int) -> dict[str, Any]:
    salt, nonce = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    parameters = {
        "dklen": _DERIVED_BYTES,
        "n": cost,
        "r": _BLOCK_SIZE,
        "p": 1,
        "salt": salt.hex(),
    }
    derived = _derive(password, parameters)
    ciphertext = _apply_cipher(derived, nonce, seed)
    return {
        "kdf": {"function": _FUNCTIONS["kdf"], "params": parameters, "message": ""},
        "checksum": {
            "function": _FUNCTIONS["checksum"],
            "params": {},
            "message": _compute_checksum(derived, ciphertext).hex(),
        },
        "cipher": {
            "function": _FUNCTIONS["cipher"],
            "params": {"iv": nonce.hex()},
            "message": ciphertext.hex(),
        },
    }


def _decrypt(secret: dict[str, Any], password: str, path: Path) -> bytes:
    try:
        functions = {name: secret[name]["function"] for name in ("kdf", "checksum", "cipher")}
        if functions != _FUNCTIONS:
            raise _invalid(path, f"it is encrypted with {functions}, known is {_FUNCTIONS}")
        derived = _derive(password, secret["kdf"]["params"])
        ciphertext = bytes.fromhex(secret["cipher"]["message"])
        nonce = bytes.fromhex(secret["cipher"]["params"]["iv"])
        checksum = bytes.fromhex(secret["checksum"]["message"])
        opens = hmac.compare_digest(_compute_checksum(derived, ciphertext), checksum)
        plain = _apply_cipher(derived, nonce, ciphertext)
    except (ValueError, KeyError, TypeError) as error:
        raise _invalid(path, f"{type(error).__name__}: {error}") from error
    if not opens:
        raise InvalidInputError(
            "wrong_password", f"the password does not open {path}", field="password"
        )
    return plain


def _derive(password: str, parameters: dict[str, Any]) -> bytes:
    """Return the key that a password gives; raises ValueError if that were too costly."""
    cost, block_size, parallelism = (int(parameters[name]) for name in ("n", "r", "p"))
    memory_bytes = 128 * cost * block_size
    # The file says how much work to do; a crafted one must not bring the machine down.
    if not 0 < memory_bytes <= _SCRYPT_MEMORY_BYTES_MAX:
        raise ValueError(
            f"scrypt would take {memory_bytes} bytes, at most {_SCRYPT_MEMORY_BYTES_MAX}"
        )
    if not 0 < parallelism <= _SCRYPT_PARALLELISM_MAX:
        raise ValueError(f"scrypt p is {parallelism}, at most {_SCRYPT_PARALLELISM_MAX}")
    if parameters["dklen"] != _DERIVED_BYTES:
        raise ValueError(f"dklen is {parameters['dklen']}, must be {_DERIVED_BYTES}")
    # ERC-2335: NFKD, and without control characters.
    normal = unicodedata.normalize("NFKD", password)
    cleaned = "".join(each for each in normal if unicodedata.category(each) != "Cc")
    scrypt = Scrypt(
        salt=bytes.fromhex(parameters["salt"]),
        length=_DERIVED_BYTES,
        n=cost,
        r=block_size,
        p=parallelism,
    )
    return scrypt.derive(cleaned.encode("utf-8"))


def _compute_checksum(derived: bytes, ciphertext: bytes) -> bytes:
    return hashlib.sha256(derived[16:32] + ciphertext).digest()


def _apply_cipher(derived: bytes, nonce: bytes, data: bytes) -> bytes:
    encryptor = Cipher(AES(derived[:16]), CTR(nonce)).encryptor()
    return encryptor.update(data) + encryptor.finalize()
