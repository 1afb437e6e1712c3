"""Own code as flows use it: is it there, does it take what they give it, and what of it does a run take along?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flow_processor.containers import ContainerRules
from flow_processor.documents import did_you_mean
from flow_processor.flow_files.step_lists import Loc, placed_steps
from flow_processor.own_code.library import Function, OwnCodeState
from flow_processor.own_code.manifest import Manifest
from flow_processor.own_code.registration import Kind
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import StepSpec

CheckValues = Callable[[Function, Mapping[str, Any]], list[dict[str, Any]]]
"""What is wrong with values for a function: `{"loc", "message", "hint"}` each."""

_DOCKER_HINT = (
    "they are off until config.yml says 'docker: {enabled: true, allow_images: [...]}': docs/containers.md"
)

Found = tuple[Loc, str, str, str | None]
"""(place, problem code, message, hint)"""


@dataclass(frozen=True)
class CodeUse:
    """Own code as it is now, and what is switched off."""

    state: OwnCodeState = field(default_factory=OwnCodeState)
    check_values: CheckValues = lambda function, values: []
    switched_off: Mapping[str, str] = field(default_factory=dict)
    """Step type -> the key of config.yml that says so."""
    containers: ContainerRules | None = None
    """The rules for containers; None: not known, not looked at."""

    def problems(self, flow: FlowSpec) -> Iterator[Found]:
        """What of own code, and of what is switched off (each type once, at its first step), the flow cannot have."""
        told: set[str] = set()
        for loc, step in placed_steps(flow):
            key = self._switched_off(step)
            if key is not None:
                if step.type in told:
                    continue
                told.add(step.type)
                message = f"steps of the type '{step.type}' are switched off in config.yml ({key}: false)"
                hint = _DOCKER_HINT if step.options_key == "docker" else None
                yield (*loc, "type"), "step_switched_off", message, hint
            elif step.options_key == "python":
                yield from self._call((*loc, "python"), step)
            elif step.options_key == "docker" and self.containers is not None:
                for place, code, message in self.containers.problems(step.options):
                    yield (*loc, "docker", *place), code, message, None
            elif step.is_own:
                yield from self._own_step(loc, step)

    def texts(self, flows: Iterable[FlowSpec]) -> dict[str, str]:
        """What a run of these flows takes along: the files of functions that they call, and of all filters."""
        steps = [step for flow in flows for _loc, step in placed_steps(flow)]
        called = {step.options.call for step in steps if step.options_key == "python"}
        own = {step.options_key for step in steps if step.is_own}
        functions = self.state.functions
        manifest = Manifest(
            callers=_files(functions, Kind.CALLER, called),
            steps=_files(functions, Kind.STEP, own),
            filters=_files(functions, Kind.FILTER, self.state.names.filters),
            repeatable=tuple(sorted(one for one in own if functions[Kind.STEP, one].repeatable)),
        )
        return manifest.as_texts(self.state.texts)

    def _switched_off(self, step: StepSpec) -> str | None:
        return self.switched_off.get("python" if step.is_own else step.options_key)

    def _call(self, loc: Loc, step: StepSpec) -> Iterator[Found]:
        name = step.options.call
        function = self.state.functions.get((Kind.CALLER, name))
        if function is None:
            known = sorted(one for kind, one in self.state.functions if kind is Kind.CALLER)
            message = f"there is no function '{name}' in callers/"
            hint = did_you_mean(name, known) or self.state.names.broken_in("callers")
            hint = hint or f"there are: {', '.join(known) or 'none'}"
            yield (*loc, "call"), "own_code_missing", message, hint
            return
        yield from _secret_problems(loc, step.options.secrets, function)
        yield from self._values((*loc, "args"), function, step.options.args)

    def _own_step(self, loc: Loc, step: StepSpec) -> Iterator[Found]:
        function = self.state.functions.get((Kind.STEP, step.options_key))
        if function is None:
            message = f"there is no step type '{step.options_key}' in steps/ any more"
            hint = self.state.names.broken_in("steps") or None
            yield (*loc, "type"), "own_code_missing", message, hint
            return
        yield from self._values((*loc, step.options_key), function, step.options)

    def _values(self, loc: Loc, function: Function, values: Mapping[str, Any]) -> Iterator[Found]:
        for wrong in self.check_values(function, values):
            message = f"{function.name} ({function.file}): {wrong['message']}"
            yield (*loc, *wrong["loc"]), "arguments_invalid", message, wrong["hint"]


NO_CODE = CodeUse()


def _secret_problems(loc: Loc, given: Mapping[str, str], function: Function) -> Iterator[Found]:
    for parameter in given:
        if parameter not in function.secrets:
            message = f"{function.name} ({function.file}) has no parameter '{parameter}' that takes a secret"
            hint = "annotate it with Secret"
            yield (*loc, "secrets", parameter), "arguments_invalid", message, hint
    for parameter in function.needed_secrets:
        if parameter not in given:
            message = f"{function.name} ({function.file}) needs a secret for '{parameter}'"
            yield loc, "arguments_invalid", message, f"add 'secrets: {{{parameter}: NAME}}'"


def _files(
    functions: Mapping[tuple[Kind, str], Function], kind: Kind, names: Iterable[str]
) -> dict[str, str]:
    return {name: functions[kind, name].file for name in sorted(names) if (kind, name) in functions}
