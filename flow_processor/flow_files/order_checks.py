"""What steps say about each other in a list: names, targets of goto, and what they need."""

from __future__ import annotations

from collections.abc import Iterator

from flow_processor.documents import Document, did_you_mean, problem_at
from flow_processor.errors import Problem
from flow_processor.flow_files.needs import ancestors, cycles
from flow_processor.flow_files.step_lists import Loc, PlacedList, placed_texts, step_lists
from flow_processor.spec.flow import GOTO_MARKS, FlowSpec
from flow_processor.spec.step import StepSpec, is_graph


def check_order(spec: FlowSpec, document: Document) -> Iterator[Problem]:
    """All problems of all lists, in no particular order."""
    for steps in step_lists(spec):
        yield from _check_names(steps, document)
        if is_graph(steps.steps):
            yield from _check_needs(steps, document)
            yield from _check_keys(steps, document)
            yield from _check_jumps(steps, document)
        else:
            yield from _check_targets(steps, document)
    names = [step.name for step in spec.steps]
    if spec.finally_step is not None and spec.finally_step not in names:
        yield _no_step(("finally_step",), spec.finally_step, known=names, document=document)
    for index, name in enumerate(names):
        if spec.handlers.get(name):
            message = f"a step may not be named like '{name}', which this flow has"
            hint = "journal and history tell the steps of both apart by that name; name the step otherwise"
            yield problem_at(
                document, ("steps", index, "name"), "reserved_name", message, hint=hint, of_value=True
            )


def _check_names(steps: PlacedList, document: Document) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, step in enumerate(steps.steps):
        if step.name in first:
            where = _line_of(steps, first[step.name], document)
            message = f"two steps have the name '{step.name}'{where}"
            hint = "goto, journal and data tell steps apart by name"
            loc = (*steps.loc, index, "name")
            yield problem_at(document, loc, "duplicate_step", message, hint=hint, of_value=True)
        first.setdefault(step.name, index)


def _line_of(steps: PlacedList, index: int, document: Document) -> str:
    place = document.position((*steps.loc, index, "name"))
    return f" (first in line {place[0]})" if place else ""


def _check_targets(steps: PlacedList, document: Document) -> Iterator[Problem]:
    names = [step.name for step in steps.steps]
    for place, target in _targets(steps):
        if target not in names and target not in GOTO_MARKS:
            yield _no_step(place, target, known=[*names, *GOTO_MARKS], document=document)


def _check_jumps(steps: PlacedList, document: Document) -> Iterator[Problem]:
    """Steps that run by what they need have no place to jump to."""
    for place, _target in _targets(steps):
        message = "these steps run by 'needs', not in order, so none can be jumped to"
        hint = "use 'when' to leave steps out, 'exit' to end the flow, or put the jump into a flow of its own"
        yield problem_at(document, place, "goto_in_graph", message, hint=hint)


def _targets(steps: PlacedList) -> Iterator[tuple[Loc, str]]:
    for loc, step in steps.placed():
        if step.on_error_goto is not None:
            yield (*loc, "on_error_goto"), step.on_error_goto
        if step.options_key == "goto":
            yield (*loc, "goto", "step_name"), step.options.step_name


def _no_step(loc: Loc, target: str, *, known: list[str], document: Document) -> Problem:
    hint = did_you_mean(target, known) or f"there are: {', '.join(known)}"
    message = f"there is no step '{target}'"
    return problem_at(document, loc, "unknown_step", message, hint=hint, of_value=True)


def _check_needs(steps: PlacedList, document: Document) -> Iterator[Problem]:
    names = [step.name for step in steps.steps]
    needs: dict[str, list[str]] = {name: [] for name in names}
    known = set(names)
    for index, step in enumerate(steps.steps):
        for place, needed in _needed(steps, index, document):
            if needed == step.name:
                yield _itself(place, needed, document)
            elif needed not in known:
                yield _no_step(place, needed, known=names, document=document)
            elif needed in needs[step.name]:
                yield _twice(place, needed, document)
            else:
                needs[step.name].append(needed)
    for cycle in cycles(needs):
        yield _circle((*steps.loc, names.index(cycle[0]), "needs"), cycle, document)


def _itself(loc: Loc, name: str, document: Document) -> Problem:
    message = f"step '{name}' needs itself"
    return problem_at(document, loc, "needs_itself", message, of_value=True)


def _twice(loc: Loc, name: str, document: Document) -> Problem:
    message = f"'{name}' is named twice"
    return problem_at(document, loc, "needs_twice", message, of_value=True)


def _circle(loc: Loc, cycle: list[str], document: Document) -> Problem:
    way = " → ".join([*cycle, cycle[0]])
    message = f"these steps wait for each other, so none can begin: {way} (each needs the next)"
    return problem_at(document, loc, "needs_cycle", message, hint="leave out one of these needs")


def _needed(steps: PlacedList, index: int, document: Document) -> list[tuple[Loc, str]]:
    return placed_texts((*steps.loc, index, "needs"), steps.steps[index].needs or (), document)


def _check_keys(steps: PlacedList, document: Document) -> Iterator[Problem]:
    """Of two steps that may run beside each other, nobody knows whose result would stand under their key."""
    by_key: dict[str, list[int]] = {}
    for index, step in enumerate(steps.steps):
        by_key.setdefault(step.key, []).append(index)
    shared = {key: indexes for key, indexes in by_key.items() if len(indexes) > 1}
    if not shared:
        return
    before = ancestors({step.name: step.needs or () for step in steps.steps})
    for key, indexes in shared.items():
        for number, index in enumerate(indexes):
            other = steps.steps[index]
            earlier = [steps.steps[one] for one in indexes[:number]]
            beside = [one for one in earlier if not _is_ordered(one.name, other.name, before)]
            if beside:
                yield _same_key(key, beside[0], other, loc=(*steps.loc, index), document=document)


def _is_ordered(one: str, other: str, before: dict[str, frozenset[str]]) -> bool:
    return one == other or one in before[other] or other in before[one]


def _same_key(key: str, one: StepSpec, other: StepSpec, *, loc: Loc, document: Document) -> Problem:
    message = (
        f"the steps '{one.name}' and '{other.name}' may run beside each other, and both write the key '{key}'"
    )
    hint = f"give one of them another result_key, or let '{other.name}' need '{one.name}'"
    place = (*loc, "result_key" if other.result_key is not None else "name")
    return problem_at(document, place, "result_key_twice", message, hint=hint, of_value=True)
