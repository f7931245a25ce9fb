"""Begins an epoch: reads off the ledger who decides it and how, and makes the core for it.

The same at the start of the process and at every change of epoch while it runs: what the final
block on disk says is all there is to know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from consensus.core import Core
from consensus.parameters import Parameters as ConsensusParameters
from consensus.recovery import Recovered
from consensus.safety import Signer
from consensus.watch import Watch
from consensus.watched_core import WatchedCore
from ledger.body import compute_body_root
from ledger.governance_records import CHAIN_PROTOCOL, Protocol, decode_protocol
from ledger.parameters import Parameters, decode_parameters
from ledger.reader import LedgerReader
from ledger.schema import (
    CHAIN_PARAMETERS,
    CHAIN_ROSTER,
    CHAIN_VALIDATORS,
    Validators,
    decode_roster,
    decode_validators,
)
from node.configuration import ConsensusSettings
from node.seats import Seats
from node.turns import EpochCore
from primitives.errors import CorruptStateError, QuorateError
from primitives.header import PROTOCOL_VERSION_MAX

__all__ = ["EpochStarter", "ProtocolTooNewError", "SigningRecords"]

ResultT = TypeVar("ResultT")


class ProtocolTooNewError(QuorateError):
    """The network follows a version of the protocol that this software does not know.

    Parameters
    ----------
    version
        That the blocks of the epoch follow.
    height
        Of the first of them.
    """

    def __init__(self, version: int, height: int) -> None:
        super().__init__(
            f"from height {height} on the network follows version {version} of the protocol, this"
            f" software knows {PROTOCOL_VERSION_MAX} and stops before it: install a newer release"
            " and start again; nothing was lost"
        )
        self.version = version
        self.height = height


@dataclass(frozen=True, slots=True)
class SigningRecords:
    """What is known of what our keys have signed.

    Parameters
    ----------
    records
        Of the write-ahead log.
    records_lost
        Some are gone: observe until nothing can be contradicted.
    sign_floor_view
        Nothing is signed for a view at or below this one.
    lost_votes_accepted
        The operator lets this validator vote although records were lost.
    """

    records: Sequence[bytes]
    records_lost: bool = False
    sign_floor_view: int = 0
    lost_votes_accepted: bool = False


class EpochStarter:
    """Makes the core of the epoch that the ledger is in.

    Parameters
    ----------
    reader
        Of the final state.
    settings
        How patient this node is.
    load_signers
        Returns the signers that this node has, by public key; asked anew for each epoch, so that
        a key laid ready before takes over by itself.
    load_records
        Returns what is known, in an epoch, of what they have signed.
    watch
        Looks on, over all epochs.
    """

    def __init__(
        self,
        reader: LedgerReader,
        settings: ConsensusSettings,
        load_signers: Callable[[], dict[bytes, Signer]],
        load_records: Callable[[int], SigningRecords],
        watch: Watch,
    ) -> None:
        self._reader = reader
        self._settings = settings
        self._load_signers = load_signers
        self._load_records = load_records
        self._watch = watch
        self._last: Core | None = None

    def begin(self) -> EpochCore:
        """Return the core of the present epoch, not started, and who sits where."""
        tip = self._reader.tip()
        parameters = self._read(CHAIN_PARAMETERS, decode_parameters)
        validators = self._read(CHAIN_VALIDATORS, decode_validators)
        roster = self._read(CHAIN_ROSTER, decode_roster)
        own_index, signer = self._find_own_seat(validators)
        epoch = parameters.epoch_of(tip.height + 1)
        protocol = self._reader.read(CHAIN_PROTOCOL, decode_protocol) or Protocol()
        if protocol.version > PROTOCOL_VERSION_MAX:
            raise ProtocolTooNewError(protocol.version, tip.height + 1)
        signed = self._load_records(epoch)
        _, certificate = self._reader.certificate(tip.height)
        recovered = Recovered(
            final_header=self._reader.header(tip.height),
            final_certificate=certificate,
            records=signed.records,
            records_lost=signed.records_lost or self._still_lost(),
            sign_floor_view=signed.sign_floor_view,
            lost_votes_accepted=signed.lost_votes_accepted,
        )
        core: Core = WatchedCore(
            self._make_parameters(parameters, epoch, protocol.version),
            validators.to_validator_set(),
            own_index,
            signer,
            recovered,
            watch=self._watch,
        )
        self._last = core
        numbers = [roster.accounts.index(each.account) for each in validators.validators]
        return EpochCore(core, Seats(numbers))

    def _still_lost(self) -> bool:
        """Say whether what was lost in the last epoch may matter in this one."""
        return self._last is not None and self._last.probation.reaches_beyond(
            self._reader.header(self._reader.tip().height).view
        )

    def _find_own_seat(self, validators: Validators) -> tuple[int | None, Signer | None]:
        """Return our validator index and signer; None and None if we have no vote."""
        signers = self._load_signers()
        for index, validator in enumerate(validators.validators):
            if validator.public_key in signers:
                return index, signers[validator.public_key]
        return None, None

    def _make_parameters(
        self, parameters: Parameters, epoch: int, protocol_version: int
    ) -> ConsensusParameters:
        return ConsensusParameters(
            protocol_version=protocol_version,
            chain_id=self._reader.genesis().chain_id,
            empty_body_root=compute_body_root([]),
            epoch=epoch,
            epoch_end_height=parameters.epoch_end(epoch),
            view_timeout_ms=2 * self._settings.base_timeout_ms,
            idle_limit_ms=self._settings.idle_interval_ms,
            unfinal_blocks_max=parameters.unfinal_blocks_max,
            body_bytes_max=parameters.block_bytes_max,
        )

    def _read(self, key: bytes, decode: Callable[[bytes], ResultT]) -> ResultT:
        record = self._reader.read(key, decode)
        if record is None:
            raise CorruptStateError(f"the state has no {key!r}")
        return record
