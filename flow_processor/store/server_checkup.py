"""Looking at a store on PostgreSQL without changing or migrating it. Whether its pages are whole its own tools tell."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sqlalchemy import inspect, make_url, select
from sqlalchemy.exc import DBAPIError

from flow_processor.store.checkup import Checkup
from flow_processor.store.database import store_error
from flow_processor.store.postgresql import engine_for
from flow_processor.store.spelling import spelling_of
from flow_processor.store.tables import journal, runs


class ServerCheckup(Checkup):
    """See Checkup. Results are looked for only of the runs of one daemon: the files of others are elsewhere."""

    def __init__(self, url: str, daemon: str | None) -> None:
        """`daemon`: whose data folder is looked at; None: it has never been one's. Raises StoreUnavailable."""
        self._daemon = daemon
        self._engine = engine_for(make_url(url))
        try:
            self._server = self._engine.connect()
        except DBAPIError as error:
            self._engine.dispose()
            raise store_error(error) from error

    def close(self) -> None:
        """Give the connection back."""
        self._server.close()
        self._engine.dispose()

    def version(self) -> str:
        """Of the server."""
        ((version,),) = self._all("SELECT current_setting('server_version')")
        return version

    def integrity(self) -> list[str]:
        """See Checkup."""
        return []

    def schema(self) -> int:
        """See Checkup."""
        if not inspect(self._server).has_table("meta"):
            return 0
        ((version,),) = self._all("SELECT value FROM meta WHERE key = 'schema_version'")
        return int(version)

    def pages(self) -> tuple[int, int]:
        """See Checkup."""
        return 0, 0

    def gives_space_back(self) -> bool:
        """See Checkup."""
        return True

    def runs_with_broken_rows(self) -> list[str]:
        """See Checkup."""
        query = select(journal.c.run_id, journal.c.data).where(journal.c.data.is_not(None))
        found = self._server.execution_options(yield_per=1000).execute(query)
        return sorted({run_id for run_id, data in found if not isinstance(_document(data), dict)})

    def result_files(self) -> Iterator[tuple[str, str, str]]:
        """See Checkup."""
        mine = runs.c.daemon == self._daemon
        query = (
            select(journal.c.run_id, journal.c.path, journal.c.data)
            .join(runs, runs.c.id == journal.c.run_id)
            .where(mine, journal.c.data.contains('"result_file"'))
        )
        for run_id, path, data in self._server.execution_options(yield_per=1000).execute(query):
            document = _document(data)
            name = document.get("result_file") if isinstance(document, dict) else None
            if isinstance(name, str):
                yield run_id, path, name

    def _all(self, query: str, *values: str) -> list[tuple[str, ...]]:
        try:
            found = spelling_of(self._server).execute(self._server, query, values)
            return [tuple(row) for row in found]
        except DBAPIError as error:
            raise store_error(error) from error


def _document(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
