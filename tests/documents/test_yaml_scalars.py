"""YAML 1.2 core: what is a number, a boolean, null, and what stays text."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.documents import (
    NotJson,
    dump_yaml,
    parse,
    parse_all_data_yaml,
    parse_data_yaml,
    to_json_value,
)
from flow_processor.errors import SpecError, StepError
from flow_processor.spec.schedule import Catchup

MAX_KEY = 1000
LONGEST_ESCAPE = len(r"\ud83d\ude00")


def json_values(characters: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    """Any JSON value with texts of these characters. A key of YAML on one line has at most 1,024, escapes included."""
    keys = st.text(characters, max_size=MAX_KEY // LONGEST_ESCAPE)
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers(min_value=-(10**30), max_value=10**30)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(characters),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


ANY = st.characters(exclude_categories=["Cs"])
BASIC = st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF)
"""What JSON escapes without pairs of surrogates, which YAML does not know."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-17", -17),
        ("+4", 4),
        ("0o17", 15),
        ("0xFF", 255),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("12345678901234567890", 12345678901234567890),
        ("yes", "yes"),
        ("NO", "NO"),
        ("on", "on"),
        ("tRue", "tRue"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("0123", "0123"),
        ("00.5", "00.5"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("2026-11-21", "2026-11-21"),
        ("2026-11-21T07:40:06Z", "2026-11-21T07:40:06Z"),
        ("1.2.3", "1.2.3"),
        ("-x", "-x"),
        ('"true"', "true"),
        ("'17'", "17"),
    ],
)
def test_plain_scalars_follow_yaml_1_2_and_leading_zeros_are_text(text: str, value: object) -> None:
    found = parse(f"key: {text}", file="a.yml").data["key"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e400", "9" * 400])
def test_numbers_that_json_cannot_hold_are_refused(text: str) -> None:
    with pytest.raises(SpecError) as error:
        parse(f"key: {text}", file="a.yml")
    assert (error.value.code, error.value.problems[0].line, error.value.problems[0].column) == (
        "yaml_invalid",
        1,
        6,
    )


def test_keys_are_always_text() -> None:
    data = parse("1: a\ntrue: b\non: c\n~: d\n2026-11-21: e", file="a.yml").data
    assert data == {"1": "a", "true": "b", "on": "c", "~": "d", "2026-11-21": "e"}


def test_merge_keys_and_aliases_work() -> None:
    data = parse("base: &b {x: 1, y: 2}\nmine: {<<: *b, y: 3}\nagain: *b", file="a.yml").data
    assert data["mine"] == {"x": 1, "y": 3}
    assert data["again"] == {"x": 1, "y": 2}


@given(json_values(ANY))
def test_what_is_written_is_read_back(value: object) -> None:
    assert parse_data_yaml(dump_yaml(value)) == value


@given(json_values(ANY))
def test_what_is_written_is_also_read_back_by_readers_of_yaml_1_1(value: object) -> None:
    assert yaml.safe_load(dump_yaml(value)) == value


@given(json_values(BASIC))
def test_json_is_read_like_json(value: object) -> None:
    assert parse_data_yaml(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text", ["0o17", "1e3", "no", "12:30", "0123", "<<", "=", "~", "2026-11-21", "- a", "# a"]
)
def test_a_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert parse_data_yaml(dump_yaml({"key": text})) == {"key": text}


def test_several_documents_are_a_list() -> None:
    assert parse_data_yaml("a: 1\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]
    assert parse_all_data_yaml("a: 1\n") == [{"a": 1}]
    assert parse_data_yaml("") is None


def test_broken_data_is_a_step_error_with_its_place() -> None:
    with pytest.raises(StepError, match=r"line 2, column 1") as error:
        parse_data_yaml("a: 1\na: 2\n")
    assert (error.value.code, error.value.details) == ("duplicate_key", {"line": 2, "column": 1})


def test_python_values_become_flow_data() -> None:
    moment = datetime(2026, 11, 21, 7, 40, tzinfo=UTC)
    value = {1: (1, 2), "at": moment, "day": date(2026, 1, 2), "set": {"b", "a"}, None: Catchup.ALL}
    assert to_json_value(value) == {
        "1": [1, 2],
        "at": "2026-11-21T07:40:00+00:00",
        "day": "2026-01-02",
        "set": ["a", "b"],
        "null": "all",
    }


@pytest.mark.parametrize(
    "value", [b"x", float("nan"), float("inf"), "\ud800", object(), {(1, 2): 3}, {1: "a", "1": "b"}]
)
def test_what_flow_data_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(NotJson):
        to_json_value([value])


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(NotJson, match="nested deeper"):
        to_json_value(value)
