"""What people in the simulation know: samples with their right labels, built in or from a file.

Numbers enter a model as Q16 integers, as any client would make them: digits by a scale, a file's
features standardised by what the part to learn from shows, words as ones. A third is held out and
never sent; accuracy is measured on it.
"""

from __future__ import annotations

import csv
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ml_runtime.encoders import Encoder, ScaleEncoder, StandardiseEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples, take_samples
from node.commands.tables import read_labelled
from primitives.errors import InvalidInputError

__all__ = ["BUILT_IN", "DataSet", "HiddenData", "load_data", "split_held_out"]

BUILT_IN: Final = ("digits", "words")
"""Names that mean no file: 1,797 handwritten digits; generated reviews of 20 words of 1,000."""

SAMPLES_MIN: Final = 30
SAMPLES_MAX: Final = 200_000
FEATURES_MAX: Final = 4_096
CLASSES_MAX: Final = 100
FILE_BYTES_MAX: Final = 256 * 1024 * 1024
HELD_OUT_MAX: Final = 2_000
"""Samples to measure accuracy on; more would tell little and take long."""

HIDDEN_PARTS: Final = (3, 4)
"""Of the samples that are held out, this fraction becomes hidden test data of campaigns."""

FEATURE_LIMIT: Final = 8
"""Standardised features are cut off at so many standard deviations."""

PIXEL_MAX: Final = 16
WORDS: Final = 1_000
WORDS_PRESENT: Final = 20
REVIEWS: Final = 10_000
TELLING: Final = 0.23
"""How much more frequent a word is in one class: ±0.23 e-folds typically. Chosen so that a model
that learnt everything is right about 80 % of the time, as published for reviews of films."""

_CHUNK: Final = 1_000
_DIGITS_FILE: Final = Path(__file__).parent.parent / "demonstration" / "digits.npz"


@dataclass(frozen=True, slots=True)
class DataSet:
    """Samples to learn from, in random order, and samples to measure by.

    Parameters
    ----------
    name : ``digits``, ``words`` or the name of the file.
    layout : ``dense`` or ``sparse``.
    feature_count : features of a sample.
    class_names : one for each class.
    encoder : how people's numbers became the model's.
    samples, labels : to learn from.
    held_out, held_out_labels : never sent.
    """

    name: str
    layout: str
    feature_count: int
    class_names: tuple[str, ...]
    encoder: Encoder
    samples: Samples
    labels: Integers
    held_out: Samples
    held_out_labels: Integers


@dataclass(frozen=True, slots=True)
class HiddenData:
    """What contributions to campaigns are valued on; nobody but the provider knows it."""

    samples: Samples
    labels: Integers


def split_held_out(data: DataSet) -> tuple[DataSet, HiddenData]:
    """Return the data with fewer samples held out, and the others of those.

    So what campaigns are decided by, which is shown in the end, is never what accuracy is measured
    on.
    """
    count = len(data.held_out_labels)
    cut = count * HIDDEN_PARTS[0] // HIDDEN_PARTS[1]
    hidden, kept = np.arange(cut), np.arange(cut, count)
    rest = replace(
        data,
        held_out=take_samples(data.held_out, kept),
        held_out_labels=data.held_out_labels[kept],
    )
    return rest, HiddenData(take_samples(data.held_out, hidden), data.held_out_labels[hidden])


def load_data(source: str, seed: int) -> DataSet:
    """Return a built-in data set, or that of a file.

    Parameters
    ----------
    source : one of `BUILT_IN`, or the path of a file: CSV (numbers, the class last) or NPZ (arrays
        ``features`` and ``labels``).
    seed : of the order in which samples come, and of what is held out.

    Raises
    ------
    InvalidInputError
        ``malformed``, with the file and what is wrong with it.
    """
    chance = np.random.default_rng([seed, 1])
    if source == "digits":
        with np.load(_DIGITS_FILE) as data:
            features, labels = data["pixels"].astype(np.float64), data["labels"].astype(np.int64)
        encoder = ScaleEncoder(scale=ONE // PIXEL_MAX)
        names = tuple(str(digit) for digit in range(10))
        samples: Samples = DenseSamples(encoder.encode(features))
        return _split("digits", names, encoder, samples, labels, chance)
    if source == "words":
        samples, labels = _make_reviews(chance)
        return _split("words", ("bad", "good"), ScaleEncoder(), samples, labels, chance)
    path = Path(source)
    table, classes = _read_file(path)
    features, labels, names = _check_table(path, table, classes)
    return _standardise(path.name, names, features, labels, chance)


def _split(
    name: str,
    class_names: tuple[str, ...],
    encoder: Encoder,
    samples: Samples,
    labels: Integers,
    chance: np.random.Generator,
) -> DataSet:
    """Shuffle, and hold a third out."""
    order = chance.permutation(len(labels))
    held_out, rest = _divide(order)
    is_dense = isinstance(samples, DenseSamples)
    return DataSet(
        name=name,
        layout="dense" if is_dense else "sparse",
        feature_count=samples.feature_count,
        class_names=class_names,
        encoder=encoder,
        samples=take_samples(samples, rest),
        labels=labels[rest],
        held_out=take_samples(samples, held_out),
        held_out_labels=labels[held_out],
    )


def _divide(order: Integers) -> tuple[Integers, Integers]:
    count = min(len(order) // 3, HELD_OUT_MAX)
    return order[:count], order[count:]


def _standardise(
    name: str,
    class_names: tuple[str, ...],
    features: NDArray[np.float64],
    labels: Integers,
    chance: np.random.Generator,
) -> DataSet:
    """Give every feature mean 0 and deviation 1 over what is not held out."""
    order = chance.permutation(len(labels))
    held_out, rest = _divide(order)
    means = features[rest].mean(axis=0)
    deviations = features[rest].std(axis=0)
    scales = np.divide(1, deviations, out=np.zeros_like(means), where=deviations > 0)
    constants = [np.round(each * ONE) for each in (means, scales)]
    if max(float(np.abs(each).max()) for each in constants) >= 1 << 47:
        raise _malformed(name, "features are too large or differ too little to be standardised")
    encoder = StandardiseEncoder(*(tuple(int(each) for each in array) for array in constants))
    limit = FEATURE_LIMIT * ONE
    encoded = np.clip(encoder.encode(features), -limit, limit)
    return DataSet(
        name=name,
        layout="dense",
        feature_count=features.shape[1],
        class_names=class_names,
        encoder=encoder,
        samples=DenseSamples(np.ascontiguousarray(encoded[rest])),
        labels=labels[rest],
        held_out=DenseSamples(np.ascontiguousarray(encoded[held_out])),
        held_out_labels=labels[held_out],
    )


def _make_reviews(chance: np.random.Generator) -> tuple[SparseSamples, Integers]:
    """Make up reviews: 20 different words of 1,000, some of them more frequent in one class."""
    # Frequencies of words fall as 1 / rank, as in any language.
    frequency = -np.log(np.arange(1, WORDS + 1) + 10.0)
    leaning = TELLING * chance.standard_normal(WORDS)
    labels = chance.integers(0, 2, REVIEWS)
    indices = []
    for start in range(0, REVIEWS, _CHUNK):
        sign = 2 * labels[start : start + _CHUNK, None] - 1
        # The largest of logarithms with Gumbel noise are a draw without putting back.
        keys = frequency + sign * leaning + chance.gumbel(size=(len(sign), WORDS))
        drawn = np.argpartition(keys, -WORDS_PRESENT, axis=1)[:, -WORDS_PRESENT:]
        indices.append(np.sort(drawn, axis=1))
    entries = np.concatenate(indices).reshape(-1).astype(np.int64)
    starts = np.arange(REVIEWS + 1, dtype=np.int64) * WORDS_PRESENT
    return SparseSamples(starts, entries, np.full(len(entries), ONE, dtype=np.int64), WORDS), labels


def _read_file(path: Path) -> tuple[Any, Any]:
    """Return features and classes of a file as they are."""
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise _malformed(path, f"has {size} bytes, at most {FILE_BYTES_MAX}")
        if path.suffix == ".csv":
            return _read_csv(path)
        if path.suffix != ".npz":
            raise _malformed(path, f"must end in .csv or .npz, or be one of {', '.join(BUILT_IN)}")
        with np.load(path, allow_pickle=False) as data:
            missing = [name for name in ("features", "labels") if name not in data]
            if missing:
                found = ", ".join(sorted(data)) or "nothing"
                raise _malformed(path, f"must hold the arrays features and labels, found {found}")
            return data["features"], data["labels"]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, csv.Error) as error:
        raise _malformed(path, str(error)) from error


def _read_csv(path: Path) -> tuple[Any, Any]:
    rows, classes = read_labelled(path)
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1:
        raise _malformed(path, f"rows have from {lengths[0]} to {lengths[-1]} features")
    return rows, classes


def _check_table(
    path: Path, table: Any, classes: Any
) -> tuple[NDArray[np.float64], Integers, tuple[str, ...]]:
    """Return numbers and class numbers, or say what no model could learn from."""
    try:
        features = np.asarray(table, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise _malformed(path, f"features must be numbers: {error}") from error
    labels = np.asarray(classes)
    if features.ndim != 2 or not 1 <= features.shape[1] <= FEATURES_MAX:
        raise _malformed(
            path,
            f"features must be a table of 1 to {FEATURES_MAX} columns, found {features.shape}",
        )
    if labels.shape != (len(features),):
        raise _malformed(path, f"{len(features)} samples need as many labels, found {labels.shape}")
    if not SAMPLES_MIN <= len(features) <= SAMPLES_MAX:
        raise _malformed(
            path, f"must hold {SAMPLES_MIN} to {SAMPLES_MAX} samples, found {len(features)}"
        )
    if not np.isfinite(features).all():
        sample = int(np.argwhere(~np.isfinite(features))[0][0])
        raise _malformed(path, f"sample {sample} has a feature that is no finite number")
    if labels.dtype.kind not in "iuUSb":
        raise _malformed(path, f"labels must be integers or text, found {labels.dtype}")
    found, numbers = np.unique(labels, return_inverse=True)
    if not 2 <= len(found) <= CLASSES_MAX:
        raise _malformed(path, f"must hold 2 to {CLASSES_MAX} classes, found {len(found)}")
    names = tuple(each.decode() if isinstance(each, bytes) else str(each) for each in found)
    longest = max(len(name.encode()) for name in names)
    if longest > 64:
        raise _malformed(path, f"names of classes have at most 64 bytes, found {longest}")
    return features, numbers.astype(np.int64), names


def _malformed(path: Path | str, message: str) -> InvalidInputError:
    return InvalidInputError("malformed", f"{path}: {message}", field="data")
