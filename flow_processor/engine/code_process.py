"""The process that loads own code to say what is in it. It runs no flow, and holds no secret.

Started by the daemon as `python -m flow_processor.engine.code_process`, with frames on stdin and stdout:
`{"limits": …}` first, then `{"describe": path, "text"}` or `{"wrong": path, "text", "name", "values"}`, each answered
by `{"said": …}`. It ends when stdin does, whatever the code it loads is doing, or after a while without a question.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from typing import BinaryIO

from flow_processor.engine.frames import Frame, FrameWriter, read_frame, take_stdout
from flow_processor.engine.limits import limit_cpu, limit_memory
from flow_processor.engine.orphans import adopt_orphans
from flow_processor.own_code.describing import Describer
from flow_processor.process_tree import leave_stops_to_the_daemon

IDLE_SECONDS = 10.0
"""Without a question for so long it leaves."""


def _listen(commands: BinaryIO, questions: queue.SimpleQueue[Frame]) -> None:
    try:
        while (frame := read_frame(commands)) is not None:
            questions.put(frame)
    finally:
        os._exit(0)


def _answer(describer: Describer, question: Frame) -> object:
    if "describe" in question:
        return describer.describe(question["describe"], question["text"])
    path = question["wrong"]
    describer.describe(path, question["text"])
    return describer.wrong(path, question["name"], question["values"])


def main() -> None:
    """Entry of the process."""
    leave_stops_to_the_daemon()
    send = FrameWriter(take_stdout())
    questions: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, questions), daemon=True).start()
    limits = questions.get()["limits"]
    limit_memory(limits["memory_mb"])
    limit_cpu(limits["seconds"])
    adopt_orphans()
    describer = Describer()
    while True:
        try:
            question = questions.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            os._exit(0)
        send.send({"said": _answer(describer, question)})


if __name__ == "__main__":
    main()
