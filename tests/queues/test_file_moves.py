"""Files are put away without touching newer ones, and without taking another one's name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flow_processor.errors import PathRefused
from flow_processor.queues.file_moves import delete, move_beside


def is_the_one(file: Path) -> Callable[[os.stat_result], bool]:
    """Is it this very file, as it is now?"""
    now = file.stat()
    return lambda found: (found.st_ino, found.st_mtime_ns) == (now.st_ino, now.st_mtime_ns)


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    for text in ("one", "two", "three"):
        file = tmp_path / "input" / "a.tar.gz"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        move_beside(file, "done", below=tmp_path, is_meant=is_the_one(file))
    moved = {path.name: path.read_text() for path in (tmp_path / "input" / "done").iterdir()}
    assert moved == {"a.tar.gz": "one", "a.tar-1.gz": "two", "a.tar-2.gz": "three"}


def test_the_reason_lies_beside_the_file_under_its_new_name(tmp_path: Path) -> None:
    for text in ("one", "two"):
        (tmp_path / "a.csv").write_text(text)
        file = tmp_path / "a.csv"
        move_beside(file, "failed", below=tmp_path, is_meant=is_the_one(file), reason={"why": text})
    reasons = sorted((tmp_path / "failed").glob("*.reason.json"))
    assert [(path.name, json.loads(path.read_text())) for path in reasons] == [
        ("a-1.csv.reason.json", {"why": "two"}),
        ("a.csv.reason.json", {"why": "one"}),
    ]


def test_a_newer_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("old")
    is_meant = is_the_one(file)
    (tmp_path / "new").write_text("new")
    (tmp_path / "new").rename(file)
    assert move_beside(file, "done", below=tmp_path, is_meant=is_meant) is None
    assert not delete(file, below=tmp_path, is_meant=is_meant)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert file.read_text() == "new"


def test_one_that_comes_in_the_moment_of_the_move_is_put_back(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    for put_away in (
        lambda is_meant: move_beside(file, "done", below=tmp_path, is_meant=is_meant),
        lambda is_meant: delete(file, below=tmp_path, is_meant=is_meant),
    ):
        file.write_text("new")
        answers = iter([True, False])  # as meant when it is looked at, another one when it is in hand
        assert not put_away(lambda _found, answers=answers: next(answers))
        assert file.read_text() == "new"
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_a_folder_that_has_become_a_link_is_not_followed(tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text("1")
    data.mkdir()
    (data / "input").symlink_to(outside)
    file = data / "input" / "a.csv"
    for put_away in (
        lambda: move_beside(file, "done", below=data, is_meant=lambda _: True),
        lambda: delete(file, below=data, is_meant=lambda _: True),
    ):
        with pytest.raises((PathRefused, OSError)):
            put_away()
    assert sorted(path.name for path in outside.iterdir()) == ["a.csv"]
