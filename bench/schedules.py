"""Ten thousand schedules: a tick, the start, an every-second one beside them, 500 that are due at one moment.

    .venv/bin/python bench/schedules.py [--schedules 10000] [--minutes 10]

Works on data folders in the system's temporary folder, with a real daemon; the tick is measured in this process.
Exits with 1 if a figure is not what it should be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon import ROOT, BenchFailed
from million import Folder, end, figures_of

sys.path.insert(0, str(ROOT))

from flow_processor.service import Service
from flow_processor.settings import Settings
from flow_processor.spec.schedule import ScheduleSpec
from flow_processor.store import Store
from flow_processor.store.given_schedules import Given, GivenScheduleStore

TICK_MS = 10.0
LATE_MS = 50.0
BURST_MS = 1000.0
START_MORE_SECONDS = 1.0
"""How much longer a start may take than one with an empty folder."""

FLOWS = 500
BURST = 500
FLOW = "concurrency: {on_conflict: parallel}\nsteps:\n  - {name: a, type: set_fact, set_fact: {value: 1}}\n"


def fill(folder: Path, number: int) -> None:
    """So many daily schedules, spread over the minutes of the day, of FLOWS flows."""
    (folder / "flows").mkdir(parents=True)
    for flow in range(FLOWS):
        (folder / "flows" / f"f{flow}.yml").write_text(FLOW, encoding="utf-8")
    (folder / "flows" / "second.yml").write_text(FLOW, encoding="utf-8")
    store = Store(f"sqlite:///{folder / 'octospool.db'}")
    schedules = GivenScheduleStore(store.writer, store.engine)
    for each in range(number):
        rule = ScheduleSpec(cron=f"{each % 60} {each // 60 % 24} * * *", timezone="UTC")
        flow, given = f"f{each % FLOWS}.yml", Given(name=f"daily {each}")
        schedules.add(flow, rule, given, in_force=rule, by="bench", at=datetime.now(UTC))
    store.close()


def tick_times(folder: Path) -> list[float]:
    """Milliseconds of looks at the clock when nothing is due, in this process."""
    settings = Settings.load({"DATA_PATH": str(folder)}, base=folder)
    service = Service(settings)
    service.scheduler.load()
    service.scheduler.look_for_changes()
    found = []
    for _ in range(1000):
        begun = time.perf_counter()
        service.scheduler.tick()
        found.append((time.perf_counter() - begun) * 1000)
    service.stop(0)
    return found


@contextmanager
def started(folder: Folder) -> Iterator[float]:
    """A daemon on the folder for as long as the block lasts: the seconds until it was ready."""
    process, seconds = folder.start("{max_age_days: forever}")
    try:
        yield seconds
    finally:
        end(process)


def start_seconds() -> tuple[float, float]:
    """Until a daemon with an empty folder is ready; a place for the figure to stand beside."""
    with (
        tempfile.TemporaryDirectory(prefix="octospool-empty-") as empty,
        started(Folder(Path(empty))) as first,
    ):
        pass
    return first, os.getloadavg()[0]


def add(folder: Folder, **schedule: object) -> str:
    """A schedule over the API; its id."""
    client = folder.client()
    status, answer = client.call("POST", "/api/schedules", schedule)
    client.close()
    if status != 201:
        raise BenchFailed(f"HTTP {status}: {answer}")
    schedule_id: str = answer["schedule_id"]
    return schedule_id


OF_SCHEDULE = "SELECT created_at - slot FROM runs WHERE schedule_id = ? AND status != 'skipped'"
OF_SLOT = "SELECT created_at - slot FROM runs WHERE slot = ? AND status != 'skipped'"


def lateness(folder: Path, query: str, value: object) -> list[float]:
    """Milliseconds between the moment of each started slot and the acceptance of its run."""
    connection = sqlite3.connect(folder / "octospool.db")
    try:
        return [late * 1000 for (late,) in connection.execute(query, (value,))]
    finally:
        connection.close()


def each_second(folder: Folder, minutes: float) -> tuple[list[float], int]:
    """Lateness of an every-second schedule beside all others, and how many of its slots were missed."""
    begins = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
    ends = begins + timedelta(minutes=minutes) - timedelta(seconds=1)
    one = add(
        folder,
        flow="second",
        every_seconds=1,
        starts_at=begins.isoformat(),
        ends_at=ends.isoformat(),
        catchup="none",
    )
    client = folder.client()
    while datetime.now(UTC) < ends + timedelta(seconds=3):
        client.call("GET", "/readyz")  # as a load balancer does
        time.sleep(1)
    client.close()
    found = lateness(folder.folder, OF_SCHEDULE, one)
    return found, round(minutes * 60) - len(found)


def burst(folder: Folder) -> tuple[list[float], float, float]:
    """Lateness of BURST schedules of as many flows that are due at one moment, and seconds until all runs were
    committed (a reader sees them) and had ended."""
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=60)
    for number in range(BURST):
        add(folder, flow=f"f{number}", at=moment.isoformat(), name="burst")
    if datetime.now(UTC) > moment - timedelta(seconds=1):
        raise BenchFailed("adding the schedules took longer than a minute")
    time.sleep(max(0.0, moment.timestamp() - time.time()))
    committed = until_counted(folder, "SELECT count(*) FROM runs WHERE slot = ?", moment)
    ended = until_counted(folder, "SELECT count(*) FROM runs WHERE slot = ? AND status = 'succeeded'", moment)
    return lateness(folder.folder, OF_SLOT, moment.timestamp()), committed, ended


def until_counted(folder: Folder, query: str, moment: datetime) -> float:
    """Seconds from the moment until the query counts BURST."""
    connection = sqlite3.connect(folder.folder / "octospool.db")
    try:
        while time.time() < moment.timestamp() + 120:
            (found,) = connection.execute(query, (moment.timestamp(),)).fetchone()
            if found >= BURST:
                break
            time.sleep(0.02)
    finally:
        connection.close()
    return time.time() - moment.timestamp()


def measure(path: Path, minutes: float) -> list[str]:
    """Prints every figure; those that are not as they should be are returned."""
    bad = []
    ticks = tick_times(path)
    print(f"an idle tick: {figures_of(ticks)}", flush=True)
    if statistics.quantiles(ticks, n=100)[98] > TICK_MS:
        bad.append("tick")
    empty, load = start_seconds()
    print(f"start to ready, with an empty folder: {empty:.2f} s (load {load:.1f})", flush=True)
    folder = Folder(path)
    with started(folder) as seconds:
        print(f"start to ready: {seconds:.2f} s", flush=True)
        if seconds > empty + START_MORE_SECONDS:
            bad.append("start")
        late, missed = each_second(folder, minutes)
        print(
            f"each second for {minutes:g} minutes, lateness: {figures_of(late)}; missed: {missed}", flush=True
        )
        if missed or statistics.quantiles(late, n=100)[98] > LATE_MS:
            bad.append("each second")
        for which in ("flows that never ran", "the same flows again"):
            late, committed, ended = burst(folder)
            then = f"all committed after {committed:.2f} s, all ended after {ended:.1f} s"
            print(f"{BURST} at one moment, {which}, lateness: {figures_of(late)}; {then}", flush=True)
            if len(late) != BURST or max(statistics.quantiles(late, n=100)[98], committed * 1000) > BURST_MS:
                bad.append(f"burst of {which}")
    print(f"load at the end: {os.getloadavg()[0]:.1f}", flush=True)
    return bad


def main() -> int:
    """Fill, measure, clear up; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--schedules", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    path = Path(tempfile.mkdtemp(prefix="octospool-schedules-"))
    try:
        begun = time.perf_counter()
        fill(path, options.schedules)
        print(
            f"{options.schedules} schedules in {time.perf_counter() - begun:.0f} s, load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        bad = measure(path, options.minutes)
    finally:
        shutil.rmtree(path, ignore_errors=True)
    print("not reached: " + ", ".join(bad) if bad else "all figures reached")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
