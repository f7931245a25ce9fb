"""``quorate keys``: make, show and rotate keys."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from node.commands.terminal import OutputFormat, print_answer, print_note
from node.home import NodeHome
from node.passwords import PasswordSource, read_password_file
from node.storage.keystore import load_private_key, name_account, read_key_file, save_seed
from primitives.accounts import account_id_from_public_key, account_to_text
from primitives.errors import InvalidInputError
from primitives.keys import SEED_BYTES, PrivateKey

if TYPE_CHECKING:
    from quorate.client import Client

__all__ = [
    "choose_new_password",
    "find_account",
    "make_key",
    "open_client",
    "open_key",
    "prove_key",
    "rotate_account_key",
    "rotate_transport_key",
    "rotate_validator_key",
    "show_key",
]

PASSWORD_BYTES_MIN = 8

FEE_LIMIT_VARIABLE = "QUORATE_FEE_LIMIT"
FEE_LIMIT_DEFAULT = 1_000_000


def make_key(
    file: Path, output: OutputFormat, *, plain: bool, password_file: Path | None = None
) -> None:
    """Make a key file; asks for a new password unless one is given or the key stays plain."""
    password = choose_new_password(plain=plain, password_file=password_file)
    save_seed(file, secrets.token_bytes(SEED_BYTES), description="account", password=password)
    show_key(file, output)


def show_key(file: Path, output: OutputFormat) -> None:
    """Print what a key file says openly."""
    key_file = read_key_file(file)
    account = find_account(None, file)
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


def open_key(file: Path, password_file: Path | None = None) -> PrivateKey:
    """Return the key in a file; finds or asks for its password if it has one."""
    password = None
    if read_key_file(file).is_encrypted:
        password = PasswordSource(password_file).read(file)
    return load_private_key(file, password)


def find_account(account: str | None, key: Path | None) -> str:
    """Return an account that is named, or that of a key file; asks for no password.

    Raises
    ------
    InvalidInputError
        ``malformed``: neither is there.
    """
    if account is not None:
        return account
    if key is None:
        raise InvalidInputError("malformed", "name an account, or give a --key", field="account")
    key_file = read_key_file(key)
    return key_file.account or account_to_text(account_id_from_public_key(key_file.public_key))


def open_client(url: str, key: Path) -> Client:
    """Return a client that signs with the key in a file, for the account that the file names."""
    from quorate.client import Client

    account = read_key_file(key).account or None
    return Client(url, open_key(key), account=account, fee_limit=_read_fee_limit())


def _read_fee_limit() -> int:
    """Return the most that a transaction of the command line may pay as fee."""
    text = os.environ.get(FEE_LIMIT_VARIABLE, str(FEE_LIMIT_DEFAULT))
    if not text.isdigit():
        raise InvalidInputError(
            "malformed",
            f"{FEE_LIMIT_VARIABLE} must be a whole number, found {text!r}",
            field=FEE_LIMIT_VARIABLE,
            value=text,
        )
    return int(text)


def choose_new_password(*, plain: bool, password_file: Path | None) -> str | None:
    """Return the password for new key files; None keeps them plain."""
    if plain:
        return None
    return _ask_new_password() if password_file is None else _read_new(password_file)


def prove_key(url: str, file: Path, account: str, output: OutputFormat) -> None:
    """Print that a key is held, and note in its file which account it is to sign for."""
    from quorate.client import Client
    from quorate.governance import prove_possession

    key = open_key(file)
    with Client(url) as client:
        possession = prove_possession(key, client.governance.read_chain_id(), account)
    name_account(file, account)
    text = f"{key.public_key.hex()}:{possession.hex()}"
    print_answer({"proof": text, "account": account}, text, output)


def rotate_account_key(
    url: str, key: Path, new_file: Path, output: OutputFormat, *, plain: bool
) -> None:
    """Let a new key sign for the account of a key file; the old file is of no use afterwards."""
    _check_new(new_file)
    with open_client(url, key) as client:
        account = client.account().account

        def announce(private_key: PrivateKey) -> None:
            client.governance.rotate_account_key(private_key)

        _make_and_announce(key, new_file, account, plain=plain, announce=announce)
    print_note(f"from now on sign with {new_file}; {key} signs nothing any more")
    show_key(new_file, output)


def rotate_validator_key(url: str, home_folder: Path, output: OutputFormat, *, plain: bool) -> None:
    """Lay a new validator key beside the present one and announce it."""
    home = NodeHome(home_folder)
    new_file = _choose_name(home.validator_key_file)
    with open_client(url, home.account_key_file) as client:

        def announce(private_key: PrivateKey) -> None:
            client.governance.rotate_validator_key(private_key)

        _make_and_announce(home.validator_key_file, new_file, "", plain=plain, announce=announce)
    print_note(
        "the vote moves to the new key with the end of this epoch; leave both files where they are"
        " until `quorate validator list` shows it, then delete the old one"
    )
    show_key(new_file, output)


def rotate_transport_key(url: str, home_folder: Path, output: OutputFormat, *, plain: bool) -> None:
    """Lay a new transport key beside the present one and enter it into the registry."""
    from dataclasses import replace

    home = NodeHome(home_folder)
    new_file = _choose_name(home.transport_key_file)
    with open_client(url, home.account_key_file) as client:
        governance = client.governance
        member = governance.member().to_member()
        held = {read_key_file(path).public_key for path in home.list_transport_key_files()}

        def announce(private_key: PrivateKey) -> None:
            possession = governance.prove_possession(private_key)
            if member.transport_key in held:
                changed = replace(member, transport_key=private_key.public_key)
            else:
                observers = tuple(
                    replace(node, transport_key=private_key.public_key)
                    if node.transport_key in held
                    else node
                    for node in member.observers
                )
                if observers == member.observers:
                    raise InvalidInputError(
                        "unknown_key",
                        f"the registry lists no key of {home.root} for {member.name}",
                        field="home",
                        value=str(home.root),
                    )
                changed = replace(member, observers=observers)
            governance.update_member(changed, (possession,))

        _make_and_announce(home.transport_key_file, new_file, "", plain=plain, announce=announce)
    print_note("the node shows the new key as soon as it has read its own change")
    show_key(new_file, output)


def _make_and_announce(
    old_file: Path,
    new_file: Path,
    account: str,
    *,
    plain: bool,
    announce: Callable[[PrivateKey], None],
) -> None:
    """Write a new key file first, then tell the ledger; a key that is refused is removed again."""
    old = read_key_file(old_file)
    password = None if plain else PasswordSource().read(old_file) if old.is_encrypted else None
    seed = secrets.token_bytes(SEED_BYTES)
    save_seed(new_file, seed, description=old.description, account=account, password=password)
    try:
        announce(PrivateKey(seed))
    except BaseException as error:
        if getattr(error, "code", "") not in ("", "not_final"):
            new_file.unlink()
        raise


def _choose_name(first: Path) -> Path:
    """Return the first free name beside a key file: ``validator-2.json``."""
    number = 2
    while (path := first.with_name(f"{first.stem}-{number}.json")).exists():
        number += 1
    return path


def _check_new(file: Path) -> None:
    if file.exists():
        raise InvalidInputError(
            "file_exists", f"{file} exists; a key is never written over", field="file"
        )


def _read_new(password_file: Path) -> str:
    password = read_password_file(password_file)
    _check_length(password)
    return password


def _ask_new_password() -> str:
    if not sys.stdin.isatty():
        raise InvalidInputError(
            "password_missing",
            "a new key needs a password from a terminal or --password-file; --plain keeps it"
            " unencrypted, for trials",
            field="password",
        )
    password = getpass.getpass("new password: ")
    _check_length(password)
    if password != getpass.getpass("again: "):
        raise InvalidInputError("password_mismatch", "the two passwords differ", field="password")
    return password


def _check_length(password: str) -> None:
    if len(password.encode()) < PASSWORD_BYTES_MIN:
        raise InvalidInputError(
            "password_too_short",
            f"a password needs at least {PASSWORD_BYTES_MIN} bytes",
            field="password",
            limit=PASSWORD_BYTES_MIN,
        )
