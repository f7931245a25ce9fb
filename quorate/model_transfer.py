"""Parameters of models between the ledger, files and scikit-learn: a part of ``client.lifecycle``.

What is downloaded is believed by the digest of the version, what is uploaded goes in parts that an
interrupted upload need not send again. Formats and estimators are the matter of
``quorate/model_files``, which is loaded when it is needed: most clients never do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ledger.model_tensors import ModelArrays, chunk_arrays
from ledger.payload import Payload
from ml_runtime.spec import ModelSpec, make_spec
from primitives.codec import Encodable
from primitives.errors import InvalidInputError
from primitives.hashing import Tag, tagged_hash
from quorate import bodies
from quorate.connection import Connection
from quorate.errors import NotFoundError, WrongDigestError
from quorate.records import Model, Transaction, Version

if TYPE_CHECKING:
    from quorate.model_files.document import ModelDocument
    from quorate.model_files.from_floats import Rounding
    from quorate.model_files.model_file import ModelFile
    from quorate.model_files.tensors import Tensor

__all__ = ["PART_NUMBERS", "ImportReport", "ModelTransfer", "Progress", "Submit"]

Submit = Callable[[int, Sequence[Encodable], Payload | None], Transaction]

Progress = Callable[[int, int], None]
"""Told how many numbers of how many are there."""

PART_NUMBERS: Final = 60_000
"""Numbers of one part of an upload: just below the bytes that a payload may have by default."""

LATEST: Final = "latest"
EXTERNAL: Final = "external_tensors"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of parameters that were brought into a model.

    Parameters
    ----------
    transaction : that put them into force.
    roundings : for each tensor that was given as floats, how far its numbers moved.
    notes : sentences on where model and estimator can differ beyond rounding.
    """

    transaction: Transaction
    roundings: tuple[Rounding, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _MadeState:
    """Parameters that a model can begin with, and what had to be done to them."""

    state: ModelArrays
    roundings: tuple[Rounding, ...]
    notes: tuple[str, ...]


class ModelTransfer:
    """Brings parameters into models and out of them.

    Parameters
    ----------
    connection : to the node.
    submit : sends a transaction of a kind with a body and maybe a payload, and waits for it.
    get_model : returns what a model is.
    create_model : creates one, as :meth:`quorate.Client.create_model`.
    """

    def __init__(
        self,
        connection: Connection,
        submit: Submit,
        get_model: Callable[[str], Model],
        create_model: Callable[..., Transaction],
    ) -> None:
        self._connection = connection
        self._submit = submit
        self._get_model = get_model
        self._create_model = create_model

    def aliases(self, model: str) -> dict[str, int]:
        """Return which version each alias stands for, ``latest`` among them."""
        body = self._connection.get(f"/api/v1/models/{model}/aliases", {})
        return {item["alias"]: item["version"] for item in body["items"]}

    def find_version(self, model: str, version: int | str) -> int:
        """Return the number of a version that is named by number or alias.

        Raises
        ------
        InvalidInputError
            ``unknown_alias``.
        """
        if isinstance(version, int):
            return version
        if version.isascii() and version.isdigit():
            return int(version)
        number = self.aliases(model).get(version)
        if number is None:
            raise InvalidInputError(
                "unknown_alias", f"model {model!r} has no alias {version!r}", field="version"
            )
        return number

    def download(self, model: str, version: int | str = LATEST) -> tuple[Version, ModelArrays]:
        """Return what is on record about a version, and its parameters: int64 arrays by name.

        Parameters
        ----------
        model : its name.
        version : number or alias.

        Raises
        ------
        WrongDigestError
            The node sent other parameters than those on record.
        RefusedError
            ``unknown_version``, ``version_retired``, ``payload_not_held``, and so on.
        """
        number = self.find_version(model, version)
        path = f"/api/v1/models/{model}/versions/{number}"
        record = Version.from_json(self._connection.get(path))
        arrays = _read_arrays(self._connection.get_bytes(f"{path}/tensors"), record)
        if _compute_digest(arrays) != record.digest:
            raise WrongDigestError(
                f"the parameters of version {number} of {model!r} that the node sent do not have"
                f" the digest on record, {record.digest}"
            )
        return record, arrays

    def export(self, model: str, path: str | Path, version: int | str = LATEST) -> Version:
        """Write the parameters of a version to a file; one that is there is replaced.

        Parameters
        ----------
        model : its name.
        path : ends in ``.safetensors``, ``.npz`` or ``.json``, which chooses the format.
        version : number or alias.

        Raises
        ------
        InvalidInputError
            ``unsupported`` for another ending; otherwise as :meth:`download`.
        """
        from quorate.model_files.model_file import check_ending, encode_model_file

        file = Path(path)
        ending = check_ending(file)
        record, document = self._download_document(model, version)
        origin = {
            "model": model,
            "version": str(record.version),
            "height": str(record.height),
            "digest": record.digest,
        }
        data = encode_model_file(document, ending, origin)
        # Whoever reads the file meanwhile finds the old one or the new one, never a half.
        unfinished = file.with_name(f"{file.name}.part")
        unfinished.write_bytes(data)
        unfinished.replace(file)
        return record

    def to_sklearn(self, model: str, version: int | str = LATEST) -> Any:
        """Return a version as a fitted scikit-learn object; it takes features as encoded.

        Raises
        ------
        InvalidInputError
            ``unsupported``, ``not_learnt`` or ``missing_package``; otherwise as :meth:`download`.
        """
        from quorate.model_files.to_sklearn import export_estimator

        _, document = self._download_document(model, version)
        return export_estimator(document.spec, document.state, document.class_names)

    def uploaded(self, model: str) -> list[dict[str, Any]]:
        """Return the parts of an upload that are there already."""
        body = self._connection.get(f"/api/v1/models/{model}/upload", {})
        return [dict(item) for item in body["items"]]

    def upload(
        self, model: str, tensors: Mapping[str, NDArray[Any]], progress: Progress | None = None
    ) -> Transaction:
        """Put parameters that were trained elsewhere into a model; goes on where it stopped.

        What is there already is not sent again; what is there and differs is replaced.

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
        there = {
            (part["tensor"], part["start"], part["count"]): part["transaction_id"]
            for part in self.uploaded(model)
        }
        total = sum(int(array.size) for array in tensors.values())
        done = 0
        for name, array in tensors.items():
            flat = np.ascontiguousarray(array, dtype=np.int64).reshape(-1)
            for start in range(0, flat.size, PART_NUMBERS):
                part = flat[start : start + PART_NUMBERS]
                payload = _wrap_part(part.astype("<i8").tobytes())
                if not self._is_payload_of(there.get((name, start, part.size)), payload):
                    self._submit(bodies.UPLOAD_PART, [model, name, start], payload)
                done += int(part.size)
                if progress is not None:
                    progress(done, total)
        return self._submit(bodies.FINISH_UPLOAD, [model], None)

    def upload_file(
        self,
        model: str,
        path: str | Path,
        *,
        clamps: bool = False,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Put the parameters in a file into a model; as :meth:`upload`, after rounding.

        Parameters
        ----------
        model : one's own.
        path : ends in ``.safetensors``, ``.npz`` or ``.json``; floats are rounded.
        clamps : replace floats that do not fit by the nearest that do.
        progress : told after each part.

        Raises
        ------
        InvalidInputError
            ``wrong_spec`` if the file says that it is of another family or of other classes,
            ``wrong_tensors``, ``parameter_out_of_range``, ``malformed_file``, ``unsupported``:
            nothing was sent.
        """
        file = _read_file(Path(path))
        known = self._get_model(model)
        if file.document is not None:
            compared = [
                ("family", file.document.spec.family, known.family),
                ("classes", file.document.class_names, known.class_names),
            ]
            _check_same(compared, model)
        made = _make_state(_make_model_spec(known), file.tensors, clamps=clamps)
        finished = self.upload(model, made.state, progress)
        return ImportReport(finished, made.roundings, made.notes)

    def import_file(
        self,
        name: str,
        path: str | Path,
        *,
        clamps: bool = False,
        progress: Progress | None = None,
        **settings: Any,
    ) -> ImportReport:
        """Create a model from a file and upload its parameters; goes on where it stopped.

        Files of tensors that do not say what they are of become a model of ``external_tensors``.

        Parameters
        ----------
        name : of the new model.
        path : ends in ``.safetensors``, ``.npz`` or ``.json``.
        clamps : replace floats that do not fit by the nearest that do.
        progress : told after each part.
        settings : what else :meth:`quorate.Client.create_model` takes: ``incentive``,
            ``description``, ``licence``, ``policies``, ``encoder`` and so on.

        Raises
        ------
        InvalidInputError
            ``malformed_file``, ``wrong_tensors``, ``parameter_out_of_range``, ``unsupported``, or
            ``model_exists`` if a model of that name is another one or has learnt: nothing was sent.
        """
        from quorate.model_files.document import ModelDocument

        file = _read_file(Path(path))
        document = file.document
        tensors: dict[str, Tensor]
        if document is None:
            # A number on its own, as some frameworks keep, is a tensor of one.
            tensors = {key: each.reshape(each.shape or (1,)) for key, each in file.tensors.items()}
            shapes = {key: tuple(each.shape) for key, each in tensors.items()}
            document = ModelDocument(make_spec(EXTERNAL, "dense", 1, 0, None, shapes), {})
        else:
            tensors = dict(file.tensors)
        made = _make_state(document.spec, tensors, clamps=clamps)
        finished = self._create(name, document, made.state, progress, settings)
        return ImportReport(finished, made.roundings, made.notes)

    def import_estimator(
        self,
        name: str,
        estimator: Any,
        *,
        feature_limit: float | None = None,
        layout: str = "dense",
        class_counts: Sequence[int] | None = None,
        progress: Progress | None = None,
        **settings: Any,
    ) -> ImportReport:
        """Create a model from a fitted scikit-learn estimator; goes on where it stopped.

        Parameters
        ----------
        name : of the new model.
        estimator, feature_limit, layout, class_counts : as
            :func:`quorate.model_files.import_estimator`.
        progress : told after each part.
        settings : as :meth:`import_file`.

        Raises
        ------
        InvalidInputError
            What :func:`quorate.model_files.import_estimator` and :meth:`import_file` raise.
        """
        from quorate.model_files import ModelDocument, import_estimator

        made = import_estimator(
            estimator, feature_limit=feature_limit, layout=layout, class_counts=class_counts
        )
        document = ModelDocument(made.spec, made.state, made.class_names)
        finished = self._create(name, document, made.state, progress, settings)
        return ImportReport(finished, made.report, made.notes)

    def _download_document(self, model: str, version: int | str) -> tuple[Version, ModelDocument]:
        """Return a version with everything that is needed to predict, as it was then."""
        from quorate.model_files.document import ModelDocument

        record, state = self.download(model, version)
        path = f"/api/v1/models/{model}"
        known = Model.from_json(self._connection.get(path, {"height": record.height}))
        spec = _make_model_spec(known)
        return record, ModelDocument(spec, state, known.class_names, known.encoder)

    def _create(
        self,
        name: str,
        document: ModelDocument,
        state: ModelArrays,
        progress: Progress | None,
        settings: Mapping[str, Any],
    ) -> Transaction:
        """Create a model, unless an import that stopped already did, and upload parameters."""
        spec = document.spec
        known: Model | None = None
        try:
            # Not what the client remembers: the model may have learnt since.
            known = Model.from_json(self._connection.get(f"/api/v1/models/{name}"))
        except NotFoundError as error:
            if error.code != "unknown_model":
                raise
        if known is None:
            given: dict[str, Any] = {"encoder": document.encoder, **settings}
            self._create_model(
                name,
                family=spec.family,
                feature_count=spec.feature_count,
                class_names=document.class_names,
                layout=spec.layout,
                parameters=dict(spec.parameters),
                tensors=dict(spec.tensors) or None,
                **given,
            )
        else:
            compared = [
                ("spec", spec, _make_model_spec(known)),
                ("classes", document.class_names, known.class_names),
            ]
            _check_same(compared, name, code="model_exists")
            if known.version:
                raise InvalidInputError(
                    "model_exists",
                    f"model {name!r} exists and is at version {known.version}; an upload to it"
                    " would replace its parameters",
                    field="name",
                    value=name,
                )
        return self.upload(name, state, progress)

    def _is_payload_of(self, transaction_id: str | None, payload: Payload) -> bool:
        """Say whether a transaction brought just this; what the node does not know did not."""
        if transaction_id is None:
            return False
        try:
            sent = self._connection.get(f"/api/v1/transactions/{transaction_id}")
        except NotFoundError:
            return False
        return bool(sent["payload_commitment"] == payload.commitment.hex())


def _wrap_part(data: bytes) -> Payload:
    """Return a part of an upload, by whose commitment a later call knows the same numbers.

    There is nothing to hide: parameters are public once they are in force.
    """
    return Payload(tagged_hash(Tag.CHUNK, data), data)


def _compute_digest(arrays: ModelArrays) -> str:
    return chunk_arrays(0, arrays, None, {}).digest.hex()


def _read_arrays(data: bytes, record: Version) -> ModelArrays:
    """Return the tensors that a node sent; raises `WrongDigestError` for what can be none."""
    from quorate.model_files.tensors import decode_safetensors

    try:
        tensors = decode_safetensors(data).tensors
    except InvalidInputError as error:
        raise WrongDigestError(
            f"the node sent no parameters of version {record.version} of {record.model!r}: {error}"
        ) from error
    # Floats are no parameters; without them the digest is another one, unless they were too many.
    return {
        name: each.astype(np.int64, copy=False)
        for name, each in tensors.items()
        if each.dtype == np.int64
    }


def _read_file(path: Path) -> ModelFile:
    from quorate.model_files.model_file import check_ending, decode_model_file

    ending = check_ending(path)
    return decode_model_file(path.read_bytes(), ending)


def _make_state(spec: ModelSpec, tensors: Mapping[str, Tensor], *, clamps: bool) -> _MadeState:
    """Return what a file holds as parameters that a model of a spec can begin with."""
    from quorate.model_files.beginnings import begin_again
    from quorate.model_files.from_floats import round_state

    whole = {name: each for name, each in tensors.items() if each.dtype == np.int64}
    notes: tuple[str, ...] = ()
    given: Mapping[str, Any] = tensors
    if len(whole) == len(tensors):
        # Integers alone are what a model of the ledger left as; floats were trained elsewhere.
        state = {name: each.astype(np.int64, copy=False) for name, each in whole.items()}
        given, notes = begin_again(spec, state)
    rounded = round_state(spec, given, clamps=clamps)
    return _MadeState(rounded.state, rounded.report, notes)


def _make_model_spec(model: Model) -> ModelSpec:
    shapes = {name: tuple(shape) for name, shape in model.raw["tensors"].items()}
    return make_spec(
        model.family,
        model.layout,
        model.feature_count,
        len(model.class_names),
        model.raw["parameters"],
        shapes,
    )


def _check_same(
    compared: Sequence[tuple[str, object, object]], model: str, code: str = "wrong_spec"
) -> None:
    """Refuse if what is given is not what the model has, naming the first difference."""
    for what, given, known in compared:
        if given != known:
            raise InvalidInputError(
                code,
                f"model {model!r} exists and has another {what}: {str(known)[:200]}, given is"
                f" {str(given)[:200]}",
                field=what,
            )
