"""Values that are given from outside become what their field says, or are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flow_processor.errors import InvalidRequest
from flow_processor.spec.param_types import ParamType
from flow_processor.spec.params import ParamSpec, clean_values

COLOURS = ParamSpec(type=ParamType.CHOICE, options=("red", "green"))


def one(kind: str, value: Any) -> Any:
    """The value that a single field of that type takes."""
    return clean_values({"f": ParamSpec(type=ParamType(kind))}, {"f": value}, where="form")["f"]


@pytest.mark.parametrize(
    ("kind", "value", "taken"),
    [
        ("str", "12", "12"),
        ("int", 12, 12),
        ("int", " -12 ", -12),
        ("float", 1, 1.0),
        ("float", "1e3", 1000.0),
        ("bool", "True", True),
        ("bool", False, False),
        ("date", "2026-11-21", "2026-11-21"),
        ("datetime", "2026-11-21T07:40", "2026-11-21T07:40:00"),
        ("datetime", "2026-11-21T07:40:06Z", "2026-11-21T07:40:06+00:00"),
        ("list", "[1, 2]", [1, 2]),
        ("list", ["a"], ["a"]),
        ("map", '{"a": 1}', {"a": 1}),
    ],
)
def test_a_value_or_its_text_is_taken(kind: str, value: Any, taken: Any) -> None:
    found = one(kind, value)
    assert found == taken
    assert type(found) is type(taken)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("str", 12),
        ("int", True),
        ("int", 1.0),
        ("int", "1_000"),
        ("int", "٣"),
        ("int", "9" * 5000),
        ("float", True),
        ("float", "nan"),
        ("float", "Infinity"),
        ("float", 10**400),
        ("bool", 1),
        ("bool", "yes"),
        ("date", "2026-02-30"),
        ("date", 20261121),
        ("datetime", "yesterday"),
        ("list", "1, 2"),
        ("list", {"a": 1}),
        ("map", "[]"),
        ("map", "[" * 100_000),
    ],
)
def test_nothing_is_silently_converted(kind: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match="form: f: must be"):
        one(kind, value)


def test_every_problem_is_named_at_once() -> None:
    specs = {
        "amount": ParamSpec(type=ParamType.INT, required=True),
        "colour": COLOURS,
        "reason": ParamSpec(required=True),
    }
    with pytest.raises(InvalidRequest) as refused:
        clean_values(specs, {"amount": "lots", "color": "red", "colour": "blue"}, where="form")
    problems = [(one["key"], one["code"], one["hint"]) for one in refused.value.details["problems"]]
    assert problems == [
        ("color", "unknown_key", "did you mean 'colour'?"),
        ("amount", "invalid_value", None),
        ("colour", "invalid_value", None),
        ("reason", "missing_key", None),
    ]
    assert 'colour: must be one of red, green, found "blue"' in str(refused.value)


def test_what_is_not_given_has_its_default_or_is_null() -> None:
    specs = {"n": ParamSpec(type=ParamType.INT, default="7"), "why": ParamSpec()}
    assert clean_values(specs, {}, where="form") == {"n": 7, "why": None}


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "choice"},
        {"type": "str", "options": ["a"]},
        {"type": "int", "default": "many"},
        {"type": "int", "required": True, "default": 1},
        {"type": "integer"},
    ],
)
def test_a_field_that_cannot_be_is_refused_where_it_is_written(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ParamSpec.model_validate(wrong)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(kind=st.sampled_from([kind for kind in ParamType if kind is not ParamType.CHOICE]), value=JSON_VALUES)
def test_what_was_taken_is_taken_again_as_it_is(kind: ParamType, value: Any) -> None:
    """Values are checked when a person answers and may be checked again later: the second time changes nothing."""
    spec = ParamSpec(type=kind)
    try:
        taken = spec.read(value)
    except ValueError:
        return
    assert spec.read(taken) == taken
