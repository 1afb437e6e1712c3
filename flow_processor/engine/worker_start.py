"""Starting the process of a worker: forked from one that has loaded everything, or, outside Linux, by itself.

See docs/adr/0015-fork-server.md. Either way it gets the same environment, a pipe each way and a session of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from flow_processor.engine.fork_server import ROOM_FOR_MARK, receive, send
from flow_processor.process_tree import WORKER_MARK
from flow_processor.programs import passed_on

STDERR = 2

LEAVE_SECONDS = 1.0
"""So long it is waited for a fork server that is to leave."""

UNKNOWN_EXIT = -1
"""The exit code of a worker whose fork server was gone by then."""


class StartedProcess(Protocol):
    """A process that was started; its number is its own until `reap`."""

    pid: int
    stdin: BinaryIO
    stdout: BinaryIO

    def has_died(self, *, wait: bool = False) -> bool:
        """Has it ended? `wait`: wait until it has."""

    def reap(self) -> int:
        """Its exit code, once it has ended."""


def start_worker(worker_id: str, environment: Mapping[str, str]) -> StartedProcess:
    """Start a worker with what is clean of the daemon's `environment`. Raises OSError."""
    clean = clean_environment(environment)
    if not _can_fork():
        return _Spawned({**clean, WORKER_MARK: worker_id})
    return _forks_of(clean).start(worker_id)


def prepare(environment: Mapping[str, str]) -> None:
    """Begin to load what workers of this environment need, beside whatever this process does now."""
    if _can_fork():
        with contextlib.suppress(OSError):  # who needs a worker will hear of it
            _forks_of(clean_environment(environment)).prepare()


@cache
def _can_fork() -> bool:
    """Linux with what tells the end of a process that is not one's own child (since 5.3)."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker."""
    kept = passed_on(environment)
    # The package may be run from a source tree that is not installed.
    kept["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    kept["PYTHONUTF8"] = "1"
    return kept


class _Spawned:
    """A process that was started by itself."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            # -P: a module is never taken from the working folder, which may be one that flows write to.
            [sys.executable, "-P", "-m", "flow_processor.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            # A session of its own: a Ctrl-C in the terminal is not for it, and its children die with it.
            start_new_session=sys.platform != "win32",
            creationflags=0x0800_0000 if sys.platform == "win32" else 0,  # CREATE_NO_WINDOW
        )
        self.pid = self._process.pid
        self.stdin = cast(BinaryIO, self._process.stdin)
        self.stdout = cast(BinaryIO, self._process.stdout)

    def has_died(self, *, wait: bool = False) -> bool:
        # It is not waited for yet, so that its number stays its own.
        if not hasattr(os, "waitid"):
            return False
        options = os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG)
        try:
            return os.waitid(os.P_PID, self.pid, options) is not None
        except ChildProcessError:
            return False

    def reap(self) -> int:
        return self._process.wait()


class _Forks:
    """The fork server for one environment: started when it is needed, and again when it has left. Thread safe."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._guard = threading.Lock()
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._has_forked = False

    def prepare(self) -> None:
        """Start the server, without waiting for what it loads."""
        with self._guard:
            if self._control is None:
                self._start_server()

    def start(self, worker_id: str) -> _Forked:
        """Fork a worker. Raises OSError."""
        stdin_of_it, stdin = os.pipe2(os.O_CLOEXEC)
        stdout, stdout_of_it = os.pipe2(os.O_CLOEXEC)
        folder = os.open(".", os.O_PATH | os.O_CLOEXEC)
        try:
            with self._guard:
                answer = self._ask({"start": worker_id}, (stdin_of_it, stdout_of_it, STDERR, folder))
                self._has_forked = True
                # While the server has not reaped it the number is its own.
                descriptor = os.pidfd_open(answer["pid"])
        except BaseException:
            os.close(stdin)
            os.close(stdout)
            raise
        finally:
            for descriptor_of_it in (stdin_of_it, stdout_of_it, folder):
                os.close(descriptor_of_it)
        return _Forked(self, answer["pid"], descriptor, os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb"))

    def reap(self, pid: int) -> int:
        """The exit code of a worker that has ended."""
        with self._guard:
            if self._control is None:
                return UNKNOWN_EXIT
            try:
                return int(self._asked({"reap": pid})["code"])
            except OSError:  # the server has gone, or it is another one than its own
                return UNKNOWN_EXIT

    def _ask(self, message: dict[str, Any], descriptors: tuple[int, ...]) -> dict[str, Any]:
        if self._control is not None:
            with contextlib.suppress(_Gone):  # it may have left this moment, because nobody needed it
                return self._asked(message, descriptors)
        self._start_server()
        return self._asked(message, descriptors)

    def _asked(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> dict[str, Any]:
        control = cast(socket.socket, self._control)
        try:
            send(control, message, descriptors)
            answer, _ = receive(control)
        except OSError as error:
            answer = None
            reason: object = error
        else:
            reason = "it has left"
        if answer is None:
            self._forget()
            raise _Gone(f"the process that workers are forked from has gone: {reason}")
        if "error" in answer:
            raise OSError(answer["error"])
        return answer

    def _start_server(self) -> None:
        mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flow_processor.engine.fork_server", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**self._environment, WORKER_MARK: ROOM_FOR_MARK},
                pass_fds=[its.fileno()],
                start_new_session=True,
            )
        except BaseException:
            mine.close()
            raise
        finally:
            its.close()
        self._control = mine
        self._has_forked = False
        atexit.register(self._forget)

    def _forget(self) -> None:
        """The server leaves once nobody holds the other end."""
        atexit.unregister(self._forget)
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            if not self._has_forked:
                self._process.kill()  # nobody is waited for that has only begun to load
            with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs
                self._process.wait(LEAVE_SECONDS)
            self._process = None


class _Gone(OSError):
    """The server has left."""


class _Forked:
    """A process that the server has forked."""

    def __init__(self, forks: _Forks, pid: int, descriptor: int, stdin: BinaryIO, stdout: BinaryIO) -> None:
        self._forks = forks
        self.pid = pid
        self._descriptor = descriptor
        self.stdin = stdin
        self.stdout = stdout

    def has_died(self, *, wait: bool = False) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(None if wait else 0))

    def reap(self) -> int:
        code = self._forks.reap(self.pid)
        os.close(self._descriptor)
        return code


_FORKS: dict[tuple[object, ...], _Forks] = {}
"""By interpreter and environment: programs that embed the product, and tests, may have several."""

_GUARD = threading.Lock()


def _forks_of(environment: Mapping[str, str]) -> _Forks:
    key = (sys.executable, *sorted(environment.items()))
    with _GUARD:
        if key not in _FORKS:
            _FORKS[key] = _Forks(environment)
        return _FORKS[key]
