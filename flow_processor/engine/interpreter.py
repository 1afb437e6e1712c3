"""Runs a run: what one worker does with it, from the order to its end or to the wait that parks it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from flow_processor.engine.child_runs import Ask
from flow_processor.engine.doubts import check_doubts, settle_decided
from flow_processor.engine.flow_frame import FlowFrame
from flow_processor.engine.lines import Lines
from flow_processor.engine.order import RunOrder
from flow_processor.engine.run_journal import RunJournal
from flow_processor.engine.signals import Interrupted, Orphaned, Stopped
from flow_processor.engine.stops import Stops
from flow_processor.engine.surroundings import Tools
from flow_processor.errors import StepError
from flow_processor.run import RunStatus
from flow_processor.spec.flow import FlowSpec
from flow_processor.step import FlowOutcome, Secret


class RunInterpreter:
    """One dispatch of one run, from its order to its terminal status."""

    def __init__(
        self,
        order: RunOrder,
        *,
        journal: RunJournal,
        tools: Tools,
        spec_of: Callable[[str], FlowSpec],
        fetch_secret: Callable[[str], Secret],
        ask_children: Ask,
    ) -> None:
        self.order = order
        self.journal = journal
        self.tools = tools
        self.spec_of = spec_of
        self.fetch_secret = fetch_secret
        self.ask_children = ask_children
        # Not while the run is being ended: its finally steps are all that is left, and somebody waits for its end.
        self.lines = Lines(
            tools.clock,
            signals=journal.before.open_signals(),
            taken=journal.before.taken_signals(),
            may_park=lambda: self.stops.reason is None,
        )
        self.stops = Stops(self.lines.look_up)
        """A cancel or the flow's time limit ends all steps by it."""
        self._only_closes = False
        if journal.before.cancel_requested or journal.before.flow_timed_out:
            code = "cancelled" if journal.before.cancel_requested else "flow_timeout"
            self.stop_for(StepError(journal.before.stop_reason, code=code))

    def stop_for(self, reason: StepError) -> None:
        """End the steps under way and start no other; what closes the flow still runs."""
        self.stops.stop_for(reason)
        if self._only_closes:
            # In a thread of its own: it may have to wait for the daemon, whose word has brought us here.
            threading.Thread(target=self._tell_closing, name="closing", daemon=True).start()

    def begin_closing(self, *, is_whole: bool) -> None:
        """A flow has come to steps that a stop does not end; `is_whole`: the run's own, so nothing else is left."""
        self._only_closes = self._only_closes or is_whole
        if self.stops.reason is not None:
            self._tell_closing()

    def end_closing(self, *, is_whole: bool) -> None:
        """Behind its finally_step come steps (on_success, on_failure) that a stop does end."""
        if is_whole and self.stops.reason is None:
            self._only_closes = False

    def _tell_closing(self) -> None:
        """The daemon need not end by force what ends the run, though it was asked to end."""
        with contextlib.suppress(Orphaned):
            self.journal.flush(closing=True)

    def execute(self) -> tuple[RunStatus, dict[str, Any] | None]:
        """Run to the end; the terminal status and, unless all went well, the error.

        Raises Parked where all that is left to do is to wait, and Orphaned.
        """
        frame = FlowFrame(
            self, self.order.flow, prefix="", data=self.order.data, deadline=None, stops=self.stops
        )
        try:
            settle_decided(self.journal)
            if self.stops.reason is None:  # who ends the run asks nothing any more
                check_doubts(self.journal)
            outcome = frame.execute()
        except Stopped as stopped:
            cancelled = stopped.reason.code == "cancelled"
            return RunStatus.CANCELLED if cancelled else RunStatus.FAILED, stopped.reason.as_record()
        except Interrupted as interrupted:
            return RunStatus.INTERRUPTED, interrupted.error
        error = outcome.error
        if outcome.status == "exited" and frame.exit_message is not None:
            error = {"code": "exited", "message": frame.exit_message, "details": {}}
        return RunStatus(outcome.status), error

    def run_flow(
        self,
        flow: str,
        *,
        prefix: str,
        data: dict[str, Any],
        deadline: float | None,
        stops: Stops,
        closes: Stops | None,
    ) -> FlowOutcome:
        """Run a sub-flow; see `FlowFrame`."""
        frame = FlowFrame(self, flow, prefix=prefix, data=data, deadline=deadline, stops=stops, closes=closes)
        return frame.execute()
