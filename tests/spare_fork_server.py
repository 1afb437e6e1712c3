"""A fork server for a daemon of the tests that has loaded everything already, as the daemon has: see forked.py.

The product's own one begins as a new Python: 0.7 s of processor time for each of hundreds of daemons. This one is
forked from the process that forks the daemons, before the daemon has its environment, so it holds no more of the daemon
than the real one does. Once it is told its environment it is the product's code. It serves once: after that, and
wherever tests do not fork, the product starts its own.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import types
from pathlib import Path
from typing import Any

from flow_processor.engine import worker_start
from flow_processor.engine.fork_server import ROOM_FOR_MARK, ForkServer
from flow_processor.process_tree import WORKER_MARK, leave_stops_to_the_daemon

NAME = "fork-server"
"""What the kernel shows of it; its command line is that of the tests' process."""
MAX_MESSAGE_BYTES = 64 * 1024

MARKED = {WORKER_MARK: ROOM_FOR_MARK}
"""Belongs into the environment of the process that forks: there the kernel will show a worker's id."""


class SpareForkServer:
    """Forked at once, put to work by what the product takes for `subprocess.Popen`."""

    def __init__(self, mark: int) -> None:
        """`mark`: where the kernel shows the mark (`place_of_mark`)."""
        self._control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._is_used = False
        self.pid = os.fork()
        if self.pid == 0:
            self._control.close()
            _wait_for_work(its, mark)
        its.close()

    def offer(self) -> None:
        """Have the product take this one instead of starting its own."""
        substitute = {**vars(subprocess), "Popen": self._start}
        worker_start.subprocess = types.SimpleNamespace(**substitute)  # type: ignore[assignment]

    def _start(self, command: list[str], **options: Any) -> Any:
        if self._is_used or "flow_processor.engine.fork_server" not in command:
            return subprocess.Popen(command, **options)
        self._is_used = True
        environment = json.dumps(dict(options["env"])).encode()
        socket.send_fds(self._control, [environment], options["pass_fds"])
        self._control.close()
        return self

    def kill(self) -> None:
        """As `subprocess.Popen` does."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float) -> None:
        """As `subprocess.Popen` does."""
        descriptor = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(timeout * 1000):
                raise subprocess.TimeoutExpired(NAME, timeout)
        finally:
            os.close(descriptor)
        os.waitpid(self.pid, 0)


def place_of_mark() -> int:
    """Where `NAME=value` of the mark stands in what this process was started with."""
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    value: int = libc.getenv(WORKER_MARK.encode())
    return value - len(f"{WORKER_MARK}=")


def _wait_for_work(control: socket.socket, mark: int) -> None:
    """In the new process; never returns."""
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        environment, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, 1)
        control.close()
        if environment:
            Path("/proc/self/comm").write_text(NAME)
            os.setsid()
            os.environ.clear()
            os.environ.update(json.loads(environment))
            # As in the real one the kernel shows what is written there.
            ctypes.CDLL(None).putenv(ctypes.c_void_p(mark))
            leave_stops_to_the_daemon()
            gc.freeze()
            ForkServer(socket.socket(fileno=descriptors[0])).serve()
        code = 0
    finally:
        os._exit(code)
