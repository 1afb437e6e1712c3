"""Somebody who launches flows all the time, and notes what was accepted."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable

import requests

from tests.acceptance.daemon_process import DaemonProcess


class Load:
    """About ten launches a second over `with`, of each flow in turn; a daemon that is away is simply asked again.

    `then(path, run_id)` is called for each run that was accepted.
    """

    def __init__(
        self,
        daemon: DaemonProcess,
        *paths: str,
        every_seconds: float = 0.1,
        then: Callable[[str, str], None] | None = None,
    ) -> None:
        self._daemon = daemon
        self._paths = itertools.cycle(paths)
        self._every = every_seconds
        self._then = then
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.accepted: list[str] = []
        """Ids of runs, each from an answer 202."""
        self.answers: Counter[str] = Counter()
        """How launches were answered: by status, or `away`."""

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._every):
            path = next(self._paths)
            try:
                answer = self._daemon.call("POST", "/api/flows/launch", json={"path": path})
            except requests.RequestException:
                self.answers["away"] += 1
                continue
            self.answers[str(answer.status_code)] += 1
            if answer.status_code == 202:
                self.accepted.append(answer.json()["run_id"])
                if self._then is not None:
                    self._then(path, self.accepted[-1])
