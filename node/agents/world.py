"""The model and its contributions, as everybody can see them on the ledger after the last block."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np

from incentives.book import Book
from incentives.registry import get_mechanism
from ledger.campaign_records import Campaign, find_open_campaign
from ledger.contribution_records import contribution_key, decode_contribution
from ledger.karma_records import karma_key, read_karma
from ledger.model_records import (
    ModelDescription,
    ModelProgress,
    decode_model_progress,
    model_progress_key,
)
from ledger.transactions.contributions import Contribute
from ml_runtime.family import State
from ml_runtime.registry import get_family
from ml_runtime.samples import DenseSamples, Integers, Samples, SparseSamples, encode_batch
from node.agents.campaign_settings import CAMPAIGN_MECHANISMS
from node.agents.chain import SimulatedChain
from node.agents.data_sets import DataSet
from primitives.accounts import AccountId
from primitives.codec import Encodable
from primitives.errors import InvariantViolationError

__all__ = ["KnownContribution", "World"]

_SECOND_MS: Final = 1_000


@dataclass(slots=True)
class KnownContribution:
    """A contribution as anybody can read it.

    Parameters
    ----------
    sequence : its number on the model.
    account : of the contributor.
    timestamp_ms : of its block.
    samples, labels : its payload.
    book : what is left of its deposit.
    reported : account to the samples that it reported, as a set.
    """

    sequence: int
    account: AccountId
    timestamp_ms: int
    samples: Samples
    labels: Integers
    book: Book
    reported: dict[bytes, int] = field(default_factory=dict)


class World:
    """One model on one chain.

    Parameters
    ----------
    chain : the ledger.
    description : of the model.
    data : what the model is about.
    """

    def __init__(self, chain: SimulatedChain, description: ModelDescription, data: DataSet) -> None:
        self.chain = chain
        self.model = description.name
        self.terms = description.terms
        self.data = data
        self.contributions: list[KnownContribution] = []
        self.spec = description.spec
        self._family = get_family(description.spec.family)
        self._known: dict[int, KnownContribution] = {}
        self._open: dict[int, KnownContribution] = {}
        self._accuracy: float | None = None
        self._times_ms: list[int] = []
        self._agreed: dict[int, int] = {}
        self._judged = 0

    @property
    def open_contributions(self) -> Iterable[KnownContribution]:
        """Contributions of which something is left, oldest first."""
        return self._open.values()

    @property
    def progress(self) -> ModelProgress:
        """How far the model has come."""
        progress = self.chain.get(model_progress_key(self.model), decode_model_progress)
        if progress is None:
            raise InvariantViolationError(f"the state has no model {self.model!r}")
        return progress

    @property
    def is_taught_by_campaigns(self) -> bool:
        """Whether contributions are collected, and paid and learnt later."""
        return self.terms.mechanism in CAMPAIGN_MECHANISMS

    def get_campaign(self) -> Campaign | None:
        """Return the campaign that is open, if there is one."""
        return find_open_campaign(self.chain, self.model)

    def compute_deposit(self, now_ms: int, samples: int) -> int | None:
        """Return what goes with a contribution in a block at a time, if no other comes before.

        None if nothing is collected now where campaigns alone collect.
        """
        if self.is_taught_by_campaigns:
            campaign = self.get_campaign()
            if campaign is None or campaign.phase != "participation":
                return None
            return campaign.terms.valuation.stake
        seconds = (now_ms - self.progress.last_update_ms) // _SECOND_MS
        return samples * get_mechanism(self.terms.mechanism).compute_price(self.terms, seconds)

    def describe_contribution(
        self, max_deposit: int, samples: Samples, labels: Integers
    ) -> tuple[list[Encodable], bytes]:
        """Return body and payload of a contribution to the model."""
        body = Contribute(self.model, max_deposit, len(labels)).to_fields()
        return body, encode_batch(samples, labels)

    def count_valid(self, account: AccountId) -> int:
        """Return how many validated samples an account has on the model."""
        return read_karma(self.chain, karma_key(account, self.model)).valid

    def add(self, sequence: int, samples: Samples, labels: Integers) -> None:
        """Take note of a new contribution; unless it is only collected, the model has changed."""
        record = self.chain.get(contribution_key(self.model, sequence), decode_contribution)
        if record is None:
            raise InvariantViolationError(f"the state has no contribution {sequence}")
        known = KnownContribution(
            sequence, record.contributor, record.timestamp_ms, samples, labels, record.book
        )
        self.contributions.append(known)
        self._times_ms.append(known.timestamp_ms)
        self._known[sequence] = known
        # In a campaign nothing is settled one by one.
        if record.book.open_samples:
            self._open[sequence] = known
            self._accuracy = None
            self._judged = 0

    def end_campaign(self) -> None:
        """Take note that a campaign is closed: the model has changed, nothing is collected."""
        self.contributions.clear()
        self._accuracy = None

    def refresh(self, sequence: int) -> None:
        """Read again what is left of a contribution."""
        record = self.chain.get(contribution_key(self.model, sequence), decode_contribution)
        if record is None:
            raise InvariantViolationError(f"the state has no contribution {sequence}")
        known = self._known[sequence]
        known.book, known.reported = record.book, dict(record.book.reporters)
        # Several transactions of one block may be about it.
        if not record.book.open_samples:
            self._open.pop(sequence, None)

    def get_author(self, sequence: int) -> AccountId:
        """Return who sent a contribution."""
        return self._known[sequence].account

    def predict(self, samples: Samples) -> Integers:
        """Return the classes that the model says."""
        state = cast("State", self.chain.load_model(self.model))
        return self._family.predict(self.spec, state, samples)

    def measure_accuracy(self) -> float:
        """Return on how much of the data that is never sent the model is right, in [0, 1]."""
        if self._accuracy is None:
            answers = self.predict(self.data.held_out)
            self._accuracy = float(np.mean(answers == self.data.held_out_labels))
        return self._accuracy

    def find_agreed(self, now_ms: int) -> dict[int, int]:
        """Return with which samples of each contribution the model agrees now, as sets.

        Only open contributions that can be settled by now are asked about, all at once, and again
        when the model has changed. A contribution that was settled since may still be named.
        """
        latest_ms = now_ms - self.terms.refund_wait_ms
        due = bisect_right(self._times_ms, latest_ms)
        if due > self._judged:
            asked = self._open.values()
            self._agreed = self._judge([each for each in asked if each.timestamp_ms <= latest_ms])
            self._judged = due
        return self._agreed

    def _judge(self, contributions: list[KnownContribution]) -> dict[int, int]:
        if not contributions:
            return {}
        answers = self.predict(_join([each.samples for each in contributions]))
        agreed: dict[int, int] = {}
        start = 0
        for each in contributions:
            end = start + len(each.labels)
            right = (answers[start:end] == each.labels).tolist()
            agreed[each.sequence] = sum(1 << place for place, bit in enumerate(right) if bit)
            start = end
        return agreed


def _join(parts: list[Samples]) -> Samples:
    """Return all samples one after the other; all have the same layout."""
    dense = [part.features for part in parts if isinstance(part, DenseSamples)]
    if dense:
        return DenseSamples(np.concatenate(dense))
    sparse = [part for part in parts if isinstance(part, SparseSamples)]
    lengths = np.concatenate([part.row_starts[1:] - part.row_starts[:-1] for part in sparse])
    starts = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=starts[1:])
    return SparseSamples(
        starts,
        np.concatenate([part.indices for part in sparse]),
        np.concatenate([part.values for part in sparse]),
        sparse[0].feature_count,
    )
