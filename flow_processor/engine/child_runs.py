"""The elements of a loop as runs of their own: launched, waited for, gathered.

The daemon launches an element once, however often it is asked; so all of this is simply done again in each worker
that gets the parent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flow_processor.engine.signals import Stopped
from flow_processor.engine.step_waits import StepWaits
from flow_processor.errors import StepError
from flow_processor.run import RunStatus
from flow_processor.run_state import is_part
from flow_processor.spec.params import ParamSpec, params_error, read_values
from flow_processor.step import Element, FlowOutcome
from flow_processor.wait import Wait, WaitKind

PAGE_ELEMENTS = 500
"""Elements that are launched in one transaction at most."""

PAGE_CHARACTERS = 1024 * 1024
"""So much of them likewise, but for a single one that is larger."""

LOOK_SECONDS = 1.0
"""Pause before the daemon is asked again: it could not answer, or a run goes on that had ended."""

Ask = Callable[[dict[str, Any]], dict[str, Any] | None]


class ChildRuns:
    """The runs of one attempt of one step."""

    def __init__(
        self, ask: Ask, waits: StepWaits, *, below: str, keep_done: Callable[[str], None] = lambda path: None
    ) -> None:
        """`below` is what they are known by: the path of the attempt. `keep_done` is told of those that have done what
        no other attempt may begin anew."""
        self._keep_done = keep_done
        self._ask_daemon = ask
        self._waits = waits
        self._below = below

    def run(
        self,
        flow: str,
        specs: Mapping[str, ParamSpec],
        elements: Sequence[Element],
        *,
        limit: int,
        ends_on_failure: bool,
    ) -> dict[int, FlowOutcome]:
        """What the elements came to, by their numbers. Those that were ended by another's failure are left out."""
        outcomes: dict[int, FlowOutcome] = {}
        wanted: list[list[Any]] = []
        for element in elements:
            values, problems = read_values(specs, element.params, where="params")
            if problems:
                data = {"__input__": element.payload, "__errors__": [], "__loop_index__": element.index}
                outcomes[element.index] = FlowOutcome("failed", data, params_error(problems))
            else:
                wanted.append([element.index, element.payload, values if specs else None])
        if not wanted or (ends_on_failure and outcomes):
            return outcomes
        begin = {"do": "begin", "limit": limit, "ends_on_failure": ends_on_failure}
        try:
            self._launch_and_wait(flow, wanted, begin)
            found = list(self._gather())
        except (StepError, Stopped):
            self._end()
            raise
        has_failed = any(child["status"] in (RunStatus.FAILED, RunStatus.INTERRUPTED) for child in found)
        had_begun = False
        for child in found:
            if child["final"]:
                self._keep_done(f"{self._below}[{child['index']}]")
            if ends_on_failure and has_failed and child["status"] == RunStatus.CANCELLED:
                had_begun = had_begun or is_part(child["error"])
                continue
            outcomes[child["index"]] = _outcome(child)
        return _with_part(outcomes) if had_begun else outcomes

    def _launch_and_wait(self, flow: str, wanted: list[list[Any]], begin: dict[str, Any]) -> None:
        state = self._ask(begin)
        if state["known"] < len(wanted):
            for page in _pages(wanted):
                self._ask({"do": "launch", "flow": flow, "elements": page})
            state = self._ask(begin)
        if state["live"]:
            self._waits.wait_for(Wait(WaitKind.CHILDREN, signal=signal_of(self._below)))
            state = self._ask(begin)
        while state["live"]:  # one that had ended goes on, or somebody else has sent the signal
            self._waits.pause(LOOK_SECONDS, since=None)
            state = self._ask(begin)

    def _gather(self) -> Iterator[dict[str, Any]]:
        after: int | None = 0
        while after is not None:
            page = self._ask({"do": "gather", "after": after})
            yield from page["children"]
            after = page["after"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        while (answer := self._ask_daemon({**request, "path": self._below})) is None:
            self._waits.pause(LOOK_SECONDS, since=None)
        return answer

    def _end(self) -> None:
        """The step is over; at the latest with the parent they end in any case. Where the daemon does not say what they
        had done it may have been anything."""
        answer = self._ask_daemon({"do": "end", "path": self._below})
        if answer is None or answer["final"]:
            self._keep_done(f"{self._below}[ended]")


def signal_of(below: str) -> str:
    """Name of the signal that says that all runs of a step have ended."""
    return f"runs of {below} have ended"


def _pages(elements: list[list[Any]]) -> Iterator[list[list[Any]]]:
    page: list[list[Any]] = []
    size = 0
    for element in elements:
        length = len(json.dumps(element))
        if page and (len(page) >= PAGE_ELEMENTS or size + length > PAGE_CHARACTERS):
            yield page
            page, size = [], 0
        page.append(element)
        size += length
    yield page


def _with_part(outcomes: dict[int, FlowOutcome]) -> dict[int, FlowOutcome]:
    """The same; failures say that a part was done, for what was ended beside them must not be begun anew."""
    return {
        index: one if one.error is None else replace(one, error=_said_partial(one.error))
        for index, one in outcomes.items()
    }


def _said_partial(error: dict[str, Any]) -> dict[str, Any]:
    return {**error, "details": {"outcome": "partial", **(error.get("details") or {})}}


def _outcome(child: dict[str, Any]) -> FlowOutcome:
    status, error = child["status"], child["error"]
    if status in (RunStatus.SUCCEEDED, RunStatus.EXITED):
        return FlowOutcome(status, child["data"], run_id=child["run_id"])
    return FlowOutcome("failed", child["data"], error, run_id=child["run_id"])
