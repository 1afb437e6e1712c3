"""A program that a step runs: with a clean environment, its output taken line by line, and ended with all it started.

A program leads a process group, and whatever it starts carries a mark in its environment. When it ends, and when it
is ended, nothing of it goes on: first its group is ended, then what is found by the mark (see process_tree.py).
"""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from flow_processor.errors import StepCancelled, StepError, StepTimeout
from flow_processor.printed import MAX_LINE_BYTES, Printed
from flow_processor.process_tree import (
    PROGRAM_MARK,
    WORKER_MARK,
    ask_process,
    has_children,
    kill_group,
    kill_marked,
    kill_process,
)

_PASSED_ON = frozenset(
    {
        *("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "USERPROFILE"),
        *("SYSTEMROOT", "WINDIR", "COMSPEC"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("LD_PRELOAD", "LD_LIBRARY_PATH"),
    }
)

CANCEL_GRACE_SECONDS = 2.0
"""A program that is asked to end is killed after so long; the worker itself has a second more."""

TIMEOUT_GRACE_SECONDS = 0.1
"""The same where its time is over: by then the daemon is about to end the worker."""

_MAX_LOOK_SECONDS = 0.02
_READ_SECONDS = 2.0
"""How long the rest of the output is waited for once the program and all it started have ended."""
_LOG_SECONDS = 10.0
"""How long further while there is output that could not be logged yet: the log may have to wait for the store."""

# What the worker is limited to is not meant for programs: address space would stop Java or Node at their start.
_LIFT_LIMITS = 'ulimit -S -v unlimited 2>/dev/null; ulimit -S -t unlimited 2>/dev/null; exec "$@"'


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What workers and programs inherit; everything else (tokens, passwords, URLs) stays out."""
    return {
        name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith("LC_")
    }


@dataclass(frozen=True)
class Ended:
    """What a program came to."""

    exit_code: int
    """Below 0: it was ended by the signal of that number."""
    stdout: bytes
    stderr: bytes
    last_lines: list[str]
    """Of both, as they came."""


class Program:
    """One program. `on_line(text, is_error)` is called for each line it prints, from threads."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: bytes | None,
        on_line: Callable[[str, bool], None],
        redacted: Callable[[str], str],
    ) -> None:
        """Start it. `env` comes on top of what is passed on; `redacted` takes secrets out of a text. Raises OSError."""
        mark = secrets.token_hex(8)
        self._mark = f"{PROGRAM_MARK}={mark}"
        marks = {name: os.environ[name] for name in (WORKER_MARK,) if name in os.environ}
        is_posix = sys.platform != "win32"
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _LIFT_LIMITS, "sh", *command] if is_posix else list(command),
            env={**passed_on(os.environ), **env, **marks, PROGRAM_MARK: mark},
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=is_posix,
        )
        self._printed = Printed(on_line=on_line, redacted=redacted)
        self._busy: set[bool] = set()
        """Readers (by `is_error`) that have something to log."""
        self._readers = [
            threading.Thread(target=self._read, args=(pipe, is_error), daemon=True)
            for pipe, is_error in ((self._process.stdout, False), (self._process.stderr, True))
        ]
        for thread in self._readers:
            thread.start()
        if stdin is not None:
            threading.Thread(target=self._write, args=(stdin,), daemon=True).start()

    def wait(self, *, stop: threading.Event, remaining_seconds: Callable[[], float | None]) -> Ended:
        """Wait for its end; then nothing of it is left.

        Raises StepCancelled once `stop` is set, StepTimeout when no seconds remain, StepError
        `output_too_large` and `output_incomplete`; their details have its last lines.
        """
        try:
            self._see_it_end(stop, remaining_seconds)
            self._printed.check_room("the program")
            self._check_whole()
        except StepError as error:
            error.details["last_lines"] = self._printed.last_lines
            raise
        finally:
            self._printed.close()
        return Ended(
            self._process.returncode,
            self._printed.bytes_of(is_error=False),
            self._printed.bytes_of(is_error=True),
            self._printed.last_lines,
        )

    def _see_it_end(self, stop: threading.Event, remaining_seconds: Callable[[], float | None]) -> None:
        try:
            self._watch(stop, remaining_seconds)
        except BaseException as error:
            self._end(TIMEOUT_GRACE_SECONDS if isinstance(error, StepTimeout) else CANCEL_GRACE_SECONDS)
            raise
        finally:
            self._clear_up()

    def _watch(self, stop: threading.Event, remaining_seconds: Callable[[], float | None]) -> None:
        pause = 0.001
        while self._process.poll() is None:
            if stop.wait(pause):
                raise StepCancelled("the program was ended, for the run is being ended")
            if remaining_seconds() == 0:
                raise StepTimeout("the program did not end within its time limit and was ended")
            self._printed.check_room("the program")
            pause = min(pause * 2, _MAX_LOOK_SECONDS)

    def _check_whole(self) -> None:
        """A reader that waits for more, from something that hides and holds the pipe, has read all that there was."""
        end = time.monotonic() + _LOG_SECONDS
        for thread, is_error in zip(self._readers, (False, True), strict=True):
            while thread.is_alive() and is_error in self._busy and time.monotonic() < end:
                thread.join(_MAX_LOOK_SECONDS)
        if any(
            thread.is_alive() and is_error in self._busy
            for thread, is_error in zip(self._readers, (False, True), strict=True)
        ):
            raise StepError(
                f"the program has ended, but its output could not be read to the end within {_LOG_SECONDS:g} s, for "
                "it could not be logged",
                code="output_incomplete",
                details={"outcome": "unknown"},
            )

    def _end(self, grace_seconds: float) -> None:
        """Ask it, and all that it has started, to end; kill what has not ended in time."""
        if self._process.poll() is None:
            ask_process(self._process.pid)
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            kill_process(self._process.pid)
            self._process.wait()

    def _clear_up(self) -> None:
        """End what it has left behind, and take the rest of its output."""
        if sys.platform != "win32":
            kill_group(self._process.pid)
        # Whose parent has ended is a child of this process now (engine/orphans.py).
        if has_children(os.getpid()):
            kill_marked([self._mark])
        for thread in self._readers:
            thread.join(_READ_SECONDS)

    def _read(self, pipe: IO[bytes] | None, is_error: bool) -> None:
        if pipe is None:
            return
        with contextlib.suppress(OSError, ValueError), pipe:
            while piece := cast(io.BufferedReader, pipe).read1(MAX_LINE_BYTES):
                self._busy.add(is_error)
                if not self._printed.take(piece, is_error=is_error):
                    return
                self._busy.discard(is_error)
        self._printed.end(is_error=is_error)

    def _write(self, text: bytes) -> None:
        pipe = self._process.stdin
        if pipe is not None:
            # It need not read it all.
            with contextlib.suppress(OSError), pipe:
                pipe.write(text)
