"""How daemon and worker talk: frames of JSON over a pair of pipes, each with its length in front.

JSON and not pickle: a worker evaluates users' expressions, and what it sends must not run in the daemon.

Daemon to worker: `{"settings": …}` first, then `{"run": order}`, `{"committed": seq, "run_id"}`,
`{"abort": error, "run_id"}`, `{"signal": {seq, name, data, by, at}, "run_id"}`, `{"secret": name, …}`,
`{"children": {id, …}}`, `{"check": [jq expression, …]}`, `{"exit": true}`.

Worker to daemon: `{"ready": pid}` first, then `{"rows": […], "logs": […], "ack": bool, "ended"?: …, "parked"?:
{"wake_at"}, "closing"?: true}`, `{"secret": name}`, `{"children": {id, do, path, …}}` (see service/child_runs.py),
`{"checked": [problem or null, …]}`. `ended` and `parked` are the last word about a run: the worker is free for
another one.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from typing import Any, BinaryIO

Frame = dict[str, Any]

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 1 << 29
"""Room for a payload or for the results of a few steps at their own limit."""


class FrameWriter:
    """The writing end; thread safe."""

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, frame: Frame) -> None:
        """Write a frame. Raises OSError (BrokenPipeError) when nobody reads any more."""
        body = json.dumps(frame, separators=(",", ":")).encode()
        with self._lock:
            self._stream.write(_LENGTH.pack(len(body)) + body)
            self._stream.flush()


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame; None when the other end is gone, also in the middle of a frame.

    Raises ValueError for what is no frame.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes; the largest has {MAX_FRAME_BYTES}")
    body = stream.read(length)
    if len(body) < length:
        return None
    frame: Frame = json.loads(body)
    return frame


def take_stdout() -> BinaryIO:
    """This process's pipe to the daemon; whatever prints from now on prints to stderr instead."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe
