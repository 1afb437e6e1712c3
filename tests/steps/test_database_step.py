"""The database step over SQLite files and a real PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import servers
from pydantic import ValidationError

from flow_processor import factory
from flow_processor.errors import StepError
from flow_processor.step import Secret, StepResult
from tests.steps.fake_context import FakeContext

RunStep = Callable[..., StepResult]
FILE = "sqlite:///shop.db"


@pytest.fixture(scope="module")
def postgresql() -> Iterator[servers.Server]:
    with servers.postgresql() as server:
        yield server


@pytest.fixture
def lite(run_step: RunStep) -> Callable[..., Any]:
    """`lite(query, **options)` -> the result, over a SQLite file."""
    return lambda query, **options: (
        run_step(type="database", database={"url": FILE, "query": query, **options}).value
    )


@pytest.fixture
def shop(lite: Callable[..., Any]) -> Callable[..., Any]:
    """The same, with a table that has three orders in it."""
    lite("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, total REAL)")
    rows = [{"id": 1, "customer": "Ada", "total": 9.5}, {"id": 2, "customer": "Alan", "total": 3}]
    lite(
        "INSERT INTO orders VALUES (:id, :customer, :total)",
        params=[*rows, {"id": 3, "customer": None, "total": 0}],
    )
    return lite


@pytest.fixture
def big(postgresql: servers.Server, context: FakeContext, run_step: RunStep) -> Callable[..., Any]:
    """`big(query, **options)` -> the result, over PostgreSQL."""
    whole = f"postgresql://shop:{postgresql.password}@127.0.0.1:{postgresql.port}/shop"
    context.secrets["shop"] = Secret("shop", "token", {"token": whole})
    return lambda query, **options: (
        run_step(type="database", database={"secret": "shop", "query": query, **options}).value
    )


def refused(call: Callable[..., Any], query: str, **options: Any) -> StepError:
    """The step's error; nothing secret is in it."""
    with pytest.raises(StepError) as error:
        call(query, **options)
    assert servers.PASSWORD not in json.dumps(error.value.as_record())
    return error.value


# What is refused at load


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": "SELECT '{{ __input__ }}'"}, "write :name in the query and give the value under params"),
        ({"query": "{% if x %}SELECT 1{% endif %}"}, "write :name in the query"),
        ({"query": "SELECT :a"}, "the query has :a, params has not"),
        (
            {"query": "SELECT :a", "params": {"a": 1, "b": 2}},
            "params has 'b', the query has no :b; it has: :a",
        ),
        ({"query": "SELECT :a", "params": [{"a": 1}, {}]}, "the query has :a, params has not"),
        ({"query": "SELECT 1", "params": {}, "data_key": "x"}, "either 'params' or 'data_key'"),
        (
            {"query": "SELECT 1", "url": "postgresql://me:secret@db/shop"},
            "a password does not belong into a flow",
        ),
        ({"query": "SELECT 1", "url": None}, "'url' or 'secret' is missing"),
        ({"query": "SELECT 1", "max_rows": 0}, "greater than or equal to 1"),
        ({}, "query"),
    ],
)
def test_what_is_refused_at_load(step: Callable[..., Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        step(type="database", database={"url": FILE, **options})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("query", "is_repeatable"),
    [
        ("SELECT 1", True),
        ("\n select * from x where a = 1", True),
        ("SELECT * INTO y FROM x", False),
        ("SELECT * FROM x FOR UPDATE", False),
        ("INSERT INTO x VALUES (1)", False),
        ("WITH gone AS (DELETE FROM x RETURNING *) SELECT * FROM gone", False),
    ],
)
def test_only_a_plain_select_is_sent_again_after_a_crash(
    step: Callable[..., Any], query: str, is_repeatable: bool
) -> None:
    spec = step(type="database", database={"url": FILE, "query": query})
    assert factory.step_type_of(spec).repeatable(spec.options) is is_repeatable


# Values and rows


def test_values_are_bound_and_never_pasted(shop: Callable[..., Any], context: FakeContext) -> None:
    context.data = {"who": "Ada' OR '1'='1", "ids": [1, 3], "nothing": []}
    assert shop("SELECT * FROM orders WHERE customer = :who", params={"who": "{{ who }}"}) == []
    found = shop("SELECT id, total FROM orders WHERE id IN :ids ORDER BY id", params={"ids": "{{ ids }}"})
    assert found == [{"id": 1, "total": 9.5}, {"id": 3, "total": 0.0}]
    assert shop("SELECT id FROM orders WHERE id IN :ids", params={"ids": "{{ nothing }}"}) == []
    assert shop("SELECT :a AS a, '12:30' AS b, '\\:c' AS c", params={"a": {"k": [1]}}) == [
        {"a": '{"k": [1]}', "b": "12:30", "c": ":c"}
    ]


def test_what_writes_tells_how_many_rows(shop: Callable[..., Any]) -> None:
    assert shop("UPDATE orders SET total = 1 WHERE id < :id", params={"id": 3}) == {"rows_affected": 2}
    assert shop("DELETE FROM orders WHERE id = 1 RETURNING customer") == [{"customer": "Ada"}]
    full = shop("SELECT id FROM orders", response="full")
    assert full == {"rows": [{"id": 2}, {"id": 3}], "columns": ["id"], "rows_affected": None, "cut": False}


def test_many_sets_are_one_transaction(shop: Callable[..., Any], context: FakeContext) -> None:
    insert = "INSERT INTO orders (id, customer) VALUES (:id, :who)"
    context.data = {"new": [{"id": 10, "who": "x"}, {"id": 11, "who": "y"}], "none": []}
    assert shop(insert, data_key="new") == {"rows_affected": 2}
    assert shop(insert, data_key="none") == {"rows_affected": 0}
    error = refused(shop, insert, params=[{"id": 12, "who": "x"}, {"id": 1, "who": "y"}])
    assert error.code == "database_constraint"
    assert error.details["sqlite_error"] == "SQLITE_CONSTRAINT_PRIMARYKEY"
    assert "UNIQUE constraint failed: orders.id" in error.message
    assert shop("SELECT count(*) AS n FROM orders") == [{"n": 5}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "must be a mapping, or a list of mappings"),
        ([{"id": 1, "who": 1}, 5], "must be a mapping, or a list of mappings"),
        ([{"id": 1, "who": "x"}, {"id": 1}], "set 2 of the params: the query has :who"),
        ([{"id": [1], "who": "x"}], "a list as a value (for IN)"),
    ],
)
def test_params_that_do_not_fit(
    shop: Callable[..., Any], context: FakeContext, data: Any, message: str
) -> None:
    context.data = {"new": data}
    error = refused(shop, "INSERT INTO orders (id, customer) VALUES (:id, :who)", data_key="new")
    assert (error.code, message in error.message) == ("database_params", True), error.message


def test_the_number_of_rows_is_limited(shop: Callable[..., Any], context: FakeContext) -> None:
    error = refused(shop, "SELECT id FROM orders", max_rows=2)
    assert (error.code, error.details) == ("database_too_many_rows", {"max_rows": 2})
    assert len(shop("SELECT id FROM orders", max_rows=3)) == 3
    cut = shop("SELECT id FROM orders ORDER BY id", max_rows=2, on_more_rows="cut", response="full")
    assert (cut["rows"], cut["cut"]) == ([{"id": 1}, {"id": 2}], True)
    assert ("warning", "cut: only the first 2 rows are taken (max_rows)") in context.lines
    refused(shop, "DELETE FROM orders RETURNING id", max_rows=2)
    assert len(shop("SELECT id FROM orders")) == 3, "what gave too many rows was rolled back"


def test_two_columns_of_one_name_are_refused(shop: Callable[..., Any]) -> None:
    error = refused(shop, "SELECT a.id, b.id FROM orders a, orders b")
    assert error.code == "database_columns"


# SQLite files


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("sqlite:////etc/passwd", "path_refused"),
        ("sqlite:///../x.db", "path_refused"),
        ("sqlite:///secret/octospool.db", "path_refused"),
        ("sqlite:///link.db", "path_refused"),
        ("sqlite:///folder", "path_refused"),
        ("sqlite://", "address_invalid"),
        ("sqlite:///:memory:", "address_invalid"),
        ("sqlite:///file:x.db?uri=true", "address_invalid"),
        ("sqlite+aiosqlite:///x.db", "address_invalid"),
        ("{{ __input__ }}", "address_invalid"),
        ("nonsense://x", "address_invalid"),
        ("sqlite:///none.db", "database_not_found"),
        ("mysql+pymysql://host/x", "package_missing"),
    ],
)
def test_files_that_are_no_business_of_a_step(
    run_step: RunStep, context: FakeContext, tmp_path: Path, url: str, code: str
) -> None:
    folders = context.folders
    private = folders.data / "secret"
    private.mkdir()
    (folders.data / "folder").mkdir()
    (folders.data / "link.db").symlink_to(tmp_path / "elsewhere.db")
    context.folders = type(folders)(folders.data, folders.templates, (private,))
    context.data = {"__input__": "postgresql://me:secret@db/x"}
    with pytest.raises(StepError) as error:
        run_step(type="database", database={"url": url, "query": "SELECT 1"})
    assert error.value.code == code, error.value.message
    assert not (tmp_path / "elsewhere.db").exists()


def test_no_other_file_through_the_one(shop: Callable[..., Any], tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    sqlite3.connect(other).close()
    for query in (f"ATTACH '{other}' AS o", f"VACUUM INTO '{tmp_path / 'copy.db'}'", "ATTACH :f AS o"):
        error = refused(shop, query, params={"f": str(other)} if ":f" in query else {})
        assert error.message in (
            "sqlite: SQLITE_AUTH: authorization denied",
            "sqlite: SQLITE_AUTH: not authorized",
        )
    assert not (tmp_path / "copy.db").exists()


def endless(kind: str) -> str:
    """A SELECT that does not end."""
    if kind == "sqlite":
        return (
            "SELECT count(*) AS n FROM "
            "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT x FROM c)"
        )
    return "SELECT pg_sleep(600)"


def test_a_cancelled_statement_ends_sqlite(shop: Callable[..., Any], context: FakeContext) -> None:
    threading.Timer(0.2, context.stop.set).start()
    assert refused(shop, endless("sqlite")).code == "cancelled"


def test_a_time_limit_ends_sqlite(shop: Callable[..., Any], context: FakeContext) -> None:
    context.seconds_left = 0
    assert refused(shop, endless("sqlite")).code == "step_timeout"


# PostgreSQL


def test_every_kind_of_column_becomes_json(big: Callable[..., Any]) -> None:
    [row] = big(
        "SELECT 1::bigint AS i, 12.50::numeric AS d, 'NaN'::float8 AS nan, true AS b, NULL AS n, "
        "date '2026-11-21' AS day, timestamptz '2026-11-21 10:00+00' AS at, interval '1 day 2 seconds' AS span, "
        "'\\x00ff'::bytea AS raw, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS u, '10.0.0.1'::inet AS ip, "
        """'{"a": [1]}'::jsonb AS j, ARRAY[1.5, 2]::numeric[] AS a, int4range(1, 3) AS r"""
    )
    at = datetime.fromisoformat(row.pop("at"))
    assert at == datetime(2026, 11, 21, 10, tzinfo=UTC)
    assert row == {
        "i": 1,
        "d": "12.50",
        "nan": None,
        "b": True,
        "n": None,
        "day": "2026-11-21",
        "span": 86_402.0,
        "raw": "AP8=",
        "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "ip": "10.0.0.1",
        "j": {"a": [1]},
        "a": ["1.5", "2"],
        "r": "[1, 3)",
    }


def test_postgresql_writes_reads_and_limits(big: Callable[..., Any]) -> None:
    big("CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY, note jsonb)")
    rows = [{"id": number, "note": {"n": number}} for number in range(1, 6)]
    assert big("INSERT INTO orders VALUES (:id, :note)", params=rows) == {"rows_affected": 5}
    assert big(
        "SELECT id, note->>'n' AS n FROM orders WHERE id IN :ids ORDER BY id", params={"ids": [2, 9]}
    ) == [{"id": 2, "n": "2"}]
    assert refused(big, "SELECT generate_series(1, 100000000) AS n").code == "database_too_many_rows"
    assert big("DELETE FROM orders WHERE id > 3 RETURNING id") == [{"id": 4}, {"id": 5}]


@pytest.mark.parametrize(
    ("query", "code", "state", "message"),
    [
        ("SELEC 1", "database_failed", "42601", 'syntax error at or near "SELEC"'),
        ("SELECT * FROM nowhere", "database_failed", "42P01", 'relation "nowhere" does not exist'),
        ("SELECT 1/0 AS x", "database_data", "22012", "division by zero"),
        ("SELECT 'x'::int AS x", "database_data", "22P02", "invalid input syntax"),
    ],
)
def test_errors_carry_what_postgresql_says(
    big: Callable[..., Any], query: str, code: str, state: str, message: str
) -> None:
    error = refused(big, query)
    assert (error.code, error.details["sqlstate"]) == (code, state)
    assert error.message.startswith(f"postgresql: {state}: ")
    assert message in error.message


def running(server: servers.Server) -> int:
    """How many statements run in the server besides this one."""
    import psycopg

    login = {"user": "shop", "password": server.password, "dbname": "shop"}
    with psycopg.connect(host="127.0.0.1", port=server.port, **login) as connection:
        asked = (
            "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND application_name = 'octospool'"
        )
        found = connection.execute(asked).fetchone()
    assert found is not None
    return int(found[0])


def test_a_cancel_ends_the_statement_in_postgresql(
    big: Callable[..., Any], context: FakeContext, postgresql: servers.Server
) -> None:
    threading.Timer(0.3, context.stop.set).start()
    began = time.monotonic()
    assert refused(big, endless("postgresql")).code == "cancelled"
    assert time.monotonic() - began < 60
    assert running(postgresql) == 0


def test_a_time_limit_ends_the_statement_in_postgresql(
    big: Callable[..., Any], context: FakeContext, postgresql: servers.Server
) -> None:
    context.seconds_left = 0
    assert refused(big, endless("postgresql")).code == "step_timeout"
    assert running(postgresql) == 0


def test_user_and_password_come_from_a_credential(
    run_step: RunStep, context: FakeContext, postgresql: servers.Server
) -> None:
    url = f"postgresql://127.0.0.1:{postgresql.port}/shop"
    options = {"url": url, "secret": "login", "query": "SELECT current_user AS me"}
    context.secrets["login"] = Secret(
        "login", "credential", {"username": "shop", "password": postgresql.password}
    )
    assert run_step(type="database", database=options).value == [{"me": "shop"}]
    context.secrets["login"] = Secret("login", "credential", {"username": "shop", "password": "canary-wrong"})
    with pytest.raises(StepError) as error:
        run_step(type="database", database=options)
    assert error.value.code == "database_connection"
    assert "password authentication failed" in error.value.message
    assert "canary-wrong" not in json.dumps(error.value.as_record())


def test_a_server_that_is_away_and_an_address_that_is_half(run_step: RunStep, context: FakeContext) -> None:
    context.secrets["whole"] = Secret("whole", "token", {"token": "postgresql://me:canary-pw@127.0.0.1:9/x"})
    context.secrets["login"] = Secret("login", "credential", {"username": "me", "password": "canary-pw"})
    context.secrets["key"] = Secret("key", "api-key", {"key": "X", "value": "canary-pw"})
    expected = {
        ("whole", None): "database_connection",
        ("login", None): "address_invalid",
        ("key", None): "address_invalid",
        ("whole", "postgresql://db/x"): "address_invalid",
    }
    for (secret, url), code in expected.items():
        with pytest.raises(StepError) as error:
            run_step(type="database", database={"secret": secret, "url": url, "query": "SELECT 1"})
        assert error.value.code == code, error.value.message
        assert "canary-pw" not in json.dumps(error.value.as_record())
