"""What only a store on a server can meet: a line that is cut, a restart, several writers, other sessions' settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, insert, make_url, select

from flow_processor.errors import StoreUnavailable
from flow_processor.store import Store, database
from flow_processor.store.deliveries import claim_delivery
from flow_processor.store.snapshot import write_snapshot
from flow_processor.store.tables import logs, meta
from tests.databases import NewDatabase
from tests.engine.world import until
from tests.store.cut_line import Cut, CutLine

WAIT_SECONDS = 30.0


@pytest.fixture
def url(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture
def line(url: str) -> Iterator[CutLine]:
    """A line to the server."""
    made = CutLine(make_url(url).port or 0)
    yield made
    made.close()


@pytest.fixture
def store(url: str, line: CutLine) -> Iterator[Store]:
    """Over that line."""
    opened = Store(make_url(url).set(port=line.port).render_as_string(hide_password=False))
    yield opened
    opened.close()


def put(key: str) -> Callable[[Connection], str]:
    def operation(connection: Connection) -> str:
        connection.execute(insert(meta).values(key=key, value=""))
        return key

    return operation


def kept(store: Store) -> set[str]:
    with database.reading(store.engine) as connection:
        return set(connection.scalars(select(meta.c.key))) - {"schema_version"}


def test_a_commit_whose_answer_was_lost_took_place_once(store: Store, line: CutLine) -> None:
    line.cut = Cut.AFTER
    assert store.writer.submit(put("run")).result(WAIT_SECONDS) == "run"
    assert kept(store) == {"run"}
    assert store.writer.problem is None


@pytest.mark.parametrize("keep", [True, False])
def test_a_commit_that_never_arrived_is_made_again_or_refused(
    store: Store, line: CutLine, keep: bool
) -> None:
    line.cut = Cut.BEFORE
    future = store.writer.submit(put("run"), keep=keep)
    if keep:
        assert future.result(WAIT_SECONDS) == "run"
    else:
        with pytest.raises(StoreUnavailable):
            future.result(WAIT_SECONDS)
    assert kept(store) == ({"run"} if keep else set())


def test_sessions_that_the_server_ends_are_made_anew(store: Store) -> None:
    """As at a restart: nobody who reads or writes afterwards hears of it."""
    store.writer.run(put("a"))
    others = "pg_backend_pid() <> pid AND datname = current_database()"
    with store.engine.connect() as connection:
        connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608
    assert kept(store) == {"a"}
    store.writer.run(put("b"))
    assert kept(store) == {"a", "b"}


def test_one_writes_at_a_time_over_all_daemons(url: str, store: Store) -> None:
    """What an operation has read is still so when it writes."""
    other = Store(url)
    together = threading.Barrier(2)

    def count(connection: Connection) -> None:
        seen = connection.scalar(select(meta.c.value).where(meta.c.key == "count"))
        connection.execute(meta.update().where(meta.c.key == "count").values(value=str(int(seen or 0) + 1)))

    def work(mine: Store) -> None:
        together.wait(WAIT_SECONDS)
        for _ in range(50):
            mine.writer.run(count)

    store.writer.run(lambda connection: connection.execute(insert(meta).values(key="count", value="0")))
    threads = [threading.Thread(target=work, args=(one,)) for one in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    with store.engine.connect() as connection:
        assert connection.scalar(select(meta.c.value).where(meta.c.key == "count")) == "100"


def test_a_delivery_counts_once_over_all_daemons(url: str, store: Store) -> None:
    other = Store(url)
    claimed = [
        one.writer.run(
            lambda connection: claim_delivery(connection, "h", ["mark"], run_id="r", at=1.0, expires_at=9.0)
        )
        for one in (store, other)
    ]
    other.close()
    assert claimed == [True, False]


def test_first_starts_at_once_make_one_store(url: str) -> None:
    opened: list[Store] = []
    threads = [threading.Thread(target=lambda: opened.append(Store(url))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(opened) == 6
    for store in opened:
        store.close()


def test_a_reported_commit_survives_whatever_the_server_says(url: str) -> None:
    name = make_url(url).database
    plain = Store(url)
    with plain.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
        connection.exec_driver_sql(
            f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
        )
    plain.close()
    store = Store(url)
    with store.engine.connect() as connection:
        said = [
            connection.exec_driver_sql(f"SHOW {setting}").scalar_one()
            for setting in ("synchronous_commit", "transaction_isolation")
        ]
    store.close()
    assert said == ["on", "read committed"]


def test_a_line_of_a_log_may_hold_anything(store: Store) -> None:
    row = {"run_id": "r", "seq": 2**40, "at": 0.0, "level": "info", "step": "", "message": "a\0b 🐙 %s ?"}
    store.writer.submit(None, rows={logs: [row]}).result(WAIT_SECONDS)
    ((seq, _, _, _, message),) = store.journal.log_lines("r", after=0, limit=9)
    assert (seq, message) == (2**40, "a\N{REPLACEMENT CHARACTER}b 🐙 %s ?")


def test_a_database_that_cannot_hold_every_text_is_refused(url: str) -> None:
    plain = database.create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with plain.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(
            "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    plain.dispose()
    with pytest.raises(StoreUnavailable, match="ENCODING 'UTF8'") as caught:
        Store(make_url(url).set(database="latin").render_as_string(hide_password=False))
    assert caught.value.code == "store_unfit"


def test_a_server_that_is_not_there_is_named_without_the_password(url: str) -> None:
    away = make_url(url).set(port=1).render_as_string(hide_password=False)
    with pytest.raises(StoreUnavailable) as caught:
        Store(away)
    assert "port 1" in caught.value.message
    assert (make_url(url).password or "?") not in caught.value.message


def test_a_backup_is_the_servers_business(url: str, tmp_path: object) -> None:
    with pytest.raises(StoreUnavailable, match="pg_dump") as caught:
        write_snapshot(url, tmp_path)  # type: ignore[arg-type]  # nothing is written
    assert caught.value.code == "store_on_server"


def test_a_daemon_that_was_declared_dead_writes_nothing(url: str) -> None:
    store = Store(url, daemon="me")
    store.writer.run(put("before"))
    with store.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO daemons (id, name, seen_at) VALUES ('me', 'me', -1)")
    with pytest.raises(StoreUnavailable) as caught:
        store.writer.submit(put("after"), keep=True).result(WAIT_SECONDS)
    assert caught.value.code == "declared_dead"
    until(lambda: kept(store) == {"before"}, "nothing more is written")
    store.close()
