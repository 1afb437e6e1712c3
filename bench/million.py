"""A store with a million runs: first pages of every kind of list, the start, launches while many runs are pruned.

    .venv/bin/python bench/million.py [--runs 1000000] [--prune 100000]

Fills a data folder in the system's temporary folder (about 1 GB) by SQL, works on it with a real daemon, removes it
again. Exits with 1 if a figure is not what it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from daemon import ROOT, BenchFailed, Client, free_port

sys.path.insert(0, str(ROOT))

from flow_processor.store import Store

PAGE_MS = 30.0
START_SECONDS = 3.0
LAUNCH_DELAY_MS = 100.0
QUIET_SECONDS = 120.0
"""So long it is launched without pruning, to tell this machine's share."""

FLOWS = 200
OUTCOMES = [("succeeded", 90), ("failed", 7), ("cancelled", 2), ("exited", 1)]
TRIGGERS = [("schedule", 80), ("api", 15), ("cli", 5)]
FLOW = "concurrency: {on_conflict: parallel}\nsteps:\n  - {name: a, type: jq, jq: {expression: '1'}}\n"
TOKEN = "a-token-of-this-benchmark-only"
ROWS_PER_RUN = 10
"""Journal rows of a run that is to be pruned; the others have one, which is enough to be a run."""

LISTS = {
    "all": "",
    "flow": "flow=f7.yml",
    "flow, nothing found": "flow=none.yml",
    "status": "status=failed",
    "two statuses": "status=failed,cancelled",
    "status, nothing found": "status=interrupted",
    "live": "status=queued,running,waiting",
    "trigger": "trigger=api",
    "trigger, nothing found": "trigger=webhook",
    "since": "since={since}",
    "flow and status": "flow=f7.yml&status=failed",
    "flow and status, nothing found": "flow=f7.yml&status=interrupted",
    "status and trigger, nothing found": "status=succeeded&trigger=webhook",
    "since and status": "since={since}&status=failed",
    "flow pattern": "flow=f7*",
    "flow pattern, nothing found": "flow=g*",
    "flow and trigger, nothing found": "flow=f7.yml&trigger=webhook",
    "by": "by=bench",
    "by, nothing found": "by=nobody",
    "triggers and by, nothing found": "trigger=api,cli,schedule&by=nobody",
    "error": "error=x",
    "error, nothing found": "error=y",
    "error text, nothing found": "error_text=zzz",
    "longer than": "longer_than=0.5",
    "longer than, nothing found": "longer_than=100",
    "ended since": "ended_since={since}",
    "ended until": "ended_until={since}",
    "params, nothing found": "params=%7B%22day%22:1%7D",
    "retries, nothing found": "retry_of=none",
    "oldest": "order=oldest",
    "counted": "status=failed&total=true",
}


def pick(choices: list[tuple[str, int]], number: int) -> str:
    """One of them, as often as its share in percent says; for the same number the same."""
    place = number * 2_654_435_761 // 65_536 % 100
    for choice, share in choices:
        place -= share
        if place < 0:
            return choice
    return choices[0][0]


def run_values(number: int, ended: datetime) -> tuple[Any, ...]:
    """One row of the table of runs."""
    stamp = ended.strftime("%Y%m%dT%H%M%S") + f"{ended.microsecond // 1000:03d}"
    status = pick(OUTCOMES, number)
    error = json.dumps({"code": "x", "message": "why", "details": {}}) if status != "succeeded" else None
    letters = "".join("abcdefghijklmnopqrstuvwxyz234567"[number >> shift & 31] for shift in range(35, -5, -5))
    at = ended.timestamp()
    flow = f"f{number * 7919 % FLOWS}.yml"
    trigger = pick(TRIGGERS, number * 3 + 1)
    return (
        f"{stamp}-{letters}",
        flow,
        flow,
        trigger,
        "bench",
        status,
        "null",
        at - 1,
        at - 1,
        at,
        error,
        1,
        2000,
    )


def fill(folder: Path, runs: int, old: int) -> None:
    """So many runs over the last 80 days, and `old` ones before that, which retention will take."""
    Store(f"sqlite:///{folder / 'octospool.db'}").close()
    connection = sqlite3.connect(folder / "octospool.db", isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-400000")
    now = datetime.now(UTC)

    def moments() -> Iterator[datetime]:
        for number in range(old):
            yield now - timedelta(days=120) + timedelta(days=20) * (number / old)
        for number in range(runs - old):
            yield now - timedelta(days=80) + timedelta(days=79) * (number / (runs - old))

    result = json.dumps({"result": "x" * 150, "started_at": 1.0})
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO flow_versions VALUES (?, ?, ?)",
        [(f"f{n}.yml", f"f{n}.yml", json.dumps({f"f{n}.yml": FLOW})) for n in range(FLOWS)],
    )
    for number, moment in enumerate(moments()):
        values = run_values(number, moment)
        connection.execute(
            "INSERT INTO runs (id, flow, flow_hash, trigger, trigger_by, status, input, created_at, started_at,"
            " ended_at, error, attempt, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )
        rows = ROWS_PER_RUN if number < old else 1
        connection.executemany(
            "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(values[0], seq, f"s{seq}", 1, "succeeded", values[8], result) for seq in range(1, rows + 1)],
        )
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


class Folder:
    """The data folder, and a daemon on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    def start(self, retention: str) -> tuple[subprocess.Popen[bytes], float]:
        """The daemon, and the seconds until it is ready."""
        (self.folder / "config.yml").write_text(f"retention: {retention}\n", encoding="utf-8")
        environment = {
            key: value for key, value in os.environ.items() if key in ("PATH", "HOME", "SYSTEMROOT")
        }
        environment |= {"DATA_PATH": str(self.folder), "API_PORT": str(self.port), "API_TOKEN": TOKEN}
        output = (self.folder / "output.txt").open("ab")
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "main.py"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        output.close()
        while time.perf_counter() - begun < 60 and process.poll() is None:
            try:
                client = self.client()
                status, _ = client.call("GET", "/readyz")
                client.close()
            except OSError:
                time.sleep(0.005)
                continue
            if status == 200:
                return process, time.perf_counter() - begun
        process.kill()
        process.wait()
        raise BenchFailed((self.folder / "output.txt").read_text(encoding="utf-8")[-3000:])

    def client(self) -> Client:
        """A new connection."""
        return Client(self.port, TOKEN)

    def left_to_prune(self, before: float) -> tuple[int, int]:
        """(runs that are too old, runs that are deleted and not yet cleared up)."""
        connection = sqlite3.connect(self.folder / "octospool.db")
        try:
            (old,) = connection.execute(
                "SELECT count(*) FROM runs WHERE created_at < ?", (before,)
            ).fetchone()
            (rest,) = connection.execute("SELECT count(*) FROM removals").fetchone()
        finally:
            connection.close()
        return old, rest


def pages(folder: Folder) -> dict[str, float]:
    """Milliseconds of the first page of each kind of list: the median of 9 calls over HTTP."""
    client = folder.client()
    since = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {}
    for name, query in LISTS.items():
        seconds = []
        for _ in range(9):
            begun = time.perf_counter()
            status, answer = client.call("GET", "/api/runs?" + query.format(since=since))
            seconds.append(time.perf_counter() - begun)
            if status != 200 or (not answer["runs"]) != ("nothing" in name or name == "live"):
                raise BenchFailed(f"{name}: HTTP {status}: {str(answer)[:500]}")
        found[name] = statistics.median(seconds) * 1000
    client.close()
    return found


def launches(folder: Folder, stop: threading.Event) -> list[float]:
    """Milliseconds of calls that launch a run, 20 a second, until told to stop."""
    client = folder.client()
    client.run("quick.yml")  # the first one waits for a worker to look at the flow's expressions
    found = []
    while not stop.wait(0.05):
        begun = time.perf_counter()
        status, answer = client.call("POST", "/api/flows/launch", {"path": "quick.yml"})
        found.append((time.perf_counter() - begun) * 1000)
        if status != 202:
            raise BenchFailed(f"launch: HTTP {status}: {answer}")
    client.close()
    return found


def figures_of(times: list[float]) -> str:
    """Median, 99th percentile and worst."""
    ordered = sorted(times)
    return (
        f"p50 {statistics.median(ordered):.1f} ms, p99 {ordered[int(len(ordered) * 0.99)]:.1f} ms, "
        f"worst {ordered[-1]:.1f} ms of {len(ordered)}"
    )


def empty_start() -> float:
    """Seconds until a daemon is ready that has nothing, to tell this machine's share from the store's."""
    with tempfile.TemporaryDirectory(prefix="octospool-empty-") as empty:
        process, seconds = Folder(Path(empty)).start("{max_age_days: forever}")
        end(process)
    return seconds


def measure(folder: Folder, prune: int) -> list[str]:
    """Prints every figure; those that are not as they should be are returned."""
    bad = []
    print(f"start to ready, with an empty folder: {empty_start():.2f} s", flush=True)
    process, seconds = folder.start("{max_age_days: forever}")
    print(f"start to ready: {seconds:.2f} s", flush=True)
    if seconds > START_SECONDS:
        bad.append("start")
    try:
        for name, milliseconds in pages(folder).items():
            print(f"first page, {name}: {milliseconds:.1f} ms", flush=True)
            if milliseconds > PAGE_MS:
                bad.append(f"page {name}")
        quiet = launched_for(folder, QUIET_SECONDS)
        print("launches, nothing pruned:", figures_of(quiet), flush=True)
    finally:
        end(process)
    before = time.time() - 90 * 86_400
    process, seconds = folder.start("{max_age_days: 90}")
    begun = time.perf_counter()
    try:
        stop = threading.Event()
        times: list[float] = []
        thread = threading.Thread(target=lambda: times.extend(launches(folder, stop)))
        thread.start()
        while any(left := folder.left_to_prune(before)) and time.perf_counter() - begun < 900:
            print(f"  {left[0]} to delete, {left[1]} to clear", flush=True)
            time.sleep(5)
        stop.set()
        thread.join()
    finally:
        end(process)
    print(
        f"pruned {prune} runs in {time.perf_counter() - begun:.0f} s; launches meanwhile: {figures_of(times)}"
    )
    if any(left):
        bad.append("pruning did not come to its end")
    # A machine that makes a launch wait for longer by itself tells nothing about pruning.
    if max(times) > max(LAUNCH_DELAY_MS, *quiet):
        bad.append("launch delay")
    return bad


def launched_for(folder: Folder, seconds: float) -> list[float]:
    """Launches for so long."""
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    return launches(folder, stop)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop the daemon."""
    process.terminate()
    process.wait(60)


def main() -> int:
    """Fill, measure, clear up; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--prune", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="keep the data here, and use what is there already")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="octospool-million-"))
    try:
        if not (folder / "octospool.db").exists():
            (folder / "flows").mkdir(parents=True, exist_ok=True)
            (folder / "flows" / "quick.yml").write_text(FLOW, encoding="utf-8")
            begun = time.perf_counter()
            fill(folder, options.runs, options.prune)
            size = (folder / "octospool.db").stat().st_size / 1e6
            print(
                f"{options.runs} runs written in {time.perf_counter() - begun:.0f} s: {size:.0f} MB",
                flush=True,
            )
        bad = measure(Folder(folder), options.prune)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print("not reached: " + ", ".join(bad) if bad else "all figures reached")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
