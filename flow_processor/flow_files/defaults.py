"""Defaults of steps: merged into what a flow file says before it is validated, so that a step that leaves something
out is checked as it will run, and each problem names the file and line where the wrong value stands."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from flow_processor.documents import Document, dump_yaml, parse, validate
from flow_processor.errors import Problem, SpecError
from flow_processor.factory import StepType, defaults_spec, flow_model, step_types
from flow_processor.flow_files.raw_steps import raw_steps
from flow_processor.spec.defaults import FOR_ALL, STEP_KEYS

Loc = tuple[str | int, ...]
Borrowed = dict[Loc, tuple[Document, Loc]]
"""Place in the merged file -> where it really stands."""

DEFAULTS_FILE = "defaults.yml"
DEFAULTS_KEY = f"own:{DEFAULTS_FILE}"
"""Under which a run's texts have it; no flow's path can hold a ':' there."""


@dataclass(frozen=True, eq=False)
class Defaults:
    """What data/defaults.yml says, whole and right."""

    document: Document
    text: str


def parse_defaults(text: str | bytes, file: str) -> Defaults:
    """The defaults of this text; `file` names it in problems. Raises SpecError with all problems."""
    document = parse(text, file=file)
    if document.data is not None:
        validate(defaults_spec(), document, code="defaults_invalid")
    return Defaults(document, document.text)


def own_defaults_problems(document: Document) -> list[Problem]:
    """All that is wrong under `defaults` in a flow file."""
    given = document.data.get("defaults") if isinstance(document.data, dict) else None
    if not isinstance(given, dict):
        return []
    try:
        validate(defaults_spec(), document.part(("defaults",), given))
    except SpecError as error:
        return list(error.problems)
    return []


def defaults_in(texts: Mapping[str, str]) -> Defaults | None:
    """The defaults that a run's texts hold; None if they hold none."""
    text = texts.get(DEFAULTS_KEY)
    return None if text is None else _kept(text)


@lru_cache(maxsize=64)
def _kept(text: str) -> Defaults:
    return parse_defaults(text, DEFAULTS_FILE)


def with_defaults(document: Document, defaults: Defaults | None, model: type[BaseModel]) -> Document:
    """The flow file with what its steps do not say filled in: from its own `defaults`, then from the file's; there
    what a step's type has goes before what all have. Mappings are merged key by key."""
    layers = []
    if isinstance(document.data, dict) and isinstance(document.data.get("defaults"), dict):
        layers.append(_Layer(document, ("defaults",), document.data["defaults"]))
    if defaults is not None and isinstance(defaults.document.data, dict):
        layers.append(_Layer(defaults.document, (), defaults.document.data))
    if not layers:
        return document
    kinds = {name: kind for kind in step_types().values() for name in (kind.name, *kind.aliases)}
    borrowed: Borrowed = {}
    merged = replace(document, data=copy.deepcopy(document.data), borrowed=borrowed)
    for loc, step in raw_steps(model, merged.data):
        type_name = step.get("type")
        kind = kinds.get(type_name) if isinstance(type_name, str) else None
        for layer in layers:
            layer.fill(step, loc, kind, borrowed)
    return merged


def effective_text(text: str, file: str, defaults: Defaults | None) -> str:
    """The flow file as YAML, with what its steps do not say filled in. Raises SpecError for what is no YAML."""
    merged = with_defaults(parse(text, file=file), defaults, flow_model()).data
    if isinstance(merged, dict):
        merged.pop("defaults", None)
    return dump_yaml(merged)


@dataclass(frozen=True)
class _Layer:
    """Defaults from one place."""

    document: Document
    loc: Loc
    """Where they stand in it."""
    data: dict[str, Any]

    def fill(self, step: dict[str, Any], loc: Loc, kind: StepType | None, borrowed: Borrowed) -> None:
        """Give the step at `loc` what it lacks."""
        for part in (*((kind.name, *kind.aliases) if kind else ()), FOR_ALL):
            given = self.data.get(part)
            if not isinstance(given, dict):
                continue
            for key, value in given.items():
                target, place, name = _target(step, loc, kind, key, is_for_all=part == FOR_ALL)
                if target is not None:
                    origin = (self.document, (*self.loc, part, key))
                    _merge(target, name, value, (*place, name), origin, borrowed)


def _target(
    step: dict[str, Any], loc: Loc, kind: StepType | None, key: str, *, is_for_all: bool
) -> tuple[dict[str, Any] | None, Loc, str]:
    """(mapping of the step that takes the default, its place, the key there); None where nothing takes it."""
    fields = kind.options.model_fields if kind is not None else {}
    if key in STEP_KEYS and (key in step or key not in fields):
        return step, loc, key
    names = next((found for found in map(_names, fields.items()) if key in found), None)
    if kind is None or names is None or (is_for_all and key not in STEP_KEYS):
        return None, loc, key
    under = next((name for name in (kind.name, *kind.aliases) if name in step), kind.name)
    options = step.get(under)
    if options is not None and not isinstance(options, dict):
        return None, loc, key
    # A copy: by an alias of YAML it may be that of another step too.
    step[under] = dict(options or {})
    return step[under], (*loc, under), next((name for name in names if name in step[under]), key)


def _names(field: tuple[str, FieldInfo]) -> tuple[str, ...]:
    """Under which names an option may be written."""
    name, info = field
    alias = info.validation_alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return (name, *(choice for choice in choices if isinstance(choice, str)))


def _merge(
    target: dict[str, Any], key: str, value: Any, loc: Loc, origin: tuple[Document, Loc], borrowed: Borrowed
) -> None:
    if key not in target:
        target[key] = copy.deepcopy(value)
        borrowed[loc] = origin
    elif isinstance(target[key], dict) and isinstance(value, dict):
        target[key] = dict(target[key])
        document, place = origin
        for name, item in value.items():
            _merge(target[key], name, item, (*loc, name), (document, (*place, name)), borrowed)
