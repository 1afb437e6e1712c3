"""Files go where they belong once their runs have ended: never a newer one than those runs had, never over another.

What is done here is durable only after the folders were synced (`paths.sync_folder`): once for many files.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain, count
from pathlib import Path
from typing import Any

from flow_processor.paths import open_parent, write_atomic

IsMeant = Callable[[os.stat_result], bool]
"""Is this the file that is to go? Another one may have taken its name."""


def move_beside(
    file: Path, folder: str, *, below: Path, is_meant: IsMeant, reason: Mapping[str, Any] | None = None
) -> Path | None:
    """Move a file into the folder of that name beside it; its path there, or None where another one has its name.

    A name that is taken there gets a number. `reason` is written beside it, as `<file>.reason.json`. `file` must be a
    path without symlinks below `below`. Raises FileNotFoundError, another OSError or PathRefused.
    """
    away = file.parent / folder / file.name
    with ExitStack() as stack:
        source, name = stack.enter_context(open_parent(file, below=below, create=False))
        if not is_meant(os.stat(name, dir_fd=source, follow_symlinks=False)):
            return None
        target, wanted = stack.enter_context(open_parent(away, below=below, create=True))
        free = _free(wanted, target)
        moved = away.with_name(Path(free).name)
        if reason is not None:
            text = json.dumps(reason, ensure_ascii=False, indent=2)
            write_atomic(moved.with_name(f"{moved.name}.reason.json"), text.encode(), below=below)
        os.rename(name, free, src_dir_fd=source, dst_dir_fd=target)
        is_right = is_meant(os.stat(free, dir_fd=target, follow_symlinks=False))
        if not is_right:  # a newer one came in this moment
            os.rename(free, _free(name, source), src_dir_fd=target, dst_dir_fd=source)
    return moved if is_right else None


def delete(file: Path, *, below: Path, is_meant: IsMeant) -> bool:
    """Delete a file; False where another one has its name. `file` must be a path without symlinks below `below`.

    Raises FileNotFoundError, another OSError or PathRefused.
    """
    with open_parent(file, below=below, create=False) as (folder, name):
        if not is_meant(os.stat(name, dir_fd=folder, follow_symlinks=False)):
            return False
        aside = str(Path(name).with_name(f".octospool.{secrets.token_hex(6)}.tmp"))
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        is_right = is_meant(os.stat(aside, dir_fd=folder, follow_symlinks=False))
        if is_right:
            os.unlink(aside, dir_fd=folder)
        else:  # as above
            os.rename(aside, _free(name, folder), src_dir_fd=folder, dst_dir_fd=folder)
    return is_right


def _free(name: str, folder: int | None) -> str:
    """The name, or it with the first number that nobody has: `a-1.csv`."""
    return next(each for each in chain([name], _numbered(name)) if not _is_taken(each, folder))


def _numbered(name: str) -> Iterator[str]:
    path = Path(name)
    return (str(path.with_name(f"{path.stem}-{number}{path.suffix}")) for number in count(1))


def _is_taken(name: str, folder: int | None) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
