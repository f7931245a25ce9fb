"""The version of what a home's data folder holds: checked before any disk is opened.

A newer release may write what this one cannot read, so a home says by which format it was written.
Older ones are brought up step by step, each step whole or not at all; newer ones are refused.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from node.storage.durable_files import make_folder, sync_folder
from node.version import read_version
from primitives.errors import QuorateError

__all__ = ["DATA_FORMAT", "DataFormatError", "open_data_folder"]

logger = logging.getLogger(__name__)

DATA_FORMAT: Final = 3
_FILE: Final = "format.json"

Migration = Callable[[Path], None]
"""Brings a data folder from one format to the next; begun anew if it was cut short."""


class DataFormatError(QuorateError):
    """The data folder was written by a release that this one does not understand."""


def _name_the_format(_folder: Path) -> None:
    """Bring folders of before there was a format file to format 1, which differs in that alone."""


def _refuse_first_models(folder: Path) -> None:
    """Refuse folders of format 1 that hold a chain: its models and batches had other fields."""
    if any(path.name != _FILE for path in folder.iterdir()):
        raise DataFormatError(
            f"{folder} is of format 1, from before models had policies, groups and named versions;"
            " no network of that time goes on. Set it aside, then begin a network or join one"
        )


def _refuse_first_terms(folder: Path) -> None:
    """Refuse folders of format 2 that hold a chain: terms, parameters and supply had less."""
    if any(path.name != _FILE for path in folder.iterdir()):
        raise DataFormatError(
            f"{folder} is of format 2, from before there were stakes and campaigns; no network of"
            " that time goes on. Set it aside, then begin a network or join one"
        )


MIGRATIONS: Final[Mapping[int, Migration]] = {
    0: _name_the_format,
    1: _refuse_first_models,
    2: _refuse_first_terms,
}
"""By the format that they start from."""


def open_data_folder(
    folder: Path, migrations: Mapping[int, Migration] = MIGRATIONS, newest: int = DATA_FORMAT
) -> None:
    """Make sure that a data folder is of the format that this release writes.

    Parameters
    ----------
    folder
        ``data`` of a home, which is locked; made if it is missing.
    migrations, newest
        Of this release; others in tests.

    Raises
    ------
    DataFormatError
        It is newer, or its format file cannot be read.
    """
    is_new = not folder.exists()
    make_folder(folder)
    present = newest if is_new else _read(folder)
    if present > newest:
        raise DataFormatError(
            f"{folder} is of format {present}, this release reads up to {newest}: install the"
            " release that wrote it, or a newer one, or restore a snapshot into another home"
        )
    while present < newest:
        logger.info("data folder %s: format %d becomes %d", folder, present, present + 1)
        migrations[present](folder)
        present += 1
        _write(folder, present)
    if is_new:
        _write(folder, newest)


def _read(folder: Path) -> int:
    path = folder / _FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["format"]
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataFormatError(f"{path} cannot be read: {error}") from error
    if type(found) is not int or found < 0:
        raise DataFormatError(f"{path} names no format: {found!r}")
    return found


def _write(folder: Path, number: int) -> None:
    text = json.dumps({"format": number, "written_by": read_version()}) + "\n"
    temporary = folder / f"{_FILE}.new"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / _FILE)
    sync_folder(folder)
