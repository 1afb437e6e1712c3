"""The daemon's own log: `spooler_service.log` in the log folder (10 MB, five earlier files) and stderr.

Everything logs to `logging.getLogger("octospool")` or a child of it, with `extra={"run": …, "flow": …,
"step": …}` where they are known. Text looks like this, JSON has the same facts as keys:

```
2026-11-21T07:40:06.123+00:00 INFO  run=20261121T074006123-k7x2m9qa flow=a.yml step=fetch message
```

One record is one line, whatever the message holds: line breaks and control characters are escaped, so that
nobody can forge a record. Only a traceback has lines of its own, each marked by `    | `.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import datetime, tzinfo
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

LOG_FILE = "spooler_service.log"
MAX_BYTES = 10 * 1024 * 1024
"""Size in bytes at which the log file is put aside."""
KEPT_FILES = 5
"""How many files that were put aside are kept."""
CONTEXT = ("run", "flow", "step")
"""What a record may be about, in the order in which it is written."""
LOGGERS = ("octospool", "waitress")
"""Ours, and the web server's, whose warnings belong in the same file."""

logger = logging.getLogger("octospool")

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
_ESCAPES: dict[int, str] = {code: f"\\u{code:04x}" for code in _CONTROLS}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


MADE_LINE = "octospool_line"
"""Where a record keeps its line."""


def escape(text: str) -> str:
    """The text on one line: line breaks and control characters (also ANSI's escape) as `\\n`, `\\u001b`, …"""
    return text.translate(_ESCAPES)


class LineFormatter(logging.Formatter):
    """Makes a record's line once: the file asks for it twice (for its size, then to write), stderr once more."""

    def __init__(self, zone: tzinfo) -> None:
        super().__init__()
        self._zone = zone

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        made = record.__dict__.get(MADE_LINE)
        if made is None:
            made = record.__dict__[MADE_LINE] = self.line(record)
        return str(made)

    def line(self, record: logging.LogRecord) -> str:
        """Make the line; each format says how."""
        return super().format(record)


class TextFormatter(LineFormatter):
    """A record as a line for people."""

    def line(self, record: logging.LogRecord) -> str:
        """Time, level, what it is about, message; a traceback follows on marked lines."""
        parts = [_moment(record, self._zone), f"{record.levelname:<5}"]
        parts += [f"{key}={escape(str(value))}" for key, value in _context(record).items()]
        line = " ".join([*parts, escape(record.getMessage())])
        if record.exc_info:
            # split on \n only: splitlines() would also break at characters that escape() deals with
            trace = self.formatException(record.exc_info).split("\n")
            line += "".join(f"\n    | {escape(text)}" for text in trace)
        return line


class JsonFormatter(LineFormatter):
    """A record as a line of JSON."""

    def line(self, record: logging.LogRecord) -> str:
        """Keys: at, level, logger, run, flow, step (where known), message, traceback (where there is one)."""
        entry: dict[str, Any] = {
            "at": _moment(record, self._zone),
            "level": record.levelname.lower(),
            "logger": record.name,
            **_context(record),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        # JSON leaves DEL, C1 and U+2028 as they are; the same escapes are right inside its strings.
        return escape(json.dumps(entry, ensure_ascii=False, default=str))


class _DeadThreads:
    """Says it in the log when a thread dies of what nobody has foreseen; else only stderr would know."""

    def __init__(self) -> None:
        self.before = threading.excepthook

    def __call__(self, args: threading.ExceptHookArgs) -> None:
        """`threading.excepthook`."""
        name = "a thread" if args.thread is None else f"the thread '{args.thread.name}'"
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            logger.critical("%s has died; please report this", name, exc_info=args.exc_value)


def configure(
    folder: Path,
    *,
    level: str = "INFO",
    format: str = "text",
    timezone: tzinfo | str = "UTC",
    to_stderr: bool = True,
) -> None:
    """Send the product's log to the file below `folder` and to stderr; a second call replaces the first.

    level: DEBUG, INFO, WARNING or ERROR. format: `text` or `json`. Without `to_stderr` only the file is written.
    Raises OSError if the file cannot be made.
    """
    release()
    zone = ZoneInfo(timezone) if isinstance(timezone, str) else timezone
    formatter = JsonFormatter(zone) if format == "json" else TextFormatter(zone)
    folder.mkdir(parents=True, exist_ok=True)
    to_file = RotatingFileHandler(
        folder / LOG_FILE,
        maxBytes=MAX_BYTES,
        backupCount=KEPT_FILES,
        encoding="utf-8",
        errors="backslashreplace",  # a lone surrogate in a message must not cost the line
    )
    handlers: list[logging.Handler] = [to_file]
    if to_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(formatter)
        for name in LOGGERS:
            logging.getLogger(name).addHandler(handler)
    threading.excepthook = _DeadThreads()
    logger.setLevel(level.upper())
    logger.propagate = False
    logging.getLogger("waitress").propagate = False


def release() -> None:
    """Undo `configure`: close the file and log as an unconfigured program does."""
    for name in LOGGERS:
        named = logging.getLogger(name)
        for handler in list(named.handlers):
            if isinstance(handler.formatter, LineFormatter):
                named.removeHandler(handler)
                handler.close()
        named.propagate = True
    logger.setLevel(logging.NOTSET)
    if isinstance(threading.excepthook, _DeadThreads):
        threading.excepthook = threading.excepthook.before


def _moment(record: logging.LogRecord, zone: tzinfo) -> str:
    return datetime.fromtimestamp(record.created, zone).isoformat(timespec="milliseconds")


def _context(record: logging.LogRecord) -> dict[str, Any]:
    return {key: getattr(record, key) for key in CONTEXT if getattr(record, key, None) is not None}
