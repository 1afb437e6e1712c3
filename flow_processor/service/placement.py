"""Where each part of a backup belongs, and how it gets there: folders stay where they are, their content is exchanged.

flows/ or config.yml may be a mount of its own (a volume, a file of the host): it can be neither moved nor removed, but
what is in it can. So the content of folders is moved entry by entry, and copied where the system cannot rename.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from flow_processor.errors import OctospoolError
from flow_processor.own_code.folders import CODE_FOLDERS
from flow_processor.paths import sync_folder
from flow_processor.service.archive import CONFIG, DEFAULTS, FOLDERS, LOST_AND_FOUND, SECRETS, STORE
from flow_processor.service.health import check_folders
from flow_processor.settings import Settings
from flow_processor.store import store_files

MARK = "restore-unfinished"

_NO_RENAME = (errno.EXDEV, errno.EBUSY, errno.ENOTEMPTY, errno.EEXIST, errno.EACCES, errno.EPERM)
"""Another file system, a mount point, a folder that is there already, a file in a folder that is not ours."""
_STAYS = (errno.EBUSY, errno.EACCES, errno.EPERM)


class RestoreFailed(OctospoolError):
    """The backup could not be put in place; nothing was changed."""

    code = "restore_failed"


def places_of(settings: Settings) -> dict[str, Path]:
    """Where each part of a backup belongs."""
    own_code = (settings.data_path / name for name in CODE_FOLDERS)
    folders = (settings.flows_path, settings.templates_path, settings.results_path, *own_code)
    return {
        **dict(zip(FOLDERS, folders, strict=True)),
        CONFIG: settings.config_file,
        DEFAULTS: settings.defaults_file,
        SECRETS: settings.secrets_path,
        STORE: store_files(settings.database_url)[0],
    }


def is_there(place: Path) -> bool:
    """Is there a file, or a folder with something in it?"""
    return any(_entries(place)) if place.is_dir() else os.path.lexists(place)


def _entries(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.name != LOST_AND_FOUND)


def refuse_unwritable(settings: Settings) -> None:
    """Raises RestoreFailed where something could not be moved or written later, when half is done."""
    found = [why for place in places_of(settings).values() if (why := _obstacle(place))]
    if found:
        raise RestoreFailed(
            f"{'; '.join(found)}. Nothing is changed: make it writable (a mount, too) while the restore works"
        )


def _obstacle(place: Path) -> str | None:
    """Why a place cannot be exchanged; None if it can."""
    if place.is_dir():
        probe = check_folders(place)
        if not probe.ok:
            return probe.message
        fixed = [path for path in _below(place) if _is_fixed(path)]
        return f"{fixed[0]} cannot be moved: it is read-only" if fixed else None
    if place.exists() and os.access(place, os.W_OK):
        return None  # at the least, its content can be exchanged
    parent = next(folder for folder in place.parents if folder.exists())
    if _is_fixed(place) or not os.access(parent, os.W_OK | os.X_OK):
        return f"{place} cannot be written: it, or {parent}, is read-only"
    return None


def _below(folder: Path) -> Iterator[Path]:
    for path in _entries(folder):
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


def _is_fixed(path: Path) -> bool:
    """Can the content of the folder not be moved, or lies the file on a read-only mount?"""
    if path.is_symlink() or not path.exists():
        return False
    if path.is_dir():
        return not os.access(path, os.W_OK | os.X_OK)
    return sys.platform != "win32" and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def set_mark(settings: Settings, staged: Path) -> None:
    """Make durable what is to be put in place, and then that this has begun. Raises OSError."""
    _sync_all(staged)
    (settings.data_path / MARK).touch()
    sync_folder(settings.data_path)


def put_in_place(settings: Settings, staged: Path, aside: Path) -> bool:
    """Move what is there aside and what is staged in; True if there was something. Raises OSError in the middle."""
    moved = [_exchange(path, None, aside / name) for name, path in _of_the_old_time(settings).items()]
    for name, place in places_of(settings).items():
        # Secrets may be left out of a backup; those that are there may well be right.
        if name != SECRETS or (staged / name).exists():
            moved.append(_exchange(place, staged / name, aside / name))
    for folder in (aside, aside.parent):
        if folder.exists():
            sync_folder(folder)
    (settings.data_path / MARK).unlink()
    sync_folder(settings.data_path)
    return any(moved)


def _of_the_old_time(settings: Settings) -> dict[str, Path]:
    """What belongs to the store that goes: rows for it, and the files beside it, which keep its name."""
    store, *beside = store_files(settings.database_url)
    named = {STORE + path.name.removeprefix(store.name): path for path in beside}
    return {"handover": settings.data_path / "handover", **named}


def _exchange(place: Path, new: Path | None, aside: Path) -> bool:
    """Move what is at `place` aside, and `new` there; True if something was there."""
    was_there = is_there(place)
    if was_there:
        _move_content(place, aside)
    if new is not None and new.exists():
        _move_content(new, place)
    return was_there


def _move_content(source: Path, target: Path) -> None:
    """Move a file, or everything in a folder, which stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for path in _entries(source):
            _move(path, target / path.name)
        for folder in (target, source):
            sync_folder(folder)
    else:
        _move(source, target)
    for folder in (target.parent, source.parent):
        sync_folder(folder)


def _move(source: Path, target: Path) -> None:
    """Rename, or copy what cannot be renamed. A mount point that was copied stays where it is."""
    try:
        source.replace(target)
        return
    except OSError as error:
        if error.errno not in _NO_RENAME:
            raise
    if source.is_dir() and not source.is_symlink():
        target.mkdir(exist_ok=True)
        for path in sorted(source.iterdir()):
            _move(path, target / path.name)
        sync_folder(target)
        remove = source.rmdir
    else:
        _copy(source, target)
        remove = source.unlink
    try:
        remove()
    except OSError as error:
        if error.errno not in _STAYS:
            raise


def _copy(source: Path, target: Path) -> None:
    """A copy that is durable before the original goes; also into a file that is a mount."""
    if source.is_symlink():
        target.symlink_to(source.readlink())
        return
    if not target.exists():
        target.touch(mode=0o600)  # a secret must not be readable for others even for a moment
    shutil.copyfile(source, target)
    with contextlib.suppress(OSError):  # a file of another user
        shutil.copystat(source, target)
    _sync_file(target)


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
