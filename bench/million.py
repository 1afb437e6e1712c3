"""A store with a million runs: first pages of every kind of list, the start, launches while many runs are pruned.

    .venv/bin/python bench/million.py [--runs 1000000] [--prune 100000]

Fills a data folder in the system's temporary folder (about 1 GB) by SQL, works on it with a real daemon, removes it
again. Exits with 1 if a figure is not what it should be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon import ROOT, BenchFailed, Client, free_port
from million_runs import FLOW, fill

PAGE_MS = 30.0
START_SECONDS = 3.0
LAUNCH_DELAY_MS = 100.0
QUIET_SECONDS = 120.0
"""So long it is launched without pruning, to tell this machine's share."""

TOKEN = "a-token-of-this-benchmark-only"
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
    bad, worst = measure_unpruned(folder)
    return bad + measure_pruning(folder, prune, allowed=max(LAUNCH_DELAY_MS, worst))


def measure_unpruned(folder: Folder) -> tuple[list[str], float]:
    """The start, the lists, and launches: (what is not as it should be, milliseconds of the longest launch)."""
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
        times = launched_for(folder, QUIET_SECONDS)
        print("launches, nothing pruned:", figures_of(times), flush=True)
    finally:
        end(process)
    return bad, max(times)


def measure_pruning(folder: Folder, prune: int, *, allowed: float) -> list[str]:
    """Launches while so many runs are pruned. `allowed`: milliseconds that one may take; a machine that makes a launch
    wait for longer by itself tells nothing about pruning."""
    bad = []
    before = time.time() - 90 * 86_400
    process, _ = folder.start("{max_age_days: 90}")
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
    if max(times) > allowed:
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
