"""What the state says of a campaign: what was promised, who took part, what became of it.

A *campaign* is a period in which contributions to one model are collected and not learnt. Its
phases, in this order::

    draw            which piece of the hidden test data must be shown is left to chance
    participation   the piece is on show, contributions come in
    reveal          the provider shows the other pieces
    evaluation      contributions are valued on those, item by item
    learning        everybody was paid; the model learns what proved good

and how it can end: settled, or closed as *withheld* (the drawn piece was not shown), *not_revealed*
(another one was not), *empty* (nobody contributed), *aborted* (the limits of compute units were
lowered below what valuing it needs). Source: docs/spec/ledger.md §5.11.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from incentives.valuation import Case, ValuationTerms
from ledger.campaign_evaluation import CONTRIBUTIONS_MAX, Evaluation, read_evaluation
from ledger.contribution_records import SAMPLES_MAX
from ledger.hidden_pieces import PIECES_MAX, HiddenPieces, read_hidden_pieces
from ledger.schema import AMOUNT_MAX, StateReader, read_record
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, encode
from primitives.fields import COUNTER_MAX, FieldReader
from primitives.hashing import HASH_BYTES

__all__ = [
    "BUDGET_MAX",
    "CAMPAIGN_PREFIX",
    "METRICS",
    "PHASES",
    "REVEAL_WAIT_MS_MIN",
    "Campaign",
    "CampaignCount",
    "CampaignEntry",
    "CampaignOutcome",
    "CampaignTerms",
    "campaign_count_key",
    "campaign_key",
    "decode_campaign",
    "decode_campaign_count",
    "find_open_campaign",
    "read_campaign_terms",
]

CAMPAIGN_PREFIX: Final = b"campaign/"

METRICS: Final = ("accuracy", "loss")
"""How many answers are right, or minus the losses in Q16: more is better in both."""

OPEN_PHASES: Final = ("draw", "participation", "reveal", "evaluation", "learning")
PHASES: Final = (*OPEN_PHASES, "settled", "withheld", "not_revealed", "empty", "aborted")

REVEAL_WAIT_MS_MIN: Final = 60_000
BUDGET_MAX: Final = 64
PERCENT: Final = 100

NUMERATOR_BYTES_MAX: Final = 1_032
DENOMINATOR_BYTES_MAX: Final = 1_024
"""At most 256 passes each multiply a denominator by less than 2^32; no value reaches 2^64."""

_TEXT_BYTES_MAX: Final = 64

NOT_BEGUN: Final = Evaluation()


def campaign_count_key(model: str) -> bytes:
    """Return the state key of how many campaigns a model has had."""
    return b"campaigns/" + model.encode()


def campaign_key(model: str, number: int) -> bytes:
    """Return the state key of one campaign; numbers begin at 0 for every model."""
    return CAMPAIGN_PREFIX + model.encode() + b"/" + number.to_bytes(8, "big")


@dataclass(frozen=True, slots=True)
class CampaignCount:
    """How many campaigns a model has had; only the last can be open."""

    count: int = 0

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.count,))


def decode_campaign_count(data: bytes) -> CampaignCount:
    """Return the count whose canonical bytes are `data`; raises as `read_record`."""
    return CampaignCount(read_record(data, "campaigns", 1).counter("count"))


@dataclass(frozen=True, slots=True)
class CampaignTerms:
    """What the provider promises before anybody contributes.

    Parameters
    ----------
    rule : name of a valuation rule.
    metric : one of `METRICS`.
    valuation : bounty, stake and what else the rule asks for.
    contributions_max : participation ends with so many.
    min_contributions : with so many anybody can end participation; 0 if that takes time alone.
    length_ms : after so long anybody can end participation.
    reveal_wait_ms : time for showing the drawn piece, and again for showing all others.
    """

    rule: str
    metric: str
    valuation: ValuationTerms
    contributions_max: int
    min_contributions: int
    length_ms: int
    reveal_wait_ms: int

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        valuation = self.valuation
        return [
            self.rule,
            self.metric,
            valuation.bounty,
            valuation.stake,
            valuation.reset,
            valuation.clip_percent,
            valuation.budget,
            valuation.truncation,
            self.contributions_max,
            self.min_contributions,
            self.length_ms,
            self.reveal_wait_ms,
        ]


def read_campaign_terms(value: Value) -> CampaignTerms:
    """Return the terms whose fields are `value`; raises as `FieldReader` does."""
    reader = FieldReader(value, "campaign", 12)
    rule = reader.text("rule", _TEXT_BYTES_MAX)
    metric = reader.text("metric", _TEXT_BYTES_MAX)
    valuation = ValuationTerms(
        bounty=reader.integer("bounty", 1, AMOUNT_MAX),
        stake=reader.integer("stake", 0, AMOUNT_MAX),
        reset=reader.boolean("reset"),
        clip_percent=reader.integer("clip_percent", 1, PERCENT),
        budget=reader.integer("budget", 1, BUDGET_MAX),
        truncation=reader.counter("truncation"),
    )
    return CampaignTerms(
        rule=rule,
        metric=metric,
        valuation=valuation,
        contributions_max=reader.integer("contributions_max", 1, CONTRIBUTIONS_MAX),
        min_contributions=reader.integer("min_contributions", 0, CONTRIBUTIONS_MAX),
        length_ms=reader.counter("length_ms"),
        reveal_wait_ms=reader.integer("reveal_wait_ms", REVEAL_WAIT_MS_MIN, COUNTER_MAX),
    )


@dataclass(frozen=True, slots=True)
class CampaignEntry:
    """One contribution to a campaign.

    Parameters
    ----------
    sequence : number of the contribution among all to the model.
    contributor, depositor : who made it, and who put in its stake.
    transaction_id : whose payload it is.
    samples, entries : how many samples, and features in all of them together.
    """

    sequence: int
    contributor: AccountId
    depositor: AccountId
    transaction_id: bytes
    samples: int
    entries: int

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array."""
        return [
            self.sequence,
            self.contributor,
            self.depositor,
            self.transaction_id,
            self.samples,
            self.entries,
        ]


@dataclass(frozen=True, slots=True)
class CampaignOutcome:
    """What became of one contribution.

    Parameters
    ----------
    payout : all that was paid for it, its stake or what was left of it included.
    value : what it was worth by the rule, exactly; of all contributions of its contributor together
        where the rule values those together.
    kept : whether the model learnt it.
    """

    payout: int
    value: Fraction
    kept: bool

    def to_fields(self) -> list[Encodable]:
        """Return the fields of the canonical array; numbers as big-endian bytes, the shortest."""
        numerator, denominator = abs(self.value.numerator), self.value.denominator
        return [
            self.payout,
            self.value < 0,
            numerator.to_bytes((numerator.bit_length() + 7) // 8, "big"),
            denominator.to_bytes((denominator.bit_length() + 7) // 8, "big"),
            self.kept,
        ]


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign.

    Parameters
    ----------
    transaction_id : that opened it; also its id.
    number : among the model's campaigns.
    provider : who opened it and put in the bounty.
    terms : what was promised.
    seed_commitment : of the provider's part in the draw.
    draw_height : of the block that is the other part.
    phase : one of `PHASES`.
    phase_ms : time of the block in which the phase began.
    pieces : the hidden test data.
    drawn : number of the piece that was drawn, None until it was shown.
    block_id : of the block at `draw_height`, None until the drawn piece was shown.
    entries : the contributions, in the order of time.
    evaluation : how far it has come.
    outcomes : of the contributions, once everybody was paid.
    returned, burnt : what the provider got back, and what nobody got.
    """

    transaction_id: bytes
    number: int
    provider: AccountId
    terms: CampaignTerms
    seed_commitment: bytes
    draw_height: int
    phase: str
    phase_ms: int
    pieces: HiddenPieces
    drawn: int | None = None
    block_id: bytes | None = None
    entries: tuple[CampaignEntry, ...] = ()
    evaluation: Evaluation = NOT_BEGUN
    outcomes: tuple[CampaignOutcome, ...] = ()
    returned: int = 0
    burnt: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it still binds the model."""
        return self.phase in OPEN_PHASES

    @property
    def is_worked_on(self) -> bool:
        """Whether items of work are due."""
        return self.phase in ("evaluation", "learning")

    @property
    def scoring_pieces(self) -> tuple[int, ...]:
        """Numbers of the pieces that contributions are valued on: all but the drawn one."""
        return tuple(each for each in range(len(self.pieces.pieces)) if each != self.drawn)

    @property
    def samples(self) -> int:
        """Test samples that contributions are valued on."""
        return sum(self.pieces.pieces[each].samples for each in self.scoring_pieces)

    @property
    def held(self) -> int:
        """Bounty and stakes, as long as nobody was paid."""
        return self.terms.valuation.bounty + self.terms.valuation.stake * len(self.entries)

    def to_case(self) -> Case:
        """Return what the rule is asked about."""
        numbers: dict[AccountId, int] = {}
        for entry in self.entries:
            numbers.setdefault(entry.contributor, len(numbers))
        return Case(
            tuple(numbers[entry.contributor] for entry in self.entries),
            self.samples,
            self.terms.valuation,
            (self.block_id or b"") + self.transaction_id,
        )

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode(
            (
                self.transaction_id,
                self.number,
                self.provider,
                self.terms.to_fields(),
                self.seed_commitment,
                self.draw_height,
                PHASES.index(self.phase),
                self.phase_ms,
                self.pieces.to_fields(),
                self.drawn,
                self.block_id,
                [entry.to_fields() for entry in self.entries],
                self.evaluation.to_fields(),
                [outcome.to_fields() for outcome in self.outcomes],
                self.returned,
                self.burnt,
            )
        )


def decode_campaign(data: bytes) -> Campaign:
    """Return the campaign whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "campaign", 16)
    return Campaign(
        transaction_id=reader.bytes("transaction_id", HASH_BYTES),
        number=reader.counter("number"),
        provider=AccountId(reader.bytes("provider", ACCOUNT_ID_BYTES)),
        terms=read_campaign_terms(reader.value()),
        seed_commitment=reader.bytes("seed_commitment", HASH_BYTES),
        draw_height=reader.counter("draw_height"),
        phase=PHASES[reader.integer("phase", 0, len(PHASES) - 1)],
        phase_ms=reader.counter("phase_ms"),
        pieces=read_hidden_pieces(reader.array("pieces", PIECES_MAX)),
        drawn=reader.optional_integer("drawn", 0, PIECES_MAX - 1),
        block_id=reader.optional_bytes("block_id", HASH_BYTES),
        entries=tuple(_read_entry(item) for item in reader.array("entries", CONTRIBUTIONS_MAX)),
        evaluation=read_evaluation(reader.value()),
        outcomes=tuple(_read_outcome(item) for item in reader.array("outcomes", CONTRIBUTIONS_MAX)),
        returned=reader.counter("returned"),
        burnt=reader.counter("burnt"),
    )


def find_open_campaign(state: StateReader, model: str) -> Campaign | None:
    """Return the campaign of a model that is open, or None."""
    known = state.get(campaign_count_key(model), decode_campaign_count)
    if known is None:
        return None
    campaign = state.get(campaign_key(model, known.count - 1), decode_campaign)
    return campaign if campaign is not None and campaign.is_open else None


def _read_entry(value: Value) -> CampaignEntry:
    reader = FieldReader(value, "campaign.entries", 6)
    return CampaignEntry(
        reader.counter("sequence"),
        AccountId(reader.bytes("contributor", ACCOUNT_ID_BYTES)),
        AccountId(reader.bytes("depositor", ACCOUNT_ID_BYTES)),
        reader.bytes("transaction_id", HASH_BYTES),
        reader.integer("samples", 1, SAMPLES_MAX),
        reader.counter("entries"),
    )


def _read_outcome(value: Value) -> CampaignOutcome:
    reader = FieldReader(value, "campaign.outcomes", 5)
    payout, is_negative = reader.counter("payout"), reader.boolean("negative")
    numerator = int.from_bytes(reader.bytes("numerator", bytes_max=NUMERATOR_BYTES_MAX), "big")
    denominator = int.from_bytes(
        reader.bytes("denominator", bytes_max=DENOMINATOR_BYTES_MAX), "big"
    )
    # A record of ours has a denominator; bytes from elsewhere must not divide by zero.
    value_of = Fraction(-numerator if is_negative else numerator, max(denominator, 1))
    return CampaignOutcome(payout, value_of, reader.boolean("kept"))
