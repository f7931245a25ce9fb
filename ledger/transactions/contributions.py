"""Transactions about contributions: contribute, refund, report, claim.

A contribution is trained on at its turn; what happens to its deposit is decided by the model's
mechanism (``incentives``), later, by what the model then says about its samples.
Source: docs/spec/ledger.md §7.3, docs/spec/incentives.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from incentives.accounting import split_karma, verify_outcome
from incentives.activity import DAY_MS
from incentives.book import collect_samples, open_book
from incentives.mechanism import (
    ClaimEvent,
    Mechanism,
    Outcome,
    RefundEvent,
    RefusedError,
    ReportEvent,
)
from incentives.registry import get_mechanism
from ledger.contribution_records import (
    SAMPLES_MAX,
    Contribution,
    contribution_key,
    decode_contribution,
)
from ledger.deeds import Deeds, describe_validated
from ledger.errors import TransactionFailedError
from ledger.governance import require_role
from ledger.karma import credit_karma, settle_staked_karma
from ledger.karma_records import karma_key, read_karma
from ledger.model_policies import DRIFT_POLICIES
from ledger.model_records import (
    LOSS_SUM_MAX,
    Model,
    decode_model,
    model_key,
    model_progress_key,
)
from ledger.model_tally import (
    model_tally_key,
    read_tally,
)
from ledger.parameters import Parameters
from ledger.schema import AMOUNT_MAX, StateReader
from ledger.transaction import Transaction
from ledger.transactions.campaign_contributions import (
    compute_contribution_units,
    contribute_to_campaign,
    is_for_campaigns,
)
from ledger.transactions.contributed_batches import (
    BATCH_MEMO,
    batch_of,
    count_entries,
    count_judged,
    fit_batch,
)
from ledger.transactions.deposits import take_deposit
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import get_model, get_progress, read_model_name
from ledger.transactions.model_drift import watch_for_drift
from ledger.transactions.model_versions import UNITS_PER_LOADED
from ml_runtime.evaluation import find_agreed, learn_and_evaluate
from ml_runtime.family import count_parameters
from ml_runtime.regions import compute_units
from ml_runtime.registry import get_family
from ml_runtime.samples import (
    Batch,
    decode_batch,
    sample_count,
    widen,
)
from primitives.accounts import AccountId
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.fields import COUNTER_MAX, FieldReader

__all__ = [
    "CLAIM",
    "CONTRIBUTE",
    "REFUND",
    "REPORT",
    "Claim",
    "Contribute",
    "Judgement",
]

_MODEL_NAME_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Contribute:
    """Send samples; they are the payload.

    Parameters
    ----------
    model
        Name of the model.
    max_deposit
        Most money that may be held for the whole batch.
    samples
        How many there are.
    karma
        Most points of the sender's karma on the model that may be staked for the whole batch, in
        place of money.
    """

    model: str
    max_deposit: int
    samples: int
    karma: int = 0

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.max_deposit, self.samples, self.karma]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Refund or report samples of a contribution.

    Parameters
    ----------
    model, sequence
        Which contribution.
    samples
        Numbers of samples, ascending; empty for every one that qualifies.
    """

    model: str
    sequence: int
    samples: tuple[int, ...] = ()

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.sequence, list(self.samples)]


@dataclass(frozen=True, slots=True)
class Claim:
    """Take what is left of a contribution's deposit."""

    model: str
    sequence: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.sequence]


class ContributeKind:
    """Takes the deposit, predicts the samples, then learns them."""

    code: Final = 3
    name: Final = "contribute"
    has_payload: Final = True
    result_fields: Final = (
        "sequence",
        "deposit_per_sample",
        "deposit",
        "correct",
        "samples",
        "karma_per_sample",
    )

    def decode_body(self, value: list[Value]) -> Contribute:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, "contribute", 4)
        body = Contribute(
            read_model_name(reader),
            reader.integer("max_deposit", 0, AMOUNT_MAX),
            reader.integer("samples", 1, SAMPLES_MAX),
            reader.counter("karma"),
        )
        reader.end()
        return body

    def check(self, transaction: Transaction, body: Contribute, parameters: Parameters) -> None:
        """Check the payload as far as no model is needed for it.

        Raises
        ------
        InvalidInputError
            ``too_many_samples``, ``empty_batch``, ``malformed_payload``.
        """
        if transaction.payload is None:
            raise InvariantViolationError("a contribution was checked without its payload")
        batch = decode_batch(
            transaction.payload.data, samples_max=parameters.samples_per_contribution_max
        )
        count = sample_count(batch.samples)
        if count != body.samples:
            raise InvalidInputError(
                "malformed_payload",
                f"contribute.samples is {body.samples}, the payload holds {count}",
                field="contribute.samples",
                value=body.samples,
                limit=count,
            )
        transaction.memo[BATCH_MEMO] = batch

    def cost(self, state: StateReader, transaction: Transaction, body: Contribute) -> int:
        """Return what the model's family asks for the batch, or 0 if there is no such model."""
        model = state.get(model_key(body.model), decode_model)
        if model is None:
            return 0
        spec = model.description.spec
        # A dense sample has 8 bytes for each feature, a sparse one 12: this bounds both.
        entries = transaction.payload_bytes // 8
        family = get_family(spec.family)
        units = family.cost(spec, body.samples, entries)
        units += compute_contribution_units(state, model, body.samples)
        if model.description.policies.detector:
            # A drift may have all parameters read, written, or computed from their sums once more.
            units += family.cost(spec, 1, spec.feature_count)
            returns = DRIFT_POLICIES[model.description.policies.drift] == "revert"
            units += (UNITS_PER_LOADED if returns else 1) * count_parameters(family, spec)
        return units

    def apply(
        self, context: ExecutionContext, transaction: Transaction, body: Contribute
    ) -> list[Encodable]:
        """Train the model.

        Raises
        ------
        TransactionFailedError
            ``role_needed``, ``unknown_model``, what the batch does not suit
            (``wrong_feature_count``, ``feature_out_of_range``, ``unknown_class``,
            ``wrong_layout``, ``wrong_targets``, ``target_out_of_range``, ``unknown_group``),
            ``insufficient_deposit``, ``insufficient_karma``, ``sponsor_limit`` or
            ``insufficient_balance``; under a mechanism of campaigns ``no_campaign`` or
            ``evaluation_too_large``.
        """
        require_role(context, context.sender, context.parameters.contribute_roles)
        model = get_model(context, body.model)
        progress = get_progress(context, body.model)
        spec = model.description.spec
        family = get_family(spec.family)
        batch = fit_batch(model.description, batch_of(context, transaction))
        if is_for_campaigns(model):
            return contribute_to_campaign(context, model, batch, body.max_deposit)
        share, karma_share = take_deposit(
            context,
            model,
            progress,
            samples=body.samples,
            max_deposit=body.max_deposit,
            karma=body.karma,
        )
        sequence = progress.contributions
        evaluation = learn_and_evaluate(family, spec, context.change_model(body.model), batch)
        correct = evaluation.correct
        by_class, by_group = count_judged(model.description, batch, evaluation)
        contribution = Contribution(
            transaction_id=context.transaction_id,
            contributor=context.sender,
            depositor=context.payer,
            height=context.height,
            timestamp_ms=context.timestamp_ms,
            entries=count_entries(batch.samples),
            correct=correct,
            loss=evaluation.loss,
            by_class=by_class,
            by_group=by_group,
            book=open_book(body.samples, share, karma_share),
        )
        context.put(contribution_key(body.model, sequence), contribution)
        after = replace(
            progress,
            last_update_ms=context.timestamp_ms,
            contributions=sequence + 1,
            samples=progress.samples + body.samples,
            correct=progress.correct + correct,
            judged=progress.judged + body.samples,
            loss=max(-LOSS_SUM_MAX, min(LOSS_SUM_MAX, progress.loss + evaluation.loss)),
        )
        context.put(model_progress_key(body.model), after)
        if by_class or by_group:
            tally = read_tally(context, body.model).add(by_class, by_group)
            context.put(model_tally_key(body.model), tally)
        context.note_progress(body.model, after)
        watch_for_drift(context, model, evaluation)
        return [sequence, share, share * body.samples, correct, body.samples, karma_share]


class _JudgementKind:
    """What refund and report share: find the contribution, ask the model, book the outcome."""

    has_payload: Final = False
    result_fields: Final = ("samples", "paid", "karma")
    name: str
    counts_regions = False

    def decode_body(self, value: list[Value]) -> Judgement:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 3)
        model = read_model_name(reader)
        sequence = reader.integer("sequence", 0, COUNTER_MAX)
        numbers = reader.array("samples", SAMPLES_MAX)
        reader.end()
        items = FieldReader(numbers, f"{self.name}.samples", len(numbers))
        samples = tuple(
            items.integer(str(position), 0, SAMPLES_MAX - 1) for position in range(len(numbers))
        )
        if list(samples) != sorted(set(samples)):
            raise InvalidInputError(
                "malformed",
                f"{self.name}.samples must ascend strictly",
                field=f"{self.name}.samples",
            )
        return Judgement(model, sequence, samples)

    def check(self, _transaction: Transaction, _body: Judgement, _parameters: Parameters) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: Judgement) -> int:
        """Return the cost of predicting the contribution's samples again."""
        model = state.get(model_key(body.model), decode_model)
        key = contribution_key(body.model, body.sequence)
        contribution = state.get(key, decode_contribution)
        if model is None or contribution is None:
            return 0
        spec = model.description.spec
        counted = contribution.book.samples, contribution.entries
        units = get_family(spec.family).cost(spec, *counted)
        return units + (compute_units(spec, *counted) if self.counts_regions else 0)


class RefundKind(_JudgementKind):
    """Gives a contributor back the deposit of the samples that the model agrees with."""

    code: Final = 4
    name: Final = "refund"
    counts_regions = True

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: Judgement
    ) -> list[Encodable]:
        """Refund and validate samples.

        Raises
        ------
        TransactionFailedError
            ``unknown_model``, ``unknown_contribution``, ``not_contributor``, ``too_early``,
            ``already_claimed`` or ``model_disagrees``.
        """
        model = get_model(context, body.model)
        contribution = _get_contribution(context, body.model, body.sequence)
        if context.sender != contribution.contributor:
            raise TransactionFailedError(
                "not_contributor", "only the contributor can ask for a refund"
            )
        batch = _read_batch(context, model, contribution)
        event = RefundEvent(
            samples=_select(body, contribution),
            agreed=_find_agreed(context, model, batch),
            elapsed_ms=context.timestamp_ms - contribution.timestamp_ms,
        )
        mechanism = get_mechanism(model.description.terms.mechanism)
        try:
            outcome = mechanism.refund(model.description.terms, contribution.book, event)
        except RefusedError as error:
            raise TransactionFailedError(error.code, error.message) from error
        valid = outcome.samples.bit_count()
        day = None if contribution.validated else contribution.timestamp_ms // DAY_MS
        contribution = replace(contribution, validated=contribution.validated + valid)
        _book(context, body, contribution, outcome, contribution.depositor, is_refund=True)
        deeds = describe_validated(batch, outcome.samples, day)
        credit_karma(
            context, context.sender, body.model, points=outcome.karma, valid=valid, deeds=deeds
        )
        return [valid, outcome.paid, outcome.karma]


class ReportKind(_JudgementKind):
    """Gives somebody else a share of the deposit of samples that the model disagrees with."""

    code: Final = 5
    name: Final = "report"

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: Judgement
    ) -> list[Encodable]:
        """Report samples.

        Raises
        ------
        TransactionFailedError
            ``unknown_model``, ``unknown_contribution``, ``own_contribution``, ``too_early``,
            ``already_claimed``, ``model_agrees``, ``no_valid_contributions`` or
            ``too_many_reporters``.
        """
        model = get_model(context, body.model)
        contribution = _get_contribution(context, body.model, body.sequence)
        event = ReportEvent(
            reporter=context.sender,
            is_contributor=context.sender == contribution.contributor,
            samples=_select(body, contribution),
            agreed=_find_agreed(context, model, _read_batch(context, model, contribution)),
            elapsed_ms=context.timestamp_ms - contribution.timestamp_ms,
            own_valid=read_karma(context, karma_key(context.sender, body.model)).valid,
            total_valid=get_progress(context, body.model).valid,
        )
        mechanism: Mechanism = get_mechanism(model.description.terms.mechanism)
        try:
            outcome = mechanism.report(model.description.terms, contribution.book, event)
        except RefusedError as error:
            raise TransactionFailedError(error.code, error.message) from error
        _book(context, body, contribution, outcome, context.sender)
        reported = outcome.samples.bit_count()
        deeds = Deeds(reported=reported)
        credit_karma(
            context, context.sender, body.model, points=outcome.karma, valid=0, deeds=deeds
        )
        return [reported, outcome.paid, outcome.karma]


class ClaimKind:
    """Gives what is left of a deposit to the model's owner or, later, to whoever asks."""

    code: Final = 6
    name: Final = "claim"
    has_payload: Final = False
    result_fields: Final = ("paid",)

    def decode_body(self, value: list[Value]) -> Claim:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, "claim", 2)
        body = Claim(read_model_name(reader), reader.integer("sequence", 0, COUNTER_MAX))
        reader.end()
        return body

    def check(self, _transaction: Transaction, _body: Claim, _parameters: Parameters) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: Claim) -> int:
        """Return 0: the envelope's own units cover it."""
        return 0

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: Claim
    ) -> list[Encodable]:
        """Claim what is left.

        Raises
        ------
        TransactionFailedError
            ``unknown_model``, ``unknown_contribution``, ``too_early``, ``not_owner`` or
            ``already_claimed``.
        """
        model = get_model(context, body.model)
        contribution = _get_contribution(context, body.model, body.sequence)
        event = ClaimEvent(
            is_owner=context.sender == model.owner,
            elapsed_ms=context.timestamp_ms - contribution.timestamp_ms,
        )
        mechanism = get_mechanism(model.description.terms.mechanism)
        try:
            outcome = mechanism.claim(model.description.terms, contribution.book, event)
        except RefusedError as error:
            raise TransactionFailedError(error.code, error.message) from error
        _book(context, body, contribution, outcome, context.sender)
        return [outcome.paid]


def _get_contribution(context: ExecutionContext, name: str, sequence: int) -> Contribution:
    contribution = context.get(contribution_key(name, sequence), decode_contribution)
    if contribution is None:
        raise TransactionFailedError(
            "unknown_contribution", f"model {name!r} has no contribution {sequence}"
        )
    return contribution


def _select(body: Judgement, contribution: Contribution) -> int:
    """Return the set of samples that a refund or report is about."""
    count = contribution.book.samples
    if not body.samples:
        return (1 << count) - 1
    if body.samples[-1] >= count:
        raise TransactionFailedError(
            "unknown_contribution",
            f"sample {body.samples[-1]} is unknown, the contribution has 0 to {count - 1}",
        )
    return collect_samples(body.samples)


def _read_batch(context: ExecutionContext, model: Model, contribution: Contribution) -> Batch:
    """Return the samples of a contribution, as wide as the model is by now."""
    data = context.read_payload(contribution.transaction_id)
    batch = decode_batch(data, samples_max=SAMPLES_MAX)
    return widen(batch, model.description.spec.feature_count)


def _find_agreed(context: ExecutionContext, model: Model, batch: Batch) -> int:
    """Return the set of samples whose label the model predicts now."""
    spec = model.description.spec
    family = get_family(spec.family)
    agreed = find_agreed(family, spec, context.read_model(model.description.name), batch)
    return int.from_bytes(np.packbits(agreed, bitorder="little").tobytes(), "little")


def _book(
    context: ExecutionContext,
    body: Judgement | Claim,
    contribution: Contribution,
    outcome: Outcome,
    recipient: AccountId,
    *,
    is_refund: bool = False,
) -> None:
    """Write the new book, pay what it gave up and settle the karma that was staked."""
    verify_outcome(contribution.book, outcome)
    returned, lost = split_karma(contribution.book, outcome, is_refund=is_refund)
    settle_staked_karma(
        context,
        contribution.contributor,
        body.model,
        returned=returned,
        lost=lost,
        since_ms=contribution.timestamp_ms,
    )
    key = contribution_key(body.model, body.sequence)
    context.put(key, replace(contribution, book=outcome.book))
    if outcome.paid:
        context.release(recipient, outcome.paid)


CONTRIBUTE: Final = ContributeKind()
REFUND: Final = RefundKind()
REPORT: Final = ReportKind()
CLAIM: Final = ClaimKind()
