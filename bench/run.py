"""Measures the product and a peer in one go, prints the table and keeps it in bench/RESULTS.md.

    make bench                      everything, about two minutes
    make bench ARGS="--quick"       fewer rounds; nothing is kept
    make bench ARGS="--no-peer"     without the peer

The product is a real daemon with its journal on disk and its workers in processes of their own. The peer,
ddeutil-workflow, runs in process and in memory, from a virtual environment of its own (.venv-peer).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import measures
from containers import container_steps
from daemon import ROOT, Daemon
from measures import CLIENTS, FLOWS, Figures

PEER_FOLDER = ROOT / ".venv-peer"
RESULTS = ROOT / "bench" / "RESULTS.md"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    figure: str
    """Name of the figure in the measures."""
    text: str
    unit: str
    target: float | None
    """None where nobody has promised anything."""
    higher_is_better: bool = False
    digits: int = 2

    def verdict(self, value: float) -> tuple[str, str]:
        """The target, and whether the value reaches it; both empty without a target."""
        if self.target is None:
            return "", ""
        is_met = value >= self.target if self.higher_is_better else value <= self.target
        bound = "≥" if self.higher_is_better else "≤"
        return f"{bound} {self.target:g} {self.unit}", "yes" if is_met else "**no**"


ROWS = (
    Row("per_step_ms", "jq step, journaled (1,000 in a run), launch to outcome", "ms", 0.25, digits=3),
    Row("step_in_run_ms", "the same by the run's own clock", "ms", None, digits=3),
    Row("long_to_short_ratio", "cost of a step in a run of 1,000, over in a run of 100", "x", 1.2),
    Row("needs_added_ms", "a step of 200 in a `needs` chain, more than in order", "ms", 0.3, digits=3),
    Row("ten_step_runs_per_second", f"10-step runs over HTTP, {CLIENTS} clients", "/s", 250, True, 0),
    Row("one_step_p50_ms", "launch to result, one step, p50", "ms", 8),
    Row("one_step_p99_ms", "launch to result, one step, p99", "ms", None),
    Row("loop_1000_seconds", "flow_loop over 1,000 items", "s", 0.6),
    Row("foreach_1000_seconds", "foreach, two steps for each of 1,000 elements", "s", None),
    Row("foreach_ratio", "cost of an element among 10,000, over among 1,000", "x", 1.3),
    Row(
        "container_step_ms",
        "docker step with a container of `true`, launch to outcome, p50",
        "ms",
        None,
        digits=0,
    ),
    Row("container_by_hand_ms", "the same by `docker run --rm` in turns with it, p50", "ms", None, digits=0),
    Row("container_added_ms", "what the step takes longer", "ms", 60, digits=0),
    Row("cold_start_seconds", "cold start to the first answer", "s", 1.2),
    Row("first_run_seconds", "cold start to the result of the first run", "s", None),
    Row("idle_pss_mb", "idle memory, all processes (PSS)", "MB", 120, digits=0),
    Row("idle_cpu_percent", "idle processor time, all processes", "%", 0.5),
)


def measure(*, quick: bool) -> Figures:
    """All figures of the product."""
    figures: Figures = {}
    figures |= measures.cold_start(2 if quick else 5)
    with Daemon(FLOWS) as daemon:
        client = daemon.client()
        client.run("steps1.yml", measures.PAYLOAD)
        figures |= measures.one_step_runs(client, 100 if quick else 400)
        figures |= measures.steps(client, 3 if quick else 9)
        figures |= measures.needs_chain(client, 5 if quick else 15)
        figures |= measures.loop(client, 2 if quick else 5)
        figures |= measures.foreach(client, 1 if quick else 3)
        figures |= measures.throughput(daemon, 3 if quick else 8)
        client.close()
    figures |= measures.idle(4 if quick else 20)
    figures |= container_steps(5 if quick else 30)
    return figures


def measure_peer() -> dict[str, float | str]:
    """The figures of the peer; its virtual environment is made when it is missing."""
    python = PEER_FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    stamp = PEER_FOLDER / ".installed"
    if not stamp.exists():
        print("installing the peer into .venv-peer …", flush=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([sys.executable, "-m", "venv", str(PEER_FOLDER)], check=True)
        subprocess.run([*pip, "-r", str(ROOT / "bench" / "requirements-peer.txt")], check=True)
        (PEER_FOLDER / ".gitignore").write_text("*\n", encoding="utf-8")
        stamp.touch()
    command = [str(python), str(ROOT / "bench" / "peer.py")]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float | str] = json.loads(answer.stdout.strip().splitlines()[-1])
    return figures


def table(figures: Figures, peer: dict[str, float | str]) -> str:
    """The table in Markdown. The ratio says how many times better than the peer the product is."""
    lines = [
        "| what | measured | target | met | peer | better than the peer |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for row in ROWS:
        if row.figure not in figures:
            continue
        value, other = figures[row.figure], peer.get(row.figure)
        cells = [row.text, f"{value:.{row.digits}f} {row.unit}", *row.verdict(value)]
        if isinstance(other, float):
            ratio = value / other if row.higher_is_better else other / value
            cells += [f"{other:.{row.digits}f} {row.unit}", f"{ratio:.2f} x"]
        else:
            cells += ["", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def machine() -> str:
    """What it was measured on, and how busy it was with other things meanwhile."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = f"{len(names)} x {names[0].partition(':')[2].strip()}" if names else cpu
    load = f", load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    return (
        f"{cpu}, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, jq.py {version('jq')}, fsync of 4 KB {measures.fsync_ms():.2f} ms{load}"
    )


def report(figures: Figures, peer: dict[str, float | str]) -> str:
    """The page that is kept."""
    from flow_processor.version import VERSION

    peer_text = "not measured"
    if peer:
        peer_text = (
            f"ddeutil-workflow {peer['version']}, in process and in memory: an echo stage with one template, "
            "its logging off"
        )
    return (
        "# Speed\n\n"
        "Written by `make bench`. Read the ratios first: absolute figures belong to the machine.\n\n"
        f"- when: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC\n"
        f"- machine: {machine()}\n"
        f"- product: Octospool {VERSION}, a daemon over HTTP, journal on disk, steps in worker processes\n"
        f"- peer: {peer_text}\n\n"
        f"{table(figures, peer)}\n"
    )


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Measure the product beside a peer.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; nothing is kept")
    parser.add_argument("--no-peer", action="store_true", help="leave the peer out")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    peer = {} if options.no_peer else measure_peer()
    text = report(measure(quick=options.quick), peer)
    print(text)
    if not options.quick:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
