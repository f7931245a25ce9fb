"""Which campaign of a model is open, without reading all of its record.

A record can hold long fractions for hundreds of contributions; whether a campaign is open is asked
for every model of a list, where that would hold up everybody else.
"""

from __future__ import annotations

from typing import Final

from ledger.campaign_records import (
    OPEN_PHASES,
    PHASES,
    campaign_count_key,
    campaign_key,
    decode_campaign_count,
)
from ledger.reader import LedgerReader
from ledger.schema import read_record
from ledger.stored_records import decode_own

__all__ = ["find_open_number"]

FIELDS: Final = 16
FIELDS_BEFORE_PHASE: Final = 6
"""Of the record: docs/spec/ledger.md §5.11."""


def find_open_number(ledger: LedgerReader, model: str, height: int | None) -> int | None:
    """Return the number of the campaign of a model that is open after a block, or None."""
    known = ledger.read(campaign_count_key(model), decode_campaign_count, height)
    if known is None:
        return None
    # Only the last can be open.
    last = ledger.get(campaign_key(model, known.count - 1), height)
    is_open = last is not None and decode_own(last, _read_phase) in OPEN_PHASES
    return known.count - 1 if is_open else None


def _read_phase(data: bytes) -> str:
    reader = read_record(data, "campaign", FIELDS)
    for _ in range(FIELDS_BEFORE_PHASE):
        reader.value()
    return PHASES[reader.integer("phase", 0, len(PHASES) - 1)]
