"""Worked examples for other implementations: bytes in, every number out, for each family."""

import json
from pathlib import Path

import numpy as np
import pytest

from ml_runtime.family import State, check_batch, learn_and_evaluate
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.samples import DenseSamples, Samples, SparseSamples, decode_batch, encode_batch
from ml_runtime.spec import decode_spec, make_spec
from primitives.codec import decode, encode

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "ml.json"
CLASSES, FEATURES = 3, 4
LABELS = (0, 2, 1, 1, 0, 2, 2, 0)

# Each row leans to its label; fractions make every rounding count.
ROWS = (
    (3 * ONE + 1, 0, 17, 0),
    (0, ONE // 3, 2 * ONE + 5, 1),
    (ONE, 4 * ONE - 3, 0, 0),
    (0, 2 * ONE + 7, ONE // 7, 12_345),
    (2 * ONE - 1, ONE // 2, 0, 0),
    (0, 0, 5 * ONE, 3),
    (ONE // 9, 0, ONE + 1, 0),
    (4 * ONE, 1, 0, 65_535),
)


def make_samples(layout: str, rows: tuple[tuple[int, ...], ...]) -> Samples:
    features = np.array(rows, dtype=np.int64)
    if layout == "dense":
        return DenseSamples(features)
    places, indices = np.nonzero(features)
    starts = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(np.bincount(places, minlength=len(rows)), out=starts[1:])
    return SparseSamples(
        starts, indices.astype(np.int64), features[places, indices], features.shape[1]
    )


def to_lists(state: State) -> dict[str, list]:
    return {name: array.tolist() for name, array in state.items()}


def compute_example(name: str, layout: str) -> dict[str, object]:
    """Return what two contributions of four samples each do to a new model."""
    family = get_family(name)
    spec = make_spec(name, layout, FEATURES, CLASSES)
    state = family.initial_state(spec)
    contributions = []
    for start in (0, 4):
        samples = make_samples(layout, ROWS[start : start + 4])
        labels = np.array(LABELS[start : start + 4], dtype=np.int64)
        predictions = learn_and_evaluate(family, spec, state, samples, labels)
        contributions.append(
            {
                "payload": encode_batch(samples, labels).hex(),
                "predictions_before": predictions.tolist(),
                "state_after": to_lists(state),
            }
        )
    asked = make_samples(layout, ROWS)
    return {
        "spec": encode(spec.to_fields()).hex(),
        "contributions": contributions,
        "scores_of_all": family.scores(spec, state, asked).tolist(),
        "predictions_of_all": family.predict(spec, state, asked).tolist(),
        "probabilities_of_all": family.probabilities(spec, state, asked).tolist(),
    }


def compute_examples() -> dict[str, object]:
    return {
        f"{family.name} {layout}": compute_example(family.name, layout)
        for family in FAMILIES
        for layout in ("dense", "sparse")
    }


@pytest.mark.parametrize("name", compute_examples())
def test_example_comes_out_as_it_is_written_down(name: str) -> None:
    written = json.loads(VECTORS.read_text())["examples"]
    assert compute_examples()[name] == written[name]


@pytest.mark.parametrize("name", compute_examples())
def test_example_can_be_followed_from_its_bytes_alone(name: str) -> None:
    example = json.loads(VECTORS.read_text())["examples"][name]
    spec = decode_spec(decode(bytes.fromhex(example["spec"]), bytes_max=4096))
    family = get_family(spec.family)
    family.check(spec)
    state = family.initial_state(spec)
    for contribution in example["contributions"]:
        samples, labels = decode_batch(bytes.fromhex(contribution["payload"]))
        check_batch(family, spec, samples, labels)
        predictions = learn_and_evaluate(family, spec, state, samples, labels)
        assert predictions.tolist() == contribution["predictions_before"]
        assert to_lists(state) == contribution["state_after"]


if __name__ == "__main__":
    print(json.dumps(compute_examples()))
