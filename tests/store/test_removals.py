"""Deletion: never a live run, the run at once, the rest in small steps that a crash does not stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_processor.journal import Event
from flow_processor.run import ALL_RUNS, LIVE_STATUSES, TERMINAL_STATUSES, RunStatus
from flow_processor.store import Store
from flow_processor.store.items import ItemRow, ItemState, ledger_rows, prune_items
from flow_processor.store.journal import history_rows
from flow_processor.store.removals import clear, delete_ended, delete_versions
from flow_processor.store.runs import RunRow, insert_flow_version
from tests.store.stored import a_run, insert_all


def ended_run(minute: int = 0, **changes: Any) -> RunRow:
    return a_run(minute, status=RunStatus.SUCCEEDED, **changes)


def write_history(store: Store, run_id: str, rows: int = 1) -> None:
    journal = [(seq, "a", 1, Event.STARTED.value, 1.0, None) for seq in range(1, rows + 1)]
    store.writer.submit(None, rows=history_rows(run_id, journal, [(1, 1.0, "info", "a", "said")])).result()


def has_history(store: Store, run_id: str) -> bool:
    return bool(store.journal.rows(run_id) or store.journal.log_lines(run_id, after=0, limit=9))


def remove(store: Store, run_ids: list[str]) -> int:
    return store.writer.run(lambda connection: delete_ended(connection, run_ids))


def clear_all(store: Store, rows: int = 1000) -> list[int]:
    """Clear step by step; how many rows each step took."""
    steps = []
    while found := store.removals.next(rows):
        steps.append(store.writer.run(lambda connection, ids=found: clear(connection, ids, rows=rows)))
    return steps


def test_deletion_never_takes_a_live_run(store: Store) -> None:
    """An ended one goes with journal and log, a live one stays with all it has."""
    runs = [a_run(status=status) for status in RunStatus]
    insert_all(store, runs)
    for run in runs:
        write_history(store, run.id)
    assert remove(store, [run.id for run in runs]) == len(TERMINAL_STATUSES)
    clear_all(store)
    for run in runs:
        stays = run.status in LIVE_STATUSES
        assert (store.runs.get(run.id) is not None) is stays
        assert has_history(store, run.id) is stays


def item_row(run_id: str, state: ItemState, *, flow: str = "a.yml", ended_at: float | None = None) -> ItemRow:
    values = {"queue": "orders", "item": "i", "put_at": 1.0, "attempt": 1}
    return ItemRow(flow=flow, state=state, run_id=run_id, ended_at=ended_at, **values)


@pytest.mark.parametrize("state", list(ItemState))
def test_a_run_stays_while_its_item_is_tried_again(store: Store, state: ItemState) -> None:
    """Where a broker has the items, nothing but the run tells what a further attempt is given."""
    insert_all(store, [run := a_run(status=RunStatus.FAILED)])
    store.writer.submit(None, rows=ledger_rows([item_row(run.id, state)])).result()
    assert remove(store, [run.id]) == (state in (ItemState.DONE, ItemState.FAILED))


@pytest.mark.parametrize(
    ("other", "goes"),
    [
        (item_row("2", ItemState.DONE, flow="b.yml", ended_at=5.0), 2),
        (item_row("2", ItemState.DONE, flow="b.yml", ended_at=50.0), 0),
        (item_row("2", ItemState.FAILED, flow="b.yml", ended_at=5.0), 0),
        (item_row("2", ItemState.DUE, flow="b.yml"), 0),
    ],
)
def test_an_item_is_remembered_until_every_flow_is_done(store: Store, other: ItemRow, goes: int) -> None:
    """Its file is there for the other flow, or is put back by a retry: for this one it must not be a new one then."""
    rows = [item_row("1", ItemState.DONE, ended_at=5.0), other]
    store.writer.submit(None, rows=ledger_rows(rows)).result()
    assert store.writer.run(lambda c: prune_items(c, "orders", before=10.0, limit=9)) == goes


def test_what_a_deleted_run_leaves_goes_in_small_steps(store: Store) -> None:
    """No step takes more rows than it may, also of one large run; none is left, and no other run is touched."""
    runs = [ended_run(minute) for minute in range(6)]
    insert_all(store, runs)
    for run, rows in zip(runs, (3, 250, 1, 40, 7, 5), strict=True):
        write_history(store, run.id, rows)
    remove(store, [run.id for run in runs[:5]])
    steps = clear_all(store, rows=50)
    assert max(steps) <= 50
    assert sum(steps) == 3 + 250 + 1 + 40 + 7 + 5
    assert store.removals.count() == 0
    assert [run.id for run in runs if has_history(store, run.id)] == [runs[5].id]


def test_clearing_goes_on_after_a_crash(store: Store, database_url: str) -> None:
    """What is still to go is remembered from the moment the run is deleted."""
    run = ended_run()
    insert_all(store, [run])
    write_history(store, run.id, 30)
    remove(store, [run.id])
    store.writer.run(lambda connection: clear(connection, [run.id], rows=10))
    store.close()
    again = Store(database_url)
    assert again.removals.count() == 1
    assert sum(clear_all(again, rows=10)) == 21
    assert not has_history(again, run.id)
    again.close()


def test_a_run_that_is_deleted_twice_is_deleted_once(store: Store) -> None:
    run = ended_run()
    insert_all(store, [run])
    assert [remove(store, [run.id]), remove(store, [run.id])] == [1, 0]


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.sampled_from(RunStatus), max_size=12), st.sets(st.sampled_from(RunStatus)), st.integers(0, 12)
)
def test_whatever_is_asked_to_be_deleted_live_runs_stay(
    tmp_path_factory: pytest.TempPathFactory, statuses: list[RunStatus], asked: set[RunStatus], bound: int
) -> None:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'octospool.db'}")
    runs = [
        a_run(minute, status=status, ended_at=float(minute) if status.is_terminal else None)
        for minute, status in enumerate(statuses)
    ]
    insert_all(store, runs)
    asked_ended = [status for status in asked if status.is_terminal] or TERMINAL_STATUSES
    pages = store.removals.walk(None, up_to=runs[-1].id if runs else "", status=asked_ended)
    found = [run.id for page in pages for run in page if run.ended_at < bound]
    remove(store, [*found, *(run.id for run in runs[:1])])
    left = {run.id for run in store.lists.page(ALL_RUNS, limit=100, after_id=None, now=0.0).rows}
    store.close()
    for minute, run in enumerate(runs):
        is_asked = minute == 0 or (run.status in asked_ended and minute < bound)
        assert (run.id in left) is (run.status in LIVE_STATUSES or not is_asked)


def test_a_flow_text_goes_with_its_last_run(store: Store) -> None:
    runs = [ended_run(minute, flow_hash=version) for minute, version in enumerate("hhg")]
    insert_all(store, runs)
    for version in "hg":
        store.writer.run(
            lambda connection, v=version: insert_flow_version(
                connection, version=v, path="a.yml", flows={"a": v}
            )
        )
    remove(store, [runs[0].id, runs[2].id])
    assert store.removals.unused_versions() == ["g"]
    assert store.writer.run(lambda connection: delete_versions(connection, ["g", "h"])) == 1
    assert (store.runs.flow_texts("h"), store.runs.flow_texts("g")) == ({"a": "h"}, {})


def test_a_new_store_gives_free_space_back(tmp_path: Path) -> None:
    """PostgreSQL sees to that itself."""
    store = Store(f"sqlite:///{tmp_path / 'octospool.db'}")
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == 2
    store.close()
