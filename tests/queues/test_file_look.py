"""When a file is taken: new or changed, settled, and no longer open for writing."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from flow_processor.queues.file_look import FileLook
from flow_processor.queues.file_pattern import FilePattern
from tests.flow_files.folder import FakeClock

SETTLE_SECONDS = 10


class Folder:
    """A folder that a test looks at, by a clock that it turns; at first that is the files' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.clock.go(time.time() - self.clock.now().timestamp())
        pattern = FilePattern("*", folder)
        self.files = FileLook(pattern, folder, settle_seconds=SETTLE_SECONDS, clock=self.clock)

    def write(self, name: str, text: str = "1") -> Path:
        file = self.folder / name
        file.write_text(text)
        return file

    def ready(self) -> list[str]:
        """The files that may be taken now; each is done with then."""
        found = [seen for seen in self.files.look(busy=()) if self.files.is_ready(seen)]
        for seen in found:
            self.files.is_handled(seen.path, seen.version)
        return [seen.path for seen in found]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_file_is_taken_once_it_has_settled_and_again_when_it_has_changed(folder: Folder) -> None:
    file = folder.write("a.csv")
    assert folder.ready() == []
    folder.clock.go(SETTLE_SECONDS + 1)
    assert folder.ready() == ["a.csv"]
    assert folder.ready() == []
    os.utime(file, (1, 1))  # other bytes under an old time: a change all the same
    folder.clock.go(SETTLE_SECONDS + 1)
    assert folder.ready() == ["a.csv"]
    folder.write("b.csv").replace(file)
    folder.clock.go(SETTLE_SECONDS + 1)
    assert folder.ready() == ["a.csv"]


def test_a_file_from_the_future_settles_by_this_clock(folder: Folder) -> None:
    folder.clock.go(-86_400)
    file = folder.write("a.csv")
    assert folder.ready() == []
    folder.clock.go(SETTLE_SECONDS - 1)
    file.write_text("12")
    assert folder.ready() == []
    folder.clock.go(SETTLE_SECONDS - 1)
    assert folder.ready() == []
    folder.clock.go(1)
    assert folder.ready() == ["a.csv"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_file_that_is_open_for_writing_is_not_taken_however_old_it_is(folder: Folder) -> None:
    with folder.write("a.csv").open("a"):
        folder.clock.go(3600)
        assert folder.ready() == []
    assert folder.ready() == ["a.csv"]


def test_names_of_what_is_not_finished_are_passed_over(folder: Folder) -> None:
    for name in ("a.csv.part", "b.tmp", "c.csv~", ".d.csv", "e.crdownload"):
        folder.write(name)
    folder.write("f.csv")
    folder.clock.go(3600)
    assert folder.ready() == ["f.csv"]


def test_what_cannot_be_taken_does_not_keep_others_waiting(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flow_processor.queues.file_look.BATCH", 2)
    for number in range(5):
        os.utime(folder.write(f"{number}.csv"), (number, number))
    folder.clock.go(3600)
    held = [(folder.folder / f"{number}.csv").open("a") for number in range(3)]
    taken = [folder.ready() for _ in range(3)]
    assert taken == [[], ["3.csv"], ["4.csv"]]
    for file in held:
        file.close()


def test_a_file_that_is_changed_after_the_look_is_not_ready(folder: Folder) -> None:
    file = folder.write("a.csv")
    folder.clock.go(3600)
    (seen,) = folder.files.look(busy=())
    file.write_text("12")
    assert not folder.files.is_ready(seen)
