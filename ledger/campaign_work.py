"""Performs the items of an evaluation, pays when it is over, and lets the model learn.

The model itself stays as it is until the very end: nothing else may change it while a campaign is
open, so every chain begins with its parameters, and a scratch copy learns. Source:
docs/spec/ledger.md §5.11, §7.27.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from incentives.valuation import Chain
from incentives.valuation_registry import get_valuation_rule
from ledger.campaign_evaluation import (
    SETTLE,
    START,
    TRAIN,
    CampaignScratch,
    Evaluation,
    Item,
    MeasureLog,
    decode_measure_log,
    decode_scratch,
    measure_log_key,
    scratch_key,
)
from ledger.campaign_payments import close_aborted, forget_samples, pay_settlement
from ledger.campaign_records import Campaign, campaign_key
from ledger.contribution_records import SAMPLES_MAX
from ledger.model_records import Model, model_progress_key
from ledger.model_tensors import ORIGINS, ModelArrays
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import get_progress
from ml_runtime.evaluation import evaluate
from ml_runtime.family import copy_state
from ml_runtime.registry import get_family
from ml_runtime.samples import Batch, decode_batch, widen
from primitives.errors import InvariantViolationError

__all__ = ["CampaignWork"]

SETTLED: Final = ORIGINS.index("settled")


class CampaignWork:
    """The evaluation of one campaign during one transaction.

    Parameters
    ----------
    context : of the transaction.
    model : that the campaign is about.
    campaign : in evaluation or learning.
    """

    def __init__(self, context: ExecutionContext, model: Model, campaign: Campaign) -> None:
        self._context = context
        self._description = model.description
        self._campaign = campaign
        self._family = get_family(model.description.spec.family)
        self._scratch: ModelArrays | None = None

    def perform(self, items_max: int) -> tuple[Campaign, int]:
        """Perform items until there are no more or so many were; put everything on record.

        Returns
        -------
        tuple[Campaign, int]
            The campaign afterwards and how many items were performed. If it is settled now, the
            model was changed: nothing may fail any more.
        """
        done = 0
        while done < items_max and self._campaign.is_open:
            self._perform_next()
            done += 1
        name = self._description.name
        self._context.put(campaign_key(name, self._campaign.number), self._campaign)
        if self._campaign.is_open:
            scratch = CampaignScratch.from_arrays(self._get_scratch())
            self._context.put(scratch_key(name), scratch)
        else:
            arrays = self._get_scratch()
            self._context.delete(scratch_key(name))
            self._install(arrays)
        return self._campaign, done

    def give_up(self) -> Campaign:
        """Close the campaign because its next item fits into no transaction any more.

        If nobody was paid yet, everybody gets back what was put in; else the model does not learn.
        """
        campaign, name = self._campaign, self._description.name
        if campaign.phase == "evaluation":
            campaign = close_aborted(self._context, campaign)
            forget_samples(self._context, name, campaign)
        else:
            now_ms = self._context.timestamp_ms
            campaign = replace(campaign, phase="settled", phase_ms=now_ms, evaluation=Evaluation())
        self._context.put(campaign_key(name, campaign.number), campaign)
        self._context.delete(scratch_key(name))
        return campaign

    def _perform_next(self) -> None:
        campaign = self._campaign
        item = campaign.evaluation.next_item(campaign.scoring_pieces)
        if item.kind == START:
            self._start()
        elif item.kind == SETTLE:
            self._settle()
        elif item.kind == TRAIN:
            self._train(item)
        else:
            self._measure(item)

    def _start(self) -> None:
        """Start the next chain, or note that there is none."""
        campaign = self._campaign
        rule = get_valuation_rule(campaign.terms.rule)
        chain = rule.next_chain(campaign.to_case(), self._read_log().history)
        if chain is None:
            evaluation = replace(campaign.evaluation, chain=Chain(()))
        else:
            self._begin_afresh()
            evaluation = Evaluation(chain)
        self._campaign = replace(campaign, evaluation=evaluation)

    def _settle(self) -> None:
        """Pay everybody by what was measured."""
        campaign, name = self._campaign, self._description.name
        rule, case = get_valuation_rule(campaign.terms.rule), campaign.to_case()
        history = self._read_log().history
        paid = pay_settlement(self._context, name, campaign, rule.settle(case, history))
        forget_samples(self._context, name, campaign)
        self._prepare_learning(paid)

    def _prepare_learning(self, campaign: Campaign) -> None:
        """Let the scratch model learn what is kept, going on from where it stands if it can."""
        kept = tuple(place for place, each in enumerate(campaign.outcomes) if each.kept)
        learnt = campaign.evaluation.learnt
        if kept[: len(learnt)] != learnt:
            learnt = ()
            self._begin_afresh()
        evaluation = Evaluation(Chain((kept,)), place=len(learnt), learnt=learnt)
        self._campaign = replace(
            campaign,
            phase="learning",
            phase_ms=self._context.timestamp_ms,
            evaluation=evaluation,
        )
        self._close_if_learnt()

    def _close_if_learnt(self) -> None:
        campaign = self._campaign
        kept = sum(each.kept for each in campaign.outcomes)
        if campaign.phase == "learning" and len(campaign.evaluation.learnt) == kept:
            self._campaign = replace(campaign, phase="settled", phase_ms=self._context.timestamp_ms)

    def _begin_afresh(self) -> None:
        self._scratch = copy_state(self._context.read_model(self._description.name))

    def _train(self, item: Item) -> None:
        campaign = self._campaign
        batch = self._read_batch(campaign.entries[item.number].transaction_id)
        state = self._get_scratch()
        self._family.update(self._description.spec, state, batch.samples, batch.targets)
        self._campaign = replace(campaign, evaluation=campaign.evaluation.train(item.number))
        self._close_if_learnt()

    def _measure(self, item: Item) -> None:
        campaign = self._campaign
        transaction_id = campaign.pieces.pieces[item.number].transaction_id
        if transaction_id is None:
            raise InvariantViolationError(f"piece {item.number} is measured but was not shown")
        batch = self._read_batch(transaction_id)
        found = evaluate(self._family, self._description.spec, self._get_scratch(), batch)
        value = found.correct if campaign.terms.metric == "accuracy" else -found.loss
        evaluation = campaign.evaluation.measure(value, len(campaign.scoring_pieces))
        chain = evaluation.chain
        if chain is not None and evaluation.piece == 0 and chain.is_over(evaluation.measures):
            log = self._read_log()
            key = measure_log_key(self._description.name, campaign.number)
            self._context.put(key, MeasureLog((*log.history, evaluation.measures)))
            evaluation = Evaluation(learnt=evaluation.learnt)
        self._campaign = replace(campaign, evaluation=evaluation)

    def _get_scratch(self) -> ModelArrays:
        if self._scratch is None:
            name, spec = self._description.name, self._description.spec
            record = self._context.get(scratch_key(name), decode_scratch)
            if record is None:
                raise InvariantViolationError(f"the campaign of {name!r} has lost its scratch")
            self._scratch = record.to_arrays(self._family.shapes(spec))
        return self._scratch

    def _read_log(self) -> MeasureLog:
        key = measure_log_key(self._description.name, self._campaign.number)
        return self._context.get(key, decode_measure_log) or MeasureLog()

    def _read_batch(self, transaction_id: bytes) -> Batch:
        batch = decode_batch(self._context.read_payload(transaction_id), samples_max=SAMPLES_MAX)
        return widen(batch, self._description.spec.feature_count)

    def _install(self, arrays: ModelArrays) -> None:
        """Give the model what the scratch model learnt; nothing may fail after this."""
        campaign, name = self._campaign, self._description.name
        if not campaign.evaluation.learnt:
            return
        learnt = sum(campaign.entries[place].samples for place in campaign.evaluation.learnt)
        progress = get_progress(self._context, name)
        progress = replace(
            progress,
            last_update_ms=self._context.timestamp_ms,
            samples=progress.samples + learnt,
        )
        self._context.put(model_progress_key(name), progress)
        self._context.replace_model(name, arrays)
        self._context.note_progress(name, progress, SETTLED)
