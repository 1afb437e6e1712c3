"""How command lines are read: ages, flows, data and parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.cli.options import Since, in_zone
from flow_processor.cli.values import json_value, typed_pairs
from flow_processor.flow import name_below


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("1.5h", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("1W", timedelta(weeks=1)),
    ],
)
def test_since_takes_an_age(text: str, age: timedelta) -> None:
    moment = Since().convert(text, None, None)
    assert abs(datetime.now(UTC) - age - moment) < timedelta(seconds=10)


def test_a_time_without_zone_is_read_in_the_configured_one() -> None:
    moment = in_zone(Since().convert("2026-11-21T07:40", None, None), ZoneInfo("Europe/Berlin"))
    assert moment == datetime(2026, 11, 21, 6, 40, tzinfo=UTC)


def test_a_time_with_zone_is_kept() -> None:
    moment = in_zone(Since().convert("2026-11-21T07:40Z", None, None), ZoneInfo("Europe/Berlin"))
    assert moment == datetime(2026, 11, 21, 7, 40, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "2 hours", "yesterday", "-2h", "h"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.BadParameter, match="2h"):
        Since().convert(text, None, None)


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        ("sub/a.yml", "sub/a.yml"),
        ("sub/a", "sub/a"),
        ("data/flows/sub/a.yml", "sub/a.yml"),
        ("./data/flows/sub/a.yml", "sub/a.yml"),
        ("data/../data/flows/sub/a.yml", "sub/a.yml"),
        ("other.yml", "other.yml"),
        ("../outside.yml", "../outside.yml"),
    ],
)
def test_a_flow_may_be_named_as_the_shell_completes_it(folder: Path, given_: str, meant: str) -> None:
    (folder / "flows/sub").mkdir()
    (folder / "flows/sub/a.yml").write_text("")
    assert name_below(given_, folder / "flows") == meant
    assert name_below(str(folder / "flows/sub/a.yml"), folder / "flows") == "sub/a.yml"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_data_is_any_json_value(value: object) -> None:
    assert json_value(json.dumps(value), hint="--data") == value


def test_data_from_a_file_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    Path("in.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert json_value("@in.json", hint="--data") == {"a": 1}


@pytest.mark.parametrize("text", ["{", "NaN", "[1,]", "{'a': 1}", "@missing.json", "[" * 100_000])
def test_data_that_is_no_json_is_a_usage_error(
    octospool: Callable[..., Result], folder: Path, text: str
) -> None:
    result = octospool("run", "hello", "--data", text)
    assert result.exit_code == 2
    assert "--data" in result.stderr


def test_a_parameter_is_a_text_or_with_a_colon_json() -> None:
    assert typed_pairs(("day=2026-11-21", "n:=3", "list:=[1, 2]", "eq=a=b", "empty="), hint="--param") == {
        "day": "2026-11-21",
        "n": 3,
        "list": [1, 2],
        "eq": "a=b",
        "empty": "",
    }


@pytest.mark.parametrize("pairs", [("day",), ("=x",), ("a=1", "a=2"), ("n:=",)])
def test_a_wrong_parameter_is_a_usage_error(pairs: tuple[str, ...]) -> None:
    with pytest.raises(click.BadParameter):
        typed_pairs(pairs, hint="--param")
