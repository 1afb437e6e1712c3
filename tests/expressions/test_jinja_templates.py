"""Templates: types kept, rendered once, files inside their folder, errors with file and line."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_processor.errors import ExpressionError, PathRefused
from flow_processor.expressions.jinja import Templates
from flow_processor.expressions.template_checks import expression_problem, names_needed, syntax_problem

DATA: dict[str, Any] = {
    "n": 3,
    "zero": 0,
    "list": [3, 1],
    "map": {"items": [1], "keys": 2, "a": {"b": None}},
    "text": "hello",
    "template": "{{ 7 * 7 }}",
}


@pytest.fixture
def templates(tmp_path: Path) -> Templates:
    return Templates(tmp_path)


def failure(templates: Templates, text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        templates.render(text, DATA)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ n }}", 3),
        ("{{ n / 2 }}", 1.5),
        ("{{ n > 1 }}", True),
        ("{{ none }}", None),
        ("{{ list }}", [3, 1]),
        ("{{ map }}", DATA["map"]),
        ("{{ list | sort }}", [1, 3]),
        ("{{ list | map('string') }}", ["3", "1"]),
        ("{{ (1, 'a') }}", [1, "a"]),
        ("{{ {'a': (n,)} }}", {"a": [3]}),
        ("{{ range(2) }}", [0, 1]),
        ("{{ map.a.b }}", None),
        ("{{- n -}}", 3),
        ("{{ n }}\n", 3),
        ("{# why #}{{ n }}", 3),
        ("{{ '}}' }}", "}}"),
        ("{{ map | tojson }}", '{"items": [1], "keys": 2, "a": {"b": null}}'),
    ],
)
def test_a_text_that_is_one_expression_keeps_its_type(templates: Templates, text: str, value: Any) -> None:
    result = templates.render(text, DATA)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{ n }}!", "3!"),
        ("{{ n }}{{ n }}", "33"),
        (" {{ n }}", " 3"),
        ("{% if n %}yes{% endif %}", "yes"),
        ("{{ text }} {{ map.a.b }}", "hello None"),
        ("no template", "no template"),
        ("{ {n} } }}", "{ {n} } }}"),
        ("{# only a comment #}", "{# only a comment #}"),
        ("", ""),
    ],
)
def test_any_other_text_becomes_text(templates: Templates, text: str, rendered: str) -> None:
    assert templates.render(text, DATA) == rendered


def test_a_text_without_a_template_is_the_very_same_object(templates: Templates) -> None:
    text = "plain " * 100
    assert templates.render(text, DATA) is text


def test_texts_in_lists_and_mappings_are_rendered_keys_are_not(templates: Templates) -> None:
    value = {"{{ n }}": ["{{ n }}", {"a": "x{{ n }}"}], "b": 1, "c": None, "d": True}
    assert templates.render(value, DATA) == {"{{ n }}": [3, {"a": "x3"}], "b": 1, "c": None, "d": True}


def test_a_key_of_a_mapping_comes_before_its_method(templates: Templates) -> None:
    assert templates.render("{{ map.items }}", DATA) == [1]
    assert templates.render("{{ map.a.items() }}", DATA) == [["b", None]]


@given(st.recursive(st.text() | st.sampled_from(["{{ 7*7 }}", "{% raw %}", "{{ text }}"]), st.lists))
def test_what_comes_out_of_data_is_never_rendered_again(value: Any) -> None:
    """Whatever stands in the data, in any text that quotes it, stays as it is."""
    templates = Templates()
    assert templates.render("{{ value }}", {"value": value}) == value
    if isinstance(value, str):
        assert templates.render("<{{ value }}>", {"value": value}) == f"<{value}>"
        assert templates.render({"a": ["{{ value ~ value }}"]}, {"value": value}) == {"a": [value + value]}
        assert templates.render_template(path=None, text="<{{ v }}>", data={"v": value}) == f"<{value}>"


def test_a_template_text_that_is_one_expression_still_gives_text(templates: Templates) -> None:
    assert templates.render_template(path=None, text="{{ list }}", data=DATA) == "[3, 1]"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("{{ missing }}", 1, "'missing' is undefined"),
        ("{{ [missing] }}", 1, "'missing' is undefined"),
        ("{{ {'a': missing} }}", 1, "'missing' is undefined"),
        ("a\nb {{ missing }}", 2, "'missing' is undefined"),
        ("{{ map.nope.x }}", 1, "'dict object' has no attribute 'nope'"),
        ("\n{{ 1 / zero }} x", 2, "ZeroDivisionError: division by zero"),
        ("{{ 1 / zero }}", 1, "ZeroDivisionError: division by zero"),
        ("{{ text + 1 }}", 1, "TypeError"),
        ("{{ n", 1, "unexpected end of template"),
        ("\n\n{% if %}", 3, "Expected an expression"),
        ("{{ n | nope }}", 1, "No filter named 'nope'"),
        ("{{ {1: 2} }}", 1, "the key 1 of a mapping must be a text"),
        ("{{ text.upper }}", 1, "is no JSON value"),
        ("{{ text.encode() }}", 1, "is no JSON value"),
        ("{{ 'nan' | float }}", 1, "nan, which is no JSON value"),
        ("{{ [1e308 * 10] }}", 1, "inf, which is no JSON value"),
        ("{{ '\\ud800' }}", 1, "surrogates not allowed"),
        ("x{{ '\\ud800' }}", 1, "surrogates not allowed"),
        ("x{{ text.upper }}", 1, "was it meant to be called"),
        ("{% include 'a' %}{{ range(10 ** 9) }}", 1, "no loader"),
        ("{{ range(10 ** 9) }}", 1, "Range too big"),
    ],
)
def test_an_error_tells_line_and_reason(text: str, line: int, message: str) -> None:
    error = failure(Templates(), text)
    assert error.code == "template_error"
    assert message in error.message
    assert f"line {line}" in error.message
    assert (error.details["file"], error.details["line"]) == (None, line)


def test_a_file_is_rendered_with_its_includes_and_its_parent(tmp_path: Path, templates: Templates) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "base.j2").write_text("<{% block body %}{% endblock %}>")
    (tmp_path / "parts" / "one.j2").write_text("n={{ n }}")
    (tmp_path / "page.j2").write_text(
        "{% extends 'base.j2' %}{% block body %}{% include 'parts/one.j2' %}{% endblock %}"
    )
    assert templates.render_template(path="page.j2", text=None, data=DATA) == "<n=3>"


def test_a_changed_file_is_read_again(tmp_path: Path, templates: Templates) -> None:
    """Also one that is only included, and one of the same size and time stamp."""
    page, part = tmp_path / "page.j2", tmp_path / "part.j2"
    page.write_text("{% include 'part.j2' %}")
    part.write_text("old")
    assert templates.render_template(path="page.j2", text=None, data={}) == "old"
    status = part.stat()
    fresh = tmp_path / "fresh"
    fresh.write_text("new")
    os.utime(fresh, ns=(status.st_atime_ns, status.st_mtime_ns))
    fresh.replace(part)
    assert templates.render_template(path="page.j2", text=None, data={}) == "new"


def test_errors_in_files_tell_the_file_and_the_line(tmp_path: Path, templates: Templates) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "page.j2").write_text("one\n{% include 'sub/part.j2' %}")
    (tmp_path / "sub" / "part.j2").write_text("\n\n{{ 1 / zero }}")
    with pytest.raises(ExpressionError) as caught:
        templates.render_template(path="page.j2", text=None, data=DATA)
    assert caught.value.message == "sub/part.j2, line 3: ZeroDivisionError: division by zero"
    assert caught.value.details == {"file": "sub/part.j2", "line": 3}
    (tmp_path / "sub" / "part.j2").write_text("\n{% if %}")
    with pytest.raises(ExpressionError, match=r"sub/part\.j2, line 2: Expected an expression"):
        templates.render_template(path="page.j2", text=None, data=DATA)


def test_a_missing_file_is_named(tmp_path: Path, templates: Templates) -> None:
    (tmp_path / "page.j2").write_text("{% include 'gone.j2' %}")
    for path, missing in (("none.j2", "none.j2"), ("page.j2", "gone.j2")):
        with pytest.raises(ExpressionError) as caught:
            templates.render_template(path=path, text=None, data=DATA)
        assert caught.value.code == "template_not_found"
        assert missing in caught.value.message


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "link", "linked/secret"])
def test_nothing_outside_the_folder_is_read(tmp_path: Path, path: str) -> None:
    folder, outside = tmp_path / "templates", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (tmp_path / "secret").write_text("secret")
    (outside / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "linked").symlink_to(outside, target_is_directory=True)
    templates = Templates(folder)
    with pytest.raises(PathRefused):
        templates.render_template(path=path, text=None, data={})
    with pytest.raises(PathRefused):
        templates.render_template(path=None, text="{% include path %}", data={"path": path})


def test_a_fifo_does_not_hang(tmp_path: Path, templates: Templates) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no FIFOs on this system")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PathRefused):
        templates.render_template(path="pipe", text=None, data={})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plain", None),
        ("{{ anything.at.all | upper }}", None),
        ("{{ 'a' * 10 ** 12 }}", None),
        ("{% for x in y %}{{ x }}{% endfor %}", None),
        ("a\n{{ n", (2, "unexpected end of template")),
        ("{{ n | nope }}", (1, "there is no filter 'nope'")),
        ("\n{% if n is nope %}{% endif %}", (2, "there is no test 'nope'")),
        ("{{" + "(" * 5000, (1, "nested too deep")),
    ],
)
def test_syntax_is_checked_without_evaluating(text: str, problem: tuple[int, str] | None) -> None:
    found = syntax_problem(text)
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == problem[0]
        assert problem[1] in found[1]


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("a | length > 0", None),
        ("a b", "unexpected 'b'"),
        ("a |", "unexpected end"),
        ("a | nope", "no filter"),
    ],
)
def test_a_bare_expression_is_checked_too(expression: str, problem: str | None) -> None:
    found = expression_problem(expression)
    assert (found is None) if problem is None else (found is not None and problem in found[1])


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a.b == c and a", ["a", "c"]),
        ("a is defined and a.b", []),
        ("(a.b | default(1)) > b", ["b"]),
        ("range(3) | length", []),
        ("{% for one in many %}{{ one }}{% endfor %}", ["many"]),
        ("a b", []),
    ],
)
def test_the_names_that_an_expression_needs(text: str, names: list[str]) -> None:
    assert names_needed(text) == names
