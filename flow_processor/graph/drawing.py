"""What there is to draw of a flow, whatever it is drawn with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from flow_processor.flow_files import FlowLibrary
from flow_processor.shortened import shortened
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.output import OutputType
from flow_processor.spec.step import StepSpec, is_graph

START, END, EXIT = "__start__", "__end__", "__exit__"
ENDS = {END: "end", EXIT: "exit"}
"""Targets of goto that are no steps, with what a drawing calls them; `__start__` is the first step."""

MAX_CHARACTERS = 60
"""Of an option that a drawing shows."""

_TELLING = (
    "method",
    "mode",
    "uri",
    "path",
    "call",
    "axes",
    "items",
    "data_key",
    "signal",
    "seconds",
    "condition",
)
"""Options that tell what a step is about; the first two that a file gives are shown."""

SpecOf = Callable[[str], FlowSpec]


class EdgeKind(StrEnum):
    """Why one step comes after another."""

    NEXT = "next"
    """They stand in this order."""
    NEEDS = "needs"
    GOTO = "goto"
    ON_ERROR = "on error"


@dataclass(frozen=True)
class Edge:
    """What leads from one step of a block to another, or to one of `ENDS`."""

    source: str
    target: str
    kind: EdgeKind


@dataclass(frozen=True)
class Node:
    """A step."""

    name: str
    type: str
    notes: tuple[str, ...] = ()
    """What else is to be known of it, a line each."""
    blocks: tuple[Block, ...] = ()
    """Steps that stand inside it."""


@dataclass(frozen=True)
class Block:
    """A list of steps."""

    title: str
    """What it is in the step or flow around it; may be empty."""
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    is_ordered: bool = True
    """Its steps run in their order; else by what they need."""

    @property
    def ends(self) -> list[str]:
        """Those of `ENDS` to which something leads."""
        return [mark for mark in ENDS if any(edge.target == mark for edge in self.edges)]

    def levels(self) -> dict[str, int]:
        """Each step's place: in order from 0, or how many steps must run one after the other before it."""
        if self.is_ordered:
            return {node.name: place for place, node in enumerate(self.nodes)}
        needs: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for edge in self.edges:
            if edge.kind is EdgeKind.NEEDS:
                needs[edge.target].append(edge.source)
        found: dict[str, int] = {}
        # No more rounds than steps: a cycle, which is refused at load, must not keep this going.
        for _ in needs:
            for name, needed in needs.items():
                if name not in found and all(one in found for one in needed):
                    found[name] = max((found[one] + 1 for one in needed), default=0)
        return {name: found.get(name, 0) for name in needs}


@dataclass(frozen=True)
class Drawing:
    """A flow as it is to be drawn."""

    path: str
    title: str
    body: Block
    handlers: tuple[Block, ...] = field(default=())


def draw_file(library: FlowLibrary, path: str, *, sub_flows: bool = False) -> Drawing:
    """The drawing of a flow file, as it is now. Raises FlowNotFound, InvalidRequest, SpecError."""
    bundle = library.bundle(path)
    return draw(
        bundle.path, bundle.spec, sub_flows=(lambda called: library.load(called).spec) if sub_flows else None
    )


def draw(path: str, spec: FlowSpec, *, sub_flows: SpecOf | None = None) -> Drawing:
    """The drawing of a flow; `sub_flows` gives the flows that it calls, to be drawn inside the steps that call them
    (None: those are named only)."""
    handlers = [_block(name, steps, sub_flows) for name, steps in spec.handlers.items() if steps]
    body = _block("", spec.steps, sub_flows, finally_step=spec.finally_step)
    return Drawing(path, spec.name or path, body, tuple(handlers))


def _block(
    title: str, steps: Sequence[StepSpec], sub_flows: SpecOf | None, *, finally_step: str | None = None
) -> Block:
    nodes = tuple(_node(step, sub_flows, is_finally=step.name == finally_step) for step in steps)
    names = {step.name for step in steps}
    edges = [*_order(steps), *(edge for step in steps for edge in _jumps(step, steps[0].name))]
    inside = tuple(edge for edge in dict.fromkeys(edges) if edge.target in names or edge.target in ENDS)
    return Block(title, nodes, inside, is_ordered=not is_graph(steps))


def _order(steps: Sequence[StepSpec]) -> Iterator[Edge]:
    if is_graph(steps):
        for step in steps:
            yield from (Edge(one, step.name, EdgeKind.NEEDS) for one in step.needs or ())
        return
    for step, after in pairwise(steps):
        if step.options_key not in ("goto", "exit") or step.when is not None:
            yield Edge(step.name, after.name, EdgeKind.NEXT)


def _jumps(step: StepSpec, first: str) -> Iterator[Edge]:
    """Where the step may lead by itself, or by a step inside it."""
    if step.on_error_goto is not None:
        yield Edge(step.name, _target(step.on_error_goto, first), EdgeKind.ON_ERROR)
    if step.options_key == "goto":
        yield Edge(step.name, _target(step.options.step_name, first), EdgeKind.GOTO)
    for _title, inner in lists_in(step.options):
        if isinstance(inner, StepSpec):
            yield from (Edge(step.name, edge.target, edge.kind) for edge in _jumps(inner, first))


def _target(name: str, first: str) -> str:
    return first if name == START else name


def _node(step: StepSpec, sub_flows: SpecOf | None, *, is_finally: bool) -> Node:
    blocks = [
        Block(title, (_node(inner, sub_flows, is_finally=False),), ())
        if isinstance(inner, StepSpec)
        else _block(title, inner, sub_flows)
        for title, inner in lists_in(step.options)
    ]
    if step.options_key in ("flow", "flow_loop") and sub_flows is not None:
        called = sub_flows(step.options.path)
        blocks.append(_block(step.options.path, called.steps, sub_flows, finally_step=called.finally_step))
    return Node(step.name, step.options_key, tuple(_notes(step, is_finally=is_finally)), tuple(blocks))


def _notes(step: StepSpec, *, is_finally: bool) -> Iterator[str]:
    told = [one for one in map(_given(step.options).get, _TELLING) if isinstance(one, str | int | float)]
    if told:
        yield _short(" ".join(str(getattr(one, "value", one)) for one in told[:2]))
    if step.when is not None:
        conditions = [str(step.when).lower()] if isinstance(step.when, bool) else step.when
        yield _short("when " + " and ".join(conditions))
    if step.retry is not None and step.retry.attempts:
        yield f"tried up to {step.retry.attempts + 1} times"
    if step.ignore_errors:
        yield _short("ignores " + " | ".join(step.ignore_errors))
    if step.output is not None:
        each = "each element " if step.output.type is OutputType.MULTIPLE else ""
        yield f"{each}to the queue {step.output.queue}"
    if is_finally:
        yield "whatever happened (finally_step)"


def _given(options: Any) -> Mapping[str, Any]:
    """The options that the file gives; those of own step types are a mapping."""
    if isinstance(options, BaseModel):
        return {name: getattr(options, name) for name in options.model_fields_set}
    return options if isinstance(options, Mapping) else {}


def lists_in(options: Any) -> Iterator[tuple[str, StepSpec | Sequence[StepSpec]]]:
    """Every list of steps in a step's options, and every step alone, with what to call it. Jumps in a list stay in
    it; those of a step alone are jumps of the step around it."""
    if not isinstance(options, BaseModel):
        return
    for name in type(options).model_fields:
        value = getattr(options, name)
        if isinstance(value, StepSpec):
            yield name, value
        elif isinstance(value, Mapping):
            yield from ((str(key), steps) for key, steps in value.items() if _are_steps(steps))
        elif _are_steps(value):
            yield ("" if name == "steps" else name), value
        elif isinstance(value, tuple):
            for item in value:
                yield from ((_title_of(item), steps) for _name, steps in lists_in(item))


def _are_steps(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, StepSpec) for one in value)


def _title_of(item: BaseModel) -> str:
    """What tells a case from the others: `when Highest|High`."""
    told = [(name.rstrip("_"), getattr(item, name)) for name in type(item).model_fields]
    words = [f"{name} {value}" for name, value in told if isinstance(value, str | bool)]
    words += [f"{name} {' and '.join(value)}" for name, value in told if _are_texts(value)]
    return _short(" ".join(words))


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(one, str) for one in value)


def _short(text: str) -> str:
    return shortened(" ".join(text.split()), MAX_CHARACTERS)
