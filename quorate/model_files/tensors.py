"""Tensors to and from bytes: safetensors, and numpy's archive of arrays.

Written are int64 tensors, which is what a model consists of, and always the same bytes for the same
tensors. Read are also 32-bit integers and floats of 16 to 64 bits; floats are no parameters yet,
see ``from_floats.py``. Nothing that is read is ever executed or trusted: bytes of unknown origin
are refused or understood. Source: the safetensors format, https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_runtime.family import State
from primitives.errors import InvalidInputError

__all__ = [
    "FILE_BYTES_MAX",
    "HEADER_BYTES_MAX",
    "Tensor",
    "TensorFile",
    "cut_safetensors",
    "decode_npz",
    "decode_safetensors",
    "encode_npz",
    "encode_safetensors",
    "make_file_refusal",
    "read_json_object",
]

HEADER_BYTES_MAX: Final = 1 << 20
"""Longest header that is read, in bytes: room for some ten thousand tensors."""

FILE_BYTES_MAX: Final = 1 << 30
"""Most bytes of numbers that an archive may unpack to."""

DIMENSIONS_MAX: Final = 8
ALIGNMENT: Final = 8
LENGTH_BYTES: Final = 8
NUMBER_BYTES: Final = 8
PIECE_NUMBERS: Final = (1 << 20) // NUMBER_BYTES
"""Numbers of a piece of a file: 1 MiB."""

METADATA: Final = "__metadata__"
SHOWN_CHARACTERS_MAX: Final = 64
INTEGER_CHARACTERS_MAX: Final = 20
NPY_ENDING: Final = ".npy"
UNIX: Final = 3
"""Number of the system in the headers of an archive."""

# Little-endian kinds by the name that safetensors has for them. numpy has no bfloat16, which is
# the upper half of a binary32.
_KINDS: Final = {
    "I64": "<i8",
    "I32": "<i4",
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
}

# What the readers of archives, compressed data and array headers raise is the fault of the bytes.
_ARCHIVE_FAULTS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)

Tensor: TypeAlias = NDArray[np.int64] | NDArray[np.float64]
"""What a file holds under a name: integers as int64, floats as float64; both are exact."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """What was read from a file.

    Parameters
    ----------
    tensors
        By name, ascending.
    metadata
        Text by name, as whoever wrote the file says.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)


def encode_safetensors(state: State, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return tensors as a safetensors file; equal tensors give equal bytes.

    Parameters
    ----------
    state
        int64 arrays by name.
    metadata
        Text to keep with them; it is not protected against changes.

    Raises
    ------
    InvalidInputError
        ``malformed_file`` for a name that the format cannot hold, ``too_large`` for a header that
        `decode_safetensors` would refuse.
    """
    return b"".join(cut_safetensors(state, metadata))


def cut_safetensors(state: State, metadata: Mapping[str, str] | None = None) -> Iterator[bytes]:
    """Return the bytes of :func:`encode_safetensors` in pieces of at most 1 MiB.

    The header is made, and refused, at once; numbers are copied only piece by piece, so that a
    large model can be sent without a second copy of it.
    """
    header: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    place = 0
    for name in sorted(state):
        _check_name(name)
        end = place + state[name].size * NUMBER_BYTES
        shape = list(state[name].shape)
        header[name] = {"dtype": "I64", "shape": shape, "data_offsets": [place, end]}
        place = end
    try:
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise make_file_refusal("header", "holds half a surrogate pair") from error
    # Spaces up to a multiple of 8, so that the numbers can be read where they lie.
    text += b" " * (-len(text) % ALIGNMENT)
    _check_size("header", len(text), HEADER_BYTES_MAX)
    return _cut_tensors(len(text).to_bytes(LENGTH_BYTES, "little") + text, state)


def decode_safetensors(data: bytes) -> TensorFile:
    """Return what a safetensors file holds.

    Raises
    ------
    InvalidInputError
        ``malformed_file``, naming what breaks the format: offsets that overlap, leave gaps or lead
        out of the file, a length that contradicts the shape, a name that comes twice, a kind of
        number that is not read; ``too_large`` for a header of more than 1 MiB.
    """
    if len(data) < LENGTH_BYTES:
        raise make_file_refusal("header", f"is cut off: the file has {len(data)} bytes")
    size = int.from_bytes(data[:LENGTH_BYTES], "little")
    _check_size("header", size, HEADER_BYTES_MAX)
    text = data[LENGTH_BYTES : LENGTH_BYTES + size]
    if len(text) != size:
        raise make_file_refusal("header", f"has {len(text)} bytes, its length says {size}")
    if not text.startswith(b"{") or not text.rstrip(b" ").endswith(b"}"):
        raise make_file_refusal("header", "must be a JSON object, with nothing but spaces after it")
    header = read_json_object(text, "header")
    metadata = _read_metadata(header.pop(METADATA, {}))
    numbers = memoryview(data)[LENGTH_BYTES + size :]
    entries = sorted(
        (_read_entry(name, entry, len(numbers)) for name, entry in header.items()),
        key=lambda entry: (entry.start, entry.end),
    )
    _check_cover(entries, len(numbers))
    return TensorFile(
        {each.name: each.read(numbers) for each in sorted(entries, key=lambda entry: entry.name)},
        metadata,
    )


def encode_npz(state: State) -> bytes:
    """Return tensors as an archive that ``numpy.load`` reads; equal tensors give equal bytes.

    Raises
    ------
    InvalidInputError
        ``malformed_file`` for a name that the archive cannot hold.
    """
    for name in state:
        _check_name(name)
        # Archives end a name at a zero, and some systems read a backslash as a slash.
        if "\0" in name or "\\" in name:
            raise make_file_refusal("archive", f"cannot hold a tensor named {_show(name)}")
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(state):
            member = BytesIO()
            np.lib.format.write_array(
                member, np.asarray(state[name], dtype="<i8", order="C"), allow_pickle=False
            )
            # The earliest date that an archive can name, and the same system everywhere.
            entry = zipfile.ZipInfo(name + NPY_ENDING)
            entry.create_system = UNIX
            archive.writestr(entry, member.getvalue())
    return stream.getvalue()


def decode_npz(data: bytes) -> TensorFile:
    """Return what an archive of ``numpy.savez`` or ``numpy.savez_compressed`` holds.

    Raises
    ------
    InvalidInputError
        ``malformed_file`` for what is no such archive, or for objects and kinds of numbers that
        are not read; ``too_large`` if it would unpack to more than 1 GiB.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.infolist()
            _check_size("archive", sum(each.file_size for each in members), FILE_BYTES_MAX)
            tensors: dict[str, Tensor] = {}
            for member in sorted(members, key=lambda each: each.filename):
                name = member.filename.removesuffix(NPY_ENDING)
                _check_name(name)
                if name in tensors or not member.filename.endswith(NPY_ENDING):
                    raise make_file_refusal("archive", f"holds {_show(name)} twice, or no array")
                tensors[name] = _read_npy(name, archive.read(member))
    except _ARCHIVE_FAULTS as error:
        raise make_file_refusal("archive", f"cannot be read: {error}"[:200]) from error
    return TensorFile(tensors)


def read_json_object(text: bytes, field_name: str) -> dict[str, Any]:
    """Return a JSON object in which no name comes twice and all numbers are integers.

    Raises
    ------
    InvalidInputError
        ``malformed_file``.
    """
    try:
        value = json.loads(
            text.decode(),
            object_pairs_hook=_make_object,
            parse_constant=_refuse_number,
            parse_float=_refuse_number,
            parse_int=_read_integer,
        )
        # An escape can write half a surrogate pair, which no UTF-8 can: this raises for it.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200]
        raise make_file_refusal(field_name, f"is not a JSON object: {reason}") from error
    if type(value) is not dict:
        raise make_file_refusal(field_name, f"is not a JSON object but {type(value).__name__}")
    return value


def make_file_refusal(
    field_name: str, rule: str, value: object = None, limit: object = None
) -> InvalidInputError:
    """Return the refusal of a file; `rule` ends a sentence that begins with the field."""
    return InvalidInputError(
        "malformed_file", f"{field_name} {rule}", field=field_name, value=value, limit=limit
    )


def _cut_tensors(header: bytes, state: State) -> Iterator[bytes]:
    yield header
    for name in sorted(state):
        flat = np.asarray(state[name], order="C").reshape(-1)
        for start in range(0, flat.size, PIECE_NUMBERS):
            yield flat[start : start + PIECE_NUMBERS].astype("<i8", copy=False).tobytes()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tensor of a safetensors header, checked but for its neighbours."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    def read(self, numbers: memoryview) -> Tensor:
        """Return the tensor, in memory of its own."""
        array = np.frombuffer(numbers[self.start : self.end], dtype=_KINDS[self.dtype])
        if self.dtype == "BF16":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return _widen(array.reshape(self.shape))


def _read_entry(name: str, entry: Any, data_bytes: int) -> _Entry:
    _check_name(name)
    path = f"header.{_show(name)}"
    if type(entry) is not dict or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise make_file_refusal(path, "must have dtype, shape and data_offsets, and nothing else")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if type(dtype) is not str or dtype not in _KINDS:
        known = ", ".join(_KINDS)
        raise make_file_refusal(
            f"{path}.dtype", f"is {_show(dtype)}, read are {known}", _show(dtype), known
        )
    if not _is_sizes(shape) or len(shape) > DIMENSIONS_MAX:
        raise make_file_refusal(f"{path}.shape", f"must be at most {DIMENSIONS_MAX} lengths")
    if not _is_sizes(offsets) or len(offsets) != 2:
        raise make_file_refusal(f"{path}.data_offsets", "must be where data begins and ends")
    start, end = offsets
    if not start <= end <= data_bytes:
        raise make_file_refusal(
            f"{path}.data_offsets",
            f"are {start} and {end}, there are {data_bytes} bytes",
            end,
            data_bytes,
        )
    wanted = prod(shape) * np.dtype(_KINDS[dtype]).itemsize
    if end - start != wanted:
        raise make_file_refusal(
            f"{path}.data_offsets",
            f"span {end - start} bytes, {dtype} of this shape has {wanted}",
            end - start,
            wanted,
        )
    return _Entry(name, dtype, tuple(shape), start, end)


def _check_cover(entries: list[_Entry], data_bytes: int) -> None:
    """Check that tensors lie one after another, from the first byte to the last."""
    place = 0
    for entry in entries:
        if entry.start != place:
            raise make_file_refusal(
                f"header.{_show(entry.name)}.data_offsets",
                f"begin at {entry.start}, the tensors before end at {place}",
                entry.start,
                place,
            )
        place = entry.end
    if place != data_bytes:
        raise make_file_refusal(
            "file", f"has {data_bytes} bytes of numbers, its tensors {place}", data_bytes, place
        )


def _read_metadata(value: Any) -> dict[str, str]:
    if type(value) is not dict or not all(type(text) is str for text in value.values()):
        raise make_file_refusal(f"header.{METADATA}", "must be text by name")
    return dict(value)


def _read_npy(name: str, data: bytes) -> Tensor:
    """Read one array; its header is looked at first, lest it claim more memory than there is."""
    stream = BytesIO(data)
    major, _ = np.lib.format.read_magic(stream)
    read_header = (
        np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    )
    shape, is_fortran, dtype = read_header(stream)
    wanted = prod(shape) * dtype.itemsize
    left = len(data) - stream.tell()
    if dtype.kind not in "if" or dtype.itemsize > 8 or len(shape) > DIMENSIONS_MAX:
        raise make_file_refusal(
            f"archive.{_show(name)}",
            f"holds {dtype} in {len(shape)} dimensions; integers and floats of at most 64 bits are"
            f" read, in at most {DIMENSIONS_MAX}",
        )
    if any(length < 0 for length in shape) or wanted != left:
        raise make_file_refusal(
            f"archive.{_show(name)}", f"has {left} bytes, its shape needs {wanted}", left, wanted
        )
    array = np.frombuffer(data, dtype=dtype, offset=stream.tell())
    return _widen(array.reshape(shape, order="F" if is_fortran else "C"))


def _widen(array: NDArray[Any]) -> Tensor:
    if array.dtype.kind == "i":
        return array.astype(np.int64, order="C")
    # A signalling NaN stays a NaN, which whoever takes floats refuses.
    with np.errstate(invalid="ignore"):
        return array.astype(np.float64, order="C")


def _is_sizes(value: Any) -> bool:
    return type(value) is list and all(type(each) is int and each >= 0 for each in value)


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise make_file_refusal("name", "holds half a surrogate pair") from error
    if not name or name == METADATA:
        raise make_file_refusal("name", f"of a tensor cannot be {_show(name)}")


def _check_size(field_name: str, size: int, limit: int) -> None:
    if size > limit:
        raise InvalidInputError(
            "too_large",
            f"{field_name} has {size} bytes, more than the limit of {limit}",
            field=field_name,
            value=size,
            limit=limit,
        )


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name comes twice")
    return value


def _refuse_number(text: str) -> None:
    raise ValueError(f"{text[:SHOWN_CHARACTERS_MAX]} is no integer")


def _read_integer(text: str) -> int:
    if len(text) > INTEGER_CHARACTERS_MAX:
        raise ValueError(f"{text[:SHOWN_CHARACTERS_MAX]}… has more digits than a 64-bit integer")
    return int(text)


def _show(value: object) -> str:
    return repr(value)[:SHOWN_CHARACTERS_MAX]
