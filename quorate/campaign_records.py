"""What ``client.campaigns`` returns, and the secrets that a provider keeps.

Amounts are whole numbers of the smallest unit, values exact fractions, times milliseconds.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Self

from ledger.hidden_pieces import SEED_BYTES, commit_to_seed, draw_piece
from ledger.payload import SALT_BYTES, Payload
from primitives.errors import InvalidInputError
from quorate.records import Transaction

__all__ = ["CampaignEntry", "CampaignRecord", "CampaignSecrets", "OpenedCampaign"]

FORMAT: Final = "quorate-campaign-secrets"
VERSION: Final = 1

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CampaignEntry:
    """A contribution to a campaign; payout, value and kept are None until everybody was paid.

    Parameters
    ----------
    sequence : number among all contributions to the model.
    contributor : ``qr1…``.
    samples : how many it has.
    payout : all that was paid for it, its stake or what was left of it included.
    value : what it was worth by the rule, exactly.
    kept : whether the model learns it.
    """

    sequence: int
    contributor: str
    samples: int
    payout: int | None
    value: Fraction | None
    kept: bool | None

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        payout, value = body["payout"], body["value_exact"]
        return cls(
            sequence=body["sequence"],
            contributor=body["contributor"],
            samples=body["samples"],
            payout=None if payout is None else int(payout),
            value=None if value is None else Fraction(value),
            kept=body["kept"],
        )


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """A campaign as one node sees it.

    Parameters
    ----------
    model, number : which one.
    provider : who opened it, ``qr1…``.
    rule : by which contributions are valued.
    bounty, stake : to be won, and what goes with each contribution.
    phase : ``draw``, ``participation``, ``reveal``, ``evaluation``, ``learning``; ``settled``,
        ``withheld``, ``not_revealed``, ``empty`` or ``aborted`` once it is closed.
    is_open : whether it still binds the model.
    next_action : what it waits for: ``wait_for_draw``, ``show_drawn_piece``, ``contribute``,
        ``show_pieces``, ``advance`` or ``none``.
    next_sentence : the same for people, until when, and what follows.
    deadline_ms : until when; None if there is no such time.
    returned, burnt : what the provider got back, and what nobody got.
    entries : contributions in the order of time; empty in lists.
    raw : the whole answer.
    """

    model: str
    number: int
    provider: str
    rule: str
    bounty: int
    stake: int
    phase: str
    is_open: bool
    next_action: str
    next_sentence: str
    deadline_ms: int | None
    returned: int
    burnt: int
    entries: tuple[CampaignEntry, ...]
    raw: Json

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the record of an answer."""
        step = body["next_step"]
        return cls(
            model=body["model"],
            number=body["campaign"],
            provider=body["provider"],
            rule=body["rule"],
            bounty=int(body["bounty"]),
            stake=int(body["stake"]),
            phase=body["phase"],
            is_open=body["is_open"],
            next_action=step["action"],
            next_sentence=step["sentence"],
            deadline_ms=step["deadline_ms"],
            returned=int(body["returned"]),
            burnt=int(body["burnt"]),
            entries=tuple(CampaignEntry.from_json(each) for each in body.get("entries", ())),
            raw=body,
        )

    @property
    def next_hidden(self) -> int | None:
        """Number of the first piece that was not shown; None if all were. Not in lists."""
        for piece in self.raw["pieces"]:
            if piece["transaction_id"] is None:
                return int(piece["piece"])
        return None


@dataclass(frozen=True, slots=True)
class CampaignSecrets:
    """What the provider keeps to itself until it is due; without it the bounty is lost.

    Whoever reads it before its time can train for the test, or foresee the draw.

    Parameters
    ----------
    model : that the pieces are for.
    seed : 32 bytes, the provider's part of the draw.
    pieces : the test data, each a payload with its salt.
    """

    model: str
    seed: bytes
    pieces: tuple[Payload, ...]

    @property
    def seed_commitment(self) -> bytes:
        """What the ledger is told of the seed."""
        return commit_to_seed(self.seed)

    @property
    def commitments(self) -> tuple[bytes, ...]:
        """What the ledger is told of the pieces."""
        return tuple(piece.commitment for piece in self.pieces)

    def find_drawn(self, block_id: bytes) -> int:
        """Return which piece the seed and a block draw."""
        return draw_piece(self.seed, block_id, len(self.pieces))

    def to_json(self) -> dict[str, Any]:
        """Return what goes into a file of one's own."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "seed": self.seed.hex(),
            "pieces": [
                {"salt": each.salt.hex(), "payload": base64.b64encode(each.data).decode("ascii")}
                for each in self.pieces
            ],
        }

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Return the secrets of a file.

        Raises
        ------
        InvalidInputError
            ``malformed``: they are none.
        """
        try:
            if (body["format"], body["version"]) != (FORMAT, VERSION):
                raise ValueError(f"they are not of format {FORMAT}, version {VERSION}")
            seed = bytes.fromhex(body["seed"])
            pieces = tuple(_read_piece(each) for each in body["pieces"])
            if len(seed) != SEED_BYTES:
                raise ValueError(f"the seed has {len(seed)} bytes in place of {SEED_BYTES}")
            return cls(str(body["model"]), seed, pieces)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise InvalidInputError(
                "malformed", f"these are no secrets of a campaign: {error!r}", field="secrets"
            ) from error


@dataclass(frozen=True, slots=True)
class OpenedCampaign:
    """A campaign that was opened just now.

    Parameters
    ----------
    number : among the model's campaigns.
    transaction : that opened it.
    secrets : keep them, on disk; they are needed to show the pieces.
    """

    number: int
    transaction: Transaction
    secrets: CampaignSecrets


def _read_piece(body: Json) -> Payload:
    salt = bytes.fromhex(body["salt"])
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {len(salt)} bytes in place of {SALT_BYTES}")
    return Payload(salt, base64.b64decode(body["payload"], validate=True))
