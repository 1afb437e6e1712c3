"""What must hold of a data folder whatever was killed, and whenever: checked from outside, in the files themselves.

Nothing of the product is asked here but two things that are facts of their own: the pure fold of a journal, and
whether the kernel says that a lock is held.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flow_processor.journal import DISPATCH_SPAN, from_wire
from flow_processor.locks import LockFile
from flow_processor.run import RUN_ID_PATTERN
from flow_processor.run_state import RunState, fold
from tests.acceptance.found import Found, Row, RunFacts, read

if TYPE_CHECKING:  # it is Unix's
    from tests.docker_engine import DockerEngine

TERMINAL = {"succeeded", "failed", "exited", "cancelled", "interrupted", "skipped"}
KEPT_FROM_ANOTHER_RUN = {"succeeded", "failed", "skipped"}


def check(
    data: Path,
    *,
    accepted: Iterable[str],
    posts: Mapping[str, int] | None = None,
    calls: Mapping[str, int] | None = None,
    waiting: Iterable[str] = (),
    deleted: Iterable[str] = (),
    engine: DockerEngine | None = None,
) -> Found:
    """Everything that must hold of a stopped (or idle) daemon's data folder.

    `accepted` are the ids that a 202 has named, `deleted` those of them that somebody has deleted since. Runs may
    only wait if they are in `waiting`. `posts` says how often a server was called: by the run's id, and whatever
    stands behind it after a `/`. Each of these calls is made once. `calls` says how many different ones a run that
    succeeded must have made, by its flow; 1 where it does not say. `engine` is where its containers were.
    """
    found = read(data)
    gone, may_wait = set(deleted), set(waiting)
    lost = set(accepted) - set(found.runs) - gone
    assert not lost, f"accepted and not in history: {sorted(lost)}"
    back = gone & set(found.runs)
    assert not back, f"deleted and still there: {sorted(back)}"
    for run_id, run in found.runs.items():
        check_run(run, found.journals.get(run_id, []), may_wait=run_id in may_wait)
    check_leftovers(found)
    if posts is not None:
        check_posts(found, posts, calls or {})
    check_folder(data, waiting={run_id for run_id, status in found.statuses.items() if status == "waiting"})
    check_results(data / "results", found)
    if engine is not None:
        check_containers(engine, found)
    return found


def check_run(run: RunFacts, rows: list[Row], *, may_wait: bool) -> None:
    """One run: it has ended, once, and its journal says the same; or it waits, and may."""
    assert RUN_ID_PATTERN.fullmatch(run.id)
    if run.status == "skipped":
        assert rows == [], f"{run.id} was skipped and has a journal"
        return
    state = fold(from_wire(row) for row in rows)
    if run.status == "waiting" and may_wait:
        check_waiting(run, state, rows)
        return
    assert run.status in TERMINAL, f"{run.id} of {run.flow} is still {run.status}"
    check_ends(run, rows)
    assert state.status == run.status, f"{run.id} is {run.status}, its journal folds to {state.status}"
    assert run.ended_at is not None, f"{run.id} has ended and does not say when"
    if run.status == "succeeded":
        check_nothing_cut(run, state)
    assert state.retry_of == run.retry_of, (
        f"{run.id} tries {run.retry_of} again, its journal {state.retry_of}"
    )
    outcomes = Counter((row[1], row[2]) for row in rows if row[1] and row[3] == "succeeded")
    twice = {key: times for key, times in outcomes.items() if times > 1}
    assert not twice, f"{run.id}: attempts that succeeded more than once: {twice}"
    check_signals(run, state)
    check_kept(run, rows)
    if run.status == "interrupted" and run.error.get("code") == "interrupted":
        check_doubt(run, state)


def check_nothing_cut(run: RunFacts, state: RunState) -> None:
    """A run that succeeded has the outcome of each step, but for what a failure of the step around it has cut off."""
    failed = [step.path for step in state.steps if step.status in ("failed", "ignored")]
    around = tuple(f"{path}{sign}" for path in failed for sign in "/[")
    cut = [step.path for step in state.steps if step.status in ("cancelled", "interrupted")]
    lost = [path for path in cut if not path.startswith(around)]
    assert not lost, f"{run.id} has succeeded, and of these steps nobody knows how they ended: {lost}"


def check_ends(run: RunFacts, rows: list[Row]) -> None:
    """It ended once; each end before the last one was `interrupted`, and a person let it go on."""
    said = [(row[3], json.loads(row[5]).get("status")) for row in rows if row[3] in ("ended", "resumed")]
    expected = [("ended", "interrupted"), ("resumed", None)] * (len(said) // 2) + [("ended", run.status)]
    assert said == expected, f"{run.id} is {run.status}, its journal ends with {said}"


def check_waiting(run: RunFacts, state: RunState, rows: list[Row]) -> None:
    """A run that waits has no end and no worker, and goes on when its journal says (or earlier, when woken)."""
    assert state.status is None, f"{run.id} waits, its journal has ended: {state.status}"
    assert state.is_parked, f"{run.id} waits, its journal says that it has a worker"
    is_woken = any(row[3] in ("signalled", "cancel_requested") for row in rows)
    assert is_woken or run.wake_at == state.wake_at, (
        f"{run.id} wakes {run.wake_at}, by its journal {state.wake_at}"
    )
    check_signals(run, state)


def check_signals(run: RunFacts, state: RunState) -> None:
    """Each signal was taken by one step at most, and what was taken had been sent."""
    taken = [step.signal for step in state.steps if step.signal is not None]
    assert len(taken) == len(set(taken)), f"{run.id}: a signal was taken more than once: {taken}"
    sent = {signal.seq for signal in state.signals}
    assert set(taken) <= sent, f"{run.id}: signals were taken that nobody sent: {taken}"


def check_kept(run: RunFacts, rows: list[Row]) -> None:
    """What a run has from the one that it tries again: outcomes only."""
    kept = [row for row in rows if 0 < row[0] < DISPATCH_SPAN and row[1]]
    assert run.retry_of is not None or not kept, f"{run.id} keeps rows and tries no run again: {kept}"
    others = {row[3] for row in kept} - KEPT_FROM_ANOTHER_RUN
    assert not others, f"{run.id} keeps rows of another run that are no outcomes: {others}"


def check_doubt(run: RunFacts, state: RunState) -> None:
    """It is interrupted because of a step that must not run twice and whose outcome is not known; it names it."""
    named = [step for step in state.steps if step.path == run.error.get("step")]
    assert named, f"{run.id} is interrupted and names no step of its own: {run.error}"
    assert named[-1].once, f"{run.id} is interrupted by {named[-1].path}, which may run twice"
    assert named[-1].status == "interrupted", f"{run.id} is interrupted though the outcome of a step is known"


def check_leftovers(found: Found) -> None:
    """Nothing is left of what is gone, and each slot was taken once."""
    assert not found.removals, f"deleted, and never cleared up: {sorted(found.removals)}"
    orphaned = (set(found.journals) | found.logged) - set(found.runs)
    assert not orphaned, f"journals or logs without a run: {sorted(orphaned)}"
    assert not found.slots_taken_twice, f"slots that were taken twice: {found.slots_taken_twice}"


def check_posts(found: Found, posts: Mapping[str, int], calls: Mapping[str, int]) -> None:
    """No call without a run, none twice unless a person said so, and none missing where the run has succeeded."""
    made = Counter(key.partition("/")[0] for key in posts)
    strangers = set(made) - set(found.runs)
    assert not strangers, f"calls of runs that history does not know: {sorted(strangers)}"
    said = {run_id: _said(found.journals.get(run_id, [])) for run_id in found.runs}
    twice = {key: times for key, times in posts.items() if times > 1 + said[key.partition("/")[0]]["rerun"]}
    assert not twice, f"called more than once: {twice}"
    for run_id, run in found.runs.items():
        is_told_otherwise = said[run_id]["skip"] or said[run_id]["value"] or run.retry_of is not None
        if run.status == "succeeded" and not is_told_otherwise:
            expected = calls.get(run.flow, 1)
            assert made[run_id] == expected, f"{run_id} of {run.flow} succeeded with {made[run_id]} calls"


def _said(rows: list[Row]) -> Counter[str]:
    """What people said is to become of steps in doubt: how often rerun, skip, value."""
    return Counter(json.loads(row[5]).get("mode") or "" for row in rows if row[3] == "resumed")


def check_folder(data: Path, *, waiting: Iterable[str] = ()) -> None:
    """No lock but those of runs that wait, no trace of a dead worker, no handover, no temporary file."""
    locks = list((data / "locks").rglob("*.lock"))
    contents = {path.name: set(LockFile(path).content().get("run_ids", [])) for path in locks}
    ownerless = {name: ids for name, ids in contents.items() if not ids or ids - set(waiting)}
    assert not ownerless, f"locks without a run: {ownerless}"
    free = [LockFile(path) for path in (data / "workers").glob("*.lock") if not LockFile(path).is_taken()]
    dead = [lock.path.name for lock in free if "run_id" in lock.content()]
    assert not dead, f"lock files of workers that died with a run: {dead}"
    handovers = [path.name for path in (data / "handover").iterdir()]
    assert not handovers, f"handover files that nobody took: {handovers}"
    temporary = [str(path.relative_to(data)) for path in data.rglob("*.tmp")]
    assert not temporary, f"temporary files: {temporary}"
    for path in data.glob("*.json"):
        json.loads(path.read_text())


def check_results(folder: Path, found: Found) -> None:
    """Every file that a journal names is there and whole, and no run that is gone has any."""
    there = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    strangers = set(there) - set(found.runs)
    assert not strangers, f"result folders without a run: {sorted(strangers)}"
    for run_id, names in found.result_files().items():
        for name in names:
            content = (there[run_id] / name).read_bytes()
            assert name.startswith(hashlib.sha256(content).hexdigest()[:32]), f"{run_id}/{name} was changed"


def check_containers(engine: DockerEngine, found: Found) -> None:
    """No container of a run that has ended. (Those of other folders' runs in the same engine are not looked at.)"""
    ended = {run_id for run_id, status in found.statuses.items() if status in TERMINAL}
    left = {run_id: names for run_id in ended if (names := engine.containers(f"octospool.run={run_id}"))}
    assert not left, f"containers of runs that have ended: {left}"
