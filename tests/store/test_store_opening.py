"""Opening a store: a new one, an older one, one that a newer program has written, one that is none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, inspect, text

from flow_processor.errors import StoreUnavailable
from flow_processor.store import Store, database
from flow_processor.store.tables import metadata


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def set_version(path: Path, version: int) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(version),))
    connection.close()


def version_of(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        (value,) = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    connection.close()
    return str(value)


@pytest.fixture
def database_file(tmp_path: Path) -> Path:
    """A store as this program leaves it."""
    path = tmp_path / "octospool.db"
    Store(url_of(path)).close()
    return path


def tables_of(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_a_new_store_has_every_table(tmp_path: Path) -> None:
    store = Store(url_of(tmp_path / "octospool.db"))
    assert tables_of(store.engine) == set(metadata.tables)
    store.close()
    assert version_of(tmp_path / "octospool.db") == str(database.SCHEMA_VERSION)


def test_a_store_opens_again_and_again(database_file: Path) -> None:
    for _ in range(3):
        Store(url_of(database_file)).close()
    assert version_of(database_file) == str(database.SCHEMA_VERSION)


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """A crash in the very first moment leaves one."""
    path = tmp_path / "octospool.db"
    path.touch()
    store = Store(url_of(path))
    assert tables_of(store.engine) == set(metadata.tables)
    store.close()


def test_a_store_of_a_newer_program_is_refused_untouched(database_file: Path) -> None:
    set_version(database_file, database.SCHEMA_VERSION + 1)
    before = database_file.read_bytes()
    with pytest.raises(StoreUnavailable, match="newer version") as caught:
        Store(url_of(database_file))
    assert caught.value.code == "store_too_new"
    assert database_file.read_bytes() == before


def test_every_version_has_its_migration() -> None:
    assert sorted(database.MIGRATIONS) == list(range(2, database.SCHEMA_VERSION + 1))


def test_an_older_store_is_brought_up_to_date(database_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the migrations that it lacks, in order, and each only once."""
    ran: list[int] = []

    def step(number: int) -> object:
        def migrate(connection: Connection) -> None:
            connection.execute(text(f"CREATE TABLE added_in_{number} (x INTEGER)"))
            ran.append(number)

        return migrate

    now = database.SCHEMA_VERSION
    more = {number: step(number) for number in (now + 1, now + 2)}
    monkeypatch.setattr(database, "MIGRATIONS", {**database.MIGRATIONS, **more})
    monkeypatch.setattr(database, "SCHEMA_VERSION", now + 2)
    for _ in range(2):
        store = Store(url_of(database_file))
        assert {f"added_in_{now + 1}", f"added_in_{now + 2}"} <= tables_of(store.engine)
        store.close()
    assert ran == [now + 1, now + 2]
    assert version_of(database_file) == str(now + 2)


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    database_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older program can still open it."""

    def break_off(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        connection.execute(text("CREATE TABLE half (x INTEGER)"))

    now = database.SCHEMA_VERSION
    with monkeypatch.context() as newer:
        newer.setattr(database, "MIGRATIONS", {**database.MIGRATIONS, now + 1: break_off})
        newer.setattr(database, "SCHEMA_VERSION", now + 1)
        with pytest.raises(StoreUnavailable):
            Store(url_of(database_file))
    store = Store(url_of(database_file))
    assert tables_of(store.engine) == set(metadata.tables)
    store.close()
    assert version_of(database_file) == str(now)


@pytest.mark.parametrize(
    "content", [b"no database at all, and longer than a header" * 100, b"SQLite format 3\0junk"]
)
def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "octospool.db"
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match="octospool restore") as caught:
        Store(url_of(path))
    assert str(path) in caught.value.message
    assert caught.value.code == "store_damaged"
    assert path.read_bytes() == content


def test_a_store_that_is_damaged_while_it_is_used_is_told_to_readers_and_writers(tmp_path: Path) -> None:
    """It is no fault of what they want to write: that is kept, and tried again."""
    path = tmp_path / "octospool.db"
    store = Store(url_of(path))
    run = store.writer.submit(lambda connection: connection.execute(text("CREATE TABLE big (x)")))
    run.result()
    fill = text("INSERT INTO big VALUES (randomblob(40000))")
    for _ in range(50):
        store.writer.run(lambda connection: connection.execute(fill))
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 8)
        file.write(b"x" * (size * 3 // 4))
    damaged = Store(url_of(path))
    with pytest.raises(StoreUnavailable, match="is damaged"), database.reading(damaged.engine) as connection:
        connection.execute(text("SELECT sum(length(x)) FROM big")).all()
    with pytest.raises(StoreUnavailable, match="is damaged") as caught:
        damaged.writer.run(lambda connection: connection.execute(text("DELETE FROM big")))
    assert str(path) in caught.value.message
    damaged.close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open"):
        Store(url_of(tmp_path / "nowhere" / "octospool.db"))


def test_a_commit_survives_a_power_cut_and_readers_never_wait(tmp_path: Path) -> None:
    """The settings that this rests on: write-ahead log, fsync at every commit."""
    store = Store(url_of(tmp_path / "octospool.db"))
    with store.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    store.close()


def test_readiness_commits_something(tmp_path: Path) -> None:
    store = Store(url_of(tmp_path / "octospool.db"))
    path = tmp_path / "octospool.db-wal"
    for _ in range(2):
        before = path.stat().st_size
        store.check(10)
        assert path.stat().st_size > before
    store.close()
    with pytest.raises(StoreUnavailable):
        store.check(10)
