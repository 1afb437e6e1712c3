"""The file that `octospool backup` writes: a tar.gz of known members, with a manifest at its end.

The manifest comes last, so that it can tell what really went in; a file that was cut off has none.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from flow_processor.errors import OctospoolError, PathRefused
from flow_processor.own_code.folders import CODE_FOLDERS
from flow_processor.paths import components
from flow_processor.run import RUN_ID_PATTERN

FORMAT = 1
"""Of the archive; a program refuses a newer one than it knows."""

MANIFEST = "manifest.json"
STORE = "octospool.db"
CONFIG = "config.yml"
SECRETS = "secrets.yml"
DEFAULTS = "defaults.yml"
FOLDERS = ("flows", "templates", "results", *CODE_FOLDERS)
LOST_AND_FOUND = "lost+found"
"""What a file system of its own has at its top, for root alone: no part of flows/, even where that is a volume."""

_CHUNK = 1 << 20
_RESULT = re.compile(rf"results/{RUN_ID_PATTERN.pattern}/[0-9a-f]{{32}}\.json")


class BackupInvalid(OctospoolError):
    """The file is no backup, is damaged, or was made by a newer version."""

    code = "backup_invalid"


@dataclass(frozen=True)
class Manifest:
    """What a backup holds."""

    created_at: str
    """ISO 8601, UTC."""
    octospool: str
    """The version that wrote it."""
    schema: int
    """Of the store."""
    runs: int
    secrets: bool
    """Is secrets.yml in it?"""
    files: dict[str, str] = field(repr=False)
    """SHA-256 of every member but this one, by name."""
    left_out: list[str]
    """Names below flows/ and templates/ that are not in it: links that lead out, names that no flow can have."""
    format: int = FORMAT

    def as_bytes(self) -> bytes:
        """As it stands in the archive."""
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def parse(cls, raw: bytes) -> Manifest:
        """Raises BackupInvalid."""
        try:
            found = json.loads(raw)
            if found["format"] > FORMAT:
                raise BackupInvalid(
                    f"the backup was made by octospool {found['octospool']}, which is newer than this one; "
                    "restore it with that version"
                )
            return cls(**found)
        except (ValueError, KeyError, TypeError) as error:
            raise BackupInvalid(f"the backup's {MANIFEST} cannot be read ({error})") from error


def check_name(name: str) -> None:
    """Raises BackupInvalid unless a backup may have a member of that name."""
    try:
        parts = components(name, what="member")
    except PathRefused as error:
        raise BackupInvalid(f"this is no backup of octospool: {error.message}") from error
    is_known = name in (MANIFEST, STORE, CONFIG, SECRETS, DEFAULTS) or (
        parts[0] in FOLDERS and len(parts) > 1
    )
    if not is_known or "/".join(parts) != name or (parts[0] == "results" and not _RESULT.fullmatch(name)):
        raise BackupInvalid(f"this is no backup of octospool: it holds {name!r}")


def hash_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_whole(path: Path, keep: Callable[[str, Iterator[bytes]], None]) -> Manifest:
    """Read a backup to its end: `keep` gets each member's name and content, in order.

    Raises BackupInvalid unless the file is a backup that holds what its manifest says, or what `keep` raises.
    """
    found: dict[str, str] = {}
    manifest = None
    with closing(_members(path)) as members:
        for name, chunks in members:
            if name == MANIFEST:
                manifest = Manifest.parse(b"".join(chunks))
                continue
            if name in found:
                raise BackupInvalid(f"the backup {path} is damaged: it holds {name} twice")
            digest = hashlib.sha256()
            keep(name, _hashed(chunks, digest))
            found[name] = digest.hexdigest()
    if manifest is None:
        raise BackupInvalid(f"{path} is no whole backup: it has no {MANIFEST}, so its end is missing")
    if manifest.files != found:
        wrong = sorted(
            name for name in manifest.files.keys() | found if manifest.files.get(name) != found.get(name)
        )
        raise BackupInvalid(f"the backup {path} is damaged: {', '.join(wrong[:5])}")
    if STORE not in found:
        raise BackupInvalid(f"{path} is no backup of octospool: it holds no {STORE}")
    return manifest


def _members(path: Path) -> Generator[tuple[str, Iterator[bytes]], None, None]:
    """(name, content) of each member; each must be read to its end before the next one."""
    with _reading(path), tarfile.open(path, "r:gz") as archive:
        for member in archive:
            check_name(member.name)
            content = archive.extractfile(member) if member.isreg() else None
            if content is None:
                raise BackupInvalid(f"this is no backup of octospool: {member.name!r} is no regular file")
            yield member.name, _chunks(path, content)


def _chunks(path: Path, content: IO[bytes]) -> Iterator[bytes]:
    with _reading(path):
        while chunk := content.read(_CHUNK):
            yield chunk


def _hashed(chunks: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What goes wrong with the backup itself, as BackupInvalid; not what its reader does with it."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise BackupInvalid(f"{path} is no backup, or it is damaged ({error})") from error
    except OSError as error:
        raise BackupInvalid(f"the backup {path} cannot be read: {error.strerror or error}") from error
