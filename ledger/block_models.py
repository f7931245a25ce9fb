"""The models of a block under execution: tensors cloned before they change, hashed at the end.

A tensor that nobody sets out to change stays the very array of the version before, in memory and in
comparisons: a small update of a large model costs what it touches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ledger.model_records import ModelProgress, decode_model, model_key
from ledger.model_tensors import (
    ORIGINS,
    ChunkReader,
    ModelArrays,
    ModelTensors,
    ModelVersion,
    check_arrays,
    chunk_arrays,
    decode_model_tensors,
    load_arrays,
    model_version_key,
    tensors_key,
)
from ledger.model_versions import PinnedVersion, watch_best
from ledger.state import BlockState
from primitives.errors import InvariantViolationError

__all__ = ["CONTRIBUTED", "BlockModels", "ModelLoader"]

CONTRIBUTED: Final = ORIGINS.index("contributed")

ModelLoader = Callable[[str], ModelArrays | None]
"""Finds the arrays of a model in the final state; the result must not be written to."""


class _Progress(NamedTuple):
    progress: ModelProgress
    origin: int


class BlockModels:
    """Arrays of the models that a block reads and changes.

    Parameters
    ----------
    ancestors : arrays after each unfinal block below that changed them, nearest first.
    load : finds arrays in the final state below those.
    read_chunk : finds a chunk of a tensor that the state refers to.
    """

    def __init__(
        self,
        ancestors: Sequence[Mapping[str, ModelArrays]],
        load: ModelLoader,
        read_chunk: ChunkReader,
    ) -> None:
        self._read_chunk = read_chunk
        self._ancestors = tuple(ancestors)
        self._load = load
        self._loaded: dict[str, ModelArrays | None] = {}
        self._arrays: dict[str, ModelArrays] = {}
        # Tensors of a model in `_arrays` that still are those of the version before.
        self._shared: dict[str, set[str]] = {}
        self._created: set[str] = set()
        self._progress: dict[str, _Progress] = {}
        self.is_touched = False
        """Whether arrays were created or changed since this was last set to False."""

    @property
    def arrays(self) -> Mapping[str, ModelArrays]:
        """Arrays that the block created or changed, by model."""
        return self._arrays

    def read(self, name: str) -> ModelArrays | None:
        """Return a model's arrays as the block has left them so far; not to be written to."""
        arrays = self._arrays.get(name)
        return self.read_before(name) if arrays is None else arrays

    def read_before(self, name: str) -> ModelArrays | None:
        """Return a model's arrays as they were before this block; not to be written to."""
        for layer in self._ancestors:
            if name in layer:
                return layer[name]
        # The store forgets large models when it reads others; a block asks for them in turns.
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def load_version(self, tensors: ModelTensors) -> ModelArrays:
        """Return the arrays of a version that the state holds the descriptor of; one's own."""
        return load_arrays(tensors, self._read_chunk)

    def create(self, name: str, arrays: ModelArrays) -> None:
        """Give a new model its arrays."""
        if self.read(name) is not None:
            raise InvariantViolationError(f"model {name} has parameters already")
        check_arrays(arrays)
        self._arrays[name] = arrays
        self._created.add(name)
        self._progress[name] = _Progress(ModelProgress(0), 0)
        self.is_touched = True

    def change(self, name: str, tensors: Iterable[str] | None = None) -> ModelArrays | None:
        """Return a model's arrays to be changed in place, or None if there is no such model.

        Parameters
        ----------
        name : of the model.
        tensors : those that will be changed, all of them if left out. The others must not be
            written to: they belong to the version before.
        """
        arrays = self._arrays.get(name)
        if arrays is None:
            before = self.read_before(name)
            if before is None:
                return None
            arrays = dict(before)
            self._arrays[name] = arrays
            self._shared[name] = set(before)
        shared = self._shared.get(name, set())
        for tensor in list(arrays) if tensors is None else tensors:
            if tensor in shared:
                arrays[tensor] = arrays[tensor].copy()
                shared.remove(tensor)
        self.is_touched = True
        return arrays

    def replace(self, name: str, arrays: ModelArrays) -> None:
        """Give an existing model other arrays, maybe of other shapes."""
        if self.read(name) is None:
            raise InvariantViolationError(f"model {name} has no parameters yet")
        check_arrays(arrays)
        self._arrays[name] = arrays
        self._shared.pop(name, None)
        self.is_touched = True

    def note_progress(self, name: str, progress: ModelProgress, origin: int) -> None:
        """Say what the record of the next version shall state; contributions do not hide others."""
        known = self._progress.get(name)
        if origin == CONTRIBUTED and known is not None and known.origin != CONTRIBUTED:
            origin = known.origin
        self._progress[name] = _Progress(progress, origin)

    def finish(self, state: BlockState, height: int, timestamp_ms: int) -> dict[bytes, bytes]:
        """Write descriptors and version records; return the new chunks by their hashes.

        Raises
        ------
        InvariantViolationError
            If arrays were changed and nobody noted what the record shall state.
        """
        chunks: dict[bytes, bytes] = {}
        for name in sorted(self._arrays):
            noted = self._progress.get(name)
            if noted is None:
                raise InvariantViolationError(f"no progress was noted for the changed model {name}")
            previous = self._previous_version(state, name)
            version = 0 if previous is None else previous[0].version + 1
            tensors = chunk_arrays(version, self._arrays[name], previous, chunks)
            progress = noted.progress
            record = ModelVersion(
                height=height,
                timestamp_ms=timestamp_ms,
                samples=progress.samples,
                correct=progress.correct,
                judged=progress.judged,
                loss=progress.loss,
                contributions=progress.contributions,
                origin=noted.origin,
                digest=tensors.digest,
            )
            state.put(tensors_key(name), tensors)
            state.put(model_version_key(name, version), record)
            model = state.get(model_key(name), decode_model)
            if model is not None:
                current = PinnedVersion(1, model.description.spec, tensors)
                watch_best(state, name, progress, current)
        return chunks

    def _previous_version(
        self, state: BlockState, name: str
    ) -> tuple[ModelTensors, ModelArrays] | None:
        if name in self._created:
            return None
        tensors = state.get(tensors_key(name), decode_model_tensors)
        before = self.read_before(name)
        if tensors is None or before is None:
            raise InvariantViolationError(f"model {name} was changed but has no parameters")
        return tensors, before
