"""The one writer: a thread that commits what others hand it, in groups.

Several SQLite writers starve each other; one writer with group commit does not (LIBRARIES §7, measured).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.exc import SQLAlchemyError

from flow_processor.errors import StoreUnavailable
from flow_processor.store.database import (
    CommitUnknown,
    database_file,
    insert_of,
    refuses,
    store_error,
    writing,
)

logger = logging.getLogger("octospool.store")

T = TypeVar("T")

LINGER_SECONDS = 0.02
"""How long lazy operations may wait for company: long enough for a run of quick steps to share a commit,
short enough for a live view."""

RETRY_SECONDS = 0.5
"""Pause before operations that must not be lost are tried again while the store cannot be written."""


Rows = Mapping[Table, Sequence[Mapping[str, Any]]]
"""Rows to be inserted, by table. A row whose key is there already is left alone."""


NO_ROWS: Rows = {}


class _Unanswered(StoreUnavailable):
    """Nobody can be asked any more whether a commit took place."""


class EntryRefused(StoreUnavailable):
    """Not the store is unavailable: what was to be written can never be written."""


@dataclass(slots=True)
class _Entry:
    operation: Callable[[Connection], Any] | None
    rows: Rows
    keep: bool
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Runs operations in its own thread, many in one transaction; each gets its own outcome.

    An operation is a function of the connection. One that fails does not harm its neighbours: the group is
    rolled back and each is tried alone. Thread safe.
    """

    def __init__(self, engine: Engine):
        self._engine = engine
        self._wake = threading.Condition()
        self._entries: list[_Entry] = []
        self._urgent = False
        self._stopping = False
        self._ask_until = math.inf
        """On the monotonic clock; see `hurry`."""
        self.problem: StoreUnavailable | None = None
        """The last failure, until a commit succeeds again."""
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        operation: Callable[[Connection], T] | None,
        *,
        rows: Rows = NO_ROWS,
        lazy: bool = False,
        keep: bool = False,
    ) -> Future[T]:
        """Queue an operation; the future is done when it is committed.

        `rows` are inserted in the same transaction. They come before all operations of their group and in one
        statement a table, which is what makes a journal cheap.
        `lazy`: nobody waits for it, so it may linger for company. `keep`: it must not be lost, so it is tried
        again for as long as the store refuses (a full disk, say) instead of failing.
        """
        entry = _Entry(operation, rows, keep)
        with self._wake:
            if self._stopping:
                raise StoreUnavailable("the store is closed")
            self._entries.append(entry)
            if not lazy:
                self._urgent = True
            if not lazy or len(self._entries) == 1:
                self._wake.notify()
        return entry.future

    def run(self, operation: Callable[[Connection], T]) -> T:
        """Do an operation and wait until it is committed. Raises StoreUnavailable or DiskFull."""
        return self.submit(operation).result()

    def hurry(self, seconds: float) -> None:
        """The program stops: a commit whose answer was lost is asked about for so long. After that its operations are
        refused, so that who waits for them can end; what took place nevertheless, the next start finds."""
        with self._wake:
            self._ask_until = time.monotonic() + seconds
            self._wake.notify()

    def close(self) -> None:
        """Commit what is queued and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._entries and not self._stopping:
                    self._wake.wait()
                if not self._urgent and not self._stopping:
                    self._wake.wait_for(lambda: self._urgent or self._stopping, LINGER_SECONDS)
                entries, self._entries, self._urgent = self._entries, [], False
                if not entries:
                    return
            retry = self._commit(entries)
            if retry:
                self._wait_and_requeue(retry)

    def _wait_and_requeue(self, entries: list[_Entry]) -> None:
        with self._wake:
            if self._stopping:
                for entry in entries:
                    entry.future.set_exception(self.problem or StoreUnavailable("the store is closed"))
                return
            self._wake.wait_for(lambda: self._urgent or self._stopping, RETRY_SECONDS)
            self._entries[:0] = entries

    def _commit(self, entries: list[_Entry]) -> list[_Entry]:
        """Commit the group, or what can be committed of it; what has to be tried again is returned, in order."""
        error = self._try(entries)
        if error is None:
            return []
        if isinstance(error, _Unanswered):  # tried again at once, it might be done twice
            return self._postpone(entries)
        if len(entries) == 1:
            return self._failed(entries[0], error)
        for position, entry in enumerate(entries):
            if self._commit([entry]):
                # The later ones must not overtake it: a run's end is nothing before its begin.
                return self._postpone(entries[position:])
        return []

    def _try(self, entries: list[_Entry]) -> Exception | None:
        results: list[Any] = []
        try:
            with writing(self._engine) as connection:
                self._insert_rows(connection, entries)
                results = [entry.operation and entry.operation(connection) for entry in entries]
        except CommitUnknown as unknown:
            try:
                took_place = self._took_place(unknown)
            except _Unanswered as error:
                return error
            if not took_place:
                return unknown.__cause__ if isinstance(unknown.__cause__, Exception) else unknown
        except Exception as error:  # noqa: BLE001  any operation's failure: it is that operation's outcome
            return error
        self.problem = None
        for entry, result in zip(entries, results, strict=True):
            entry.future.set_result(result)
        return None

    def _took_place(self, unknown: CommitUnknown) -> bool:
        """Whether a commit took place of which the answer was lost.

        Asked until the store answers: to do it all again could start a run twice, to give up could lose one. Raises
        _Unanswered once the program stops.
        """
        while True:
            try:
                return unknown.took_place()
            except (SQLAlchemyError, OSError) as error:
                self.problem = store_error(error, database_file(self._engine.url))
            with self._wake:
                self._refuse_waiting(self.problem)
                left = self._ask_until - time.monotonic()
                if left <= 0 or self._wake.wait_for(lambda: self._stopping, min(left, RETRY_SECONDS)):
                    raise _Unanswered(self.problem.message)

    def _refuse_waiting(self, problem: StoreUnavailable) -> None:
        """Nobody is to wait for a store that is away, but what must not be lost; `_wake` is held."""
        for entry in self._entries:
            if not entry.keep:
                entry.future.set_exception(problem)
        self._entries = [entry for entry in self._entries if entry.keep]

    def _postpone(self, entries: list[_Entry]) -> list[_Entry]:
        for entry in entries:
            if not entry.keep:
                entry.future.set_exception(self.problem or StoreUnavailable("the store refuses to write"))
        return [entry for entry in entries if entry.keep]

    def _insert_rows(self, connection: Connection, entries: list[_Entry]) -> None:
        rows: defaultdict[Table, list[Mapping[str, Any]]] = defaultdict(list)
        for entry in entries:
            for table, values in entry.rows.items():
                rows[table].extend(values)
        for table, values in rows.items():
            if values:
                insert_of(table).execute_each(connection, values)

    def _failed(self, entry: _Entry, error: Exception) -> list[_Entry]:
        if not refuses(error):
            # Not the store refuses, but this entry is wrong: trying again would hold up all behind it for ever.
            is_databases = isinstance(error, SQLAlchemyError)
            entry.future.set_exception(EntryRefused(store_error(error).message) if is_databases else error)
            return []
        if self.problem is None:
            logger.error("the store cannot be written: %s", error)
        self.problem = store_error(error, database_file(self._engine.url))
        if entry.keep:
            return [entry]
        entry.future.set_exception(self.problem)
        return []
