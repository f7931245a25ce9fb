"""Computes the parameters of an old version again, from the checkpoint before and contributions.

Every version that something else than contributions made is stored, so between a stored version and
the next one lie contributions alone, in the order of their numbers. Learning them again gives the
same bits, which the digest in the version's record confirms. Source: docs/spec/ledger.md §11.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.contribution_records import SAMPLES_MAX, contribution_key, decode_contribution
from ledger.model_records import decode_model, model_key
from ledger.model_tensors import (
    ModelArrays,
    ModelTensors,
    ModelVersion,
    chunk_arrays,
    decode_model_tensors,
    decode_model_version,
    model_version_key,
    tensors_key,
)
from ledger.reader import LedgerReader
from ml_runtime.family import copy_state
from ml_runtime.registry import get_family
from ml_runtime.samples import decode_batch, widen
from ml_runtime.spec import ModelSpec
from primitives.errors import CorruptStateError, InvalidInputError

__all__ = ["CONTRIBUTIONS_MAX", "Replay", "is_stored", "plan_replay"]

CONTRIBUTIONS_MAX: Final = 4_096
"""Contributions that are learnt again for one version: anybody may ask, and it takes minutes."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What it takes to compute one version again.

    Parameters
    ----------
    name, version : of which model, which version.
    spec : of the model then.
    start : the stored parameters to begin with; not written to.
    transaction_ids : whose payloads are the contributions to be learnt, in order.
    digest : of the parameters that have to come out.
    """

    name: str
    version: int
    spec: ModelSpec
    start: ModelArrays
    transaction_ids: Sequence[bytes]
    digest: bytes

    def run(self, payloads: Mapping[bytes, bytes]) -> ModelArrays:
        """Learn the contributions again.

        Parameters
        ----------
        payloads : data of the payload by transaction id.

        Raises
        ------
        InvalidInputError
            ``payload_not_held``: a payload is not here, erased or never received.
        CorruptStateError
            If something else comes out than what is on record.
        """
        family = get_family(self.spec.family)
        state = copy_state(self.start)
        for transaction_id in self.transaction_ids:
            data = payloads.get(transaction_id)
            if data is None:
                raise InvalidInputError(
                    "payload_not_held",
                    f"version {self.version} of {self.name!r} needs the payload of transaction"
                    f" {transaction_id.hex()}, which is not held here",
                    field="version",
                    value=self.version,
                )
            batch = widen(decode_batch(data, samples_max=SAMPLES_MAX), self.spec.feature_count)
            family.update(self.spec, state, batch.samples, batch.targets)
        if chunk_arrays(self.version, state, None, {}).digest != self.digest:
            raise CorruptStateError(
                f"version {self.version} of {self.name!r} does not come out as it is on record"
            )
        return state


def plan_replay(reader: LedgerReader, name: str, version: int) -> Replay:
    """Find the nearest stored version and what was contributed since.

    Raises
    ------
    InvalidInputError
        ``unknown_version``; ``version_retired`` if the model keeps fewer versions, or none before
        it is stored here; ``too_large`` if too much was contributed since the nearest one.
    """
    record = _read_version(reader, name, version)
    if record is None:
        raise InvalidInputError(
            "unknown_version",
            f"model {name!r} has no version {version}",
            field="version",
            value=version,
        )
    base_height = reader.base_height()
    model = reader.read(model_key(name), decode_model, max(record.height, base_height))
    current = reader.read(tensors_key(name), decode_model_tensors)
    if model is None or current is None:
        raise CorruptStateError(f"model {name!r} has versions and no parameters")
    kept = model.description.policies.versions_kept
    if kept and version <= current.version - kept:
        raise _retired(name, version, f"keeps its newest {kept} versions")
    for before in range(version, -1, -1):
        made = _read_version(reader, name, before)
        if made is None:
            raise CorruptStateError(f"version {before} of {name!r} has no record")
        _check_length(name, version, record.contributions - made.contributions)
        # What was in force in the snapshot that a store began with is read at its height.
        height = max(made.height, base_height)
        tensors = reader.read(tensors_key(name), decode_model_tensors, height)
        if tensors is not None and tensors.version == before and is_stored(reader, tensors):
            start = reader.load_model_state(name, height) or {}
            numbers = range(made.contributions, record.contributions)
            ids = [_transaction_of(reader, name, number) for number in numbers]
            spec = model.description.spec
            return Replay(name, version, spec, start, ids, record.digest)
        if made.height < base_height:
            break
    raise _retired(name, version, "has no older version stored here to begin with")


def _check_length(name: str, version: int, contributions: int) -> None:
    if contributions > CONTRIBUTIONS_MAX:
        raise InvalidInputError(
            "too_large",
            f"between version {version} of {name!r} and the nearest one that is stored lie"
            f" {contributions} contributions or more, above the limit {CONTRIBUTIONS_MAX}",
            field="version",
            value=contributions,
            limit=CONTRIBUTIONS_MAX,
        )


def is_stored(reader: LedgerReader, tensors: ModelTensors) -> bool:
    """Say whether all chunks of a version are stored."""
    return all(
        reader.read_chunk(chunk) is not None
        for tensor in tensors.tensors
        for chunk in tensor.chunks
    )


def _read_version(reader: LedgerReader, name: str, version: int) -> ModelVersion | None:
    return reader.read(model_version_key(name, version), decode_model_version)


def _transaction_of(reader: LedgerReader, name: str, number: int) -> bytes:
    contribution = reader.read(contribution_key(name, number), decode_contribution)
    if contribution is None:
        raise CorruptStateError(f"contribution {number} to {name!r} has no record")
    return contribution.transaction_id


def _retired(name: str, version: int, why: str) -> InvalidInputError:
    return InvalidInputError(
        "version_retired",
        f"the parameters of version {version} are gone: model {name!r} {why}",
        field="version",
        value=version,
    )
