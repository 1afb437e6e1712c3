"""jq: how outputs become a value, what is exact, and what each error says."""

import math
import sys
from typing import Any

import jq as binding
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.errors import ExpressionError
from flow_processor.expressions import jq

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)


def failure(expression: str, value: Any = None) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        jq.run(expression, value)
    return caught.value


@pytest.mark.parametrize(
    ("expression", "value", "result"),
    [
        (".a", {"a": 1}, 1),
        ("empty", {"a": 1}, None),
        (".[]", [1, 2], [1, 2]),
        (".[]", [7], 7),
        (".[]", [], None),
        (".", [1], [1]),
        ("[.[]]", [], []),
        ("null", 1, None),
        ("null, null", 1, [None, None]),
        ("def twice: . * 2; twice", 4, 8),
        ("1 as $x | 2 as $y | $x + $y", None, 3),
        (". # a comment at the end", 5, 5),
        (". # it ends in a backslash \\", 5, 5),
        ("first(.[] | select(. > 1))", [1, 2, 3], 2),
        ("label $out | 1, 2, break $out", None, [1, 2]),
    ],
)
def test_one_output_is_the_value_none_is_null_several_are_a_list(
    expression: str, value: Any, result: Any
) -> None:
    assert jq.run(expression, value) == result


@given(JSON)
def test_what_is_handed_on_is_exact(value: Any) -> None:
    """Every JSON value comes back equal, whatever the size of its numbers."""
    assert jq.run(".", [value])[0] == value


@given(st.floats(-1e16, 1e16) | st.integers() | st.booleans())
def test_a_number_keeps_its_type(value: Any) -> None:
    """(A float from 1e16 to 1e17 with all its digits comes back as the integer that it is.)"""
    assert type(jq.run(".", value)) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        12345678901234567890,
        2**53 + 1,
        -(2**63) - 1,
        10**400,
        1.0,
        1e16,
        1e300,
        5e-324,
        0.1 + 0.2,
        "\0",
        "\U0001f600",
    ],
)
@pytest.mark.parametrize("expression", [".[0]", ".[]", "map(.)[0]", "{a: .[0]} | .a"])
def test_numbers_keep_their_digits_and_their_kind(expression: str, value: Any) -> None:
    result = jq.run(expression, [value])
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("expression", "value", "result"),
    [
        ("tostring", 12345678901234567890, "12345678901234567890"),
        ('"/issues/\\(.)"', 12345678901234567890, "/issues/12345678901234567890"),
        (". == 12345678901234567891", 12345678901234567890, False),
        ("unique | length", [12345678901234567890, 12345678901234567891], 2),
        ("tonumber", "12345678901234567890", 12345678901234567890),
        ("fromjson", "[12345678901234567890, 1.5]", [12345678901234567890, 1.5]),
        ("12345678901234567891", None, 12345678901234567891),
    ],
)
def test_big_integers_stay_exact_in_texts_and_comparisons(expression: str, value: Any, result: Any) -> None:
    assert jq.run(expression, value) == result


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (".", math.nan),
        (".a[0]", {"a": [math.inf]}),
        (".", -math.inf),
        (".", "\ud800"),
        (".", {"\udfff": 1}),
        (". + 1", 12345678901234567890),
        ("[{a: (. - 1)}]", 2**60 + 1),
        ("pow(2; 70)", None),
        ("1e1000", None),
        ("infinite", None),
        (". * 10", sys.float_info.max),
        ("-infinite", None),
    ],
)
def test_what_would_be_changed_silently_is_refused(expression: str, value: Any) -> None:
    assert failure(expression, value).code == "jq_lossy"


def test_the_largest_number_may_be_handed_on() -> None:
    """It is what jq writes for an infinity that it computed; that one came in."""
    assert jq.run(".", sys.float_info.max) == sys.float_info.max


def test_texts_that_look_like_special_numbers_are_texts() -> None:
    value = ["NaN", "Infinity", "1.7976931348623157e+308", "12345678901234567890", "1E+999"]
    assert jq.run(".", value) == value


def test_data_nested_as_deep_as_a_hundred_times_the_usual_passes() -> None:
    value: Any = 1
    for _ in range(500):
        value = [value]
    assert jq.run(".", value) == value


def test_data_nested_without_end_is_an_error() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    assert failure(".", value).code == "jq_failed"


def test_data_that_is_no_json_is_an_error() -> None:
    assert failure(".", object()).code == "jq_failed"


@pytest.mark.parametrize(
    ("expression", "value", "text"),
    [
        (".a", 1, "Cannot index number"),
        ('error("no customer")', None, "no customer"),
        ("tonumber", "x", "cannot be parsed"),
        ("1 / 0", None, "divisor is zero"),
    ],
)
def test_a_failing_expression_says_what_jq_says(expression: str, value: Any, text: str) -> None:
    error = failure(expression, value)
    assert error.code == "jq_failed"
    assert text in error.message
    assert error.details == {"expression": expression}


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (".a |\n foo(2)", "foo/1 is not defined at <top-level>, line 2, column 2"),
        ("{", "line 1, column 1"),
        ("1]|[2", "line 1, column 2"),
        ("1) | (2", "line 1, column 2"),
        ('"abc', "syntax error"),
        ("", "program not given"),
        ("# only a comment", "program not given"),
        ("def f: 1;", "program not given"),
        (".a\0", "NUL"),
    ],
)
def test_an_expression_that_does_not_compile_tells_the_place(expression: str, text: str) -> None:
    error = failure(expression)
    assert error.code == "jq_compile_error"
    assert text in error.message
    assert jq.compile_problem(expression) == error.message


def test_a_right_expression_has_no_problem() -> None:
    assert jq.compile_problem(".a | map(.b)") is None


def test_a_long_message_is_cut() -> None:
    """jq quotes the data in its messages, which may be large."""
    assert len(failure("error", "x" * 100_000).message) < 3000


def test_an_expression_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    original = binding.compile
    monkeypatch.setattr(binding, "compile", lambda text: compiled.append(text) or original(text))
    for number in range(5):
        assert jq.run(".compiled_once + 0", {"compiled_once": number}) == number
    assert len(compiled) == 1


@pytest.mark.parametrize(
    "expression", ["env", "$ENV", '"\\(env)"', "{$ENV}", "input", "halt", 'import "a" as a; .']
)
def test_words_that_reach_out_are_denied_before_compiling(
    expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "compile", lambda text: pytest.fail("compiled"))
    error = failure(expression)
    assert error.code == "jq_denied"
    assert "not allowed" in error.message
