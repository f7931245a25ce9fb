"""The file with a campaign's seed and test data: on disk before the ledger hears of the campaign.

Without it the provider cannot show what it promised to, and loses a part of the bounty or all of
it; whoever else reads it before its time can train for the test. So it is for its owner alone.
"""

from __future__ import annotations

import json
from pathlib import Path

from node.storage.durable_files import create_private_file, make_folder
from primitives.errors import InvalidInputError
from quorate.campaign_records import CampaignRecord, CampaignSecrets

__all__ = ["load_secrets", "save_secrets"]

NAME_CHARACTERS = 16
"""Of the seed's commitment, in the name of the file: one folder can hold many campaigns."""


def save_secrets(folder: Path, secrets: CampaignSecrets) -> Path:
    """Write secrets to a new file of mode 0600 and return it once it is on disk."""
    make_folder(folder)
    file = _name_file(folder, secrets.model, secrets.seed_commitment.hex())
    create_private_file(file, (json.dumps(secrets.to_json(), indent=2) + "\n").encode())
    return file


def load_secrets(folder: Path, campaign: CampaignRecord) -> CampaignSecrets:
    """Return the secrets of a campaign.

    Raises
    ------
    InvalidInputError
        ``unknown_secrets`` if there is no file of this campaign, ``malformed`` if it is none.
    """
    commitment = campaign.raw["draw"]["seed_commitment"]
    file = _name_file(folder, campaign.model, commitment)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InvalidInputError(
            "unknown_secrets",
            f"{file} is not there, which holds the secrets of campaign {campaign.number} of"
            f" {campaign.model!r}; `quorate campaign open` wrote it",
            field="folder",
            value=str(folder),
        ) from error
    try:
        return CampaignSecrets.from_json(json.loads(text))
    except ValueError as error:
        raise InvalidInputError(
            "malformed", f"{file} is no JSON: {error}", field="folder", value=str(file)
        ) from error


def _name_file(folder: Path, model: str, commitment: str) -> Path:
    return folder / f"{model}-campaign-{commitment[:NAME_CHARACTERS]}.json"
