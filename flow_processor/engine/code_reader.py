"""The daemon's side of the process that loads own code: started when there is a question, ended when it hangs."""

from __future__ import annotations

import queue
import secrets
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, cast

from flow_processor.engine.frames import Frame, FrameWriter, read_frame
from flow_processor.engine.worker_start import clean_environment
from flow_processor.process_tree import WORKER_MARK, kill_process, kill_strays

LOAD_SECONDS = 10.0
"""How long a file may take to load; then the process is ended."""

CPU_SECONDS = 300.0
"""Processor time of one process, in seconds: the last resort where the daemon is gone."""


class _Gone(Exception):
    """The process does not answer; the message says why."""


class CodeProcess:
    """Answers questions about own code, one at a time. Not thread safe: CodeLibrary asks under its lock."""

    def __init__(
        self, *, environment: Mapping[str, str], memory_mb: int, seconds: float = LOAD_SECONDS
    ) -> None:
        self._environment = environment
        self._memory_mb = memory_mb
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._end: Callable[[], object] = lambda: None
        """Ends the process, once; also called when this object is no longer used, for not everybody closes it."""
        self._was_idle = False
        self._answers: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()

    def describe(self, path: str, text: str) -> dict[str, Any]:
        """What is in the file, as `Describer.describe`; a file that cannot be loaded in time is broken."""
        try:
            said: dict[str, Any] = self._ask({"describe": path, "text": text})
        except _Gone as gone:
            return {"message": f"cannot be loaded: {gone}", "line": None, "traceback": None}
        return said

    def wrong(self, path: str, text: str, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What is wrong with values for a function of the file."""
        try:
            said: list[dict[str, Any]] = self._ask(
                {"wrong": path, "text": text, "name": name, "values": values}
            )
        except _Gone as gone:
            return [{"loc": [], "message": f"cannot be checked: {gone}", "hint": None}]
        return said

    def close(self) -> None:
        """End the process."""
        self._process = None
        self._end()

    def _ask(self, question: Frame) -> Any:
        has_left = self._process is not None and self._process.poll() is not None
        if has_left:
            self.close()
        try:
            return self._said(question)
        except _Gone:
            if self._was_idle:
                return self._said(question)
            raise

    def _said(self, question: Frame) -> Any:
        is_new = self._process is None
        process = self._process or self._start()
        self._was_idle = False
        try:
            FrameWriter(cast(BinaryIO, process.stdin)).send(question)
            answer = self._answers.get(timeout=self._seconds)
        except OSError:
            answer = None
        except queue.Empty:
            self.close()
            raise _Gone(f"it takes more than {self._seconds:g} s") from None
        if answer is None:
            self.close()
            # One that left because it had nothing to do may have been asked in that very moment.
            self._was_idle = not is_new and process.returncode == 0
            raise _Gone(f"the process that loads it ended with exit code {process.returncode}")
        return answer["said"]

    def _start(self) -> subprocess.Popen[bytes]:
        mark = f"code-{secrets.token_hex(4)}"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flow_processor.engine.code_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**clean_environment(self._environment), WORKER_MARK: mark},
            start_new_session=sys.platform != "win32",
            creationflags=0x0800_0000 if sys.platform == "win32" else 0,  # CREATE_NO_WINDOW
        )
        self._process = process
        self._end = weakref.finalize(self, _end, process, mark)
        self._answers = queue.SimpleQueue()
        threading.Thread(target=_read, args=(process, self._answers), daemon=True).start()
        limits = {"memory_mb": self._memory_mb, "seconds": CPU_SECONDS}
        FrameWriter(cast(BinaryIO, process.stdin)).send({"limits": limits})
        return process


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    if process.poll() is None:
        kill_process(process.pid)
    process.wait()
    kill_strays([mark])
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _read(process: subprocess.Popen[bytes], answers: queue.SimpleQueue[Frame | None]) -> None:
    """Take what it says until it ends; it leaves by itself where nobody closes it."""
    pipe = cast(BinaryIO, process.stdout)
    try:
        while (frame := read_frame(pipe)) is not None:
            answers.put(frame)
    except (OSError, ValueError):
        pass
    finally:
        answers.put(None)
        process.wait()  # else a dead process stands in the process table until the next question
