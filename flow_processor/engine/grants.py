"""Which secrets a run may have: those that its flows name, and no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from flow_processor.flow_files import placed_steps
from flow_processor.flow_files.launched import launched_flows

KEPT_VERSIONS = 1000


class Grants:
    """Remembers for each flow version what it names. Not thread safe: the engine's lock is held."""

    def __init__(self) -> None:
        self._kept: dict[str, frozenset[str]] = {}

    def of(self, flow_hash: str, flows: Mapping[str, str]) -> frozenset[str]:
        """Names of the secrets that stand in these flow texts. Raises SpecError for a text that is no flow."""
        if flow_hash not in self._kept:
            if len(self._kept) >= KEPT_VERSIONS:
                self._kept.clear()
            self._kept[flow_hash] = frozenset(
                name
                for _path, spec in launched_flows(flows)
                for _loc, step in placed_steps(spec)
                for name in (_named_in if step.is_own else _secrets_in)(step.options)
            )
        return self._kept[flow_hash]


def _secrets_in(value: Any) -> Iterator[str]:
    """Every `secret: NAME` and `authentication: NAME`, and all of `secrets: {…: NAME}`, among a step's options."""
    if isinstance(value, BaseModel):
        for key in type(value).model_fields:
            inner = getattr(value, key)
            if key in ("secret", "authentication") and isinstance(inner, str):
                yield inner
            elif key == "secrets" and isinstance(inner, dict):
                yield from inner.values()
            else:
                yield from _secrets_in(inner)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _secrets_in(inner)


def _named_in(options: Any) -> Iterator[str]:
    """The same among the options of a step type of one's own, which are plain data."""
    if isinstance(options, dict):
        for key, inner in options.items():
            if key == "secret" and isinstance(inner, str):
                yield inner
            elif key == "secrets" and isinstance(inner, dict | list):
                names = inner.values() if isinstance(inner, dict) else inner
                yield from (name for name in names if isinstance(name, str))
            else:
                yield from _named_in(inner)
    elif isinstance(options, list):
        for inner in options:
            yield from _named_in(inner)
