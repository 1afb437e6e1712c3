"""Large results beside the store: durable, named by their content, and never outside of their folder."""

from __future__ import annotations

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flow_processor.result_files import ResultFiles, ResultLost

RUN = "20261121T074006123-k7x2m5qa"
RETRY = "20261121T080000000-bbbbbbbb"
FENCE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
strange_names = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["", ".", "..", "../x", "/etc/passwd", RUN + "/..", RUN + "\n", f"{'0' * 32}.json\n"]),
    st.from_regex(r"(\.\./){1,3}[0-9a-f]{32}\.json", fullmatch=True),
)


@pytest.fixture
def files(tmp_path: Path) -> ResultFiles:
    return ResultFiles(tmp_path / "results")


@FENCE
@given(documents)
def test_a_result_is_read_as_it_was_kept(files: ResultFiles, result: Any) -> None:
    name = files.keep(RUN, json.dumps(result))
    assert files.load(RUN, name) == result
    assert name in files.names(RUN)


def test_the_same_result_is_kept_once(files: ResultFiles) -> None:
    names = [files.keep(RUN, text) for text in ("[1]", "[1]", "[2]")]
    assert names[0] == names[1] != names[2]
    assert files.names(RUN) == sorted(set(names))


def test_a_result_is_for_the_daemon_alone(files: ResultFiles, tmp_path: Path) -> None:
    """It may hold what a step has read from anywhere."""
    name = files.keep(RUN, "[1]")
    assert stat.S_IMODE((tmp_path / "results" / RUN / name).stat().st_mode) == 0o600


def test_a_result_that_is_gone_is_lost(files: ResultFiles, tmp_path: Path) -> None:
    name = files.keep(RUN, "[1]")
    (tmp_path / "results" / RUN / name).unlink()
    with pytest.raises(ResultLost, match="gone"):
        files.load(RUN, name)


@FENCE
@given(st.data())
def test_a_result_that_was_changed_is_lost(files: ResultFiles, tmp_path: Path, data: st.DataObject) -> None:
    """Wherever it was cut, and whichever byte is another one: it is not taken for what the step gave."""
    name = files.keep(RUN, '{"rows": [1, 2, 3], "total": 3}')
    path = tmp_path / "results" / RUN / name
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    for changed in (whole[:at], whole[:at] + bytes([other]) + whole[at + 1 :]):
        path.write_bytes(changed)
        with pytest.raises(ResultLost, match="changed"):
            files.load(RUN, name)


def test_what_a_run_keeps_from_another_one_outlives_that(files: ResultFiles) -> None:
    name = files.keep(RUN, '{"n": 7}')
    files.adopt(RETRY, name, source=RUN)
    files.adopt(RETRY, name, source=RUN)  # as after a crash in between
    files.delete(RUN)
    assert files.load(RETRY, name) == {"n": 7}
    assert [*files.runs()] == [RETRY]


def test_what_is_gone_cannot_be_kept_for_another_run(files: ResultFiles) -> None:
    with pytest.raises(ResultLost, match="gone"):
        files.adopt(RETRY, "0" * 32 + ".json", source=RUN)


def test_a_run_is_deleted_with_all_its_files_and_no_others(files: ResultFiles) -> None:
    for run in (RUN, RETRY):
        files.keep(run, "[1]")
        files.keep(run, "[2]")
    files.delete(RUN)
    files.delete(RUN)
    assert files.names(RUN) == []
    assert len(files.names(RETRY)) == 2


def test_before_the_first_large_result_there_is_nothing(files: ResultFiles) -> None:
    assert [*files.runs()] == files.names(RUN) == []


def test_what_else_lies_in_the_folder_is_no_run_and_no_result(files: ResultFiles, tmp_path: Path) -> None:
    name = files.keep(RUN, "[1]")
    (tmp_path / "results" / "notes").mkdir()
    (tmp_path / "results" / RUN / ".half.tmp").write_text("")
    assert [*files.runs()] == [RUN]
    assert files.names(RUN) == [name]


@FENCE
@given(run=strange_names, name=strange_names)
def test_no_name_leads_out_of_the_folder(files: ResultFiles, tmp_path: Path, run: str, name: str) -> None:
    """Names come from journal rows, and rows from workers, which evaluate the expressions of users."""
    kept = files.keep(RUN, "[1]")
    before = sorted(tmp_path.rglob("*"))
    for attempt in (
        lambda: files.keep(run, "[1]"),
        lambda: files.load(run, kept),
        lambda: files.load(RUN, name),
        lambda: files.adopt(run, kept, source=RUN),
        lambda: files.adopt(RUN, name, source=RUN),
        lambda: files.adopt(RUN, kept, source=run),
        lambda: files.names(run),
        lambda: files.delete(run),
    ):
        with pytest.raises(ValueError, match="is not the"):
            attempt()
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(shutil.which("strace") is None, reason="looks at system calls with strace")
@pytest.mark.parametrize("how", ["keep", "adopt"])
def test_a_result_and_its_name_are_synced_before_the_journal_may_name_it(tmp_path: Path, how: str) -> None:
    """The file, its folder, and the folder of that one where it is new: else a power cut takes the result away."""
    files = ResultFiles(tmp_path / "results")
    name = files.keep(RETRY, "[1]")
    code = (
        "import sys; from pathlib import Path; from flow_processor.result_files import ResultFiles\n"
        "files, run, other, name = ResultFiles(Path(sys.argv[1])), *sys.argv[2:]\n"
        + ("files.keep(run, '[1]')" if how == "keep" else "files.adopt(run, name, source=other)")
    )
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(trace)]
    arguments = [str(tmp_path / "results"), RUN, RETRY, name]
    subprocess.run([*strace, sys.executable, "-c", code, *arguments], check=True)
    synced = set(re.findall(r"fsync\(\d+<([^>]+)>(?:\(deleted\))?\)\s+= 0", trace.read_text()))
    assert {str(tmp_path / "results"), str(tmp_path / "results" / RUN)} <= synced
    if how == "keep":
        assert any(re.search(r"/#\d+$|\.tmp$", path) for path in synced), (
            "the file itself, before it has its name"
        )
