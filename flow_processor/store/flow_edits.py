"""Versions of flow files that were written over the API: the bytes, who wrote them, when.

Database and file system share no transaction. So a version is recorded before its file is written (`begin`) and
settled afterwards (`settle`). What a crash leaves in between is settled at the next start, by a look at the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, insert, select, update

from flow_processor.store.database import reading
from flow_processor.store.tables import flow_edits
from flow_processor.store.writer import Writer

KEPT_VERSIONS = 10
"""So many are kept of each flow file, the newest."""


class EditKind(StrEnum):
    """How a version came to be."""

    FOUND = "found"
    """It lay there, written by hand, when it was about to be overwritten or deleted."""
    WRITTEN = "written"
    """A call wrote it."""
    RESTORED = "restored"
    """A call brought back an earlier version."""
    DELETED = "deleted"
    """A call deleted the file; this is what it said."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One version of a flow file."""

    flow: str
    """Path below the flows folder, with its suffix."""
    kind: EditKind
    at: float
    """Seconds since 1970."""
    by: str | None
    """Whose call it was; None for what was found."""
    content: bytes
    """The whole file."""
    restored: int | None = None
    """The version whose content it has again."""
    number: int = 0
    """From 1, per flow file; given by the store."""

    @property
    def hash(self) -> str:
        """SHA-256 of the content."""
        return content_hash(self.content)


def content_hash(content: bytes) -> str:
    """What tells one content of a flow file from another: its SHA-256."""
    return hashlib.sha256(content).hexdigest()


class FlowEditStore:
    """Reads and writes versions of flow files. Every call raises StoreUnavailable where the store cannot."""

    def __init__(self, writer: Writer, engine: Engine):
        self._writer = writer
        self._engine = engine

    def begin(self, edit: Edit, *, found: Edit | None) -> int:
        """Record a version whose file is about to change; its number.

        `found` is what lies there now: it is recorded first, where it is not the newest version anyway.
        """

        def operation(connection: Connection) -> int:
            newest = connection.execute(_of(edit.flow).limit(1)).one_or_none()
            number = newest.number if newest is not None else 0
            if found is not None and not _is_newest(found, newest):
                number += 1
                _insert(connection, found, number, is_settled=True)
            _insert(connection, edit, number + 1, is_settled=False)
            return number + 1

        return self._writer.run(operation)

    def settle(self, flow: str, number: int, *, happened: bool) -> None:
        """The file was changed as recorded, or it was not: then the version goes. Older ones than the newest
        KEPT_VERSIONS go too."""

        def operation(connection: Connection) -> None:
            one = (flow_edits.c.flow == flow) & (flow_edits.c.number == number)
            if not happened:
                connection.execute(delete(flow_edits).where(one))
                return
            connection.execute(update(flow_edits).where(one).values(is_settled=1))
            old = (flow_edits.c.flow == flow) & (flow_edits.c.number <= number - KEPT_VERSIONS)
            connection.execute(delete(flow_edits).where(old))

        self._writer.run(operation)

    def unsettled(self) -> list[Edit]:
        """Versions of which it is not known whether their file was changed."""
        query = select(flow_edits).where(flow_edits.c.is_settled == 0)
        with reading(self._engine) as connection:
            return [_edit(row) for row in connection.execute(query)]

    def versions(self, flow: str) -> list[Edit]:
        """The kept versions of a flow file, newest first; none if it was never changed over the API."""
        with reading(self._engine) as connection:
            return [_edit(row) for row in connection.execute(_of(flow))]


def _of(flow: str) -> Select[Any]:
    of_flow = (flow_edits.c.flow == flow) & (flow_edits.c.is_settled == 1)
    return select(flow_edits).where(of_flow).order_by(flow_edits.c.number.desc())


def _is_newest(found: Edit, newest: Row[Any] | None) -> bool:
    if newest is None or newest.kind == EditKind.DELETED.value:
        return False
    return bool(newest.content == found.content)


def _insert(connection: Connection, edit: Edit, number: int, *, is_settled: bool) -> None:
    values = {
        "flow": edit.flow,
        "number": number,
        "kind": edit.kind.value,
        "at": edit.at,
        "by": edit.by,
        "restored": edit.restored,
        "content": edit.content,
        "is_settled": int(is_settled),
    }
    connection.execute(insert(flow_edits).values(**values))


def _edit(row: Row[Any]) -> Edit:
    return Edit(
        flow=row.flow,
        kind=EditKind(row.kind),
        at=row.at,
        by=row.by,
        content=row.content,
        restored=row.restored,
        number=row.number,
    )
