"""Files stay where they belong: relative paths are confined to a folder, writes are whole or not at all.

`inside` decides where a relative path leads. Between that decision and the opening of the file somebody could
still put a symlink in its way; so `open_regular` and `write_atomic` take the folder as `below` and walk from
there by descriptors, following no symlink (where the system can: everywhere but on Windows).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from flow_processor.errors import PathRefused
from flow_processor.new_file import NewFile
from flow_processor.shortened import shortened

_WALKS = {os.open, os.mkdir, os.stat, os.rename, os.unlink} <= os.supports_dir_fd
"""Can this system open a file relative to an open folder? Windows cannot."""
_PATH_ONLY = getattr(os, "O_PATH", os.O_RDONLY)
_FOLDER_FLAGS = _PATH_ONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FILE_FLAGS = (
    _NOFOLLOW | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
"""O_NONBLOCK: opening a FIFO must not wait for somebody at its other end."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_IGNORES_CASE = sys.platform in ("win32", "darwin")


def inside(folder: Path, relative: str, *, what: str, private: Sequence[Path] = ()) -> Path:
    """The absolute path, free of symlinks, that `relative` names below `folder`. It need not exist.

    `what` names the path in messages: 'file.path'. `private` files and folders are refused, by any name.
    Raises PathRefused.
    """
    parts = components(relative, what=what)
    try:
        root = folder.resolve()
        target = root.joinpath(*parts).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: a loop of symlinks (Python < 3.13)
        raise _refused(relative, what, f"cannot be resolved ({error})") from error
    if target == root or not target.is_relative_to(root):
        raise _refused(relative, what, f"leads outside of {folder.name}/ (by a symlink)")
    for hidden in private:
        if _is_within(target, hidden, root=root):
            lies = "is" if target.name == hidden.name else f"lies in {hidden.name}, which is"
            raise _refused(relative, what, f"{lies} private to the spooler, steps cannot reach it")
    return target


def components(relative: str, *, what: str) -> list[str]:
    """The names that a relative path is made of; `\\` separates like `/`: a path means the same everywhere.

    Raises PathRefused for everything that is no plain way downwards. Looks at the text only.
    """
    text = relative.replace("\\", "/")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts:
        raise _refused(relative, what, "names no file")
    if text.startswith("/") or re.match(r"[A-Za-z]:", text):
        raise _refused(relative, what, "is absolute; give a path relative to the folder")
    if ".." in parts:
        raise _refused(relative, what, "contains '..'")
    if _CONTROL.search(text):
        raise _refused(relative, what, "contains a control character")
    if sys.platform == "win32":
        for part in parts:
            # Alternate streams, devices, and endings that Windows strips from a name.
            if ":" in part or part != part.rstrip(" .") or _WINDOWS_DEVICE.fullmatch(part):
                raise _refused(relative, what, f"'{part}' is no file name on Windows")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise _refused(relative, what, "contains characters that no file name can have") from error
    return parts


def _refused(relative: str, what: str, reason: str) -> PathRefused:
    shown = shortened(relative, 200)
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return PathRefused(f"{what} {shown!r} {reason}", details={"path": shown})


def _is_within(target: Path, hidden: Path, *, root: Path) -> bool:
    """Is `target` the private path or below it, also under another spelling or by a hard link?"""
    resolved = hidden.resolve()
    if target.is_relative_to(resolved):
        return True
    if _IGNORES_CASE and Path(str(target).casefold()).is_relative_to(str(resolved).casefold()):
        return True
    try:
        found = resolved.stat()
    except OSError:
        return False
    for place in (target, *target.parents):
        if place == root:
            return False
        with contextlib.suppress(OSError):
            if os.path.samestat(place.stat(), found):
                return True
    return False


def open_regular(path: Path, mode: Literal["rb", "ab"], *, below: Path | None = None) -> BinaryIO:
    """Open a regular file to read or to append to: no FIFO, device or folder.

    With `below`, `path` must come from `inside(below, …)`; then no symlink is followed, and for `ab` missing
    parents are created. Raises PathRefused, or OSError as `open` does.
    """
    flags = os.O_RDONLY if mode == "rb" else os.O_RDWR | os.O_APPEND | os.O_CREAT
    with open_parent(path, below=below, create=mode == "ab") as (folder, name):
        try:
            descriptor = os.open(name, flags | _FILE_FLAGS, 0o666, dir_fd=folder)
        except OSError as error:
            raise _clear(error, path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PathRefused(f"{path.name!r} is not a regular file", details={"path": path.name})
    # "a+b": whoever appends may look at what is there already.
    return os.fdopen(descriptor, "rb" if mode == "rb" else "a+b")


def write_atomic(
    path: Path,
    data: bytes | Iterable[bytes],
    *,
    below: Path | None = None,
    mode: int = 0o666,
    last_look: Callable[[], None] = lambda: None,
) -> None:
    """Write a file so that either the old content or the new one stands there, also after power loss.

    `data` may come in pieces; what their maker raises leaves the old content.
    Missing parents are created. An existing file keeps its permissions; a new one gets `mode` less the
    umask. With `below`, `path` must come from `inside(below, …)`, and no symlink is followed. `last_look` is called
    when the new content lies ready, right before it takes the old one's place; what it raises leaves the old one.
    Raises PathRefused if something other than a file stands there, or OSError.
    """
    with open_parent(path, below=below, create=True) as (folder, name):
        known = _permissions(name, folder)
        try:
            new = NewFile(name, folder, mode)
            try:
                if known is not None and hasattr(os, "fchmod"):
                    os.fchmod(new.file.fileno(), known)
                new.file.writelines([data] if isinstance(data, bytes) else data)
                new.file.flush()
                os.fsync(new.file.fileno())
                last_look()
                new.take_place()
            finally:
                new.close()
            _sync(Path(name).parent if folder is None else Path(), folder)
        except OSError as error:
            raise _clear(error, path) from error


def remove_file(path: Path, *, below: Path) -> None:
    """Remove a file durably. `path` must come from `inside(below, …)`, and no symlink is followed on the way.

    Raises FileNotFoundError, PathRefused or another OSError.
    """
    with open_parent(path, below=below, create=False) as (folder, name):
        try:
            os.unlink(name, dir_fd=folder)
            _sync(Path(name).parent if folder is None else Path(), folder)
        except OSError as error:
            raise _clear(error, path) from error


def append_whole(path: Path, make: Callable[[BinaryIO], bytes], *, below: Path | None = None) -> int:
    """Append what `make` gives for the open file, whole or not at all; returns the number of bytes.

    Appenders of all threads and processes take turns, so `make` may look at what is there. Missing parents are
    created. Raises PathRefused, OSError, or what `make` raises.
    """
    from filelock import lock_descriptor  # here, as most workers never append and should start fast

    with open_regular(path, "ab", below=below) as file:
        lock_descriptor(file.fileno(), poll_interval=0.002)
        data = make(file)
        before = file.seek(0, os.SEEK_END)
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.ftruncate(file.fileno(), before)
            raise
    return len(data)


def _permissions(name: str, folder: int | None) -> int | None:
    """The permission bits of the file that stands there; None if there is none."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found.st_mode):
        return None
    if not stat.S_ISREG(found.st_mode):
        raise PathRefused(f"{Path(name).name!r} is not a regular file", details={"path": Path(name).name})
    return stat.S_IMODE(found.st_mode)


def sync_folder(folder: Path) -> None:
    """Make the names that stand in a folder durable: new ones, and that others are gone."""
    _sync(folder, None)


def _sync(place: Path, folder: int | None) -> None:
    """Windows cannot open folders; some file systems cannot sync them."""
    if sys.platform == "win32":
        return
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def open_parent(path: Path, *, below: Path | None, create: bool) -> Iterator[tuple[int | None, str]]:
    """The folder of `path` as an open descriptor, and the name in it; or None and the whole path.

    With `below`, `path` must come from `inside(below, …)`, and no symlink is followed. Raises OSError or PathRefused.
    """
    if below is None or not _WALKS:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield None, str(path)
        return
    *folders, name = path.relative_to(below.resolve()).parts
    descriptor = os.open(below, _FOLDER_FLAGS)
    try:
        for part in folders:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
            try:
                deeper = os.open(part, _FOLDER_FLAGS | _NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                raise _clear(error, path) from error
            os.close(descriptor)
            descriptor = deeper
        yield descriptor, name
    finally:
        os.close(descriptor)


def _clear(error: OSError, path: Path) -> Exception:
    """The error with the whole path in it; a symlink that has come in between is a refusal."""
    if error.errno == errno.ELOOP:
        return PathRefused(f"{path.name!r} has become a symlink; not followed", details={"path": path.name})
    return type(error)(error.errno, os.strerror(error.errno or 0), str(path))
