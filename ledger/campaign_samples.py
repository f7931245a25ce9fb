"""Which samples a campaign holds already: fingerprints, so that nobody is paid twice for one.

A sample that is there already teaches next to nothing new, and by most rules its second sender
still takes a share of what the first would have got. So a campaign takes each sample once, feature
by feature and with the same target. That holds for copies alone: whoever changes a feature by its
last bit has another sample. Fingerprints have 64 bits: of 2^18 samples two agree by chance with a
probability of 2^-29. Source: docs/spec/ledger.md §5.11.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from ledger.contribution_records import SAMPLES_MAX
from ledger.schema import read_record
from ml_runtime.samples import Batch, DenseSamples
from primitives.codec import encode
from primitives.hashing import Tag, tagged_hash

__all__ = [
    "CampaignSamples",
    "campaign_samples_key",
    "count_duplicates",
    "decode_campaign_samples",
    "fingerprint_samples",
]

FINGERPRINT_BYTES: Final = 8
_FINGERPRINT: Final = np.dtype("<u8")
_ENTRY: Final = np.dtype([("index", "<u4"), ("value", "<i8")])


def campaign_samples_key(model: str, sequence: int) -> bytes:
    """Return the state key of the fingerprints of one contribution to an open campaign."""
    return b"campaign_samples/" + model.encode() + b"/" + sequence.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class CampaignSamples:
    """Fingerprints of the samples of one contribution.

    Parameters
    ----------
    fingerprints : of 8 bytes each, in the order of the samples.
    """

    fingerprints: bytes

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.fingerprints,))


def decode_campaign_samples(data: bytes) -> CampaignSamples:
    """Return the fingerprints whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "campaign_samples", 1)
    return CampaignSamples(reader.bytes("fingerprints", bytes_max=FINGERPRINT_BYTES * SAMPLES_MAX))


def fingerprint_samples(batch: Batch) -> CampaignSamples:
    """Return what tells the samples of a batch apart: features and target, not the group.

    A sparse sample stands for its features that are not zero, whether zeros are written down or
    not.
    """
    targets = batch.targets.astype("<i8").tobytes()
    fingerprints = [
        tagged_hash(Tag.SAMPLE, targets[8 * number : 8 * number + 8] + features)[:FINGERPRINT_BYTES]
        for number, features in enumerate(_cut_features(batch))
    ]
    return CampaignSamples(b"".join(fingerprints))


def count_duplicates(samples: CampaignSamples, earlier: Iterable[CampaignSamples]) -> int:
    """Return how many samples are there already, in earlier contributions or earlier in their own.

    Parameters
    ----------
    samples : of the contribution, at least one.
    earlier : all those before.
    """
    given = np.frombuffer(samples.fingerprints, _FINGERPRINT)
    distinct = np.unique(given)
    known = np.zeros(len(distinct), dtype=np.bool_)
    for each in earlier:
        others = np.frombuffer(each.fingerprints, _FINGERPRINT)
        places = np.minimum(np.searchsorted(distinct, others), len(distinct) - 1)
        known[places[distinct[places] == others]] = True
    new = len(distinct) - int(known.sum())
    return len(given) - new


def _cut_features(batch: Batch) -> list[bytes]:
    """Return the features of each sample as bytes."""
    samples = batch.samples
    if isinstance(samples, DenseSamples):
        return [row.astype("<i8").tobytes() for row in samples.features]
    present = samples.values != 0
    entries = np.empty(int(present.sum()), dtype=_ENTRY)
    entries["index"], entries["value"] = samples.indices[present], samples.values[present]
    counts = np.concatenate(([0], np.cumsum(present)))[samples.row_starts]
    data, size = entries.tobytes(), _ENTRY.itemsize
    return [data[size * int(start) : size * int(end)] for start, end in pairwise(counts)]
