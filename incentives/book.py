"""The account book of one contribution: what of its deposit is left on which sample.

A deposit is money, and maybe points of karma in place of a part of it. Reporters take money alone;
the karma of a sample is lost as soon as anything is taken, and returns only with all of its money.

Every sample of a batch is judged alone, against its own share of the deposit. A set of samples is
an integer whose bit i stands for sample i: a thousand samples are a hundred bytes, and union or
intersection is one operation.

Invariants: (B1) what is held is the sum over open samples of what is left on them; (B2) a closed
sample never opens again; (B3) no account has two claims on one sample; (B4) karma is held on the
samples that are untouched: open, and nothing was taken from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

__all__ = ["Book", "collect_samples", "iterate_samples", "open_book"]


@dataclass(frozen=True, slots=True)
class Book:
    """What is left of one contribution's deposit.

    Parameters
    ----------
    samples
        How many the contribution has.
    share
        What each put in, in the smallest unit.
    open_samples
        Set of samples on which something may still be claimed.
    partial
        ``(sample, left)`` for open samples of which a part was taken, ascending.
    reporters
        ``(account, samples it reported)``, in the order of their first report.
    karma_share
        Points of karma that each put in.
    """

    samples: int
    share: int
    open_samples: int
    partial: tuple[tuple[int, int], ...] = ()
    reporters: tuple[tuple[bytes, int], ...] = ()
    karma_share: int = 0

    @property
    def held(self) -> int:
        """All money that is left (B1)."""
        untouched = self.open_samples.bit_count() - len(self.partial)
        return untouched * self.share + sum(left for _, left in self.partial)

    @property
    def untouched(self) -> int:
        """Set of open samples from which nothing was taken."""
        return self.open_samples & ~collect_samples(sample for sample, _ in self.partial)

    @property
    def karma_held(self) -> int:
        """All points of karma that are left (B4)."""
        return (self.open_samples.bit_count() - len(self.partial)) * self.karma_share

    def reported_by(self, account: bytes) -> int:
        """Return the set of samples that an account has reported."""
        return dict(self.reporters).get(account, 0)

    def close(self, samples: int) -> Book:
        """Return the book with some samples closed; what was left on them has been paid."""
        partial = tuple(each for each in self.partial if not samples >> each[0] & 1)
        return replace(self, open_samples=self.open_samples & ~samples, partial=partial)

    def take(self, taken: dict[int, int]) -> Book:
        """Return the book after amounts were taken from samples; empty ones are closed."""
        left = dict(self.partial)
        emptied = 0
        for sample, amount in taken.items():
            remaining = left.get(sample, self.share) - amount
            if remaining:
                left[sample] = remaining
            else:
                emptied |= 1 << sample
        return replace(self, partial=tuple(sorted(left.items()))).close(emptied)

    def note_report(self, account: bytes, samples: int) -> Book:
        """Return the book with samples noted as reported by an account (B3)."""
        noted = dict(self.reporters)
        noted[account] = noted.get(account, 0) | samples
        return replace(self, reporters=tuple(noted.items()))


def open_book(samples: int, share: int, karma_share: int = 0) -> Book:
    """Return the book of a new contribution."""
    open_samples = (1 << samples) - 1
    return Book(samples=samples, share=share, open_samples=open_samples, karma_share=karma_share)


def collect_samples(numbers: Iterable[int]) -> int:
    """Return the set of samples with some numbers, which ascend."""
    # Byte by byte: setting bits of one large integer would copy it for each of them.
    data = bytearray()
    for number in numbers:
        data.extend(bytes((number >> 3) + 1 - len(data)))
        data[-1] |= 1 << (number & 7)
    return int.from_bytes(data, "little")


def iterate_samples(samples: int) -> Iterator[int]:
    """Yield the numbers in a set of samples, ascending."""
    data = samples.to_bytes((samples.bit_length() + 7) // 8, "little")
    for place, byte in enumerate(data):
        for bit in range(8):
            if byte >> bit & 1:
                yield 8 * place + bit
