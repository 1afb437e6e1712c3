"""Compiling jq expressions before a flow is accepted: in a worker, because the daemon evaluates none."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence

from flow_processor.clock import Clock
from flow_processor.engine.frames import Frame
from flow_processor.engine.pool import WorkerPool
from flow_processor.engine.worker_process import WorkerProcess
from flow_processor.errors import Problem, SpecError
from flow_processor.flow_files import parse_flow
from flow_processor.flow_files.defaults import Defaults
from flow_processor.flow_files.jq_checks import jq_check
from flow_processor.own_code.manifest import NO_NAMES, OwnNames

WORKER_SECONDS = 2.0
"""How long a check waits for the first worker of a starting daemon. Where all are busy nothing is waited for: the
flow is accepted unchecked, and a wrong expression fails its step."""

ANSWER_SECONDS = 3.0
"""How long compiling may take; then the worker is killed."""

KEPT_ANSWERS = 4096


class _Unchecked(Exception):
    """There is no answer that may be kept: no worker was free, it died, or it took too long."""

    def __init__(self, problems: tuple[Problem, ...] = ()):
        super().__init__()
        self.problems = problems


class ExpressionChecker:
    """Asks a free worker, once for each text. Thread safe."""

    def __init__(self, pool: WorkerPool, *, clock: Clock, on_free: Callable[[], None]) -> None:
        """`on_free` is called when the worker that was asked is free for runs again."""
        self._pool = pool
        self._on_free = on_free
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[Problem, ...]] = {}
        self._worker: WorkerProcess | None = None
        self._answer: list[str | None] | None = None
        self._answered = threading.Event()
        self._is_late = False

    def problems(
        self, file: str, text: str, own: OwnNames = NO_NAMES, defaults: Defaults | None = None
    ) -> tuple[Problem, ...]:
        """What is wrong with the jq expressions of a flow file that is right otherwise, `own` code and `defaults`
        being there."""
        texts = (text, defaults.text if defaults else "")
        key = (file, hashlib.sha256("\0".join(texts).encode()).hexdigest())
        with self._lock:
            if key not in self._kept:
                try:
                    found = self._check(file, text, own, defaults)
                except _Unchecked as unchecked:
                    return unchecked.problems
                if len(self._kept) >= KEPT_ANSWERS:
                    self._kept.clear()
                self._kept[key] = found
            return self._kept[key]

    def take_frame(self, worker: WorkerProcess, frame: Frame) -> None:
        """A worker's answer."""
        if worker is self._worker:
            self._answer = frame["checked"]
            self._answered.set()

    def worker_left(self, worker: WorkerProcess) -> None:
        """A worker died; if it was asked, nobody will answer."""
        if worker is self._worker:
            self._answered.set()

    def _check(self, file: str, text: str, own: OwnNames, defaults: Defaults | None) -> tuple[Problem, ...]:
        self._is_late = False
        try:
            check = jq_check(self._compile_all)
            parse_flow(text, file, own=own, defaults=defaults, check_expressions=check)
        except SpecError as error:
            if self._is_late:
                raise _Unchecked(error.problems) from None
            return error.problems
        return ()

    def _compile_all(self, expressions: Sequence[str]) -> Sequence[str | None]:
        worker = self._pool.take_within(WORKER_SECONDS)
        if worker is None:
            raise _Unchecked
        self._answered.clear()
        self._worker, self._answer = worker, None
        worker.send({"check": list(expressions)})
        in_time = self._clock.wait(self._answered, ANSWER_SECONDS)
        answer, self._worker = self._answer, None
        if answer is not None:
            self._pool.give_back(worker)
            self._on_free()
            return answer
        worker.kill()
        if in_time:
            raise _Unchecked
        self._is_late = True
        return [f"did not compile within {ANSWER_SECONDS:g} s"] * len(expressions)
