"""500 kills under ten launches a second, with everything that a run may be doing; checked every hundred kills."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.acceptance import invariants
from tests.acceptance.daemon_process import DaemonProcess
from tests.acceptance.flows import calls_by_run
from tests.acceptance.found import Found
from tests.acceptance.kills import Kill, kill_in_a_loop, pass_time, percentile, seconds_to_go_on
from tests.acceptance.load import Load
from tests.engine.counting_server import CountingServer
from tests.soak.figures import Part
from tests.soak.mixture import CALLS, LAUNCHED, Person, flows

CHECK_EVERY = 100
MAX_WORKERS = 6
LONGEST_LIFE = 1.0
"""How long the daemon lives at most after it has accepted something, in seconds."""
EARLY = 0.1
"""This share of starts is killed before the daemon answers."""
SETTLE_SECONDS = 300.0


def soak(folder: Path, kind: str, *, times: int, seed: int) -> Part:
    """Kill the daemon `alone` or `together` with its workers, so often; the row of figures.

    If anything is violated the row says so, and the folder stays.
    """
    with ExitStack() as stack:
        server = CountingServer()
        stack.callback(server.close)
        daemon = DaemonProcess(folder / "data", max_workers=MAX_WORKERS)
        stack.callback(daemon.end)
        server.think_seconds = 0.05
        for path, text in flows(server).items():
            daemon.write(path, text)
        soaked = KillSoak(daemon, server, kind, random.Random(seed))
        violation = None
        try:
            soaked.run(times)
        except AssertionError as failed:
            violation = str(failed) or "a check failed"
    if violation is None:
        shutil.rmtree(folder)
    return Part("kills", soaked.cells(violation), violation)


class KillSoak:
    """One data folder and the daemons that live and die on it."""

    def __init__(
        self, daemon: DaemonProcess, server: CountingServer, kind: str, moments: random.Random
    ) -> None:
        self._daemon = daemon
        self._server = server
        self._kind = kind
        self._moments = moments
        self._kill_one: Callable[[], None] = daemon.kill if kind == "alone" else daemon.kill_with_workers
        self._accepted: list[str] = []
        self._kills: list[Kill] = []
        self._latest: list[Kill] = []
        """Those since the last check."""
        self._answers = ""
        self._gone_on: list[float] = []
        self._told: Counter[str] = Counter()
        self._found = Found()

    def run(self, times: int) -> None:
        """Kill, and look. Raises AssertionError."""
        while len(self._kills) < times:
            self._daemon.start()
            self._kill(min(CHECK_EVERY, times - len(self._kills)))
            self._daemon.settle(seconds=SETTLE_SECONDS)
            self._check()

    def _kill(self, times: int) -> None:
        with Person(self._daemon) as person, Load(self._daemon, *LAUNCHED, then=person.note) as load:
            done = kill_in_a_loop(
                self._daemon,
                load,
                self._kill_and_sometimes_at_the_start,
                times=times,
                moments=self._moments,
                longest_life=LONGEST_LIFE,
            )
        self._accepted += load.accepted
        self._kills += done
        self._told += person.told
        self._latest = done
        self._answers = f"launches {dict(load.answers)}, a person {dict(person.answers)}"

    def _kill_and_sometimes_at_the_start(self) -> None:
        self._kill_one()
        if self._moments.random() < EARLY:
            self._daemon.begin()
            pass_time(self._moments.uniform(0.0, 1.0))
            self._kill_one()

    def _check(self) -> None:
        calls = {path: CALLS.get(path, 1) for path in LAUNCHED}
        found = invariants.check(
            self._daemon.data, accepted=self._accepted, posts=calls_by_run(self._server), calls=calls
        )
        self._found = found
        self._gone_on += seconds_to_go_on(found, self._latest)
        print(
            f"  {len(self._kills)} kills, {len(self._accepted)} accepted, {dict(found.count())}, {self._answers}",
            flush=True,
        )
        check_told(found, self._told)
        check_ends(found, is_doubt_allowed=self._kind == "together")

    def cells(self, violation: str | None) -> list[str]:
        """What the table says of it."""
        accounted = sum(run_id in self._found.runs for run_id in self._accepted)
        counts = sorted(self._found.count().items())
        more = sum(times > 1 for times in calls_by_run(self._server).values())
        return [
            "daemon alone" if self._kind == "alone" else "daemon with workers",
            str(len(self._kills)),
            str(len(self._accepted)),
            str(accounted) if self._found.runs else "not checked",
            ", ".join(f"{count} {status}" for status, count in counts),
            f"0 (and {more} that a person wanted)" if more and violation is None else str(more),
            _spread([kill.seconds_to_answer for kill in self._kills]),
            _spread(self._gone_on),
            "0" if violation is None else "**1**",
        ]


def check_told(found: Found, told: Counter[str]) -> None:
    """What a run was told, with an answer 202, stands in its journal."""
    for run_id, times in told.items():
        written = sum(row[3] == "signalled" for row in found.journals[run_id])
        assert written >= times, f"{run_id} was told {times} things, its journal has {written}"


def check_ends(found: Found, *, is_doubt_allowed: bool) -> None:
    """Every run has succeeded; only those whose call was under way when their worker died may be in doubt."""
    others = [run for run in found.runs.values() if run.status not in ("succeeded", "interrupted")]
    assert not others, f"neither succeeded nor interrupted: {others[:5]}"
    doubtful = [run for run in found.runs.values() if run.status == "interrupted"]
    assert is_doubt_allowed or not doubtful, f"interrupted though no worker was killed: {doubtful[:5]}"
    strange = [run for run in doubtful if run.error["step"].split("/")[-1] != "call"]
    assert not strange, f"interrupted though no call was under way: {strange[:5]}"


def _spread(values: list[float]) -> str:
    return " / ".join(f"{percentile(values, share):.2f}" for share in (0.5, 0.99, 1.0))
