"""One execution of a list of steps over its data: those of a flow, of a sub-flow, or of a block inside a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flow_processor.clock import Clock
from flow_processor.engine.attempt import control_of
from flow_processor.engine.attempts import Attempts
from flow_processor.engine.blocks import Blocks
from flow_processor.engine.by_needs import run_by_needs
from flow_processor.engine.context import AttemptContext
from flow_processor.engine.in_order import run_in_order
from flow_processor.engine.lines import Lines
from flow_processor.engine.policies import Then
from flow_processor.engine.run_journal import RunJournal
from flow_processor.engine.signals import Stopped
from flow_processor.engine.step_waits import earlier
from flow_processor.engine.stops import Stops
from flow_processor.errors import StepError
from flow_processor.expressions.jinja import Templates
from flow_processor.flow_data import child_data, fold_data
from flow_processor.journal import Event
from flow_processor.run_state import StepRecord, StepStatus
from flow_processor.spec.flow import FlowSpec
from flow_processor.spec.params import ParamSpec, params_error, read_values
from flow_processor.spec.step import StepSpec, is_graph
from flow_processor.step import Block, BlockOutcome, Exit, FlowOutcome, Goto, OnFailure, StepResult
from flow_processor.wait import Wait

if TYPE_CHECKING:
    from flow_processor.engine.interpreter import RunInterpreter

FINALLY_SECONDS = 60.0
"""Time limit of a finally_step that runs after a cancel or time limit and has none of its own."""


class StepList:
    """The steps of a list, over data of their own."""

    def __init__(
        self,
        run: RunInterpreter,
        steps: Sequence[StepSpec],
        *,
        prefix: str,
        data: dict[str, Any],
        deadline: float | None,
        flow: FlowSpec,
        stops: Stops,
        closes: Stops | None = None,
    ) -> None:
        """`prefix` stands before the paths of the steps; `data` is what the first of them sees; `flow` says how many
        jumps there may be, and how many steps beside each other."""
        self._run = run
        self._visits: Counter[str] = Counter()
        self._is_graph = is_graph(steps)
        self.journal: RunJournal = run.journal
        self.clock: Clock = run.tools.clock
        self.templates: Templates = run.tools.templates
        self.max_item_bytes: Mapping[str, int] = run.tools.max_item_bytes
        self.lines: Lines = run.lines
        self.steps = steps
        self.prefix = prefix
        self.data = data
        self.deadline = deadline
        self.flow = flow
        self.stops = stops
        self.closes = closes
        """Stops of the steps that these here close, and which do not stop these; None: they close none."""
        self.comes_later: str | None = None
        """Name of a step that is run once the list has ended, if it has not been by then (finally_step)."""
        self.handler = ""
        """`on_failure/` where they are a handler's: what `__errors__` puts before their names."""
        self.until: str | None = None
        """Name of the step behind which steps that run in order end; None: the last."""
        self.finished: set[str] = set()
        """Names of the steps that have run, whatever came of it."""
        self.results: dict[str, Any] = {}
        """The results of the steps that succeeded, by their keys."""
        self.shares: dict[str, dict[str, Any]] = {}
        """Where they run by what they need: what each has added to the data, by its name."""
        self.ended_at: float | None = None
        """When the step that ended last did so (seconds since 1970), if that was in an earlier worker."""

    def run(self) -> Exit | None:
        """Run the steps; what an `exit` said if one ended them early. Raises FlowFailed and Stopped."""
        return run_by_needs(self) if self._is_graph else run_in_order(self)

    def visit(self, step: StepSpec, *, data: dict[str, Any] | None = None) -> Goto | Exit | None:
        """Run a step of the list and take its outcome into the data. `data`: what it sees, if not the list's own."""
        number = self._visits[step.name] + 1
        path = self.prefix + step.name + (f"#{number}" if number > 1 else "")
        seen = self.data if data is None else data
        attempts = Attempts(self, step, path=path, data=seen, deadline=self.deadline, key=step.key)
        if self.journal.past(path, 1) is None:
            attempts.check(None)
        self._visits[step.name] = number
        try:
            return control_of(attempts.run())
        finally:
            self.finished.add(step.name)

    def take(self, step: StepSpec, record: StepRecord) -> None:
        """Take what an attempt of a step of the list came to into the data."""
        fold_data(self.data, record)
        if self._is_graph:
            fold_data(self.shares.setdefault(step.name, {"__errors__": []}), record)
        self.ended_at = record.ended_at
        if record.status is StepStatus.SUCCEEDED and record.key is not None:
            self.results[record.key] = record.result

    def has_begun(self, step: StepSpec) -> bool:
        """Did an earlier worker begin the step?"""
        return self.journal.past(self.prefix + step.name, 1) is not None

    def is_settled(self, step: StepSpec) -> bool:
        """Did earlier workers come to the end of the step's first visit?"""
        attempt = 1
        while (record := self.journal.past(self.prefix + step.name, attempt)) is not None:
            if record.then != Then.RETRY:
                return not record.is_under_way and (record.error is None or record.then is not None)
            attempt += 1
        return False

    def tell_not_started(self) -> None:
        """Write down which steps have not begun, and will not."""
        for step in self.steps:
            if step.name not in self.finished and step.name != self.comes_later:
                self.journal.append(self.prefix + step.name, 1, Event.NOT_STARTED)

    @contextmanager
    def stopped_together(self) -> Iterator[None]:
        """For as long as the `with` lasts the steps can be ended by one of them."""
        around = self.stops
        with around.group(self.prefix) as self.stops:
            try:
                yield
            finally:
                self.stops = around

    def close(self) -> None:
        """From here on steps run that close those before: what ends those does not end these."""
        self.closes = self.stops
        self.stops = Stops(self.lines.look_up, prefix=self.prefix)

    def check_run(self) -> None:
        """Raises what ends the run, or its stay in this worker."""
        self.journal.check_daemon()
        reason = self.stop_reason()
        if reason is not None:
            raise Stopped(reason)

    def stop_reason(self) -> StepError | None:
        """Why steps must end now."""
        return self.stops.reason

    def deadline_of(self, step: StepSpec, outer: float | None, *, since: float | None = None) -> float | None:
        """When an attempt must have ended (monotonic seconds) that begins now, or `since` (seconds since 1970)."""
        limit = step.timeout_seconds
        if limit is None and self.closes is not None and self.closes.reason is not None:
            limit, since = FINALLY_SECONDS, None
        if limit is None:
            return outer
        passed = 0.0 if since is None else max(0.0, self.clock.now().timestamp() - since)
        return earlier(self.clock.monotonic() + limit - passed, outer)

    def context(
        self,
        step: StepSpec,
        *,
        path: str,
        attempt: int,
        data: dict[str, Any],
        deadline: float | None,
        begun_wait: Wait | None,
        begun_before: bool,
    ) -> AttemptContext:
        """The context of an attempt."""
        return AttemptContext(
            self,
            step,
            path=path,
            attempt=attempt,
            data=data,
            deadline=deadline,
            stop=self.stops.event,
            begun_wait=begun_wait,
            begun_before=begun_before,
            lines=self.lines,
            journal=self.journal,
            tools=self._run.tools,
            fetch_secret=self._run.fetch_secret,
            ask_children=self._run.ask_children,
        )

    def run_child(
        self,
        path: str,
        *,
        payload: Any,
        params: Mapping[str, Any],
        loop_index: int | None,
        below: str,
        data: dict[str, Any],
        deadline: float | None,
    ) -> FlowOutcome:
        """Run a sub-flow; `below` is the path of the step that calls it, and `data` what that step sees."""
        item = "" if loop_index is None else f"[{loop_index}]"
        specs = self._run.spec_of(path).params
        values, problems = read_values(specs, params, where="params")
        own = child_data(
            data, flow=path, payload=payload, loop_index=loop_index, params=values if specs else None
        )
        if problems:
            return FlowOutcome("failed", own, params_error(problems))
        return self._run.run_flow(
            path,
            prefix=f"{below}{item}/",
            data=own,
            deadline=deadline,
            stops=self.stops,
            closes=self.closes,
        )

    def params_of(self, path: str) -> Mapping[str, ParamSpec]:
        """The parameters of a flow."""
        return self._run.spec_of(path).params

    def run_inside(
        self,
        step: StepSpec,
        *,
        path: str,
        data: dict[str, Any],
        deadline: float | None,
        errors: list[dict[str, Any]],
    ) -> StepResult:
        """Run one step that stands inside another; its failure is the outer step's, and so are its `errors`."""
        record = Attempts(self, step, path=path, data=data, deadline=deadline, key=None).run()
        errors.extend(record.errors)
        return StepResult(record.result, control_of(record))

    def inner(
        self,
        steps: Sequence[StepSpec],
        *,
        prefix: str,
        data: dict[str, Any],
        deadline: float | None,
        stops: Stops,
    ) -> StepList:
        """A list of steps that stands inside a step of this one."""
        return StepList(
            self._run,
            steps,
            prefix=prefix,
            data=data,
            deadline=deadline,
            flow=self.flow,
            stops=stops,
            closes=self.closes,
        )

    def run_blocks(
        self,
        blocks: Sequence[Block],
        *,
        below: str,
        data: dict[str, Any],
        deadline: float | None,
        errors: list[dict[str, Any]],
        begin: Callable[[], None],
        limit: int,
        on_failure: OnFailure,
    ) -> list[BlockOutcome | None]:
        """Run lists of steps that stand inside a step of this one; see `Blocks`."""
        runner = Blocks(self, below=below, data=data, deadline=deadline, errors=errors, begin=begin)
        return runner.run(blocks, limit=limit, on_failure=on_failure)
