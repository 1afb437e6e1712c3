"""Files start flows: each content of each file once, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow_processor.run import RunFilter, RunStatus, Trigger
from flow_processor.service import Service
from flow_processor.service.resumes import ResumeMode
from flow_processor.service.views import RunDetail
from tests.engine.world import World, until

STEP = "steps:\n  - {name: seen, type: set_fact, set_fact: {value: 1}}\n"
FAILS = "steps:\n  - {name: no, type: raise, raise: {message: not this one}}\n"
WAITS = "steps:\n  - {name: go, type: wait, wait: {signal: go}}\n"


class FilesWorld(World):
    """A world that watches files, as the daemon does."""

    def start(self) -> FilesWorld:
        self.service = Service(self.settings)
        self.service.start(schedule=True)
        return self

    def watch(self, name: str, rest: str = "", *, steps: str = STEP, flow: str = "", more: str = "") -> Path:
        """A flow that watches a folder of its own; the folder."""
        self.write(
            flow or f"{name}.yml",
            f'on: {{files: {{path: "{name}/*", settle_seconds: 0{rest}}}}}\n{more}{steps}',
        )
        folder = self.data / name
        folder.mkdir(exist_ok=True)
        return folder

    def runs(self, path: str, flow: str | None = None) -> list[str]:
        """Ids of the runs that this file has started, the oldest first."""
        wanted = RunFilter(flow=flow, trigger=(Trigger.FILE,), by=path, oldest_first=True)
        return [run.run_id for run in self.service.runs(wanted, limit=200).runs]

    def ended(self, path: str, count: int = 1, flow: str | None = None) -> list[RunDetail]:
        """The runs of a file, once there are so many and all have ended."""
        found = until(lambda: len(ids := self.runs(path, flow)) >= count and ids, f"{count} runs of {path}")
        assert len(found) == count
        return [until(lambda run_id=run_id: self.has_ended(run_id), f"{run_id} ends") for run_id in found]

    def has_ended(self, run_id: str) -> RunDetail | None:
        """The run, if it has ended."""
        run = self.service.run(run_id)
        return run if run.status.is_terminal else None

    def until_waiting(self, run_id: str) -> None:
        until(lambda: self.service.run(run_id).status is RunStatus.WAITING, f"{run_id} waits")

    def go(self, run_id: str) -> None:
        self.until_waiting(run_id)
        self.service.signal_run(run_id, "go", by="ann")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilesWorld]:
    world = FilesWorld(tmp_path_factory.mktemp("files") / "data", max_workers=2).start()
    yield world
    world.leave()


def test_a_file_is_the_input_of_one_run_and_stays(world: FilesWorld) -> None:
    folder = world.watch("kept")
    (folder / "a b.csv").write_text("x,y\n")
    (run,) = world.ended("kept/a b.csv")
    assert (run.status, run.flow, run.trigger) == (RunStatus.SUCCEEDED, "kept.yml", Trigger.FILE)
    assert run.data is not None
    file, item = run.data["__input__"], run.data["__item__"]
    assert {**file, "modified_at": ""} == {
        "path": "kept/a b.csv",
        "name": "a b.csv",
        "size": 4,
        "modified_at": "",
    }
    assert (item["queue"], item["name"], item["attempt"]) == (None, "kept/a b.csv", 1)
    assert item["time"] == file["modified_at"]
    assert (folder / "a b.csv").read_text() == "x,y\n"


def test_a_changed_file_starts_again_and_an_unchanged_one_does_not(world: FilesWorld) -> None:
    folder = world.watch("changed")
    (folder / "a").write_text("1")
    (folder / "b").write_text("1")
    world.ended("changed/a")
    world.ended("changed/b")
    (folder / "a").write_text("2")
    world.ended("changed/a", 2)
    (folder / "new").write_text("3")
    (folder / "new").replace(folder / "a")
    world.ended("changed/a", 3)
    assert len(world.runs("changed/b")) == 1


def test_move_puts_files_where_their_runs_say_and_one_that_is_put_back_is_new(world: FilesWorld) -> None:
    steps = 'steps:\n  - {name: no, type: raise, when: "__input__.size > 1", raise: {message: too much}}\n'
    folder = world.watch("moved", ", after: move", steps=steps + "  - {name: a, type: debug}\n")
    (folder / "good").write_text("1")
    (folder / "bad").write_text("12")
    until(lambda: (folder / "done" / "good").exists(), "a good file is moved")
    until(lambda: (folder / "failed" / "bad").exists(), "a bad file is moved")
    (run,) = world.ended("moved/bad")
    reason = json.loads((folder / "failed" / "bad.reason.json").read_text())
    (failure,) = reason["reasons"]
    assert (reason["name"], failure["run_id"], failure["attempts"]) == ("moved/bad", run.run_id, 1)
    assert failure["message"] == "too much"
    until(lambda: not world.service.store.items.of_run(run.run_id), "it is forgotten")
    (folder / "failed" / "bad").rename(folder / "bad")
    until(lambda: not (folder / "bad").exists(), "it is moved again")
    assert len(world.ended("moved/bad", 2)) == 2
    (folder / "good").write_text("2")
    until(lambda: (folder / "done" / "good-1").exists(), "another one gets a number")


def test_delete_deletes_only_what_went_well(world: FilesWorld) -> None:
    good = world.watch("deleted", ", after: delete")
    bad = world.watch("undeleted", ", after: delete", steps=FAILS)
    (good / "a").write_text("1")
    (bad / "a").write_text("1")
    until(lambda: (bad / "failed" / "a").exists(), "a bad file is moved")
    until(lambda: not (good / "a").exists(), "a good file is deleted")
    assert world.ended("deleted/a")[0].status is RunStatus.SUCCEEDED
    assert list(good.iterdir()) == []


def test_a_failed_run_is_tried_again(world: FilesWorld) -> None:
    folder = world.watch("tried", ", after: move, attempts: 3, backoff_seconds: 0", steps=FAILS)
    (folder / "a").write_text("1")
    until(lambda: (folder / "failed" / "a").exists(), "it is given up")
    runs = world.ended("tried/a", 3)
    assert [run.data["__item__"]["attempt"] for run in runs if run.data] == [1, 2, 3]
    assert len({json.dumps(run.data["__input__"]) for run in runs if run.data}) == 1
    reason = json.loads((folder / "failed" / "a.reason.json").read_text())
    assert reason["reasons"][0]["attempts"] == 3


def test_a_file_that_changes_while_its_run_works_on_it_is_due_again_afterwards(world: FilesWorld) -> None:
    folder = world.watch(
        "working", ", after: move", steps=WAITS, more="concurrency: {on_conflict: parallel}\n"
    )
    (folder / "a").write_text("old")
    first = until(lambda: world.runs("working/a"), "it starts")[0]
    world.until_waiting(first)
    (folder / "a").write_text("newer")
    (folder / "b").write_text("1")
    until(lambda: world.runs("working/b"), "files are looked at")
    assert world.runs("working/a") == [first]
    world.go(first)
    second = until(lambda: world.runs("working/a")[1:], "it starts again")[0]
    assert (folder / "a").read_text() == "newer"
    assert not (folder / "done").exists()
    world.go(second)
    until(lambda: (folder / "done" / "a").exists(), "it is moved")
    assert (folder / "done" / "a").read_text() == "newer"


def test_a_file_that_several_flows_watch_is_put_away_when_all_have_ended(world: FilesWorld) -> None:
    folder = world.watch("shared", ", after: move", flow="shared_b.yml")
    world.watch("shared", flow="shared_a.yml", steps=WAITS)
    until(
        lambda: len(world.service.file_watch._watchers.keys() & {"shared_a.yml", "shared_b.yml"}) == 2, "both"
    )
    (folder / "a").write_text("1")
    world.ended("shared/a", flow="shared_b.yml")
    (waiting,) = until(lambda: world.runs("shared/a", "shared_a.yml"), "the other one starts")
    until(
        lambda: (
            "shared_b.yml: files 'shared/*': shared/a stays until shared_a.yml has ended with it"
            in world.service.file_watch.problems()
        ),
        "it is told",
    )
    assert (folder / "a").exists()
    world.go(waiting)
    until(lambda: (folder / "done" / "a").exists(), "it is moved")


def test_files_wait_where_they_are_for_their_turn(world: FilesWorld) -> None:
    folder = world.watch("turns", ", after: move", steps=WAITS)
    for number in range(20):
        (folder / f"{number:02}").write_text("1")
    first = until(lambda: world.runs("turns/00"), "the first one starts")[0]
    world.until_waiting(first)
    with world.service.store.engine.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM items WHERE flow = 'turns.yml'").scalar()
    assert count is not None
    assert count <= 2  # one that runs, and one that stands in line
    world.go(first)
    until(lambda: (folder / "done" / "00").exists(), "it is moved")


def test_an_interrupted_runs_file_stays_until_it_was_resumed(world: FilesWorld) -> None:
    steps = "steps:\n  - {name: long, type: shell, shell: {command: [sleep, '600']}}\n"
    folder = world.watch("doubtful", ", after: move, attempts: 5", steps=steps)
    (folder / "a").write_text("1")
    run_id = until(lambda: world.runs("doubtful/a"), "it starts")[0]
    world.until_begun(run_id, "long")
    world.kill_worker(run_id)
    assert world.wait(run_id).status is RunStatus.INTERRUPTED
    told = f"doubtful/a stays, for it was interrupted: resume {run_id}, or write the file anew"
    until(lambda: any(told in problem for problem in world.service.file_watch.problems()), "it is told")
    assert (folder / "a").exists()
    world.service.resume_run(run_id, mode=ResumeMode.SKIP, step=None, value=None, by="ann")
    assert world.wait(run_id).status is RunStatus.SUCCEEDED
    until(lambda: (folder / "done" / "a").exists(), "it is moved")


def test_what_is_in_the_way_is_told(world: FilesWorld, caplog: pytest.LogCaptureFixture) -> None:
    folder = world.watch("odd")
    (folder / "target").write_text("1")
    (folder / "link").symlink_to("target")
    world.write("nowhere.yml", f'on: {{files: "nowhere/*"}}\n{STEP}')
    world.ended("odd/target")

    def told() -> list[str]:
        return [
            problem
            for problem in world.service.file_watch.problems()
            if "odd" in problem or "nowhere" in problem
        ]

    expected = [
        "nowhere.yml: files 'nowhere/*': there is no folder nowhere/ yet",
        "odd.yml: files 'odd/*': odd/link is a symlink, which is not followed",
    ]
    until(lambda: told() == expected, "what is in the way")
    until(lambda: "nowhere/ yet" in caplog.text and "odd/link" in caplog.text, "it is in the log")
    (folder / "more").write_text("1")
    world.ended("odd/more")
    said = [record for record in caplog.records if "odd/link is a symlink" in record.getMessage()]
    assert [record.levelname for record in said] == ["WARNING"], "once, as long as it is so"
    assert not (world.data / "nowhere").exists()


def test_a_restart_forgets_nothing_starts_nothing_twice_and_puts_away_what_is_left(tmp_path: Path) -> None:
    world = FilesWorld(tmp_path / "data", max_workers=1)
    kept = world.watch("kept")
    moved = world.watch("moved", ", after: move", steps=WAITS)
    stuck = world.watch("stuck", ", after: move")
    (stuck / "done").write_text("in the way")
    for folder in (kept, moved, stuck):
        (folder / "a").write_text("1")
    world.start()
    world.ended("kept/a")
    world.ended("stuck/a")
    run_id = until(lambda: world.runs("moved/a"), "it starts")[0]
    world.until_waiting(run_id)
    told = "stuck.yml: files 'stuck/*': stuck/a cannot be put away"
    until(lambda: any(problem.startswith(told) for problem in world.service.file_watch.problems()), "told")
    world.leave()
    (stuck / "done").unlink()
    (kept / "b").write_text("1")
    world.start()
    world.ended("kept/b")
    until(lambda: (stuck / "done" / "a").exists(), "what has ended is moved")
    world.go(run_id)
    until(lambda: (moved / "done" / "a").exists(), "what ends is moved")
    assert [len(world.runs(f"{name}/a")) for name in ("kept", "moved", "stuck")] == [1, 1, 1]
    world.leave()


def test_a_defect_costs_a_flow_one_turn_and_not_its_watcher(
    world: FilesWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stands in the log and among the problems; the next turn offers the file."""
    asked, intake = world.service.intake.room, world.service.intake
    defects = [RuntimeError("a defect")]

    def room(queue: str, flow: str) -> int:
        if flow == "defect.yml" and defects:
            raise defects.pop()
        return asked(queue, flow)

    monkeypatch.setattr(intake, "room", room)
    monkeypatch.setattr("flow_processor.queues.file_watcher.LATER_SECONDS", 0.1)
    (world.watch("defect") / "a").write_text("1")
    world.ended("defect/a")
    assert "RuntimeError: a defect" in caplog.text
    assert not defects
