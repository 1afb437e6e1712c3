"""Names of files in spool folders, and what they tell of the item.

| in `new/` | id | in the other folders |
|---|---|---|
| `item-<id>.json`, `item-p7-<id>.json` (priority 7) | that one | the same name |
| `<id>.<name>`, where the id is one that was given here | that one | the same name |
| any other | a new one | `<id>.<name>` |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from flow_processor.queues.item import ITEM_ID
from flow_processor.run import RUN_ID_PATTERN

LONGEST_NAME = 180
"""Bytes of a name that are kept in the other folders, so that an id and an ending still find room."""

_OWN = re.compile(rf"item-(?:p(\d)-)?({ITEM_ID.pattern})\.json")
_KEPT = re.compile(rf"({RUN_ID_PATTERN.pattern})\.(.+)", re.DOTALL)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Named:
    """What a file's name tells."""

    id: str
    name: str | None
    """What people call it; None for an item that no file was dropped for."""
    priority: int = 0

    @property
    def kept(self) -> str:
        """The file's name in `processing/`, `done/` and `failed/`."""
        return own_name(self.id, self.priority) if self.name is None else f"{self.id}.{self.name}"


def own_name(item_id: str, priority: int = 0) -> str:
    """The name of the file of an item that was put, not dropped."""
    return f"item-p{priority}-{item_id}.json" if priority else f"item-{item_id}.json"


def named(file: str, *, new_id: Callable[[], str]) -> Named:
    """What the name of a file in `new/` tells."""
    return known(file) or Named(new_id(), _printable(file))


def known(file: str) -> Named | None:
    """What the name of a file tells that carries its id; None for any other."""
    if (own := _OWN.fullmatch(file)) is not None:
        return Named(own[2], None, int(own[1] or 0))
    if (kept := _KEPT.fullmatch(file)) is not None:
        return Named(kept[1], _printable(kept[2]))
    return None


def priority_of(file: str) -> int:
    """The priority that a file's name says."""
    return int(file[6]) if file.startswith("item-p") and _OWN.fullmatch(file) and file[7:8] == "-" else 0


def _printable(name: str) -> str:
    """The name as it can be stored, shown, and written beside an id: no control characters, not too long."""
    clean = _UNPRINTABLE.sub("_", name)
    if len(clean.encode()) <= LONGEST_NAME:
        return clean
    suffix = PurePath(clean).suffix
    stem = clean.removesuffix(suffix)
    room = LONGEST_NAME - len(suffix.encode())
    if room <= 0:
        stem, suffix, room = clean, "", LONGEST_NAME
    return stem.encode()[:room].decode(errors="ignore") + suffix
