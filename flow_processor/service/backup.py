"""`octospool backup`: the store, what people wrote and large results in one file, also while a daemon works."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import secrets
import stat
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from flow_processor.clock import Clock, to_text
from flow_processor.errors import Conflict, DiskFull, OctospoolError
from flow_processor.own_code.folders import CODE_FOLDERS
from flow_processor.paths import open_regular, sync_folder
from flow_processor.result_files import ResultFiles
from flow_processor.service.archive import (
    CONFIG,
    DEFAULTS,
    LOST_AND_FOUND,
    MANIFEST,
    SECRETS,
    STORE,
    BackupInvalid,
    Manifest,
    check_name,
    hash_of,
    read_whole,
)
from flow_processor.settings import Settings
from flow_processor.store.snapshot import write_snapshot
from flow_processor.version import VERSION


class BackupExists(Conflict):
    """There is a file of that name already."""

    code = "backup_exists"


class BackupFailed(OctospoolError):
    """The backup could not be written; nothing is left of it."""

    code = "backup_failed"


def write_backup(
    settings: Settings, target: Path, *, with_secrets: bool, replace: bool, clock: Clock
) -> Manifest:
    """Write a backup to `target`, whole or not at all, readable for its owner alone.

    Raises BackupExists unless `replace`, BackupFailed, DiskFull, StoreUnavailable.
    """
    if os.path.lexists(target) and not replace:
        raise BackupExists(f"{target} exists; name another file, or say --force to replace it")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        # Beside the target: there must be room for it anyway.
        with tempfile.TemporaryDirectory(prefix=".octospool-backup-", dir=target.parent) as scratch:
            manifest = _write(
                settings, temporary, Path(scratch) / STORE, with_secrets=with_secrets, clock=clock
            )
        temporary.replace(target)
        sync_folder(target.parent)
    except DiskFull as error:
        raise _no_space(target) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _no_space(target) from error
        place = f" ({error.filename})" if error.filename else ""
        raise BackupFailed(
            f"the backup {target} cannot be written: {error.strerror or error}{place}"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return manifest


def _no_space(target: Path) -> DiskFull:
    return DiskFull(
        f"no space left for the backup {target}; nothing of it is left. Free some, or name another disk"
    )


def _write(settings: Settings, temporary: Path, copy: Path, *, with_secrets: bool, clock: Clock) -> Manifest:
    created_at = to_text(clock.now())
    # The store first: a result file is there before the store names it, so none that it names can be missing.
    snapshot = write_snapshot(settings.database_url, copy)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
            hashes = {STORE: _add(archive, STORE, copy)}
            left_out: list[str] = []
            for name, path in _sources(settings, with_secrets=with_secrets, left_out=left_out):
                # Gone since it was listed: a person's file, or one of a run that was deleted just now.
                with contextlib.suppress(FileNotFoundError):
                    hashes[name] = _add(archive, name, path)
            manifest = Manifest(
                created_at=created_at,
                octospool=VERSION,
                schema=snapshot.schema,
                runs=snapshot.runs,
                secrets=SECRETS in hashes,
                files=hashes,
                left_out=left_out,
            )
            _add_bytes(archive, MANIFEST, manifest.as_bytes())
        file.flush()
        os.fsync(file.fileno())
    # Read as a restore will read it: what is wrong with it must be known today, not on the day it is needed.
    return read_whole(temporary, lambda _name, chunks: deque(chunks, maxlen=0).clear())


def _add(archive: tarfile.TarFile, name: str, path: Path) -> str:
    """Add a file as it is now; its hash."""
    if name == STORE or name.startswith("results/"):  # large, and nobody changes it
        digest = hash_of(path)
        with open_regular(path, "rb") as file:
            _add_file(archive, name, file, os.fstat(file.fileno()))
        return digest
    with open_regular(path, "rb") as file:
        content = file.read()
    return _add_bytes(archive, name, content)


def _add_file(archive: tarfile.TarFile, name: str, file: BinaryIO, found: os.stat_result) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = found.st_size, int(found.st_mtime), 0o600
    archive.addfile(member, file)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> str:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o600
    archive.addfile(member, io.BytesIO(content))
    return hashlib.sha256(content).hexdigest()


def _sources(settings: Settings, *, with_secrets: bool, left_out: list[str]) -> Iterator[tuple[str, Path]]:
    """(name in the archive, file) of everything but the store; what cannot go in comes into `left_out`."""
    yield CONFIG, settings.config_file.resolve()
    if settings.defaults_file.exists():
        yield DEFAULTS, settings.defaults_file.resolve()
    if with_secrets:
        yield SECRETS, settings.secrets_path.resolve()
    written = {"flows": settings.flows_path, "templates": settings.templates_path}
    for name, folder in {**written, **{name: settings.data_path / name for name in CODE_FOLDERS}}.items():
        for path in _below(folder):
            member = f"{name}/{path.relative_to(folder).as_posix()}"
            file = _file_for(member, path, folder)
            if file is not None:
                yield member, file
            elif os.path.lexists(path):
                left_out.append(member)
    results = ResultFiles(settings.results_path)
    for run_id in results.runs():
        for result in results.names(run_id):
            yield f"results/{run_id}/{result}", settings.results_path / run_id / result


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder that is no folder, but for what a write that was broken off has left."""
    for root, folders, files in os.walk(folder, onerror=_refuse):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]  # noqa: PTH114, PTH118
        folders[:] = sorted(name for name in folders if name != LOST_AND_FOUND)
        for name in sorted(files + links):
            if not (name.startswith(".") and name.endswith(".tmp")):
                yield Path(root, name)


def _refuse(error: OSError) -> None:
    """A folder that is gone by now has nothing to keep; one that cannot be read has."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _file_for(member: str, path: Path, folder: Path) -> Path | None:
    """The file to read for a member; None if a restore could not put it back, or a link leads elsewhere."""
    try:
        check_name(member)
        file = path.resolve()
        is_inside = file.is_relative_to(folder.resolve())
        return file if is_inside and stat.S_ISREG(file.stat().st_mode) else None
    except (BackupInvalid, FileNotFoundError, RuntimeError):  # RuntimeError: links in a circle
        return None
