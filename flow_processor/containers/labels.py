"""What a container of ours is known by."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from flow_processor.paths import write_atomic
from flow_processor.process_tree import WORKER_MARK

DATA_LABEL = "octospool.data"
"""Whose it is: `owner_id` of the data folder. Several daemons may share an engine."""
RUN_LABEL = "octospool.run"
"""Id of the run that started it."""
STEP_LABEL = "octospool.step"
"""The step's path in the journal: `loop[3]/build`."""
ATTEMPT_LABEL = "octospool.attempt"
"""Which attempt of the step it is; 1 for the first."""
WORKER_LABEL = "octospool.worker"
"""Id of the worker process that looks after it."""

OWNER_FILE = "containers.id"
"""In the data folder: a random text that tells it from others."""


def owner_id(data_path: Path, *, create: bool) -> str | None:
    """What DATA_LABEL says on the containers of this data folder. None: there were never any, and not `create`.

    It depends on the folder's place as well, so that a copy of the folder is another one. Only who holds the data
    folder may create it. Raises OSError.
    """
    path = data_path / OWNER_FILE
    text = path.read_text().strip() if path.exists() else ""
    if not text:
        if not create:
            return None
        text = secrets.token_hex(16)
        write_atomic(path, f"{text}\n".encode())
    return hashlib.sha256(f"{text} {data_path.resolve()}".encode()).hexdigest()[:32]


def labels_of(owner: str, *, run: str, step: str, attempt: int) -> dict[str, str]:
    """The labels of a container that this process, a worker, starts."""
    return {
        DATA_LABEL: owner,
        RUN_LABEL: run,
        STEP_LABEL: step,
        ATTEMPT_LABEL: str(attempt),
        WORKER_LABEL: os.environ.get(WORKER_MARK, ""),
    }
