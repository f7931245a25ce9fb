"""``quorate model validation``: commit to samples that nobody sees yet, and show them later.

A piece of a validation set is a payload with its salt. Both are kept in a file of the owner's until
the piece is shown; without that file the piece is lost, so it is on disk before the ledger hears of
it. Who reads it before the time can train for the test: the file is for its owner alone.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ledger.payload import SALT_BYTES, Payload
from node.commands.contributions import read_samples
from node.commands.inspect import print_transaction
from node.commands.keys import open_client
from node.commands.terminal import OutputFormat, print_answer, render_table
from node.storage.durable_files import create_private_file, make_folder
from primitives.errors import InvalidInputError
from quorate.client import Client
from quorate.errors import RefusedError, TransactionFailedError

__all__ = ["commit_validation", "read_piece", "show_validation"]

FORMAT = "quorate-validation-piece"
VERSION = 1
NAME_CHARACTERS = 16
"""Of the commitment, in the name of a piece's file."""


def commit_validation(
    url: str,
    key: Path,
    model: str,
    samples: Path,
    output: OutputFormat,
    *,
    piece_count: int,
    folder: Path,
) -> None:
    """Cut the samples of a CSV file into pieces, keep them, and commit to them."""
    with open_client(url, key) as client:
        features, labels = read_samples(client.model(model), samples)
        if piece_count > len(features):
            raise InvalidInputError(
                "empty_batch",
                f"{samples} holds {len(features)} samples, too few for {piece_count} pieces",
                field="pieces",
                value=piece_count,
                limit=len(features),
            )
        # Every so-manieth sample: files are often sorted, and each piece shall be like the whole.
        pieces = [
            client.lifecycle.make_validation_piece(
                model,
                features[number::piece_count],
                None if labels is None else labels[number::piece_count],
            )
            for number in range(piece_count)
        ]
        _check_sizes(client, pieces)
        files = [_save_piece(folder, model, piece) for piece in pieces]
        try:
            committed = client.lifecycle.commit_validation(model, pieces)
        except (RefusedError, TransactionFailedError):
            # Nothing was committed to, and nothing will be.
            for file in files:
                file.unlink()
            raise
    first = int(committed.result["first_piece"])
    answer = [
        {
            "piece": first + place,
            "samples": len(features[place::piece_count]),
            "file": str(file),
            "commitment": pieces[place].commitment.hex(),
            "height": committed.height,
        }
        for place, file in enumerate(files)
    ]
    rows = [[each["piece"], each["samples"], each["file"]] for each in answer]
    print_answer(answer, render_table(["piece", "samples", "file"], rows), output)


def show_validation(
    url: str, key: Path, model: str, piece: int, file: Path, output: OutputFormat
) -> None:
    """Show a piece from its file; the version in force is judged on it."""
    of_model, payload = read_piece(file)
    if of_model != model:
        raise InvalidInputError(
            "wrong_commitment",
            f"{file} holds a piece for {of_model!r}, not for {model!r}",
            field="file",
            value=str(file),
        )
    with open_client(url, key) as client:
        commitments = [each["commitment"] for each in client.lifecycle.pieces(model)]
        own = payload.commitment.hex()
        # Said before sending: a payload that was sent is no secret any more.
        if piece >= len(commitments) or commitments[piece] != own:
            place = f"piece {commitments.index(own)}" if own in commitments else "no piece"
            raise InvalidInputError(
                "wrong_commitment",
                f"{file} holds {place} of the validation set of {model!r}, not piece {piece}",
                field="piece",
                value=piece,
            )
        print_transaction(client.lifecycle.show_validation(model, piece, payload), output)


def read_piece(file: Path) -> tuple[str, Payload]:
    """Return the model that a kept piece is for, and the piece; raises ``malformed_file``."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["format"] != FORMAT or document["version"] != VERSION:
            raise ValueError(f"it is not of format {FORMAT}, version {VERSION}")
        salt = bytes.fromhex(document["salt"])
        if len(salt) != SALT_BYTES:
            raise ValueError(f"its salt has {len(salt)} bytes in place of {SALT_BYTES}")
        payload = Payload(salt, base64.b64decode(document["payload"], validate=True))
        model = str(document["model"])
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise InvalidInputError(
            "malformed_file",
            f"{file} is no piece of a validation set: {error}",
            field="file",
            value=str(file),
        ) from error
    return model, payload


def _save_piece(folder: Path, model: str, piece: Payload) -> Path:
    """Write a piece to a new file of mode 0600 and return it once it is on disk."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "model": model,
        "commitment": piece.commitment.hex(),
        "salt": piece.salt.hex(),
        "payload": base64.b64encode(piece.data).decode("ascii"),
    }
    make_folder(folder)
    file = folder / f"{model}-{piece.commitment.hex()[:NAME_CHARACTERS]}.json"
    create_private_file(file, (json.dumps(document, indent=2) + "\n").encode())
    return file


def _check_sizes(client: Client, pieces: Sequence[Payload]) -> None:
    """Refuse pieces that could be committed to, but never be shown."""
    limit = int(client.status().raw["parameters"]["payload_bytes_max"])
    largest = max(len(piece.data) for piece in pieces)
    if largest > limit:
        raise InvalidInputError(
            "too_large",
            f"a piece has {largest} bytes, more than the {limit} of a payload; cut the samples"
            " into more pieces",
            field="pieces",
            value=largest,
            limit=limit,
        )
