"""`when`: the table of BEHAVIOUR, row by row."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.errors import ExpressionError
from flow_processor.expressions.jinja import Templates
from flow_processor.expressions.when import holds, truth

DATA: dict[str, Any] = {
    "t": True,
    "f": False,
    "n": 5,
    "zero": 0,
    "list": [1],
    "none_there": [],
    "map": {"a": 1},
    "null": None,
    "text": "open",
    "yes_text": "Yes",
    "off_text": "off",
    "blank": "",
    "code": "1 == 1",
    "template": "{{ t }}",
}
TEMPLATES = Templates()


def test_without_a_condition_a_step_runs() -> None:
    assert holds(None, DATA, TEMPLATES)


@pytest.mark.parametrize(
    ("when", "answer"),
    [
        (True, True),
        (False, False),
        ((), True),
        # An expression, or a template.
        (("n > 3",), True),
        (("n > 3 and list | length == 0",), False),
        (("{{ n > 3 }}",), True),
        (("{{ not t }}",), False),
        (("{% if t %}yes{% else %}no{% endif %}",), True),
        (("{{ t }} ",), True),
        # A list: all must hold.
        (("t", "n > 3"), True),
        (("t", "f"), False),
        # Booleans as they are, texts by the table.
        (("t",), True),
        (("f",), False),
        (("true",), True),
        (("True",), True),
        (("yes",), True),
        (("on",), True),
        (("1",), True),
        (("false",), False),
        (("no",), False),
        (("off",), False),
        (("0",), False),
        (("",), False),
        (("  ",), False),
        (("yes_text",), True),
        (("{{ yes_text }}",), True),
        (("off_text",), False),
        (("blank",), False),
        # Numbers, lists, maps by emptiness; null is nothing.
        (("n",), True),
        (("zero",), False),
        (("0.0",), False),
        (("list",), True),
        (("none_there",), False),
        (("map",), True),
        (("{}",), False),
        (("null",), False),
        # An undefined name has length 0.
        (("missing",), False),
        (("not missing",), True),
        (("missing | length == 0",), True),
        (("missing | length > 0",), False),
        (("missing.deep.er",), False),
        (("missing[0].x",), False),
        (("map.nope.deeper == 1",), False),
        (("null.a.b",), False),
        (("missing == 'x'",), False),
        (("missing != 'x'",), True),
        (("missing > 3",), False),
        (("missing <= 3",), False),
        (("3 > missing",), False),
        (("'a' in missing",), False),
        (("missing in ['a']",), False),
        (("missing is defined",), False),
        (("{{ missing }}",), False),
        (("{{ missing.a | length }}",), False),
        (("missing | default('yes')",), True),
    ],
)
def test_the_table(when: Any, answer: bool) -> None:
    assert holds(when, DATA, TEMPLATES) is answer


@pytest.mark.parametrize("when", ["text", "{{ text }}", "{{ t }} and {{ t }}", "code", "template", "'maybe'"])
def test_another_text_is_an_error(when: str) -> None:
    """And it is never evaluated a second time, whatever it looks like."""
    with pytest.raises(ExpressionError) as caught:
        holds((when,), DATA, TEMPLATES)
    assert caught.value.code == "when_not_boolean"
    assert when in caught.value.message


@pytest.mark.parametrize("when", ["n >", "a b", "n / zero", "{{ n", "{{ n / zero }}", "n | nope", "null > 3"])
def test_a_condition_that_cannot_be_evaluated_is_an_error(when: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        holds((when,), DATA, TEMPLATES)
    assert caught.value.code == "when_failed"
    assert caught.value.details == {"when": when}


def test_conditions_after_one_that_does_not_hold_are_not_looked_at() -> None:
    assert not holds(("list | length > 3", "list[3] / zero"), DATA, TEMPLATES)


@given(
    st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.none())
)
def test_whatever_is_no_text_counts_by_emptiness(value: Any) -> None:
    assert holds(("value",), {"value": value}, TEMPLATES) is bool(value)


@given(st.text())
def test_a_text_is_true_false_or_an_error_never_a_guess(text: str) -> None:
    expected = {"true": True, "1": True, "yes": True, "on": True} | dict.fromkeys(
        ("false", "0", "no", "off", ""), False
    )
    answer = truth(text)
    assert answer is expected.get(text.strip().lower())
    if answer is None:
        with pytest.raises(ExpressionError):
            holds(("{{ value }}",), {"value": text}, TEMPLATES)
    else:
        assert holds(("{{ value }}",), {"value": text}, TEMPLATES) is answer
