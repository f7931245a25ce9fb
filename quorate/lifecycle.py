"""What the owner of a model does with it, from Python: ``client.lifecycle``.

>>> [family["name"] for family in client.lifecycle.families()][:2]        # doctest: +SKIP
['averaged_perceptron', 'linear_regression']
>>> client.lifecycle.set_alias("digits", "champion", 12).result           # doctest: +SKIP
{'alias': 'champion', 'version': 12}
>>> client.lifecycle.upload("digits", {"weights": weights, "steps": steps})  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ledger.payload import Payload
from ml_runtime.samples import Integers, encode_batch, sample_count
from primitives.codec import Encodable, encode
from primitives.errors import InvalidInputError
from quorate import bodies
from quorate.batches import encode_samples, encode_targets
from quorate.connection import Connection
from quorate.records import Model, Transaction

__all__ = ["PART_NUMBERS", "Lifecycle", "Progress"]

Submit = Callable[[int, Sequence[Encodable], Payload | None], Transaction]

Progress = Callable[[int, int], None]
"""Told how many numbers of how many are there."""

PART_NUMBERS: Final = 60_000
"""Numbers of one part of an upload: just below the bytes that a payload may have by default."""

SALT_BYTES: Final = 32


class Lifecycle:
    """Families, growth, versions, parameters from elsewhere and validation of models.

    Parameters
    ----------
    connection : to the node.
    submit : sends a transaction of a kind with a body and maybe a payload, and waits for it.
    get_model : returns what a model is.
    """

    def __init__(
        self, connection: Connection, submit: Submit, get_model: Callable[[str], Model]
    ) -> None:
        self._connection = connection
        self._submit = submit
        self._get_model = get_model

    def families(self) -> list[dict[str, Any]]:
        """Return the families of models, each with the JSON Schema of its specs."""
        return [dict(item) for item in self._connection.get("/api/v1/families", {})["items"]]

    def aliases(self, model: str) -> dict[str, int]:
        """Return which version each alias stands for, ``latest`` among them."""
        body = self._connection.get(f"/api/v1/models/{model}/aliases", {})
        return {item["alias"]: item["version"] for item in body["items"]}

    def set_alias(self, model: str, alias: str, version: int | None) -> Transaction:
        """Let a name stand for the version in force or another named one; None takes it away."""
        return self._submit(bodies.SET_ALIAS, [model, alias, version], None)

    def revert(self, model: str, version: int | str) -> Transaction:
        """Go back to a version that has a name, by its number or name; makes a new version."""
        number = self.aliases(model).get(version) if isinstance(version, str) else version
        if number is None:
            raise InvalidInputError(
                "unknown_alias", f"model {model!r} has no alias {version!r}", field="version"
            )
        return self._submit(bodies.REVERT_MODEL, [model, number], None)

    def extend(
        self, model: str, *, class_names: Sequence[str] = (), feature_count: int | None = None
    ) -> Transaction:
        """Add classes, and features of a sparse model, as its growth policy allows."""
        features = self._get_model(model).feature_count if feature_count is None else feature_count
        return self._submit(bodies.EXTEND_MODEL, [model, list(class_names), features], None)

    def uploaded(self, model: str) -> list[dict[str, Any]]:
        """Return the parts of an upload that are there already."""
        body = self._connection.get(f"/api/v1/models/{model}/upload", {})
        return [dict(item) for item in body["items"]]

    def upload(
        self, model: str, tensors: Mapping[str, NDArray[Any]], progress: Progress | None = None
    ) -> Transaction:
        """Put parameters that were trained elsewhere into a model; goes on where it stopped.

        Parameters
        ----------
        model : one's own.
        tensors : int64 arrays by name, in the fixed point of the family.
        progress : told after each part.

        Raises
        ------
        TransactionFailedError
            ``parameter_out_of_range`` with the bound, ``wrong_tensors``, and so on; what was sent
            stays on the ledger until an upload succeeds.
        """
        there = {(part["tensor"], part["start"], part["count"]) for part in self.uploaded(model)}
        total = sum(int(array.size) for array in tensors.values())
        done = 0
        for name, array in tensors.items():
            flat = np.ascontiguousarray(array, dtype=np.int64).reshape(-1)
            for start in range(0, flat.size, PART_NUMBERS):
                part = flat[start : start + PART_NUMBERS]
                if (name, start, part.size) not in there:
                    data = part.astype("<i8").tobytes()
                    self._submit(bodies.UPLOAD_PART, [model, name, start], _wrap(data))
                done += int(part.size)
                if progress is not None:
                    progress(done, total)
        return self._submit(bodies.FINISH_UPLOAD, [model], None)

    def update(self, model: str, changes: Mapping[str, tuple[Integers, Integers]]) -> Transaction:
        """Add changes to some numbers of a model of external tensors.

        Parameters
        ----------
        changes : for each tensor, distinct places in the flattened tensor, and what is added.
        """
        parts: list[Encodable] = []
        for name in sorted(changes):
            places, amounts = (np.asarray(each, dtype=np.int64) for each in changes[name])
            order = np.argsort(places, kind="stable")
            parts.append(
                [
                    name,
                    places[order].astype("<i8").tobytes(),
                    amounts[order].astype("<i8").tobytes(),
                ]
            )
        return self._submit(bodies.UPDATE_TENSORS, [model], _wrap(encode((1, parts))))

    def make_validation_piece(self, model: str, features: Any, labels: Any = None) -> Payload:
        """Return a piece of a validation set; keep it, and show it when its time has come."""
        described = self._get_model(model)
        samples = encode_samples(
            features, described.layout, described.feature_count, described.encoder
        )
        count = sample_count(samples)
        kind, targets = encode_targets(labels, described.task, described.class_names, count)
        return _wrap(encode_batch(samples, targets, kind))

    def commit_validation(self, model: str, pieces: Sequence[Payload]) -> Transaction:
        """Commit to pieces of a validation set; nothing of them can be seen or changed then."""
        commitments: list[Encodable] = [piece.commitment for piece in pieces]
        return self._submit(bodies.COMMIT_VALIDATION, [model, commitments], None)

    def show_validation(self, model: str, piece: int, payload: Payload) -> Transaction:
        """Show a piece that was committed to; the version in force is judged on it."""
        return self._submit(bodies.SHOW_VALIDATION, [model, piece], payload)

    def evaluate(self, model: str, piece: int) -> Transaction:
        """Judge the version in force on a piece that was shown."""
        return self._submit(bodies.EVALUATE_MODEL, [model, piece], None)

    def evaluations(self, model: str) -> list[dict[str, Any]]:
        """Return how good versions were on pieces of the validation set, oldest first."""
        body = self._connection.get(f"/api/v1/models/{model}/evaluations", {})
        return [dict(item) for item in body["items"]]

    def diff(self, model: str, first: int | str, second: int | str) -> dict[str, Any]:
        """Return by how much the parameters of two versions differ, tensor by tensor."""
        question = {"from": str(first), "to": str(second)}
        return dict(self._connection.get(f"/api/v1/models/{model}/diff", question))

    def draw_samples(self, model: str, count: int, seed: bytes | None = None) -> Transaction:
        """Have samples drawn by a mixture, provably from a seed; see :meth:`samples`."""
        chosen = os.urandom(SALT_BYTES) if seed is None else seed
        return self._submit(bodies.DRAW_SAMPLES, [model, chosen, count], None)


def _wrap(data: bytes) -> Payload:
    return Payload(os.urandom(SALT_BYTES), data)
