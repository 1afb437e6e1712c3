"""Files of the spooler's own that a worker was writing when it died."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from flow_processor.paths import TEMPORARY
from flow_processor.run import RUN_ID_PATTERN

logger = logging.getLogger("octospool.engine")


class UnfinishedFiles:
    """Large results and handovers that never got their names."""

    def __init__(self, *, results: Path, handovers: Path) -> None:
        self._results = results
        self._handovers = handovers

    def remove(self, run_id: str, worker_id: str) -> None:
        """Remove what a worker has left that had this run. Only for one that has ended, and only as long as no other
        one has the run. What cannot be removed is left to `octospool doctor`."""
        for path in self._found(run_id, worker_id):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                logger.warning("a file that worker %s has left cannot be removed: %s", worker_id, error)

    def _found(self, run_id: str, worker_id: str) -> Iterator[Path]:
        found = list(self._handovers.glob(f".*.{worker_id}.json.*"))
        if RUN_ID_PATTERN.fullmatch(run_id):  # it stands in a file that the worker wrote
            found += (self._results / run_id).glob(".*")
        return (path for path in found if TEMPORARY.fullmatch(path.name))
