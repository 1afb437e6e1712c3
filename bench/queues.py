"""Queues: how fast items are worked off, how soon one starts its run, and what many cost that wait.

    .venv/bin/python bench/queues.py [--items 5000] [--waiting 100000] [--cores 2] [--broker]

Works on a data folder in the system's temporary folder, with a real daemon; items are dropped into the spool folder.
With --broker they go over the API to a RabbitMQ of its own instead (rabbitmq-server must be installed; as root).
Daemon, workers and this program share the cores. Exits with 1 if a figure is not what it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Any

from daemon import ROOT, BenchFailed, Client, Daemon
from million import figures_of

sys.path.insert(0, str(ROOT))

ITEMS_PER_SECOND = 500.0
LATENCY_MS = 50.0
"""From the rename into new/ (or the call of the API) to the begin of the run, in the middle."""
MORE_MEMORY_MB = 30.0
"""So much more memory the daemon may take while many items wait."""

SINGLES = 200
"""Items that come one by one, to see how soon each starts."""
PAUSE_SECONDS = 0.05
WATCHED_SECONDS = 20.0
"""So long the daemon is watched while many items wait."""
AT_ONCE = 1000
"""Items in one call of the API."""

FLOWS = {
    "quick.yml": """on: {queue: quick}
concurrency: {on_conflict: parallel}
steps:
  - {name: number, type: set_fact, set_fact: {value: "{{ __input__.number }}"}}
""",
    "slow.yml": """on: {queue: slow}
steps:
  - {name: never, type: wait, wait: {signal: never}}
""",
}
CONFIG = "queues: {defaults: {max_items: 10000000}}\n"


class Bench:
    """A daemon, and items on their way to it."""

    def __init__(self, daemon: Daemon, *, has_broker: bool) -> None:
        self._daemon = daemon
        self._has_broker = has_broker
        self._client: Client = daemon.client()

    def put(self, queue: str, items: Sequence[Any]) -> None:
        """Put items on a queue, as fast as that goes."""
        if self._has_broker:
            for begin in range(0, len(items), AT_ONCE):
                some = list(items[begin : begin + AT_ONCE])
                self._call("POST", f"/api/queues/{queue}", 202, {"items": some})
            return
        folder = self._daemon.folder / "spool" / queue
        for item in items:
            name = f"{item['number']}.json"
            (folder / f".{name}").write_text(json.dumps(item), encoding="utf-8")
            (folder / f".{name}").rename(folder / "new" / name)

    def wait_for_queues(self) -> None:
        """Until the daemon listens to both queues."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            answer = self._call("GET", "/api/queues", 200)
            if sum(bool(queue["listeners"]) for queue in answer["queues"]) == 2:
                return
            time.sleep(0.1)
        raise BenchFailed("the daemon does not listen to its queues")

    def wait_for(self, count: int, *, seconds: float) -> None:
        """Until so many runs of the quick flow have succeeded."""
        end = time.monotonic() + seconds
        while (found := self._succeeded()) < count:
            if time.monotonic() > end:
                raise BenchFailed(f"{found} of {count} runs have succeeded after {seconds:g} s")
            time.sleep(0.1)

    def put_and_drained(self, count: int) -> tuple[float, float]:
        """(items put, items worked off) a second, both from the first put on: who puts shares the cores."""
        before = self._succeeded()
        begun = time.time()
        self.put("quick", [{"number": number} for number in range(count)])
        put = time.time() - begun
        return count / put, count / (self._last_end(before + count) - begun)

    def drained(self, count: int) -> float:
        """Items worked off a second that wait already."""
        before = self._succeeded()
        self._call("POST", "/api/queues/quick/pause", 200)
        self.put("quick", [{"number": number} for number in range(count)])
        begun = time.time()
        self._call("POST", "/api/queues/quick/resume", 200)
        return count / (self._last_end(before + count) - begun)

    def _last_end(self, count: int) -> float:
        """When the last of so many runs ended, in seconds since 1970."""
        self.wait_for(count, seconds=max(60.0, count / 20))
        ended: float = self._query("SELECT max(ended_at) FROM runs")[0][0]
        return ended

    def _succeeded(self) -> int:
        number: int = self._query("SELECT count(*) FROM runs WHERE status = 'succeeded'")[0][0]
        return number

    def _call(self, method: str, path: str, wanted: int, body: Any = None) -> Any:
        status, answer = self._client.call(method, path, body)
        if status != wanted:
            raise BenchFailed(f"{method} {path}: HTTP {status}: {answer}")
        return answer

    def latencies(self) -> list[float]:
        """Milliseconds until the run of an item has begun, of items that come one by one."""
        before = self._succeeded()
        for number in range(SINGLES):
            self.put("quick", [{"number": f"single-{number}", "at": time.time()}])
            time.sleep(PAUSE_SECONDS)
        self.wait_for(before + SINGLES, seconds=60)
        rows = self._query("SELECT input, started_at FROM runs WHERE input LIKE '%\"at\"%'")
        return [(started - json.loads(given)["at"]) * 1000 for given, started in rows]

    def memory_of_waiting(self, count: int) -> float:
        """How many MB more the daemon takes at most while so many items wait."""
        before = resident_megabytes(self._daemon.process.pid)
        self.put("slow", [{"number": number} for number in range(count)])
        end, most = time.monotonic() + WATCHED_SECONDS, 0.0
        while time.monotonic() < end:
            most = max(most, resident_megabytes(self._daemon.process.pid))
            self._call("GET", "/api/queues", 200)  # as somebody who watches it
            time.sleep(0.5)
        answer = self._call("GET", "/api/queues/slow", 200)
        if answer["depth"] < count * 0.99:
            raise BenchFailed(f"only {answer['depth']} of {count} items wait")
        return most - before

    def _query(self, text: str) -> list[Any]:
        with closing(sqlite3.connect(self._daemon.folder / "octospool.db", timeout=30)) as connection:
            return connection.execute(text).fetchall()


def resident_megabytes(pid: int) -> float:
    """What the process alone has in memory."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def measure(bench: Bench, items: int, waiting: int) -> list[str]:
    """Prints every figure; those that are not as they should be are returned."""
    bad = []
    bench.wait_for_queues()
    bench.put_and_drained(200)  # workers are there, flows are compiled
    drained = bench.drained(items)
    print(f"{items} one-step items that wait: worked off {drained:.0f} a second", flush=True)
    put, meanwhile = bench.put_and_drained(items)
    print(f"{items} more: put {put:.0f} a second, worked off meanwhile {meanwhile:.0f} a second", flush=True)
    if drained < ITEMS_PER_SECOND:
        bad.append("items a second")
    times = bench.latencies()
    print(f"until the run of an item has begun: {figures_of(times)}", flush=True)
    if statistics.median(times) > LATENCY_MS:
        bad.append("latency")
    more = bench.memory_of_waiting(waiting)
    print(f"{waiting} items that wait: {more:.0f} MB more", flush=True)
    if more > MORE_MEMORY_MB:
        bad.append("memory")
    print(f"load at the end: {os.getloadavg()[0]:.1f}", flush=True)
    return bad


def main() -> int:
    """Measure, clear up; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--cores", type=int, default=2, help="that daemon, workers and this program share")
    parser.add_argument("--broker", action="store_true", help="items go through a RabbitMQ")
    options = parser.parse_args()
    variables = {}
    with ExitStack() as stack:
        if options.broker:
            from tests.queues.broker import own_broker

            variables["BROKER_URL"] = stack.enter_context(own_broker()).broker.url
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
        kind = "RabbitMQ" if options.broker else "spool folders"
        print(f"{kind}, {options.cores} cores, load {os.getloadavg()[0]:.1f}", flush=True)
        daemon = stack.enter_context(Daemon(FLOWS, config=CONFIG, variables=variables))
        bad = measure(Bench(daemon, has_broker=options.broker), options.items, options.waiting)
    print("not reached: " + ", ".join(bad) if bad else "all figures reached")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
