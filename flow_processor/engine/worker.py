"""The worker process: executes one run at a time and holds no secret of the daemon.

Started by the daemon as `python -m flow_processor.engine.worker`, with frames on stdin and stdout. When stdin
ends the daemon is gone: the step under way is finished, what no daemon has confirmed is handed over in a file,
and the process leaves. While it lives it holds a kernel lock, by which the next daemon knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import flow_processor.steps  # noqa: F401  registers the step types
from flow_processor.clock import SystemClock
from flow_processor.engine.context import Tools
from flow_processor.engine.cores import use_cores
from flow_processor.engine.frames import Frame, FrameWriter, read_frame
from flow_processor.engine.interpreter import RunInterpreter
from flow_processor.engine.limits import limit_cpu, limit_memory
from flow_processor.engine.order import CLOSING_SECONDS, RunOrder, WorkerSettings
from flow_processor.engine.run_journal import Orphaned, RunJournal
from flow_processor.engine.secret_client import SecretClient
from flow_processor.errors import StepError
from flow_processor.expressions import jq
from flow_processor.expressions.jinja import Templates
from flow_processor.flow_files import parse_flow
from flow_processor.journal import Event
from flow_processor.locks import LockFile
from flow_processor.paths import write_atomic
from flow_processor.run import RunStatus
from flow_processor.secrets.redaction import Redactor
from flow_processor.spec.flow import FlowSpec
from flow_processor.step import Folders

KEPT_SPECS = 500
"""Parsed flows that a worker keeps."""


@lru_cache(maxsize=KEPT_SPECS)
def _spec(text: str, path: str) -> FlowSpec:
    return parse_flow(text, path, checked=True)


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
        self._tools = Tools(Templates(folders.templates), folders, self._clock)
        self._lock = LockFile(Path(settings.workers_path) / f"{settings.worker_id}.lock")
        self._orders: queue.SimpleQueue[RunOrder | None] = queue.SimpleQueue()
        self._journals: dict[str, RunJournal] = {}
        """Journals with rows that are not known to be durable."""
        self._guard = threading.Lock()
        self._interpreter: RunInterpreter | None = None
        self._secrets: SecretClient | None = None
        self._is_orphan = False
        self._aborted: tuple[str, StepError] | None = None
        """The last run that was to be ended; the word may come before the run has begun."""

    def serve(self, commands: BinaryIO) -> None:
        """Do what the daemon says until it says exit or is gone."""
        self._lock.take()
        threading.Thread(target=self._listen, args=(commands,), name="commands", daemon=True).start()
        self._send.send({"ready": os.getpid()})
        while (order := self._orders.get()) is not None:
            self._execute(order)
        self._hand_over()
        self._lock.free(unlink=True)

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
            for journal in self._journals.values():
                journal.lose_daemon()
            if self._interpreter is not None:
                self._interpreter.wake.set()
            if self._secrets is not None:
                self._secrets.lose_daemon()
        self._orders.put(None)

    def _obey(self, frame: Frame) -> None:
        if "run" in frame:
            self._orders.put(RunOrder(**frame["run"]))
        elif "committed" in frame:
            self._committed(frame["run_id"], frame["committed"])
        elif "secret" in frame and self._secrets is not None:
            self._secrets.answer(frame)
        elif "abort" in frame:
            reason = StepError(frame["abort"]["message"], code=frame["abort"]["code"])
            with self._guard:
                self._aborted = (frame["run_id"], reason)
                self._stop_aborted()
        elif "check" in frame:
            self._send.send({"checked": [jq.compile_problem(text) for text in frame["check"]]})
        elif "exit" in frame:
            self._orders.put(None)

    def _stop_aborted(self) -> None:
        if self._aborted is not None and self._interpreter is not None:
            run_id, reason = self._aborted
            if self._interpreter.order.run_id == run_id:
                self._interpreter.stop_for(reason)

    def _committed(self, run_id: str, seq: int) -> None:
        with self._guard:
            journal = self._journals.get(run_id)
            if journal is None:
                return
            journal.committed(seq)
            is_over = self._interpreter is None or self._interpreter.order.run_id != run_id
            if is_over and not any(journal.uncommitted()):
                del self._journals[run_id]

    def _execute(self, order: RunOrder) -> None:
        """Run an order to its end, whatever that is; a defect here must not leave the run without a status."""
        redactor = Redactor()
        journal = RunJournal(order, self._send.send, redactor=redactor, clock=self._clock)
        secrets = SecretClient(self._send.send, redactor)
        with self._guard:
            self._journals[order.run_id] = journal
            self._secrets = secrets
            if self._is_orphan:
                return
        must_end_by = self._clock.now().timestamp() + (order.timeout_seconds or 0.0) + CLOSING_SECONDS
        self._lock.describe({"pid": os.getpid(), "run_id": order.run_id, "must_end_by": must_end_by})
        limit_cpu(order.timeout_seconds)
        try:
            interpreter = RunInterpreter(
                order,
                journal=journal,
                tools=self._tools,
                spec_of=lambda path: _spec(order.flows[path], path),
                fetch_secret=secrets.fetch,
            )
            with self._guard:
                self._interpreter = interpreter
                self._stop_aborted()
            status, error = interpreter.execute()
        except Orphaned:
            return
        except Exception as defect:  # noqa: BLE001  the run must end with a reason
            journal.log("", "error", traceback.format_exc())
            status, error = (
                RunStatus.FAILED,
                {
                    "code": "worker_error",
                    "message": f"the worker could not run the flow: {type(defect).__name__}: {defect}",
                    "details": {},
                },
            )
        finally:
            self._interpreter = None
        outcome: dict[str, Any] = {"status": status.value, "error": redactor.value(error)}
        journal.append("", 0, Event.ENDED, outcome)
        journal.flush(ack=True, ended=outcome)

    def _hand_over(self) -> None:
        """Write down what no daemon has confirmed, a file a run: whole or not at all."""
        with self._guard:
            journals = dict(self._journals)
        for run_id, journal in journals.items():
            rows, logs = journal.uncommitted()
            if rows or logs:
                content = json.dumps({"run_id": run_id, "rows": rows, "logs": logs})
                name = f"{run_id}.{self._settings.worker_id}.json"
                write_atomic(Path(self._settings.handover_path) / name, content.encode())


def _take_stdout() -> BinaryIO:
    """The pipe to the daemon; whatever prints from now on prints to stderr instead."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe


def main() -> None:
    """Entry of the worker process."""
    # A service manager that stops the whole group must not cut off steps: the daemon ends its workers itself.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    send = FrameWriter(_take_stdout())
    commands = sys.stdin.buffer
    first = read_frame(commands)
    if first is None:
        return
    settings = WorkerSettings(**first["settings"])
    use_cores(settings.cores)
    limit_memory(settings.memory_mb)
    # Where the daemon left before this worker had said its first word there is nothing to hand over.
    with contextlib.suppress(BrokenPipeError):
        Worker(settings, send).serve(commands)
    # Threads of abandoned steps must not keep the process.
    os._exit(0)


if __name__ == "__main__":
    main()
