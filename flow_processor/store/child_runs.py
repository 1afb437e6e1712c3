"""Runs that are part of another run: the elements of a `flow_loop` with `spread`.

Such a run has its `parent`, the path of the step there, and the number of its element. These three are unique, so that
an element is launched once however often its parent asks for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, or_, select, update

from flow_processor.run import LIVE_STATUSES, RunStatus
from flow_processor.store.database import reading
from flow_processor.store.mine import mine
from flow_processor.store.runs import RunRow, run_values, to_row
from flow_processor.store.tables import journal, runs

_ATTEMPT = re.compile(r"\[attempt \d+\]$")
_LIVE = [status.value for status in LIVE_STATUSES]
LOOKED_INTO = 10_000
"""So many runs are looked into at once for runs inside them: SQLite takes 32,766 values in a query."""
_DONE = [RunStatus.SUCCEEDED.value, RunStatus.EXITED.value]


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A run that is part of another one, as far as it must be known to see to it."""

    id: str
    flow: str
    flow_hash: str
    status: RunStatus


def insert_children(connection: Connection, children: Sequence[RunRow]) -> None:
    """Record these runs, all of one step of one parent, but for elements that have one."""
    first = children[0]
    query = select(runs.c.parent_index).where(*_of(first.parent, first.parent_path))
    known = set(connection.scalars(query.where(runs.c.parent_index.is_not(None))))
    new = [run_values(child) for child in children if child.parent_index not in known]
    if new:
        connection.execute(insert(runs), new)


def adopt_children(connection: Connection, children: Sequence[RunRow], *, old: str) -> None:
    """Where run `old`, which the parent of these tries again, has done an element, that run becomes the parent's.

    Only where the element and its params are the same.
    """
    wanted = {child.parent_index: child for child in children}
    query = select(runs).where(
        runs.c.parent == old, runs.c.parent_index.in_(list(wanted)), runs.c.status.in_(_DONE)
    )
    for row in connection.execute(query).all():
        child = wanted[row.parent_index]
        path = _ATTEMPT.sub("", row.parent_path)
        taken = select(runs.c.id).where(*_of(child.parent, child.parent_path))
        if path != child.parent_path or not _is_for(row, child):
            continue
        if connection.scalar(taken.where(runs.c.parent_index == row.parent_index)) is None:
            link = {"parent": child.parent, "parent_path": child.parent_path}
            connection.execute(update(runs).where(runs.c.id == row.id).values(link))


def take_back_children(
    connection: Connection, children: Sequence[RunRow], *, given_up: Collection[str]
) -> None:
    """Where one of these runs, which the step had given up, was for an element that has none, it is for it again.

    Only where the element and its params are the same.
    """
    first = children[0]
    standing = select(runs.c.parent_index).where(*_of(first.parent, first.parent_path))
    known = set(connection.scalars(standing.where(runs.c.parent_index.is_not(None))))
    query = select(runs).where(runs.c.id.in_(given_up), runs.c.parent_index.is_(None))
    left = list(connection.execute(query.order_by(runs.c.id)))
    for child in children:
        row = next((row for row in left if _is_for(row, child)), None)
        if row is not None and child.parent_index not in known:
            left.remove(row)
            values = {"parent_index": child.parent_index}
            connection.execute(update(runs).where(runs.c.id == row.id).values(values))


def _is_for(row: Any, child: RunRow) -> bool:
    """Is it a run for the same element of the flow's loop?"""
    mine = (child.flow, child.input, child.params)
    return mine == (row.flow, json.loads(row.input), json.loads(row.params or "null"))


def give_up_children(connection: Connection, parent: str, path: str | None) -> list[tuple[ChildRun, str]]:
    """The live runs that are part of a step (None: of any) of the parent, with its path.

    They stand for no element any more: if the step is gone through again, it gets new ones.
    """
    mine = [runs.c.parent == parent, runs.c.status.in_(_LIVE)]
    if path is not None:
        mine.append(runs.c.parent_path == path)
    steps = connection.execute(select(runs.c.id, runs.c.parent_path).where(*mine))
    paths: dict[str, str] = {row.id: row.parent_path for row in steps}
    found = [(child, paths[child.id]) for child in _children(connection, mine)]
    connection.execute(update(runs).where(*mine).values(parent_index=None))
    return found


def live_parents_of(connection: Connection, run_ids: Collection[str]) -> dict[str, str]:
    """Run -> its parent, for those of these runs that are part of one that has not ended."""
    parents = runs.alias()
    query = (
        select(runs.c.id, parents.c.id)
        .join(parents, parents.c.id == runs.c.parent)
        .where(runs.c.id.in_(run_ids), parents.c.status.in_(_LIVE))
    )
    return {row[0]: row[1] for row in connection.execute(query)}


class ChildRunReader:
    """Reads them; every call uses a connection of its own."""

    def __init__(self, engine: Engine, daemon: str | None = None):
        """`daemon`: see `Store`; waiting parents are looked for among its runs."""
        self._engine = engine
        self._mine = mine(runs.c.daemon, daemon)

    def of_step(self, parent: str, path: str) -> list[ChildRun]:
        """Those that stand for an element of a step, in the order of the elements."""
        with reading(self._engine) as connection:
            return _children(connection, [*_of(parent, path), runs.c.parent_index.is_not(None)])

    def page(self, parent: str, path: str, *, after: int, limit: int) -> list[RunRow]:
        """At most `limit` of them with a number over `after`, whole."""
        query = select(runs).where(*_of(parent, path), runs.c.parent_index > after)
        with reading(self._engine) as connection:
            found = connection.execute(query.order_by(runs.c.parent_index).limit(limit)).all()
        return [to_row(row) for row in found]

    def counts(self, parent: str) -> dict[RunStatus, int]:
        """How many runs are part of that run, by where they stand."""
        query = select(runs.c.status, func.count()).where(runs.c.parent == parent).group_by(runs.c.status)
        with reading(self._engine) as connection:
            return {RunStatus(status): count for status, count in connection.execute(query)}

    def waiting_parents(self) -> set[str]:
        """Ids of the waiting runs that others are part of."""
        children = runs.alias()
        is_parent = select(children.c.id).where(children.c.parent == runs.c.id).exists()
        query = select(runs.c.id).where(runs.c.status == RunStatus.WAITING.value, is_parent, *self._mine)
        with reading(self._engine) as connection:
            return set(connection.scalars(query))

    def undone(self, parent: str) -> list[tuple[str, RunStatus, dict[str, Any] | None]]:
        """Id, status and error of runs that have not gone well and are part of that run, or of such a part of it."""
        found: list[tuple[str, RunStatus, dict[str, Any] | None]] = []
        left = [parent]
        with reading(self._engine) as connection:
            while left:
                looked, left = left[:LOOKED_INTO], left[LOOKED_INTO:]
                columns = (runs.c.id, runs.c.status, runs.c.error)
                mine = [runs.c.parent.in_(looked), runs.c.status.not_in(_DONE)]
                below = connection.execute(select(*columns).where(*mine).order_by(runs.c.id)).all()
                found += [(row.id, RunStatus(row.status), json.loads(row.error or "null")) for row in below]
                left += [row.id for row in below]
        return found

    def ids(self, parent: str, path: str) -> list[str]:
        """Those of a step, whether they stand for an element or were given up."""
        with reading(self._engine) as connection:
            return list(connection.scalars(select(runs.c.id).where(*_of(parent, path)).order_by(runs.c.id)))

    def given_up(self, parent: str, path: str) -> list[str]:
        """Those of a step that stand for no element any more."""
        query = select(runs.c.id).where(*_of(parent, path), runs.c.parent_index.is_(None))
        with reading(self._engine) as connection:
            return list(connection.scalars(query.order_by(runs.c.id)))

    def with_inner(self, run_ids: Sequence[str]) -> list[str]:
        """These runs, and those that are part of them, at any depth."""
        found, left = list(run_ids), list(run_ids)
        with reading(self._engine) as connection:
            while left:
                looked, left = left[:LOOKED_INTO], left[LOOKED_INTO:]
                below = list(connection.scalars(select(runs.c.id).where(runs.c.parent.in_(looked))))
                found += below
                left += below
        return found

    def maybe_final(self, run_ids: Sequence[str]) -> list[str]:
        """Those of these runs whose journal may say that they have done what must not be done twice."""
        says = or_(journal.c.data.contains('"final"'), journal.c.data.contains('"outcome"'))
        found: list[str] = []
        with reading(self._engine) as connection:
            for start in range(0, len(run_ids), LOOKED_INTO):
                mine = journal.c.run_id.in_(run_ids[start : start + LOOKED_INTO])
                found += connection.scalars(select(journal.c.run_id).where(mine, says).distinct())
        return found

    def live_parent_of(self, run_id: str) -> str | None:
        """The run that this one is part of, if that has not ended."""
        with reading(self._engine) as connection:
            return live_parents_of(connection, [run_id]).get(run_id)


def _of(parent: str | None, path: str | None) -> list[Any]:
    return [runs.c.parent == parent, runs.c.parent_path == path]


def _children(connection: Connection, mine: Sequence[Any]) -> list[ChildRun]:
    columns = (runs.c.id, runs.c.flow, runs.c.flow_hash, runs.c.status)
    found = connection.execute(select(*columns).where(*mine).order_by(runs.c.parent_index, runs.c.id))
    return [ChildRun(run_id, flow, version, RunStatus(status)) for run_id, flow, version, status in found]
