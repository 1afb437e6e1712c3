"""`data_key`: which part of the flow data a step works on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flow_processor.errors import DataKeyMissing

WHOLE = "."
"""The data_key that means the whole data."""

_MAX_NAMES = 30
"""So many keys are listed in the error's text; enough to see a slip, short enough to read."""


def lookup(data: Mapping[str, Any], data_key: str) -> Any:
    """The value of `data_key`: `.` is all of it, an exact key comes first, else `a.b.0.c` walks.

    Raises DataKeyMissing, which names the keys that there are.
    """
    if data_key == WHOLE:
        return dict(data)
    if data_key in data:
        return data[data_key]
    value: Any = data
    names = data_key.split(".")
    for position, name in enumerate(names):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise _missing(data_key, ".".join(names[:position]), value)
    return value


def _missing(data_key: str, walked: str, value: Any) -> DataKeyMissing:
    where = f" in '{walked}'" if walked else ""
    if isinstance(value, Mapping):
        names = sorted(value)
        listed = ", ".join(names[:_MAX_NAMES]) + (", …" if len(names) > _MAX_NAMES else "")
        found = f"there are{where}: {listed}" if names else f"there are no keys{where}"
    elif isinstance(value, list):
        found = f"'{walked}' is a list of {len(value)}"
    else:
        found = f"'{walked}' is {_kind(value)} and holds nothing further"
    return DataKeyMissing(f"data_key '{data_key}' not found; {found}", details={"data_key": data_key})


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, int | float) else "a text"
