"""MurmurHash3, x86, 32 bit: which feature a word counts for.

Fast and well spread, not cryptographic: whoever wants two words to collide finds such words.
Source: Austin Appleby, SMHasher, MurmurHash3_x86_32.
"""

from __future__ import annotations

from typing import Final

__all__ = ["compute_murmur_hash"]

_WORD: Final = 0xFFFFFFFF
_C1: Final = 0xCC9E2D51
_C2: Final = 0x1B873593


def compute_murmur_hash(data: bytes, seed: int = 0) -> int:
    """Return the hash of bytes, in [0, 2^32).

    Parameters
    ----------
    data
        Of any length.
    seed
        In [0, 2^32).

    Examples
    --------
    >>> hex(compute_murmur_hash(b"abc"))
    '0xb3dd93fa'
    """
    state = seed
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        state ^= _mix(int.from_bytes(data[start : start + 4], "little"))
        state = (_rotate(state, 13) * 5 + 0xE6546B64) & _WORD
    if whole < len(data):
        state ^= _mix(int.from_bytes(data[whole:], "little"))
    state ^= len(data) & _WORD
    state = ((state ^ state >> 16) * 0x85EBCA6B) & _WORD
    state = ((state ^ state >> 13) * 0xC2B2AE35) & _WORD
    return state ^ state >> 16


def _mix(block: int) -> int:
    return _rotate(block * _C1 & _WORD, 15) * _C2 & _WORD


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _WORD
