"""Private files of those who take part in an exchange: pieces of a test set, sealed models.

Each holds a salt without which a bounty or a stake is lost, so it is on disk before the ledger
hears of it. Who reads a piece before the time can train for the test: files are for their owner
alone.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ledger.payload import SALT_BYTES, Payload
from node.storage.durable_files import create_private_file, make_folder
from primitives.errors import InvalidInputError
from primitives.hashing import HASH_BYTES
from quorate.exchanges import SealedModel

__all__ = [
    "TestPiece",
    "read_sealed_model",
    "read_test_piece",
    "save_sealed_model",
    "save_test_piece",
]

PIECE_FORMAT = "quorate-exchange-piece"
SEALED_FORMAT = "quorate-sealed-model"
VERSION = 1
NAME_CHARACTERS = 16
"""Of the commitment, in the name of a file."""

T = TypeVar("T")


class TestPiece(NamedTuple):
    """A piece of the test set of an exchange."""

    exchange: str
    number: int
    payload: Payload


def save_test_piece(folder: Path, piece: TestPiece) -> Path:
    """Write a piece to a new file of mode 0600 and return it once it is on disk."""
    payload = piece.payload
    document = {
        "format": PIECE_FORMAT,
        "version": VERSION,
        "exchange": piece.exchange,
        "piece": piece.number,
        "commitment": payload.commitment.hex(),
        "salt": payload.salt.hex(),
        "payload": base64.b64encode(payload.data).decode("ascii"),
    }
    return _save(folder, f"{piece.exchange}-piece-{piece.number}", payload.commitment, document)


def read_test_piece(file: Path) -> TestPiece:
    """Return a piece that was kept; raises ``malformed_file``."""
    return _read(file, PIECE_FORMAT, "piece of a test set", _parse_test_piece)


def save_sealed_model(folder: Path, sealed: SealedModel) -> Path:
    """Write what opens a submission to a new file of mode 0600; return it once it is on disk."""
    document = {
        "format": SEALED_FORMAT,
        "version": VERSION,
        "exchange": sealed.exchange,
        "account": sealed.account,
        "model": sealed.model,
        "model_version": sealed.version,
        "salt": sealed.salt.hex(),
        "commitment": sealed.commitment.hex(),
    }
    return _save(folder, f"{sealed.exchange}-{sealed.model}", sealed.commitment, document)


def read_sealed_model(file: Path) -> SealedModel:
    """Return a submission that was kept; raises ``malformed_file``."""
    return _read(file, SEALED_FORMAT, "sealed model", _parse_sealed_model)


def _parse_test_piece(document: Mapping[str, Any]) -> TestPiece:
    data = base64.b64decode(document["payload"], validate=True)
    payload = Payload(_read_bytes(document, "salt", SALT_BYTES), data)
    return TestPiece(str(document["exchange"]), int(document["piece"]), payload)


def _parse_sealed_model(document: Mapping[str, Any]) -> SealedModel:
    return SealedModel(
        exchange=str(document["exchange"]),
        account=str(document["account"]),
        model=str(document["model"]),
        version=int(document["model_version"]),
        salt=_read_bytes(document, "salt", SALT_BYTES),
        commitment=_read_bytes(document, "commitment", HASH_BYTES),
    )


def _save(folder: Path, name: str, commitment: bytes, document: Mapping[str, Any]) -> Path:
    make_folder(folder)
    file = folder / f"{name}-{commitment.hex()[:NAME_CHARACTERS]}.json"
    create_private_file(file, (json.dumps(document, indent=2) + "\n").encode())
    return file


def _read(file: Path, form: str, what: str, parse: Callable[[Mapping[str, Any]], T]) -> T:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["format"] != form or document["version"] != VERSION:
            raise ValueError(f"it is not of format {form}, version {VERSION}")
        return parse(document)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise InvalidInputError(
            "malformed_file", f"{file} is no {what}: {error}", field="file", value=str(file)
        ) from error


def _read_bytes(document: Mapping[str, Any], name: str, size: int) -> bytes:
    value = bytes.fromhex(document[name])
    if len(value) != size:
        raise ValueError(f"its {name} has {len(value)} bytes in place of {size}")
    return value
