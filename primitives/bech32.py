"""Bech32m: bytes as short text with a checksum that finds typing errors.

Source: BIP-350 (checksum constant) and BIP-173 (everything else). Strings are limited to the 90
characters for which the checksum was designed.
"""

from __future__ import annotations

from collections.abc import Iterable

from primitives.errors import InvalidInputError

__all__ = ["TEXT_LENGTH_MAX", "bech32m_decode", "bech32m_digits", "bech32m_encode"]

TEXT_LENGTH_MAX = 90

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_DIGITS = {character: digit for digit, character in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_CONSTANT = 0x2BC830A3
_CHECKSUM_LENGTH = 6
_SEPARATOR = "1"


def bech32m_encode(prefix: str, data: bytes) -> str:
    """Return `data` as bech32m text.

    Parameters
    ----------
    prefix : the human-readable part, lower-case ASCII.
    data : the bytes to show; with the prefix they must fit `TEXT_LENGTH_MAX` characters.

    Raises
    ------
    InvalidInputError
        ``malformed`` if the prefix is not lower-case printable ASCII, ``too_large`` if the text
        would be too long.
    """
    _check_prefix(prefix)
    digits = _regroup(data, 8, 5, pad=True)
    text = prefix + _SEPARATOR + "".join(_ALPHABET[digit] for digit in digits)
    if len(text) + _CHECKSUM_LENGTH > TEXT_LENGTH_MAX:
        raise _too_long(len(text) + _CHECKSUM_LENGTH)
    residue = _polymod([*_expand(prefix), *digits, *[0] * _CHECKSUM_LENGTH]) ^ _CHECKSUM_CONSTANT
    return text + "".join(_ALPHABET[residue >> 5 * (5 - i) & 31] for i in range(_CHECKSUM_LENGTH))


def bech32m_decode(text: str) -> tuple[str, bytes]:
    """Return the prefix and the bytes of bech32m text.

    Returns
    -------
    tuple of str and bytes
        The prefix in lower case, and the data.

    Raises
    ------
    InvalidInputError
        ``malformed`` if the text is not bech32m: mixed case, a character outside the alphabet, a
        missing separator, a wrong checksum, or padding that is not zero; ``too_large`` if it is
        longer than `TEXT_LENGTH_MAX`.
    """
    prefix, digits = bech32m_digits(text)
    return prefix, bytes(_regroup(digits, 5, 8, pad=False))


def bech32m_digits(text: str) -> tuple[str, list[int]]:
    """Return the prefix and the five-bit groups of bech32m text, without the checksum.

    Raises
    ------
    InvalidInputError
        As `bech32m_decode`, except for padding, which a number of groups does not have yet.
    """
    if len(text) > TEXT_LENGTH_MAX:
        raise _too_long(len(text))
    if text not in (text.lower(), text.upper()):
        raise InvalidInputError("malformed", "bech32m text mixes upper and lower case")
    prefix, separator, encoded = text.lower().rpartition(_SEPARATOR)
    if not separator or len(encoded) < _CHECKSUM_LENGTH:
        raise InvalidInputError("malformed", "bech32m text has no separator or is too short")
    _check_prefix(prefix)
    digits = [_DIGITS.get(character, -1) for character in encoded]
    if -1 in digits:
        raise InvalidInputError("malformed", "bech32m text holds a character outside its alphabet")
    if _polymod([*_expand(prefix), *digits]) != _CHECKSUM_CONSTANT:
        raise InvalidInputError("malformed", "bech32m checksum does not match: mistyped text")
    return prefix, digits[:-_CHECKSUM_LENGTH]


def _check_prefix(prefix: str) -> None:
    printable = all("!" <= character <= "~" for character in prefix)
    if not prefix or not printable or prefix != prefix.lower():
        raise InvalidInputError("malformed", "bech32m prefix must be lower-case printable ASCII")


def _too_long(length: int) -> InvalidInputError:
    return InvalidInputError(
        "too_large",
        f"bech32m text of {length} characters exceeds the limit of {TEXT_LENGTH_MAX}",
        value=length,
        limit=TEXT_LENGTH_MAX,
    )


def _expand(prefix: str) -> list[int]:
    codes = prefix.encode("ascii")
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _polymod(digits: Iterable[int]) -> int:
    """Return the remainder of the BCH code over five-bit groups."""
    residue = 1
    for digit in digits:
        top = residue >> 25
        residue = (residue & 0x1FFFFFF) << 5 ^ digit
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                residue ^= generator
    return residue


def _regroup(groups: Iterable[int], bits_from: int, bits_to: int, *, pad: bool) -> list[int]:
    """Cut a stream of `bits_from`-bit groups into `bits_to`-bit groups."""
    accumulator = 0
    bits = 0
    regrouped = []
    for group in groups:
        accumulator = (accumulator << bits_from | group) & 0xFFF
        bits += bits_from
        while bits >= bits_to:
            bits -= bits_to
            regrouped.append(accumulator >> bits & (1 << bits_to) - 1)
    rest = accumulator & (1 << bits) - 1
    if pad:
        if bits:
            regrouped.append(rest << bits_to - bits)
    elif bits >= bits_from or rest:
        raise InvalidInputError("malformed", "bech32m text ends in padding that is not zero")
    return regrouped
