"""Where the password of a key file comes from: a file, a secret of the container, a person.

Source of the order: what is named explicitly wins; a prompt comes last, and only on a terminal.
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Final

from node.storage.keystore import load_seed
from primitives.errors import InvalidInputError

__all__ = [
    "PASSWORD_FILE_VARIABLE",
    "PasswordSource",
    "find_password_file",
    "read_password_file",
]

PASSWORD_FILE_VARIABLE: Final = "QUORATE_KEYS__PASSWORD_FILE"  # noqa: S105 (a name)
CONTAINER_SECRET: Final = Path("/run/secrets/quorate_password")

_PASSWORD_FILE_BYTES_MAX: Final = 4096


class PasswordSource:
    """Gives the password of key files; one password serves all files of a home.

    Parameters
    ----------
    password_file
        Holds the password in its first line; if left out, the file that the environment names, then
        the container's secret, then a prompt.
    """

    def __init__(self, password_file: Path | None = None) -> None:
        self._file = password_file or find_password_file()
        self._typed: dict[Path, str] = {}

    def read(self, key_file: Path) -> str:
        """Return the password of a key file.

        Raises
        ------
        InvalidInputError
            ``password_missing``: no file is named and nobody can be asked.
        """
        if self._file is not None:
            return read_password_file(self._file)
        for typed in dict.fromkeys(self._typed.values()):
            if _opens(key_file, typed):
                self._typed[key_file] = typed
        if key_file not in self._typed:
            if not sys.stdin.isatty():
                raise InvalidInputError(
                    "password_missing",
                    f"{key_file} is encrypted and no password was given; name a file with"
                    f" --password-file or {PASSWORD_FILE_VARIABLE}, mount {CONTAINER_SECRET}, or"
                    " start on a terminal",
                    field="keys.password_file",
                    value=str(key_file),
                )
            self._typed[key_file] = getpass.getpass(f"password of {key_file}: ")
        return self._typed[key_file]


def _opens(key_file: Path, password: str) -> bool:
    try:
        load_seed(key_file, password)
    except InvalidInputError:
        return False
    return True


def find_password_file() -> Path | None:
    """Return the file that the environment names, or the container's secret, if there is one."""
    named = os.environ.get(PASSWORD_FILE_VARIABLE)
    if named:
        return Path(named)
    return CONTAINER_SECRET if CONTAINER_SECRET.exists() else None


def read_password_file(path: Path) -> str:
    """Return the first line of a file.

    Raises
    ------
    InvalidInputError
        ``invalid_password_file``: it cannot be read, is empty or is too large to be one.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_PASSWORD_FILE_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            "invalid_password_file",
            f"the password file {path} cannot be read: {error}",
            field="keys.password_file",
            value=str(path),
        ) from error
    line = text.split("\n", 1)[0].rstrip("\r")
    if not line or len(text) > _PASSWORD_FILE_BYTES_MAX:
        raise InvalidInputError(
            "invalid_password_file",
            f"the first line of {path} must be the password; it is empty or too long",
            field="keys.password_file",
            value=str(path),
        )
    return line
