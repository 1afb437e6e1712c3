"""The checker itself: it finds nothing in a data folder that is as it should be, and everything that is not."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance import invariants
from tests.engine.world import World

LARGE = "  - {name: large, type: jq, jq: {expression: '[range(60000)]'}}\n"
FAR = 10**18
"""A number behind every row."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after one run with a large result."""
    world = World(tmp_path_factory.mktemp("whole") / "data").start()
    world.succeed(f"steps:\n{LARGE}")
    world.leave()
    return world.data


@pytest.fixture
def data(whole: Path, tmp_path: Path) -> Path:
    """A copy of it that may be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "data"))


def run_of(data: Path) -> str:
    """The run in it."""
    with closing(sqlite3.connect(data / "octospool.db")) as connection:
        return str(connection.execute("SELECT id FROM runs").fetchone()[0])


def sql(statement: str) -> Callable[[Path], None]:
    """Spoil the database."""

    def spoil(data: Path) -> None:
        with closing(sqlite3.connect(data / "octospool.db")) as connection, connection:
            assert connection.execute(statement).rowcount > 0

    return spoil


def file(path: str) -> Callable[[Path], None]:
    """Leave a file behind; `*` is the run."""

    def spoil(data: Path) -> None:
        target = data / path.replace("*", run_of(data))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(' {"run_ids": ["somebody"], "run_id": "somebody"}')

    return spoil


def lose_result(data: Path) -> None:
    (found,) = (data / "results").rglob("*.json")
    found.write_text("[]")


def row(event: str, *, path: str = "", content: str = "NULL", seq: int = FAR) -> str:
    """Add a row to the run's journal."""
    return (
        "INSERT INTO journal SELECT id, "  # noqa: S608
        f"{seq}, '{path}', {int(bool(path))}, '{event}', 1, {content} FROM runs"
    )


def test_a_data_folder_that_is_as_it_should_be(data: Path) -> None:
    found = invariants.check(data, accepted=[run_of(data)], posts={run_of(data): 1})
    assert found.count() == {"succeeded": 1}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (sql("DELETE FROM runs"), "not in history"),
        (sql("UPDATE runs SET status = 'running'"), "is still running"),
        (sql("UPDATE runs SET status = 'waiting'"), "is still waiting"),
        (sql("UPDATE runs SET status = 'failed'"), "its journal ends with"),
        (sql("DELETE FROM journal WHERE event = 'ended'"), "its journal ends with"),
        (sql(row("ended", content="""'{"status": "succeeded"}'""")), "its journal ends with"),
        (sql(row("started", path="more")), "nobody knows how they ended"),
        (sql(row("succeeded", path="large")), "succeeded more than once"),
        (sql(row("succeeded", path="x", content="""'{"signal": 7}'""")), "that nobody sent"),
        (sql(row("succeeded", path="kept", seq=5)), "tries no run again"),
        (sql("UPDATE runs SET retry_of = 'x'"), "again, its journal"),
        (sql("INSERT INTO removals SELECT id FROM runs"), "never cleared up"),
        (sql("INSERT INTO logs VALUES ('nobody', 1, 1, 'info', '', 'x')"), "without a run"),
        (file("locks/flow.lock"), "locks without a run"),
        (file("workers/w.lock"), "workers that died"),
        (file("handover/w.json"), "nobody took"),
        (file("results/*/.x.tmp"), "temporary files"),
        (file("results/20261121T074006123-k7x2m5qa/x.json"), "without a run"),
        (lose_result, "was changed"),
    ],
)
def test_everything_that_must_not_be_is_found(
    data: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    run_id = run_of(data)
    spoil(data)
    with pytest.raises(AssertionError, match=complaint):
        invariants.check(data, accepted=[run_id])


@pytest.mark.parametrize(
    ("posts", "complaint"),
    [
        ({}, "succeeded with 0 calls"),
        ({"*": 2}, "more than once"),
        ({"*": 1, "*/2": 1}, "succeeded with 2 calls"),
        ({"*": 1, "nobody": 1}, "that history does not know"),
    ],
)
def test_calls_that_were_not_made_as_they_should_be_are_found(
    data: Path, posts: dict[str, int], complaint: str
) -> None:
    run_id = run_of(data)
    made = {key.replace("*", run_id): times for key, times in posts.items()}
    with pytest.raises(AssertionError, match=complaint):
        invariants.check(data, accepted=[run_id], posts=made)


def test_what_was_deleted_must_be_gone(data: Path) -> None:
    with pytest.raises(AssertionError, match="deleted and still there"):
        invariants.check(data, accepted=[], deleted=[run_of(data)])
