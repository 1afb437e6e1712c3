"""The worker process: executes one run at a time and holds no secret of the daemon.

Started by the daemon as `python -m flow_processor.engine.worker`, with frames on stdin and stdout. When stdin
ends the daemon is gone: the step under way is finished, what no daemon has confirmed is handed over in a file,
and the process leaves. While it lives it holds a kernel lock, by which the next daemon knows. It removes the lock's
file when it has left nothing behind: a file that is left says that the worker died.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo

import flow_processor.steps  # noqa: F401  registers the step types
from flow_processor.clock import SystemClock
from flow_processor.engine.child_client import ChildClient
from flow_processor.engine.cores import give_way, use_cores
from flow_processor.engine.frames import Frame, FrameWriter, read_frame, take_stdout
from flow_processor.engine.interpreter import RunInterpreter
from flow_processor.engine.limits import limit_cpu, limit_memory
from flow_processor.engine.order import RunOrder, WorkerSettings
from flow_processor.engine.orphans import adopt_orphans, end_orphans, reap_orphans
from flow_processor.engine.row_text import storable
from flow_processor.engine.run_journal import RunJournal
from flow_processor.engine.secret_client import SecretClient
from flow_processor.engine.signals import Orphaned, Parked
from flow_processor.engine.surroundings import Tools
from flow_processor.engine.undelivered import Undelivered
from flow_processor.engine.worker_lock import WorkerLock
from flow_processor.errors import StepError
from flow_processor.expressions import jq
from flow_processor.expressions.jinja import Templates
from flow_processor.factory import flow_model
from flow_processor.flow_files import parse_flow
from flow_processor.flow_files.defaults import Defaults, defaults_in
from flow_processor.journal import Event
from flow_processor.own_code.calls import OwnCode
from flow_processor.own_code.manifest import OwnNames
from flow_processor.own_code.modules import Modules
from flow_processor.own_code.printing import take_prints
from flow_processor.process_tree import leave_stops_to_the_daemon
from flow_processor.result_files import ResultFiles
from flow_processor.run import RunStatus
from flow_processor.run_state import Signal
from flow_processor.secrets.redaction import Redactor
from flow_processor.spec.docker import DockerAccess
from flow_processor.spec.flow import FlowSpec
from flow_processor.step import Folders

KEPT_SPECS = 500
"""Parsed flows that a worker keeps."""

MAX_DEFECT_CHARACTERS = 2000
"""The run's error takes so much of what a defect says."""


@lru_cache(maxsize=KEPT_SPECS)
def _spec(text: str, path: str, own: OwnNames, defaults: Defaults | None) -> FlowSpec:
    return parse_flow(text, path, checked=True, own=own, defaults=defaults)


class Worker:
    """The one object of a worker process."""

    def __init__(self, settings: WorkerSettings, send: FrameWriter) -> None:
        self._settings = settings
        self._send = send
        self._clock = SystemClock()
        folders = Folders(
            data=Path(settings.data_path),
            templates=Path(settings.templates_path),
            private=tuple(Path(path) for path in settings.private_paths),
        )
        self._tools = Tools(
            Templates(folders.templates),
            folders,
            self._clock,
            ZoneInfo(settings.timezone),
            switched_off=settings.switched_off,
            max_item_bytes=settings.max_item_bytes,
            docker=None if settings.docker is None else DockerAccess.from_json(settings.docker),
        )
        self._modules = Modules()
        self._filters: tuple[tuple[str, str], ...] = ()
        """Those that the templates of `_tools` know."""
        self._results = ResultFiles(Path(settings.results_path))
        lock_path = Path(settings.workers_path) / f"{settings.worker_id}.lock"
        self._lock = WorkerLock(lock_path, clock=self._clock)
        self._orders: queue.SimpleQueue[RunOrder | None] = queue.SimpleQueue()
        handover_path = Path(settings.handover_path)
        self._undelivered = Undelivered(handover_path, worker_id=settings.worker_id, clock=self._clock)
        self._guard = threading.Lock()
        self._interpreter: RunInterpreter | None = None
        self._secrets: SecretClient | None = None
        self._children: ChildClient | None = None
        self._is_orphan = False
        self._early: list[tuple[str, Callable[[RunInterpreter], None]]] = []
        """What was said about a run that this process has not begun yet."""

    def serve(self, commands: BinaryIO) -> None:
        """Do what the daemon says until it says exit or is gone."""
        self._lock.take()
        threading.Thread(target=self._listen, args=(commands,), name="commands", daemon=True).start()
        with contextlib.suppress(OSError):  # the daemon has left already, which the listener sees too
            self._send.send({"ready": os.getpid()})
        while (order := self._orders.get()) is not None:
            self._execute(order)
        is_complete = self._undelivered.hand_over(give_up_at=self._lock.must_end_by)
        self._lock.leave(nothing_left=is_complete)

    def _listen(self, commands: BinaryIO) -> None:
        try:
            while (frame := read_frame(commands)) is not None:
                self._obey(frame)
        except OSError:
            # An answer that nobody takes any more: the daemon is gone, which is what follows in any case.
            return
        finally:
            self._lose_daemon()

    def _lose_daemon(self) -> None:
        with self._guard:
            self._is_orphan = True
            self._undelivered.lose_daemon()
            if self._interpreter is not None:
                self._interpreter.lines.look_up()
            if self._secrets is not None:
                self._secrets.lose_daemon()
            if self._children is not None:
                self._children.lose_daemon()
        self._orders.put(None)
        # The next daemon waits for the run that this worker still has, but not for those that it had before.
        self._undelivered.hand_over(give_up_at=self._lock.must_end_by)

    def _obey(self, frame: Frame) -> None:
        if "run" in frame:
            self._orders.put(RunOrder(**frame["run"]))
        elif "committed" in frame:
            self._undelivered.committed(frame["run_id"], frame["committed"])
            self._lock.describe_idle(self._undelivered)
        elif "secret" in frame and self._secrets is not None:
            self._secrets.answer(frame)
        elif "children" in frame and self._children is not None:
            self._children.answer(frame["children"])
        elif "abort" in frame:
            reason = StepError(frame["abort"]["message"], code=frame["abort"]["code"])
            self._tell(frame["run_id"], lambda run: run.stop_for(reason))
        elif "signal" in frame:
            told = Signal(**frame["signal"])
            self._tell(frame["run_id"], lambda run: run.lines.deliver(told))
        elif "check" in frame:
            self._send.send({"checked": [jq.compile_problem(text) for text in frame["check"]]})
        elif "exit" in frame:
            self._orders.put(None)

    def _tell(self, run_id: str, say: Callable[[RunInterpreter], None]) -> None:
        """Say something to a run under way, or to one that is about to begin."""
        with self._guard:
            if self._interpreter is not None and self._interpreter.order.run_id == run_id:
                say(self._interpreter)
            else:
                self._early.append((run_id, say))

    def _begin(self, interpreter: RunInterpreter) -> None:
        with self._guard:
            self._interpreter = interpreter
            early, self._early = self._early, []
            for run_id, say in early:
                if run_id == interpreter.order.run_id:
                    say(interpreter)

    def _execute(self, order: RunOrder) -> None:
        """Run an order to its end, whatever that is; a defect here must not leave the run without a status."""
        redactor = Redactor()
        try:
            journal = self._journal_of(order, redactor)
        except Exception as defect:  # noqa: BLE001  the run must end with a reason
            # What was done before cannot be read: a journal that begins here takes the end.
            self._fail(self._journal_of(replace(order, rows=[]), redactor), redactor, defect)
            return
        secrets = SecretClient(self._send.send, redactor)
        children = ChildClient(self._send.send)
        with self._guard:
            if self._is_orphan:
                return
            self._undelivered.begin(journal)
            self._secrets, self._children = secrets, children
        try:
            self._lock.describe(order)
            limit_cpu(order.timeout_seconds)
            interpreter = self._interpreter_of(order, journal, secrets, children)
            self._begin(interpreter)
            # What steps before have sent out may come back to steps from here on.
            for name in secrets.redact(order.secrets):
                journal.log(
                    "", "warning", f"secret '{name}' cannot be had now, so its values are not redacted"
                )
            status, error = interpreter.execute()
            if error is not None and journal.has_final:  # an element of a loop would be begun anew
                error = {**error, "details": {"outcome": "partial", **error["details"]}}
            self._end(journal, status, redactor.value(error))
        except Orphaned:
            return
        except Parked as parked:
            self._park(journal, parked.wake_at)
        except Exception as defect:  # noqa: BLE001  the run must end with a reason
            self._fail(journal, redactor, defect)
        finally:
            is_stopped = self._interpreter is not None and self._interpreter.stops.reason is not None
            self._interpreter = None
            self._undelivered.end()
            if not is_stopped:  # else the daemon asks them to end, and then ends this worker
                end_orphans()
            reap_orphans()

    def _interpreter_of(
        self, order: RunOrder, journal: RunJournal, secrets: SecretClient, children: ChildClient
    ) -> RunInterpreter:
        own = OwnCode(order.flows, self._modules)
        defaults = defaults_in(order.flows)
        return RunInterpreter(
            order,
            journal=journal,
            tools=self._tools_for(own),
            spec_of=lambda path: _spec(order.flows[path], path, own.names, defaults),
            fetch_secret=secrets.fetch,
            ask_children=children.ask,
        )

    def _tools_for(self, own: OwnCode) -> Tools:
        """With the own code of the run; templates are compiled once as long as it brings the same filters."""
        if own.filters_version != self._filters:
            self._filters = own.filters_version
            templates = Templates(self._tools.folders.templates, own_filters=own.filters())
            self._tools = replace(self._tools, templates=templates)
        return replace(self._tools, code=own)

    def _journal_of(self, order: RunOrder, redactor: Redactor) -> RunJournal:
        return RunJournal(order, self._send.send, redactor=redactor, clock=self._clock, results=self._results)

    def _end(self, journal: RunJournal, status: RunStatus, error: dict[str, Any] | None) -> None:
        outcome: dict[str, Any] = {"status": status.value, "error": storable(error)}
        journal.let_go(Event.ENDED, outcome)

    def _park(self, journal: RunJournal, wake_at: float | None) -> None:
        with contextlib.suppress(Orphaned):  # then the row is handed over
            journal.let_go(Event.PARKED, {"wake_at": wake_at})

    def _fail(self, journal: RunJournal, redactor: Redactor, defect: Exception) -> None:
        """End a run that this worker cannot execute, for a reason that no step is to blame for."""
        with contextlib.suppress(Orphaned):
            journal.log("", "error", traceback.format_exc())
            message = redactor.text(f"{type(defect).__name__}: {defect}")[:MAX_DEFECT_CHARACTERS]
            error = {
                "code": "worker_error",
                "message": f"the worker could not run the flow: {message}",
                "details": {},
            }
            self._end(journal, RunStatus.FAILED, error)


def load() -> None:
    """Load and build what the runs of nearly all flows need: a fifth of a second, once for all that are forked."""
    import flow_processor.transport.wire  # noqa: F401

    flow_model()


def main() -> None:
    """Entry of the worker process."""
    leave_stops_to_the_daemon()
    send = FrameWriter(take_stdout())
    take_prints()
    commands = sys.stdin.buffer
    first = read_frame(commands)
    if first is None:
        return
    settings = WorkerSettings(**first["settings"])
    use_cores(settings.cores)
    give_way()
    limit_memory(settings.memory_mb)
    adopt_orphans()
    Worker(settings, send).serve(commands)
    # Threads of abandoned steps must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
