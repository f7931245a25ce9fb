"""Log lines: for people on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime

from primitives.errors import InvalidInputError

__all__ = ["start_logging"]

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    # What uvicorn says again for terminals, with escape codes.
    "color_message",
}


class _JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and every extra field of the record."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        extra = {
            name: value for name, value in vars(record).items() if name not in _STANDARD_FIELDS
        }
        line.update(extra)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def start_logging(level: str = "INFO") -> None:
    """Send the log of this process to its standard error.

    Parameters
    ----------
    level
        Least level that is shown: DEBUG, INFO, WARNING or ERROR.

    Raises
    ------
    InvalidInputError
        ``malformed``: there is no such level.
    """
    if level not in LEVELS:
        raise InvalidInputError(
            "malformed",
            f"log level knows {', '.join(LEVELS)}; found {level!r}",
            field="log_level",
            value=level,
        )
    output = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        output.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
        )
    else:
        output.setFormatter(_JsonFormatter())
    output.addFilter(_is_no_cancellation)
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level)


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Leave out what a server says of requests that it ends because the process ends."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
