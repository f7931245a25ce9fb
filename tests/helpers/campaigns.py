"""A chain with a model that learns from campaigns, and everybody who takes part in one.

>>> world = CampaignWorld()
>>> world.open().code, world.show_drawn().code
('ok', 'ok')
>>> world.contribute(world.alice, *GOOD).code
'ok'
>>> world.campaign.phase
'participation'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from incentives.karma import to_points
from incentives.terms import Terms
from incentives.valuation import ValuationTerms
from ledger.campaign_evaluation import (
    MeasureLog,
    decode_measure_log,
    decode_scratch,
    measure_log_key,
    scratch_key,
)
from ledger.campaign_records import (
    Campaign,
    CampaignTerms,
    campaign_count_key,
    campaign_key,
    decode_campaign,
    decode_campaign_count,
)
from ledger.draws import read_draw
from ledger.executor import BlockExecutor
from ledger.hidden_pieces import commit_to_seed, draw_piece
from ledger.karma_records import Karma, decode_karma, karma_key, overall_karma_key
from ledger.model_records import (
    ModelDescription,
    ModelProgress,
    decode_model_progress,
    model_progress_key,
)
from ledger.model_tensors import ModelVersion, decode_model_version, model_version_key
from ledger.parameters import Parameters
from ledger.payload import Payload
from ledger.receipt import Receipt
from ledger.store import LedgerStore
from ledger.transactions.campaigns import AdvanceCampaign, OpenCampaign, ShowPiece
from ledger.transactions.contributions import Contribute
from ledger.transactions.models import CreateModel
from ml_runtime.encoders import ScaleEncoder
from ml_runtime.fixed_point import ONE
from ml_runtime.samples import DenseSamples, TargetKind, encode_batch
from ml_runtime.spec import ModelSpec, make_spec
from primitives.codec import Encodable
from tests.helpers.ledger import Chain, TestAccount, make_network, make_salt, make_transaction

MODEL = "shared"
SEED = b"\x05" * 32
LENGTH_MS = 1_000_000
WAIT_MS = 60_000
LOW, MIDDLE, HIGH = [0, 0], [ONE, ONE], [4 * ONE, 4 * ONE]
GOOD = ([LOW, HIGH], [0, 1])
BAD = ([LOW, HIGH, HIGH], [1, 0, 0])
PIECE = ([LOW, MIDDLE, HIGH, HIGH], [0, 0, 1, 1])

Samples = tuple[Sequence[Sequence[int]], Sequence[int]]


def make_terms(rule: str = "market_single", **changes: Any) -> CampaignTerms:
    """Return terms; names of the valuation's terms go there."""
    named = {name: value for name, value in changes.items() if name in _VALUATION}
    rest = {name: value for name, value in changes.items() if name not in _VALUATION}
    terms = CampaignTerms(
        rule=rule,
        metric="accuracy",
        valuation=replace(ValuationTerms(bounty=1_000, stake=10), **named),
        contributions_max=256,
        min_contributions=0,
        length_ms=LENGTH_MS,
        reveal_wait_ms=WAIT_MS,
    )
    return replace(terms, **rest)


_VALUATION = ("bounty", "stake", "reset", "clip_percent", "budget", "truncation")


def encode_samples(features: Sequence[Sequence[int]], targets: Sequence[int], **kind: Any) -> bytes:
    samples = DenseSamples(np.array(features, dtype=np.int64))
    return encode_batch(samples, np.array(targets, dtype=np.int64), **kind)


class CampaignWorld:
    """A chain with the model `MODEL`, which has learnt nothing yet."""

    def __init__(
        self,
        rule: str = "market_single",
        *,
        spec: ModelSpec | None = None,
        parameters: Parameters | None = None,
        pieces: Sequence[Samples] = (PIECE,) * 4,
        mechanism: str | None = None,
        targets: TargetKind = "labels",
        **description: Any,
    ) -> None:
        self.rule = rule
        self.network = make_network(
            accounts=12, parameters=parameters or Parameters(unfinal_blocks_max=2)
        )
        self.chain = Chain(self.network)
        self.owner, self.alice, self.bob, self.carol, *self.others = self.network.accounts
        self.now_ms = self.chain.tip_header.timestamp_ms
        self.salts = 0
        self.samples = 0
        self.pieces = [
            Payload(make_salt(1_000 + number), encode_samples(*piece, kind=targets))
            for number, piece in enumerate(pieces)
        ]
        market = rule.startswith("market")
        name = mechanism or ("prediction_market" if market else "contribution_pay")
        spec = spec or make_spec("nearest_centroid", "dense", 2, 2)
        described = ModelDescription(
            **{
                "name": MODEL,
                "description": "",
                "spec": spec,
                "class_names": ("low", "high", "other")[: spec.class_count],
                "encoder": ScaleEncoder(),
                "terms": Terms(name, 0, 0, 0, 0),
                "licence": "CC0-1.0",
                "guidelines": "",
                **description,
            }
        )
        assert self.send(self.owner, "create_model", CreateModel(described).to_fields()).code == (
            "ok"
        )

    def send(
        self,
        sender: TestAccount,
        kind: str,
        body: Sequence[Encodable],
        payload: Payload | None = None,
        *,
        after_ms: int = 1,
        sponsor: TestAccount | None = None,
    ) -> Receipt:
        """Run a block with one transaction and check that money still adds up."""
        self.now_ms += after_ms
        transaction = make_transaction(
            self.network,
            sender,
            kind,
            body,
            nonce=self.chain.account(sender.id).nonce,
            payload=payload,
            sponsor=sponsor,
            valid_until_height=self.chain.store.tip().height + 100,
        )
        block = self.chain.run([transaction], timestamp_ms=self.now_ms)
        self.chain.check_conservation()
        return block.receipts[0]

    def open(self, sender: TestAccount | None = None, **changes: Any) -> Receipt:
        body = OpenCampaign(
            MODEL,
            make_terms(self.rule, **changes),
            commit_to_seed(SEED),
            tuple(piece.commitment for piece in self.pieces),
        )
        return self.send(sender or self.owner, "open_campaign", body.to_fields())

    def wait_for_draw(self) -> int:
        """Run empty blocks until the draw is known; return which piece was drawn."""
        height = self.campaign.draw_height
        while read_draw(self.chain.store.tip_state, height) is None:
            self.now_ms += 1
            self.chain.run(timestamp_ms=self.now_ms)
        block_id = read_draw(self.chain.store.tip_state, height)
        assert block_id is not None
        return draw_piece(SEED, block_id, len(self.pieces))

    def show(
        self,
        piece: int,
        seed: bytes = b"",
        *,
        payload: Payload | None = None,
        sender: TestAccount | None = None,
        after_ms: int = 1,
    ) -> Receipt:
        body = ShowPiece(MODEL, piece, seed).to_fields()
        shown = payload or self.pieces[piece]
        return self.send(sender or self.owner, "show_piece", body, shown, after_ms=after_ms)

    def show_drawn(self) -> Receipt:
        return self.show(self.wait_for_draw(), SEED)

    def show_rest(self) -> None:
        for piece in range(len(self.pieces)):
            if piece != self.campaign.drawn:
                assert self.show(piece).code == "ok"

    def contribute(
        self,
        sender: TestAccount,
        features: Sequence[Sequence[int]],
        targets: Sequence[int],
        *,
        max_deposit: int = 10**9,
        sponsor: TestAccount | None = None,
        verbatim: bool = False,
        **kind: Any,
    ) -> Receipt:
        """Contribute; unless `verbatim`, samples are made to differ by less than models notice."""
        self.salts += 1
        if not verbatim:
            features = [self._make_new(sample) for sample in features]
        payload = Payload(make_salt(self.salts), encode_samples(features, targets, **kind))
        body = Contribute(MODEL, max_deposit, len(targets)).to_fields()
        return self.send(sender, "contribute", body, payload, sponsor=sponsor)

    def _make_new(self, sample: Sequence[int]) -> list[int]:
        self.samples += 1
        return [sample[0] + self.samples, *sample[1:]]

    def advance(
        self, items: int = 256, *, after_ms: int = 1, sender: TestAccount | None = None
    ) -> Receipt:
        body = AdvanceCampaign(MODEL, items).to_fields()
        return self.send(sender or self.carol, "advance_campaign", body, after_ms=after_ms)

    def collect(self, *contributions: tuple[TestAccount, Samples], **changes: Any) -> None:
        """Open a campaign, let people contribute, and show all pieces."""
        assert self.open(**changes).code == "ok"
        assert self.show_drawn().code == "ok"
        for sender, samples in contributions:
            receipt = self.contribute(sender, *samples)
            assert receipt.code == "ok", receipt
        if self.campaign.phase == "participation":
            assert self.advance(after_ms=LENGTH_MS).data[1] == "reveal"
        self.show_rest()
        assert self.campaign.phase == "evaluation"

    def evaluate(self, items: int = 256, *, crashes: bool = False) -> list[Receipt]:
        """Advance until the campaign is closed; with `crashes` before every block."""
        receipts = []
        while self.campaign.is_open:
            if crashes:
                self.restart()
            receipts.append(self.advance(items))
            assert receipts[-1].code == "ok", receipts[-1]
        return receipts

    def restart(self) -> None:
        """Go on with what the disk holds and nothing else, as after a crash."""
        self.chain.store = LedgerStore(self.chain.values)
        self.chain.executor = BlockExecutor(self.chain.store, self.chain.payloads)

    def read_campaign(self, number: int) -> Campaign:
        found = self.chain.store.read(campaign_key(MODEL, number), decode_campaign)
        assert found is not None
        assert decode_campaign(found.encode()) == found
        return found

    @property
    def _count(self) -> int:
        found = self.chain.store.read(campaign_count_key(MODEL), decode_campaign_count)
        assert found is not None
        return found.count

    @property
    def campaign(self) -> Campaign:
        """The last one."""
        return self.read_campaign(self._count - 1)

    @property
    def measures(self) -> tuple[tuple[int, ...], ...]:
        key = measure_log_key(MODEL, self._count - 1)
        found = self.chain.store.read(key, decode_measure_log)
        return (found or MeasureLog()).history

    @property
    def has_scratch(self) -> bool:
        return self.chain.store.read(scratch_key(MODEL), decode_scratch) is not None

    @property
    def progress(self) -> ModelProgress:
        found = self.chain.store.read(model_progress_key(MODEL), decode_model_progress)
        assert found is not None
        return found

    def version(self, number: int) -> ModelVersion | None:
        return self.chain.store.read(model_version_key(MODEL, number), decode_model_version)

    def arrays(self) -> dict[str, list[int]]:
        arrays = self.chain.store.load_model_state(MODEL)
        assert arrays is not None
        return {name: array.tolist() for name, array in arrays.items()}

    def balance(self, account: TestAccount) -> int:
        return self.chain.account(account.id).balance

    def karma(self, account: TestAccount) -> tuple[int, int]:
        on_model, overall = (
            self.chain.store.read(key, decode_karma) or Karma()
            for key in (karma_key(account.id, MODEL), overall_karma_key(account.id))
        )
        assert on_model.parts == overall.parts
        return to_points(on_model.parts), on_model.valid


def has_fingerprints(world: CampaignWorld) -> bool:
    """Say whether the state knows samples of any campaign."""
    return bool(world.chain.store.scan(b"campaign_samples/", limit=1))
