"""Prints the dump of a store as it is when a daemon is killed with all its workers; see README.md here."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

FLOWS = {
    "ok.yml": """every_seconds: 3600
steps:
  - {name: a, type: jq, jq: {expression: '[range(3)]'}}
  - {name: b, type: set_fact, set_fact: {value: '{{ a }}'}}
""",
    "bad.yml": "steps:\n  - {name: a, type: jq, jq: {expression: '.a.b', data_key: nope}}\n",
    "loop.yml": """steps:
  - {name: items, type: jq, jq: {expression: '[range(5)]'}}
  - {name: each, type: flow_loop, flow_loop: {path: ok.yml, data_key: items}}
""",
    "out.yml": "steps:\n  - {name: e, type: exit, exit: {message: enough}}\n",
    "wait.yml": "steps:\n  - {name: w, type: sleep, sleep: {seconds: 86400}}\n",
    "long.yml": """concurrency: {on_conflict: queue}
steps:
  - {name: first, type: set_fact, set_fact: {value: 1}}
  - {name: w, type: sleep, sleep: {seconds: 1}}
  - {name: last, type: set_fact, set_fact: {value: '{{ first + 1 }}'}}
""",
}

CHILD = """
import sys, time
from pathlib import Path
from flow_processor.service import Service
from flow_processor.settings import Settings

service = Service(Settings.load({"DATA_PATH": sys.argv[1], "PATH": sys.argv[2]}))
service.start()
service.add_flow("ok.yml")
service.schedules.add("ok.yml", {"every_seconds": 3600}, name="hourly", data={"a": 1})
for flow in ("ok.yml", "bad.yml", "loop.yml", "out.yml"):
    service.wait_for_run(service.launch(flow).run_id, 20)
wait = service.launch("wait.yml").run_id
while service.run(wait).status != "waiting":
    time.sleep(0.05)
long = service.launch("long.yml").run_id
service.launch("long.yml")
while not any(step.path == "w" for step in service.run(long).steps):
    time.sleep(0.01)
print("ready", flush=True)
time.sleep(60)
"""


def main() -> None:
    """Make the folder, kill everything, dump the store."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in FLOWS.items():
            target = Path(folder) / "flows" / path
            target.parent.mkdir(exist_ok=True)
            target.write_text(text, encoding="utf-8")
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, folder, os.environ["PATH"]],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        workers = [
            int(lock.read_text().split('"pid": ')[1].split(",")[0].rstrip(" }\n\0")) for lock in locks(folder)
        ]
        for pid in (child.pid, *workers):
            os.kill(pid, signal.SIGKILL)
        child.communicate()
        time.sleep(0.5)
        connection = sqlite3.connect(Path(folder) / "octospool.db")
        sys.stdout.write("\n".join(connection.iterdump()) + "\n")
        connection.close()


def locks(folder: str) -> list[Path]:
    """The lock files of workers that have a run."""
    return [path for path in (Path(folder) / "workers").glob("*.lock") if '"pid"' in path.read_text()]


if __name__ == "__main__":
    main()
