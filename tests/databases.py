"""A PostgreSQL server of the tests' own, and new databases on it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.steps.servers import Server, postgresql

NewDatabase = Callable[[], str]
"""Gives the address of a new, empty database."""


@contextlib.contextmanager
def new_databases() -> Iterator[NewDatabase]:
    """A server that runs meanwhile."""
    with postgresql() as server:
        numbers = itertools.count(1)

        def new() -> str:
            name = f"store{next(numbers)}"
            execute(server, f"CREATE DATABASE {name}")
            return f"postgresql://{server.user}:{server.password}@127.0.0.1:{server.port}/{name}"

        yield new


def execute(server: Server, statement: str) -> None:
    """Run a statement beside all databases."""
    import psycopg

    with psycopg.connect(
        host="127.0.0.1",
        port=server.port,
        user=server.user,
        password=server.password,
        dbname="postgres",
        autocommit=True,
    ) as connection:
        connection.execute(statement)  # type: ignore[arg-type]  # a text of ours


@pytest.fixture(scope="session")
def new_database() -> Iterator[NewDatabase]:
    """`new_database()` → `postgresql://…`; the server is started for the first test that needs it."""
    with new_databases() as new:
        yield new


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that there is none at yet: each test with it is run on both databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'octospool.db'}"
    new: NewDatabase = request.getfixturevalue("new_database")
    return new()
