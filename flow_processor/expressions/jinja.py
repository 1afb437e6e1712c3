"""Templates over flow data. Compiled once and kept; rendered once: what comes out is never rendered again."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined

from flow_processor.errors import ExpressionError
from flow_processor.expressions.sandbox import FILE_MARK, Sandbox, lenient, strict
from flow_processor.shortened import shortened

Evaluate = Callable[[Mapping[str, Any]], Any]

_KEPT = 2048
"""Compiled texts; a flow has tens."""

_FAILURES = (
    TemplateError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RuntimeError,
    OSError,
)
"""What a template can raise by itself. Anything else is not the template's fault."""

_SHOWN = 500
"""So many characters of a template's text are kept in an error's details."""

_RESULT = "__result__"


def is_template(text: str) -> bool:
    """Whether the text holds a template; any other text is itself."""
    return "{{" in text or "{%" in text


class Templates:
    """Renders texts and template files against flow data. Safe to use from threads."""

    def __init__(
        self, folder: Path | None = None, *, own_filters: Mapping[str, Callable[..., Any]] | None = None
    ):
        """`folder`: the templates folder; None where there are no template files."""
        self._strict = strict(folder)
        self._lenient = lenient()
        for environment in (self._strict, self._lenient):
            environment.filters |= own_filters or {}
        self._source = lru_cache(_KEPT)(self._strict.from_string)
        self._text = lru_cache(_KEPT)(lambda text: _compile_text(self._strict, text))
        self._condition = lru_cache(_KEPT)(lambda text: _compile_text(self._lenient, text))
        self._expression = lru_cache(_KEPT)(lambda text: _compile_expression(self._lenient, text))

    def render(self, value: Any, data: Mapping[str, Any]) -> Any:
        """Templates in a text, or in all texts (not keys) of a list or mapping, rendered once.

        A text that is exactly one `{{ … }}` keeps the type of its value; any other becomes text. Raises
        ExpressionError: template_error, template_security.
        """
        if isinstance(value, str):
            if "{{" in value or "{%" in value:
                return self._text(value)(data)
            return value
        if isinstance(value, list | tuple):
            return [self.render(item, data) for item in value]
        if isinstance(value, dict):
            return {key: self.render(item, data) for key, item in value.items()}
        return value

    def render_template(self, *, path: str | None, text: str | None, data: Mapping[str, Any]) -> str:
        """A template file (relative to the templates folder) or a text, rendered to text.

        Files are read again when they have changed. Raises ExpressionError: template_error,
        template_not_found, template_security.
        """
        try:
            if path is not None:
                template = self._strict.get_template(path.replace("\\", "/"))
            else:
                template = self._source(text or "")
            return _checked("".join(_run(template, _context(template, data))))
        except _FAILURES as error:
            _raise(error, source=text, file=path)

    def evaluate(self, expression: str, data: Mapping[str, Any]) -> Any:
        """A bare expression (`items | length > 0`). An undefined name is empty, no error; it gives None."""
        return self._expression(expression)(data)

    def evaluate_condition(self, text: str, data: Mapping[str, Any]) -> Any:
        """Like `render` of one text, but an undefined name is empty, no error; alone it gives None."""
        return self._condition(text)(data)


def _compile_text(environment: Sandbox, text: str) -> Evaluate:
    try:
        tree = environment.parse(text)
        only = _only_expression(tree)
        if only is not None:
            return _native(environment, only, source=text)
        template = environment.from_string(text)
    except _FAILURES as error:
        _raise(error, source=text)

    def render(data: Mapping[str, Any]) -> str:
        try:
            return _checked("".join(_run(template, _context(template, data))))
        except _FAILURES as error:
            _raise(error, source=text)

    return render


def _compile_expression(environment: Sandbox, expression: str) -> Evaluate:
    try:
        return _native(environment, parse_expression(environment, expression), source=expression)
    except _FAILURES as error:
        _raise(error, source=expression)


def parse_expression(environment: Sandbox, expression: str) -> nodes.Expr:
    """The tree of a bare expression. Raises TemplateSyntaxError."""
    parser = Parser(environment, expression, state="variable")
    tree = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail(f"unexpected '{parser.stream.current.value}' after the expression")
    tree.set_environment(environment)
    return tree


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression of a text that is nothing but one `{{ … }}`."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    parts = tree.body[0].nodes
    return parts[0] if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData) else None


def _native(environment: Sandbox, expression: nodes.Expr, *, source: str) -> Evaluate:
    """The expression as a function of the data that gives its value, not its text."""
    is_path = _is_path(expression)
    tree = nodes.Template([nodes.Assign(nodes.Name(_RESULT, "store"), expression, lineno=1)], lineno=1)
    tree.set_environment(environment)
    template = environment.from_string(tree)

    def evaluate(data: Mapping[str, Any]) -> Any:
        try:
            context = _context(template, data)
            _run(template, context)
            value = context.vars[_RESULT]
            if is_path and isinstance(value, dict | list):
                return value  # straight out of the data, so it is JSON already
            return _plain(value)
        except _FAILURES as error:
            _raise(error, source=source)

    return evaluate


def _context(template: Template, data: Mapping[str, Any]) -> Context:
    """As `template.new_context`, in half the time (that one merges through a ChainMap)."""
    environment = template.environment
    names = {**environment.globals, **data}
    return environment.context_class(environment, names, template.name, template.blocks)


def _run(template: Template, context: Context) -> list[str]:
    """The pieces of text that the template gives."""
    try:
        return list(template.root_render_func(context))
    except _FAILURES:
        template.environment.handle_exception()  # puts the template's lines into the traceback


def _is_path(expression: nodes.Node) -> bool:
    while isinstance(expression, nodes.Getattr | nodes.Getitem):
        expression = expression.node
    return isinstance(expression, nodes.Name)


def _plain(value: Any) -> Any:
    """A value of an expression as JSON: tuples, generators and views become lists."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the expression gives {value}, which is no JSON value")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _checked(str(value))
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Undefined):
        if bool(value):  # a strict one raises here and names what is undefined; a lenient one is empty
            raise TypeError("undefined value")
        return None
    if hasattr(value, "__iter__") and not isinstance(value, bytes):
        return [_plain(item) for item in value]
    raise TypeError(f"the expression gives a {type(value).__name__}, which is no JSON value")


def _checked(text: str) -> str:
    """The text; raises ValueError if it holds half of a surrogate pair, which nothing could store."""
    if not text.isascii():
        text.encode()
    return text


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _checked(str(key))
    raise TypeError(f"the key {key!r} of a mapping must be a text")


def _raise(error: Exception, *, source: str | None, file: str | None = None) -> NoReturn:
    if isinstance(error, TemplateNotFound):
        name = error.name or file
        raise ExpressionError(
            f"template '{name}' not found in the templates folder",
            code="template_not_found",
            details={"file": name},
        ) from error
    place, line = _place(error, file)
    what = (error.message if isinstance(error, TemplateError) else None) or str(error) or type(error).__name__
    if not isinstance(error, TemplateError):
        what = f"{type(error).__name__}: {what}"
    details: dict[str, Any] = {"file": place, "line": line}
    if source is not None and place is None:
        details["template"] = shortened(source, _SHOWN)
    raise ExpressionError(
        f"{place or 'template'}, line {line}: {what}",
        code="template_security" if isinstance(error, SecurityError) else "template_error",
        details=details,
    ) from error


def _place(error: Exception, file: str | None) -> tuple[str | None, int]:
    """(template file or None, line) where it went wrong; inside an include it is the included file."""
    if isinstance(error, TemplateSyntaxError):
        return error.name or file, error.lineno
    place, line = file, 1
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(FILE_MARK):
            place, line = frame.filename.removeprefix(FILE_MARK), frame.lineno or 1
        elif frame.filename in ("<template>", "<unknown>"):
            line = frame.lineno or 1
    return place, line
