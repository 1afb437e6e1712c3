"""The lists of steps in a flow: its own, its handlers', and those that stand inside steps; with their places."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel, RootModel

from flow_processor.documents import Document
from flow_processor.spec.defaults import holds_steps
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import StepSpec

Loc = tuple[str | int, ...]
"""A place in a file: keys and positions."""


@dataclass(frozen=True, slots=True)
class PlacedList:
    """A list of steps that are told apart by their names, run together, and may name each other."""

    loc: Loc
    steps: tuple[StepSpec, ...]

    def placed(self) -> Iterator[tuple[Loc, StepSpec]]:
        """Its steps with their places, and those that stand alone inside them (a case of a switch)."""
        for index, step in enumerate(self.steps):
            yield from _with_single((*self.loc, index), step)


def step_lists(spec: FlowSpec) -> Iterator[PlacedList]:
    """Every list of steps in the flow; its own comes first."""
    for key, steps in {"steps": spec.steps, **spec.handlers}.items():
        if steps:
            yield from _lists_in((key,), steps)


def placed_steps(spec: FlowSpec) -> Iterator[tuple[Loc, StepSpec]]:
    """Every step of the flow with its place in the file, also those that stand inside others."""
    for steps in step_lists(spec):
        yield from steps.placed()


def _lists_in(loc: Loc, value: Any) -> Iterator[PlacedList]:
    if _is_list_of_steps(value):
        yield PlacedList(loc, value)
    for key, item in _items(value):
        yield from _lists_in((*loc, *key), item)


def _with_single(loc: Loc, step: StepSpec) -> Iterator[tuple[Loc, StepSpec]]:
    yield loc, step
    yield from _singles_in((*loc, step.options_key), step.options)


def _singles_in(loc: Loc, value: Any) -> Iterator[tuple[Loc, StepSpec]]:
    if isinstance(value, StepSpec):
        yield from _with_single(loc, value)
    elif not _is_list_of_steps(value):
        for key, item in _items(value):
            yield from _singles_in((*loc, *key), item)


def _is_list_of_steps(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], StepSpec)


def _items(value: Any) -> Iterator[tuple[Loc, Any]]:
    """What may hold steps inside a part of a flow, with the way to it."""
    if isinstance(value, StepSpec):
        yield (value.options_key,), value.options
    elif isinstance(value, RootModel):
        yield (), value.root
    elif isinstance(value, BaseModel):
        for name, key in _fields_with_steps(type(value)):
            yield (key,), getattr(value, name)
    elif isinstance(value, dict):
        yield from (((key,), item) for key, item in value.items())
    elif isinstance(value, tuple):
        yield from (((index,), item) for index, item in enumerate(value))


@cache
def _fields_with_steps(model: type[BaseModel]) -> tuple[tuple[str, str], ...]:
    """(name, key in the file) of the fields in which a step may stand: most models have none, and flows are walked
    several times."""
    fields = model.model_fields.items()
    return tuple((name, info.alias or name) for name, info in fields if holds_steps(info.annotation))


def placed_texts(loc: Loc, texts: tuple[str, ...], document: Document) -> list[tuple[Loc, str]]:
    """Each text with its place, whether the file has a list of them or a single one."""
    data: Any = document.data
    for part in loc:
        # A step's options may stand under an alias of its type's name; then the place is the step's.
        data = (
            data.get(part) if isinstance(data, dict) else data[int(part)] if isinstance(data, list) else None
        )
    if isinstance(data, list):
        return [((*loc, index), text) for index, text in enumerate(texts)]
    return [(loc, text) for text in texts]
