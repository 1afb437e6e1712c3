"""Looking at a store without changing or migrating it: is it whole, and does everything in it belong together?"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from flow_processor.run import LIVE_STATUSES, RunStatus
from flow_processor.store.database import SCHEMA_VERSION, store_error

SAFE_SQLITE = (3, 51, 3)
"""Before it, several connections that checkpoint at once can corrupt a store (the WAL-reset bug)."""


class Checkup:
    """A connection to the file of a store, to look at it. Every call raises StoreUnavailable for a damaged file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10)

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def integrity(self) -> list[str]:
        """What SQLite finds wrong, at most 10 lines; nothing if the file is whole."""
        found = [str(line) for (line,) in self._all("PRAGMA integrity_check(10)")]
        return [] if found == ["ok"] else found

    def schema(self) -> int:
        """The version of the tables; 0 where there are none."""
        if not self._all("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            return 0
        ((version,),) = self._all("SELECT value FROM meta WHERE key = 'schema_version'")
        return int(version)

    def is_current(self) -> bool:
        """Has it the tables that this program works with? The other questions may be asked only then."""
        return self.schema() == SCHEMA_VERSION

    def pages(self) -> tuple[int, int]:
        """(free pages, all pages)."""
        return self._number("PRAGMA freelist_count"), self._number("PRAGMA page_count")

    def gives_space_back(self) -> bool:
        """Can the file become smaller bit by bit?"""
        return self._number("PRAGMA auto_vacuum") == 2

    def runs(self) -> int:
        """How many runs there are."""
        return self._number("SELECT count(*) FROM runs")

    def removals(self) -> int:
        """How many deleted runs have something left."""
        return self._number("SELECT count(*) FROM removals")

    def rows_without_run(self) -> list[str]:
        """Ids of runs that are gone, and not known as removed, but have rows."""
        known = "run_id NOT IN (SELECT id FROM runs) AND run_id NOT IN (SELECT run_id FROM removals)"
        tables = ("journal", "logs")
        found = [self._all(f"SELECT DISTINCT run_id FROM {table} WHERE {known}") for table in tables]  # noqa: S608
        return sorted({run_id for rows in found for (run_id,) in rows})

    def runs_without_rows(self) -> list[str]:
        """Ids of runs that ended otherwise than skipped, and have no row that says so."""
        bare = f"status NOT IN {_texts([*LIVE_STATUSES, RunStatus.SKIPPED])}"
        rows = "EXISTS (SELECT 1 FROM journal WHERE run_id = runs.id)"
        return [run_id for (run_id,) in self._all(f"SELECT id FROM runs WHERE {bare} AND NOT {rows}")]  # noqa: S608

    def runs_with_broken_rows(self) -> list[str]:
        """Ids of runs with a row whose data is no JSON object."""
        is_broken = "CASE WHEN json_valid(data) THEN json_type(data) <> 'object' ELSE 1 END"
        query = f"SELECT DISTINCT run_id FROM journal WHERE data IS NOT NULL AND {is_broken} ORDER BY run_id"  # noqa: S608
        return [run_id for (run_id,) in self._all(query)]

    def live(self, run_ids: Collection[str]) -> set[str]:
        """Those of these runs that have not ended."""
        return {run_id for run_id in run_ids if self._status(run_id) in LIVE_STATUSES}

    def known(self, run_ids: Collection[str]) -> set[str]:
        """Those of these runs that are there."""
        return {run_id for run_id in run_ids if self._status(run_id) is not None}

    def result_files(self) -> Iterator[tuple[str, str, str]]:
        """(run, path of the step, file) for every row whose result is kept in a file."""
        query = (
            "SELECT run_id, path, json_extract(data, '$.result_file') FROM journal"
            " WHERE data LIKE '%\"result_file\"%' AND json_valid(data) AND run_id IN (SELECT id FROM runs)"
        )
        for run_id, path, name in self._all(query):
            if isinstance(name, str):
                yield run_id, path, name

    def _status(self, run_id: str) -> RunStatus | None:
        found = self._all("SELECT status FROM runs WHERE id = ?", run_id)
        return RunStatus(found[0][0]) if found else None

    def _number(self, query: str) -> int:
        ((number,),) = self._all(query)
        return int(number)

    def _all(self, query: str, *values: str) -> list[tuple[str, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise store_error(error, self._path) from error


def sqlite_version() -> str:
    """Of the library in use."""
    return sqlite3.sqlite_version


def is_safe_sqlite() -> bool:
    """Is the library one without the WAL-reset bug?"""
    return sqlite3.sqlite_version_info >= SAFE_SQLITE


def rebuild(path: Path) -> None:
    """Write the file anew without free space; from then on it can become smaller bit by bit. Raises StoreUnavailable.

    Nobody else may have it open. Needs as much free space on the disk as the file takes.
    """
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("VACUUM")
    except sqlite3.Error as error:
        raise store_error(error, path) from error
    finally:
        connection.close()


def _texts(statuses: Collection[RunStatus]) -> str:
    return "(" + ", ".join(f"'{status.value}'" for status in statuses) + ")"
