"""The demonstration: three honest contributors and one who flips labels train on digits.

Everything goes through REST, as a stranger's client would: a model is created, batches of
handwritten digits are sent, the accuracy on a third of the data that is never sent is asked for
with predictions, deposits are taken back, bad samples reported, and balances compared.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from node.storage.keystore import load_private_key
from quorate.bodies import Incentive
from quorate.client import Client
from quorate.errors import TransactionFailedError

__all__ = ["ACCOUNT_NAMES", "run_demonstration"]

MODEL: Final = "digits"
PIXEL_MAX: Final = 16
CLASSES: Final = 10
BAR_WIDTH: Final = 24
WEIGHT: Final = 100
REFUND_WAIT_MS: Final = 2_000
CLAIM_WAIT_MS: Final = 3_600_000
BATCH_SAMPLES: Final = 38
FLIPPER_EVERY: Final = 2
"""The flipper sends every second batch only: the honest ones are the majority of the data."""

ACCOUNT_NAMES: Final = ("clinic-anna", "clinic-ben", "clinic-carla", "flipper")
DATA_FILE: Final = Path(__file__).parent / "digits.npz"
FINAL_TIMEOUT_S: Final = 30.0
POLL_INTERVAL_S: Final = 0.02


@dataclass(slots=True)
class _Contributor:
    """One account with its share of the training data."""

    name: str
    client: Client
    pixels: NDArray[np.float64]
    labels: NDArray[np.int64]
    is_honest: bool
    start_balance: int = 0
    refunded: int = 0
    reported: int = 0


def run_demonstration(urls: Sequence[str], accounts_folder: Path) -> None:
    """Show a network learning.

    Parameters
    ----------
    urls
        REST of the validators; contributors spread over them.
    accounts_folder
        Key files of :data:`ACCOUNT_NAMES`.
    """
    console = Console(highlight=False)
    training, held_out = _load_digits()
    contributors = list(_make_contributors(urls, accounts_folder, training))
    for contributor in contributors:
        contributor.start_balance = contributor.client.account().balance
    owner = contributors[0].client
    _wait_until_all_see(contributors, _create_model(owner))
    console.print(
        f"\nmodel [bold]{MODEL}[/]: {len(training[1])} images to learn from,"
        f" {len(held_out[1])} held out and never sent"
    )
    sequences = _contribute_all(console, contributors, held_out)
    console.print(f"\nwaiting {REFUND_WAIT_MS // 1000} s, then refunds and reports")
    time.sleep(REFUND_WAIT_MS / 1000)
    _settle(contributors, sequences)
    _show_balances(console, contributors)
    _show_prediction(console, urls[0], owner, held_out)


def _load_digits() -> tuple[
    tuple[NDArray[np.float64], NDArray[np.int64]], tuple[NDArray[np.float64], NDArray[np.int64]]
]:
    """Return images and labels to learn from, and every third one held out."""
    with np.load(DATA_FILE) as data:
        pixels = data["pixels"].astype(np.float64)
        labels = data["labels"].astype(np.int64)
    is_held_out = np.arange(len(labels)) % 3 == 2
    return (pixels[~is_held_out], labels[~is_held_out]), (pixels[is_held_out], labels[is_held_out])


def _make_contributors(
    urls: Sequence[str],
    accounts_folder: Path,
    training: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> Iterator[_Contributor]:
    pixels, labels = training
    for index, name in enumerate(ACCOUNT_NAMES):
        key = load_private_key(accounts_folder / f"{name}.json")
        rows = np.arange(index, len(labels), len(ACCOUNT_NAMES))
        is_honest = name != "flipper"
        own_labels = labels[rows] if is_honest else (labels[rows] + 1 + rows % 9) % CLASSES
        client = Client(urls[index % len(urls)], private_key=key)
        yield _Contributor(name, client, pixels[rows], own_labels, is_honest)


def _create_model(owner: Client) -> int:
    """Create the model; return the height of its block."""
    created = owner.create_model(
        MODEL,
        description="Handwritten digits, 8 by 8 pixels",
        family="averaged_perceptron",
        feature_count=64,
        class_names=[str(digit) for digit in range(CLASSES)],
        scale=1 / PIXEL_MAX,
        incentive=Incentive(
            mechanism="deposit_refund_take",
            weight=WEIGHT,
            refund_wait_ms=REFUND_WAIT_MS,
            owner_wait_ms=CLAIM_WAIT_MS,
            any_wait_ms=CLAIM_WAIT_MS,
        ),
        licence="CC-BY-4.0",
        guidelines="The digit that a person meant to write.",
    )
    return created.height or 0


def _wait_until_all_see(contributors: Sequence[_Contributor], height: int) -> None:
    """Wait until the node of every contributor shows a height: they hear of it one by one."""
    deadline = time.monotonic() + FINAL_TIMEOUT_S
    for contributor in contributors:
        while contributor.client.status().height < height and time.monotonic() < deadline:
            time.sleep(POLL_INTERVAL_S)


def _contribute_all(
    console: Console,
    contributors: Sequence[_Contributor],
    held_out: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> dict[int, _Contributor]:
    """Send all batches in turn; return who made which contribution."""
    sequences: dict[int, _Contributor] = {}
    rounds = -(-max(len(each.labels) for each in contributors) // BATCH_SAMPLES)
    for number in range(rounds):
        pending = []
        for contributor in contributors:
            if not contributor.is_honest and number % FLIPPER_EVERY:
                continue
            batch = slice(number * BATCH_SAMPLES, (number + 1) * BATCH_SAMPLES)
            pixels, labels = contributor.pixels[batch], contributor.labels[batch]
            if len(labels):
                sent = contributor.client.contribute(MODEL, pixels, labels, wait=False)
                pending.append((contributor, sent.transaction_id))
        for contributor, transaction_id in pending:
            done = contributor.client.wait(transaction_id, timeout_s=FINAL_TIMEOUT_S)
            sequences[int(done.result["sequence"])] = contributor
        _show_accuracy(console, contributors[0].client, held_out)
    return sequences


def _show_accuracy(
    console: Console, client: Client, held_out: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> None:
    pixels, labels = held_out
    prediction = client.predict(MODEL, pixels)
    accuracy = float(np.mean(np.asarray(prediction.labels) == labels))
    learnt = client.model(MODEL).samples
    bar = "█" * round(BAR_WIDTH * accuracy)
    console.print(
        f"  height {prediction.height:>4}  {learnt:>5} samples  held-out accuracy {accuracy:6.1%}"
        f"  [green]{bar}[/]"
    )


def _settle(contributors: Sequence[_Contributor], sequences: dict[int, _Contributor]) -> None:
    """Let everybody take back what the model agrees with, then report what it does not."""
    for sequence, contributor in sequences.items():
        try:
            done = contributor.client.refund(MODEL, sequence)
        except TransactionFailedError:
            continue
        contributor.refunded += int(done.result["samples"])
    for sequence, author in sequences.items():
        for reporter in contributors:
            if reporter is author or not reporter.is_honest:
                continue
            try:
                done = reporter.client.report(MODEL, sequence)
            except TransactionFailedError:
                continue
            reporter.reported += int(done.result["samples"])


def _show_balances(console: Console, contributors: Sequence[_Contributor]) -> None:
    console.print("\n  contributor    samples refunded  reported        balance    karma")
    for each in contributors:
        account = each.client.account()
        change = account.balance - each.start_balance
        colour = "green" if change >= 0 else "red"
        console.print(
            f"  {each.name:<14} {each.refunded:>16} {each.reported:>9}"
            f"  [{colour}]{change:>+13,}[/] {account.karma:>8}"
        )


def _show_prediction(
    console: Console,
    url: str,
    client: Client,
    held_out: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    pixels, labels = held_out
    prediction = client.predict(MODEL, pixels[:1])
    request = {
        "inputs": [
            {
                "name": "features",
                "shape": [1, 64],
                "datatype": "FP64",
                "data": [int(value) for value in pixels[0]],
            }
        ]
    }
    console.print(
        f"\nthe image shows a {labels[0]}, the model says [bold]{prediction.class_names[0]}[/]"
        f" (probability {max(prediction.probabilities[0]):.2f}, height {prediction.height});"
        " ask it:\n"
    )
    # Not through the console, which would wrap a line that is to be pasted.
    print(f"curl -s {url}/v2/models/{MODEL}/infer -d '{json.dumps(request)}'")  # noqa: T201
