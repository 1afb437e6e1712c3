"""What data files hold, as flow data: JSON, JSON lines, YAML, CSV and text; always UTF-8."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, BinaryIO

from flow_processor.documents import NotJson, dump_yaml, parse_data_yaml, to_json_value
from flow_processor.errors import StepError

JsonValue = Any

csv.field_size_limit(64 * 1024 * 1024)


class DataFileType(StrEnum):
    """What a file holds."""

    JSON = "json"
    YAML = "yaml"
    TEXT = "text"
    CSV = "csv"
    JSONL = "jsonl"


class DataFileInvalid(StepError):
    """The file does not hold what its type says, or the data do not fit into that type."""

    code = "file_invalid"


def read_value(data: bytes, kind: DataFileType, *, name: str) -> JsonValue:
    """What the bytes of a file mean; `name` is for messages. Raises DataFileInvalid."""
    try:
        if kind is DataFileType.YAML:
            return parse_data_yaml(data)
        text = data.decode("utf-8-sig")
        if kind is DataFileType.TEXT:
            return to_json_value(text)
        if kind is DataFileType.CSV:
            return _read_csv(text)
        if kind is DataFileType.JSONL:
            return [_json(line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        return _json(text, 1)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _invalid(name, kind, f"line {line} is no UTF-8 text", line=line) from error
    except _BadLine as error:
        raise _invalid(name, kind, error.reason, line=error.line) from error
    except StepError as error:  # of the YAML reader, or NotJson
        raise _invalid(name, kind, error.message, line=error.details.get("line")) from error


def write_bytes(value: JsonValue, kind: DataFileType) -> bytes:
    """The whole content of a file that holds the value. Raises DataFileInvalid."""
    try:
        if kind is DataFileType.YAML:
            return dump_yaml(value).encode()
        plain = to_json_value(value)
        if kind is DataFileType.TEXT:
            return _text(plain).encode()
        if kind is DataFileType.CSV:
            rows, columns = _rows(plain)
            return _csv(rows, columns, header=True)
        if kind is DataFileType.JSONL:
            return _lines(plain)
        return json.dumps(plain, ensure_ascii=False, indent=2).encode() + b"\n"
    except NotJson as error:
        raise DataFileInvalid(f"the data cannot be written as {kind}: {error.message}") from error


def append_bytes(value: JsonValue, kind: DataFileType, file: BinaryIO) -> bytes:
    """What to append to the open file for the value to be in it. Raises DataFileInvalid.

    A line that a crash left unfinished is ended first, so that it spoils nothing but itself.
    """
    start = b"" if _ends_line(file) else b"\n"
    try:
        if kind is DataFileType.YAML:
            return start + b"---\n" + dump_yaml(value).encode()
        plain = to_json_value(value)
        if kind is DataFileType.TEXT:
            # Exactly behind what is there: a text that stands without a line break may be meant to go on.
            text = _text(plain)
            return (text if text.endswith("\n") else text + "\n").encode()
        if kind is DataFileType.CSV:
            return start + _more_csv(plain, file)
        return start + _lines(plain)
    except NotJson as error:
        raise DataFileInvalid(f"the data cannot be written as {kind}: {error.message}") from error


class _BadLine(Exception):
    def __init__(self, line: int, reason: str):
        super().__init__(reason)
        self.line = line
        self.reason = reason


def _invalid(name: str, kind: DataFileType, reason: str, *, line: int | None) -> DataFileInvalid:
    return DataFileInvalid(f"{name!r} is no {kind}: {reason}", details={"path": name, "line": line})


def _json(text: str, first_line: int) -> JsonValue:
    try:
        return to_json_value(json.loads(text, parse_constant=_no_constant))
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        hint = " (several records? use type jsonl)" if error.msg == "Extra data" else ""
        raise _BadLine(line, f"line {line}, column {error.colno}: {error.msg}{hint}") from error
    except (ValueError, RecursionError) as error:
        reason = "is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise _BadLine(first_line, reason) from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _lines(value: JsonValue) -> bytes:
    records = value if isinstance(value, list) else [value]
    lines = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records)
    return "".join(line + "\n" for line in lines).encode()


def _text(value: JsonValue) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        raise DataFileInvalid(f"type text needs a text, not a {type(value).__name__}; use type json or yaml")
    return "" if value is None else _cell(value)


def _read_csv(text: str) -> list[dict[str, str]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    records: list[dict[str, str]] = []
    try:
        header = next(reader, [])
        if len(set(header)) < len(header):
            raise _BadLine(1, "a column name stands twice in the first line")
        for cells in reader:
            if not cells:
                continue  # an empty line
            if len(cells) != len(header):
                reason = f"line {reader.line_num} has {len(cells)} cells, the first line has {len(header)}"
                raise _BadLine(reader.line_num, reason)
            records.append(to_json_value(dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise _BadLine(reader.line_num, f"line {reader.line_num}: {error}") from error
    return records


def _rows(value: JsonValue) -> tuple[list[Any], list[str] | None]:
    """The records, and their columns in order of appearance; None for lists of cells."""
    records = value if isinstance(value, list) else [value]
    if records and all(isinstance(record, list) for record in records):
        return records, None
    if not all(isinstance(record, dict) for record in records):
        raise DataFileInvalid("type csv needs a list of mappings, or a list of lists")
    return records, list(dict.fromkeys(name for record in records for name in record))


def _csv(rows: Iterable[Any], columns: list[str] | None, *, header: bool) -> bytes:
    lines = _Lines()
    writer = csv.writer(lines, lineterminator="\r\n")
    if columns and header:
        writer.writerow(columns)
    for row in rows:
        cells = row if columns is None else [row.get(name) for name in columns]
        writer.writerow([_cell(cell) for cell in cells])
    return "".join(lines).encode()


class _Lines(list[str]):
    """Takes what csv writes. csv quotes only line breaks that it could write itself (before Python 3.13), so it
    is to write CRLF, which becomes LF here."""

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n") + "\n")


def _cell(value: JsonValue) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _more_csv(value: JsonValue, file: BinaryIO) -> bytes:
    """Lines for a table that may be there already: in its order of columns, none of which may be new."""
    rows, columns = _rows(value)
    file.seek(0)
    first = file.readline().decode("utf-8-sig", "replace")
    if columns is None or not first.strip():
        return _csv(rows, columns, header=True)
    header = next(csv.reader([first]))
    new = [name for name in columns if name not in header]
    if new:
        raise DataFileInvalid(f"the file has no column {new[0]!r}; it has: {', '.join(header)}")
    return _csv(rows, header, header=False)


def _ends_line(file: BinaryIO) -> bool:
    """Is the file empty, or its last line ended?"""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"
