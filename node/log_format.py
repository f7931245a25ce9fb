"""Log lines: for people on a terminal, one JSON object a line otherwise."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

__all__ = ["start_logging"]

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


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
    """
    output = logging.StreamHandler(sys.stderr)
    if sys.stderr.isatty():
        output.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
        )
    else:
        output.setFormatter(_JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(level)
