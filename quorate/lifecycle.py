"""What the owner of a model does with it, from Python: ``client.lifecycle``.

>>> [family["name"] for family in client.lifecycle.families()][:2]        # doctest: +SKIP
['averaged_perceptron', 'linear_regression']
>>> client.lifecycle.set_alias("digits", "champion", 12).result           # doctest: +SKIP
{'alias': 'champion', 'version': 12}
>>> client.lifecycle.upload("digits", {"weights": weights, "steps": steps})  # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ledger.payload import Payload
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import Integers, encode_batch, sample_count
from primitives.codec import Encodable, encode
from quorate import bodies
from quorate.batches import encode_samples, encode_targets
from quorate.model_transfer import ModelTransfer
from quorate.records import Transaction

__all__ = ["Lifecycle"]

SALT_BYTES: Final = 32


class Lifecycle(ModelTransfer):
    """Families, growth, versions, parameters from elsewhere and validation of models."""

    def families(self) -> list[dict[str, Any]]:
        """Return the families of models, each with the JSON Schema of its specs."""
        return [dict(item) for item in self._connection.get("/api/v1/families", {})["items"]]

    def set_alias(self, model: str, alias: str, version: int | None) -> Transaction:
        """Let a name stand for the version in force or another named one; None takes it away."""
        return self._submit(bodies.SET_ALIAS, [model, alias, version], None)

    def revert(self, model: str, version: int | str) -> Transaction:
        """Go back to a version that has a name, by its number or name; makes a new version."""
        number = self.find_version(model, version)
        return self._submit(bodies.REVERT_MODEL, [model, number], None)

    def extend(
        self, model: str, *, class_names: Sequence[str] = (), feature_count: int | None = None
    ) -> Transaction:
        """Add classes, and features of a sparse model, as its growth policy allows."""
        features = self._get_model(model).feature_count if feature_count is None else feature_count
        return self._submit(bodies.EXTEND_MODEL, [model, list(class_names), features], None)

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

    def pieces(self, model: str) -> list[dict[str, Any]]:
        """Return the pieces of the validation set by number, with commitments; shown or hidden."""
        body = self._connection.get(f"/api/v1/models/{model}/evaluations", {})
        return [dict(item) for item in body["pieces"]]

    def diff(self, model: str, first: int | str, second: int | str) -> dict[str, Any]:
        """Return by how much the parameters of two versions differ, tensor by tensor."""
        question = {"from": str(first), "to": str(second)}
        return dict(self._connection.get(f"/api/v1/models/{model}/diff", question))

    def draw_samples(self, model: str, count: int, seed: bytes | None = None) -> Transaction:
        """Have samples drawn by a mixture, provably from a seed; see :meth:`samples`."""
        chosen = os.urandom(SALT_BYTES) if seed is None else seed
        return self._submit(bodies.DRAW_SAMPLES, [model, chosen, count], None)

    def samples(
        self, model: str, count: int, seed: bytes, version: int | str = "latest"
    ) -> NDArray[np.float64]:
        """Return samples drawn by a mixture, as encoded features; a seed always draws the same."""
        question = {"seed": seed.hex(), "count": count, "version": str(version)}
        drawn = self._connection.get(f"/api/v1/models/{model}/samples", question)["samples"]
        return np.array(drawn, dtype=np.float64) / ONE


def _wrap(data: bytes) -> Payload:
    return Payload(os.urandom(SALT_BYTES), data)
