"""``quorate sponsor``, and the request that ``contribute --ask-sponsor`` saves."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ledger.contribution_records import SAMPLES_MAX
from ledger.transactions.contributions import Contribute
from ledger.transactions.registry import KINDS
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import Batch, DenseSamples, decode_batch, sample_count
from node.commands.inspect import print_transaction
from node.commands.keys import open_client
from node.commands.terminal import OutputFormat, fail, print_answer
from primitives.accounts import account_id_from_public_key, account_to_text
from primitives.codec import decode, encode
from primitives.errors import InvalidInputError
from primitives.fields import FieldReader
from quorate.client import Client
from quorate.records import Model, Status
from quorate.sponsorship import BODY_FIELDS_MAX, SponsorRequest

__all__ = ["describe_request", "is_terminal", "read_request", "show_request", "sign_request"]

REQUEST_BYTES_MAX = 64 * 1024 * 1024
SAMPLES_SHOWN = 3
FEATURES_TOLD = 64
"""Of a sample, to programs; samples may have millions."""

FEATURES_SHOWN = 8
"""Of a sample, to people."""


def show_request(url: str, file: Path, output: OutputFormat) -> None:
    """Show what a request would have its sponsor pay for."""
    request = read_request(file)
    with Client(url) as client:
        answer = describe_request(client, request)
    print_answer(answer, _to_text(answer), output)


def sign_request(url: str, key: Path, file: Path, output: OutputFormat, *, is_sure: bool) -> None:
    """Sign a request and send it; on a terminal only after it was shown and confirmed."""
    request = read_request(file)
    with open_client(url, key) as client:
        if output is OutputFormat.TEXT:
            sys.stderr.write(_to_text(describe_request(client, request)) + "\n")
        if not is_sure and is_terminal():
            answer = input("sign it and pay? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                raise fail("nothing was sent")
        print_transaction(client.sponsorship.sign(request), output)


def is_terminal() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty()


def read_request(file: Path) -> SponsorRequest:
    """Return the request in a file, as its sender signed it.

    Raises
    ------
    InvalidInputError
        ``malformed`` or ``bad_signature``.
    """
    try:
        if file.stat().st_size > REQUEST_BYTES_MAX:
            raise InvalidInputError(
                "malformed",
                f"{file} is longer than {REQUEST_BYTES_MAX} bytes, so it is no request",
                field="file",
                limit=REQUEST_BYTES_MAX,
            )
        body = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidInputError(
            "malformed", f"{file} is no request to a sponsor: {why}", field="file"
        ) from error
    request = SponsorRequest.from_json(body)
    request.verify()
    return request


def describe_request(client: Client, request: SponsorRequest) -> dict[str, Any]:
    """Return what a sponsor should know, and what of it the node says.

    Parameters
    ----------
    client : of the node that it would go to.
    request : signed by its sender.

    Raises
    ------
    InvalidInputError
        ``unknown_kind``, or as the kind's body and samples cannot be read.
    """
    content = request.content
    kind = next((each for each in KINDS if each.code == content.kind), None)
    if kind is None:
        raise InvalidInputError(
            "unknown_kind",
            f"the request is of the kind {content.kind}, which this release does not know",
            field="kind",
            value=content.kind,
        )
    fields = decode(encode(list(content.body)), bytes_max=REQUEST_BYTES_MAX)
    body = kind.decode_body(FieldReader([fields], "request", 1).array("body", BODY_FIELDS_MAX))
    status = client.status()
    described: dict[str, Any] = {
        "sender": account_to_text(content.sender),
        "sponsor": account_to_text(request.sponsor),
        "kind": kind.name,
        "fee_limit": content.fee_limit,
        "obstacles": _find_obstacles(client, request, status),
        "height": status.height,
        "valid_until_height": content.valid_until_height,
    }
    if isinstance(body, Contribute) and request.payload is not None:
        described["contribution"] = _describe_contribution(client, body, request.payload.data)
    else:
        described["body"] = repr(body)
    return described


def _find_obstacles(client: Client, request: SponsorRequest, status: Status) -> list[str]:
    """Return why the request could not be sent now, in sentences."""
    content = request.content
    if content.chain_id.hex() != status.chain_id:
        return [f"it is for the chain {content.chain_id.hex()}, not for this one"]
    obstacles = []
    sender = client.account(account_to_text(content.sender))
    public_key = request.signature.public_key
    own = account_to_text(account_id_from_public_key(public_key))
    # An account's first key is the one that its id is made of; a later one is on the ledger.
    if public_key.hex() != sender.public_key and (sender.public_key or own != sender.account):
        obstacles.append("it is not signed with the key of its sender")
    nonce = sender.nonce
    if nonce != content.nonce:
        obstacles.append(
            f"it was sent already, or its sender has sent something else: its nonce is"
            f" {content.nonce}, the next one of its sender {nonce}"
        )
    if status.height >= content.valid_until_height:
        obstacles.append(f"it was valid until height {content.valid_until_height}")
    return obstacles


def _describe_contribution(client: Client, body: Contribute, data: bytes) -> dict[str, Any]:
    model = client.model(body.model)
    batch = decode_batch(data, samples_max=SAMPLES_MAX)
    return {
        "model": body.model,
        "samples": sample_count(batch.samples),
        "max_deposit": body.max_deposit,
        "karma": body.karma,
        "labels": _count_labels(model, batch),
        "first_samples": _show_first(batch),
    }


def _count_labels(model: Model, batch: Batch) -> dict[str, int]:
    """Return how many samples there are of each class, by name; empty without classes."""
    if batch.kind != "labels":
        return {}
    names = dict(enumerate(model.class_names))
    counts = Counter(int(label) for label in batch.targets)
    return {names.get(label, f"unknown class {label}"): counts[label] for label in sorted(counts)}


def _show_first(batch: Batch) -> list[list[float]]:
    """Return some features of the first samples, as the model takes them; of sparse ones those set.

    People see so whether they are what was promised; all of them are in the request.
    """
    samples = batch.samples
    shown = []
    for row in range(min(sample_count(samples), SAMPLES_SHOWN)):
        if isinstance(samples, DenseSamples):
            numbers = samples.features[row]
        else:
            numbers = samples.values[samples.row_starts[row] : samples.row_starts[row + 1]]
        shown.append([round(int(number) / ONE, 6) for number in numbers[:FEATURES_TOLD]])
    return shown


def _show_features(features: list[float]) -> str:
    shown = ", ".join(f"{feature:g}" for feature in features[:FEATURES_SHOWN])
    return f"{shown}, …" if len(features) > FEATURES_SHOWN else shown


def _to_text(described: dict[str, Any]) -> str:
    """Return a request as people read it before they pay."""
    lines = [
        f"{described['sender']} asks",
        f"{described['sponsor']} to pay for: {described['kind']}",
    ]
    contribution = described.get("contribution")
    pays = f"a fee of at most {described['fee_limit']:,}"
    if contribution is None:
        lines.append(f"  {described['body']}")
    else:
        pays += f", and a deposit of at most {contribution['max_deposit']:,}"
        lines.append(f"  {contribution['samples']} samples to {contribution['model']!r}")
        labels = [f"{count} {name!r}" for name, count in contribution["labels"].items()]
        lines += [f"  labels: {', '.join(labels)}"] if labels else []
        lines += [
            f"  sample {number}: {_show_features(row)}"
            for number, row in enumerate(contribution["first_samples"])
        ]
        if contribution["karma"]:
            lines.append(f"  the sender stakes up to {contribution['karma']} points of its karma")
    lines.append(f"  you pay {pays}")
    left = described["valid_until_height"] - described["height"]
    if described["obstacles"]:
        lines += [f"  it cannot be sent: {sentence}" for sentence in described["obstacles"]]
    else:
        lines.append(f"  it can be sent for {left} more blocks")
    return "\n".join(lines)
