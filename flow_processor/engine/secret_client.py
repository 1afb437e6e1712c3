"""How a worker gets a named secret: it asks the daemon, which alone can read them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from flow_processor.engine.frames import Frame
from flow_processor.engine.signals import Orphaned
from flow_processor.errors import StepError
from flow_processor.secrets.picking import picked
from flow_processor.secrets.redaction import Redactor
from flow_processor.step import Secret


class SecretClient:
    """Secrets of one run; thread safe. Each is asked for once and redacted from then on."""

    def __init__(self, send: Callable[[Frame], None], redactor: Redactor) -> None:
        self._send = send
        self._redactor = redactor
        self._changed = threading.Condition()
        self._asked: set[str] = set()
        self._answers: dict[str, Secret | StepError] = {}
        self._is_orphan = False

    def fetch(self, name: str) -> Secret:
        """The secret. Raises StepError where there is none, or it cannot be had."""
        with self._changed:
            if name not in self._asked:
                self._asked.add(name)
                self._answers.pop(name, None)  # an error of an earlier time does not count
                try:
                    self._send({"secret": name})
                except OSError:
                    self._is_orphan = True
            self._changed.wait_for(lambda: name in self._answers or self._is_orphan)
            answer = self._answers.get(name)
        if answer is None:
            raise Orphaned
        if isinstance(answer, StepError):
            raise answer
        return answer

    def redact(self, names: Iterable[str]) -> list[str]:
        """Know the values of these secrets, so that they are redacted; the names of those that cannot be had."""
        missing = []
        for name in names:
            try:
                self.fetch(name)
            except StepError:
                missing.append(name)
        return missing

    def answer(self, frame: Frame) -> None:
        """The daemon's answer: `{"secret", "type", "values"}` or `{"secret", "error"}`."""
        name = frame["secret"]
        answer: Secret | StepError
        try:
            if "error" in frame:
                answer = StepError(frame["error"]["message"], code=frame["error"]["code"])
            else:
                answer = self._picked(Secret(name, frame["type"], frame["values"]))
        except StepError as error:
            answer = error
        with self._changed:
            self._answers[name] = answer
            if isinstance(answer, StepError):
                self._asked.discard(name)
            self._changed.notify_all()

    def lose_daemon(self) -> None:
        """Nobody will answer any more."""
        with self._changed:
            self._is_orphan = True
            self._changed.notify_all()

    def _picked(self, secret: Secret) -> Secret:
        self._redactor.add_secret(secret)
        answer = picked(secret)
        self._redactor.add_secret(answer)
        return answer
