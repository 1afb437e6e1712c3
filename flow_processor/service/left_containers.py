"""Containers that nobody looks after any more: their worker has died, or was killed, or could not remove them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flow_processor.containers.engine import Engine, LabelledContainer
from flow_processor.containers.labels import DATA_LABEL, RUN_LABEL, WORKER_LABEL, owner_id
from flow_processor.locks import LockFile

IsAtWork = Callable[[str, str], bool]
"""(worker id, run id) -> may this worker, which lives, have the run?"""


def own_containers(engine: Engine, data_path: Path) -> list[LabelledContainer]:
    """All containers of this data folder. Raises EngineUnavailable, EngineRefused."""
    owner = owner_id(data_path, create=False)
    return [] if owner is None else engine.containers({DATA_LABEL: owner})


def left_containers(
    engine: Engine, data_path: Path, *, is_at_work: IsAtWork = lambda worker, run: True
) -> list[LabelledContainer]:
    """The containers of this data folder that are in nobody's hands.

    A worker removes its container before it says that the step has ended, and holds a lock for as long as it lives.
    So what is listed here was left behind, also if the run goes on in another worker. Raises EngineUnavailable,
    EngineRefused.
    """
    # Listed first: whoever starts one after this is not asked about.
    found = own_containers(engine, data_path)
    return [one for one in found if not _is_in_hands(one, data_path / "workers", is_at_work)]


def _is_in_hands(container: LabelledContainer, workers: Path, is_at_work: IsAtWork) -> bool:
    worker = container.labels.get(WORKER_LABEL, "")
    if not worker or not LockFile(workers / f"{worker}.lock").is_taken():
        return False
    return is_at_work(worker, container.labels.get(RUN_LABEL, ""))
