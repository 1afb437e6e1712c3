"""Which files a pattern names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flow_processor.queues.file_pattern import FilePattern

FILES = (
    "a.csv",
    "input/a.csv",
    "input/b.CSV",
    "input/b.tsv",
    "input/.hidden.csv",
    "input/done/old.csv",
    "input/failed/bad.csv",
    "input/north/c.csv",
    "input/north/deep/d.csv",
    "input/.git/e.csv",
    "flows/f.csv",
    "[1]/x.csv",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for path in FILES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("1")
    (folder / "input" / "link.csv").symlink_to("a.csv")
    (folder / "input" / "folder_link").symlink_to("north")
    (folder / "input" / "folder.csv").mkdir()
    os.mkfifo(folder / "input" / "pipe.csv")
    return folder


NAMED = [
    ("input/a.csv", ["input/a.csv"]),
    ("*.csv", ["a.csv"]),
    ("input/*.csv", ["input/a.csv"]),
    ("input/?.[CT][Ss][Vv]", ["input/b.CSV"]),
    ("input/*/*.csv", ["input/north/c.csv"]),
    ("input/**/*.csv", ["input/a.csv", "input/north/c.csv", "input/north/deep/d.csv"]),
    ("input/**/deep/**/*.csv", ["input/north/deep/d.csv"]),
    ("**/c.csv", ["input/north/c.csv"]),
    ("**/f.csv", []),
    ("flows/*", []),
    ("input/done/*.csv", ["input/done/old.csv"]),
    ("input/.hid*.csv", ["input/.hidden.csv"]),
    ("[[]1]/*", ["[1]/x.csv"]),
    ("nowhere/*.csv", []),
    ("input/a.csv/*.csv", []),
]


@pytest.mark.parametrize(("text", "named"), NAMED, ids=[text for text, _ in NAMED])
def test_a_pattern_names_files_below_its_folder_and_no_links(
    folder: Path, text: str, named: list[str]
) -> None:
    pattern = FilePattern(text, folder, private=[folder / "flows"])
    refused: dict[str, str] = {}
    found = sorted(seen.path for seen in pattern.look(refused.__setitem__))
    assert found == named
    assert all(pattern.names(path) for path in found)
    assert [path for path in FILES if pattern.names(path) and path not in found] == [
        path for path in FILES if path.startswith("flows/") and pattern.names(path)
    ]


def test_what_is_named_and_cannot_be_taken_is_told(folder: Path) -> None:
    refused: dict[str, str] = {}
    list(FilePattern("input/**/*.csv", folder).look(refused.__setitem__))
    assert refused == {
        "input/link.csv": "is a symlink, which is not followed",
        "input/pipe.csv": "is not a regular file",
        "input/folder_link": "is a symlink, which is not followed",
    }


def test_a_pattern_that_names_a_folder_is_told(folder: Path) -> None:
    told: dict[str, str] = {}
    assert list(FilePattern("input", folder).look(told.__setitem__)) == []
    assert list(told) == ["input"]
    assert "its files are 'input/*', those of its folders too 'input/**'" in told["input"]


def test_a_name_that_no_step_can_use_is_told(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.csv")).write_text("1")
    (tmp_path / "line\nbreak.csv").write_text("1")
    refused: dict[str, str] = {}
    assert list(FilePattern("*.csv", tmp_path).look(refused.__setitem__)) == []
    assert sorted(refused) == ["caf\\udce9.csv", "line\nbreak.csv"]
    assert "UTF-8" in refused["caf\\udce9.csv"]
    assert "control character" in refused["line\nbreak.csv"]
