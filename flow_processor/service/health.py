"""What readiness looks at."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import timedelta
from pathlib import Path

from flow_processor.clock import Clock
from flow_processor.engine.local import LocalEngine
from flow_processor.engine.pool import WorkerPool
from flow_processor.errors import OctospoolError, ShuttingDown, StoreUnavailable
from flow_processor.scheduling.flow_scheduler import FlowScheduler
from flow_processor.service.launcher import Launcher
from flow_processor.service.lost_runs import LostRuns, told_of
from flow_processor.service.views import Check
from flow_processor.store import Store

MAX_SCHEDULER_SILENCE_SECONDS = 10.0
"""A scheduler that has not looked at the clock for so long is not well."""

STORE_CHECK_SECONDS = 5.0
"""How long readiness waits for a commit."""


def check_accepting(launcher: Launcher) -> Check:
    """Does it take new runs? Once it stops a load balancer must ask somebody else."""
    try:
        launcher.check_open()
    except ShuttingDown as stopping:
        return Check(name="accepting", ok=False, message=stopping.message)
    return Check(name="accepting", ok=True, message="takes new runs")


def check_store(store: Store) -> Check:
    """Can something be committed?"""
    try:
        store.check(STORE_CHECK_SECONDS)
    except FutureTimeoutError:
        return Check(name="store", ok=False, message=f"no commit within {STORE_CHECK_SECONDS:g} s")
    except StoreUnavailable as error:
        return Check(name="store", ok=False, message=error.message)
    return Check(name="store", ok=True, message="writable")


def check_folders(*folders: Path) -> Check:
    """Can a file be made there, and reach the disk? A launch makes a lock file, a step its results."""
    for folder in folders:
        probe = folder / f".probe-{secrets.token_hex(4)}"
        try:
            with probe.open("xb") as file:
                file.write(b"octospool")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            message = f"no file can be written in {folder}: {error.strerror or error}"
            return Check(name="data", ok=False, message=message)
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)
    return Check(name="data", ok=True, message="writable")


def check_scheduler(scheduler: FlowScheduler, clock: Clock) -> Check:
    """Does it look at the clock?"""
    last = scheduler.last_tick_at
    if last is None:
        return Check(name="scheduler", ok=False, message="has not looked at the clock yet")
    silence = clock.now() - last
    ok = abs(silence) < timedelta(seconds=MAX_SCHEDULER_SILENCE_SECONDS)
    return Check(name="scheduler", ok=ok, message=f"looked at the clock {silence.total_seconds():.1f} s ago")


def check_workers(pool: WorkerPool, engine: LocalEngine) -> Check:
    """Do workers answer?"""
    problem = pool.problem()
    busy, queued = engine.counts()
    counts = (
        f"{busy} runs under way, {queued} queued for a worker, {engine.parked_count()} waiting without one"
    )
    message = problem or counts
    return Check(name="workers", ok=problem is None, message=message)


def check_runs(lost: LostRuns) -> Check:
    """Is every run that is under way in somebody's hands?"""
    message = "; ".join(told_of(run_id) for run_id in sorted(lost.found)) or "all in somebody's hands"
    return Check(name="runs", ok=not lost.found, message=message)


def looked_at(name: str, look: Callable[[], Check]) -> Check:
    """What `look` says; where it needs what cannot be read now, that."""
    try:
        return look()
    except OctospoolError as error:
        return Check(name=name, ok=False, message=f"cannot be looked at: {error.message}")


def check_told(name: str, problems: Callable[[], Sequence[str]], *, well: str) -> Check:
    """What is told, but does not count for readiness; `well` is said where there is no problem."""

    def look() -> Check:
        found = problems()
        return Check(name=name, ok=not found, message="; ".join(found) or well)

    return looked_at(name, look)


def check_queues(stuck: Sequence[str], paused: Collection[str]) -> Check:
    """Are queues worked off, as far as nobody has paused them?"""
    standing = [f"'{queue}' is paused" for queue in sorted(paused)]
    message = "; ".join([*stuck, *standing]) or "all are worked off"
    return Check(name="queues", ok=not stuck, message=message)
