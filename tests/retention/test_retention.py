"""Old runs go by themselves: by age, count and bytes, of all flows and of one; live ones never."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flow_processor.clock import SystemClock
from flow_processor.journal import Event
from flow_processor.run import ALL_RUNS, LIVE_STATUSES, RunStatus, Trigger, new_run_id
from flow_processor.service import Service
from flow_processor.service.retention import PASS_SECONDS
from flow_processor.settings import Settings
from flow_processor.store.journal import history_rows
from flow_processor.store.removals import remove_rest
from flow_processor.store.runs import RunRow, count_bytes, insert_run
from flow_processor.store.schedule_rows import Origin
from flow_processor.store.schedules import ScheduleStore
from flow_processor.store.slots import SlotOutcome
from tests.engine.world import until

QUICK = "steps:\n  - {name: a, type: jq, jq: {expression: '1'}}\n"


class Folder:
    """A data folder with runs that ended some days ago, and a service over it that is not started."""

    def __init__(self, data: Path) -> None:
        self.data = data
        (data / "flows").mkdir(parents=True)
        self.service = self.open()

    def open(self) -> Service:
        return Service(Settings.load({"DATA_PATH": str(self.data)}))

    def configure(self, text: str) -> None:
        (self.data / "config.yml").write_text(f"retention: {text}\n", encoding="utf-8")
        self.service.stop()
        self.service = self.open()

    def start(self, clock: Hurried) -> Hurried:
        self.service.stop()
        self.service = Service(self.service.settings, clock)
        self.service.start(schedule=False)
        return clock

    def flow(self, path: str, retention: str) -> None:
        (self.data / "flows" / path).write_text(f"retention: {retention}\n{QUICK}", encoding="utf-8")

    def add(self, days: float, *, flow: str = "a.yml", size: int = 0, **changes: Any) -> str:
        """A run that was accepted and ended so many days ago; its id."""
        moment = datetime.now(UTC) - timedelta(days=days)
        status: RunStatus = changes.pop("status", RunStatus.SUCCEEDED)
        run = RunRow(
            id=new_run_id(moment),
            flow=flow,
            flow_hash="h",
            trigger=Trigger.API,
            trigger_by="a test",
            input=None,
            created_at=moment.timestamp(),
            status=status,
            ended_at=moment.timestamp() if status.is_terminal else None,
        )
        run = replace(run, **changes)
        row = (1, "a", 1, Event.STARTED.value, 1.0, None)
        writer = self.service.store.writer
        writer.run(lambda connection: insert_run(connection, run))
        writer.submit(None, rows=history_rows(run.id, [row], [(1, 1.0, "info", "a", "said")])).result()
        writer.run(lambda connection: count_bytes(connection, run.id, size))
        return run.id

    def prune(self) -> None:
        for step in self.service.pruning.steps():
            self.service.store.writer.run(step)

    def left(self) -> list[str]:
        """Ids of the runs that are left, oldest first."""
        rows = self.service.store.lists.page(ALL_RUNS, limit=1000, after_id=None, now=0.0).rows
        return [row.id for row in reversed(rows)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path / "data")
    yield made
    made.service.stop()


def test_runs_go_after_90_days_with_all_they_have(folder: Folder) -> None:
    old, young = folder.add(91), folder.add(89)
    kept = folder.service.result_files.keep(old, '"large"')
    assert folder.service.result_files.names(old) == [kept]
    folder.prune()
    assert folder.left() == [young]
    assert folder.service.store.journal.rows(old) == []
    assert folder.service.store.journal.log_lines(old, after=0, limit=9) == []
    assert list(folder.service.result_files.runs()) == []
    assert len(folder.service.store.journal.rows(young)) == 1


def test_the_age_counts_from_the_end(folder: Folder) -> None:
    """A run that waited for half a year and ended yesterday stays for 90 days."""
    long = folder.add(180, ended_at=(datetime.now(UTC) - timedelta(days=1)).timestamp())
    folder.prune()
    assert folder.left() == [long]


@pytest.mark.parametrize("rule", ["{max_age_days: 1}", "{max_runs: 1}", "{max_bytes: 1 MiB}"])
def test_live_runs_are_never_deleted(folder: Folder, rule: str) -> None:
    folder.configure(rule)
    live = [folder.add(400, status=status, size=2_000_000) for status in LIVE_STATUSES]
    folder.add(300, size=2_000_000)
    newest = folder.add(0.5, size=10)
    folder.prune()
    assert folder.left() == sorted([*live, newest])


def test_so_many_runs_stay(folder: Folder) -> None:
    folder.configure("{max_runs: 3}")
    runs = [folder.add(days) for days in range(9, 0, -1)]
    folder.prune()
    assert folder.left() == runs[-3:]


def test_so_many_bytes_stay(folder: Folder) -> None:
    """The newest that take no more together; the first one with which it is too much goes, and all before it."""
    folder.configure("{max_bytes: 1 MiB}")
    sizes = [10, 900_000, 500_000, 300_000, 100_000]
    runs = [folder.add(len(sizes) - number, size=size) for number, size in enumerate(sizes)]
    folder.prune()
    assert folder.left() == runs[2:]


def test_a_flow_says_how_long_its_runs_are_kept(folder: Folder) -> None:
    """Its age counts instead of the general one; its count and bytes count for its runs alone."""
    folder.flow("short.yml", "{max_age_days: 1}")
    folder.flow("long.yml", "{max_age_days: forever}")
    folder.flow("few.yml", "{max_runs: 1}")
    folder.add(2, flow="short.yml")
    folder.add(91, flow="few.yml")
    folder.add(5, flow="few.yml")
    kept = [
        folder.add(400, flow="long.yml"),
        folder.add(30, flow="gone.yml"),
        folder.add(4, flow="few.yml"),
        folder.add(0.5, flow="short.yml"),
    ]
    folder.prune()
    assert folder.left() == kept


def test_forever_keeps_everything(folder: Folder) -> None:
    folder.configure("{max_age_days: forever}")
    run = folder.add(3000)
    folder.prune()
    assert folder.left() == [run]


def test_handled_slots_stay_for_90_days_and_the_last_thousand_for_ever(folder: Folder) -> None:
    store = folder.service.store
    schedules = ScheduleStore(store.writer, store.engine)
    now = datetime.now(UTC)
    often = schedules.add("often.yml", Origin.API, override=None, timeout_seconds=None, at=now).id
    rarely = schedules.add("rarely.yml", Origin.API, override=None, timeout_seconds=None, at=now).id

    def fill(connection: Any) -> None:
        for number in range(1500):
            slot = now - timedelta(days=100, minutes=number)
            schedules.claim(connection, often, slot, outcome=SlotOutcome.STARTED, at=slot)
        for number in range(3):
            slot = now - timedelta(days=400 * number + 1)
            schedules.claim(connection, rarely, slot, outcome=SlotOutcome.STARTED, at=slot)

    store.writer.run(fill)
    folder.prune()
    kept = schedules.handled(often, limit=2000)
    assert len(kept) == 1000
    assert kept[0].slot == now - timedelta(days=100)
    assert len(schedules.handled(rarely)) == 3


def test_a_flow_text_that_the_launcher_counts_on_stays(tmp_path: Path) -> None:
    """The next run of that version is inserted without it, and must find it."""
    folder = Folder(tmp_path / "live")
    (folder.data / "flows" / "a.yml").write_text(QUICK, encoding="utf-8")
    folder.service.start(schedule=False)
    first = folder.service.wait_for_run(folder.service.launch("a.yml").run_id, 20)
    folder.service.delete_run(first.run_id)
    folder.prune()
    second = folder.service.launch("a.yml").run_id
    assert folder.service.store.runs.flow_texts(first.flow_hash) == {"a.yml": QUICK}
    folder.service.wait_for_run(second, 20)
    folder.service.stop()
    # Nobody counts on it any more.
    again = folder.open()
    again.delete_run(second)
    for step in again.pruning.steps():
        again.store.writer.run(step)
    assert again.store.runs.flow_texts(first.flow_hash) == {}
    again.stop()


def test_space_is_given_back_to_the_file_system(folder: Folder) -> None:
    runs = [folder.add(91) for _ in range(30)]
    filler = secrets.token_hex(50_000)
    for run_id in runs:
        rows = [(seq, "a", 1, "succeeded", 1.0, f'{{"result": "{filler}"}}') for seq in range(2, 7)]
        folder.service.store.writer.submit(None, rows=history_rows(run_id, rows)).result()
    _, before = folder.service.store.removals.free_pages()
    folder.prune()
    free, after = folder.service.store.removals.free_pages()
    assert after < before / 5
    assert free <= max(100, after / 10)


@pytest.mark.parametrize("rule", ["{max_runs: 1}", "{max_bytes: 1 MiB}"])
def test_a_run_that_waits_for_a_persons_decision_goes_by_its_age_alone(folder: Folder, rule: str) -> None:
    folder.configure(rule)
    folder.add(91, status=RunStatus.INTERRUPTED)
    interrupted = folder.add(5, status=RunStatus.INTERRUPTED, size=2_000_000)
    folder.add(4, size=2_000_000)
    newest = folder.add(1, size=10)
    folder.prune()
    assert folder.left() == [interrupted, newest]


class Hurried(SystemClock):
    """Waits a hundredth of the time; its hands can be turned, `passed` those of both clocks."""

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.passed = timedelta()
        self.passes = 0

    def now(self) -> datetime:
        return super().now() + self.ahead + self.passed

    def monotonic(self) -> float:
        return super().monotonic() + self.passed.total_seconds()

    def wait(self, event: Any, seconds: float) -> bool:
        self.passes += seconds == PASS_SECONDS
        return super().wait(event, seconds / 100)

    def until_passed(self) -> None:
        """A whole pass of the retention has begun and ended by now."""
        before = self.passes
        until(lambda: self.passes >= before + 2, "the retention has looked")


def test_a_started_service_prunes_by_itself(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="octospool")
    old, young = folder.add(91), folder.add(1)
    folder.start(Hurried())
    until(lambda: folder.left() == [young], "the old run is deleted")
    until(lambda: folder.service.store.removals.count() == 0, "its history too")
    assert folder.service.store.journal.rows(old) == []
    until(lambda: "retention: 1 runs deleted because of their age" in caplog.text, "the log tells it")


def test_a_clock_that_jumps_costs_no_history(folder: Folder) -> None:
    """A dead battery, a wrong time server: whoever is to put it right has a day."""
    run = folder.add(1)
    clock = folder.start(Hurried())
    clock.until_passed()
    clock.ahead = timedelta(days=3650)
    clock.until_passed()
    assert folder.left() == [run]
    clock.ahead = timedelta()
    clock.until_passed()
    clock.passed = timedelta(days=2)
    clock.until_passed()
    assert folder.left() == [run]
    clock.passed += timedelta(days=100)
    until(lambda: folder.left() == [], "it goes when it is really old")


def test_a_clock_that_is_wrong_from_the_start_costs_no_history(folder: Folder) -> None:
    """Or nobody has used the spooler for long; then there is no hurry."""
    folder.configure("{max_age_days: 90, max_runs: 2}")
    runs = [folder.add(days) for days in (400, 300, 200)]
    clock = folder.start(Hurried())
    until(lambda: folder.left() == runs[1:], "there are too many, whatever the clock says")
    clock.until_passed()
    assert folder.left() == runs[1:]
    clock.passed = timedelta(days=1, seconds=1)
    until(lambda: folder.left() == [], "they are too old after a day, too")


def test_a_row_of_what_can_be_no_run_does_not_end_the_retention(folder: Folder) -> None:
    """A damaged store may say so; nothing outside of results/ is touched."""
    folder.add(91)
    young = folder.add(1)
    (folder.data / "evil").mkdir()
    folder.service.store.writer.run(lambda connection: remove_rest(connection, ["../evil"]))
    folder.start(Hurried())
    until(lambda: folder.left() == [young], "the old run is deleted")
    until(lambda: folder.service.store.removals.count() == 0, "nothing is left over")
    assert (folder.data / "evil").exists()


def test_result_files_of_a_run_that_never_came_to_be_are_deleted_after_a_start(folder: Folder) -> None:
    """A retry keeps files before it is accepted; a crash may come in between. A new one may be about to be."""
    files = folder.service.result_files
    known, lost, new = (
        folder.add(1),
        new_run_id(datetime.now(UTC) - timedelta(days=1)),
        new_run_id(datetime.now(UTC)),
    )
    for run_id in (known, lost, new):
        files.keep(run_id, '"large"')
    folder.start(Hurried()).until_passed()
    assert list(files.runs()) == [known, new]
