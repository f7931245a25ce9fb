"""Loads the kernels that a network's models need, before somebody waits for them.

Kernels load when they are first called, which takes tenths of a second; a validator should not
spend them while others wait for its vote, nor an API while somebody waits for a prediction.
"""

from __future__ import annotations

from ledger.model_records import MODEL_PREFIX, decode_model
from ledger.reader import LedgerReader
from ledger.stored_records import decode_own
from ml_runtime.registry import get_family
from ml_runtime.spec import make_spec
from ml_runtime.warmup import load_kernels_of

__all__ = ["load_first_kernels", "load_kernels"]

MODELS_MAX = 64
"""Models that are looked at; the families among more of them are hardly others."""

_FIRST = make_spec("averaged_perceptron", "dense", 1, 2)
"""Loads the compiler and what nearly every family shares."""


def load_first_kernels() -> None:
    """Load the compiler and what nearly every model needs."""
    load_kernels_of(get_family(_FIRST.family), _FIRST)


def load_kernels(reader: LedgerReader) -> None:
    """Load the kernels of the models there are, and what a first model will need."""
    load_first_kernels()
    known = set()
    for _, value in reader.scan(MODEL_PREFIX, limit=MODELS_MAX):
        spec = decode_own(value, decode_model).description.spec
        if (spec.family, spec.layout) not in known:
            known.add((spec.family, spec.layout))
            load_kernels_of(get_family(spec.family), spec)
