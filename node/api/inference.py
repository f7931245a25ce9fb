"""Predictions: which version answers, its parameters from memory or store, and the arithmetic.

Decoded parameters are remembered by model and version, which never change; what is remembered of
the tip is forgotten with the next block. Small requests are answered on the event loop, where a
switch of threads would cost more than the work; larger ones in a few threads of their own, so that
they cannot crowd out the small ones. What takes longer, to compute an old version again above all,
waits in a short queue for one more thread, so that it cannot crowd out predictions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import anyio

from ledger.cache import BoundedCache
from ledger.errors import PrunedHeightError
from ledger.model_records import ModelDescription, decode_model, model_key
from ledger.model_tensors import (
    ModelArrays,
    decode_model_tensors,
    decode_model_version,
    load_arrays,
    model_version_key,
    tensors_key,
    total_bytes,
)
from ledger.model_versions import decode_pinned_version, pinned_version_key
from ledger.reader import LedgerReader
from ledger.version_replay import is_stored, plan_replay
from ml_runtime.family import ModelFamily, check_batch
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples, Samples, sample_count
from ml_runtime.warmup import load_kernels_of
from node.api.follower import Follower
from node.api.model_inputs import make_samples
from node.api.model_outputs import compute_outputs, count_columns, get_output_names
from node.api.tensors import InferRequest, parse_infer_request, tensor_to_json
from node.api.version_access import FetchPayload, fetch_payloads
from primitives.errors import InvalidInputError

__all__ = ["Inference", "OpenedModel"]

CACHE_BYTES = 256 * 1024 * 1024
TIP_MODELS_MAX = 1_024
THREADS_MAX = 2

WAITING_MAX = 8
"""Replays, comparisons and draws that wait for their turn; more are refused."""

INLINE_BODY_BYTES_MAX = 64 * 1024
"""Longer bodies are parsed in a thread: this much JSON takes about a millisecond."""

INLINE_UNITS_MAX = 1_000_000
"""Compute units that are worked off on the event loop: about a millisecond."""

FETCH_S_MAX = 60
"""Seconds to wait for the payloads of one replay, for which others wait too."""

OUTPUT_ELEMENTS_MAX = 8 * 1024 * 1024

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One version of a model, ready to predict; shared between requests and never changed."""

    description: ModelDescription
    family: ModelFamily
    version: int
    state: ModelArrays


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A version of a model and the final block as of which it answers."""

    loaded: LoadedModel
    height: int
    block_id: bytes
    state_root: bytes


class Inference:
    """Answers requests for predictions from a follower's ledger.

    Parameters
    ----------
    fetch_payload
        Asks the node for a payload, to compute a version again whose parameters went.
    """

    def __init__(self, fetch_payload: FetchPayload) -> None:
        self._fetch_payload = fetch_payload
        self._versions: BoundedCache[tuple[bytes, str, int], LoadedModel] = BoundedCache(
            CACHE_BYTES, lambda loaded: total_bytes(loaded.state)
        )
        self._at_tip = _make_tip_cache()
        self._tip_id = b""
        self._loading = anyio.Lock()
        self._threads = anyio.CapacityLimiter(THREADS_MAX)
        self._aside = anyio.Lock()
        self._aside_thread = anyio.CapacityLimiter(1)

    async def open(
        self, follower: Follower, name: str, version: int | None, height: int | None
    ) -> OpenedModel:
        """Return the version of a model that is asked for.

        Parameters
        ----------
        follower
            Whose ledger to read.
        name
            Of the model.
        version
            By number, answering as of the block that made it; else None.
        height
            The version in force after that block; None is the last block.

        Raises
        ------
        InvalidInputError
            ``unknown_model``, ``unknown_version``, ``unknown_height``, ``not_ready``, or
            ``malformed_request`` when both version and height are given.
        """
        tip = follower.tip
        if version is None and height is None:
            if self._tip_id != tip.block_id:
                self._at_tip = _make_tip_cache()
                self._tip_id = tip.block_id
            opened = self._at_tip.get(name)
            if opened is None:
                loaded = await self._load(follower, name, tip.height)
                opened = OpenedModel(loaded, tip.height, tip.block_id, tip.state_root)
                if self._tip_id == tip.block_id:
                    self._at_tip.put(name, opened)
            return opened
        ledger = follower.ledger
        if version is not None:
            if height is not None:
                raise InvalidInputError(
                    "malformed_request", "give a version or a height, not both", field="height"
                )
            height = _find_height(ledger, name, version)
            if height < ledger.base_height():
                return await self._open_pinned(follower, name, version, height)
        block = ledger.stored_block(height if height is not None else tip.height)
        loaded = await self._load(follower, name, block.header.height)
        return OpenedModel(loaded, block.header.height, block.header.block_id, block.state_root)

    async def _open_pinned(
        self, follower: Follower, name: str, version: int, made_height: int
    ) -> OpenedModel:
        """Return a version from before the snapshot that the store began with, if it has a name.

        The state holds its descriptor, so it answers as of the last block.
        """
        ledger, tip = follower.ledger, follower.tip
        key = (follower.chain_id, name, version)
        loaded = self._versions.get(key)
        if loaded is None:
            model = ledger.read(model_key(name), decode_model)
            pinned = ledger.read(pinned_version_key(name, version), decode_pinned_version)
            if model is None or pinned is None:
                raise PrunedHeightError(made_height, ledger.base_height())
            state = await self._in_thread(lambda: load_arrays(pinned.tensors, ledger.read_chunk))
            names = model.description.class_names[: pinned.spec.class_count]
            described = replace(model.description, spec=pinned.spec, class_names=names)
            loaded = self._keep(key, described, state)
        return OpenedModel(loaded, tip.height, tip.block_id, tip.state_root)

    async def answer(self, opened: OpenedModel, body: bytes) -> dict[str, object]:
        """Return the answer to the JSON body of a request.

        Raises
        ------
        InvalidInputError
            As :func:`node.api.tensors.parse_infer_request` and
            :func:`node.api.model_inputs.make_samples`; ``unknown_output``, ``too_large``.
        """
        if len(body) > INLINE_BODY_BYTES_MAX:
            return await self._in_thread(lambda: _answer(opened, *_prepare(opened, body)))
        request, samples = _prepare(opened, body)
        if _count_units(opened.loaded, samples) > INLINE_UNITS_MAX:
            return await self._in_thread(lambda: _answer(opened, request, samples))
        return _answer(opened, request, samples)

    async def _load(self, follower: Follower, name: str, height: int) -> LoadedModel:
        """Return the version in force at a height, from memory if it is there."""
        ledger = follower.ledger
        model = ledger.read(model_key(name), decode_model, height)
        tensors = ledger.read(tensors_key(name), decode_model_tensors, height)
        if model is None or tensors is None:
            raise InvalidInputError(
                "unknown_model",
                f"there is no model {name!r} at height {height}",
                field="model",
                value=name,
            )
        key = (follower.chain_id, name, tensors.version)
        known = self._versions.get(key)
        if known is not None:
            return known
        # One at a time: many requests for a new version then read its parameters once.
        async with self._loading:
            known = self._versions.get(key)
            if known is not None:
                return known
            if await self._in_thread(lambda: is_stored(ledger, tensors)):
                state = await self._in_thread(lambda: ledger.load_model_state(name, height)) or {}
                spec = model.description.spec
                family = get_family(spec.family)
                await self._in_thread(lambda: load_kernels_of(family, spec))
                return self._keep(key, model.description, state)
        # Others must not wait for this: it takes as long as learning did.
        async with self._wait_aside():
            known = self._versions.get(key)
            if known is not None:
                return known
            state = await self._learn_again(ledger, name, tensors.version)
            return self._keep(key, model.description, state)

    def _keep(
        self, key: tuple[bytes, str, int], description: ModelDescription, state: ModelArrays
    ) -> LoadedModel:
        loaded = LoadedModel(description, get_family(description.spec.family), key[2], state)
        self._versions.put(key, loaded)
        return loaded

    async def _learn_again(self, ledger: LedgerReader, name: str, version: int) -> ModelArrays:
        """Return parameters that are not stored any more."""
        limiter = self._aside_thread
        replay = await anyio.to_thread.run_sync(
            lambda: plan_replay(ledger, name, version), limiter=limiter
        )
        payloads: dict[bytes, bytes] = {}
        with anyio.move_on_after(FETCH_S_MAX) as scope:
            payloads = await fetch_payloads(replay, self._fetch_payload)
        if scope.cancelled_caught:
            raise InvalidInputError(
                "too_many_requests",
                f"the contributions since the version before did not come in {FETCH_S_MAX} seconds",
                limit=FETCH_S_MAX,
            )
        return await anyio.to_thread.run_sync(lambda: replay.run(payloads), limiter=limiter)

    async def run_aside(self, work: Callable[[], Result]) -> Result:
        """Do what takes long where predictions do not wait for it.

        Raises
        ------
        InvalidInputError
            ``too_many_requests``: too much of that waits already.
        """
        async with self._wait_aside():
            return await anyio.to_thread.run_sync(work, limiter=self._aside_thread)

    @asynccontextmanager
    async def _wait_aside(self) -> AsyncIterator[None]:
        if self._aside.statistics().tasks_waiting >= WAITING_MAX:
            raise InvalidInputError(
                "too_many_requests",
                f"{WAITING_MAX} replays, comparisons and draws wait already",
                limit=WAITING_MAX,
            )
        async with self._aside:
            yield

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await anyio.to_thread.run_sync(work, limiter=self._threads)


def _make_tip_cache() -> BoundedCache[str, OpenedModel]:
    """Return a memory for what answers at the tip: so many models, and so many bytes of them."""
    least = CACHE_BYTES // TIP_MODELS_MAX
    return BoundedCache(CACHE_BYTES, lambda opened: max(total_bytes(opened.loaded.state), least))


def _find_height(ledger: LedgerReader, name: str, version: int) -> int:
    """Return a height at which a version was in force, that of its own block if there is none."""
    record = ledger.read(model_version_key(name, version), decode_model_version)
    if record is not None:
        base_height = ledger.base_height()
        if record.height < base_height:
            # A store that began with a snapshot has no older states, but that one.
            tensors = ledger.read(tensors_key(name), decode_model_tensors, base_height)
            if tensors is not None and tensors.version == version:
                return base_height
        return record.height
    if ledger.get(model_key(name)) is None:
        raise InvalidInputError(
            "unknown_model", f"there is no model {name!r}", field="model", value=name
        )
    raise InvalidInputError(
        "unknown_version",
        f"model {name!r} has no version {version}",
        field="version",
        value=version,
    )


def _prepare(opened: OpenedModel, body: bytes) -> tuple[InferRequest, Samples]:
    """Return the request and its samples, after every check."""
    description, family = opened.loaded.description, opened.loaded.family
    request = parse_infer_request(body)
    known = get_output_names(family, description.spec)
    for name in request.outputs or ():
        if name not in known:
            raise InvalidInputError(
                "unknown_output",
                f"there is no output {name!r}; known are {', '.join(known)}",
                field="outputs",
                value=name,
                limit=", ".join(known),
            )
    samples = make_samples(description.spec, description.encoder, request.inputs)
    check_batch(family, description.spec, samples)
    elements = sample_count(samples) * count_columns(family, description.spec)
    if elements > OUTPUT_ELEMENTS_MAX:
        raise InvalidInputError(
            "too_large",
            f"the answer would hold {elements} scores, the limit is {OUTPUT_ELEMENTS_MAX}",
            field="inputs",
            value=elements,
            limit=OUTPUT_ELEMENTS_MAX,
        )
    return request, samples


def _count_units(loaded: LoadedModel, samples: Samples) -> int:
    entries = samples.features.size if isinstance(samples, DenseSamples) else samples.values.size
    return loaded.family.cost(loaded.description.spec, sample_count(samples), entries)


def _answer(opened: OpenedModel, request: InferRequest, samples: Samples) -> dict[str, object]:
    loaded = opened.loaded
    description, family, state = loaded.description, loaded.family, loaded.state
    names = tuple(request.outputs or get_output_names(family, description.spec))
    arrays = compute_outputs(family, description, state, samples, names)
    answer: dict[str, object] = {
        "model_name": description.name,
        "model_version": str(loaded.version),
        "parameters": {
            "height": opened.height,
            "version": loaded.version,
            "block_id": opened.block_id.hex(),
            "state_root": opened.state_root.hex(),
        },
        "outputs": [tensor_to_json(name, *arrays[name]) for name in names],
    }
    if request.request_id is not None:
        answer["id"] = request.request_id
    return answer
