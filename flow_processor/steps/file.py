"""Reads or writes a file below the data folder.

```yaml
- name: export
  type: file
  file: {path: "input/{{ __input__.day }}.json", mode: read, type: json}
```

The result of `read` is what the file holds; of `write` and `append` it is `{path, bytes}`.

| type | read | write | append |
|---|---|---|---|
| json | the value | the value, indented | one line a record |
| yaml | the value; a list if there are several documents | the value | a document after `---` |
| text | the text | the text | the text, ended by a line break |
| csv | a list of mappings, by the first line | a list of mappings (or of lists: no first line) | more lines |
| jsonl | a list, one value a line | one line a record | one line a record |

A list is several records, anything else is one. Writing is atomic: whoever reads sees the old file or the new
one, and a failure leaves the old one. Folders on the way are made. Reading and writing are repeated after a
crash; appending only with `on_interrupt: rerun`.

`path` stays inside the data folder: `..`, absolute paths, symlinks that lead out and the spooler's own files
(flows, secrets, config, locks, history) are refused.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from flow_processor.data_files import DataFileType, append_bytes, read_value, write_bytes
from flow_processor.errors import PathRefused, StepError
from flow_processor.factory import step_type
from flow_processor.paths import append_whole, components, inside, open_regular, write_atomic
from flow_processor.spec.base import Spec
from flow_processor.step import JsonValue, StepContext, StepResult

MAX_BYTES = 64 * 1024 * 1024
"""Largest file that is read, in bytes: flow data is kept in memory and in the journal."""

_TYPES = {
    ".json": DataFileType.JSON,
    ".jsonl": DataFileType.JSONL,
    ".ndjson": DataFileType.JSONL,
    ".csv": DataFileType.CSV,
    ".txt": DataFileType.TEXT,
    ".md": DataFileType.TEXT,
    ".log": DataFileType.TEXT,
    ".html": DataFileType.TEXT,
    ".xml": DataFileType.TEXT,
}

_CODES = {
    errno.ENOENT: "file_not_found",
    errno.EACCES: "file_denied",
    errno.EPERM: "file_denied",
    errno.EROFS: "file_denied",
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EISDIR: "path_refused",
    errno.ENOTDIR: "path_refused",
    errno.ENAMETOOLONG: "path_refused",
}


class FileError(StepError):
    """The file cannot be read or written."""

    code = "file_failed"


class Mode(StrEnum):
    """What is done with the file."""

    READ = "read"
    WRITE = "write"
    APPEND = "append"


def _downwards(value: str) -> str:
    if "{{" not in value and "{%" not in value:
        try:
            components(value, what="path")
        except PathRefused as error:
            raise ValueError(error.message) from error
    return value


class FileOptions(Spec):
    """Reads or writes a file below the data folder."""

    path: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_downwards)]
    """The file, relative to DATA_PATH; `/` separates on every system. A template."""
    mode: Mode | None = None
    """`read` (default), `write` or `append`."""
    method: Annotated[Mode | None, Field(json_schema_extra={"deprecated": True})] = None
    """Old name of `mode`."""
    type: DataFileType | None = None
    """What the file holds; default: by the path's ending (.json, .jsonl, .csv, .txt, .md, .log, .html, .xml),
    else yaml."""
    data_key: str | None = None
    """Key of the flow data that is written; `.` is the whole data."""

    @model_validator(mode="after")
    def _consistent(self) -> FileOptions:
        if self.mode is not None and self.method is not None and self.mode is not self.method:
            raise ValueError("'method' is the old name of 'mode'; they say different things, remove 'method'")
        if self.action is not Mode.READ and self.data_key is None:
            raise ValueError(f"'data_key' is missing: mode {self.action} needs something to write")
        return self

    @property
    def action(self) -> Mode:
        """What is done, whichever key says it."""
        return self.mode or self.method or Mode.READ


@step_type("file", repeatable=lambda options: options.action is not Mode.APPEND)
def run(options: FileOptions, context: StepContext) -> StepResult:
    """Read or write the file. Raises PathRefused and FileError."""
    if options.method is not None:
        context.log("'file.method' is the old name of 'file.mode'; please rename it", level="warning")
    relative = context.render(options.path)
    if not isinstance(relative, str):
        relative = str(relative) if isinstance(relative, int) else ""
    folder = context.folders.data
    path = inside(folder, relative, what="file.path", private=context.folders.private)
    kind = options.type or _TYPES.get(path.suffix.lower(), DataFileType.YAML)
    try:
        return StepResult(_act(options, context, path=path, kind=kind, shown=relative))
    except OSError as error:
        code = _CODES.get(error.errno or 0, "file_failed")
        reason = "there is no such file in the data folder" if code == "file_not_found" else error.strerror
        raise FileError(f"cannot {options.action} {relative!r}: {reason}", code=code) from error


def _act(
    options: FileOptions, context: StepContext, *, path: Path, kind: DataFileType, shown: str
) -> JsonValue:
    folder = context.folders.data
    if options.action is Mode.READ:
        return read_value(_read(path, folder, shown=shown), kind, name=shown)
    value = context.lookup(options.data_key or ".")
    if options.action is Mode.WRITE:
        data = write_bytes(value, kind)
        write_atomic(path, data, below=folder)
        return {"path": shown, "bytes": len(data)}
    count = append_whole(path, lambda file: append_bytes(value, kind, file), below=folder)
    return {"path": shown, "bytes": count}


def _read(path: Path, folder: Path, *, shown: str) -> bytes:
    with open_regular(path, "rb", below=folder) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FileError(f"{shown!r} is larger than {MAX_BYTES:,} bytes", code="file_too_large")
    return data
