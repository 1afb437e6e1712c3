"""The file step: what it reads and writes, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flow_processor import factory
from flow_processor.data_files import DataFileType, read_value, write_bytes
from flow_processor.errors import StepError
from flow_processor.step import Folders, StepResult
from tests.steps.fake_context import FakeContext

RunStep = Callable[..., StepResult]


@pytest.fixture
def data(context: FakeContext) -> Path:
    return context.folders.data


@pytest.fixture
def act(run_step: RunStep) -> Callable[..., Any]:
    """`act(path, **options)` -> the step's result."""
    return lambda path, **options: run_step(type="file", file={"path": path, **options}).value


@pytest.fixture
def refused(act: Callable[..., Any]) -> Callable[..., StepError]:
    """`refused(path, **options)` -> the step's error."""

    def run(path: str, **options: Any) -> StepError:
        with pytest.raises(StepError) as error:
            act(path, **options)
        json.dumps(error.value.as_record())
        return error.value

    return run


def test_the_example_of_the_reference_page_is_a_step(step: Callable[..., Any]) -> None:
    import yaml

    import flow_processor.steps.file as module

    [raw] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", module.__doc__ or "", re.DOTALL)[0])
    assert step(**raw).options.action == "read"


# Reading


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("a.json", b'{"a": [1, null, "\xc3\xa4"]}', {"a": [1, None, "ä"]}),
        ("a.json", b"\xef\xbb\xbf[1]", [1]),
        ("a.json", b"12345678901234567890", 12345678901234567890),
        (
            "a.yml",
            b"a: 1\nday: 2026-11-21\non: no\ntime: 12:30\n",
            {"a": 1, "day": "2026-11-21", "on": "no", "time": "12:30"},
        ),
        ("a.yaml", b"---\na: 1\n---\na: 2\n", [{"a": 1}, {"a": 2}]),
        ("a.yml", b"", None),
        ("a.conf", b"a: 1\n", {"a": 1}),
        ("a.txt", "ä {{ 7*7 }}\r\n".encode(), "ä {{ 7*7 }}\r\n"),
        (
            "a.csv",
            b'name,n\nx,1\n"a,\n""b""",2\r\n\n',
            [{"name": "x", "n": "1"}, {"name": 'a,\n"b"', "n": "2"}],
        ),
        ("a.csv", b"", []),
        ("a.csv", b"name,n\n", []),
        ("a.jsonl", b'{"a": 1}\r\n\n[2]\n"\xe2\x80\xa8"', [{"a": 1}, [2], "\u2028"]),
        ("a.jsonl", b"", []),
    ],
)
def test_files_are_read_by_their_ending(
    data: Path, act: Callable[..., Any], name: str, content: bytes, value: Any
) -> None:
    (data / name).write_bytes(content)
    assert act(name) == value


def test_the_type_beats_the_ending(data: Path, act: Callable[..., Any]) -> None:
    (data / "a.json").write_text("[1]")
    assert act("a.json", type="text") == "[1]"


@pytest.mark.parametrize(
    ("name", "content", "says", "line"),
    [
        ("a.json", b'{\n"a": }', "line 2, column 6", 2),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', "use type jsonl", 2),
        ("a.json", b"[NaN]", "NaN is no JSON", 1),
        ("a.json", b'"\\ud800"', "surrogate", None),
        ("a.json", b"[" * 100_000, "deep", 1),
        ("a.json", b"", "line 1", 1),
        ("a.json", b'"\xff"', "no UTF-8", 1),
        ("a.yml", b"a: 1\na: 2\n", "twice", 2),
        ("a.yml", b"a: !!python/object:os.system x\n", "python", 1),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "line 3 has 3 cells", 3),
        ("a.csv", b"a,a\n1,2\n", "twice", 1),
        ("a.csv", b'a\n"x', "line 2", 2),
        ("a.jsonl", b'{"a": 1}\n\n{"a": \n', "line 3", 3),
        ("a.txt", b"a\nb\xff", "line 2 is no UTF-8", 2),
    ],
)
def test_wrong_content_is_told_with_its_line(
    data: Path, refused: Callable[..., StepError], name: str, content: bytes, says: str, line: int | None
) -> None:
    (data / name).write_bytes(content)
    error = refused(name)
    assert error.code == "file_invalid"
    assert says in error.message
    assert repr(name) in error.message
    assert error.details["line"] == line


def test_a_missing_file_is_named(refused: Callable[..., StepError]) -> None:
    error = refused("input/nope.json")
    assert error.code == "file_not_found"
    assert error.message == "cannot read 'input/nope.json': there is no such file in the data folder"


def test_a_huge_file_is_refused(data: Path, refused: Callable[..., StepError]) -> None:
    with (data / "a.txt").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    assert refused("a.txt").code == "file_too_large"


# Writing


@pytest.mark.parametrize(
    ("name", "value", "content"),
    [
        ("a.json", {"ä": [1, None]}, '{\n  "ä": [\n    1,\n    null\n  ]\n}\n'),
        ("a.yml", {"ä": [1, None, "no"]}, "ä:\n- 1\n- null\n- 'no'\n"),
        ("a.txt", "ä\n", "ä\n"),
        ("a.txt", 7, "7"),
        ("a.txt", None, ""),
        ("a.csv", [{"a": 1, "b": "x,y"}, {"b": None, "c": [1]}], 'a,b,c\n1,"x,y",\n,,[1]\n'),
        ("a.csv", [["a", 1], ["b", True]], "a,1\nb,true\n"),
        ("a.csv", {"a": 1}, "a\n1\n"),
        ("a.csv", [], ""),
        ("a.jsonl", [{"a": 1}, "ä"], '{"a":1}\n"ä"\n'),
        ("a.jsonl", {"a": 1}, '{"a":1}\n'),
        ("a.jsonl", [], ""),
    ],
)
def test_data_are_written_by_the_ending(
    data: Path, act: Callable[..., Any], context: FakeContext, name: str, value: Any, content: str
) -> None:
    context.data = {"value": value}
    result = act(f"new/sub/{name}", mode="write", data_key="value")
    assert (data / "new" / "sub" / name).read_text(encoding="utf-8") == content
    assert result == {"path": f"new/sub/{name}", "bytes": len(content.encode())}


def test_the_whole_data_can_be_written(data: Path, act: Callable[..., Any], context: FakeContext) -> None:
    context.data = {"a": 1, "__errors__": []}
    act("a.json", mode="write", data_key=".")
    assert json.loads((data / "a.json").read_text()) == context.data


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("a.txt", {"a": 1}, "needs a text"),
        ("a.csv", "x", "list of mappings"),
        ("a.csv", [{"a": 1}, [1]], "list of mappings"),
        ("a.json", float("nan"), "nan"),
    ],
)
def test_data_that_do_not_fit_leave_the_old_file(
    data: Path, refused: Callable[..., StepError], context: FakeContext, name: str, value: Any, says: str
) -> None:
    context.data = {"value": value}
    (data / name).write_text("old")
    for mode in ("write", "append"):
        error = refused(name, mode=mode, data_key="value")
        assert error.code == "file_invalid"
        assert says in error.message
    assert (data / name).read_text() == "old"
    assert sorted(entry.name for entry in data.iterdir()) == [name, "templates"]


def test_a_missing_data_key_is_told_before_the_file_is_touched(
    data: Path, refused: Callable[..., StepError]
) -> None:
    (data / "a.json").write_text("old")
    assert refused("a.json", mode="write", data_key="nope").code == "data_key_missing"
    assert (data / "a.json").read_text() == "old"


# Appending


@pytest.mark.parametrize(
    ("name", "values", "content"),
    [
        ("a.json", [{"a": 1}, [2, 3]], '{"a":1}\n2\n3\n'),
        ("a.jsonl", [{"a": 1}, [2, 3]], '{"a":1}\n2\n3\n'),
        ("a.yml", [{"a": 1}, [2]], "---\na: 1\n---\n- 2\n"),
        ("a.txt", ["x", "y\n", 7], "x\ny\n7\n"),
        ("a.csv", [{"a": 1, "b": 2}, [{"b": 3}], {"a": 4}], "a,b\n1,2\n,3\n4,\n"),
    ],
)
def test_records_are_appended(
    data: Path, act: Callable[..., Any], context: FakeContext, name: str, values: list[Any], content: str
) -> None:
    for value in values:
        context.data = {"value": value}
        act(f"sub/{name}", mode="append", data_key="value")
    assert (data / "sub" / name).read_text() == content


def test_what_was_appended_as_yaml_is_read_as_a_list(act: Callable[..., Any], context: FakeContext) -> None:
    context.data = {"value": {"a": 1}}
    act("a.yml", mode="append", data_key="value")
    act("a.yml", mode="append", data_key="value")
    assert act("a.yml") == [{"a": 1}, {"a": 1}]


def test_an_unfinished_line_spoils_only_itself(
    data: Path, act: Callable[..., Any], context: FakeContext
) -> None:
    (data / "a.jsonl").write_text('{"a": 1}\n{"a":')
    context.data = {"value": {"a": 3}}
    act("a.jsonl", mode="append", data_key="value")
    assert (data / "a.jsonl").read_text() == '{"a": 1}\n{"a":\n{"a":3}\n'


def test_a_new_column_is_refused(data: Path, refused: Callable[..., StepError], context: FakeContext) -> None:
    (data / "a.csv").write_text("a,b\n1,2\n")
    context.data = {"value": {"a": 1, "c": 2}}
    assert "no column 'c'; it has: a, b" in refused("a.csv", mode="append", data_key="value").message


def test_appenders_in_threads_lose_nothing(data: Path, act: Callable[..., Any], context: FakeContext) -> None:
    context.data = {"value": {"text": "x" * 5000}}
    threads = [
        threading.Thread(target=lambda: [act("a.jsonl", mode="append", data_key="value") for _ in range(10)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert act("a.jsonl") == [context.data["value"]] * 80


# Paths


def test_the_path_is_a_template(data: Path, act: Callable[..., Any], context: FakeContext) -> None:
    context.data = {"day": "2026-11-21", "value": 1, "n": 7, "sly": "{{ n }}"}
    act("out/{{ day }}/{{ sly }}.json", mode="write", data_key="value")
    act("{{ n }}", mode="write", data_key="value")
    assert (data / "out" / "2026-11-21" / "{{ n }}.json").is_file()
    assert (data / "7").is_file()


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/etc/passwd",
        "a/../../x",
        "..\\x",
        "C:\\x",
        "",
        "a\0b",
        "out/x",
        "flows/x",
        "secrets.yml",
        ".",
    ],
)
@pytest.mark.parametrize("mode", ["read", "write", "append"])
def test_paths_that_lead_out_or_are_private_are_refused(
    data: Path, refused: Callable[..., StepError], context: FakeContext, path: str, mode: str
) -> None:
    (data / "out").symlink_to(data.parent)
    (data / "secrets.yml").write_text("private")
    private = (data / "flows", data / "secrets.yml")
    context.folders = Folders(data=data, templates=context.folders.templates, private=private)
    context.data = {"path": path, "value": 1}
    error = refused("{{ path }}", mode=mode, data_key="value")
    assert error.code == "path_refused"
    assert sorted(entry.name for entry in data.parent.iterdir()) == ["data"]
    assert (data / "secrets.yml").read_text() == "private"


@pytest.mark.parametrize("mode", ["read", "write", "append"])
def test_only_regular_files_are_touched(
    data: Path, refused: Callable[..., StepError], context: FakeContext, mode: str
) -> None:
    os.mkfifo(data / "pipe")
    (data / "folder").mkdir()
    context.data = {"value": 1}
    for path in ("pipe", "folder"):
        assert refused(path, mode=mode, type="json", data_key="value").code == "path_refused"


def test_a_name_that_is_too_long_is_refused(refused: Callable[..., StepError]) -> None:
    assert refused("x" * 300).code == "path_refused"


# Options


def test_method_is_the_old_name_of_mode(data: Path, act: Callable[..., Any], context: FakeContext) -> None:
    context.data = {"value": 1}
    act("a.json", method="write", data_key="value")
    assert (data / "a.json").is_file()
    [(level, message)] = context.lines
    assert level == "warning"
    assert "file.mode" in message


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"path": ""},
        {"path": "../x"},
        {"path": "/x"},
        {"path": "a", "mode": "delete"},
        {"path": "a", "type": "xml"},
        {"path": "a", "mode": "write"},
        {"path": "a", "mode": "append"},
        {"path": "a", "mode": "read", "method": "write", "data_key": "x"},
        {"path": "a", "moed": "read"},
    ],
)
def test_wrong_options_are_refused_when_the_flow_is_loaded(
    step: Callable[..., Any], options: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        step(type="file", file=options)


@pytest.mark.parametrize(("mode", "repeatable"), [("read", True), ("write", True), ("append", False)])
def test_all_but_appending_is_repeatable(step: Callable[..., Any], mode: str, repeatable: bool) -> None:
    for key in ("mode", "method"):
        spec = step(type="file", file={"path": "a", key: mode, "data_key": "x"})
        assert factory.step_type_of(spec).repeatable(spec.options) is repeatable


# What is written is what is read

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=15,
)
QUICK = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(value=VALUES, kind=st.sampled_from([DataFileType.JSON, DataFileType.YAML]))
def test_any_value_comes_back_as_it_was(value: Any, kind: DataFileType) -> None:
    back = read_value(write_bytes(value, kind), kind, name="x")
    assert json.dumps(back) == json.dumps(value)


@QUICK
@given(value=st.lists(VALUES, max_size=5))
def test_any_list_comes_back_from_json_lines(value: list[Any]) -> None:
    back = read_value(write_bytes(value, DataFileType.JSONL), DataFileType.JSONL, name="x")
    assert json.dumps(back) == json.dumps(value)


@QUICK
@given(
    rows=st.lists(st.lists(TEXTS, min_size=3, max_size=3), min_size=1, max_size=5),
    columns=st.lists(
        TEXTS.filter(lambda text: text and text[0] != "\ufeff"), min_size=3, max_size=3, unique=True
    ),
)
def test_any_table_of_texts_comes_back_from_csv(rows: list[list[str]], columns: list[str]) -> None:
    value = [dict(zip(columns, row, strict=True)) for row in rows]
    assert read_value(write_bytes(value, DataFileType.CSV), DataFileType.CSV, name="x") == value
