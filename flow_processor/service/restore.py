"""`octospool restore`: first the whole backup is unpacked beside the data and checked, then it takes its place.

Nothing that is there is deleted: it is moved to a folder in `before-restore/`. While names change, a file
`restore-unfinished` stands in the data folder; a daemon does not start on such a folder, and `restore` goes over it
once more.
"""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flow_processor.clock import Clock, to_text
from flow_processor.engine.losses import error_record
from flow_processor.errors import Conflict, DataFolderInUse, DiskFull, Unavailable
from flow_processor.locks import DataFolderLock, LockFile
from flow_processor.run import RunStatus
from flow_processor.service.archive import CONFIG, DEFAULTS, SECRETS, STORE, Manifest, read_whole
from flow_processor.service.placement import (
    MARK,
    RestoreFailed,
    is_there,
    places_of,
    put_in_place,
    refuse_unwritable,
    set_mark,
)
from flow_processor.settings import Settings
from flow_processor.store import Connection, Store, database_file
from flow_processor.store.daemon_rows import end_run

ASIDE = "before-restore"
"""The folder for what a restore takes away, and for what it unpacks. No step may reach it: secrets may be in it."""
SCRATCH = ".unpacked-"


class RestoreRefused(Conflict):
    """There is something in the data folder that a restore would replace."""

    code = "restore_refused"


class RestoreUnfinished(Unavailable):
    """A restore was broken off in the middle, so the data folder is neither the old one nor the new one."""

    code = "restore_unfinished"


@dataclass(frozen=True)
class Restored:
    """What was done."""

    created_at: str
    """When the backup was made."""
    runs: int
    files: int
    secrets: bool
    """Was secrets.yml in it?"""
    left_out: tuple[str, ...]
    """Files that the backup could not take."""
    interrupted: tuple[str, ...]
    """Runs that had not ended when the backup was made."""
    aside: Path | None
    """The folder with what was there before; None if there was nothing."""


def refuse_unfinished(settings: Settings) -> None:
    """Raises RestoreUnfinished where a restore was broken off."""
    if (settings.data_path / MARK).exists():
        raise RestoreUnfinished(
            f"a restore of {settings.data_path} was broken off; run it again: octospool restore FILE --force"
        )


def restore_backup(settings: Settings, source: Path, *, force: bool, clock: Clock) -> Restored:
    """Put a backup in place. Nothing is changed before all of it is known to be right.

    Raises DataFolderInUse, RestoreRefused unless `force`, BackupInvalid, StoreUnavailable, DiskFull, RestoreFailed;
    RestoreUnfinished where it breaks off in the middle.
    """
    if database_file(settings.database_url) is None:
        raise RestoreRefused(
            "the store is on PostgreSQL, whose own tools put a dump back (pg_restore); see docs/postgresql.md",
            code="store_on_server",
        )
    folder = DataFolderLock(settings.data_path, clock=clock)
    with _before_anything_changes(settings):
        settings.data_path.mkdir(parents=True, exist_ok=True)
        folder.acquire("restore", detail={})
    try:
        _refuse_orphans(settings)
        return _restore(settings, source, force=force, clock=clock)
    finally:
        with contextlib.suppress(OSError):
            (settings.data_path / ASIDE).rmdir()  # if nothing is in it
        folder.release()


def _restore(settings: Settings, source: Path, *, force: bool, clock: Clock) -> Restored:
    with contextlib.ExitStack() as stack:
        with _before_anything_changes(settings):
            if not force:
                _refuse_existing(settings)
            refuse_unwritable(settings)
            (settings.data_path / ASIDE).mkdir(mode=0o700, exist_ok=True)
            scratch = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=settings.data_path / ASIDE)
            staged = Path(stack.enter_context(scratch))
            manifest = read_whole(source, lambda name, chunks: _unpack(staged / name, name, chunks))
            interrupted = _end_live_runs(staged / STORE, manifest, clock)
            set_mark(settings, staged)
        aside = settings.data_path / ASIDE / to_text(clock.now()).replace(":", "")
        try:
            moved = put_in_place(settings, staged, aside)
        except OSError as error:
            raise RestoreUnfinished(
                f"the restore broke off in the middle: {_said(error)}. Put that right, then run it again: octospool "
                f"restore FILE --force. Until then no daemon starts on {settings.data_path}"
            ) from error
    return Restored(
        created_at=manifest.created_at,
        runs=manifest.runs,
        files=len(manifest.files),
        secrets=manifest.secrets,
        left_out=tuple(manifest.left_out),
        interrupted=interrupted,
        aside=aside if moved else None,
    )


@contextlib.contextmanager
def _before_anything_changes(settings: Settings) -> Iterator[None]:
    """What the system refuses, as an error of the product."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(
                f"no space left in {settings.data_path} to unpack the backup; nothing is changed"
            ) from error
        raise RestoreFailed(f"the backup cannot be unpacked: {_said(error)}; nothing is changed") from error


def _said(error: OSError) -> str:
    """What the system says, and of which file."""
    return f"{error.strerror or error} ({error.filename})" if error.filename else str(error.strerror or error)


def _refuse_orphans(settings: Settings) -> None:
    for path in (settings.data_path / "workers").glob("*.lock"):
        if LockFile(path).is_taken():
            raise DataFolderInUse(
                f"a worker of the last daemon is still at work in {settings.data_path} ({path.name}); wait until it "
                "has ended its step"
            )


def _refuse_existing(settings: Settings) -> None:
    found = [path for name, path in places_of(settings).items() if name != SECRETS and is_there(path)]
    if found:
        shown = ", ".join(path.name for path in found)
        raise RestoreRefused(
            f"{settings.data_path} holds data already ({shown}); say --force to restore over it. What is there is "
            "moved aside, not deleted"
        )


def _unpack(target: Path, name: str, chunks: Iterator[bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        # Private is right for store, secrets and results; what people edit is theirs to open.
        target.chmod(0o644 if name.startswith(("flows/", "templates/", CONFIG, DEFAULTS)) else 0o600)
        file.writelines(chunks)


def _end_live_runs(path: Path, manifest: Manifest, clock: Clock) -> tuple[str, ...]:
    """What was under way may have gone on after the backup: a person has to look. Also migrates the store."""
    store = Store(f"sqlite:///{path}")
    try:
        live = sorted([run.id for run in store.runs.under_way()] + [run.id for run in store.runs.parked()])
        now = clock.now().timestamp()

        def end_all(connection: Connection) -> None:
            for run_id in live:
                message = (
                    f"restored from a backup of {manifest.created_at}; what the run did after that moment is not "
                    f"known here. Look at it, then: octospool runs resume {run_id}"
                )
                error = error_record("restored", message)
                end_run(connection, run_id, RunStatus.INTERRUPTED, at=now, error=error)

        store.writer.run(end_all)
    finally:
        store.close()
    return tuple(live)
