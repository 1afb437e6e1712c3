"""Which rows are this daemon's, where several share one store."""

from __future__ import annotations

from sqlalchemy import Column, ColumnElement


def mine(column: Column[str], daemon: str | None) -> tuple[ColumnElement[bool], ...]:
    """The condition that a row is this daemon's; none where a store has one daemon only (None): all are."""
    return () if daemon is None else (column == daemon,)
