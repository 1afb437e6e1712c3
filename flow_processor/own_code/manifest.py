"""The own code that a run takes along, beside the texts of its flows: so no later edit reaches it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

PREFIX = "own:"
"""Begins the key of what is no flow among a run's texts: no flow's path can hold a ':' there."""

_MANIFEST = PREFIX + "manifest"


@dataclass(frozen=True, order=True)
class OwnStep:
    """A step type of one's own, as flow files need to know it."""

    name: str
    repeatable: bool = False


@dataclass(frozen=True)
class OwnNames:
    """Names of own code that a flow file may use beside the product's own."""

    steps: frozenset[OwnStep] = frozenset()
    filters: frozenset[str] = frozenset()
    broken: tuple[str, ...] = ()
    """Files that cannot be loaded, and may be where a name is missing."""

    def broken_in(self, folder: str) -> str:
        """A hint that names the broken files of a folder; empty if there are none."""
        found = [path for path in self.broken if path.startswith(f"{folder}/")]
        return f"broken, so nothing of it can be used: {', '.join(found)}" if found else ""


NO_NAMES = OwnNames()


@dataclass(frozen=True)
class Manifest:
    """Which file has what."""

    callers: dict[str, str] = field(default_factory=dict)
    """Name -> file (`callers/mail.py`)."""
    steps: dict[str, str] = field(default_factory=dict)
    filters: dict[str, str] = field(default_factory=dict)
    repeatable: tuple[str, ...] = ()
    """Step types that may simply be run again."""

    @property
    def names(self) -> OwnNames:
        """What the flow files of the run may use."""
        steps = frozenset(OwnStep(name, name in self.repeatable) for name in self.steps)
        return OwnNames(steps, frozenset(self.filters))

    def as_texts(self, text_of: Mapping[str, str]) -> dict[str, str]:
        """What goes among the run's texts; nothing if there is nothing. `text_of`: file -> text."""
        files = sorted({*self.callers.values(), *self.steps.values(), *self.filters.values()})
        if not files:
            return {}
        texts = {_MANIFEST: json.dumps(asdict(self), sort_keys=True)}
        return texts | {PREFIX + path: text_of[path] for path in files}


def manifest_of(texts: Mapping[str, str]) -> Manifest:
    """What a run's texts say about its own code."""
    said = texts.get(_MANIFEST)
    if said is None:
        return Manifest()
    found = json.loads(said)
    return Manifest(found["callers"], found["steps"], found["filters"], tuple(found["repeatable"]))


def flow_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Those of a run's texts that are flows."""
    return {path: text for path, text in texts.items() if not path.startswith(PREFIX)}
