"""Prediction markets and contribution pay, from Python: ``client.campaigns``.

A provider holds out a bounty, commits to hidden test data and shows it in the end; contributors are
paid for what their samples were worth on it.

>>> pieces = [(features[n::10], labels[n::10]) for n in range(10)]         # doctest: +SKIP
>>> secrets = client.campaigns.prepare("shared", pieces)                   # doctest: +SKIP
>>> file.write_text(json.dumps(secrets.to_json()))                         # doctest: +SKIP
>>> client.campaigns.open("shared", secrets, rule="market_grouped",
...                       bounty=10_000, stake=100)                        # doctest: +SKIP
>>> client.campaigns.show_drawn(secrets)                                   # doctest: +SKIP
>>> client.campaigns.advance("shared").next_sentence                       # doctest: +SKIP
'Before 2026-11-21T13:00:00.000Z the provider must show the pieces that are hidden, …'
>>> client.campaigns.show_all(secrets)                                     # doctest: +SKIP
>>> client.campaigns.advance("shared").phase                               # doctest: +SKIP
'settled'
>>> client.campaigns.verify("shared").is_right                             # doctest: +SKIP
True
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from ledger.hidden_pieces import SEED_BYTES
from ledger.payload import Payload
from ml_runtime.samples import decode_batch
from primitives.codec import Encodable
from primitives.errors import InvalidInputError
from quorate import bodies
from quorate.bodies import DAY_MS
from quorate.campaign_audit import CampaignAudit, audit_campaign
from quorate.campaign_records import CampaignRecord, CampaignSecrets, OpenedCampaign
from quorate.connection import Connection
from quorate.errors import NotFoundError, TransactionFailedError
from quorate.records import Transaction

__all__ = ["Campaigns"]

ITEMS_MAX: Final = 1_024
QUOTA_CODES: Final = frozenset({"account_quota_exceeded", "block_full"})
CLOSED_MEANWHILE_CODES: Final = frozenset({"not_due", "no_campaign"})

Submit = Callable[[int, list[Encodable], Payload | None], Transaction]
MakePiece = Callable[[str, Any, Any], Payload]
ListItems = Callable[[str, int | None], Iterator[Mapping[str, Any]]]
Tell = Callable[[CampaignRecord], None]
Piece = Payload | tuple[Any, Any]


class Campaigns:
    """Campaigns, for one account; made by :class:`quorate.Client`.

    Parameters
    ----------
    connection : to the node.
    submit : sends a transaction and waits until it is final.
    make_piece : makes a payload of features and labels.
    list_items : reads a list page by page.
    """

    def __init__(
        self, connection: Connection, submit: Submit, make_piece: MakePiece, list_items: ListItems
    ) -> None:
        self._connection = connection
        self._submit = submit
        self._make_piece = make_piece
        self._list_items = list_items

    def list(self, model: str | None = None, limit: int | None = None) -> list[CampaignRecord]:
        """Return campaigns of a model, newest first, or all open ones; without their entries."""
        path = "/api/v1/campaigns" if model is None else f"/api/v1/models/{model}/campaigns"
        found = [CampaignRecord.from_json(item) for item in self._list_items(path, limit)]
        return found if limit is None else found[:limit]

    def get(self, model: str, number: int | None = None) -> CampaignRecord:
        """Return a campaign with its entries and measures, the newest if none is named.

        Raises
        ------
        NotFoundError
            ``unknown_model`` or ``unknown_campaign``.
        """
        if number is None:
            newest = self.list(model, 1)
            if not newest:
                raise NotFoundError(
                    404,
                    "unknown_campaign",
                    f"model {model!r} has had no campaign",
                    field="model",
                    value=model,
                )
            number = newest[0].number
        path = f"/api/v1/models/{model}/campaigns/{number}"
        return CampaignRecord.from_json(self._connection.get(path))

    def prepare(self, model: str, pieces: Sequence[Piece]) -> CampaignSecrets:
        """Return the secrets of a campaign that is to be opened; nothing is sent.

        Parameters
        ----------
        model : name of the model.
        pieces : 2 to 256 pieces of test data that should be alike: features and labels, as for
            ``contribute``, or payloads. One of them is drawn and shown as an example.

        Raises
        ------
        InvalidInputError
            ``too_large`` or ``too_many_samples``: a piece could be committed to, but not be shown.
        """
        payloads = tuple(
            piece if isinstance(piece, Payload) else self._make_piece(model, *piece)
            for piece in pieces
        )
        limits = self._connection.get("/api/v1/status")["parameters"]
        bytes_max = int(limits["payload_bytes_max"])
        for number, piece in enumerate(payloads):
            if len(piece.data) > bytes_max:
                raise InvalidInputError(
                    "too_large",
                    f"piece {number} has {len(piece.data)} bytes, more than the {bytes_max} of a"
                    " payload; cut the samples into more pieces",
                    field="pieces",
                    value=len(piece.data),
                    limit=bytes_max,
                )
            decode_batch(piece.data, samples_max=int(limits["samples_per_contribution_max"]))
        return CampaignSecrets(model, os.urandom(SEED_BYTES), payloads)

    def open(
        self,
        model: str,
        pieces: CampaignSecrets | Sequence[Piece],
        *,
        rule: str,
        bounty: int,
        stake: int = 0,
        metric: str = "accuracy",
        reset: bool | None = None,
        clip_percent: int = 100,
        budget: int = 1,
        truncation: int = 0,
        contributions_max: int = 256,
        min_contributions: int = 0,
        length_ms: int = 7 * DAY_MS,
        reveal_wait_ms: int = DAY_MS,
    ) -> OpenedCampaign:
        """Collect contributions to a model of one's own, and promise to pay for what they bring.

        The secrets that are returned are needed within `reveal_wait_ms` of the draw, and again
        after participation. Who wants them on disk before the ledger hears of the campaign calls
        :meth:`prepare` first.

        Parameters
        ----------
        model : name of the model.
        pieces : what :meth:`prepare` takes, or what it returned.
        rule : ``market_single``, ``market_grouped``, ``shapley`` or ``leave_one_out``.
        bounty : to be won, ≥ 1; held from now on.
        stake : goes with every contribution; at least 1 in a market.
        metric : ``accuracy``, or ``loss`` where the rule allows it.
        reset : whether each pass of a market trains and measures again; if left out, it does.
        clip_percent : most that one contributor can win, of the bounty; for contribution pay.
        budget : pairs of orders that Shapley values are sampled by above 8 contributors.
        truncation : a sampled walk ends this near to the measure of everything; 0 if none does.
        contributions_max : participation ends with so many.
        min_contributions : with so many anybody can end it; 0 if time alone does.
        length_ms : after so long anybody can end it.
        reveal_wait_ms : time to show the drawn piece, and again for all others; ≥ 60,000.

        Raises
        ------
        RefusedError
            ``invalid_campaign``: the terms do not go with the rule.
        TransactionFailedError
            ``not_owner``, ``wrong_rule``, ``campaign_open``, ``insufficient_balance`` and so on.
        """
        kept = pieces if isinstance(pieces, CampaignSecrets) else self.prepare(model, pieces)
        terms: list[Encodable] = [
            rule,
            metric,
            bounty,
            stake,
            rule.startswith("market") if reset is None else reset,
            clip_percent,
            budget,
            truncation,
            contributions_max,
            min_contributions,
            length_ms,
            reveal_wait_ms,
        ]
        commitments: list[Encodable] = list(kept.commitments)
        body: list[Encodable] = [model, terms, kept.seed_commitment, commitments]
        transaction = self._submit(bodies.OPEN_CAMPAIGN, body, None)
        return OpenedCampaign(int(transaction.result["campaign"]), transaction, kept)

    def show_drawn(self, secrets: CampaignSecrets) -> Transaction:
        """Show the drawn piece and the seed; contributions are taken from then on.

        Raises
        ------
        InvalidInputError
            ``not_drawn`` (the block is not known yet: try again), ``wrong_phase``, ``too_late``
            or ``wrong_commitment``: nothing was sent, so nothing was given away.
        """
        campaign = self._get_matching(secrets, "draw")
        block_id = campaign.raw["draw"]["block_id"]
        if block_id is None:
            raise InvalidInputError(
                "not_drawn",
                f"block {campaign.raw['draw']['height']} is not known yet, the chain is at"
                f" {self._connection.height}",
                field="height",
                value=self._connection.height,
                limit=campaign.raw["draw"]["height"],
            )
        piece = secrets.find_drawn(bytes.fromhex(block_id))
        return self._show(secrets, piece, secrets.seed)

    def show_next(self, secrets: CampaignSecrets) -> Transaction:
        """Show the first piece that is hidden; raises as :meth:`show_drawn`."""
        campaign = self._get_matching(secrets, "reveal")
        piece = cast(int, campaign.next_hidden)
        return self._show(secrets, piece, b"")

    def show_all(
        self, secrets: CampaignSecrets, *, tell: Callable[[int, int], None] | None = None
    ) -> tuple[Transaction, ...]:
        """Show all pieces that are hidden; can be interrupted and called again.

        Parameters
        ----------
        secrets : of the campaign.
        tell : is told how many of how many pieces are shown.
        """
        shown: list[Transaction] = []
        campaign = self._get_matching(secrets, "reveal")
        before = int(campaign.raw["pieces_shown"])
        while not shown or shown[-1].result["phase"] == "reveal":
            if tell is not None:
                tell(before + len(shown), len(secrets.pieces))
            shown.append(self.show_next(secrets))
        return tuple(shown)

    def advance(
        self, model: str, *, items: int | None = None, tell: Tell | None = None
    ) -> CampaignRecord:
        """Do what is due until nothing is; return how the campaign stands then.

        Parameters
        ----------
        model : name of the model.
        items : of an evaluation in one transaction; as many as fit if left out.
        tell : is told how the campaign stands after every transaction.
        """
        campaign = self.get(model)
        while _is_due(campaign):
            if tell is not None:
                tell(campaign)
            try:
                self._advance_once(campaign, items)
            except TransactionFailedError as error:
                if error.code not in CLOSED_MEANWHILE_CODES:
                    raise
                return self.get(model, campaign.number)
            campaign = self.get(model, campaign.number)
        return campaign

    def verify(self, model: str, number: int | None = None) -> CampaignAudit:
        """Compute who should have been paid what, and say whether that is what was paid.

        Raises
        ------
        InvalidInputError
            ``not_settled``: nobody was paid yet.
        """
        campaign = self.get(model, number)
        drawn = [piece for piece in campaign.raw["pieces"] if piece["is_drawn"]]
        seed = None
        if drawn:
            path = f"/api/v1/transactions/{drawn[0]['transaction_id']}"
            try:
                seed = bytes.fromhex(self._connection.get(path)["body"]["seed"])
            except NotFoundError:
                # A node that began with a snapshot knows the state, not what led to it.
                seed = None
        return audit_campaign(campaign, seed)

    def find_stake(self, model: str) -> int:
        """Return what goes with a contribution now; 0 if no campaign of the model is open."""
        newest = self.list(model, 1)
        return newest[0].stake if newest and newest[0].is_open else 0

    def _advance_once(self, campaign: CampaignRecord, items: int | None) -> None:
        """Send as many items as fit, fewer if others of this account's took of its quota."""
        progress = campaign.raw["progress"] or {"items_max": 1}
        count = int(progress["items_max"]) if items is None else items
        while True:
            body: list[Encodable] = [campaign.model, min(count, ITEMS_MAX)]
            try:
                self._submit(bodies.ADVANCE_CAMPAIGN, body, None)
            except TransactionFailedError as error:
                if error.code not in QUOTA_CODES or count == 1:
                    raise
                count = max(1, count // 2)
            else:
                return

    def _show(self, secrets: CampaignSecrets, piece: int, seed: bytes) -> Transaction:
        body: list[Encodable] = [secrets.model, piece, seed]
        return self._submit(bodies.SHOW_PIECE, body, secrets.pieces[piece])

    def _get_matching(self, secrets: CampaignSecrets, phase: str) -> CampaignRecord:
        """Return the campaign of some secrets; what was sent is no secret, so look before."""
        campaign = self.get(secrets.model)
        known = [piece["commitment"] for piece in campaign.raw["pieces"]]
        if known != [each.hex() for each in secrets.commitments]:
            raise InvalidInputError(
                "wrong_commitment",
                f"these are not the secrets of campaign {campaign.number} of {secrets.model!r}",
                field="secrets",
            )
        if campaign.phase != phase:
            raise InvalidInputError(
                "wrong_phase",
                f"campaign {campaign.number} of {secrets.model!r} is in the phase"
                f" {campaign.phase}, not {phase}",
                field="phase",
                value=campaign.phase,
                limit=phase,
            )
        if campaign.raw["next_step"]["is_due"]:
            raise InvalidInputError(
                "too_late",
                f"the time to show pieces of campaign {campaign.number} of {secrets.model!r} ended"
                f" at {campaign.raw['next_step']['deadline']}",
                field="deadline",
                value=campaign.raw["next_step"]["deadline"],
            )
        return campaign


def _is_due(campaign: CampaignRecord) -> bool:
    """Say whether it is worth asking; a node whose chain rests knows only an old time."""
    deadline_ms = campaign.deadline_ms
    is_over = deadline_ms is not None and time.time() * 1000 >= deadline_ms
    return is_over or bool(campaign.raw["next_step"]["is_due"])
