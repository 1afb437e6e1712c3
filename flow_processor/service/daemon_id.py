"""Which daemon this is, where several share one store: the id of its data folder."""

from __future__ import annotations

import secrets
from pathlib import Path

from flow_processor.paths import write_atomic

ID_FILE = "daemon.id"


def daemon_id(data_path: Path, *, create: bool) -> str | None:
    """The id that the folder keeps, wherever it is moved to. None: it has none yet, and not `create`.

    Only who holds the data folder may create it. Raises OSError.
    """
    path = data_path / ID_FILE
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    if text or not create:
        return text or None
    text = secrets.token_hex(8)
    write_atomic(path, f"{text}\n".encode())
    return text
