"""States of every family survive every format, and bytes of unknown origin are refused or read."""

import json
import struct
import zipfile
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ml_runtime.encoders import HashedWordsEncoder, ScaleEncoder, StandardiseEncoder
from ml_runtime.family import ModelFamily, State
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.samples import DenseSamples
from ml_runtime.spec import ModelSpec, make_spec
from primitives.errors import InvalidInputError
from quorate.model_files.document import ModelDocument, decode_document, encode_document
from quorate.model_files.tensors import (
    HEADER_BYTES_MAX,
    decode_npz,
    decode_safetensors,
    encode_npz,
    encode_safetensors,
)

FEATURES, CLASSES, SAMPLES = 5, 3, 40
SETTINGS = {
    "k_means": {"groups": 2, "seed_samples": 20},
    "gaussian_mixture": {"groups": 2, "seed_samples": 20, "interval": 8},
    "hoeffding_tree": {"grace": 8, "leaves": 4},
    "nearest_neighbours": {"capacity": 30},
    "principal_components": {"components": 2},
    "multilayer_perceptron": {"hidden1": 4, "hidden2": 3, "momentum": ONE // 2},
    "softmax_regression": {"momentum": ONE // 2},
}
CASES = [(family, task) for family in FAMILIES for task in family.tasks]
EXTREMES = np.array([[2**62, 2**53 + 1], [-(2**53) - 1, -(2**62)]])

STATES = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\0\\"), min_size=1, max_size=8),
    arrays(np.int64, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)),
    max_size=4,
).filter(lambda state: "__metadata__" not in state)


def case_id(value: object) -> str:
    return value.name if isinstance(value, ModelFamily) else str(value)


def make_model(family: ModelFamily, task: str) -> tuple[ModelSpec, State]:
    """Return a model that has learnt something, if its family learns."""
    if task == "none":
        spec = make_spec(family.name, "dense", 1, 0, None, {"layer/a": (2, 2), "b": (1,)})
        return spec, {"layer/a": EXTREMES >> 22, "b": np.array([-1])}
    classes = CLASSES if task == "classification" else 0
    spec = make_spec(family.name, "dense", FEATURES, classes, SETTINGS.get(family.name))
    random, state = np.random.default_rng(5), family.initial_state(spec)
    features = random.integers(0, 4 * ONE, (SAMPLES, FEATURES))
    targets = (
        features[:, 0].copy() if task == "regression" else np.arange(SAMPLES) % max(classes, 1)
    )
    family.update(spec, state, DenseSamples(features), targets)
    return spec, state


def are_equal(left: State, right: State) -> bool:
    return left.keys() == right.keys() and all(
        right[name].dtype == array.dtype
        and right[name].shape == array.shape
        and np.array_equal(right[name], array)
        for name, array in left.items()
    )


def make_file(header: object, numbers: bytes = b"", *, text: bytes | None = None) -> bytes:
    text = json.dumps(header).encode() if text is None else text
    return struct.pack("<Q", len(text)) + text + numbers


def make_entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(("family", "task"), CASES, ids=case_id)
def test_state_survives_every_format(family: ModelFamily, task: str) -> None:
    spec, state = make_model(family, task)
    names = tuple("abc"[: spec.class_count])
    document = encode_document(ModelDocument(spec, state, names, ScaleEncoder()))
    read = decode_document(document)
    assert (read.spec, read.class_names, read.encoder) == (spec, names, ScaleEncoder())
    assert are_equal(read.state, state)
    assert encode_document(read) == document
    assert are_equal(decode_npz(encode_npz(state)).tensors, state)
    file = encode_safetensors(state, {"format": "quorate"})
    assert are_equal(decode_safetensors(file).tensors, state)
    assert decode_safetensors(file).metadata == {"format": "quorate"}


@given(STATES)
@settings(max_examples=60, deadline=None)
def test_any_tensors_survive(state: State) -> None:
    assert are_equal(decode_safetensors(encode_safetensors(state)).tensors, state)
    assert are_equal(decode_npz(encode_npz(state)).tensors, state)


@given(st.binary(max_size=80))
@example(b"")
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    for decode in (decode_safetensors, decode_npz, decode_document):
        try:
            decode(data)
        except InvalidInputError as error:
            assert error.code in ("malformed_file", "too_large")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["I64", "I32", "F16", "BF16", "F64", "U8", None]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-8, 64), min_size=2, max_size=2) | JSON,
    }
)


@given(st.dictionaries(st.text(max_size=3), ENTRIES | JSON, max_size=3) | JSON, st.binary())
@settings(max_examples=200, deadline=None)
def test_any_header_is_refused_or_read_again_as_it_was(header: object, numbers: bytes) -> None:
    try:
        read = decode_safetensors(make_file(header, numbers))
    except InvalidInputError:
        return
    integers = {name: each for name, each in read.tensors.items() if each.dtype == np.int64}
    assert are_equal(decode_safetensors(encode_safetensors(integers)).tensors, integers)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_refused_or_read(data: st.DataObject) -> None:
    spec, state = make_model(get_family("nearest_centroid"), "classification")
    whole = data.draw(
        st.sampled_from(
            [
                encode_safetensors(state),
                encode_npz(state),
                encode_document(ModelDocument(spec, state, ("a", "b", "c"))),
            ]
        )
    )
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(len(whole) - 9, len(whole)))])
    for decode in (decode_safetensors, decode_npz, decode_document):
        try:
            decode(cut)
        except InvalidInputError as error:
            assert len(error.message) < 2_000


def test_bytes_are_canonical() -> None:
    state = {"b": np.arange(3), "a": np.array([[1], [-1]])}
    text = (
        b'{"__metadata__":{"k":"\xc3\xa9"},"a":{"dtype":"I64","shape":[2,1],"data_offsets":[0,16]},'
        b'"b":{"dtype":"I64","shape":[3],"data_offsets":[16,40]}}'
    )
    text += b" " * (-len(text) % 8)
    numbers = struct.pack("<5q", 1, -1, 0, 1, 2)
    assert encode_safetensors(state, {"k": "é"}) == struct.pack("<Q", len(text)) + text + numbers
    turned = dict(reversed(state.items()))
    assert encode_npz(state) == encode_npz(turned)
    assert encode_safetensors(state) == encode_safetensors(turned)


@pytest.mark.parametrize(
    ("dtype", "numbers", "wanted"),
    [
        ("I32", struct.pack("<2i", -5, 7), [-5, 7]),
        ("F64", struct.pack("<2d", 0.1, -2.0), [0.1, -2.0]),
        ("F32", struct.pack("<2f", 0.5, -2.0), [0.5, -2.0]),
        ("F16", struct.pack("<2e", 0.5, -2.0), [0.5, -2.0]),
        ("BF16", struct.pack("<2H", 0x3F80, 0xC040), [1.0, -3.0]),
    ],
)
def test_other_kinds_of_numbers_are_read_exactly(dtype: str, numbers: bytes, wanted) -> None:
    file = make_file({"a": make_entry(dtype, [2], 0, len(numbers))}, numbers)
    assert decode_safetensors(file).tensors["a"].tolist() == wanted


ENTRY = make_entry("I64", [1], 0, 8)
EIGHT = bytes(8)
BROKEN = {
    "overlap": make_file({"a": ENTRY, "b": ENTRY}, EIGHT),
    "half an overlap": make_file(
        {"a": make_entry("I64", [2], 0, 16), "b": make_entry("I64", [1], 8, 16)}, 2 * EIGHT
    ),
    "gap": make_file({"a": make_entry("I64", [1], 8, 16)}, 2 * EIGHT),
    "beyond the end": make_file({"a": make_entry("I64", [2], 0, 16)}, EIGHT),
    "backwards": make_file({"a": make_entry("I64", [0], 8, 0)}, EIGHT),
    "bytes left over": make_file({"a": ENTRY}, EIGHT + b"\0"),
    "bytes without tensors": make_file({}, EIGHT),
    "wrong length": make_file({"a": make_entry("I64", [2], 0, 8)}, EIGHT),
    "huge shape": make_file({"a": make_entry("I64", [2**62, 2**62, 0, 2**40], 0, 8)}, EIGHT),
    "negative length": make_file({"a": make_entry("I64", [-1, -1], 0, 8)}, EIGHT),
    "length that is true": make_file({"a": make_entry("I64", [True], 0, 8)}, EIGHT),
    "fractional offset": make_file({"a": {**ENTRY, "data_offsets": [0, 8.0]}}, EIGHT),
    "nine dimensions": make_file({"a": make_entry("I64", [1] * 9, 0, 8)}, EIGHT),
    "unknown kind": make_file({"a": make_entry("U64", [1], 0, 8)}, EIGHT),
    "other field": make_file({"a": {**ENTRY, "more": 1}}, EIGHT),
    "field missing": make_file({"a": {"dtype": "I64", "shape": [1]}}, EIGHT),
    "no name": make_file({"": ENTRY}, EIGHT),
    "half a surrogate pair": make_file({"\ud800": ENTRY}, EIGHT),
    "metadata that is no text": make_file({"__metadata__": {"a": 1}}),
    "metadata that is a list": make_file({"__metadata__": []}),
    "list": make_file([]),
    "space before": make_file({}, text=b" {}"),
    "line break after": make_file({}, text=b"{}\n"),
    "no UTF-8": make_file({}, text=b'{"\xff":1}'),
    "NaN": make_file({}, text=b'{"a":NaN}'),
    "deep": make_file({}, text=b'{"a":' + b"[" * 100_000 + b"}"),
    "long integer": make_file({}, text=b'{"a":' + b"9" * 10_000 + b"}"),
    "name twice": make_file({}, EIGHT, text=b'{"a":' + json.dumps(ENTRY).encode() + b',"a":1}'),
    "header cut off": struct.pack("<Q", 9) + b"{}",
    "length cut off": b"\0\0",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_files_that_break_the_format_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode_safetensors(data)
    assert refused.value.code == "malformed_file"


def test_headers_above_the_limit_are_neither_read_nor_written() -> None:
    file = make_file({}, text=b"{}" + b" " * HEADER_BYTES_MAX)
    with pytest.raises(InvalidInputError) as refused:
        decode_safetensors(file)
    assert refused.value.code == "too_large"
    with pytest.raises(InvalidInputError) as refused:
        encode_safetensors({}, {"text": "a" * HEADER_BYTES_MAX})
    assert refused.value.code == "too_large"


@pytest.mark.parametrize("name", ["", "__metadata__", "\ud800"])
def test_names_that_no_file_can_hold_are_refused(name: str) -> None:
    for encode in (encode_safetensors, encode_npz):
        with pytest.raises(InvalidInputError):
            encode({name: np.zeros(1, dtype=np.int64)})


def test_numpy_and_we_read_each_others_archives() -> None:
    stream = BytesIO()
    floats = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    np.savez_compressed(stream, weights=floats, counts=np.arange(3, dtype=">i2"))
    tensors = decode_npz(stream.getvalue()).tensors
    assert tensors["weights"].tolist() == floats.tolist()
    assert tensors["counts"].tolist() == [0, 1, 2]
    ours = np.load(BytesIO(encode_npz({"a": EXTREMES})), allow_pickle=False)
    assert are_equal(dict(ours), {"a": EXTREMES})


def make_archive(name: str, data: bytes, *, copies: int = 1) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for _ in range(copies):
            archive.writestr(name, data)
    return stream.getvalue()


def make_npy(array: np.ndarray, **options: bool) -> bytes:
    stream = BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_hold_something_else_are_refused() -> None:
    plain = make_npy(np.arange(3))
    huge = plain.replace(b"(3,), ", b"(3000000000000,), "[: len(b"(3,), ")])
    for data in (
        make_archive("a.npy", make_npy(np.array([{}]), allow_pickle=True)),
        make_archive("a.npy", make_npy(np.array(["text"]))),
        make_archive("a.npy", make_npy(np.array([1 + 2j]))),
        make_archive("a.npy", plain + b"\0"),
        make_archive("a.npy", huge),
        make_archive("a.txt", plain),
        make_archive("a.npy", plain, copies=2),
        make_archive("a.npy", b"\x93NUMPY\x01\x00\x05\x00{((("),
        b"PK\x05\x06",
    ):
        with pytest.raises(InvalidInputError) as refused:
            decode_npz(data)
        assert refused.value.code == "malformed_file"


def make_document(**changes: object) -> bytes:
    spec, state = make_model(get_family("nearest_centroid"), "classification")
    fields = json.loads(encode_document(ModelDocument(spec, state, ("a", "b", "c"))))
    return json.dumps({**fields, **changes}).encode()


def test_integers_beyond_what_floats_hold_are_text() -> None:
    spec = make_spec("external_tensors", "dense", 1, 0, None, {"a": (2, 2)})
    document = encode_document(ModelDocument(spec, {"a": EXTREMES}))
    written = json.loads(document)["tensors"]["a"]
    assert written[0] == ["4611686018427387904", "9007199254740993"]
    assert are_equal(decode_document(document).state, {"a": EXTREMES})


@pytest.mark.parametrize(
    "encoder",
    [StandardiseEncoder((1, 2, 3, 4, 5), (1, 1, 1, 1, 1)), None],
)
def test_encoder_is_part_of_the_document(encoder) -> None:
    spec, state = make_model(get_family("nearest_centroid"), "classification")
    document = encode_document(ModelDocument(spec, state, ("a", "b", "c"), encoder))
    assert decode_document(document).encoder == encoder


REFUSED_DOCUMENTS = [
    ({"format": "other"}, "malformed_file"),
    ({"version": 2}, "malformed_file"),
    ({"more": 1}, "malformed_file"),
    ({"spec": {}}, "malformed_file"),
    ({"spec": None}, "malformed_file"),
    ({"class_names": "abc"}, "malformed_file"),
    ({"class_names": ["a", "b", 3]}, "malformed_file"),
    ({"class_names": ["a", "b", "\ud800"]}, "malformed_file"),
    ({"class_names": ["a"]}, "wrong_class_count"),
    ({"encoder": ["unknown", 1]}, "invalid_encoder"),
    ({"encoder": ["scale", 1.0, 1, 0]}, "malformed_file"),
    ({"encoder": ["scale", {}, 1, 0]}, "malformed_file"),
    ({"encoder": ["scale", 1, 10**30, 0]}, "malformed_file"),
    ({"tensors": []}, "wrong_tensors"),
    ({"tensors": {}}, "wrong_tensors"),
    ({"tensors": {"sums": [], "counts": [1, 1, 1]}}, "wrong_tensors"),
    ({"tensors": {"sums": [[0] * 5] * 3, "counts": [1, 1, [1]]}}, "malformed_file"),
    ({"tensors": {"sums": [[0] * 5] * 3, "counts": [1, 1, 1.0]}}, "malformed_file"),
    ({"tensors": {"sums": [[0] * 5] * 3, "counts": [1, 1, True]}}, "malformed_file"),
    ({"tensors": {"sums": [[0] * 5] * 3, "counts": [1, 1, 2**63]}}, "malformed_file"),
    ({"tensors": {"sums": [[0] * 5] * 3, "counts": [1, 1, "0x1"]}}, "malformed_file"),
    ({"tensors": {"sums": [[0] * 5] * 3, "counts": [1, 1, "9" * 20]}}, "malformed_file"),
]


@pytest.mark.parametrize(("changes", "code"), REFUSED_DOCUMENTS, ids=str)
def test_documents_that_are_wrong_are_refused(changes: dict[str, object], code: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode_document(make_document(**changes))
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("family", "unknown"),
        ("family", 3),
        ("layout", "round"),
        ("feature_count", 1 << 40),
        ("class_count", 1),
        ("parameters", {"feature_limit": "text"}),
        ("parameters", {"unknown": 1}),
        ("parameters", []),
        ("tensors", {"a": [1]}),
    ],
)
def test_specs_that_are_wrong_are_refused(field: str, value: object) -> None:
    spec = json.loads(make_document())["spec"]
    with pytest.raises(InvalidInputError) as refused:
        decode_document(make_document(spec={**spec, field: value}))
    assert refused.value.code in ("invalid_spec", "unknown_family", "malformed_file")


def test_model_that_does_not_fit_its_spec_is_not_written() -> None:
    spec, state = make_model(get_family("nearest_centroid"), "classification")
    encoder = HashedWordsEncoder(8)
    for model in (
        ModelDocument(spec, state, ("a",), encoder),
        ModelDocument(spec, {"sums": state["sums"]}, ("a", "b", "c"), encoder),
    ):
        with pytest.raises(InvalidInputError):
            encode_document(model)


@pytest.mark.parametrize(("family", "task"), CASES, ids=case_id)
def test_published_package_reads_and_writes_the_same_bytes(family: ModelFamily, task: str) -> None:
    """Compares only where that package is installed; nothing here depends on it."""
    published = pytest.importorskip("safetensors.numpy")
    _, state = make_model(family, task)
    file = encode_safetensors(state, {"format": "quorate"})
    assert are_equal(dict(sorted(published.load(file).items())), dict(sorted(state.items())))
    assert published.save(state, {"format": "quorate"}) == file
    floats = {name: array.astype(np.float32) for name, array in state.items()}
    read = decode_safetensors(published.save(floats)).tensors
    assert all(np.array_equal(read[name], array) for name, array in floats.items())
