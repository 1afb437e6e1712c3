"""What workers wrote down because no daemon was there to confirm it, and how that gets into the store.

One file for each run and worker, `<run>.<worker>.json`: whole or not there at all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flow_processor.engine.parked import must_go_on
from flow_processor.engine.sizes import size_of
from flow_processor.engine.worker_claims import check_output
from flow_processor.errors import StoreUnavailable
from flow_processor.journal import Event, WireLog, WireRow, from_wire
from flow_processor.run import RunStatus
from flow_processor.run_state import fold
from flow_processor.store import Connection, Store
from flow_processor.store.journal import history_rows, insert_late, read_rows
from flow_processor.store.runs import count_bytes, move_run
from flow_processor.store.writer import EntryRefused, Rows

logger = logging.getLogger("octospool.engine")


@dataclass(frozen=True, slots=True)
class _Handed:
    """The content of one file."""

    run_id: str
    rows: list[WireRow]
    logs: list[WireLog]

    def __post_init__(self) -> None:
        """Raises ValueError or TypeError for what is no handover."""
        if not isinstance(self.run_id, str):
            raise TypeError(f"{self.run_id!r} is not the id of a run")
        for row in self.rows:
            check_output(from_wire(row).data)
        for seq, at, *texts in self.logs:
            if type(seq) is not int or not isinstance(at, int | float) or len(texts) != 3:
                raise ValueError("not a log line")

    @property
    def changes_status(self) -> bool:
        """Does it say that the run has ended, or was parked?"""
        return any(not row[1] and row[3] in (Event.ENDED, Event.PARKED) for row in self.rows)


class Handovers:
    """The folder of these files. Thread safe: a file that is taken in twice changes nothing."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def take_in_all(self) -> None:
        """Take in every file. Raises StoreUnavailable, and then what is left stays for the next try."""
        self._take_in("*.json", keep=False)

    def take_in(self, worker_id: str) -> bool:
        """Take in what one worker has left, waiting for the store where it refuses; False if it left nothing.

        Raises StoreUnavailable once the store is closed.
        """
        return self._take_in(f"*.{worker_id}.json", keep=True)

    def _take_in(self, pattern: str, *, keep: bool) -> bool:
        is_taken = False
        for path, handed in self._files(pattern):
            if self._is_elsewhere(handed):
                logger.error("handover file %s is of a run that another daemon has: set aside", path.name)
                path.rename(path.with_suffix(".rejected"))
                continue
            try:
                values = history_rows(handed.run_id, handed.rows, handed.logs)
                written = self._store.writer.submit(_recorder(handed, values), keep=keep)
                self._store.outbox.follow(written, values)
                written.result()
            except Exception as error:
                if isinstance(error, StoreUnavailable) and not isinstance(error, EntryRefused):
                    raise
                # Not the store refuses but this file's rows: the run goes on from what the store has.
                logger.error("handover file %s cannot be taken and is set aside: %s", path.name, error)
                path.rename(path.with_suffix(".rejected"))
                continue
            is_taken = True
            path.unlink(missing_ok=True)
        return is_taken

    def _is_elsewhere(self, handed: _Handed) -> bool:
        """Has another daemon taken the run over, because nothing was known of its begin?"""
        if self._store.daemon is None:
            return False
        run = self._store.runs.get(handed.run_id)
        return run is not None and run.daemon != self._store.daemon

    def _files(self, pattern: str) -> Iterator[tuple[Path, _Handed]]:
        for path in sorted(self._folder.glob(pattern)):
            try:
                handed = _Handed(**json.loads(path.read_bytes()))
            except FileNotFoundError:  # another thread has taken it in
                continue
            except (OSError, ValueError, TypeError) as error:
                logger.error("handover file %s cannot be read and is left alone: %s", path.name, error)
                continue
            yield path, handed


def _recorder(handed: _Handed, values: Rows) -> Callable[[Connection], None]:
    """Inserts the rows; the run's status follows from its journal."""
    run_id, size = handed.run_id, size_of(handed.rows, handed.logs)

    def record(connection: Connection) -> None:
        insert_late(connection, run_id, values)
        count_bytes(connection, run_id, size)
        if not handed.changes_status:
            return
        # The whole journal is asked, not the file: since then the run may have gone on.
        state = fold(from_wire(row) for row in read_rows(connection, run_id))
        at = handed.rows[-1][4]
        if state.status is not None:
            # A run that was never recorded as begun must pass through `running`.
            move_run(connection, run_id, RunStatus.RUNNING, at=at)
            move_run(connection, run_id, state.status, at=state.ended_at, error=state.error)
        elif state.is_parked:
            move_run(connection, run_id, RunStatus.RUNNING, at=at)
            wake_at = at if must_go_on(state) else state.wake_at
            move_run(connection, run_id, RunStatus.WAITING, at=wake_at)

    return record
