"""Text of a YAML (or JSON) file -> a `Document`: its data, and on demand where each part of it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import yaml

from flow_processor.documents.builder import Builder
from flow_processor.documents.refusal import Limits, Loc, Place, Refused, place_of
from flow_processor.errors import Problem, SpecError

MAX_BYTES = 1024 * 1024
"""Largest file a person writes (flow, config, secrets), in bytes."""
MAX_DEPTH = 100
"""Deepest nesting, in levels; far below what could exhaust a thread's stack anywhere downstream."""
WRITTEN = Limits(max_bytes=MAX_BYTES, max_depth=MAX_DEPTH, max_aliases=100, max_alias_nodes=10_000)
"""Limits of files that people write."""

_EVENTS: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Source of events; PyYAML without its C part (no wheel for the platform) is slower, not different."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""What YAML forbids in a text (YAML 1.2.2, 5.1)."""


@dataclass(frozen=True)
class Document:
    """What a file says. Positions are computed only when somebody asks for one."""

    file: str
    """Path as its author knows it."""
    data: Any
    text: str = field(default="", repr=False)
    base: Loc = ()
    """Where `data` stands in the file; () is the whole file."""

    borrowed: Mapping[Loc, tuple[Document, Loc]] = field(default_factory=dict, repr=False)
    """Parts of `data` that really stand in another file, or elsewhere in this one."""

    def origin(self, loc: Loc) -> tuple[Document, Loc]:
        """The document in which the part at `loc` stands, and its place there."""
        for length in range(len(loc), 0, -1) if self.borrowed else ():
            if loc[:length] in self.borrowed:
                document, place = self.borrowed[loc[:length]]
                return document, (*place, *loc[length:])
        return self, loc

    def part(self, loc: Loc, data: Any) -> Document:
        """The part of the file at `loc` as a document of its own, which says `data`."""
        return Document(self.file, data, self.text, (*self.base, *loc))

    def position(self, loc: Loc, *, of_value: bool = False) -> tuple[int, int] | None:
        """Line and column (1-based) of the key at `loc` (or of its value), or of the nearest part around it
        that is there; None for an empty file."""
        loc = (*self.base, *loc)
        for length in range(len(loc), -1, -1):
            places = self._places.get(loc[:length])
            if places:
                return places[1 if of_value or length < len(loc) else 0]
        return None

    @cached_property
    def _places(self) -> dict[Loc, tuple[Place, Place]]:
        places: dict[Loc, tuple[Place, Place]] = {}
        Builder(WRITTEN, places).run(_events(self.text))
        return places


def parse(text: str | bytes, *, file: str, code: str = "yaml_invalid") -> Document:
    """The one document of a file. An empty file has the data None.

    Raises SpecError: `code` where it is no (allowed) YAML, `yaml_limit`, `duplicate_key` (all of them).
    """
    source = ""
    try:
        source = decode(text, WRITTEN)
        builder = Builder(WRITTEN).run(_events(source))
        if builder.duplicates:
            builder = Builder(WRITTEN, {}).run(_events(source))
        if len(builder.documents) > 1:
            raise Refused("yaml_invalid", "holds several documents", hint="remove the lines '---'")
    except Refused as error:
        raise as_spec_error([error], file=file, code=code) from None
    except yaml.YAMLError as error:
        raise as_spec_error([_from_yaml(error, source)], file=file, code=code) from None
    if builder.duplicates:
        raise as_spec_error(builder.duplicates, file=file, code=code)
    return Document(file, builder.documents[0] if builder.documents else None, source)


def build(text: str | bytes, limits: Limits) -> Builder:
    """All documents of a text. Raises Refused."""
    source = decode(text, limits)
    try:
        builder = Builder(limits).run(_events(source))
    except yaml.YAMLError as error:
        raise _from_yaml(error, source) from None
    if builder.duplicates:
        raise builder.duplicates[0]
    return builder


def as_spec_error(problems: list[Any], *, file: str, code: str = "yaml_invalid") -> SpecError:
    """The refusals as SpecError of that file; `code` stands in for `yaml_invalid`."""
    found = [
        Problem(
            code=code if problem.code == "yaml_invalid" else problem.code,
            file=file,
            line=problem.place[0] if problem.place else None,
            column=problem.place[1] if problem.place else None,
            key="",
            message=problem.message,
            hint=problem.hint,
        )
        for problem in problems
    ]
    return SpecError(found, code=found[0].code)


def decode(text: str | bytes, limits: Limits) -> str:
    """The text, without a byte order mark. Raises Refused for what is too big, no text, or holds characters
    that YAML forbids."""
    if len(text) > limits.max_bytes:
        problem = f"the file is larger than {limits.max_bytes // 1024:,} KiB"
        raise Refused("yaml_limit", problem)
    if isinstance(text, bytes):
        text = _decode_bytes(text)
    text = text.removeprefix("\ufeff")
    bad = _UNPRINTABLE.search(text)
    if bad:
        name = "the character NUL" if bad[0] == "\0" else f"the character U+{ord(bad[0]):04X}"
        refused = Refused("yaml_invalid", f"{name} is not allowed in a text file")
        refused.place = _place_at(text, bad.start())
        raise refused
    return text


def _decode_bytes(raw: bytes) -> str:
    # PowerShell's `>` writes UTF-16 with a byte order mark; YAML 1.2.2 (5.2) says to understand it.
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        refused = Refused("yaml_invalid", f"the file is not {encoding.upper()} text", hint="save it as UTF-8")
        good = raw[: error.start].decode(encoding, "replace")
        refused.place = _place_at(good, len(good))
        raise refused from None


def _place_at(text: str, offset: int) -> Place:
    line = text.count("\n", 0, offset)
    return line + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def _events(text: str) -> Iterator[Any]:
    source = _EVENTS(text)
    try:
        while (event := source.get_event()) is not None:
            yield event
            if type(event) is yaml.StreamEndEvent:
                return
    finally:
        source.dispose()


def _from_yaml(error: yaml.YAMLError, text: str) -> Refused:
    """PyYAML's complaint with a hint for what people most often meant."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return Refused("yaml_invalid", str(error).splitlines()[0] or "is not YAML")
    mark = error.problem_mark or error.context_mark
    message = " ".join(part for part in (error.problem, error.context) if part) or "is not YAML"
    place = place_of(mark)
    lines = text.splitlines()
    line = lines[place[0] - 1] if place and place[0] <= len(lines) else ""
    return Refused("yaml_invalid", message, mark, hint=_hint(message, line))


def _hint(message: str, line: str) -> str | None:
    if "\t" in line[: len(line) - len(line.lstrip())] or "'\\t'" in message:
        return "indent with blanks; YAML does not allow tabs"
    if re.search(r"(?:^|[:\-]\s+)\{[{%]", line):
        return 'a value that begins with {{ or {% needs quotes: "{{ … }}"'
    if "mapping values are not allowed" in message:
        return "check the indentation; a text that holds ': ' needs quotes"
    if "did not find expected" in message or "could not find expected" in message:
        return (
            "check the indentation of this line and the one before, and that quotes and brackets are closed"
        )
    if "cannot start any token" in message:
        return "a text that begins with @, `, % or a similar sign needs quotes"
    return None
