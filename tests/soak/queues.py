"""10,000 items and 1,000 files under kills of the daemon, and of the broker: one run for each listener, never two."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import requests

from tests.acceptance.daemon_process import TOKEN, DaemonProcess
from tests.acceptance.kills import pass_time
from tests.engine.world import until
from tests.queues.broker import OwnBroker, own_broker
from tests.soak.figures import Part

ITEMS = 10_000
FILES = 1000
KILLS = 20
BROKER_KILLS = 3
LONGEST_LIFE = 3.0
"""How long the daemon lives at most once it listens, in seconds."""
DRAIN_SECONDS = 1800.0

LISTENERS = ("first.yml", "second.yml")
WATCHER = "files.yml"
FLOW = """on: {starts}
concurrency: {{on_conflict: parallel}}
steps:
  - {{name: number, type: set_fact, set_fact: {{value: 1}}}}
  - {{name: more, type: jq, jq: {{expression: '.number + 1'}}}}
"""
CONFIG = f"queues: {{defaults: {{max_items: {2 * ITEMS}}}}}\n"


def soak(folder: Path, *, seed: int, has_broker: bool) -> Part:
    """The row of figures."""
    with ExitStack() as stack:
        broker = stack.enter_context(own_broker()) if has_broker else None
        variables = {} if broker is None else {"broker_url": broker.broker.url}
        daemon = DaemonProcess(folder / "data", max_workers=4, **variables)
        stack.callback(daemon.end)
        for listener in LISTENERS:
            daemon.write(listener, FLOW.format(starts="{queue: orders}"))
        daemon.write(
            WATCHER, FLOW.format(starts='{files: {path: "input/*.json", settle_seconds: 0, after: move}}')
        )
        (daemon.data / "config.yml").write_text(CONFIG, encoding="utf-8")
        (daemon.data / "input").mkdir()
        began = time.monotonic()
        put = _put_by_api if has_broker else _drop
        _kill_under_load(daemon, broker, put, random.Random(seed))
        until(
            lambda: _ended(daemon) >= 2 * ITEMS + FILES,
            "all items have had their runs",
            seconds=DRAIN_SECONDS,
        )
        seconds = time.monotonic() - began
        moved = daemon.data / "input" / "done"
        until(lambda: len(list(moved.glob("*.json"))) == FILES, "all files are moved", seconds=60)
        daemon.settle(seconds=120)
        _check(daemon.data)
    shutil.rmtree(folder)
    kills = f"{KILLS} kills of the daemon" + (f" and {BROKER_KILLS} of the broker" if has_broker else "")
    figure = f"{2 * ITEMS + FILES} runs in {seconds:.0f} s; 0 missing, 0 twice, 0 files left"
    what = f"{ITEMS} items {'of RabbitMQ' if has_broker else 'of a spool folder'} for 2 flows, {FILES} files, {kills}"
    return Part("others", [what, figure, "each item once for each flow"])


def _kill_under_load(
    daemon: DaemonProcess,
    broker: OwnBroker | None,
    put: Callable[[DaemonProcess, int, int], None],
    moments: random.Random,
) -> None:
    """Put items and files in as many parts as there are kills, and kill after each."""
    broker_kills = set(moments.sample(range(KILLS), BROKER_KILLS))
    daemon.start()
    for kill in range(KILLS):
        put(daemon, kill * ITEMS // KILLS, (kill + 1) * ITEMS // KILLS)
        for number in range(kill * FILES // KILLS, (kill + 1) * FILES // KILLS):
            (daemon.data / "input" / f"{number}.json").write_text(str(number), encoding="utf-8")
        pass_time(moments.uniform(0.0, LONGEST_LIFE))
        if broker is not None and kill in broker_kills:
            broker.kill()
            pass_time(moments.uniform(0.0, LONGEST_LIFE))
            broker.start()
            pass_time(moments.uniform(0.0, LONGEST_LIFE))
        if moments.random() < 0.5:
            daemon.kill()
        else:
            daemon.kill_with_workers()
        daemon.start()
        print(f"  {kill + 1} kills, {_ended(daemon)} runs have ended", flush=True)


def _drop(daemon: DaemonProcess, begin: int, end: int) -> None:
    """Drop items into the queue's folder."""
    folder = daemon.data / "spool" / "orders"
    until((folder / "new").is_dir, "the queue's folder is there")
    for number in range(begin, end):
        (folder / f".{number}").write_text(str(number), encoding="utf-8")
        (folder / f".{number}").rename(folder / "new" / f"{number}.json")


def _put_by_api(daemon: DaemonProcess, begin: int, end: int) -> None:
    """Put items on the queue, again under the same key where it is not known whether they are there."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": f"{begin}-{end}"}
    body = {"items": list(range(begin, end))}

    def is_taken() -> bool:
        try:
            answer = requests.post(f"{daemon.url}/api/queues/orders", json=body, headers=headers, timeout=60)
        except requests.RequestException:
            return False
        return answer.status_code == 202

    until(is_taken, "the items are taken")


def _ended(daemon: DaemonProcess) -> int:
    query = "SELECT count(*) FROM runs WHERE status IN ('succeeded', 'failed', 'interrupted')"
    with closing(sqlite3.connect(daemon.data / "octospool.db", timeout=30)) as connection:
        return int(connection.execute(query).fetchone()[0])


def _check(data: Path) -> None:
    """Raises AssertionError."""
    with closing(sqlite3.connect(data / "octospool.db")) as connection:
        rows = connection.execute("SELECT flow, status, input FROM runs").fetchall()
        open_rows = connection.execute("SELECT count(*) FROM items WHERE state NOT IN ('done')").fetchone()[0]
    assert {status for _, status, _ in rows} == {"succeeded"}, Counter(status for _, status, _ in rows)
    for listener in LISTENERS:
        counted = Counter(json.loads(given) for flow, _, given in rows if flow == listener)
        wrong = [number for number in range(ITEMS) if counted[number] != 1]
        assert not wrong, f"{listener}: {len(wrong)} items had no run or two: {wrong[:10]}"
    files = Counter(json.loads(given)["name"] for flow, _, given in rows if flow == WATCHER)
    wrong_files = [number for number in range(FILES) if files[f"{number}.json"] != 1]
    assert not wrong_files, f"files had no run or two: {wrong_files[:10]}"
    assert open_rows == 0, f"{open_rows} items have not ended in the ledger"
    left = [path.name for path in (data / "input").iterdir() if path.is_file()]
    assert not left, f"files were not moved: {left[:10]}"
    for state in ("new", "processing"):
        waiting = list((data / "spool" / "orders" / state).glob("*"))
        assert not waiting, f"items are left in {state}/: {waiting[:10]}"
