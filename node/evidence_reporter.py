"""Brings evidence that consensus found into the ledger.

Evidence is sent as a transaction of the account that belongs to the validator key, which nobody
else uses, so nonces never clash. Every validator that saw it sends it; the first one counts. What
has not arrived after some blocks is sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from ledger.payload import Payload
from ledger.reader import LedgerReader
from ledger.transaction import TransactionContent, build_transaction
from ledger.transactions.evidence import REPORT_EVIDENCE, ReportEvidence, evidence_key
from primitives.accounts import AccountId, account_id_from_public_key
from primitives.errors import InvalidInputError
from primitives.evidence import Evidence
from primitives.keys import PrivateKey

__all__ = ["EvidenceReporter"]

logger = logging.getLogger(__name__)

UNREPORTED_MAX: Final = 64
"""Pieces of evidence that wait; a validator that broke rules more often has done enough."""

RETRY_BLOCKS: Final = 20
VALID_BLOCKS: Final = 2_000


@dataclass(slots=True)
class _Waiting:
    """Evidence that is not in the ledger yet, and when it was sent."""

    evidence: Evidence
    sent_height: int | None = None


class EvidenceReporter:
    """Sends evidence until it is in the ledger.

    Parameters
    ----------
    chain_id
        Of this network.
    reader
        Of the final state.
    load_key
        Returns a validator key of this node, or None if it has no vote.
    get_next_nonce
        Of an account, in the final state.
    submit
        Hands a transaction to the mempool and the other validators.
    run
        Runs a coroutine in the background.
    """

    def __init__(
        self,
        *,
        chain_id: bytes,
        reader: LedgerReader,
        load_key: Callable[[], PrivateKey | None],
        get_next_nonce: Callable[[AccountId], int],
        submit: Callable[[bytes, Payload | None], Awaitable[None]],
        run: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._chain_id = chain_id
        self._reader = reader
        self._load_key = load_key
        self._get_next_nonce = get_next_nonce
        self._submit = submit
        self._run = run
        self._waiting: dict[bytes, _Waiting] = {}
        # Whom evidence was taken against, in the epoch that it is from.
        self._epoch = 0
        self._named: set[int] = set()

    def report(self, evidence: Evidence) -> None:
        """Take evidence; on the event loop. One piece for each culprit and epoch is enough."""
        if evidence.epoch != self._epoch:
            self._epoch = evidence.epoch
            self._named.clear()
        if evidence.validator in self._named or len(self._waiting) >= UNREPORTED_MAX:
            return
        self._named.add(evidence.validator)
        self._waiting[evidence_key(evidence)] = _Waiting(evidence)
        self.on_final(self._reader.tip().height)

    def on_final(self, height: int) -> None:
        """Look, after a block, what has arrived and what must be sent (again)."""
        for key, waiting in list(self._waiting.items()):
            if self._reader.get(key) is not None:
                del self._waiting[key]
            elif waiting.sent_height is None or height >= waiting.sent_height + RETRY_BLOCKS:
                waiting.sent_height = height
                self._run(self._send(waiting.evidence, height))
                # One at a time: the next one needs the next nonce.
                return

    async def _send(self, evidence: Evidence, height: int) -> None:
        key = self._load_key()
        if key is None:
            return
        account = account_id_from_public_key(key.public_key)
        content = TransactionContent(
            chain_id=self._chain_id,
            sender=account,
            nonce=self._get_next_nonce(account),
            valid_until_height=height + VALID_BLOCKS,
            kind=REPORT_EVIDENCE.code,
            body=ReportEvidence(evidence).to_fields(),
        )
        try:
            await self._submit(build_transaction(content, [key]).raw, None)
        except InvalidInputError as error:
            logger.warning("evidence could not be submitted: %s", error)
