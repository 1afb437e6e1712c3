"""What is measured: each function starts what it needs and gives back named figures."""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from http.client import HTTPException
from pathlib import Path

from daemon import BenchFailed, Client, Daemon
from processes import cpu_seconds, pss_megabytes

Figures = dict[str, float]

CLIENTS = 8
STEP = "  - {{name: s{number}, type: jq, jq: {{expression: .n + 1, data_key: __input__}}}}\n"
PARALLEL = "concurrency: {on_conflict: parallel}\n"


def flow_of(steps: int) -> str:
    """A flow of so many jq steps; any number of its runs may go on side by side."""
    return PARALLEL + "steps:\n" + "".join(STEP.format(number=number) for number in range(steps))


def chain_of(steps: int) -> str:
    """The same steps, each of which needs the one before."""
    step = STEP.replace("}}}}\n", "}}, needs: [{needs}]}}\n")
    return f"{PARALLEL}steps:\n" + "".join(
        step.format(number=number, needs=f"s{number - 1}" if number else "") for number in range(steps)
    )


LOOP = "steps:\n  - {name: loop, type: flow_loop, flow_loop: {path: item.yml, data_key: __input__}}\n"
ITEM = "steps:\n  - {name: one, type: jq, jq: {expression: .n + 1, data_key: __input__}}\n"
FOREACH = """concurrency: {on_conflict: parallel}
steps:
  - name: loop
    type: foreach
    foreach:
      data_key: __input__
      collect: text
      steps:
        - {name: double, type: jq, jq: {data_key: item, expression: . * 2}}
        - {name: text, type: set_fact, set_fact: {value: "n{{ double }}"}}
"""

FLOWS = {
    "steps1.yml": flow_of(1),
    "steps10.yml": flow_of(10),
    "steps100.yml": flow_of(100),
    "steps1000.yml": flow_of(1000),
    "order200.yml": flow_of(200),
    "chain200.yml": chain_of(200),
    "loop.yml": LOOP,
    "foreach.yml": FOREACH,
    "item.yml": ITEM,
}
PAYLOAD = {"n": 7}


def timed(client: Client, flow: str, data: object = PAYLOAD) -> float:
    """Seconds from the call to the outcome of one run."""
    begun = time.perf_counter()
    client.run(flow, data)
    return time.perf_counter() - begun


def cold_start(rounds: int) -> Figures:
    """Process start to the first answer, and to the first outcome; each time with an empty data folder."""
    healthy, first_run = [], []
    for _ in range(rounds):
        with Daemon(FLOWS) as daemon:
            healthy.append(daemon.seconds_to_health)
            daemon.client().run("steps1.yml", PAYLOAD)
            first_run.append(time.perf_counter() - daemon.begun)
    return {
        "cold_start_seconds": statistics.median(healthy),
        "first_run_seconds": statistics.median(first_run),
    }


def idle(seconds: float) -> Figures:
    """Memory and processor time of all processes while nothing happens, after one run and a short rest."""
    if not Path("/proc/self/smaps_rollup").exists():
        return {}
    with Daemon(FLOWS) as daemon:
        daemon.client().run("steps1.yml", PAYLOAD)
        time.sleep(3)
        before = cpu_seconds(daemon.process.pid)
        time.sleep(seconds)
        used = cpu_seconds(daemon.process.pid) - before
        return {"idle_pss_mb": pss_megabytes(daemon.process.pid), "idle_cpu_percent": used / seconds * 100}


def steps(client: Client, rounds: int) -> Figures:
    """Cost of a journaled jq step, in long runs and in short ones in turns.

    `per_step_ms` is what a caller sees: from the launch until the durable outcome of all steps is in hand;
    `step_in_run_ms` is by the run's own clock. What a run of one step costs is taken off first.
    """
    sizes = {1: "steps1.yml", 100: "steps100.yml", 1000: "steps1000.yml"}
    walls: dict[int, list[float]] = {size: [] for size in sizes}
    clocks: dict[int, list[float]] = {size: [] for size in sizes}
    for size in sizes:
        client.run(sizes[size], PAYLOAD)
    for _ in range(rounds):
        for size, times in ((1, 10), (100, 5), (1000, 1)):
            for _ in range(times):
                begun = time.perf_counter()
                outcome = client.run(sizes[size], PAYLOAD)
                walls[size].append(time.perf_counter() - begun)
                clocks[size].append(float(outcome["duration_seconds"]))

    def per_step(seconds: dict[int, list[float]], size: int) -> float:
        return (statistics.median(seconds[size]) - statistics.median(seconds[1])) / (size - 1)

    return {
        "per_step_ms": per_step(walls, 1000) * 1000,
        "step_in_run_ms": per_step(clocks, 1000) * 1000,
        "long_to_short_ratio": per_step(walls, 1000) / per_step(walls, 100),
    }


def needs_chain(client: Client, rounds: int) -> Figures:
    """What a step costs more where 200 of them run by `needs`, each the one before, than in order; in turns."""
    seconds: dict[str, list[float]] = {"order200.yml": [], "chain200.yml": []}
    for flow in seconds:
        client.run(flow, PAYLOAD)
    for _ in range(rounds):
        for flow, taken in seconds.items():
            taken.append(timed(client, flow))
    in_order, in_chain = (statistics.median(taken) for taken in seconds.values())
    return {"needs_added_ms": (in_chain - in_order) / 200 * 1000}


def one_step_runs(client: Client, count: int) -> Figures:
    """Call to outcome of one-step runs, one after the other."""
    seconds = [timed(client, "steps1.yml") for _ in range(count)]
    return {
        "one_step_p50_ms": statistics.median(seconds) * 1000,
        "one_step_p99_ms": statistics.quantiles(seconds, n=100)[98] * 1000,
    }


def loop(client: Client, rounds: int) -> Figures:
    """One run that runs a sub-flow for each of 1,000 items."""
    items = [{"n": number} for number in range(1000)]
    return {"loop_1000_seconds": statistics.median(timed(client, "loop.yml", items) for _ in range(rounds))}


def foreach(client: Client, rounds: int) -> Figures:
    """One run with two steps for each of 1,000 and of 10,000 elements; what a run of one element costs is taken off."""
    seconds: dict[int, list[float]] = {1: [], 1000: [], 10_000: []}
    for _ in range(rounds):
        for size, times in seconds.items():
            times.append(timed(client, "foreach.yml", list(range(size))))
    one, small, large = (statistics.median(times) for times in seconds.values())
    return {
        "foreach_1000_seconds": small,
        "foreach_ratio": ((large - one) / 9_999) / ((small - one) / 999),
    }


def throughput(daemon: Daemon, seconds: float) -> Figures:
    """Ten-step runs a second over HTTP, from eight clients that each wait for the outcome."""
    counts = [0] * CLIENTS
    failures: list[Exception] = []
    go, end = threading.Event(), threading.Event()

    def work(number: int) -> None:
        client = daemon.client()
        try:
            client.run("steps10.yml", PAYLOAD)
            go.wait()
            while not end.is_set():
                client.run("steps10.yml", PAYLOAD)
                counts[number] += 1
        except (BenchFailed, OSError, HTTPException) as failure:
            failures.append(failure)
        client.close()

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(2)  # every worker has been started and is warm
    go.set()
    begun = time.perf_counter()
    time.sleep(seconds)
    end.set()
    total, elapsed = sum(counts), time.perf_counter() - begun
    for thread in threads:
        thread.join(120)
    if failures or not all(counts):
        raise BenchFailed(f"runs of the clients: {counts}; failures: {failures}")
    return {"ten_step_runs_per_second": total / elapsed}


def fsync_ms() -> float:
    """Median of writing 4 KB durably on the disk that is measured on: what every accepted run must pay."""
    seconds = []
    with tempfile.TemporaryFile() as file:
        for _ in range(200):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds) * 1000
