"""Files of tensors that say which model they are of: written, read, refused; cut for sending."""

import json

import numpy as np
import pytest

from ml_runtime.encoders import ScaleEncoder, VocabularyEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.models import averaged_perceptron
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples
from ml_runtime.spec import make_spec
from primitives.errors import InvalidInputError
from quorate.model_files.beginnings import begin_again
from quorate.model_files.document import (
    DESCRIPTION,
    DESCRIPTION_CHARACTERS_MAX,
    ModelDocument,
    decode_described,
    encode_description,
)
from quorate.model_files.model_file import decode_model_file, encode_model_file
from quorate.model_files.tensors import TensorFile, cut_safetensors, encode_safetensors

NAMES = ("left", "middle", "right")
SPEC = make_spec("softmax_regression", "dense", 5, 3, {"momentum": ONE // 2})
STATE = {
    "weights": np.arange(18, dtype=np.int64).reshape(3, 6) << 30,
    "velocity": np.ones((3, 6), dtype=np.int64),
    "steps": np.array([7], dtype=np.int64),
}
MODEL = ModelDocument(SPEC, STATE, NAMES, ScaleEncoder(scale=ONE // 16, offset=0))


@pytest.mark.parametrize("ending", [".safetensors", ".json"])
def test_a_file_says_what_it_is_of(ending: str) -> None:
    data = encode_model_file(MODEL, ending, {"version": "7"})
    assert data == encode_model_file(MODEL, ending, {"version": "7"})
    document = decode_model_file(data, ending).document
    assert document is not None
    assert (document.spec, document.class_names) == (SPEC, NAMES)
    assert document.encoder == MODEL.encoder
    for name, tensor in STATE.items():
        assert np.array_equal(document.state[name], tensor)


def test_an_archive_and_files_of_others_say_nothing() -> None:
    for data, ending in (
        (encode_model_file(MODEL, ".npz", {}), ".npz"),
        (encode_safetensors(STATE, {"made by": "another"}), ".safetensors"),
    ):
        file = decode_model_file(data, ending)
        assert file.document is None
        assert set(file.tensors) == set(STATE)


def test_a_description_that_would_fill_the_header_is_left_out() -> None:
    words = tuple(f"{number:08d}" * 4 for number in range(20_000))
    assert sum(map(len, words)) > DESCRIPTION_CHARACTERS_MAX
    assert encode_description(SPEC, NAMES, VocabularyEncoder(words)) == {}
    assert list(encode_description(SPEC, NAMES, VocabularyEncoder(words[:9]))) == [DESCRIPTION]


def describe(**changes: object) -> dict[str, str]:
    fields = json.loads(encode_description(SPEC, NAMES, None)[DESCRIPTION])
    return {DESCRIPTION: json.dumps(fields | changes)}


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({DESCRIPTION: "nonsense"}, "malformed_file"),
        ({DESCRIPTION: "[]"}, "malformed_file"),
        ({DESCRIPTION: "[" * 100_000}, "malformed_file"),
        (describe(format="another"), "malformed_file"),
        (describe(version=2), "malformed_file"),
        (describe(more=1), "malformed_file"),
        (describe(class_names=[1, 2, 3]), "malformed_file"),
        (describe(class_names=["one"]), "wrong_class_count"),
        (describe(encoder=["unknown", 1]), "invalid_encoder"),
        (describe(spec={}), "malformed_file"),
    ],
)
def test_a_description_of_unknown_origin_is_read_or_refused(
    metadata: dict[str, str], code: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        decode_described(TensorFile(dict(STATE), metadata))
    assert refused.value.code == code


def test_tensors_that_are_not_those_of_the_description_are_refused() -> None:
    floats = {**STATE, "weights": STATE["weights"].astype(np.float64)}
    lacking = {"weights": STATE["weights"]}
    for tensors, code in ((floats, "malformed_file"), (lacking, "wrong_tensors")):
        with pytest.raises(InvalidInputError) as refused:
            decode_described(TensorFile(tensors, describe()))
        assert refused.value.code == code


def test_a_file_is_cut_into_pieces_that_are_the_whole() -> None:
    numbers = np.arange(300_000, dtype=np.int64).reshape(3, -1)
    for state in ({"wide": numbers, "turned": numbers.T}, {"empty": numbers[:0]}, {}):
        pieces = list(cut_safetensors(state))
        assert max(map(len, pieces)) <= 1 << 20
        assert b"".join(pieces) == encode_safetensors(state)
    with pytest.raises(InvalidInputError):
        cut_safetensors({"": numbers})


def test_a_model_begins_again_without_its_past_and_answers_alike() -> None:
    after, notes = begin_again(SPEC, STATE)
    assert np.array_equal(after["weights"], STATE["weights"])
    assert not after["velocity"].any()
    assert after["steps"].tolist() == [0]
    assert [note.split()[0] for note in notes] == ["steps", "velocity"]
    assert STATE["steps"].tolist() == [7]


def test_a_perceptron_begins_again_with_its_averages() -> None:
    spec = make_spec("averaged_perceptron", "dense", 5, 3)
    generator = np.random.default_rng(4)
    family = get_family(spec.family)
    assert isinstance(family, averaged_perceptron.AveragedPerceptron)
    state = family.initial_state(spec)
    samples = DenseSamples(generator.integers(-ONE, ONE, (60, 5)))
    family.update(spec, state, samples, generator.integers(0, 3, 60))
    after, _ = begin_again(spec, state)
    family.check_state(spec, after)
    assert not np.array_equal(after["weights"], state["weights"])
    before = family.scores(spec, state, samples)
    assert np.array_equal(family.scores(spec, after, samples), before)
    untaught = family.initial_state(spec)
    assert not begin_again(spec, untaught)[0]["weights"].any()
