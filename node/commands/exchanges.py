"""``quorate exchange``: hold out a bounty for the best model, take part, and drive it on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.exchange_terms import check_exchange_name
from node.commands.contributions import read_samples
from node.commands.exchange_files import (
    TestPiece,
    read_sealed_model,
    read_test_piece,
    save_sealed_model,
    save_test_piece,
)
from node.commands.inspect import print_transaction
from node.commands.keys import open_client
from node.commands.progress import show_progress
from node.commands.terminal import (
    ExitCode,
    OutputFormat,
    fail,
    print_answer,
    print_note,
    render_table,
)
from primitives.errors import InvalidInputError
from quorate.client import Client
from quorate.errors import RefusedError, TransactionFailedError
from quorate.exchanges import Exchanges, TestSet

__all__ = [
    "OpenOptions",
    "advance_exchange",
    "list_exchanges",
    "open_exchange",
    "read_duration",
    "reveal_model",
    "show_exchange",
    "show_pieces",
    "submit_model",
]

DURATION = re.compile("([0-9]{1,9})([smhd])", re.ASCII)
MILLISECONDS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
PARTS_PER_MILLION = 1_000_000
ONE = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOptions:
    """What an organiser decides; see :meth:`quorate.exchanges.Exchanges.open`."""

    like: str
    keep: Path
    bounty: int
    threshold: float
    metric: str
    stake: int
    length: str
    reveal_wait: str
    pieces: int
    submissions: int
    description: str


def open_exchange(
    url: str, key: Path, name: str, samples: Path, options: OpenOptions, output: OutputFormat
) -> None:
    """Cut the samples of a CSV file into a hidden test set, keep it, and hold out the bounty."""
    # It is also part of the names of files, which are there before the ledger sees it.
    check_exchange_name(name)
    length_ms, wait_ms = read_duration(options.length), read_duration(options.reveal_wait)
    with open_client(url, key) as client:
        features, labels = read_samples(client.model(options.like), samples)
        test_set = client.exchanges.make_test_set(
            options.like, features, labels, piece_count=options.pieces
        )
        files = _save_pieces(options.keep, name, test_set)
        with _kept_unless_refused(files):
            opened = client.exchanges.open(
                name,
                test_set,
                bounty=options.bounty,
                threshold=options.threshold,
                metric=options.metric,
                stake=options.stake,
                length_ms=length_ms,
                reveal_wait_ms=wait_ms,
                submissions_max=options.submissions,
                description=options.description,
            )
        view = client.exchanges.get(name)
    answer = {
        "exchange": name,
        "height": opened.height,
        "deadline": view["deadline"],
        "reveals_end": view["reveals_end"],
        "pieces": [
            {"piece": each["piece"], "commitment": each["commitment"], "file": str(file)}
            for each, file in zip(view["pieces"], files, strict=True)
        ],
    }
    rows = [[number, str(file)] for number, file in enumerate(files)]
    text = f"{name} is open: {view['sentence']}\n{render_table(['piece', 'file'], rows)}"
    print_answer(answer, text, output)
    print_note(
        "Keep these files secret: without them the bounty is lost. Once the models are opened, at"
        f" {view['reveals_end']} or before, run within {options.reveal_wait}\n"
        f"  quorate exchange show-piece {options.keep}/{name}-piece-*.json"
    )


def list_exchanges(url: str, status: str | None, output: OutputFormat) -> None:
    """List bounties by name."""
    with Client(url) as client:
        found = list(client.exchanges.list(status))
    rows = [
        [
            each["name"],
            each["phase"] if each["phase"] != "closed" else each["status"],
            each["metric"],
            each["bounty"],
            each["stake"],
            f"{each['opened']} of {each['submissions']}",
            each["deadline"],
        ]
        for each in found
    ]
    headings = ["exchange", "phase", "metric", "bounty", "stake", "opened", "submit until"]
    print_answer(found, render_table(headings, rows) if rows else "no exchanges", output)


def show_exchange(url: str, name: str, output: OutputFormat) -> None:
    """Say what an exchange asks for, where it stands and how good its models are."""
    with Client(url) as client:
        view = client.exchanges.get(name)
    print_answer(view, _describe(view), output)


def submit_model(
    url: str,
    key: Path,
    name: str,
    model: str,
    output: OutputFormat,
    *,
    version: str,
    alias: str | None,
    keep: Path,
) -> None:
    """Seal a model, keep what opens it, name the version if asked to, and submit the seal."""
    with open_client(url, key) as client:
        sealed = client.exchanges.seal(name, model, version=version)
        before = client.exchanges.get(name)["submissions"]
        file = save_sealed_model(keep, sealed)
        with _kept_unless_refused([file]):
            if alias is not None:
                client.lifecycle.set_alias(model, alias, sealed.version)
            sent = client.exchanges.submit_sealed(sealed)
        view = client.exchanges.get(name)
    answer = {
        "exchange": name,
        "model": model,
        "version": sealed.version,
        "height": sent.height,
        "submissions": sent.result["submissions"],
        "file": str(file),
    }
    text = (
        f"version {sealed.version} of {model} is submitted to {name}, sealed; {view['stake']} are"
        f" held\nkept in {file}"
    )
    print_answer(answer, text, output)
    print_note(
        f"Keep this file secret. From {view['deadline']} to {view['reveals_end']}, or the stake is"
        f" lost, run\n  quorate exchange reveal {file}"
    )
    if any(each["account"] == sealed.account for each in before):
        print_note(
            "It takes the place of what you submitted before, whose file cannot be opened any more."
        )
    if alias is None:
        print_note(
            "If the model may learn before that, give the version a name now:\n"
            f"  quorate model alias {model} NAME {sealed.version}"
        )


def reveal_model(url: str, key: Path, file: Path, output: OutputFormat) -> None:
    """Open a submission by its file."""
    sealed = read_sealed_model(file)
    with open_client(url, key) as client:
        done = client.exchanges.reveal(sealed)
        view = client.exchanges.get(sealed.exchange)
    print_transaction(done, output)
    print_note(view["sentence"])


def show_pieces(url: str, key: Path, files: Sequence[Path], output: OutputFormat) -> None:
    """Show pieces of a test set by their files, in their order; what was shown is passed over."""
    pieces = sorted((read_test_piece(file) for file in files), key=lambda each: each.number)
    names = {piece.exchange for piece in pieces}
    if len(names) != 1:
        raise InvalidInputError(
            "wrong_commitment",
            f"the files are pieces for {' and '.join(sorted(names))}: show those of one exchange",
            field="file",
        )
    name = names.pop()
    shown = []
    with open_client(url, key) as client, show_progress("showing") as tell:
        for done, piece in enumerate(pieces):
            tell(done, len(pieces))
            if not _is_shown(client.exchanges, piece):
                shown.append(client.exchanges.show_piece(name, piece.payload))
        view = client.exchanges.get(name)
    answer = [
        {"piece": each.result["piece"], "samples": each.result["samples"], "height": each.height}
        for each in shown
    ]
    rows = [list(each.values()) for each in answer]
    table = render_table(["piece", "samples", "height"], rows) if rows else "all were shown before"
    print_answer(answer, table, output)
    print_note(view["sentence"])
    if view["phase"] == "judging":
        print_note(f"Run\n  quorate exchange advance {name}")


def advance_exchange(
    url: str, key: Path, name: str, items: int | None, output: OutputFormat
) -> None:
    """Have everything judged and paid that is left."""
    with open_client(url, key) as client, show_progress("judging") as tell:
        try:
            view = client.exchanges.advance(name, items=items, progress=tell)
        except TransactionFailedError as error:
            if error.code != "too_early":
                raise
            sentence = client.exchanges.get(name)["sentence"]
            raise fail(f"too_early: {sentence}", ExitCode.REJECTED) from error
    print_answer(view, _describe(view), output)


def read_duration(text: str) -> int:
    """Return the milliseconds of ``90s``, ``15m``, ``12h`` or ``7d``; raises ``malformed``.

    Examples
    --------
    >>> read_duration("15m")
    900000
    """
    found = DURATION.fullmatch(text)
    if found is None:
        raise InvalidInputError(
            "malformed",
            f"a duration is a number and s, m, h or d, such as 12h; found {text!r}",
            field="duration",
            value=text,
        )
    return int(found[1]) * MILLISECONDS[found[2]]


def _save_pieces(folder: Path, name: str, test_set: TestSet) -> list[Path]:
    return [
        save_test_piece(folder, TestPiece(name, number, payload))
        for number, payload in enumerate(test_set.pieces)
    ]


@contextmanager
def _kept_unless_refused(files: Sequence[Path]) -> Iterator[None]:
    """Take files away again if the ledger never heard of what is in them, and never will."""
    try:
        yield
    except (InvalidInputError, RefusedError, TransactionFailedError):
        for file in files:
            file.unlink()
        raise


def _is_shown(exchanges: Exchanges, piece: TestPiece) -> bool:
    own = piece.payload.commitment.hex()
    pieces = exchanges.get(piece.exchange)["pieces"]
    return any(each["commitment"] == own and each["transaction_id"] for each in pieces)


def _describe(view: dict[str, Any]) -> str:
    """Return an exchange as people read it."""
    layout, is_counted = view["layout"], view["metric"] == "accuracy"
    threshold = view["threshold"] / (PARTS_PER_MILLION if is_counted else ONE)
    classes = f" of {layout['class_count']} classes" if layout["class_count"] else ""
    least = f"accuracy of at least {threshold:.1%}" if is_counted else f"loss up to {threshold:g}"
    lines = [
        f"{view['name']}: {view['sentence']}",
        *([view["description"]] if view["description"] else []),
        f"wanted     {layout['task']}{classes}, {layout['feature_count']} {layout['samples']}"
        f" features, {least}",
        f"bounty     {view['bounty']}, stake {view['stake']}",
        f"submitted  until {view['deadline']}, opened until {view['reveals_end']}",
        f"test set   {_count_shown(view)} of {len(view['pieces'])} pieces shown",
    ]
    if view["submissions"]:
        lines += ["", _render_submissions(view)]
    if view["payouts"]:
        rows = [[each["account"], each["amount"]] for each in view["payouts"]]
        lines += ["", render_table(["account", "paid"], rows)]
    return "\n".join(lines)


def _count_shown(view: dict[str, Any]) -> int:
    return sum(piece["transaction_id"] is not None for piece in view["pieces"])


def _render_submissions(view: dict[str, Any]) -> str:
    rows = []
    for place, each in enumerate(view["submissions"], 1):
        model = "sealed" if each["model"] is None else f"{each['model']} {each['version']}"
        accuracy = "" if each["accuracy"] is None else f"{each['accuracy']:.1%}"
        loss = "" if each["mean_loss"] is None else f"{each['mean_loss']:.4f}"
        won = "won" if each["account"] == view["winner"] else ""
        result = won or {True: "good enough", False: "below", None: ""}[each["is_good_enough"]]
        rows.append([place, each["account"], model, each["samples"], accuracy, loss, result])
    headings = ["place", "account", "model", "samples", "accuracy", "mean loss", ""]
    return render_table(headings, rows)
