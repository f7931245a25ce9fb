"""Bounties for the best model on a test set that nobody knows: ``client.exchanges``.

>>> test_set = client.exchanges.make_test_set("digits", features, labels, piece_count=4)
...                                                                        # doctest: +SKIP
>>> client.exchanges.open("cup", test_set, bounty=1_000, threshold=0.9)   # doctest: +SKIP
>>> sealed = rival.exchanges.submit("cup", "my-digits")                   # doctest: +SKIP
>>> rival.exchanges.reveal(sealed)       # once submissions are closed    # doctest: +SKIP
>>> for piece in test_set.pieces:                                          # doctest: +SKIP
...     client.exchanges.show_piece("cup", piece)
>>> client.exchanges.advance("cup")["winner"]                              # doctest: +SKIP

The test set and the salt of a submission are secrets without which a bounty or a stake is lost:
they are made first, so that a program can keep them before the ledger hears of anything.
Source: docs/spec/ledger.md §5.12.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ledger.exchange_records import SALT_BYTES, commit_to_model
from ledger.exchange_terms import SUBMISSIONS_MAX, decode_exchange_terms
from ledger.payload import Payload
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, Samples, encode_batch, sample_count
from ml_runtime.spec import decode_spec
from primitives.accounts import account_from_text
from primitives.codec import Encodable, decode, encode
from primitives.errors import InvalidInputError
from quorate import bodies
from quorate.batches import encode_samples, encode_targets
from quorate.bodies import DAY_MS
from quorate.connection import Connection
from quorate.errors import TransactionFailedError
from quorate.model_transfer import Progress, Submit
from quorate.records import Model, Transaction
from quorate.sender import Sender

__all__ = ["Exchanges", "SealedModel", "TestSet"]

PARTS_PER_MILLION: Final = 1_000_000
PAGE_LIMIT: Final = 200
SPEC_BYTES_MAX: Final = 64 * 1024
CROWDED_BLOCKS_MAX: Final = 10
"""Blocks in a row in which there may be no room for a model, before that is the caller's matter."""

PASSING_CODES: Final = frozenset(
    {"account_quota_exceeded", "block_full", "exchange_closed", "models_full"}
)
"""Somebody else judged the last model, or a block had no room: looking again is right."""

PLACE: Final = "/api/v1/exchanges"


@dataclass(frozen=True, slots=True)
class TestSet:
    """Samples to judge models on, secret until they are shown.

    Parameters
    ----------
    pieces : payloads with their salts; each is shown by a transaction of its own.
    class_count : of the models that they are for, 0 for regression.
    samples : ``dense`` or ``sparse``.
    feature_count : of a sample.
    feature_low, feature_high : between which all features lie, Q16.
    piece_samples_max : samples of the largest piece.
    """

    __test__ = False  # No matter for pytest.

    pieces: tuple[Payload, ...]
    class_count: int
    samples: str
    feature_count: int
    feature_low: int
    feature_high: int
    piece_samples_max: int


@dataclass(frozen=True, slots=True)
class SealedModel:
    """A submission that can be opened with what is here, and without it cannot.

    Parameters
    ----------
    exchange : its name.
    account : who submits it, and alone can open it.
    model, version : what is submitted.
    salt : 32 secret bytes.
    commitment : what the ledger gets to see.
    """

    exchange: str
    account: str
    model: str
    version: int
    salt: bytes
    commitment: bytes


class Exchanges:
    """Bounties for models: holding one out, taking part, and driving it on.

    Parameters
    ----------
    connection : to the node.
    get_sender : returns the account that acts, or refuses.
    submit : sends a transaction of a kind with a body and maybe a payload, and waits for it.
    get_model : returns what a model is.
    """

    def __init__(
        self,
        connection: Connection,
        get_sender: Callable[[], Sender],
        submit: Submit,
        get_model: Callable[[str], Model],
    ) -> None:
        self._connection = connection
        self._get_sender = get_sender
        self._submit = submit
        self._get_model = get_model

    def get(self, exchange: str) -> dict[str, Any]:
        """Return an exchange as the node shows it: terms, phase, submissions, winner."""
        return dict(self._connection.get(f"{PLACE}/{exchange}", {}))

    def list(self, status: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield all exchanges by name, or those of a status: ``open``, ``won`` and so on."""
        cursor = None
        while True:
            question = {"limit": PAGE_LIMIT, "cursor": cursor, "status": status}
            page = self._connection.get(PLACE, question)
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def make_test_set(
        self, like: str, features: Any, labels: Any, *, piece_count: int = 1
    ) -> TestSet:
        """Return a test set; keep it before it is committed to, without it the bounty is lost.

        Parameters
        ----------
        like : a model that takes such samples: classes in the same order, encoder, features.
            Models that are submitted must take them too; this one may, and need not have learnt.
        features, labels : as for :meth:`quorate.Client.contribute`.
        piece_count : how many pieces; every so-manieth sample goes to the same one.

        Raises
        ------
        InvalidInputError
            ``unsupported`` for a task without right answers, ``empty_batch`` for more pieces than
            samples, ``too_large`` for pieces that no transaction can show, or as ``contribute``.
        """
        described = self._get_model(like)
        if described.task not in ("classification", "regression"):
            raise InvalidInputError(
                "unsupported",
                f"{like!r} is for {described.task}: there are no right answers to judge it by",
                field="like",
                value=like,
            )
        encoder = described.encoder
        cuts = [
            encode_samples(
                features[number::piece_count],
                described.layout,
                described.feature_count,
                encoder,
            )
            for number in range(piece_count)
        ]
        counts = [sample_count(samples) for samples in cuts]
        if not min(counts, default=0):
            raise InvalidInputError(
                "empty_batch",
                f"there are {sum(counts)} samples, too few for {piece_count} pieces",
                field="piece_count",
                value=piece_count,
                limit=sum(counts),
            )
        pieces = []
        for number, samples in enumerate(cuts):
            kind, targets = encode_targets(
                labels[number::piece_count],
                described.task,
                described.class_names,
                counts[number],
            )
            pieces.append(Payload(os.urandom(SALT_BYTES), encode_batch(samples, targets, kind)))
        self._check_sizes(pieces, max(counts))
        low, high = _find_range(cuts)
        return TestSet(
            pieces=tuple(pieces),
            class_count=len(described.class_names),
            samples=described.layout,
            feature_count=described.feature_count,
            feature_low=low,
            feature_high=high,
            piece_samples_max=max(counts),
        )

    def open(
        self,
        exchange: str,
        test_set: TestSet,
        *,
        bounty: int,
        threshold: float,
        metric: str = "accuracy",
        stake: int = 0,
        length_ms: int = DAY_MS,
        reveal_wait_ms: int = DAY_MS,
        submissions_max: int = SUBMISSIONS_MAX,
        description: str = "",
    ) -> Transaction:
        """Hold out a bounty; it is held at once, and nothing of this can be changed.

        Parameters
        ----------
        exchange : its name, used once for good.
        test_set : of :meth:`make_test_set`; only commitments to it are sent.
        bounty : money for the best model.
        threshold : accuracy that a model must reach, 0 to 1; or the greatest mean loss.
        metric : ``accuracy`` or ``loss``.
        stake : money of every submission, back to who opens the model in time.
        length_ms : for so long models are submitted.
        reveal_wait_ms : for so long they can be opened, and then again the test set shown.
        submissions_max : at most so many accounts take part.
        description : for people: what the samples are and how they were made into features.
        """
        if metric == "accuracy" and not 0 <= threshold <= 1:
            raise InvalidInputError(
                "invalid_exchange",
                f"the threshold of an accuracy must lie in 0 to 1, found {threshold}",
                field="threshold",
                value=threshold,
                limit=1,
            )
        scale = PARTS_PER_MILLION if metric == "accuracy" else ONE
        terms: list[Encodable] = [
            exchange,
            description,
            [
                test_set.class_count,
                test_set.samples,
                test_set.feature_count,
                test_set.feature_low,
                test_set.feature_high,
            ],
            [metric, round(threshold * scale), bounty, stake],
            submissions_max,
            length_ms,
            reveal_wait_ms,
            test_set.piece_samples_max,
        ]
        bodies.check_integers(terms)
        # Read as the ledger will read it, so that a mistake is named before anything is sent.
        decode_exchange_terms(decode(encode(terms), bytes_max=SPEC_BYTES_MAX))
        commitments: list[Encodable] = [piece.commitment for piece in test_set.pieces]
        return self._submit(bodies.OPEN_EXCHANGE, [terms, commitments], None)

    def seal(
        self, exchange: str, model: str, salt: bytes | None = None, *, version: int | str = "latest"
    ) -> SealedModel:
        """Return a submission that can be kept before it is sent with :meth:`submit_sealed`.

        Parameters
        ----------
        model : one's own.
        salt : 32 secret bytes; drawn if left out.
        version : in force or with an alias. If others train the model before it is opened, only a
            version with an alias can be.

        Raises
        ------
        InvalidInputError
            ``model_does_not_fit`` or ``evaluation_too_large``: it could not be judged;
            ``not_owner``: it could not be opened, and the stake would be lost.
        RefusedError
            ``unknown_exchange``, ``unknown_model``, ``unknown_version``.
        """
        account = self._get_sender().account
        question = {"model": model, "version": str(version)}
        fit = self._connection.get(f"{PLACE}/{exchange}/fit", question)
        if not fit["fits"]:
            raise InvalidInputError(fit["code"], fit["reason"], field="model", value=model)
        # The ledger cannot look into what is sealed, so it would only refuse the opening.
        owner = self._get_model(model).owner
        if owner != account:
            raise InvalidInputError(
                "not_owner",
                f"{model!r} belongs to {owner}: only its owner can open it, so that a stake on it"
                " would be lost",
                field="model",
                value=account,
                limit=owner,
            )
        chosen = os.urandom(SALT_BYTES) if salt is None else salt
        spec = decode_spec(decode(bytes.fromhex(fit["spec"]), bytes_max=SPEC_BYTES_MAX))
        digest = bytes.fromhex(fit["digest"])
        commitment = commit_to_model(chosen, account_from_text(account), spec, digest)
        return SealedModel(exchange, account, model, fit["version"], chosen, commitment)

    def submit(
        self, exchange: str, model: str, salt: bytes | None = None, *, version: int | str = "latest"
    ) -> SealedModel:
        """Submit a model that nobody can see; keep what is returned, to open it later."""
        sealed = self.seal(exchange, model, salt, version=version)
        self.submit_sealed(sealed)
        return sealed

    def submit_sealed(self, sealed: SealedModel, *, max_stake: int | None = None) -> Transaction:
        """Send a submission; `max_stake` may be held, the exchange's stake if left out."""
        if max_stake is None:
            max_stake = int(self.get(sealed.exchange)["stake"])
        body: list[Encodable] = [sealed.exchange, sealed.commitment, max_stake]
        return self._submit(bodies.SUBMIT_MODEL, body, None)

    def reveal(self, sealed: SealedModel) -> Transaction:
        """Open a submission: everybody sees the model, and it can be judged.

        Raises
        ------
        InvalidInputError
            ``wrong_account``, ``wrong_phase`` or ``wrong_commitment``: nothing was sent, so that
            nobody saw the salt.
        """
        own = self._get_sender().account
        if own != sealed.account:
            raise InvalidInputError(
                "wrong_account",
                f"only {sealed.account} can open what it submitted, this is {own}",
                field="account",
                value=own,
                limit=sealed.account,
            )
        view = self.get(sealed.exchange)
        _check_phase(view, "opening")
        _check_submitted(view, sealed)
        body: list[Encodable] = [sealed.exchange, sealed.model, sealed.version, sealed.salt]
        return self._submit(bodies.REVEAL_MODEL, body, None)

    def show_piece(self, exchange: str, piece: Payload) -> Transaction:
        """Show a piece of the test set, each after the one before.

        Raises
        ------
        InvalidInputError
            ``wrong_commitment``, ``wrong_order`` or ``wrong_phase``: nothing was sent, so that the
            piece is as secret as before.
        """
        number = self.find_piece(exchange, piece)
        return self._submit(bodies.SHOW_EXCHANGE_PIECE, [exchange, number], piece)

    def find_piece(self, exchange: str, piece: Payload) -> int:
        """Return the number of a piece that can be shown now; raises as :meth:`show_piece`."""
        view = self.get(exchange)
        numbers = {each["commitment"]: each["piece"] for each in view["pieces"]}
        number = numbers.get(piece.commitment.hex())
        if number is None:
            raise InvalidInputError(
                "wrong_commitment",
                f"the piece is none of the test set of {exchange!r}",
                field="piece",
            )
        hidden = [each["piece"] for each in view["pieces"] if each["transaction_id"] is None]
        _check_phase(view, "showing")
        if number != hidden[0]:
            raise InvalidInputError(
                "wrong_order",
                f"piece {hidden[0]} of {exchange!r} is to be shown next, not {number}",
                field="piece",
                value=number,
                limit=hidden[0],
            )
        return int(number)

    def advance(
        self, exchange: str, *, items: int | None = None, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Have models judged until the exchange is closed and paid; anybody can.

        Interrupted, it goes on where it stopped. Returns the exchange as it is then.

        Parameters
        ----------
        items : most judgements of a transaction; as many as it can pay for if left out.
        progress : told how many judgements of how many are made.

        Raises
        ------
        TransactionFailedError
            ``too_early``: nothing is to be done yet.
        """
        crowded = 0
        while True:
            view = self.get(exchange)
            if progress is not None:
                progress(view["items_done"], view["items"])
            if view["phase"] == "closed":
                return view
            # Others may have taken a part of the block, so each attempt asks for less.
            fitting = min(view["items_next"], items or view["items_next"])
            body: list[Encodable] = [exchange, max(1, fitting >> crowded)]
            try:
                self._submit(bodies.ADVANCE_EXCHANGE, body, None)
                crowded = 0
            except TransactionFailedError as error:
                crowded += 1
                if error.code not in PASSING_CODES or crowded == CROWDED_BLOCKS_MAX:
                    raise

    def _check_sizes(self, pieces: Any, largest_count: int) -> None:
        """Refuse pieces that could be committed to, but never be shown."""
        parameters: Mapping[str, Any] = self._connection.get("/api/v1/status", {})["parameters"]
        found = {
            "payload_bytes_max": max(len(piece.data) for piece in pieces),
            "samples_per_contribution_max": largest_count,
        }
        for name, value in found.items():
            limit = int(parameters[name])
            if value > limit:
                raise InvalidInputError(
                    "too_large",
                    f"the largest piece has {value}, above {name} {limit}: cut the samples into"
                    " more pieces",
                    field="piece_count",
                    value=value,
                    limit=limit,
                )


def _check_phase(view: Mapping[str, Any], phase: str) -> None:
    """Refuse what would show a secret to everybody before its time, or in vain after it."""
    if view["phase"] != phase:
        raise InvalidInputError(
            "wrong_phase",
            f"exchange {view['name']!r} is {view['phase']}, not {phase}. {view['sentence']}",
            field="exchange",
            value=view["phase"],
            limit=phase,
        )


def _check_submitted(view: Mapping[str, Any], sealed: SealedModel) -> None:
    """Refuse what another submission has replaced, or what was never sent."""
    known = {each["account"]: each["commitment"] for each in view["submissions"]}
    submitted = known.get(sealed.account)
    if submitted != sealed.commitment.hex():
        why = "submitted nothing" if submitted is None else "submitted another model after this one"
        raise InvalidInputError(
            "wrong_commitment",
            f"{sealed.account} {why} to {sealed.exchange!r}: the ledger"
            f" does not have the commitment {sealed.commitment.hex()[:16]}…",
            field="commitment",
            value=sealed.commitment.hex(),
            limit=submitted,
        )


def _find_range(cuts: Any) -> tuple[int, int]:
    """Return bounds of all features: powers of two, which say little about hidden samples."""
    lowest, highest = 0, 0
    for samples in cuts:
        values = _get_values(samples)
        lowest = min(lowest, int(values.min(initial=0)))
        highest = max(highest, int(values.max(initial=0)))
    limit = ONE
    while limit < max(-lowest, highest):
        limit *= 2
    return (-limit if lowest < 0 else 0), limit


def _get_values(samples: Samples) -> Any:
    array = samples.features if isinstance(samples, DenseSamples) else samples.values
    return np.asarray(array)
