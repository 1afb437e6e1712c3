"""Ways out of Jinja's sandbox that were once found, and their relatives: each is refused."""

from pathlib import Path
from typing import Any

import pytest

from flow_processor.errors import OctospoolError
from flow_processor.expressions.jinja import Templates
from flow_processor.expressions.when import holds

DATA: dict[str, Any] = {"s": "text", "n": 1, "l": [1], "d": {"a": 1}, "fmt": "{0.__class__}"}

ESCAPES = [
    # The classic walk to the builtins.
    "''.__class__",
    "''.__class__.__mro__[1].__subclasses__()",
    "s['__class__']",
    "d.__class__.__base__",
    "(1).__class__",
    "[].__class__.__base__.__subclasses__()",
    "{}.__init__.__globals__",
    "s | attr('__class__')",
    "s | attr('__' ~ 'class' ~ '__')",
    "[s] | map(attribute='__class__') | list",
    "[s] | map('attr', '__class__') | list",
    "[s] | groupby('__class__')",
    "[s] | selectattr('__class__') | list",
    "[s] | sum(attribute='__class__')",
    "[s] | sort(attribute='__class__.__name__')",
    "[s] | unique(attribute='__class__') | list",
    "[s] | max(attribute='__class__.__mro__')",
    # Globals and the template's own machinery.
    "self.__init__.__globals__",
    "self._TemplateReference__context",
    "range.__class__",
    "range.__self__",
    "dict.__subclasses__()",
    "dict.mro()",
    "cycler.__init__.__globals__.os",
    "joiner.__init__.__globals__",
    "namespace.__init__.__globals__",
    "lipsum.__globals__['os'].popen('id').read()",
    "get_flashed_messages.__globals__",
    "config",
    "request",
    "environment",
    "context",
    "(cycler('a')).__class__",
    "cycler('a').next.__func__.__globals__",
    "range(3).__iter__().__class__",
    # CVE-2016-10745, CVE-2019-10906, CVE-2024-56326, CVE-2025-27516: str.format and format_map.
    "'{0.__class__}'.format(s)",
    "'{0.__class__.__mro__}'.format(s)",
    "'{a.__class__}'.format(a=s)",
    "'{a.__class__}'.format_map({'a': s})",
    "fmt.format(s)",
    "s | attr('format')",
    "('{0.__class__}' | attr('format'))(s)",
    "('{a.__class__}' | attr('format_map'))({'a': s})",
    "['{0.__class__}'] | map('format', s) | map('attr', '__class__') | list",
    "[fmt] | map(attribute='format') | map('call') | list",
    "(fmt | safe).format(s)",
    "('{0.__class__}' | e).format(s)",
    # Functions and generators.
    "(lambda: 0)",
    "s.upper.__func__",
    "s.upper.__self__.__class__",
    "(s.join).__self__.__class__",
    "([1] | map('string')).gi_frame",
    "([1] | map('string')).gi_code",
    "([1] | map('string')).gi_frame.f_globals",
    # Changing the data that is shared with other steps.
    "l.append(2)",
    "l.pop()",
    "l.clear()",
    "l.sort()",
    "l.__setitem__(0, 2)",
    "d.update({'b': 1})",
    "d.pop('a')",
    "d.setdefault('b', 1)",
    "d.clear()",
]

STATEMENTS = [
    "{% set x = s.__class__ %}{{ x }}",
    "{% for c in [].__class__.__base__.__subclasses__() %}{{ c }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% with x = '{0.__class__}' %}{{ x.format(s) }}{% endwith %}",
    "{% set ns = namespace() %}{{ ns.__init__.__globals__ }}",
    "{% set ns = namespace() %}{{ ns._Namespace__attrs.__class__ }}",
    "{% filter attr('__class__') %}x{% endfilter %}",
    "{% for x in l %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% for x in l %}{{ loop._iterable.__class__ }}{% endfor %}",
    "{% import 'os' as os %}{{ os.popen('id') }}",
    "{% include '/etc/passwd' %}",
    "{% extends '../secrets.yml' %}",
    "{% do l.append(1) %}",
    "{{ self.__class__ }}{% block a %}{% endblock %}",
]


def harmless(text: Any) -> bool:
    """No trace of a Python object in what came out."""
    return not any(
        sign in str(text) for sign in ("<class", "<function", "<module", "built-in", "globals", "uid=")
    )


@pytest.mark.parametrize("escape", ESCAPES)
def test_an_escape_in_an_expression_gives_nothing(escape: str, tmp_path: Path) -> None:
    templates = Templates(tmp_path)
    before = repr(DATA)
    attempts = (
        lambda: templates.render("{{ " + escape + " }}", DATA),
        lambda: templates.render("x{{ " + escape + " }}", DATA),
        lambda: templates.render_template(path=None, text="{{ " + escape + " }}", data=DATA),
        lambda: holds((escape,), DATA, templates),
        lambda: templates.evaluate(escape, DATA),
    )
    for attempt in attempts:
        try:
            result = attempt()
        except OctospoolError:
            continue
        assert harmless(result), result
    assert repr(DATA) == before


@pytest.mark.parametrize("escape", STATEMENTS)
def test_an_escape_in_a_statement_gives_nothing(escape: str, tmp_path: Path) -> None:
    templates = Templates(tmp_path)
    try:
        result = templates.render(escape, DATA)
    except OctospoolError:
        return
    assert harmless(result), result


@pytest.mark.parametrize(
    "escape",
    [
        "''.__class__",
        "s | attr('__class__')",
        "'{0.__class__}'.format(s)",
        "l.append(2)",
        "dict.__subclasses__()",
    ],
)
def test_a_refusal_has_its_own_code(escape: str) -> None:
    with pytest.raises(OctospoolError) as caught:
        Templates().render("{{ " + escape + " }}", DATA)
    assert caught.value.code == "template_security"


def test_a_condition_does_not_tolerate_an_escape_as_it_does_an_undefined_name() -> None:
    with pytest.raises(OctospoolError) as caught:
        holds(("s.__class__ == 1",), DATA, Templates())
    assert caught.value.code == "template_security"


def test_secrets_of_the_process_are_no_names() -> None:
    assert not holds(("os is defined or environ is defined or __builtins__ is defined",), DATA, Templates())
