"""What is launched during the soak, and the person who answers what waits."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import requests

from tests.acceptance.daemon_process import DaemonProcess
from tests.acceptance.flows import NUMBERS, PARALLEL, SUM, call, sleep, work
from tests.engine.counting_server import CountingServer

CALLS = {"loop.yml": 3, "nested.yml": 2}
"""How many calls a run of the flow makes; one where it does not say."""
PAUSE_SECONDS = 0.05


def flows(server: CountingServer) -> dict[str, str]:
    """Path → text. Those in `LAUNCHED` are launched in turn, the others are called by them."""
    items = "  - {name: items, type: set_fact, set_fact: {value: [1, 2, 3]}}\n"
    loop = "  - {name: loop, type: flow_loop, flow_loop: {path: item.yml, data_key: items}}\n"
    nested = "  - {name: inner, type: flow, flow: {path: inner.yml}}\n"
    large = "  - {name: large, type: jq, jq: {expression: '[range(60000)]'}}\n"
    count = "  - {name: count, type: jq, jq: {expression: '.large | length'}}\n"
    paid = "  - {name: paid, type: wait, wait: {signal: {name: paid, expires_seconds: 3600}}}\n"
    asked = "  - {name: asked, type: wait, wait: {approval: {prompt: Go on?, expires_seconds: 3600}}}\n"
    return {
        "work.yml": work(server),
        "item.yml": f"steps:\n{NUMBERS}{call(server, behind='/{{ __loop_index__ }}')}{sleep(0.05)}{SUM}",
        "loop.yml": f"{PARALLEL}steps:\n{items}{loop}",
        "inner.yml": f"steps:\n{NUMBERS}{call(server, behind='/inner')}{sleep(0.05)}",
        "nested.yml": f"{PARALLEL}steps:\n{nested}{call(server, behind='/outer')}",
        "large.yml": f"{PARALLEL}steps:\n{large}{sleep(0.05)}{count}{call(server)}",
        "parked.yml": f"{PARALLEL}steps:\n{NUMBERS}{sleep(4)}{call(server)}{SUM}",
        "paid.yml": f"{PARALLEL}steps:\n{NUMBERS}{paid}{call(server)}",
        "asked.yml": f"{PARALLEL}steps:\n{NUMBERS}{asked}{call(server)}{SUM}",
        "locked.yml": f"steps:\n{NUMBERS}{sleep(0.3)}{call(server)}",
    }


LAUNCHED = (
    *("work.yml", "loop.yml", "work.yml", "nested.yml", "parked.yml", "work.yml", "paid.yml"),
    *("work.yml", "large.yml", "locked.yml", "asked.yml", "loop.yml", "work.yml", "nested.yml"),
)


class Person:
    """Answers each run that waits for that, some time later, and says what is to become of calls in doubt.

    A daemon that is away is asked again. `with` ends when everything is answered.
    """

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        self._open: list[tuple[str, str, Any]] = []
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._chance = random.Random(7)
        self._thread = ThreadPoolExecutor(1)
        self._working: Future[None]
        self.told: Counter[str] = Counter()
        """How many signals of each run were answered 202."""
        self.answers: Counter[str] = Counter()
        """How often it was told `signalled`, `resumed`, or a code of what was refused."""
        self._known: set[str] = set()
        """Runs that were noted."""
        self._looked_at: set[str] = set()

    def note(self, path: str, run_id: str) -> None:
        """A run was accepted."""
        with self._guard:
            if run_id in self._known:
                return
            self._known.add(run_id)
            if path == "paid.yml":
                self._open.append((run_id, "paid", {"amount": 7}))
            elif path == "asked.yml":
                self._open.append((run_id, "asked", {"answer": "approve"}))

    def __enter__(self) -> Person:
        self._working = self._thread.submit(self._work)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.shutdown()
        self._working.result()

    def _work(self) -> None:
        has_looked = False
        while not self._stop.wait(PAUSE_SECONDS) or self._open or not has_looked:
            try:
                if self._stop.is_set() and not has_looked:
                    self._note_unknown()
                    has_looked = True
                self._answer_one()
                if self._chance.random() < 0.05:
                    self._resume()
            except requests.RequestException:
                continue

    def _note_unknown(self) -> None:
        """Runs that were accepted by a daemon that died before it could say so."""
        for run in self._daemon.live_runs():
            self.note(run["flow"], run["run_id"])

    def _answer_one(self) -> None:
        with self._guard:
            if not self._open:
                return
            run_id, name, data = self._open.pop(self._chance.randrange(len(self._open)))
        try:
            answer = self._daemon.call(
                "POST", f"/api/runs/{run_id}/signal", json={"name": name, "data": data, "by": "the soak"}
            )
        except requests.RequestException:
            with self._guard:
                self._open.append((run_id, name, data))
            raise
        if answer.status_code == 202:
            self.told[run_id] += 1
            self.answers["signalled"] += 1
            return
        code = answer.json()["code"]
        self.answers[code] += 1
        if code not in ("run_has_ended", "already_answered"):
            with self._guard:
                self._open.append((run_id, name, data))

    def _resume(self) -> None:
        """Of the runs that are in doubt, every other one."""
        page = self._daemon.call("GET", "/api/runs?status=interrupted&limit=100").json()
        for run in page["runs"]:
            run_id = run["run_id"]
            if run_id in self._looked_at:
                continue
            self._looked_at.add(run_id)
            mode = self._chance.choice(["rerun", "skip", "value", "leave", "leave", "leave"])
            if mode != "leave":
                in_doubt = self._daemon.run(run_id)["error"]["step"]
                step = {"step": in_doubt, "value": {}} if mode == "value" else {}
                told = {"mode": mode, "by": "the soak", **step}
                answer = self._daemon.call("POST", f"/api/runs/{run_id}/resume", json=told)
                self.answers[answer.json().get("code", "resumed")] += 1
