"""Problems of a document against a spec: place, key path, what was found, what is allowed, what was meant."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, Field

from flow_processor.documents import Document, TagWords, parse, validate
from flow_processor.errors import SpecError
from flow_processor.spec.base import Seconds, Spec, Templated, Texts


class Pause(Spec):
    """Options of a pause."""

    seconds: Templated[float]
    """How long, in seconds."""
    colour: Literal["red", "green"] = "red"
    counts: tuple[int, ...] = ()
    words: Texts = ()
    sizes: dict[str, int] | None = None
    loud: bool = False


class Base(Spec):
    """A member."""

    name: str
    limit: Seconds | None = None
    when: bool | Texts | None = None


class PauseStep(Base):
    """A pause."""

    type: Literal["pause", "wait"]
    pause: Pause = Field(validation_alias=AliasChoices("pause", "wait"))


class CallStep(Base):
    """A call; its key is named like its type's value."""

    type: Literal["call"]
    call: str


class File(Spec):
    """A file."""

    title: str | None = None
    steps: Annotated[
        tuple[Annotated[PauseStep | CallStep, Field(discriminator="type")], ...], Field(min_length=1)
    ]


TAGS = {Base: TagWords("step type", code="unknown_step_type")}


def problems_of(text: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        validate(File, parse(text, file="a.yml"), tags=TAGS)
    return [f"{problem.code} {problem}" for problem in error.value.problems]


def test_a_right_document_is_its_model() -> None:
    text = "steps: [{name: a, type: wait, wait: {seconds: '{{ x }}', words: hi}}, {name: b, type: call, call: x}]"
    found = validate(File, parse(text, file="a.yml"), tags=TAGS)
    assert isinstance(found.steps[0], PauseStep)
    assert (found.steps[0].pause.seconds, found.steps[0].pause.words) == ("{{ x }}", ("hi",))


@pytest.mark.parametrize(
    ("step", "problem"),  # ¦ marks the place; without it the step itself is meant
    [
        (
            "type: pause, pause: {¦secnds: 1}",
            "unknown_key a.yml:1:{}: steps[0].pause.secnds: unknown key 'secnds' (did you mean 'seconds'?)",
        ),
        (
            "type: wait, wait: {¦secnds: 1}",
            "unknown_key a.yml:1:{}: steps[0].wait.secnds: unknown key 'secnds' (did you mean 'seconds'?)",
        ),
        (
            "type: pause, pause: ¦{}",
            "missing_key a.yml:1:{}: steps[0].pause.seconds: the key 'seconds' is missing "
            "(add 'seconds: …', How long, in seconds)",
        ),
        (
            "type: pause, pause: {seconds: 1}, ¦seconds: 2",
            "unknown_key a.yml:1:{}: steps[0].seconds: unknown key 'seconds' (it belongs under 'pause')",
        ),
        (
            "type: pause, pause: {seconds: 1, ¦limit: 2}",
            "unknown_key a.yml:1:{}: steps[0].pause.limit: unknown key 'limit' (it belongs one level further out)",
        ),
        (
            "type: ¦puase",
            "unknown_step_type a.yml:1:{}: steps[0].type: unknown step type 'puase'; known: pause, wait, call "
            "(did you mean 'pause'?)",
        ),
        (
            "call: x",
            "missing_key a.yml:1:{}: steps[0].type: the key 'type' is missing (did you mean 'type: call'?)",
        ),
        (
            "type: call, call: ¦5",
            "invalid_value a.yml:1:{}: steps[0].call: must be text; found 5 (put it in quotes to make it text)",
        ),
        (
            "type: call, call: x, limit: ¦0",
            "invalid_value a.yml:1:{}: steps[0].limit: must be more than 0; found 0",
        ),
        (
            "type: pause, pause: {seconds: ¦soon}",
            "invalid_value a.yml:1:{}: steps[0].pause.seconds: must be a number or a {{{{ template }}}}; "
            "found the text 'soon'",
        ),
        (
            "type: pause, pause: {seconds: 1, colour: ¦grean}",
            "invalid_value a.yml:1:{}: steps[0].pause.colour: must be one of red, green; found the text 'grean' "
            "(did you mean 'green'?)",
        ),
        (
            "type: pause, pause: {seconds: 1, counts: [1, ¦x]}",
            "invalid_value a.yml:1:{}: steps[0].pause.counts[1]: must be a whole number; found the text 'x'",
        ),
        (
            "type: pause, pause: {seconds: 1, counts: ¦{a: 1}}",
            "invalid_value a.yml:1:{}: steps[0].pause.counts: must be a list; found a mapping "
            "(begin each entry with '- ')",
        ),
        (
            "type: pause, pause: {seconds: 1, words: [a, ¦2]}",
            "invalid_value a.yml:1:{}: steps[0].pause.words[1]: must be text; found 2 "
            "(put it in quotes to make it text)",
        ),
        (
            "type: pause, pause: {seconds: 1, sizes: {a: ¦b}}",
            "invalid_value a.yml:1:{}: steps[0].pause.sizes.a: must be a whole number; found the text 'b'",
        ),
        (
            "type: call, call: x, when: ¦{a: 1}",
            "invalid_value a.yml:1:{}: steps[0].when: must be true or false or text or a list; found a mapping",
        ),
        (
            "type: call, call: x, when: [a, ¦1]",
            "invalid_value a.yml:1:{}: steps[0].when[1]: must be text; found 1 (put it in quotes to make it text)",
        ),
    ],
)
def test_a_problem_says_where_what_and_what_was_meant(step: str, problem: str) -> None:
    text = f"steps: [{{name: a, {step}}}]"
    if "¦" not in text:  # the step itself is the place
        text = text.replace("{", "¦{", 1)
    assert problems_of(text.replace("¦", "")) == [problem.format(text.index("¦") + 1)]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("limit: 0123", "limit: must be a number; found the text '0123' (a number has no leading zero)"),
        ("limit: '5'", "limit: must be a number; found the text '5' (write it without quotes)"),
        ("limit: true", "limit: must be a number; found true"),
        ("pause: {seconds: 012}", "seconds: must be a number; found the text '012'"),
        ("pause: {seconds: 1, loud: yes}", "loud: must be true or false; found the text 'yes'"),
        ("pause: {seconds: 1, loud: 1}", "loud: must be true or false; found 1"),
        ("pause: {seconds: 1, counts: ['1']}", "counts[0]: must be a whole number; found the text '1'"),
        ("pause: {seconds: 1, sizes: {a: '1'}}", "sizes.a: must be a whole number; found the text '1'"),
    ],
)
def test_text_is_never_silently_taken_for_a_number_or_a_boolean(step: str, message: str) -> None:
    pause = "" if "pause" in step else ", pause: {seconds: 1}"
    (problem,) = problems_of(f"steps: [{{name: a, type: pause, {step}{pause}}}]")
    assert message in problem


@pytest.mark.parametrize(
    ("when", "kept"),
    [
        ("yes", True),
        ("'0'", False),
        ("no", False),
        ("true", True),
        ("[a, b]", ("a", "b")),
        ("x > 1", ("x > 1",)),
    ],
)
def test_a_condition_may_be_a_word_or_an_expression(when: str, kept: object) -> None:
    text = f"steps: [{{name: a, type: call, call: x, when: {when}}}]"
    (step,) = validate(File, parse(text, file="a.yml")).steps
    assert step.when == kept


def test_all_problems_come_in_file_order_without_their_consequences() -> None:
    text = "titel: x\nsteps:\n  - {type: call, call: x}\n  - 5\n  - {name: c, type: pause, puase: {}}\n"
    assert [problem.split(": ", 1)[0] for problem in problems_of(text)] == [
        "unknown_key a.yml:1:1",
        "missing_key a.yml:3:5",
        "invalid_value a.yml:4:5",
        "unknown_key a.yml:5:28",
    ]


def test_an_empty_file_is_called_empty() -> None:
    assert problems_of("# nothing\n") == ["invalid_value a.yml: the file is empty"]


def test_values_under_secret_keys_are_never_shown() -> None:
    document = parse("title: 4711\nsteps: []", file="a.yml")
    with pytest.raises(SpecError) as error:
        validate(File, document, secret_keys=["title"])
    assert "4711" not in str(error.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["steps", "type", "name", "pause", "call", "seconds", "when", "x", "words"]),
                inner | st.sampled_from(["pause", "call", "wait"]),
                max_size=5,
            )
        ),
        max_leaves=15,
    )
)
def test_any_data_gives_a_value_or_placed_problems(data: object) -> None:
    try:
        validate(File, Document("a.yml", data), tags=TAGS)
    except SpecError as error:
        assert all(problem.message for problem in error.problems)  # noqa: PT017  either outcome is right
