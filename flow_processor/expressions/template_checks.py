"""What can be told of templates and expressions from their text. Only parses: evaluates nothing, safe in the daemon."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError

from flow_processor.expressions.jinja import is_template, parse_expression
from flow_processor.expressions.sandbox import strict

NO_FILTERS: frozenset[str] = frozenset()


def syntax_problem(text: str, own_filters: frozenset[str] = NO_FILTERS) -> tuple[int, str] | None:
    """(line, what is wrong) of a template, or None. Only parses: evaluates nothing, safe in the daemon.

    `own_filters` are known beside Jinja's.
    """
    return _problem(lambda: _parsed(text), own_filters)


def expression_problem(expression: str, own_filters: frozenset[str] = NO_FILTERS) -> tuple[int, str] | None:
    """As `syntax_problem`, of a bare expression."""
    return _problem(
        lambda: nodes.Template([nodes.ExprStmt(parse_expression(_CHECKER, expression))]), own_filters
    )


def filter_names() -> frozenset[str]:
    """The filters that every template has."""
    return frozenset(_CHECKER.filters)


_CHECKER = strict(None)


@lru_cache(maxsize=256)
def _parsed(text: str) -> nodes.Template:
    """The tree of a template; its checks come one after the other, and parsing is what they cost."""
    return _CHECKER.parse(text)


def attributes_of(name: str, text: str, *, is_expression: bool = False) -> list[str]:
    """Which parts of the variable `name` a template names: `{{ name.a + name["b"] }}` gives a and b.

    Only those that it needs (none of `name.a is defined`, `name.a | default(1)`), and none at all where the text makes
    a variable of that name itself or is wrong. Only parses.
    """
    try:
        tree: nodes.Node = parse_expression(_CHECKER, text) if is_expression else _parsed(text)
    except (TemplateSyntaxError, RecursionError):
        return []
    names = [node for node in [tree, *tree.find_all(nodes.Name)] if isinstance(node, nodes.Name)]
    if any(node.name == name and node.ctx != "load" for node in names):
        return []
    asked = [
        node.node
        for node in [tree, *tree.find_all((nodes.Test, nodes.Filter))]
        if isinstance(node, nodes.Test | nodes.Filter) and node.name in _ASK_FOR_PRESENCE
    ]
    found: list[str] = []
    for node in [tree, *tree.find_all((nodes.Getattr, nodes.Getitem))]:
        if not isinstance(node, nodes.Getattr | nodes.Getitem) or any(node is one for one in asked):
            continue
        if isinstance(node.node, nodes.Name) and node.node.name == name:
            part = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
            found += [part] if isinstance(part, str) else []
    return found


def names_needed(text: str) -> list[str]:
    """The variables that a template or bare expression reads, in its order; not those that it makes itself, nor those
    whose presence it asks for (`name is defined`, `name | default(1)`). Only parses; none where the text is wrong."""
    try:
        tree = (
            _parsed(text)
            if is_template(text)
            else nodes.Template([nodes.ExprStmt(parse_expression(_CHECKER, text))])
        )
    except (TemplateSyntaxError, RecursionError):
        return []
    names = list(tree.find_all(nodes.Name))
    without = {name.name for name in names if name.ctx != "load"} | _CHECKER.globals.keys()
    for node in tree.find_all((nodes.Test, nodes.Filter)):
        if (
            isinstance(node, nodes.Test | nodes.Filter)
            and node.name in _ASK_FOR_PRESENCE
            and node.node is not None
        ):
            without |= {
                name.name
                for name in [node.node, *node.node.find_all(nodes.Name)]
                if isinstance(name, nodes.Name)
            }
    return list(dict.fromkeys(name.name for name in names if name.name not in without))


_ASK_FOR_PRESENCE = frozenset({"defined", "undefined", "default", "d"})


def _problem(parse: Callable[[], nodes.Template], own_filters: frozenset[str]) -> tuple[int, str] | None:
    try:
        tree = parse()
    except TemplateSyntaxError as error:
        return error.lineno, error.message or "syntax error"
    except RecursionError:
        return 1, "nested too deep"
    filters = _CHECKER.filters.keys() | own_filters
    for kind, known in ((nodes.Filter, filters), (nodes.Test, _CHECKER.tests.keys())):
        for node in tree.find_all(kind):
            if node.name not in known:
                return node.lineno or 1, f"there is no {kind.__name__.lower()} '{node.name}'"
    return None
