"""`octospool restore`: first the whole backup is unpacked beside the data and checked, then it takes its place.

Nothing that is there is deleted: it is moved to a folder in `before-restore/`. While names change, a file
`restore-unfinished` stands in the data folder; a daemon does not start on such a folder, and `restore` goes over it
once more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from flow_processor.clock import Clock, to_text
from flow_processor.engine.losses import error_record
from flow_processor.errors import Conflict, DataFolderInUse, DiskFull, Unavailable
from flow_processor.locks import DataFolderLock, LockFile
from flow_processor.paths import sync_folder
from flow_processor.run import RunStatus
from flow_processor.service.archive import (
    CONFIG,
    FOLDERS,
    MANIFEST,
    SECRETS,
    STORE,
    BackupInvalid,
    Manifest,
    copy_hashed,
    members,
)
from flow_processor.settings import Settings
from flow_processor.store import Connection, Store, store_files
from flow_processor.store.runs import end_run

MARK = "restore-unfinished"
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

    Raises DataFolderInUse, RestoreRefused unless `force`, BackupInvalid, StoreUnavailable, DiskFull.
    """
    settings.data_path.mkdir(parents=True, exist_ok=True)
    folder = DataFolderLock(settings.data_path, clock=clock)
    folder.acquire("restore", detail={})
    try:
        _refuse_orphans(settings)
        if not force:
            _refuse_existing(settings)
        (settings.data_path / ASIDE).mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=settings.data_path / ASIDE) as scratch:
            staged = Path(scratch)
            manifest = _unpack(source, staged)
            interrupted = _end_live_runs(staged / STORE, manifest, clock)
            aside = settings.data_path / ASIDE / to_text(clock.now()).replace(":", "")
            moved = _put_in_place(settings, staged, aside)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(
                f"no space left in {settings.data_path} to unpack the backup; nothing is changed"
            ) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            (settings.data_path / ASIDE).rmdir()  # if nothing is in it
        folder.release()
    return Restored(
        created_at=manifest.created_at,
        runs=manifest.runs,
        files=len(manifest.files),
        secrets=manifest.secrets,
        interrupted=interrupted,
        aside=aside if moved else None,
    )


def _refuse_orphans(settings: Settings) -> None:
    for path in (settings.data_path / "workers").glob("*.lock"):
        if LockFile(path).is_taken():
            raise DataFolderInUse(
                f"a worker of the last daemon is still at work in {settings.data_path} ({path.name}); wait until it "
                "has ended its step"
            )


def _refuse_existing(settings: Settings) -> None:
    found = [path for name, path in _places(settings).items() if name != SECRETS and _is_there(path)]
    if found:
        shown = ", ".join(path.name for path in found)
        raise RestoreRefused(
            f"{settings.data_path} holds data already ({shown}); say --force to restore over it. What is there is "
            "moved aside, not deleted"
        )


def _is_there(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _unpack(source: Path, staged: Path) -> Manifest:
    """Unpack everything and compare it with the manifest. Raises BackupInvalid."""
    found: dict[str, str] = {}
    manifest = None
    with members(source) as contents:
        for name, content in contents:
            if name == MANIFEST:
                manifest = Manifest.parse(content.read())
                continue
            if name in found:
                raise BackupInvalid(f"the backup {source} is damaged: it holds {name} twice")
            target = staged / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                # Private is right for store, secrets and results; what people edit is theirs to open.
                target.chmod(0o644 if name.startswith(("flows/", "templates/", CONFIG)) else 0o600)
                found[name] = copy_hashed(content, file)
    if manifest is None:
        raise BackupInvalid(f"{source} is no whole backup: it has no {MANIFEST}, so its end is missing")
    if manifest.files != found:
        wrong = sorted(
            name for name in manifest.files.keys() | found if manifest.files.get(name) != found.get(name)
        )
        raise BackupInvalid(f"the backup {source} is damaged: {', '.join(wrong[:5])}")
    if STORE not in found:
        raise BackupInvalid(f"{source} is no backup of octospool: it holds no {STORE}")
    return manifest


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


def _places(settings: Settings) -> dict[str, Path]:
    """Where each part of a backup belongs."""
    store = store_files(settings.database_url)[0]
    folders = (settings.flows_path, settings.templates_path, settings.results_path)
    return {
        **dict(zip(FOLDERS, folders, strict=True)),
        CONFIG: settings.config_file,
        SECRETS: settings.secrets_path,
        STORE: store,
    }


def _put_in_place(settings: Settings, staged: Path, aside: Path) -> bool:
    """Move what is there aside and the new in; True if there was something."""
    _sync_all(staged)
    mark = settings.data_path / MARK
    mark.touch()
    sync_folder(settings.data_path)
    # Of the old time, too: rows and locks of runs that the restored store may not know.
    old = [settings.data_path / "handover", *store_files(settings.database_url)[1:]]
    moved = [_move(path, aside / path.name) for path in old]
    for name, place in _places(settings).items():
        new = staged / name
        if name == SECRETS and not new.exists():
            continue  # it was left out of the backup; the one that is there may well be right
        moved.append(_move(place, aside / name))
        _move(new, place)
        sync_folder(place.parent)
    mark.unlink()
    sync_folder(settings.data_path)
    return any(moved)


def _move(source: Path, target: Path) -> bool:
    """Move a file or a folder, also to another file system; False if it is not there (or an empty folder)."""
    if not source.exists() or not _is_there(source):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        target.rmdir()  # empty, or this raises
    shutil.move(source, target)
    return True


def _sync_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            sync_folder(path)
        else:
            _sync_file(path)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
