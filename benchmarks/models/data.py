"""The data that families and their twins learn, encoded once for both.

Four small sets come with scikit-learn. The fifth, ``topics``, is made here, so that nothing has to
be downloaded: documents of 20 to 60 words, of which a sixth belongs to the document's class and the
rest to everybody. Everybody's words are 2,000, their frequencies falling as 1 / rank (Zipf); each
of five classes prefers 60 of them. The project's own ``hashed_words`` encoder makes them sparse.

Twins are fed the very numbers that families learn, from_q16 of them: no difference in a table comes
from scaling or rounding the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from ml_runtime.encoders import (
    HashedWordsEncoder,
    ScaleEncoder,
    StandardiseEncoder,
    from_q16,
)
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples, take_samples

__all__ = ["DATA_SETS", "SCALINGS", "Split", "load_features", "load_split", "to_numbers"]

TOPIC_SEED: Final = 20
TOPIC_DOCUMENTS: Final = 1_500
TOPIC_CLASSES: Final = 5
TOPIC_WORDS: Final = 60
TOPIC_SHARE: Final = 1 / 6
VOCABULARY_WORDS: Final = 2_000
LOG2_FEATURES: Final = 12

SYLLABLES: Final = tuple(first + second for first in "bdfgklmnprstvz" for second in "aeiou")

FEATURE_LIMIT: Final = 8 * ONE
"""The default ``feature_limit`` of most families: standardised features are clipped to it."""


@dataclass(frozen=True, slots=True)
class Split:
    """Two thirds of a data set to learn from and a third to be asked about.

    Parameters
    ----------
    samples, targets
        What is learnt; targets are classes, or numbers in Q16.
    asked, answers
        What is asked, and the right answers.
    class_count
        0 for numbers.
    seed
        What the order came from.
    """

    samples: Samples
    targets: Integers
    asked: Samples
    answers: Integers
    class_count: int
    seed: int

    @property
    def layout(self) -> str:
        """Dense or sparse, as a spec says it."""
        return "dense" if isinstance(self.samples, DenseSamples) else "sparse"


def load_split(data: str, scaling: str, seed: int) -> Split:
    """Return a random split of a data set, encoded with what the learning part shows alone."""
    features, targets = DATA_SETS[data]()
    count = len(targets)
    order = np.random.default_rng(seed).permutation(count)
    learning, asking = order[: 2 * count // 3], order[2 * count // 3 :]
    class_count = 0 if targets.dtype == np.float64 else int(targets.max()) + 1
    if not class_count:
        middle, spread = targets[learning].mean(), targets[learning].std()
        targets = ScaleEncoder().encode((targets - middle) / spread)
    if isinstance(features, SparseSamples):
        samples, asked = (take_samples(features, rows) for rows in (learning, asking))
    else:
        encoder = SCALINGS[scaling](features[learning])
        limit = (1 << 62) if scaling == "raw" else FEATURE_LIMIT
        samples, asked = (
            DenseSamples(np.clip(encoder.encode(features[rows]), -limit, limit))
            for rows in (learning, asking)
        )
    return Split(samples, targets[learning], asked, targets[asking], class_count, seed)


def load_features(data: str, scaling: str) -> tuple[Integers, Integers]:
    """Return all of a dense data set, encoded by what all of it shows, and its classes."""
    features, targets = DATA_SETS[data]()
    encoded = SCALINGS[scaling](features).encode(features)
    return np.clip(encoded, -FEATURE_LIMIT, FEATURE_LIMIT), targets


def to_numbers(samples: Samples) -> Any:
    """Return samples as the floating-point array, or the sparse matrix, that twins take."""
    if isinstance(samples, DenseSamples):
        return from_q16(samples.features)
    shape = (len(samples.row_starts) - 1, samples.feature_count)
    values = from_q16(samples.values)
    # Some of scikit-learn's solvers take no indices of 64 bits.
    indices, starts = samples.indices.astype(np.int32), samples.row_starts.astype(np.int32)
    return csr_matrix((values, indices, starts), shape=shape)


def _standardise(features: Any) -> StandardiseEncoder:
    means, spreads = features.mean(axis=0), features.std(axis=0)
    # A feature that never changes says nothing, whatever it is multiplied by.
    scales = 1 / np.where(spreads > 0, spreads, 1)
    return StandardiseEncoder(
        tuple(round(mean * ONE) for mean in means.tolist()),
        tuple(round(scale * ONE) for scale in scales.tolist()),
    )


def _scale_to_one(features: Any) -> ScaleEncoder:
    return ScaleEncoder(scale=round(ONE / float(np.abs(features).max())))


def _leave(_features: Any) -> ScaleEncoder:
    return ScaleEncoder()


SCALINGS: Final[dict[str, Callable[[Any], Any]]] = {
    "standardise": _standardise,
    "unit": _scale_to_one,
    "raw": _leave,
}
"""How the learning part of a dense data set gives an encoder; texts have the one of their own."""


@cache
def _load_digits() -> tuple[Any, Any]:
    data = load_digits()
    return data.data, data.target.astype(np.int64)


@cache
def _load_cancer() -> tuple[Any, Any]:
    data = load_breast_cancer()
    return data.data, data.target.astype(np.int64)


@cache
def _load_wine() -> tuple[Any, Any]:
    data = load_wine()
    return data.data, data.target.astype(np.int64)


@cache
def _load_diabetes() -> tuple[Any, Any]:
    data = load_diabetes(scaled=False)
    return data.data, data.target.astype(np.float64)


@cache
def _make_topics() -> tuple[Any, Any]:
    random = np.random.default_rng(TOPIC_SEED)
    everybody = 1 / np.arange(1, VOCABULARY_WORDS + 1)
    everybody /= everybody.sum()
    preferred = [
        random.choice(VOCABULARY_WORDS, TOPIC_WORDS, replace=False) for _ in range(TOPIC_CLASSES)
    ]
    texts, labels = [], random.integers(0, TOPIC_CLASSES, TOPIC_DOCUMENTS)
    for label in labels:
        length = int(random.integers(20, 61))
        words = random.choice(VOCABULARY_WORDS, length, p=everybody)
        own = random.random(length) < TOPIC_SHARE
        words[own] = random.choice(preferred[label], int(own.sum()))
        texts.append(" ".join(_spell(int(word)) for word in words))
    return HashedWordsEncoder(LOG2_FEATURES).encode_rows(texts), labels.astype(np.int64)


def _spell(number: int) -> str:
    """Return a word of two syllables that no other number below 4,900 has."""
    return SYLLABLES[number // len(SYLLABLES)] + SYLLABLES[number % len(SYLLABLES)]


DATA_SETS: Final[dict[str, Callable[[], tuple[Any, Any]]]] = {
    "digits": _load_digits,
    "breast cancer": _load_cancer,
    "wine": _load_wine,
    "diabetes": _load_diabetes,
    "topics": _make_topics,
}
"""Features and targets by name: classes are int64, numbers float64."""
