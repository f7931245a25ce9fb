"""What the state says of an exchange: its terms, how far it is, its test set and its submissions.

::

    time      models are submitted │ opened      │ the test set is shown │ all is judged and paid
    ends at   created + length     │ + one wait, │ + another wait        │ with the last item
                                   │ or sooner, when all are opened

Which of the first three it is, the clock says alone; nobody has to close them. What was submitted
is opened before any piece is shown, so that nobody can fit the test set.
Source: docs/spec/ledger.md §5.12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ledger.exchange_terms import SUBMISSIONS_MAX, ExchangeTerms, decode_exchange_terms
from ledger.hidden_pieces import PIECES_MAX, HiddenPiece, HiddenPieces, read_hidden_pieces
from ledger.model_records import LOSS_SUM_MAX, check_model_name
from ledger.schema import read_record
from ml_runtime.spec import ModelSpec, decode_spec
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, encode
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES, Tag, tagged_hash

__all__ = [
    "EXCHANGE_PIECES_PREFIX",
    "EXCHANGE_PREFIX",
    "SALT_BYTES",
    "STANDINGS",
    "STATUSES",
    "Exchange",
    "ExchangeEntry",
    "ExchangePieces",
    "ExchangeProgress",
    "OpenedModel",
    "Submission",
    "commit_to_model",
    "decode_exchange",
    "decode_exchange_pieces",
    "decode_exchange_progress",
    "decode_submission",
    "exchange_key",
    "exchange_pieces_key",
    "exchange_progress_key",
    "hide_pieces",
    "submission_key",
    "submission_prefix",
]

EXCHANGE_PREFIX: Final = b"exchange/"
EXCHANGE_PIECES_PREFIX: Final = b"exchange_pieces/"
SALT_BYTES: Final = 32

STATUSES: Final = ("open", "judging", "won", "not_won", "not_shown")
"""Where an exchange stands: the last three are how it ended."""

STANDINGS: Final = ("sealed", "opened", "set_aside")
"""Where a submission stands: set aside is one that by now is too large to be judged."""

_MODEL_NAME_BYTES: Final = 64


def exchange_key(name: str) -> bytes:
    """Return the state key of what an exchange is."""
    return EXCHANGE_PREFIX + name.encode()


def exchange_progress_key(name: str) -> bytes:
    """Return the state key of how far an exchange is."""
    return b"exchange_progress/" + name.encode()


def exchange_pieces_key(name: str) -> bytes:
    """Return the state key of the test set of an exchange."""
    return EXCHANGE_PIECES_PREFIX + name.encode()


def submission_prefix(name: str) -> bytes:
    """Return what the state keys of all submissions to an exchange start with."""
    return b"submission/" + name.encode() + b"/"


def submission_key(name: str, account: bytes) -> bytes:
    """Return the state key of an account's submission to an exchange."""
    return submission_prefix(name) + account


def commit_to_model(salt: bytes, account: AccountId, spec: ModelSpec, digest: bytes) -> bytes:
    """Return the commitment to a model.

    Parameters
    ----------
    salt : 32 secret bytes, without which good guesses could be tried out.
    account : who submits it; whoever copies the commitment can therefore not open it.
    spec : of the model.
    digest : of its parameters, `ModelTensors.digest`.
    """
    return tagged_hash(Tag.SEALED_MODEL, salt + account + encode(spec.to_fields()) + digest)


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange as it was opened; never changes.

    Parameters
    ----------
    organiser : who opened it and holds out the bounty.
    created_height, created_ms : in which block, and its time.
    terms : what it asks for.
    """

    organiser: AccountId
    created_height: int
    created_ms: int
    terms: ExchangeTerms

    @property
    def deadline_ms(self) -> int:
        """Before it models are submitted, from then on they are opened."""
        return self.created_ms + self.terms.length_ms

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        terms = self.terms.to_fields()
        return encode((self.organiser, self.created_height, self.created_ms, terms))


def decode_exchange(data: bytes) -> Exchange:
    """Return the exchange whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "exchange", 4)
    return Exchange(
        AccountId(reader.bytes("organiser", ACCOUNT_ID_BYTES)),
        reader.counter("created_height"),
        reader.counter("created_ms"),
        decode_exchange_terms(reader.value()),
    )


@dataclass(frozen=True, slots=True)
class ExchangeEntry:
    """A submission in the order of all.

    Parameters
    ----------
    account : who submitted it.
    item_units : of judging its model on the largest piece; 0 until it is opened.
    loading_units : of reading its parameters, once for each transaction.
    """

    account: AccountId
    item_units: int = 0
    loading_units: int = 0

    @property
    def is_opened(self) -> bool:
        """Whether its model was opened."""
        return self.item_units > 0


@dataclass(frozen=True, slots=True)
class ExchangeProgress:
    """How far an exchange is.

    Parameters
    ----------
    status : place in `STATUSES`.
    all_opened_ms : when the last submission was opened, if all were in time.
    entries : earliest first; who submits anew goes to the end.
    entry, piece : what is judged next.
    winner : who won, if anybody did.
    """

    status: int = 0
    all_opened_ms: int | None = None
    entries: tuple[ExchangeEntry, ...] = ()
    entry: int = 0
    piece: int = 0
    winner: AccountId | None = None

    @property
    def status_name(self) -> str:
        """Return where it stands, one of `STATUSES`."""
        return STATUSES[self.status]

    @property
    def is_judging(self) -> bool:
        """Whether the test set was shown and models are judged on it."""
        return self.status_name == "judging"

    @property
    def is_closed(self) -> bool:
        """Whether all money was paid out."""
        return self.status_name in ("won", "not_won", "not_shown")

    @property
    def next_entry(self) -> int | None:
        """Place of the next submission to be judged, or None if all were."""
        for place in range(self.entry, len(self.entries)):
            if self.entries[place].is_opened:
                return place
        return None

    def find(self, account: AccountId) -> int | None:
        """Return the place of an account's submission, or None if it has none."""
        for place, entry in enumerate(self.entries):
            if entry.account == account:
                return place
        return None

    def open(self, place: int, entry: ExchangeEntry, now_ms: int) -> ExchangeProgress:
        """Return the progress with one submission opened."""
        entries = (*self.entries[:place], entry, *self.entries[place + 1 :])
        complete = all(each.is_opened for each in entries)
        return replace(self, entries=entries, all_opened_ms=now_ms if complete else None)

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        entries: list[Encodable] = [
            [each.account, each.item_units, each.loading_units] for each in self.entries
        ]
        return encode(
            (self.status, self.all_opened_ms, entries, self.entry, self.piece, self.winner)
        )


def decode_exchange_progress(data: bytes) -> ExchangeProgress:
    """Return the progress whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "exchange_progress", 6)
    status = reader.integer("status", 0, len(STATUSES) - 1)
    all_opened_ms = reader.optional_integer("all_opened_ms", 0, COUNTER_MAX)
    entries = reader.array("entries", SUBMISSIONS_MAX)
    entry = reader.integer("entry", 0, SUBMISSIONS_MAX)
    piece = reader.integer("piece", 0, PIECES_MAX)
    winner = reader.optional_bytes("winner", ACCOUNT_ID_BYTES)
    return ExchangeProgress(
        status,
        all_opened_ms,
        tuple(_read_entry(each) for each in entries),
        entry,
        piece,
        None if winner is None else AccountId(winner),
    )


@dataclass(frozen=True, slots=True)
class ExchangePieces:
    """The test set of an exchange."""

    hidden: HiddenPieces

    @property
    def samples(self) -> int:
        """How many samples were shown."""
        return sum(piece.samples for piece in self.hidden.pieces)

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.hidden.to_fields(),))


def hide_pieces(commitments: Sequence[bytes]) -> ExchangePieces:
    """Return a test set of which nothing has been shown."""
    return ExchangePieces(HiddenPieces(tuple(HiddenPiece(each) for each in commitments)))


def decode_exchange_pieces(data: bytes) -> ExchangePieces:
    """Return the test set whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "exchange_pieces", 1)
    return ExchangePieces(read_hidden_pieces(reader.array("pieces", PIECES_MAX)))


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """What a commitment turned out to stand for.

    Parameters
    ----------
    name : of the model in the ledger.
    version : that was submitted. It is pinned until it was judged or the exchange is closed.
    spec : of that version.
    digest : of its parameters, 32 bytes.
    """

    name: str
    version: int
    spec: ModelSpec
    digest: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """What an account submitted, and what came of it.

    Parameters
    ----------
    commitment : to a model, see `commit_to_model`.
    submitted_ms : time of the block that it came with.
    opened : the model, once it was opened.
    standing : place in `STANDINGS`.
    samples, correct, loss : on how many samples it was judged so far, how many of them were right,
        and what they lost together, Q16.
    """

    commitment: bytes
    submitted_ms: int
    opened: OpenedModel | None = None
    standing: int = 0
    samples: int = 0
    correct: int = 0
    loss: int = 0

    @property
    def standing_name(self) -> str:
        """Return where it stands, one of `STANDINGS`."""
        return STANDINGS[self.standing]

    def move_to(self, standing: str) -> Submission:
        """Return the submission with another standing, one of `STANDINGS`."""
        return replace(self, standing=STANDINGS.index(standing))

    def add(self, samples: int, correct: int, loss: int) -> Submission:
        """Return the submission after it was judged on one more piece.

        A loss is at most 2^38 for a regression and the samples of 256 pieces at most 2^24, so that
        the sum is never cut off in truth.
        """
        return replace(
            self,
            samples=self.samples + samples,
            correct=self.correct + correct,
            loss=max(-LOSS_SUM_MAX, min(LOSS_SUM_MAX, self.loss + loss)),
        )

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        opened: Encodable = None
        if self.opened is not None:
            each = self.opened
            opened = [each.name, each.version, each.spec.to_fields(), each.digest]
        return encode(
            (
                self.commitment,
                self.submitted_ms,
                opened,
                self.standing,
                self.samples,
                self.correct,
                self.loss,
            )
        )


def decode_submission(data: bytes) -> Submission:
    """Return the submission whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "submission", 7)
    return Submission(
        commitment=reader.bytes("commitment", HASH_BYTES),
        submitted_ms=reader.counter("submitted_ms"),
        opened=_read_opened(reader.value()),
        standing=reader.integer("standing", 0, len(STANDINGS) - 1),
        samples=reader.counter("samples"),
        correct=reader.counter("correct"),
        loss=reader.integer("loss", -LOSS_SUM_MAX, LOSS_SUM_MAX),
    )


def _read_entry(value: Value) -> ExchangeEntry:
    reader = FieldReader(value, "exchange_progress.entries", 3)
    return ExchangeEntry(
        AccountId(reader.bytes("account", ACCOUNT_ID_BYTES)),
        reader.counter("item_units"),
        reader.counter("loading_units"),
    )


def _read_opened(value: Value) -> OpenedModel | None:
    if value is None:
        return None
    reader = FieldReader(value, "submission.opened", 4)
    name = reader.text("name", _MODEL_NAME_BYTES)
    check_model_name(name)
    return OpenedModel(
        name,
        reader.counter("version"),
        decode_spec(reader.value()),
        reader.bytes("digest", HASH_BYTES),
    )
