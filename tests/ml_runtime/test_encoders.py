"""Encoders make the same integers in Python, in JavaScript and in the vectors, of anything.

``python -m tests.ml_runtime.test_encoders`` writes the vectors.
"""

import hashlib
import json
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_runtime.encoders import (
    CategoryColumn,
    EmbeddingEncoder,
    Encoder,
    HashedWordsEncoder,
    OneHotEncoder,
    ScaleEncoder,
    StandardiseEncoder,
    VocabularyEncoder,
    decode_encoder,
    word_tables,
)
from ml_runtime.encoders.murmur_hash import compute_murmur_hash
from ml_runtime.encoders.one_hot import CATEGORIES_BYTES_MAX
from ml_runtime.encoders.vocabulary import VOCABULARY_BYTES_MAX
from ml_runtime.encoders.words import TEXT_BYTES_MAX, split_words
from ml_runtime.samples import SparseSamples
from primitives.codec import decode, encode
from primitives.errors import InvalidInputError

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS = ROOT / "tests" / "vectors" / "encoders.json"
TWIN = ROOT / "quorate" / "edge" / "encoders.mjs"
RUN_TWIN = ROOT / "tests" / "ml_runtime" / "run_encoders.mjs"
NODE = shutil.which("node")

# JSON has no word for these.
NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
LIMIT = 2**48

TEXTS = [
    "",
    "   \t\n",
    "The cat sat on the mat, and THE Cat was fat.",
    "Don't re-use under_score a.b@c.example 3.14 1,000",
    "\U0001f600 \U0001f600\U0001f3fd \u2764\ufe0f 1\ufe0f\u20e3 \U0001f468\u200d\U0001f469",
    "ok\U0001f600ok",
    "e\u0301te\u0301 \u00e9t\u00e9 \u0301lone n\u0303\u0303 A\u030aB",
    "\u0130stanbul I\u0130\u0131i ISPARTA",
    "Stra\u00dfe STRASSE STRA\u1e9eE",
    "\u039f\u0394\u039f\u03a3 \u03bf\u03b4\u03cc\u03c2 \u03a3",
    "\u4eca\u65e5\u306f\u4e16\u754c\u3002\u4f60\u597d\uff0c\uff21\uff11 \U00020000\U0002a6d6",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
    "\U00010400\U00010428 \u13a0\uab70 \u1c90\u10d0 \u01c4\u01c5\u01c6",
    "\u24b6 \u2160 \u2126\u212a\u212b",
    "\u00bd \u00b2 \u0664\u0662 \u2167 5\u00ba \u00aa",
    # Letters since Unicode 15.0, 16.0 and 17.0: for good, they are none.
    "a\U00011f04b a\U00010d50b a\ua7ceb",
    "x" * 300 + " " + "\u00fc" * 33,
    "a\u00a0b\u200bc\u00add\ufeffe\u2028f\u0000g",
    "one two one two one",
]
HALF_PAIR = "a\ud800b"

ROWS = [
    [],
    [[0, 1, -1], [0.5, 1.5, -0.5]],
    [[1 / 65536 / 2, -1 / 65536 / 2, 3 / 65536 / 2], [-3 / 65536 / 2, 1e-300, -1e-300]],
    [[0.1, 0.2, 0.3], [1 / 3, -2 / 3, 1e-5], [5e-324, 0.49999999999999994, -0.0]],
    [[65536, 1e6, -123456.789]],
    [["NaN", 0, 0]],
    [[0, 0, 0], [0, 0, "-Infinity"]],
    [[0, "Infinity", 1e300]],
    [[1e300, 0, 0]],
    [[0, -1e30, 0]],
    [["x", 0, 0]],
    [[1, 2], [3]],
    [[1, 2]],
    [[1, 2, 3, 4], ["NaN", 0, 0, 0]],
]

NAMED = [["colour", ["red", "green", "blue"]], ["size", ["S", ""]], ["colour ", ["red"]]]
CATEGORY_ROWS = [
    [],
    [["red", "S", "red"], ["blue", "", "x"], ["", "M", "Red"]],
    [{"size": "S", "colour ": "red", "colour": "green"}],
    [{"size": "S", "colour": "green"}],
    [{"size": "S", "colour": "green", "colour ": "red", "more": "x"}],
    [["red", "S"]],
    [["red", "S", "red", "red"]],
    [["red", "S", 7]],
    [["red", "S", None]],
    [["red", HALF_PAIR, "red"]],
    ["red"],
    [None],
]

ENCODERS = [
    (["scale", 1, 65536, 0], ROWS),
    (["scale", 1, 32768, 65536], ROWS),
    (["scale", 1, -LIMIT, LIMIT], ROWS),
    (["standardise", 1, [0, 32768, -98304], [65536, 32768, 7]], ROWS),
    (["standardise", 1, [6554, 13107, 19661], [0, 1, LIMIT]], ROWS),
    (["embedding", 1, 3, 0, LIMIT, 65536], ROWS),
    (["embedding", 1, 3, 65536, 65536, 65536], [[[0.6, 0.8, 0], [1, 0, 0]], [[0, 0, 0]]]),
    (
        ["embedding", 1, 3, 64881, 66191, 262144],
        [[[0.6, 0.8, 0], [-0.57735027, 0.57735027, 0.57735027]], [[1, 0, 0], [1, 1, 0]], *ROWS],
    ),
    *(
        (fields, [[], TEXTS, [HALF_PAIR], ["ok", 7], [None]])
        for fields in (
            ["hashed_words", 1, 8, 1, 1, 0, 65536],
            ["hashed_words", 1, 18, 1, 2, 1, 65536],
            ["hashed_words", 1, 24, 2, 3, 1, 1],
            ["hashed_words", 1, 10, 3, 3, 0, LIMIT],
        )
    ),
    (["hashed_words", 1, 24, 1, 1, 0, LIMIT], [["once"], ["twice twice"]]),
    *(
        (["vocabulary", 1, words, weight], [[], TEXTS, [HALF_PAIR], ["ok", 7]])
        for words, weight in (
            (["the", "cat", "stra\u00dfe", "istanbul", "\u03bf\u03b4\u03bf\u03c3"], 65536),
            (["two", "one", "1", "\U00010428\U00010428", "e\u0301te\u0301", "\u00e9t\u00e9"], 3),
        )
    ),
    (["vocabulary", 1, ["one"], LIMIT], [["one"], ["", "ONE one"]]),
    (["one_hot", 1, NAMED, 0], CATEGORY_ROWS),
    (["one_hot", 1, NAMED, 1], CATEGORY_ROWS),
]

REFUSED_DEFINITIONS = [
    5,
    None,
    [],
    [1, 1],
    ["hash", 1, 1, 1],
    ["constructor", 1],
    ["scale", 2, 1, 1],
    ["scale", 1, 1],
    ["scale", 1, 1, 1, 1],
    ["scale", True, 1, 1],
    ["scale", 1, LIMIT + 1, 1],
    ["scale", 1, "1", 1],
    ["standardise", 1, [], []],
    ["standardise", 1, [1], []],
    ["standardise", 1, [1], [-1]],
    ["standardise", 1, [LIMIT + 1], [1]],
    ["standardise", 1, [True], [1]],
    ["standardise", 1, 1, [1]],
    ["hashed_words", 1, 7, 1, 1, 0, 1],
    ["hashed_words", 1, 25, 1, 1, 0, 1],
    ["hashed_words", 1, 8, 0, 1, 0, 1],
    ["hashed_words", 1, 8, 2, 1, 0, 1],
    ["hashed_words", 1, 8, 1, 4, 0, 1],
    ["hashed_words", 1, 8, 1, 1, 2, 1],
    ["hashed_words", 1, 8, 1, 1, False, 1],
    ["hashed_words", 1, 8, 1, 1, 0, 0],
    ["vocabulary", 1, [], 1],
    ["vocabulary", 1, ["a", "a"], 1],
    ["vocabulary", 1, ["A"], 1],
    ["vocabulary", 1, ["a b"], 1],
    ["vocabulary", 1, [""], 1],
    ["vocabulary", 1, ["\u0301"], 1],
    ["vocabulary", 1, [1], 1],
    ["vocabulary", 1, ["a"], 0],
    ["vocabulary", 1, ["\u00fc" * (VOCABULARY_BYTES_MAX // 2) + "a"], 1],
    ["one_hot", 1, [], 0],
    ["one_hot", 1, [["a", []]], 0],
    ["one_hot", 1, [["a", ["x", "x"]]], 0],
    ["one_hot", 1, [["a", ["x"]], ["a", ["y"]]], 0],
    ["one_hot", 1, [["a", ["x"], 1]], 0],
    ["one_hot", 1, [["a", [1]]], 0],
    ["one_hot", 1, [[1, ["x"]]], 0],
    ["one_hot", 1, [["a", ["x"]]], 2],
    ["one_hot", 1, [["a", ["\u00fc" * (CATEGORIES_BYTES_MAX // 2)]]], 0],
    ["embedding", 1, 0, 0, 1, 1],
    ["embedding", 1, 2**24 + 1, 0, 1, 1],
    ["embedding", 1, 1, 2, 1, 1],
    ["embedding", 1, 1, -1, 1, 1],
    ["embedding", 1, 1, 0, LIMIT + 1, 1],
]

# As published: Wikipedia's article MurmurHash, and Ian Boyd's answer on Stack Overflow 14747343.
HASHES = [
    (b"", 0, 0),
    (b"", 1, 0x514E28B7),
    (b"", 0xFFFFFFFF, 0x81F16F39),
    (b"\xff\xff\xff\xff", 0, 0x76293B50),
    (b"\x21\x43\x65\x87", 0, 0xF55B516B),
    (b"\x21\x43\x65\x87", 0x5082EDEE, 0x2362F9DE),
    (b"\x21\x43\x65", 0, 0x7E4A8634),
    (b"\x21\x43", 0, 0xA0F7B07A),
    (b"\x21", 0, 0x72661CF4),
    (b"\0\0\0\0", 0, 0x2362F9DE),
    (b"\0\0\0", 0, 0x85F0B427),
    (b"\0\0", 0, 0x30F4C306),
    (b"\0", 0, 0x514E28B7),
    (b"aaaa", 0x9747B28C, 0x5A97808A),
    (b"aaa", 0x9747B28C, 0x283E0130),
    (b"aa", 0x9747B28C, 0x5D211726),
    (b"a", 0x9747B28C, 0x7FA09EA6),
    (b"Hello, world!", 0x9747B28C, 0x24884CBA),
    ("\u03c0".encode() * 8, 0x9747B28C, 0xD58063C1),
    (b"The quick brown fox jumps over the lazy dog", 0x9747B28C, 0x2FA826CD),
]


def revive_numbers(value):
    if isinstance(value, list):
        return [revive_numbers(each) for each in value]
    return NUMBERS.get(value, value) if isinstance(value, str) else value


def run_encoder(encoder: Encoder, rows) -> object:
    if encoder.takes in ("numbers", "rows"):
        return encoder.encode(revive_numbers(rows)).tolist()
    samples = encoder.encode_rows(rows)
    return {
        "rowStarts": samples.row_starts.tolist(),
        "indices": samples.indices.tolist(),
        "values": samples.values.tolist(),
        "featureCount": samples.feature_count,
    }


def run_case(encoder: Encoder, rows) -> dict[str, object]:
    try:
        return {"rows": rows, "result": run_encoder(encoder, rows)}
    except InvalidInputError as refused:
        return {"rows": rows, "code": refused.code, "field": refused.field}


def build_encoder_vector(fields, inputs) -> dict[str, object]:
    encoder = decode_encoder(fields)
    return {
        "fields": fields,
        "takes": encoder.takes,
        "featureCount": encoder.feature_count(),
        "cases": [run_case(encoder, rows) for rows in inputs],
    }


def refusal_of(fields) -> str:
    with pytest.raises(InvalidInputError) as refused:
        decode_encoder(fields)
    return refused.value.code


def build_vectors() -> dict[str, object]:
    return {
        "encoders": [build_encoder_vector(fields, inputs) for fields, inputs in ENCODERS],
        "refused_definitions": [
            {"fields": fields, "code": refusal_of(fields)} for fields in REFUSED_DEFINITIONS
        ],
        "words": [{"text": text, "words": split_words(text)} for text in TEXTS],
        "hashes": [
            {"data": data.hex(), "seed": seed, "hash": compute_murmur_hash(data, seed)}
            for data, seed, _ in HASHES
        ],
    }


def read_vectors() -> dict[str, object]:
    return json.loads(VECTORS.read_text(encoding="ascii"))


@pytest.mark.parametrize("part", ["encoders", "refused_definitions", "words", "hashes"])
def test_encoders_make_what_is_written_down(part: str) -> None:
    assert build_vectors()[part] == read_vectors()[part]


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("part", ["encoders", "refused_definitions", "words", "hashes"])
def test_javascript_makes_what_is_written_down(part: str) -> None:
    with VECTORS.open("rb") as vectors:
        run = subprocess.run(
            [str(NODE), str(RUN_TWIN)], stdin=vectors, check=True, capture_output=True, timeout=60
        )
    assert json.loads(run.stdout)[part] == read_vectors()[part]


def test_javascript_has_the_same_tables_of_words() -> None:
    source = TWIN.read_text(encoding="utf-8")
    for name in ("STARTS", "MARKS", "LOWER"):
        found = re.search(rf"const {name} = `([^`]*)`", source)
        assert found is not None
        assert found[1].split() == getattr(word_tables, name).split()


@pytest.mark.parametrize(("data", "seed", "hashed"), HASHES)
def test_hash_is_the_published_one(data: bytes, seed: int, hashed: int) -> None:
    assert compute_murmur_hash(data, seed) == hashed


@given(st.binary(max_size=50), st.integers(0, 2**32 - 1))
def test_hash_agrees_with_another_implementation(data: bytes, seed: int) -> None:
    murmur = pytest.importorskip("sklearn.utils").murmurhash3_32
    assert compute_murmur_hash(data, seed) == murmur(data, seed=seed, positive=True)


def points_of(ranges) -> set[int]:
    return {point for first, last in ranges for point in range(first, last + 1)}


@pytest.mark.skipif(
    unicodedata.unidata_version != "14.0.0", reason="this interpreter has other tables of Unicode"
)
def test_tables_of_words_are_those_of_unicode_14() -> None:
    by_category: dict[str, set[int]] = {}
    for point in range(0x110000):
        by_category.setdefault(unicodedata.category(chr(point))[0], set()).add(point)
    assert points_of(word_tables.compute_starts()) == by_category["L"] | by_category["N"]
    assert points_of(word_tables.compute_marks()) == by_category["M"]
    # The one letter whose full lower case is longer begins with its simple one.
    lower = {point: ord(chr(point).lower()[0]) for point in by_category["L"] | by_category["N"]}
    different = {point: small for point, small in lower.items() if point != small}
    assert word_tables.compute_lower_case() == different


def test_tables_of_words_have_the_digest_that_the_specification_gives() -> None:
    numbers = [
        number
        for pairs in (
            word_tables.compute_starts(),
            word_tables.compute_marks(),
            sorted(word_tables.compute_lower_case().items()),
        )
        for pair in pairs
        for number in pair
    ]
    digest = hashlib.sha256(np.array(numbers, dtype="<u4").tobytes()).hexdigest()
    assert digest in (ROOT / "docs" / "spec" / "ml.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "fields",
    [
        ["standardise", 1, [0] * 4097, [0] * 4097],
        ["one_hot", 1, [[str(number), ["x"]] for number in range(1025)], 0],
        ["one_hot", 1, [["a", [str(number) for number in range(4097)]]], 0],
    ],
)
def test_definition_beyond_a_limit_is_refused(fields) -> None:
    assert refusal_of(fields) == "invalid_encoder"


constants = st.integers(-LIMIT, LIMIT)
weights = st.integers(1, LIMIT)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
categories = st.lists(names, min_size=1, max_size=5, unique=True).map(tuple)


@st.composite
def hashed_words(draw):
    words_min = draw(st.integers(1, 3))
    return HashedWordsEncoder(
        draw(st.integers(8, 24)),
        words_min,
        draw(st.integers(words_min, 3)),
        draw(st.booleans()),
        draw(weights),
    )


@st.composite
def standardisers(draw):
    pairs = draw(st.lists(st.tuples(constants, st.integers(0, LIMIT)), min_size=1, max_size=9))
    return StandardiseEncoder(tuple(mean for mean, _ in pairs), tuple(scale for _, scale in pairs))


@st.composite
def vocabularies(draw):
    words = split_words(draw(names) + " word " + draw(names))
    return VocabularyEncoder(tuple(dict.fromkeys(words)), draw(weights))


@st.composite
def one_hots(draw):
    columns = draw(st.dictionaries(names, categories, min_size=1, max_size=4))
    return OneHotEncoder(
        tuple(CategoryColumn(name, listed) for name, listed in columns.items()),
        draw(st.booleans()),
    )


@st.composite
def embeddings(draw):
    low = draw(st.integers(0, LIMIT))
    high = draw(st.integers(low, LIMIT))
    return EmbeddingEncoder(draw(st.integers(1, 2**24)), low, high, draw(constants))


encoders = st.one_of(
    st.builds(ScaleEncoder, constants, constants),
    standardisers(),
    hashed_words(),
    vocabularies(),
    one_hots(),
    embeddings(),
)


@given(encoders)
def test_definition_comes_back(encoder: Encoder) -> None:
    fields = decode(encode(encoder.to_fields()), bytes_max=64 * 1024)
    assert decode_encoder(fields) == encoder


values = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | names | st.binary(max_size=4)
)
kinds = st.sampled_from([fields[0] for fields, _ in ENCODERS])


@given(
    st.lists(st.recursive(values, lambda inner: st.lists(inner, max_size=4)), max_size=6),
    kinds,
)
def test_any_definition_is_read_or_refused(rest: list, kind: str) -> None:
    try:
        assert decode_encoder([kind, 1, *rest]).to_fields() == [kind, 1, *rest]
    except InvalidInputError as refused:
        assert refused.code == "invalid_encoder"


@given(st.text(max_size=60))
def test_words_of_words_are_the_same_words(text: str) -> None:
    words = split_words(text)
    assert split_words(" ".join(words)) == words


@given(hashed_words(), st.lists(names, max_size=4))
def test_hashed_samples_are_in_order(encoder: HashedWordsEncoder, texts: list[str]) -> None:
    samples = encoder.encode_rows(texts)
    assert isinstance(samples, SparseSamples)
    assert len(samples.row_starts) == len(texts) + 1
    for start, end in zip(samples.row_starts[:-1], samples.row_starts[1:], strict=True):
        assert (np.diff(samples.indices[start:end]) > 0).all()
    assert (samples.values != 0).all()


def test_signed_words_that_collide_cancel_out() -> None:
    encoder = HashedWordsEncoder(8, is_signed=True)
    up = {}
    down = {}
    for number in range(2_000):
        hashed = compute_murmur_hash(f"w{number}".encode())
        (down if hashed >> 31 else up).setdefault(hashed % 256, f"w{number}")
    index = next(index for index in up if index in down)
    samples = encoder.encode_rows([f"{up[index]} {down[index]}", up[index]])
    assert samples.row_starts.tolist() == [0, 0, 1]
    assert samples.values.tolist() == [65536]


@pytest.mark.parametrize(
    ("encoder", "count"),
    [
        (StandardiseEncoder((0, 0), (1, 1)), 3),
        (EmbeddingEncoder(2, 0, 65536), 3),
        (OneHotEncoder((CategoryColumn("a", ("x", "y")),)), 3),
    ],
)
def test_feature_count_refuses_rows_of_another_length(encoder: Encoder, count: int) -> None:
    assert encoder.feature_count() == 2
    with pytest.raises(InvalidInputError) as refused:
        encoder.feature_count(count)
    assert refused.value.code == "wrong_feature_count"


def test_feature_count_of_scaled_numbers_and_texts_is_open_or_fixed() -> None:
    assert ScaleEncoder().feature_count() is None
    assert ScaleEncoder().feature_count(7) == 7
    assert HashedWordsEncoder(10).feature_count(7) == 1024
    assert VocabularyEncoder(("a", "b")).feature_count(7) == 2


@pytest.mark.parametrize(
    ("attempt", "code"),
    [
        (lambda: HashedWordsEncoder(8).encode([[1.0]]), "malformed"),
        (lambda: ScaleEncoder().encode_rows(["text"]), "malformed"),
        (lambda: HashedWordsEncoder(8).encode_rows("text"), "malformed"),
        (lambda: HashedWordsEncoder(8).encode_rows(["x" * (TEXT_BYTES_MAX + 1)]), "too_large"),
        (lambda: OneHotEncoder((CategoryColumn("a", ("x",)),)).encode_rows("x"), "malformed"),
        (lambda: ScaleEncoder().encode([[10**400]]), "malformed"),
        (lambda: EmbeddingEncoder(1, 0, 1).encode([[[1.0]]]), "malformed"),
    ],
)
def test_input_of_another_kind_is_refused(attempt, code: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        attempt()
    assert refused.value.code == code
    assert refused.value.field


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(build_vectors(), indent=1) + "\n", encoding="ascii")
