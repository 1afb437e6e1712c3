"""Daemons and commands that are forked from a process which has loaded the product.

Each is a process of its own, to be signalled, killed and waited for as any other; only its imports are done already,
which are most of a start: a second of processor time, for each of the hundreds that the tests start. Where the start
itself matters, and where something is loaded or limited before it, tests start Python anew.

`python -m tests.forked FD` is the process that forks. Each message is a JSON object `{"arguments", "environment",
"folder", "program"}` (the program's text; null: the product) with the descriptors that become stdin, stdout and stderr,
answered by `{"pid"}`; or `{"reap": pid}`, answered by `{"code"}`. It leaves when the other end is closed.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tests.spare_fork_server import MARKED, SpareForkServer, place_of_mark

ROOT = Path(__file__).resolve().parents[1]
MAX_MESSAGE_BYTES = 256 * 1024
STREAMS = 3


class Forked:
    """A process that was forked. It has of `subprocess.Popen` what the tests use."""

    def __init__(self, forks: Forks, pid: int, stdout: IO[Any] | None, stderr: IO[Any] | None) -> None:
        self._forks = forks
        self._descriptor = os.pidfd_open(pid)  # its number is its own until it is reaped
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._reaping = threading.Lock()
        """Several threads may look at once; it is reaped once."""

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended."""
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        return code

    def _look(self, seconds: float | None) -> int | None:
        if self.returncode is not None:
            return self.returncode
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if poll.poll(None if seconds is None else seconds * 1000):
            with self._reaping:
                if self.returncode is None:
                    self.returncode = int(self._forks.ask({"reap": self.pid})["code"])
                    os.close(self._descriptor)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing, if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has still to say, to the end."""
        said = {}

        def read(name: str, stream: IO[Any]) -> None:
            with stream:
                said[name] = stream.read()

        streams = {"stdout": self.stdout, "stderr": self.stderr}
        readers = [
            threading.Thread(target=read, args=(name, stream), daemon=True)
            for name, stream in streams.items()
            if stream is not None and not stream.closed
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
        self.wait(timeout)
        return said.get("stdout", ""), said.get("stderr", "")


class Forks:
    """The process that forks. Thread safe."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # As clean as what it forks: that has what Python made of the environment at the start.
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(its.fileno())],
            cwd=ROOT,
            env=kept | {"PYTHONUNBUFFERED": "1"} | MARKED,
            stdin=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            start_new_session=True,  # Ctrl-C is for the tests, which end what they have started
        )
        its.close()
        atexit.register(self._close)

    def _close(self) -> None:
        self._control.close()
        self._process.wait()

    @property
    def lives(self) -> bool:
        """Can it fork?"""
        return self._process.poll() is None

    def ask(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        """One message and its answer."""
        with self._guard:
            socket.send_fds(self._control, [json.dumps(message).encode()], list(descriptors))
            answer: dict[str, Any] = json.loads(self._control.recv(MAX_MESSAGE_BYTES))
            return answer


def can_fork() -> bool:
    """In tests, on Linux. The soak and the benchmarks measure starts."""
    return "PYTEST_VERSION" in os.environ and sys.platform == "linux"


_FORKS: list[Forks] = []


def _forks() -> Forks:
    """The one that lives; another one where a test has killed it."""
    if not _FORKS or not _FORKS[-1].lives:
        _FORKS.append(Forks())
    return _FORKS[-1]


def start_product(
    arguments: Sequence[str],
    *,
    environment: dict[str, str],
    output: IO[Any] | None = None,
    folder: Path = ROOT,
    program: str | None = None,
) -> Forked:
    """`octospool ARGUMENTS`. What it says goes to `output`, or else is read from the process as text. With the text of
    a program, that instead."""
    ours: list[IO[Any]] = []
    its: list[int] = [os.open(os.devnull, os.O_RDONLY)]
    for _ in ("stdout", "stderr"):
        if output is not None:
            its.append(os.dup(output.fileno()))
            continue
        reading, writing = os.pipe()
        its.append(writing)
        ours.append(os.fdopen(reading, encoding="utf-8"))
    message = {"arguments": list(arguments), "environment": environment, "folder": str(folder)}
    forks = _forks()
    answer = forks.ask({**message, "program": program}, its)
    for descriptor in its:
        os.close(descriptor)
    stdout, stderr = ours or (None, None)
    return Forked(forks, answer["pid"], stdout, stderr)


def start_python(program: str, *arguments: str) -> Forked | subprocess.Popen[str]:
    """`python -c PROGRAM ARGUMENTS`, which may import the product, in the environment of the tests."""
    if can_fork():
        return start_product(arguments, environment=dict(os.environ), folder=Path.cwd(), program=program)
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def _load() -> None:
    """All that a daemon has loaded when it answers and knows its flows, and what its workers have."""
    import flow_processor.api.server
    import flow_processor.cli.interrupts
    import flow_processor.cli.next_steps
    import flow_processor.cli.serve
    import flow_processor.logs
    import flow_processor.service  # noqa: F401
    from flow_processor.engine import worker

    worker.load()


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork until nobody asks any more (None). In each forked process: what it is to be."""
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, STREAMS)
        if not text:
            return None
        message: dict[str, Any] = json.loads(text)
        if "reap" in message:
            answer = {"code": _reap(message["reap"])}
        elif pid := os.fork():
            answer = {"pid": pid}
        else:
            control.close()
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
            _close(descriptors)
            return message
        _close(descriptors)
        control.send(json.dumps(answer).encode())


def _reap(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # whatever it was, the others go on
        traceback.print_exc()
        return -1


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _main() -> int:
    _load()
    gc.collect()
    gc.freeze()  # nobody looks through it again, so that its pages stay shared
    mark = place_of_mark()
    message = _serve(socket.socket(fileno=int(sys.argv[1])))
    if message is None:
        return 0
    from flow_processor.__main__ import main

    if message["program"] is None and message["arguments"][:1] in (["serve"], ["run"]):
        SpareForkServer(mark).offer()
    os.chdir(message["folder"])
    os.environ.clear()
    os.environ.update(message["environment"])
    time.tzset()
    sys.argv = ["octospool", *message["arguments"]]
    if message["program"] is None:
        return main()
    exec(message["program"], {"__name__": "__main__"})  # noqa: S102  a test's own
    return 0


if __name__ == "__main__":
    sys.exit(_main())
