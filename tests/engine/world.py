"""A real service with real worker processes over a data folder, and words to ask about it."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.journal import Event, JournalRow, dispatch_of, from_wire
from flow_processor.locks import LockFile
from flow_processor.run import RunStatus
from flow_processor.service import Service
from flow_processor.service.views import RunDetail
from flow_processor.settings import Settings

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
"""What has not happened by then will not happen, however busy the machine is."""

_never = threading.Event()


def until(look: Callable[[], T | None], what: str, *, seconds: float = DEADLINE_SECONDS) -> T:
    """The first answer of `look` that is true; fails, saying `what`, when none comes in time."""
    give_up = time.monotonic() + seconds
    worked = time.thread_time()
    while not (found := look()):
        assert time.monotonic() < give_up, f"not within {seconds:g} s: {what}"
        # Looking must not take the processor from what it waits for, here and where it is answered.
        _never.wait(max(0.005, 4 * (time.thread_time() - worked)))
        worked = time.thread_time()
    return found


class World:
    """`variables` are settings as the environment gives them, in lower case.

    It starts a worker only for a run that needs one: each costs half a second of processor time.
    """

    def __init__(self, data: Path, **variables: Any) -> None:
        self.data = data
        environment = {name.upper(): str(value) for name, value in {"spare_workers": 0, **variables}.items()}
        kept = {"PATH": os.environ.get("PATH", ""), "API_TOKEN": "canary-of-the-daemon-token"}
        self.settings = Settings.load({**kept, "DATA_PATH": str(data), **environment}, base=data)
        self._numbers = itertools.count(1)
        self.service: Service
        self._let_go: list[WorkerProcess] = []

    def start(self) -> World:
        """Start a service on the folder (a new one after each stop)."""
        self.service = Service(self.settings)
        self.service.start(schedule=False)
        return self

    def stop(self, grace_seconds: float = 0) -> None:
        """Stop it; its workers may live on for a while."""
        self.service.stop(grace_seconds)
        self._let_go += self.service._pool._all

    def leave(self) -> None:
        """Stop it, and wait until its workers have left too."""
        self.stop()
        for worker in self._let_go:
            assert worker.join(DEADLINE_SECONDS), f"worker {worker.id} does not leave"

    def living_workers(self) -> list[str]:
        """Workers that live, by the names of the lock files they hold."""
        locks = sorted((self.data / "workers").glob("*.lock"))
        return [lock.name for lock in locks if LockFile(lock).is_taken()]

    def write(self, path: str, text: str) -> str:
        """Write a flow file; its path."""
        file = self.settings.flows_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return path

    def launch(self, flow: str, *, data: Any = None) -> str:
        """Launch a flow given as text, or by path; the run's id."""
        path = flow
        if "\n" in flow:
            path = self.write(f"{os.getpid()}/flow{next(self._numbers)}.yml", flow)
        return self.service.launch(path, data=data).run_id

    def wait(self, run_id: str, *, seconds: float = DEADLINE_SECONDS) -> RunDetail:
        """The run once it has ended."""
        run = self.service.wait_for_run(run_id, seconds)
        assert run.status.is_terminal, f"{run_id} is {run.status.value} after {seconds} s: {run.steps}"
        return run

    def run(self, flow: str, *, data: Any = None, seconds: float = DEADLINE_SECONDS) -> RunDetail:
        """Launch a flow and wait for its end."""
        return self.wait(self.launch(flow, data=data), seconds=seconds)

    def succeed(self, flow: str, *, data: Any = None) -> dict[str, Any]:
        """The data of a run that must succeed."""
        run = self.run(flow, data=data)
        assert run.status is RunStatus.SUCCEEDED, run.error
        assert run.data is not None
        return run.data

    def journal(self, run_id: str) -> list[JournalRow]:
        """What the store has of a run now."""
        return [from_wire(row) for row in self.service.store.journal.rows(run_id)]

    def events(self, run_id: str, event: Event) -> list[JournalRow]:
        """The rows of one kind."""
        return [row for row in self.journal(run_id) if row.event is event]

    def until_begun(self, run_id: str, path: str, *, worker: int = 1) -> None:
        """Return once the store knows that the step has begun in the run's first (second, …) worker."""

        def has_begun() -> bool:
            begun = self.events(run_id, Event.STARTED)
            return any(row.path == path and dispatch_of(row.seq) == worker for row in begun)

        until(has_begun, f"step {path} begins in worker {worker}")

    def use_up_time_limit(self, run_id: str) -> None:
        """The run's time limit is up now."""
        engine = self.service.engine
        with engine._roster.lock:
            found = engine._roster.find(run_id)
            assert found is not None
            found[1].deadline = time.monotonic()

    def worker_pid(self, run_id: str) -> int:
        """The process that has the run (the last that was given it)."""
        return int(until(lambda: self.events(run_id, Event.DISPATCHED), "a worker")[-1].data["pid"])

    def kill_worker(self, run_id: str) -> None:
        """kill -9 of the process that has the run."""
        os.kill(self.worker_pid(run_id), signal.SIGKILL)


def outline(run: RunDetail) -> list[tuple[str, int, str]]:
    """The attempts of a run: path, number, status."""
    return [(step.path, step.attempt, step.status.value) for step in run.steps]


def names(run: RunDetail) -> list[str]:
    """The paths of the attempts of a run, in the order in which they began."""
    return [step.path for step in run.steps]


def error_code(run: RunDetail) -> str | None:
    """The code of the run's error."""
    return None if run.error is None else run.error.code
