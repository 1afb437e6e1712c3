"""How a worker asks its daemon to see to runs that are part of the one it has."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

from flow_processor.engine.frames import Frame
from flow_processor.engine.signals import Orphaned
from flow_processor.errors import StepError


class ChildClient:
    """Asks for one run; thread safe."""

    def __init__(self, send: Callable[[Frame], None]) -> None:
        self._send = send
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._answers: dict[int, Frame] = {}
        self._is_orphan = False

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The daemon's answer; None where it cannot do it now. Raises StepError for what it refuses, and Orphaned."""
        number = next(self._numbers)
        try:
            self._send({"children": {**request, "id": number}})
        except OSError:
            self.lose_daemon()
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or self._is_orphan)
            answer = self._answers.pop(number, None)
        if answer is None:
            raise Orphaned
        if "error" in answer:
            raise StepError(answer["error"]["message"], code=answer["error"]["code"])
        return None if answer.get("later") else answer

    def answer(self, frame: Frame) -> None:
        """What the daemon says: `{"id", …}`, `{"id", "later": true}` or `{"id", "error"}`."""
        with self._changed:
            self._answers[frame["id"]] = frame
            self._changed.notify_all()

    def lose_daemon(self) -> None:
        """Nobody will answer any more."""
        with self._changed:
            self._is_orphan = True
            self._changed.notify_all()
