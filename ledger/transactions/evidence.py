"""The transaction by which broken vote rules come into the ledger: report_evidence.

Everything needed to judge evidence is inside, so it may come from anybody. The node of a validator
sends what it finds by itself, as the account of its validator key, and pays no fee for it.
Whom it names is suspended: no seat from the next epoch on, until a quorum admits it again with
another key. Its stake is slashed (`ledger.slashing`). Source: docs/spec/ledger.md §7.8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.errors import TransactionFailedError
from ledger.members import decode_member, find_member, member_key
from ledger.membership import read_validators
from ledger.membership_records import (
    KeyHolder,
    Suspension,
    decode_key_holder,
    decode_suspension,
    key_holder_key,
    suspension_key,
)
from ledger.parameters import Parameters
from ledger.schema import (
    StateReader,
    Validator,
    decode_validators,
    epoch_validators_key,
    read_record,
)
from ledger.slashing import slash_validator
from ledger.transaction import Transaction
from ledger.transactions.kind import ExecutionContext
from primitives.accounts import ACCOUNT_ID_BYTES, AccountId
from primitives.codec import Encodable, Value, encode
from primitives.errors import InvalidInputError
from primitives.evidence import EVIDENCE_BYTES_MAX, Evidence, decode_evidence, verify_evidence
from primitives.fields import FieldReader
from primitives.hashing import ZERO_HASH, Tag, tagged_hash

__all__ = [
    "EVIDENCE_EPOCHS_MAX",
    "EVIDENCE_PREFIX",
    "REPORT_EVIDENCE",
    "EvidenceRecord",
    "ReportEvidence",
    "decode_evidence_record",
    "evidence_key",
]

EVIDENCE_EPOCHS_MAX: Final = 2
"""Evidence is taken for the current epoch and so many before it."""

EVIDENCE_PREFIX: Final = b"evidence/"

EVIDENCE_KNOWN: Final = "evidence_known"
EVIDENCE_TOO_OLD: Final = "evidence_too_old"
NOT_EVIDENCE: Final = "not_evidence"

_UNITS: Final = 150_000


@dataclass(frozen=True, slots=True)
class ReportEvidence:
    """Show that a validator broke a vote rule."""

    evidence: Evidence

    def to_fields(self) -> list[Encodable]:
        """Return the body of the envelope."""
        return [self.evidence.encode()]


@dataclass(frozen=True, slots=True)
class EvidenceRecord:
    """Evidence that was accepted.

    Parameters
    ----------
    height : of the block that brought it.
    culprit : account of the validator.
    evidence : canonical bytes, so that anyone can verify it again.
    """

    height: int
    culprit: AccountId
    evidence: bytes

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return encode((self.height, self.culprit, self.evidence))


def evidence_key(evidence: Evidence) -> bytes:
    """Return the state key of evidence: one piece a validator and epoch says it all."""
    numbers = (evidence.epoch, evidence.validator)
    return EVIDENCE_PREFIX + b"".join(number.to_bytes(8, "big") for number in numbers)


class ReportEvidenceKind:
    """Records evidence, slashes whom it names and suspends it from the next epoch on."""

    code: Final = 9
    name: Final = "report_evidence"
    has_payload: Final = False
    result_fields: Final = ("account", "evidence_kind", "taken", "paid")

    def decode_body(self, value: list[Value]) -> ReportEvidence:
        """Return the body; raises `InvalidInputError` for another form."""
        reader = FieldReader(value, "report_evidence", 1)
        data = reader.bytes("evidence", bytes_max=EVIDENCE_BYTES_MAX)
        return ReportEvidence(decode_evidence(data))

    def check(
        self, _transaction: Transaction, _body: ReportEvidence, _parameters: Parameters
    ) -> None:
        """Check nothing further: whose signatures they are, the state says."""

    def cost(self, _state: StateReader, _transaction: Transaction, _body: ReportEvidence) -> int:
        """Return the price of two verifications."""
        return _UNITS

    def apply(
        self, context: ExecutionContext, transaction: Transaction, body: ReportEvidence
    ) -> list[Encodable]:
        """Punish the culprit; fails with ``evidence_known``, ``_too_old`` or ``not_evidence``."""
        evidence = body.evidence
        epoch = context.parameters.epoch_of(context.height)
        if evidence.epoch + EVIDENCE_EPOCHS_MAX < epoch:
            raise TransactionFailedError(
                EVIDENCE_TOO_OLD, f"evidence of epoch {evidence.epoch} in epoch {epoch}"
            )
        validators = context.get(epoch_validators_key(evidence.epoch), decode_validators)
        if validators is None:
            raise TransactionFailedError(NOT_EVIDENCE, f"epoch {evidence.epoch} has not begun")
        try:
            verify_evidence(evidence, validators.to_validator_set(), transaction.chain_id)
        except InvalidInputError as error:
            raise TransactionFailedError(NOT_EVIDENCE, error.message) from error
        key = evidence_key(evidence)
        if context.get(key, decode_evidence_record) is not None:
            raise TransactionFailedError(EVIDENCE_KNOWN, "this evidence is in the ledger already")
        seat = validators.validators[evidence.validator]
        data = evidence.encode()
        context.put(key, EvidenceRecord(context.height, seat.account, data))
        context.put(key_holder_key(seat.public_key), KeyHolder(seat.account, is_burnt=True))
        self._suspend(context, seat, tagged_hash(Tag.EVIDENCE, data))
        reporter = self._find_reporter(context, transaction, seat)
        taken, paid = slash_validator(context, seat.account, evidence.epoch, reporter)
        return [seat.account, int(evidence.kind), taken, paid]

    def _find_reporter(
        self, context: ExecutionContext, transaction: Transaction, seat: Validator
    ) -> AccountId | None:
        """Return whom to pay: the member whose key signed, else the sender; never the culprit.

        A node reports as the account of its validator key, where money would be of no use.
        """
        key = key_holder_key(transaction.signatures[0].public_key)
        holder = context.get(key, decode_key_holder)
        account = context.sender if holder is None else holder.account
        member = find_member(context, account)
        is_culprit = (account if member is None else member.account) == seat.account
        return None if is_culprit else account

    def _suspend(self, context: ExecutionContext, seat: Validator, digest: bytes) -> None:
        """Suspend the culprit, unless it was admitted again with another key since."""
        member = context.get(member_key(seat.account), decode_member)
        held = context.get(suspension_key(seat.account), decode_suspension)
        has_other_key = member is not None and member.validator_key != seat.public_key
        if has_other_key and not self._is_seated_with(context, seat):
            return
        if held is None or held.evidence == ZERO_HASH:
            context.put(suspension_key(seat.account), Suspension(context.height, digest))

    def _is_seated_with(self, context: ExecutionContext, seat: Validator) -> bool:
        return seat in read_validators(context).validators


def decode_evidence_record(data: bytes) -> EvidenceRecord:
    """Return the record whose canonical bytes are `data`; raises as `read_record`."""
    reader = read_record(data, "evidence", 3)
    return EvidenceRecord(
        reader.counter("height"),
        AccountId(reader.bytes("culprit", ACCOUNT_ID_BYTES)),
        reader.bytes("evidence", bytes_max=EVIDENCE_BYTES_MAX),
    )


REPORT_EVIDENCE: Final = ReportEvidenceKind()
