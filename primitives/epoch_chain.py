"""From validators that are known to those of the present, one proven end of an epoch after another.

Whoever knows the validators of some epoch, those of the genesis at least, needs nothing else to
find out who decides today: no block, no state, and nobody who would have to be trusted.
Source: docs/spec/encoding.md §13; docs/spec/snapshots.md §4.
"""

from __future__ import annotations

from primitives.certificates import Verifier
from primitives.epoch_end import EpochEnd, verify_epoch_end
from primitives.errors import InvalidInputError
from primitives.keys import verify_signature
from primitives.validator_set import ValidatorSet

__all__ = ["EpochChain"]


class EpochChain:
    """Ends of epochs that were verified, without a gap.

    Parameters
    ----------
    chain_id : the genesis hash.
    epoch : the epoch to begin with.
    validator_set : who decides it; trusted.
    verify : the signature check, replaced in simulations.
    """

    def __init__(
        self,
        chain_id: bytes,
        epoch: int,
        validator_set: ValidatorSet,
        verify: Verifier = verify_signature,
    ) -> None:
        self.chain_id = chain_id
        self.verify = verify
        self._first_epoch = epoch
        self._sets = [validator_set]
        self._ends: list[EpochEnd] = []

    @property
    def epoch(self) -> int:
        """The last epoch whose validators are known."""
        return self._first_epoch + len(self._ends)

    @property
    def ends(self) -> tuple[EpochEnd, ...]:
        """What was verified, from the first epoch on."""
        return tuple(self._ends)

    def validator_set(self, epoch: int) -> ValidatorSet:
        """Return who decides an epoch.

        Raises
        ------
        InvalidInputError
            ``unknown_epoch`` if the chain does not reach so far, forwards or backwards.
        """
        if not self._first_epoch <= epoch <= self.epoch:
            raise InvalidInputError(
                "unknown_epoch",
                f"the validators of epoch {epoch} are not known, only those of"
                f" {self._first_epoch} to {self.epoch}",
                field="epoch",
                value=epoch,
                limit=self.epoch,
            )
        return self._sets[epoch - self._first_epoch]

    def end(self, epoch: int) -> EpochEnd | None:
        """Return how an epoch ended, or None if that was not verified here."""
        number = epoch - self._first_epoch
        return self._ends[number] if 0 <= number < len(self._ends) else None

    def extend(self, end: EpochEnd) -> None:
        """Verify the end of the last known epoch and go on to the next.

        Parameters
        ----------
        end : received; nothing in it is trusted.

        Raises
        ------
        InvalidInputError
            ``not_an_epoch_end`` if it is another epoch's or does not lie above the one before, or
            as `verify_epoch_end`. The chain is then as it was.
        """
        header = end.header
        if header.epoch != self.epoch:
            raise _refusal(f"ends epoch {header.epoch}, expected is {self.epoch}")
        if self._ends and header.height <= self._ends[-1].header.height:
            raise _refusal(f"lies at height {header.height}, not above the end before")
        following = verify_epoch_end(end, self._sets[-1], self.chain_id, self.verify)
        self._ends.append(end)
        # Sets seldom change; one that stays is kept once.
        self._sets.append(self._sets[-1] if following == self._sets[-1] else following)


def _refusal(why: str) -> InvalidInputError:
    return InvalidInputError("not_an_epoch_end", f"epoch end {why}", field="epoch_end")
