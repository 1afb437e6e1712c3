"""Lists of runs: every filter finds what a look at all runs finds, in pages that never read more than a part."""

from __future__ import annotations

import itertools
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import pytest

from flow_processor.clock import from_epoch
from flow_processor.run import ALL_RUNS, LIVE_STATUSES, RunFilter, RunStatus, Trigger
from flow_processor.store import Store, run_lists, run_plans
from flow_processor.store.runs import ListedRun, RunRow
from flow_processor.store.schedule_rows import Origin
from flow_processor.store.schedules import ScheduleStore
from tests.store.stored import MINUTE, NOON, a_run, insert_all

NOW = (NOON + timedelta(days=30)).timestamp()
FLOWS = ("a.yml", "sub/a.yml", "sub/b.yml", "sub/deep/[x].yml", "report.yaml", "rare.yml")
ERRORS = (
    ("overlap", "Flow is running"),
    ("rest_failed", "HTTP 500: Boom"),
    ("flow_timeout", "50% über die Zeit"),
)


def made(number: int) -> RunRow:
    """A run as others might have left it; the same for the same number."""
    chance = random.Random(number)
    status = chance.choice([*RunStatus, *[RunStatus.SUCCEEDED] * 8])
    run = a_run(number, status=status, trigger=chance.choice(list(Trigger)))
    flow = chance.choice(FLOWS[:5]) if number % 60 else FLOWS[5]
    started = (
        None if status in (RunStatus.QUEUED, RunStatus.SKIPPED) else run.created_at + chance.randrange(100)
    )
    ended = None if status in LIVE_STATUSES else (started or run.created_at) + chance.randrange(1000)
    code, message = chance.choice(ERRORS)
    has_error = status not in (*LIVE_STATUSES, RunStatus.SUCCEEDED)
    item = chance.choice(["one", "one-2"]) if run.trigger is Trigger.QUEUE else None
    return replace(
        run,
        item=None if item is None else {"id": item, "queue": "bob"},
        flow=flow,
        started_at=started,
        ended_at=ended,
        error={"code": code, "message": message, "details": {}} if has_error else None,
        trigger_by=chance.choice(["ann", "bob", "s1"]),
        schedule_id=chance.choice([None, "s1"]),
        params=chance.choice(
            [None, {"day": "2026-11-21", "n": 12, "on": True}, {"day": None, "n": 1.5, "on": False}]
        ),
        retry_of=run.id[:-1] + "x" if number % 50 == 1 else None,
        parent="the-parent" if number % 7 == 3 else None,
        parent_path="loop" if number % 7 == 3 else None,
        parent_index=number if number % 7 == 3 else None,
    )


RUNS = [made(number) for number in range(360)]


def at(minute: float) -> datetime:
    return NOON + minute * MINUTE


def duration(run: RunRow) -> float:
    return -1 if run.started_at is None else (run.ended_at or NOW) - run.started_at


def code(run: RunRow) -> str:
    return run.error["code"] if run.error else ""


def message(run: RunRow) -> str:
    return run.error["message"] if run.error else ""


def params(run: RunRow) -> dict[str, object]:
    return run.params or {}


Admits = Callable[[RunRow], bool]
FILTERS: list[tuple[RunFilter, Admits]] = [
    (RunFilter(), lambda run: True),
    (RunFilter(flow="a.yml"), lambda run: run.flow == "a.yml"),
    (RunFilter(flow="sub/"), lambda run: run.flow.startswith("sub/")),
    (RunFilter(flow="*/a"), lambda run: run.flow == "sub/a.yml"),
    (RunFilter(flow="r*"), lambda run: run.flow[0] == "r"),
    (RunFilter(flow="sub/?.y*"), lambda run: fnmatchcase(run.flow, "sub/?.y*")),
    (RunFilter(flow="sub/deep/[x]*"), lambda run: run.flow == "sub/deep/[x].yml"),
    (RunFilter(flow="*"), lambda run: True),
    (RunFilter(flow="none*"), lambda run: False),
    (RunFilter(flow="a%"), lambda run: False),
    (RunFilter(status=(RunStatus.FAILED, RunStatus.EXITED)), lambda run: run.status in ("failed", "exited")),
    (RunFilter(trigger=(Trigger.API, Trigger.CLI)), lambda run: run.trigger in ("api", "cli")),
    (RunFilter(by="ann"), lambda run: run.trigger_by == "ann"),
    (RunFilter(by="nobody"), lambda run: False),
    (RunFilter(schedule="s1"), lambda run: run.schedule_id == "s1"),
    (RunFilter(queue="bob"), lambda run: run.item is not None and run.trigger_by == "bob"),
    (RunFilter(item="one"), lambda run: run.item is not None and run.item["id"] == "one"),
    (RunFilter(item="on"), lambda run: False),
    (RunFilter(parent="the-parent"), lambda run: run.parent is not None),
    (RunFilter(retry_of=RUNS[101].retry_of), lambda run: run.id == RUNS[101].id),
    (RunFilter(since=at(50)), lambda run: run.created_at >= at(50).timestamp()),
    (RunFilter(until=at(50)), lambda run: run.created_at < at(50).timestamp()),
    (RunFilter(started_since=at(50.5)), lambda run: (run.started_at or 0) >= at(50.5).timestamp()),
    (RunFilter(started_until=at(50.5)), lambda run: (run.started_at or NOW) < at(50.5).timestamp()),
    (RunFilter(ended_since=at(50.5)), lambda run: (run.ended_at or 0) >= at(50.5).timestamp()),
    (RunFilter(ended_until=at(50.5)), lambda run: (run.ended_at or NOW) < at(50.5).timestamp()),
    (RunFilter(longer_than=300), lambda run: duration(run) > 300),
    (RunFilter(shorter_than=300), lambda run: 0 <= duration(run) < 300),
    (RunFilter(error=("overlap", "rest_failed")), lambda run: code(run) in ("overlap", "rest_failed")),
    (RunFilter(error_text="boom"), lambda run: "Boom" in message(run)),
    (RunFilter(error_text="50% über"), lambda run: "über" in message(run)),
    (RunFilter(params={"day": "2026-11-21"}), lambda run: params(run).get("day") == "2026-11-21"),
    (RunFilter(params={"n": "12"}), lambda run: params(run).get("n") == 12),
    (RunFilter(params={"n": 1.5, "on": "false"}), lambda run: params(run).get("n") == 1.5),
    (RunFilter(params={"on": True}), lambda run: params(run).get("on") is True),
    (RunFilter(params={"day": None}), lambda run: run.params is not None and run.params["day"] is None),
]
LIMITS = itertools.cycle([11, 50, 400])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'octospool.db'}"
    else:
        url = request.getfixturevalue("new_database")()
    store = Store(url)
    insert_all(store, RUNS)
    yield store
    store.close()


def pages(store: Store, wanted: RunFilter, limit: int) -> list[list[ListedRun]]:
    """All pages, to the last."""
    found, after = [], None
    while True:
        page = store.lists.page(wanted, limit=limit, after_id=after, now=NOW)
        assert len(page.rows) <= limit
        found.append(page.rows)
        if page.next_id is None:
            return found
        after = page.next_id


def both(one: RunFilter, other: RunFilter) -> RunFilter:
    changes = {
        name: value for name in one.__slots__ if (value := getattr(other, name)) != getattr(ALL_RUNS, name)
    }
    return replace(one, **changes)


@pytest.mark.parametrize("looked_at", [3_000, 90])
@pytest.mark.parametrize("oldest_first", [False, True])
def test_each_filter_and_each_pair_of_them_finds_what_a_look_at_all_runs_finds(
    full: Store, monkeypatch: pytest.MonkeyPatch, looked_at: int, oldest_first: bool
) -> None:
    """Once each, in order, whatever the size of the pages and however little is looked at for one of them."""
    monkeypatch.setattr(run_lists, "LOOKED_AT", looked_at)
    monkeypatch.setattr(run_plans, "MAX_STREAMS", 20)
    pairs = random.Random(looked_at).sample(list(itertools.combinations(FILTERS, 2)), 40)
    wanted = FILTERS + [
        (both(one, other), lambda run, a=one_admits, b=other_admits: a(run) and b(run))
        for (one, one_admits), (other, other_admits) in pairs
        if not same_field(one, other)
    ]
    for filter_, admits in wanted:
        filter_ = replace(filter_, oldest_first=oldest_first)
        expected = sorted((run.id for run in RUNS if admits(run)), reverse=not oldest_first)
        found = [row.id for page in pages(full, filter_, next(LIMITS)) for row in page]
        assert found == expected, filter_


def same_field(one: RunFilter, other: RunFilter) -> bool:
    def used(filter_: RunFilter) -> set[str]:
        return {name for name in one.__slots__ if getattr(filter_, name) != getattr(ALL_RUNS, name)}

    return bool(used(one) & used(other))


def test_a_page_looks_at_a_part_only_and_tells_where_to_go_on(
    full: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be empty. What an index has is found at once, however rare it is."""
    monkeypatch.setattr(run_lists, "LOOKED_AT", 40)
    nothing = RunFilter(by="nobody")
    assert [len(page) for page in pages(full, nothing, 10)] == [0] * 10
    first = full.lists.page(nothing, limit=10, after_id=None, now=NOW)
    assert first.next_id == RUNS[-40].id
    for rare in (RunFilter(flow="rare.yml"), RunFilter(flow="rar*"), RunFilter(retry_of=RUNS[101].retry_of)):
        found = full.lists.page(rare, limit=100, after_id=None, now=NOW)
        assert found.rows
        assert found.next_id is None


def test_a_run_that_comes_while_somebody_pages_disturbs_nothing(store: Store) -> None:
    runs = [a_run(minute) for minute in range(10)]
    insert_all(store, runs)
    first = store.lists.page(ALL_RUNS, limit=5, after_id=None, now=NOW)
    insert_all(store, [a_run(20)])
    second = store.lists.page(ALL_RUNS, limit=5, after_id=first.next_id, now=NOW)
    assert [row.id for row in first.rows + second.rows] == [run.id for run in reversed(runs)]
    assert second.next_id is None


def test_runs_are_counted_where_an_index_has_them(full: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = RunFilter(status=(RunStatus.FAILED,))
    count = sum(run.status is RunStatus.FAILED for run in RUNS)
    assert full.lists.count(ALL_RUNS) == (360, True)
    assert full.lists.count(failed) == (count, True)
    assert full.lists.count(RunFilter(flow="rare.yml", since=at(100))) == (5 - 1, True)
    assert full.lists.count(RunFilter(by="ann")) is None
    monkeypatch.setattr(run_lists, "COUNTED", count - 1)
    assert full.lists.count(failed) == (count - 1, False)


def test_runs_of_a_schedule_are_found_by_its_flow(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs others have."""
    monkeypatch.setattr(run_lists, "LOOKED_AT", 20)
    schedules = ScheduleStore(store.writer, store.engine)
    row = schedules.add("a.yml", Origin.API, override=None, timeout_seconds=None, at=NOON)
    insert_all(store, [replace(a_run(0, flow="a.yml"), schedule_id=row.id)])
    insert_all(store, [a_run(minute, flow="b.yml") for minute in range(1, 60)])
    page = store.lists.page(RunFilter(schedule=row.id), limit=5, after_id=None, now=NOW)
    assert (len(page.rows), page.next_id) == (1, None)


def test_a_page_does_not_read_what_runs_were_given(store: Store) -> None:
    """A megabyte each, say; a page is made of what it shows."""
    insert_all(store, [replace(a_run(minute), input="x" * 1_000_000) for minute in range(60)])
    store.lists.page(ALL_RUNS, limit=1, after_id=None, now=NOW)
    tracemalloc.start()
    try:
        assert len(store.lists.page(ALL_RUNS, limit=50, after_id=None, now=NOW).rows) == 50
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_since_in_another_zone_means_the_same_moment(full: Store) -> None:
    east = at(300).astimezone(datetime.fromisoformat("2026-01-01T00:00:00+05:45").tzinfo)
    page = full.lists.page(RunFilter(since=east), limit=100, after_id=None, now=NOW)
    assert len(page.rows) == 60


def test_the_errors_of_these_tests_are_kept_escaped() -> None:
    """So a search in the column's text itself would not find `ü`."""
    assert "ü" not in json.dumps(ERRORS[2][1])
    assert from_epoch(NOW).tzinfo is UTC
