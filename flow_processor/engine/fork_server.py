"""The process that workers are forked from: it has loaded all that a worker needs, once (docs/adr/0015-fork-server.md).

Started by the daemon as `python -P -m flow_processor.engine.fork_server FD` with the clean environment of a worker and
one end of a socket. Each message is a JSON object, answered by one:
`{"start": worker id}`, with the descriptors that become stdin, stdout, stderr and the working folder ->
`{"pid": number}`; `{"reap": pid}`, for a worker that has ended -> `{"code": number}`. What cannot be done:
`{"error": text}`.
It leaves when the daemon does, and when nobody has needed it for a while. Its workers go on then.
"""

from __future__ import annotations

import array
import ctypes
import gc
import json
import os
import socket
import sys
import traceback
from typing import Any

from flow_processor.process_tree import WORKER_MARK, leave_stops_to_the_daemon

IDLE_SECONDS = 30.0
"""It leaves when it has had no worker and no question for so long."""

MAX_MESSAGE_BYTES = 64 * 1024
DESCRIPTORS = 4

ROOM_FOR_MARK = "________"
"""Stands in the environment where the kernel will show a worker's id (see process_tree.py); as long as that."""


class ForkServer:
    """One thread, and nothing else at work beside it: a forked process has only the thread that forked."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._workers: set[int] = set()

    def serve(self) -> None:
        """Answer until the daemon has gone, or needs nothing any more."""
        while True:
            self._control.settimeout(None if self._workers else IDLE_SECONDS)
            try:
                message, descriptors = receive(self._control)
            except TimeoutError:
                return
            if message is None:
                return
            try:
                answer = self._do(message, descriptors)
            except OSError as error:
                answer = {"error": str(error)}
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            send(self._control, answer)

    def _do(self, message: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        if "start" in message:
            return {"pid": self._start(message["start"], descriptors)}
        pid = message["reap"]
        _, status = os.waitpid(pid, 0)
        self._workers.discard(pid)
        return {"code": os.waitstatus_to_exitcode(status)}

    def _start(self, worker_id: str, descriptors: list[int]) -> int:
        pid = os.fork()
        if pid == 0:
            self._become_worker(worker_id, descriptors)
        self._workers.add(pid)
        return pid

    def _become_worker(self, worker_id: str, descriptors: list[int]) -> None:
        """In the new process; never returns."""
        code = 1
        try:
            from flow_processor.engine import worker

            self._control.close()
            # A session of its own: a Ctrl-C in the terminal is not for it, and its children die with it.
            os.setsid()
            *pipes, folder = descriptors
            for number, descriptor in enumerate(pipes):
                os.dup2(descriptor, number)
            os.fchdir(folder)
            for descriptor in descriptors:
                os.close(descriptor)
            _carry_mark(worker_id)
            worker.main()
            code = 0
        except BaseException:  # noqa: BLE001  nothing may return into the loop that serves
            traceback.print_exc()
        finally:
            os._exit(code)


def _carry_mark(worker_id: str) -> None:
    """Have the worker's id in the environment of this process, also in what the kernel shows of it.

    What it was started with stays where it is for as long as the process lives, so it is written over.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    ctypes.memmove(libc.getenv(WORKER_MARK.encode()), worker_id.encode(), len(ROOM_FOR_MARK))
    os.environ[WORKER_MARK] = worker_id


def send(control: socket.socket, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
    """Send one message. Raises OSError where the other end is gone."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    control.sendmsg([json.dumps(message).encode()], ancillary)


def receive(control: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and the descriptors that came with it; None: the other end is gone."""
    size = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)
    text, ancillary, _, _ = control.recvmsg(MAX_MESSAGE_BYTES, size, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return (json.loads(text) if text else None), list(descriptors)


def main() -> None:
    """Entry of the process."""
    leave_stops_to_the_daemon()
    control = socket.socket(fileno=int(sys.argv[-1]))
    from flow_processor.engine import worker

    worker.load()
    gc.collect()
    gc.freeze()  # looking for garbage would write into the memory that is shared
    ForkServer(control).serve()


if __name__ == "__main__":
    main()
