"""The types of values that are given from outside, and how each is read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any


class ParamType(StrEnum):
    """What a value must be."""

    STR = "str"
    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    DATE = "date"
    DATETIME = "datetime"
    CHOICE = "choice"
    LIST = "list"
    MAP = "map"


def read_value(kind: ParamType, value: Any) -> Any:
    """The value as the flow data takes it. Raises ValueError, which says what it must be.

    A text is read as what the type says (command lines and forms have nothing else); nothing else is converted.
    """
    return _READERS[kind](value)


WORDS: dict[ParamType, str] = {
    ParamType.STR: "must be a text",
    ParamType.INT: "must be a whole number",
    ParamType.FLOAT: "must be a number",
    ParamType.BOOL: "must be true or false",
    ParamType.DATE: "must be a date such as 2026-11-21",
    ParamType.DATETIME: "must be a moment such as 2026-11-21T07:40:06+01:00",
    ParamType.CHOICE: "must be one of its options",
    ParamType.LIST: "must be a list",
    ParamType.MAP: "must be a mapping (key: value)",
}
"""What a value of the type must be."""


def _wrong(kind: ParamType) -> ValueError:
    return ValueError(WORDS[kind])


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(ParamType.STR)
    return value


def _int(value: Any) -> int:
    if isinstance(value, str):
        text = value.strip()
        # int() also takes 1_000 and digits of other scripts, which nobody means.
        if text.isascii() and text.lstrip("+-").isdigit():
            value = _quietly(int, text)
    if type(value) is not int:
        raise _wrong(ParamType.INT)
    return value


def _float(value: Any) -> float:
    if isinstance(value, str) and value.isascii() and "_" not in value:
        value = _quietly(float, value)
    if type(value) not in (int, float):
        raise _wrong(ParamType.FLOAT)
    try:
        number = float(value)
    except OverflowError:
        raise _wrong(ParamType.FLOAT) from None
    if not math.isfinite(number):
        raise _wrong(ParamType.FLOAT)
    return number


def _bool(value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower(), value)
    if type(value) is not bool:
        raise _wrong(ParamType.BOOL)
    return value


def _date(value: Any) -> str:
    found = _quietly(date.fromisoformat, value.strip()) if isinstance(value, str) else None
    if not isinstance(found, date):
        raise _wrong(ParamType.DATE)
    return found.isoformat()


def _datetime(value: Any) -> str:
    found = _quietly(datetime.fromisoformat, value.strip()) if isinstance(value, str) else None
    if not isinstance(found, datetime):
        raise _wrong(ParamType.DATETIME)
    return found.isoformat()


def _list(value: Any) -> list[Any]:
    found = _quietly(json.loads, value) if isinstance(value, str) else value
    if not isinstance(found, list | tuple):
        raise _wrong(ParamType.LIST)
    return list(found)


def _map(value: Any) -> dict[str, Any]:
    found = _quietly(json.loads, value) if isinstance(value, str) else value
    if not isinstance(found, Mapping):
        raise _wrong(ParamType.MAP)
    return dict(found)


def _quietly(read: Callable[[str], Any], text: str) -> Any:
    """What the text says, or the text itself where it says nothing of that kind."""
    try:
        return read(text)
    except (ValueError, RecursionError):
        return text


_READERS: dict[ParamType, Callable[[Any], Any]] = {
    ParamType.CHOICE: _str,
    ParamType.STR: _str,
    ParamType.INT: _int,
    ParamType.FLOAT: _float,
    ParamType.BOOL: _bool,
    ParamType.DATE: _date,
    ParamType.DATETIME: _datetime,
    ParamType.LIST: _list,
    ParamType.MAP: _map,
}
