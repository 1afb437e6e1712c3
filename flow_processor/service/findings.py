"""What `octospool doctor` looks for, in the store and in the data folder. Each thing found knows how it is repaired."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flow_processor.locks import LockFile
from flow_processor.result_files import ResultFiles, ResultLost
from flow_processor.service.parts import Parts
from flow_processor.service.placement import MARK
from flow_processor.service.restore import ASIDE, SCRATCH
from flow_processor.settings import Settings
from flow_processor.store import database_file
from flow_processor.store.checkup import Checkup, rebuild
from flow_processor.store.removals import remove_rest

LOW_SPACE_BYTES = 200 * 1024**2
SHOWN = 3
"""So many names a message shows."""

SETTLED_SECONDS = 60.0
"""Files that are younger may still be in somebody's hands."""

FREE_SHARE = 0.25
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")
_SCRATCH = (".octospool-backup-*", f"{ASIDE}/{SCRATCH}*")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    code: str
    """Stable."""
    message: str
    """What is wrong, and what to do where it cannot be repaired here."""
    repair: Callable[[], object] | None = None
    """Puts it right; None where only a person can."""


@dataclass(frozen=True)
class Patient:
    """A data folder that is looked at."""

    settings: Settings
    checkup: Checkup | None
    """The store; None if it is not there, damaged, or of another version."""
    in_use: bool
    """Is a daemon at work? Then what is under way is no finding."""

    def is_settled(self, path: Path) -> bool:
        """Can nobody have the file in hand any more?"""
        try:
            return not self.in_use or abs(time.time() - path.stat().st_mtime) > SETTLED_SECONDS
        except FileNotFoundError:
            return False

    def live(self, run_ids: Collection[str]) -> set[str]:
        """Those of these runs that have not ended; all of them where that cannot be told."""
        return set(run_ids) if self.checkup is None else self.checkup.live(run_ids)


def in_store(patient: Patient, checkup: Checkup) -> Iterator[Finding]:
    """Does everything in the store, and every result file, belong together? The store must be whole and current."""
    settings = patient.settings
    if lost := checkup.rows_without_run():
        message = f"{len(lost)} runs are gone but have rows left ({_shown(lost)})"
        yield Finding("rows_without_run", message, partial(_clear, settings, lost))
    if bare := checkup.runs_without_rows():
        message = f"{len(bare)} runs have ended, but no row says how ({_shown(bare)}); delete them, or restore a backup"
        yield Finding("run_without_rows", message)
    if broken := checkup.runs_with_broken_rows():
        message = (
            f"{len(broken)} runs have broken rows ({_shown(broken)}); delete the runs, or restore a backup"
        )
        yield Finding("broken_rows", message)
    if (count := checkup.removals()) and not patient.in_use:
        message = f"{count} deleted runs have something left; the daemon clears that up as it goes"
        yield Finding("removals_left", message, partial(_clear, settings, []))
    free, pages = checkup.pages()
    if free > pages * FREE_SHARE and pages > 1000 and not checkup.gives_space_back():
        message = (
            f"{free / pages:.0%} of the store's file are free, and it cannot shrink by itself: it was made by an "
            "older version"
        )
        yield Finding("store_wasteful", message, partial(_rebuild, settings))
    yield from _results(settings, checkup)


def _clear(settings: Settings, lost: list[str]) -> None:
    parts = Parts(settings)
    try:
        parts.store.writer.run(lambda connection: remove_rest(connection, lost))
        for step in parts.pruning.leftovers():
            parts.store.writer.run(step)
    finally:
        parts.store.close()


def _rebuild(settings: Settings) -> None:
    path = database_file(settings.database_url)
    assert path is not None  # noqa: S101  found of files only
    rebuild(path)


def _results(settings: Settings, checkup: Checkup) -> Iterator[Finding]:
    files = ResultFiles(settings.results_path)
    named: dict[str, set[str]] = {}
    for run_id, path, name in checkup.result_files():
        named.setdefault(run_id, set()).add(name)
        try:
            files.load(run_id, name)
        except (ResultLost, ValueError) as error:  # ValueError: a damaged row may name anything
            message = f"{error}, of step {path}; a backup may have it, else delete the run: DELETE /api/runs/{run_id}"
            yield Finding("result_lost", message)
    with_files = list(files.runs())
    live = checkup.live(with_files)
    for run_id in with_files:
        # A live run's file is there before its row is.
        spare = (
            []
            if run_id in live
            else [name for name in files.names(run_id) if name not in named.get(run_id, ())]
        )
        if spare:
            message = f"results/{run_id}: {len(spare)} files that no row names"
            yield Finding(
                "result_without_row", message, partial(_delete, settings.results_path / run_id, spare)
            )


def _delete(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def in_folder(patient: Patient) -> Iterator[Finding]:
    """Is there something that nobody needs any more, or that somebody should have taken?"""
    settings = patient.settings
    if (settings.data_path / MARK).exists():
        message = "a restore was broken off; run it again: octospool restore FILE --force"
        yield Finding("restore_unfinished", message)
    free = shutil.disk_usage(settings.data_path).free
    if free < LOW_SPACE_BYTES:
        yield Finding("disk_low", f"only {free / 1e6:.0f} MB are free on the disk of {settings.data_path}")
    yield from _locks(patient)
    yield from _workers(patient)
    yield from _handovers(patient)
    yield from _unknown(patient)
    yield from _temporary(patient)


def _locks(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    for path in sorted(settings.lock_path.rglob("*.lock")):
        name = path.relative_to(settings.lock_path).as_posix()
        if path.is_symlink() or not path.is_file():
            yield Finding("lock_invalid", f"locks/{name} is no lock file; remove it by hand")
        elif patient.is_settled(path) and not LockFile(path).is_taken():
            message = f"locks/{name} was left by a process that is dead"
            yield Finding("stale_lock", message, partial(_remove_lock, path))


def _remove_lock(path: Path) -> None:
    lock = LockFile(path)
    if lock.take(create=False):
        lock.free(unlink=True)


def _workers(patient: Patient) -> Iterator[Finding]:
    folder = patient.settings.data_path / "workers"
    dead = [path for path in sorted(folder.glob("*.lock")) if not LockFile(path).is_taken()]
    run_of = {path: str(LockFile(path).content().get("run_id", "")) for path in dead}
    # Of a live run it tells the next daemon that the worker died with it.
    live = patient.live(set(run_of.values()))
    for path, run_id in run_of.items():
        if run_id not in live and patient.is_settled(path):
            message = f"workers/{path.name} was left by a worker that is dead"
            yield Finding("dead_worker", message, partial(_remove_lock, path))


def _handovers(patient: Patient) -> Iterator[Finding]:
    for path in sorted((patient.settings.data_path / "handover").glob("*")):
        if not patient.is_settled(path) or _TEMPORARY.fullmatch(path.name):
            continue
        name, run_id = f"handover/{path.name}", path.name.split(".")[0]
        if patient.checkup is not None and not patient.checkup.known([run_id]):
            message = f"{name} is of a run that is gone"
            yield Finding("handover_of_no_run", message, partial(path.unlink, missing_ok=True))
        elif path.suffix == ".rejected":
            message = (
                f"{name} holds rows that the store did not take: compare it with "
                f"'octospool runs show {run_id}', then delete it"
            )
            yield Finding("handover_rejected", message)
        elif patient.in_use:
            # Without a daemon it is as it should be: the next one takes it in.
            yield Finding("handover_left", f"{name} was not taken in; restart the daemon")


def _unknown(patient: Patient) -> Iterator[Finding]:
    folder = patient.settings.results_path
    files = ResultFiles(folder)
    runs = set(files.runs())
    found = [path for path in sorted(folder.glob("*")) if path.name not in runs]
    for run_id in sorted(runs):
        names = files.names(run_id)
        found += [path for path in sorted((folder / run_id).glob("*")) if path.name not in names]
    for path in found:
        if not _TEMPORARY.fullmatch(path.name):
            message = f"{path} is nothing that octospool has put there; look at it, then remove it"
            yield Finding("unknown_file", message)


def _temporary(patient: Patient) -> Iterator[Finding]:
    settings = patient.settings
    roots = {settings.data_path, settings.flows_path, settings.templates_path, settings.lock_path}
    roots = {
        root for root in roots if not any(root != other and root.is_relative_to(other) for other in roots)
    }
    found = [
        path
        for root in sorted(roots)
        for path in sorted(root.rglob(".*.tmp"))
        if _TEMPORARY.fullmatch(path.name) and not path.is_symlink() and path.is_file()
    ]
    found += [path for pattern in _SCRATCH for path in sorted(settings.data_path.glob(pattern))]
    for path in found:
        if patient.is_settled(path):
            message = f"{path} was left by a write that was broken off"
            repair = partial(shutil.rmtree, path) if path.is_dir() else partial(path.unlink, missing_ok=True)
            yield Finding("leftover_file", message, repair)


def _shown(names: list[str]) -> str:
    more = f", … {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
