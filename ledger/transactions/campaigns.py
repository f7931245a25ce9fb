"""Transactions about campaigns: open_campaign, show_piece, advance_campaign.

Source: docs/spec/ledger.md §5.11, §7.25 to §7.27.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from incentives.valuation_registry import get_valuation_rule
from ledger.campaign_costs import (
    check_item_fits,
    compute_batch_units,
    compute_due_units,
    compute_record_units,
    is_out_of_reach,
)
from ledger.campaign_evaluation import SCRATCH_BYTES_MAX
from ledger.campaign_payments import (
    close_empty,
    close_not_revealed,
    close_withheld,
    forget_samples,
)
from ledger.campaign_records import (
    METRICS,
    Campaign,
    CampaignCount,
    CampaignTerms,
    campaign_count_key,
    campaign_key,
    decode_campaign_count,
    find_open_campaign,
    read_campaign_terms,
)
from ledger.campaign_work import CampaignWork
from ledger.draws import read_draw, read_drawn_ms, request_draw
from ledger.errors import TransactionFailedError
from ledger.hidden_pieces import (
    PIECES_MAX,
    SEED_BYTES,
    HiddenPiece,
    HiddenPieces,
    commit_to_seed,
    draw_piece,
    read_commitments,
)
from ledger.model_records import Model, decode_model, model_key
from ledger.parameters import Parameters
from ledger.schema import StateReader
from ledger.transaction import Transaction
from ledger.transactions.campaign_contributions import refuse_open_campaign
from ledger.transactions.contributed_batches import (
    BATCH_MEMO,
    batch_of,
    count_entries,
    fit_batch,
)
from ledger.transactions.kind import ExecutionContext
from ledger.transactions.model_access import get_model, read_model_name, require_owner
from ml_runtime.family import count_parameters
from ml_runtime.registry import get_family
from ml_runtime.samples import decode_batch, sample_count
from primitives.codec import Encodable, Value
from primitives.errors import InvalidInputError, InvariantViolationError
from primitives.fields import FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "ADVANCE_CAMPAIGN",
    "OPEN_CAMPAIGN",
    "SHOW_PIECE",
    "AdvanceCampaign",
    "OpenCampaign",
    "ShowPiece",
]

ITEMS_MAX: Final = 1_024
PARAMETER_BYTES: Final = 8
_PIECES_MIN: Final = 2


@dataclass(frozen=True, slots=True)
class OpenCampaign:
    """Collect contributions to a model and promise to pay for what they are worth.

    Parameters
    ----------
    model : its name.
    terms : what is promised.
    seed_commitment : of the provider's part in the draw of a piece.
    pieces : commitments to the hidden test data, 2 to 256.
    """

    model: str
    terms: CampaignTerms
    seed_commitment: bytes
    pieces: tuple[bytes, ...]

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.terms.to_fields(), self.seed_commitment, list(self.pieces)]


@dataclass(frozen=True, slots=True)
class ShowPiece:
    """Show a piece of hidden test data: it is the payload.

    Parameters
    ----------
    model : its name.
    piece : number of the piece.
    seed : of 32 bytes for the drawn piece, empty for the others.
    """

    model: str
    piece: int
    seed: bytes = b""

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.piece, self.seed]


@dataclass(frozen=True, slots=True)
class AdvanceCampaign:
    """Do what is due: end a phase that is over, or so many items of the evaluation."""

    model: str
    items: int

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.model, self.items]


class OpenCampaignKind:
    """Opens a campaign and holds its bounty."""

    code: Final = 26
    name: Final = "open_campaign"
    has_payload: Final = False
    result_fields: Final = ("campaign", "draw_height")

    def decode_body(self, value: list[Value]) -> OpenCampaign:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 4)
        body = OpenCampaign(
            read_model_name(reader),
            read_campaign_terms(reader.value()),
            reader.bytes("seed_commitment", HASH_BYTES),
            read_commitments(
                reader.array("pieces", PIECES_MAX), f"{self.name}.pieces", least=_PIECES_MIN
            ),
        )
        reader.end()
        return body

    def check(self, _transaction: Transaction, body: OpenCampaign, parameters: Parameters) -> None:
        """Refuse terms that contradict each other; raises ``invalid_campaign``."""
        terms = body.terms
        rule = get_valuation_rule(terms.rule)
        rule.check(terms.valuation)
        metrics = METRICS[:1] if rule.counts_answers else METRICS
        if terms.metric not in metrics:
            raise _invalid("metric", terms.metric, " or ".join(metrics))
        limits = {
            "min_contributions": terms.contributions_max,
            "length_ms": parameters.wait_ms_max,
            "reveal_wait_ms": parameters.wait_ms_max,
        }
        for name, limit in limits.items():
            if getattr(terms, name) > limit:
                raise _invalid(name, getattr(terms, name), limit)

    def cost(self, _state: StateReader, _transaction: Transaction, _body: OpenCampaign) -> int:
        """Return 0: the envelope's own units cover it."""
        return 0

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: OpenCampaign
    ) -> list[Encodable]:
        """Open the campaign.

        Raises
        ------
        TransactionFailedError
            ``unknown_model``, ``not_owner``, ``campaign_open``, ``wrong_rule``, ``unsupported``,
            ``model_too_large``, ``evaluation_too_large`` or ``insufficient_balance``.
        """
        model = get_model(context, body.model)
        require_owner(context, model)
        refuse_open_campaign(context, body.model)
        _check_suits(model, body.terms)
        known = context.get(campaign_count_key(body.model), decode_campaign_count)
        number = 0 if known is None else known.count
        draw_height = context.height + context.parameters.unfinal_blocks_max
        campaign = Campaign(
            transaction_id=context.transaction_id,
            number=number,
            provider=context.sender,
            terms=body.terms,
            seed_commitment=body.seed_commitment,
            draw_height=draw_height,
            phase="draw",
            phase_ms=context.timestamp_ms,
            pieces=HiddenPieces(tuple(HiddenPiece(each) for each in body.pieces)),
        )
        check_item_fits(model.description.spec, context.parameters, campaign, 0)
        context.hold(context.sender, body.terms.valuation.bounty)
        request_draw(context, draw_height)
        context.put(campaign_key(body.model, number), campaign)
        context.put(campaign_count_key(body.model), CampaignCount(number + 1))
        return [number, draw_height]


class ShowPieceKind:
    """Shows a piece of a campaign's test data: first the drawn one, in the end all others."""

    code: Final = 27
    name: Final = "show_piece"
    has_payload: Final = True
    result_fields: Final = ("campaign", "phase", "samples")

    def decode_body(self, value: list[Value]) -> ShowPiece:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 3)
        body = ShowPiece(
            read_model_name(reader),
            reader.integer("piece", 0, PIECES_MAX - 1),
            reader.bytes("seed", bytes_max=SEED_BYTES),
        )
        reader.end()
        if len(body.seed) not in (0, SEED_BYTES):
            raise InvalidInputError(
                "malformed",
                f"{self.name}.seed must have {SEED_BYTES} bytes or none, found {len(body.seed)}",
                field=f"{self.name}.seed",
                value=len(body.seed),
                limit=SEED_BYTES,
            )
        return body

    def check(self, transaction: Transaction, _body: ShowPiece, parameters: Parameters) -> None:
        """Check that the payload is a batch; raises as `decode_batch`."""
        if transaction.payload is None:
            raise InvariantViolationError("a piece was checked without its payload")
        limit = parameters.samples_per_contribution_max
        batch = decode_batch(transaction.payload.data, samples_max=limit)
        transaction.memo[BATCH_MEMO] = batch

    def cost(self, state: StateReader, _transaction: Transaction, body: ShowPiece) -> int:
        """Return what writing the record costs; the piece's own bytes are metered anyway."""
        campaign = find_open_campaign(state, body.model)
        return 0 if campaign is None else compute_record_units(campaign)

    def apply(
        self, context: ExecutionContext, transaction: Transaction, body: ShowPiece
    ) -> list[Encodable]:
        """Show the piece.

        Raises
        ------
        TransactionFailedError
            ``unknown_model``, ``not_owner``, ``no_campaign``, ``wrong_phase``, ``not_drawn``,
            ``too_late``, ``wrong_seed``, ``wrong_piece``, ``wrong_commitment``, what the batch does
            not suit, or ``evaluation_too_large``.
        """
        model = get_model(context, body.model)
        require_owner(context, model)
        campaign = _get_open(context, body.model)
        if campaign.phase == "draw":
            campaign = _open_draw(context, campaign, body)
        elif campaign.phase == "reveal":
            _check_revealed(context, campaign, body)
        else:
            raise TransactionFailedError(
                "wrong_phase", f"no piece is to be shown in the phase {campaign.phase}"
            )
        commitment = campaign.pieces.pieces[body.piece].commitment
        if transaction.payload_commitment != commitment:
            raise TransactionFailedError(
                "wrong_commitment", f"piece {body.piece} was committed to as {commitment.hex()}"
            )
        batch = fit_batch(model.description, batch_of(context, transaction))
        samples, entries = sample_count(batch.samples), count_entries(batch.samples)
        spec = model.description.spec
        units = compute_batch_units(spec, samples, entries)
        check_item_fits(spec, context.parameters, campaign, units)
        pieces = campaign.pieces.show(body.piece, context.transaction_id, samples, entries)
        campaign = replace(campaign, pieces=pieces)
        if campaign.phase == "draw":
            campaign = _enter(context, campaign, "participation")
        elif pieces.next_hidden is None:
            campaign = _enter(context, campaign, "evaluation")
        context.put(campaign_key(body.model, campaign.number), campaign)
        return [campaign.number, campaign.phase, samples]


class AdvanceCampaignKind:
    """Does what is due in a campaign; anybody may ask."""

    code: Final = 28
    name: Final = "advance_campaign"
    has_payload: Final = False
    result_fields: Final = ("campaign", "phase", "items")

    def decode_body(self, value: list[Value]) -> AdvanceCampaign:
        """Return the body; raises `InvalidInputError`."""
        reader = FieldReader(value, self.name, 2)
        body = AdvanceCampaign(read_model_name(reader), reader.integer("items", 1, ITEMS_MAX))
        reader.end()
        return body

    def check(
        self, _transaction: Transaction, _body: AdvanceCampaign, _parameters: Parameters
    ) -> None:
        """Check nothing further: the rest depends on the state."""

    def cost(self, state: StateReader, _transaction: Transaction, body: AdvanceCampaign) -> int:
        """Return what the items cost that would be performed now, or more than that."""
        campaign = find_open_campaign(state, body.model)
        model = state.get(model_key(body.model), decode_model)
        if campaign is None or model is None:
            return 0
        return compute_due_units(state, model.description.spec, campaign, body.items)

    def apply(
        self, context: ExecutionContext, _transaction: Transaction, body: AdvanceCampaign
    ) -> list[Encodable]:
        """Do what is due; fails with ``unknown_model``, ``no_campaign`` or ``not_due``."""
        model = get_model(context, body.model)
        campaign = _get_open(context, body.model)
        if campaign.is_worked_on:
            work = CampaignWork(context, model, campaign)
            if is_out_of_reach(model.description.spec, context.parameters, campaign):
                campaign, done = work.give_up(), 0
            else:
                campaign, done = work.perform(body.items)
            return [campaign.number, campaign.phase, done]
        if campaign.phase == "draw":
            _require_due(context, _get_show_deadline(context, campaign))
            campaign = close_withheld(context, campaign)
        elif campaign.phase == "participation":
            campaign = _end_participation(context, campaign)
        else:
            _require_due(context, _get_reveal_deadline(campaign))
            campaign = close_not_revealed(context, campaign)
            forget_samples(context, body.model, campaign)
        context.put(campaign_key(body.model, campaign.number), campaign)
        return [campaign.number, campaign.phase, 0]


def _check_suits(model: Model, terms: CampaignTerms) -> None:
    """Check that a model can have such a campaign."""
    rule = get_valuation_rule(terms.rule)
    mechanism = model.description.terms.mechanism
    if rule.mechanism != mechanism:
        raise TransactionFailedError(
            "wrong_rule",
            f"{rule.name} is for models of the mechanism {rule.mechanism}, this one has"
            f" {mechanism}",
        )
    spec = model.description.spec
    family = get_family(spec.family)
    task = family.task(spec)
    if task == "none" or (rule.counts_answers and task != "classification"):
        raise TransactionFailedError(
            "unsupported", f"{rule.name} does not value contributions to a model for {task}"
        )
    size = PARAMETER_BYTES * count_parameters(family, spec)
    if size > SCRATCH_BYTES_MAX:
        raise TransactionFailedError(
            "model_too_large",
            f"the parameters have {size} bytes, those of a model with campaigns at most"
            f" {SCRATCH_BYTES_MAX}",
        )


def _get_open(context: ExecutionContext, model: str) -> Campaign:
    campaign = find_open_campaign(context, model)
    if campaign is None:
        raise TransactionFailedError("no_campaign", f"model {model!r} has no open campaign")
    return campaign


def _open_draw(context: ExecutionContext, campaign: Campaign, body: ShowPiece) -> Campaign:
    """Check that the piece is the drawn one; return the campaign with what drew it."""
    block_id = read_draw(context, campaign.draw_height)
    if block_id is None:
        raise TransactionFailedError(
            "not_drawn", f"the block at height {campaign.draw_height} is not known yet"
        )
    _require_in_time(context, _get_show_deadline(context, campaign))
    if commit_to_seed(body.seed) != campaign.seed_commitment:
        raise TransactionFailedError("wrong_seed", "the seed is not the one committed to")
    drawn = draw_piece(body.seed, block_id, len(campaign.pieces.pieces))
    if body.piece != drawn:
        raise TransactionFailedError("wrong_piece", f"piece {drawn} was drawn, not {body.piece}")
    return replace(campaign, drawn=drawn, block_id=block_id)


def _check_revealed(context: ExecutionContext, campaign: Campaign, body: ShowPiece) -> None:
    """Check that the piece is the next one that is hidden."""
    _require_in_time(context, _get_reveal_deadline(campaign))
    if body.seed:
        raise TransactionFailedError("wrong_seed", "the seed was shown with the drawn piece")
    if body.piece != campaign.pieces.next_hidden:
        raise TransactionFailedError(
            "wrong_piece",
            f"piece {campaign.pieces.next_hidden} is the next to be shown, not {body.piece}",
        )


def _end_participation(context: ExecutionContext, campaign: Campaign) -> Campaign:
    """Begin the reveal, or close a campaign to which nobody contributed."""
    terms, count = campaign.terms, len(campaign.entries)
    if not 0 < terms.min_contributions <= count:
        _require_due(context, campaign.phase_ms + terms.length_ms)
    if count == 0:
        return close_empty(context, campaign)
    return _enter(context, campaign, "reveal")


def _get_show_deadline(context: ExecutionContext, campaign: Campaign) -> int | None:
    """Return until when the drawn piece must be shown; None before the draw."""
    known_ms = read_drawn_ms(context, campaign.draw_height)
    return None if known_ms is None else known_ms + campaign.terms.reveal_wait_ms


def _get_reveal_deadline(campaign: Campaign) -> int:
    return campaign.phase_ms + campaign.terms.reveal_wait_ms


def _require_due(context: ExecutionContext, due_ms: int | None) -> None:
    if due_ms is None or context.timestamp_ms < due_ms:
        raise TransactionFailedError(
            "not_due",
            f"it is {context.timestamp_ms} ms, nothing is due"
            f" before {'the draw' if due_ms is None else due_ms}",
        )


def _require_in_time(context: ExecutionContext, due_ms: int | None) -> None:
    if due_ms is not None and context.timestamp_ms >= due_ms:
        raise TransactionFailedError(
            "too_late",
            f"it is {context.timestamp_ms} ms, the piece had to be shown before {due_ms}",
        )


def _enter(context: ExecutionContext, campaign: Campaign, phase: str) -> Campaign:
    return replace(campaign, phase=phase, phase_ms=context.timestamp_ms)


def _invalid(name: str, value: int | str, limit: int | str) -> InvalidInputError:
    return InvalidInputError(
        "invalid_campaign",
        f"campaign.{name} must be at most {limit}, found {value}"
        if isinstance(limit, int)
        else f"campaign.{name} must be {limit} for this rule, found {value}",
        field=f"campaign.{name}",
        value=value,
        limit=limit,
    )


OPEN_CAMPAIGN: Final = OpenCampaignKind()
SHOW_PIECE: Final = ShowPieceKind()
ADVANCE_CAMPAIGN: Final = AdvanceCampaignKind()
