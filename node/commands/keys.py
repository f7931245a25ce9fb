"""``quorate keys``: make and show keys."""

from __future__ import annotations

import getpass
import secrets
import sys
from pathlib import Path

from node.commands.terminal import OutputFormat, print_answer
from node.storage.keystore import load_private_key, read_key_file, save_seed
from primitives.accounts import account_id_from_public_key, account_to_text
from primitives.errors import InvalidInputError
from primitives.keys import SEED_BYTES, PrivateKey

__all__ = ["make_key", "open_key", "show_key"]

PASSWORD_BYTES_MIN = 8


def make_key(file: Path, output: OutputFormat, *, plain: bool) -> None:
    """Make a key file; asks for a new password unless the key is to be kept plain."""
    password = None if plain else _ask_new_password()
    save_seed(file, secrets.token_bytes(SEED_BYTES), description="account", password=password)
    show_key(file, output)


def show_key(file: Path, output: OutputFormat) -> None:
    """Print what a key file says openly."""
    key_file = read_key_file(file)
    account = account_to_text(account_id_from_public_key(key_file.public_key))
    answer = {
        "file": str(file),
        "account": account,
        "public_key": key_file.public_key.hex(),
        "is_encrypted": key_file.is_encrypted,
    }
    state = "encrypted" if key_file.is_encrypted else "NOT ENCRYPTED, for trials only"
    text = (
        f"account     {account}\npublic key  {answer['public_key']}\nfile        {file} ({state})"
    )
    print_answer(answer, text, output)


def open_key(file: Path) -> PrivateKey:
    """Return the key in a file; asks for its password if it has one."""
    password = None
    if read_key_file(file).is_encrypted:
        password = getpass.getpass(f"password of {file}: ")
    return load_private_key(file, password)


def _ask_new_password() -> str:
    if not sys.stdin.isatty():
        raise InvalidInputError(
            "password_missing",
            "a new key needs a password from a terminal; --plain keeps it unencrypted, for trials",
            field="password",
        )
    password = getpass.getpass("new password: ")
    if len(password.encode()) < PASSWORD_BYTES_MIN:
        raise InvalidInputError(
            "password_too_short",
            f"a password needs at least {PASSWORD_BYTES_MIN} bytes",
            field="password",
            limit=PASSWORD_BYTES_MIN,
        )
    if password != getpass.getpass("again: "):
        raise InvalidInputError("password_mismatch", "the two passwords differ", field="password")
    return password
