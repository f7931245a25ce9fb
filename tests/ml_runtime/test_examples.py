"""Worked examples for other implementations: bytes in, every number out, for each family."""

import json
from pathlib import Path

import numpy as np
import pytest

from ml_runtime.evaluation import learn_and_evaluate
from ml_runtime.family import State, check_batch
from ml_runtime.fixed_point import ONE
from ml_runtime.registry import FAMILIES, get_family
from ml_runtime.samples import (
    Batch,
    DenseSamples,
    Samples,
    SparseSamples,
    decode_batch,
    encode_batch,
)
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


SETTINGS = {
    "k_means": {"groups": 2, "seed_samples": 3},
    "gaussian_mixture": {"groups": 2, "seed_samples": 3, "interval": 2},
    "hoeffding_tree": {"low": 0, "high": 8 * ONE, "bins": 4, "grace": 3, "leaves": 3},
    "nearest_neighbours": {"capacity": 5, "neighbours": 3},
    "principal_components": {"components": 2},
    "multilayer_perceptron": {"hidden1": 3, "hidden2": 2, "rate": ONE // 10, "momentum": 30_000},
    "softmax_regression": {"rate": ONE // 2, "schedule": 2, "schedule_samples": 3},
    "logistic_regression": {"rate": ONE // 2, "schedule": 1, "schedule_samples": 3},
    "linear_regression": {"rate": ONE // 50},
}
"""Small models that begin, grow and split within eight samples."""

NAMES = [
    f"{family.name} {layout} {task}"
    for family in FAMILIES
    for layout in family.layouts
    for task in family.tasks
    if task != "none"
]


def compute_example(name: str) -> dict[str, object]:
    """Return what two contributions of four samples each do to a new model."""
    family_name, layout, task = name.split()
    family = get_family(family_name)
    classes = CLASSES if task == "classification" else 0
    spec = make_spec(family_name, layout, FEATURES, classes, SETTINGS.get(family_name))
    family.check(spec)
    state = family.initial_state(spec)
    kind = {"classification": "labels", "regression": "values"}.get(task, "none")
    contributions = []
    for start in (0, 4):
        samples = make_samples(layout, ROWS[start : start + 4])
        targets = np.array(LABELS[start : start + 4], dtype=np.int64)
        if kind != "labels":
            targets = (targets * ONE - 5) * (kind == "values")
        batch = Batch(samples, targets, kind)
        evaluation = learn_and_evaluate(family, spec, state, batch)
        contributions.append(
            {
                "payload": encode_batch(samples, targets, kind).hex(),
                "predictions_before": evaluation.predictions.tolist(),
                "agreed_before": evaluation.agreed.tolist(),
                "losses_before": evaluation.losses.tolist(),
                "state_after": to_lists(state),
            }
        )
    asked = make_samples(layout, ROWS)
    example = {
        "spec": encode(spec.to_fields()).hex(),
        "contributions": contributions,
        "scores_of_all": family.scores(spec, state, asked).tolist(),
        "predictions_of_all": family.predict(spec, state, asked).tolist(),
    }
    if task != "regression" and family_name != "principal_components":
        example["probabilities_of_all"] = family.probabilities(spec, state, asked).tolist()
    return example


def compute_examples() -> dict[str, object]:
    return {name: compute_example(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_example_comes_out_as_it_is_written_down(name: str) -> None:
    written = json.loads(VECTORS.read_text())["examples"]
    assert compute_example(name) == written[name]


@pytest.mark.parametrize("name", NAMES)
def test_example_can_be_followed_from_its_bytes_alone(name: str) -> None:
    example = json.loads(VECTORS.read_text())["examples"][name]
    spec = decode_spec(decode(bytes.fromhex(example["spec"]), bytes_max=4096))
    family = get_family(spec.family)
    family.check(spec)
    state = family.initial_state(spec)
    for contribution in example["contributions"]:
        batch = decode_batch(bytes.fromhex(contribution["payload"]))
        check_batch(family, spec, batch.samples, batch.targets)
        evaluation = learn_and_evaluate(family, spec, state, batch)
        assert evaluation.predictions.tolist() == contribution["predictions_before"]
        assert evaluation.losses.tolist() == contribution["losses_before"]
        assert to_lists(state) == contribution["state_after"]


if __name__ == "__main__":
    # Imported here: the kernels' cases need more than the worked examples.
    from tests.ml_runtime.test_kernels import compute_digests

    vectors = {"examples": compute_examples(), "kernels": compute_digests()}
    VECTORS.write_text(json.dumps(vectors, separators=(",", ":")) + "\n")
