"""YAML events -> plain data, in one pass without recursion, within limits.

libyaml's own composer recurses (it overflows the stack on deep nesting), knows no limit on aliases and lets
the last of two equal keys win. So only its event stream is used, and the data is built here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from flow_processor.documents.refusal import DuplicateKey, Limits, Loc, Place, Refused, place_of
from flow_processor.documents.scalars import plain_scalar

_MERGE = "<<"


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being filled."""

    container: list[Any] | dict[str, Any]
    anchor: str | None
    key: str | None = None
    """The mapping's key whose value comes next; None: a key comes next."""
    size: int = 1
    """Values in it, itself included, aliases counted in full."""
    height: int = 1
    """Levels in it, itself included."""
    merges: list[dict[str, Any]] | None = None


@dataclass(slots=True)
class Builder:
    """Builds the documents of one event stream. With `places`, it notes where everything stands."""

    limits: Limits
    places: dict[Loc, tuple[Place, Place]] | None = None
    """For each place in the (first) document: where its key and where its value begins."""
    documents: list[Any] = field(default_factory=list)
    duplicates: list[DuplicateKey] = field(default_factory=list)
    _stack: list[_Frame] = field(default_factory=list)
    _anchors: dict[str, tuple[Any, int, int]] = field(default_factory=dict)
    """anchor -> (value, size, height)"""
    _aliases: int = 0
    _alias_nodes: int = 0
    _key_mark: Any = None
    _marks: list[Any] = field(default_factory=list)

    def run(self, events: Iterable[Any]) -> Builder:
        """Read all events; the values are in `documents`, equal keys in `duplicates`. Raises Refused."""
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent:
                self._open({}, event)
            elif kind is yaml.SequenceStartEvent:
                self._open([], event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close(event)
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                self._anchors.clear()
        return self

    def _scalar(self, event: Any) -> None:
        if event.tag is not None:
            self._refuse_tag(event)
        stack = self._stack
        frame = stack[-1] if stack else None
        if frame is not None and frame.key is None and type(frame.container) is dict:
            self._take_key(frame, event.value, event)
            if event.anchor is not None:
                self._anchors[event.anchor] = (event.value, 1, 1)
            return
        value = event.value if event.style else plain_scalar(event.value, event.start_mark)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1, 1)
        self._put(value, 1, 1, event.start_mark)

    def _refuse_tag(self, event: Any) -> None:
        raise Refused(
            "yaml_invalid",
            f"the tag {_short_tag(event.tag)} is not understood",
            event.start_mark,
            hint="remove it; to make a value text, put it in quotes",
        )

    def _take_key(self, frame: _Frame, key: str, event: Any) -> None:
        self._key_mark = event.start_mark
        is_merge = key == _MERGE and not getattr(event, "style", None)
        if key in frame.container or (is_merge and frame.merges is not None):
            self.duplicates.append(DuplicateKey("duplicate_key", self._twice(key), event.start_mark))
        if is_merge:
            frame.merges = []
        frame.key = key

    def _twice(self, key: str) -> str:
        first = self.places.get((*self._loc(), key)) if self.places is not None else None
        where = f" (first in line {first[0][0]})" if first else ""
        return f"the key '{key}' stands twice in this mapping{where}"

    def _open(self, container: list[Any] | dict[str, Any], event: Any) -> None:
        stack = self._stack
        if event.tag is not None:
            self._refuse_tag(event)
        if stack and stack[-1].key is None and type(stack[-1].container) is dict:
            raise Refused(
                "yaml_invalid",
                "a key must be text, this one is a list or mapping",
                event.start_mark,
                hint='a value that begins with {{ needs quotes: "{{ … }}"',
            )
        self._check_depth(1, event)
        stack.append(_Frame(container, event.anchor))
        if event.anchor is not None:
            # Until it is closed, an alias to it would put it into itself.
            self._anchors.pop(event.anchor, None)
        if self.places is not None:
            self._marks.append((self._key_mark or event.start_mark, event.start_mark))
            self._key_mark = None

    def _close(self, event: Any) -> None:
        frame = self._stack.pop()
        if frame.merges:
            for mapping in frame.merges:
                for key, value in mapping.items():
                    cast("dict[str, Any]", frame.container).setdefault(key, value)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (frame.container, frame.size, frame.height)
        marks = self._marks.pop() if self.places is not None else (None, event.start_mark)
        self._key_mark = marks[0]
        self._put(frame.container, frame.size, frame.height, marks[1])

    def _alias(self, event: Any) -> None:
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            problem = f"the alias *{event.anchor} names no anchor that is complete at this place"
            raise Refused("yaml_invalid", problem, event.start_mark)
        value, size, height = anchored
        self._aliases += 1
        self._alias_nodes += size
        if self._aliases > self.limits.max_aliases:
            problem = f"more than {self.limits.max_aliases} aliases"
            raise Refused("yaml_limit", problem, event.start_mark, hint="write the values out")
        if self._alias_nodes > self.limits.max_alias_nodes:
            problem = f"its aliases stand for more than {self.limits.max_alias_nodes:,} values"
            raise Refused("yaml_limit", problem, event.start_mark, hint="write the values out")
        self._check_depth(height if isinstance(value, list | dict) else 0, event)
        frame = self._stack[-1]
        if frame.key is None and isinstance(frame.container, dict):
            if not isinstance(value, str):
                raise Refused("yaml_invalid", "an alias used as key must stand for text", event.start_mark)
            self._take_key(frame, value, event)
            return
        self._put(value, size, height, event.start_mark)

    def _check_depth(self, height: int, event: Any) -> None:
        if len(self._stack) + height > self.limits.max_depth:
            problem = f"nested deeper than {self.limits.max_depth} levels"
            raise Refused("yaml_limit", problem, event.start_mark)

    def _put(self, value: Any, size: int, height: int, mark: Any) -> None:
        if not self._stack:
            if self.places is not None and not self.documents:
                self._note((), mark)
            self.documents.append(value)
            return
        frame = self._stack[-1]
        frame.size += size
        if height >= frame.height:
            frame.height = height + 1
        if type(frame.container) is list:
            frame.container.append(value)
            if self.places is not None:
                self._note((*self._loc(), len(frame.container) - 1), mark)
            return
        key = frame.key
        frame.key = None
        if frame.merges is not None and key == _MERGE and not frame.merges:
            frame.merges = _mappings(value, mark)
            return
        cast("dict[str, Any]", frame.container)[cast("str", key)] = value
        if self.places is not None:
            self._note((*self._loc(), key or ""), mark)

    def _note(self, loc: Loc, mark: Any) -> None:
        value = cast("Place", place_of(mark))
        cast("dict[Loc, tuple[Place, Place]]", self.places).setdefault(
            loc, (place_of(self._key_mark) or value, value)
        )
        self._key_mark = None

    def _loc(self) -> Loc:
        loc: list[str | int] = []
        for frame in self._stack[:-1]:
            loc.append(len(frame.container) if isinstance(frame.container, list) else frame.key or "")
        return tuple(loc)


def _mappings(value: Any, mark: Any) -> list[dict[str, Any]]:
    """What `<<` brings in: one mapping, or a list of them (the earlier one wins)."""
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(item, dict) for item in found):
        raise Refused("yaml_invalid", "'<<' takes a mapping or a list of mappings", mark)
    return found


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
