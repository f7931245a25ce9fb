"""Built-in data and people's own files: read, split, and refused where they are nonsense."""

from pathlib import Path

import numpy as np
import pytest

from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, SparseSamples, sample_count
from node.agents.data_sets import load_data
from primitives.errors import InvalidInputError


def make_table(count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(5)
    labels = np.arange(count) % 3
    return chance.normal(labels[:, None] * 50, 3, (count, 4)), labels


def write_npz(path: Path, **arrays: np.ndarray) -> str:
    np.savez(path, **arrays)
    return str(path)


def write_csv(path: Path, lines: list[str]) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def test_digits_are_split_the_same_way_for_a_seed() -> None:
    data, again, other = load_data("digits", 1), load_data("digits", 1), load_data("digits", 2)
    assert isinstance(data.samples, DenseSamples)
    assert isinstance(again.samples, DenseSamples)
    assert (len(data.labels), len(data.held_out_labels)) == (1198, 599)
    assert data.samples.features.max() == ONE
    assert (data.samples.features == again.samples.features).all()
    assert (data.labels != other.labels).any()


def test_made_up_reviews_have_twenty_different_words_each() -> None:
    data = load_data("words", 4)
    assert isinstance(data.samples, SparseSamples)
    assert sample_count(data.samples) == 8_000
    assert len(data.held_out_labels) == 2_000
    assert set(np.diff(data.samples.row_starts)) == {20}
    rows = data.samples.indices.reshape(-1, 20)
    assert (np.diff(rows, axis=1) > 0).all()
    assert 0.4 < data.labels.mean() < 0.6


def test_a_file_of_arrays_is_standardised_by_what_is_learnt_from(tmp_path: Path) -> None:
    features, labels = make_table()
    features[:, 3] = 7
    names = np.array(["low", "middle", "high"])[labels]
    data = load_data(write_npz(tmp_path / "own.npz", features=features, labels=names), 1)
    assert isinstance(data.samples, DenseSamples)
    assert data.name == "own.npz"
    assert data.class_names == ("high", "low", "middle")
    assert (len(data.labels), len(data.held_out_labels)) == (40, 20)
    means = data.samples.features.mean(axis=0) / ONE
    deviations = data.samples.features.std(axis=0) / ONE
    assert np.abs(means).max() < 0.01
    assert np.abs(deviations[:3] - 1).max() < 0.01
    # What is the same everywhere says nothing.
    assert deviations[3] == 0


def test_a_table_of_text_equals_the_same_as_arrays(tmp_path: Path) -> None:
    features, labels = make_table()
    lines = ["a,b,c,d,class"]
    lines += [
        ",".join([*map(repr, map(float, row)), f"c{label}"])
        for row, label in zip(features, labels, strict=True)
    ]
    text = load_data(write_csv(tmp_path / "own.csv", lines), 3)
    arrays = load_data(
        write_npz(tmp_path / "own.npz", features=features, labels=labels.astype(bool) + labels), 3
    )
    assert isinstance(text.samples, DenseSamples)
    assert isinstance(arrays.samples, DenseSamples)
    assert (text.samples.features == arrays.samples.features).all()
    assert text.class_names == ("c0", "c1", "c2")


def test_outliers_are_cut_off(tmp_path: Path) -> None:
    features, labels = make_table(2_000)
    features[0] = 1e6
    data = load_data(write_npz(tmp_path / "own.npz", features=features, labels=labels), 1)
    assert isinstance(data.samples, DenseSamples)
    assert isinstance(data.held_out, DenseSamples)
    both = np.concatenate([data.samples.features, data.held_out.features])
    assert np.abs(both).max() == 8 * ONE


FEATURES, LABELS = make_table()
WITH_NAN = np.where(np.arange(4) == 2, np.nan, FEATURES)
HUGE = FEATURES * 1e30

BAD_ARRAYS = {
    "no labels": ({"features": FEATURES}, "features and labels"),
    "one dimension": ({"features": FEATURES[:, 0], "labels": LABELS}, "table of 1 to"),
    "no columns": ({"features": FEATURES[:, :0], "labels": LABELS}, "table of 1 to"),
    "too wide": ({"features": np.zeros((60, 4_097)), "labels": LABELS}, "table of 1 to"),
    "other length": ({"features": FEATURES, "labels": LABELS[:-1]}, "as many labels"),
    "too few": ({"features": FEATURES[:20], "labels": LABELS[:20]}, "30 to"),
    "not finite": ({"features": WITH_NAN, "labels": LABELS}, "no finite number"),
    "words": ({"features": np.full((60, 4), "x"), "labels": LABELS}, "must be numbers"),
    "one class": ({"features": FEATURES, "labels": np.zeros(60, dtype=int)}, "2 to 100 classes"),
    "as many classes as samples": (
        {"features": np.zeros((200, 2)), "labels": np.arange(200)},
        "2 to 100 classes",
    ),
    "labels with a point": ({"features": FEATURES, "labels": LABELS / 2}, "integers or text"),
    "long names": (
        {"features": FEATURES, "labels": np.array(["x" * 65, "y", "z"])[LABELS]},
        "at most 64 bytes",
    ),
    "objects": ({"features": FEATURES, "labels": LABELS.astype(object)}, "allow_pickle"),
    "too large": ({"features": HUGE, "labels": LABELS}, "too large"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_arrays_that_make_no_sense_are_refused(name: str, tmp_path: Path) -> None:
    arrays, words = BAD_ARRAYS[name]
    with pytest.raises(InvalidInputError) as refused:
        load_data(write_npz(tmp_path / "own.npz", **arrays), 1)
    assert refused.value.code == "malformed"
    assert words in refused.value.message
    assert "own.npz" in refused.value.message


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("own.txt", b"1,2\n", "must end in .csv or .npz"),
        ("own.npz", b"no archive", "own.npz"),
        ("own.npz", b"PK\x03\x04 cut off", "own.npz"),
        ("own.csv", b"\xff\xfe\x00", "own.csv"),
        ("own.csv", b"", "no samples"),
        ("own.csv", b"1,2,a\n1,b\n", "rows have from 1 to 2"),
        ("own.csv", b"1,2,a\n1,x,b\n", "line 2"),
    ],
)
def test_files_that_make_no_sense_are_refused(
    name: str, data: bytes, words: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(InvalidInputError) as refused:
        load_data(str(file), 1)
    assert words in refused.value.message


def test_a_file_that_is_not_there_or_far_too_long_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInputError, match=r"missing\.csv"):
        load_data(str(tmp_path / "missing.csv"), 1)
    monkeypatch.setattr("node.agents.data_sets.FILE_BYTES_MAX", 10)
    with pytest.raises(InvalidInputError, match="at most 10"):
        load_data(write_csv(tmp_path / "own.csv", ["1,2,a"] * 9), 1)
