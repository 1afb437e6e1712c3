"""Moments as people write them: `2026-12-24T18:00`, in a time zone, on days when clocks change too."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator

EXAMPLE = "2026-12-24T18:00:00 or 2026-12-24T18:00:00+01:00"
"""What messages show as right."""

YEARS = range(1970, 9000)
"""Years that a moment may lie in; beyond them the calendar of datetime ends."""

_FORM = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?")


def _written(text: str) -> str:
    _read(text)
    return text


MomentText = Annotated[str, AfterValidator(_written)]
"""A date and a time of day, perhaps with an offset from UTC; without one it is read in a time zone that is named
elsewhere."""


def has_zone(text: str) -> bool:
    """True: the text says itself how far it is from UTC."""
    return _read(text).tzinfo is not None


def moment_of(text: str, zone: ZoneInfo) -> datetime:
    """The moment, in UTC. A time of day that comes twice is its first one.

    Raises ValueError for a text that is no moment, and for a time of day that the zone's clocks skip.
    """
    read = _read(text)
    if read.tzinfo is not None:
        return read.astimezone(UTC)
    moment = read.replace(tzinfo=zone, fold=0).astimezone(UTC)
    there = moment.astimezone(zone).replace(tzinfo=None, fold=0)
    if there != read:
        raise ValueError(
            f"'{text}' does not exist in {zone.key}: clocks are set forward then; "
            f"give a time such as {there.isoformat()}, or one with its offset from UTC"
        )
    return moment


def _read(text: str) -> datetime:
    if _FORM.fullmatch(text) is None:
        raise ValueError(f"'{text[:60]}' is no moment; write a date and a time of day: {EXAMPLE}")
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"'{text}' does not exist ({error}); write it like {EXAMPLE}") from None
    if read.year not in YEARS:
        raise ValueError(f"'{text}' lies outside of the years {YEARS[0]} to {YEARS[-1]}")
    return read
