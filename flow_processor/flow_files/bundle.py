"""A flow with all flows it can call: what a run takes along, so that no later edit reaches it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from flow_processor.documents import in_file_order, parse, problem_at
from flow_processor.errors import FlowNotFound, InvalidRequest, Problem, SpecError
from flow_processor.flow_files.code_use import NO_CODE, CodeUse
from flow_processor.flow_files.defaults import DEFAULTS_KEY
from flow_processor.flow_files.param_checks import wrong_params
from flow_processor.flow_files.parsing import LoadedFlow
from flow_processor.flow_files.step_lists import Loc, placed_steps
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.step import StepSpec

MAX_SUB_FLOW_DEPTH = 20
"""Flows that may stand inside each other; deeper is taken for a mistake."""


@dataclass(frozen=True)
class Bundle:
    """A flow and its sub-flows, whole and right."""

    path: str
    """Of the flow itself, below the flows folder, with its suffix."""
    spec: FlowSpec = field(repr=False)
    flows: dict[str, str] = field(repr=False)
    """path -> text, of the flow and all its sub-flows, also under each spelling that a step uses; and what else a run
    takes along (own_code/manifest.py)."""
    hash: str
    """SHA-256 over all of `flows`."""
    paths: frozenset[str]
    """The files it is made of."""


@dataclass
class _Walk:
    load: Callable[[str], LoadedFlow]
    folder_name: str
    code: CodeUse
    texts: dict[str, str] = field(default_factory=dict)
    paths: set[str] = field(default_factory=set)
    heights: dict[str, int] = field(default_factory=dict)
    """path -> levels of flows below it, itself included; of flows that were walked to the end."""
    problems: list[Problem] = field(default_factory=list)
    specs: list[FlowSpec] = field(default_factory=list)

    def visit(self, flow: LoadedFlow, chain: tuple[str, ...]) -> int:
        """Walk the flow's calls; returns its height."""
        chain = (*chain, flow.path)
        self.texts[flow.path] = flow.text
        self.paths.add(flow.path)
        self.specs.append(flow.spec)
        for loc, code, message, hint in self.code.problems(flow.spec):
            self._problem(flow, loc, code, message, hint=hint)
        height = 1
        for loc, step in _calls(flow.spec):
            height = max(height, 1 + self._follow(flow, loc, step.options.path, chain=chain))
            self._check_params(flow, loc, step)
        self.heights[flow.path] = height
        return height

    def _follow(self, flow: LoadedFlow, loc: Loc, called: str, *, chain: tuple[str, ...]) -> int:
        try:
            child = self.load(called)
        except (FlowNotFound, InvalidRequest) as error:
            code = "sub_flow_missing" if isinstance(error, FlowNotFound) else error.code
            self._problem(flow, loc, code, error.message)
            return 0
        except SpecError as error:
            self.problems += [problem for problem in error.problems if problem not in self.problems]
            return 0
        if child.defaults is not flow.defaults:
            # One of them is wrong by the defaults of now, and in force as it was before.
            self._problem(
                flow, loc, "defaults_differ", "not both flows are right by defaults.yml as it is now"
            )
            return 0
        self.texts[called] = child.text
        if child.path in chain:
            circle = " -> ".join((*chain[chain.index(child.path) :], child.path))
            self._problem(flow, loc, "flow_cycle", f"the flows call each other in a circle: {circle}")
            return 0
        height = self.heights.get(child.path)
        if height is None:
            if len(chain) >= MAX_SUB_FLOW_DEPTH:
                self._too_deep(flow, loc)
                return 0
            return self.visit(child, chain)
        if len(chain) + height > MAX_SUB_FLOW_DEPTH:
            self._too_deep(flow, loc)
        return height

    def _check_params(self, flow: LoadedFlow, loc: Loc, step: StepSpec) -> None:
        try:
            child = self.load(step.options.path)
        except (FlowNotFound, InvalidRequest, SpecError):  # told by `_follow`
            return
        given = step.options.params
        for key, code, message, hint in wrong_params(child.spec, given, whose=f"'{child.path}'"):
            place = (*loc[:-1], "params", key) if key else (*loc[:-1], "params") if given else loc
            self._problem(flow, place, code, message, hint=hint)

    def _too_deep(self, flow: LoadedFlow, loc: Loc) -> None:
        message = f"more than {MAX_SUB_FLOW_DEPTH} flows stand inside each other"
        self._problem(flow, loc, "flow_depth", message)

    def _problem(
        self, flow: LoadedFlow, loc: Loc, code: str, message: str, *, hint: str | None = None
    ) -> None:
        document = parse(flow.text, file=f"{self.folder_name}/{flow.path}")
        self.problems.append(problem_at(document, loc, code, message, hint=hint, of_value=True))


def make_bundle(
    root: LoadedFlow, load: Callable[[str], LoadedFlow], *, folder_name: str, code: CodeUse = NO_CODE
) -> Bundle:
    """The bundle of `root`; `load` gives the flow of a path, `code` is what the flows may use.

    Raises SpecError with all problems of all files: missing or broken sub-flows, `flow_cycle`, `flow_depth`, and own
    code that is missing or does not take what it is given.
    """
    walk = _Walk(load, folder_name, code)
    walk.visit(root, ())
    if walk.problems:
        own_file = f"{folder_name}/{root.path}"
        own = [problem for problem in walk.problems if problem.file == own_file]
        others = [problem for problem in walk.problems if problem.file != own_file]
        raise SpecError([*in_file_order(own), *others])
    walk.texts |= code.texts(walk.specs)
    if root.defaults is not None and root.defaults.document.data:
        walk.texts[DEFAULTS_KEY] = root.defaults.text
    digest = hashlib.sha256()
    for path, text in sorted(walk.texts.items()):
        digest.update(f"{path}\0{len(text)}\0{text}".encode())
    return Bundle(root.path, root.spec, walk.texts, digest.hexdigest(), frozenset(walk.paths))


def _calls(spec: FlowSpec) -> list[tuple[Loc, StepSpec]]:
    """Every step that calls another flow, with the place of the called path."""
    return [
        ((*loc, step.options_key, "path"), step)
        for loc, step in placed_steps(spec)
        if step.options_key in ("flow", "flow_loop")
    ]
