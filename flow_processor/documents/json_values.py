"""Data of steps as YAML, and any Python value as flow data (JSON values only)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from enum import Enum
from typing import Any

import yaml

from flow_processor.documents.reader import MAX_DEPTH, build
from flow_processor.documents.refusal import Limits, Refused
from flow_processor.documents.scalars import FLOAT, INTEGER
from flow_processor.errors import StepError

JsonValue = Any
_DATA = Limits(
    max_bytes=64 * 1024 * 1024, max_depth=MAX_DEPTH, max_aliases=100_000, max_alias_nodes=1_000_000
)
"""Limits of data files: programs write them, larger and with more aliases than people do."""
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class NotJson(StepError):
    """A value is nothing that flow data can hold."""

    code = "not_json"


def parse_data_yaml(text: str | bytes) -> JsonValue:
    """The value of YAML data; several documents are a list of their values; no document is None.

    Raises StepError `yaml_invalid`, `yaml_limit` or `duplicate_key` with details `{line, column}`.
    """
    documents = parse_all_data_yaml(text)
    if len(documents) > 1:
        return documents
    return documents[0] if documents else None


def parse_all_data_yaml(text: str | bytes) -> list[JsonValue]:
    """The values of all documents of YAML data. Raises StepError as `parse_data_yaml`."""
    try:
        return build(text, _DATA).documents
    except Refused as error:
        line, column = error.place or (None, None)
        where = f"line {line}, column {column}: " if line else ""
        hint = f" ({error.hint})" if error.hint else ""
        message = f"not valid YAML: {where}{error.message}{hint}"
        raise StepError(message, code=error.code, details={"line": line, "column": column}) from None


def dump_yaml(value: JsonValue) -> str:
    """The value as YAML that readers of YAML 1.1 and 1.2 understand alike. Raises NotJson."""
    text: str = yaml.dump(
        to_json_value(value), Dumper=_DataDumper, sort_keys=False, allow_unicode=True, width=120
    )
    return text


def to_json_value(value: Any) -> JsonValue:
    """The value as flow data: dates become ISO text, tuples and sets lists, keys text. Raises NotJson for
    bytes, NaN, infinity, lone surrogates, nesting over 100 levels and objects of other kinds."""
    return _convert(value, 0)


def json_bytes(value: JsonValue) -> bytes:
    """The value as compact JSON in UTF-8: what queues keep, and what an item of a queue is measured by."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def json_copy(value: Any) -> Any:
    """The value with lists and mappings of its own; everything else in it is the same, for it cannot be changed."""
    if isinstance(value, dict):
        return {key: json_copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_copy(item) for item in value]
    return value


def _convert(value: Any, depth: int) -> JsonValue:
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is float:
        if math.isfinite(value):
            return value
        raise NotJson(f"{value} is no number that JSON can hold")
    if depth >= MAX_DEPTH:
        raise NotJson(f"nested deeper than {MAX_DEPTH} levels (or it holds itself)")
    if isinstance(value, Mapping):
        return _mapping(value, depth + 1)
    if isinstance(value, list | tuple):
        return [_convert(item, depth + 1) for item in value]
    if isinstance(value, AbstractSet):
        items = [_convert(item, depth + 1) for item in value]
        return sorted(items, key=lambda item: (type(item).__name__, str(item)))
    return _other(value, depth)


def _other(value: Any, depth: int) -> JsonValue:
    if isinstance(value, Enum):
        return _convert(value.value, depth)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    for base in (bool, int, float, str):
        if isinstance(value, base):  # a subclass, such as Jinja's Markup
            return _convert(base(value) if base is not str else str.__str__(value), depth)
    raise NotJson(f"a value of type {type(value).__name__} cannot be kept in the flow data")


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, JsonValue]:
    result: dict[str, JsonValue] = {}
    for key, item in value.items():
        plain = _convert(key, depth)
        if plain is None or isinstance(plain, bool):
            name = {None: "null", True: "true", False: "false"}[plain]
        elif isinstance(plain, str | int | float):
            name = str(plain)
        else:
            raise NotJson(f"a key of type {type(key).__name__} cannot be kept in the flow data")
        if name in result:
            raise NotJson(f"two keys become the same text '{name}'")
        result[name] = _convert(item, depth)
    return result


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotJson("a text holds half of a surrogate pair, which no file can hold") from None
    return value


class _DataDumper(_Dumper):  # type: ignore[misc]
    """Writes no aliases, and quotes what YAML 1.1 or 1.2 would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# PyYAML knows YAML 1.1; these plain scalars are numbers only in 1.2: `0o17`, `1e3`.
_DataDumper.add_implicit_resolver("tag:yaml.org,2002:int", INTEGER, list("-+0123456789"))
_DataDumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
