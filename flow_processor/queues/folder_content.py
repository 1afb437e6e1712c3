"""What stands in a dropped file, as the value of an item."""

from __future__ import annotations

import codecs
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow_processor.queues.content import ContentRefused, json_value, yaml_value
from flow_processor.queues.writers import has_writer

SETTLE_SECONDS = 1.0
"""A file that somebody may still be writing is left alone until it has not changed for so long."""

_FLAGS = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
)
"""O_NONBLOCK: opening a FIFO must not wait for somebody at its other end."""
_SNIFFED = 65_536
"""So many first bytes tell whether a large file is text."""


class NotYet(Exception):
    """Somebody may still be writing the file."""


@dataclass(frozen=True, slots=True)
class Content:
    """What stands in a file."""

    value: Any
    """None for a binary file: its place is not known yet."""
    size: int
    """Bytes."""
    changed_at: float
    """Seconds since 1970."""
    is_binary: bool = False


def read_content(path: Path, *, max_bytes: int, now: float | None) -> Content:
    """Read a file. `now`, in seconds since 1970, is None where it is known to be whole.

    Raises NotYet; ContentRefused (`not_a_file`, `unreadable`, `invalid_json`, `invalid_yaml`, `item_too_large`) for
    what never can be an item; FileNotFoundError where it is gone.
    """
    _check_kind(os.lstat(path).st_mode)
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ContentRefused(f"the file cannot be opened: {error.strerror}", code="unreadable") from None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        _check_kind(found.st_mode)
        is_young = now is not None and now - found.st_mtime < SETTLE_SECONDS
        if now is not None and _is_unsettled(descriptor, found, is_young=is_young):
            raise NotYet
        is_large = found.st_size > max_bytes
        try:
            raw = file.read(_SNIFFED if is_large else found.st_size + 1)
            kind = path.suffix.lower()
            if is_large:
                return _large(raw, found, kind, max_bytes)
            if len(raw) != found.st_size:
                raise NotYet
            return Content(_value(raw, kind), found.st_size, found.st_mtime)
        except _Binary:
            return Content(None, found.st_size, found.st_mtime, is_binary=True)
        except ContentRefused:
            if is_young:
                raise NotYet from None
            raise


def first_text(path: Path, characters: int) -> str | None:
    """How the file begins; None where it is no text, or no file that may be read."""
    try:
        _check_kind(os.lstat(path).st_mode)
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            return _text(file.read(4 * characters), is_whole=False)[:characters]
    except (ContentRefused, _Binary, OSError):
        return None


class _Binary(Exception):
    """It is no text."""


def _check_kind(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFLNK: "a symlink, which is never followed",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
    }
    what = kinds.get(stat.S_IFMT(mode), "a socket or a device")
    raise ContentRefused(f"it is no regular file, but {what}", code="not_a_file")


def _is_unsettled(descriptor: int, found: os.stat_result, *, is_young: bool) -> bool:
    """May somebody still be writing it? An empty file is about to be written, most of the time."""
    is_written = has_writer(descriptor)
    return bool(is_written) or (is_young and (is_written is None or found.st_size == 0))


def _large(raw: bytes, found: os.stat_result, kind: str, limit: int) -> Content:
    if kind not in (".json", ".yml", ".yaml"):
        _text(raw, is_whole=False)
    message = f"it has {found.st_size} bytes; the queue takes {limit} (max_item_bytes in config.yml)"
    raise ContentRefused(message, code="item_too_large")


def _value(raw: bytes, kind: str) -> Any:
    if kind == ".json":
        return json_value(raw)
    if kind in (".yml", ".yaml"):
        return yaml_value(raw)
    return _text(raw)


def _text(raw: bytes, *, is_whole: bool = True) -> str:
    if b"\0" in raw:
        raise _Binary
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(raw, is_whole)
    except UnicodeDecodeError:
        raise _Binary from None
