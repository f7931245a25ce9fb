"""The root exceptions of the project.

Whose fault it is decides which one is raised, and what the node does about it::

    QuorateError
    ├── InvalidInputError        a peer's, client's or caller's bytes: refuse, count, never crash
    ├── CorruptStateError        our own disk: stop, and say what has to be restored
    └── InvariantViolationError  our own program: stop, a dead node is safer than a lying one

Packages derive their own classes from these three.
"""

from __future__ import annotations

__all__ = [
    "CorruptStateError",
    "InvalidInputError",
    "InvariantViolationError",
    "QuorateError",
]


class QuorateError(Exception):
    """Root of every exception that this project raises on purpose."""


class InvalidInputError(QuorateError):
    """Bytes or values that came from outside break a rule.

    Parameters
    ----------
    code : stable, lower-case identifier of the rule, for programs (``not_canonical``).
    message : a sentence for people; it names the field, the value and the limit.
    field : path of the offending field (``header.height``), if there is one.
    value : the offending value, if it is short enough to be shown.
    limit : the limit that was broken, if there is one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        limit: object = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.value = value
        self.limit = limit


class CorruptStateError(QuorateError):
    """What we stored ourselves is missing or does not read back."""


class InvariantViolationError(QuorateError):
    """The program broke a rule that it guarantees itself."""
