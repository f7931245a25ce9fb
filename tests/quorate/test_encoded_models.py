"""Models of texts, categories and vectors through the client, a real API and a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scipy.sparse import csr_matrix

import quorate
from ml_runtime.encoders import (
    CategoryColumn,
    EmbeddingEncoder,
    Encoder,
    HashedWordsEncoder,
    OneHotEncoder,
    StandardiseEncoder,
    VocabularyEncoder,
)
from primitives.errors import InvalidInputError
from quorate.batches import make_tensors
from quorate.errors import RefusedError
from tests.helpers.api import run_api
from tests.helpers.learning import connect, create

LABELS = ["left", "right", "left", "right"]
TEXTS = ["Good, good day", "bad night", "a GOOD one", "Bad!"]
COLOURS = OneHotEncoder((CategoryColumn("colour", ("red", "blue")), CategoryColumn("size", ("S",))))
CASES = [
    (HashedWordsEncoder(8), TEXTS),
    (HashedWordsEncoder(8, 1, 2, is_signed=True), TEXTS),
    (VocabularyEncoder(("good", "bad")), TEXTS),
    (COLOURS, [["red", "S"], ["blue", "S"], ["red", "L"], {"colour": "blue", "size": "L"}]),
    (StandardiseEncoder((65536, 0), (65536, 131072)), [[3, 0], [0, 3], [2, 1], [-1, 2.5]]),
    (EmbeddingEncoder(2, 65000, 66000), [[1, 0], [0, 1], [0.6, -0.8], [-0.6, 0.8]]),
]


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[quorate.Client]:
    with run_api(tmp_path) as scene:
        yield connect(scene, scene.chain.network.accounts[0])


def create_encoded(client: quorate.Client, encoder: Encoder, layout: str) -> None:
    create(
        client,
        feature_count=encoder.feature_count(),
        class_names=("left", "right"),
        encoder=encoder,
        layout=layout,
    )


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize(("encoder", "rows"), CASES)
def test_what_was_learnt_is_predicted(
    alice: quorate.Client, encoder: Encoder, rows: Any, layout: str
) -> None:
    create_encoded(alice, encoder, layout)
    assert alice.model("sides").encoder == encoder
    alice.contribute("sides", rows, LABELS)
    assert list(alice.predict("sides", rows).class_names) == LABELS


def test_sparse_matrix_is_taken_as_whole_rows_where_zeros_count(alice: quorate.Client) -> None:
    encoder = StandardiseEncoder((65536, 0), (65536, 65536))
    create_encoded(alice, encoder, "sparse")
    rows = [[3, 0], [0, 3], [2, 1], [0, 2.5]]
    alice.contribute("sides", csr_matrix(rows), LABELS)
    predicted = alice.predict("sides", csr_matrix(rows))
    assert predicted.probabilities == alice.predict("sides", rows).probabilities


def test_entries_are_refused_where_zeros_count(
    alice: quorate.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_encoded(alice, StandardiseEncoder((65536, 0), (65536, 65536)), "sparse")
    entries = make_tensors(["good"], "sparse", 2, VocabularyEncoder(("good", "bad")))
    monkeypatch.setattr("quorate.client.make_tensors", lambda *given: entries)
    with pytest.raises(RefusedError) as refused:
        alice.predict("sides", [[0, 0]])
    assert refused.value.code == "unknown_input"


def test_encoder_of_another_number_of_features_is_refused(alice: quorate.Client) -> None:
    with pytest.raises(InvalidInputError) as refused:
        create(alice, feature_count=3, encoder=HashedWordsEncoder(8), layout="sparse")
    assert refused.value.code == "invalid_encoder"


def test_numbers_are_refused_where_texts_are_wanted(alice: quorate.Client) -> None:
    create_encoded(alice, HashedWordsEncoder(8), "sparse")
    with pytest.raises(InvalidInputError) as refused:
        alice.contribute("sides", [1.0, 2.0], [0, 1])
    assert refused.value.code == "malformed"
