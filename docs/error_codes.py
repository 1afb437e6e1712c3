"""Every error code of the product with its message, read from the source: no code can be left out."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import flow_processor
from flow_processor.errors import OctospoolError

PACKAGE = Path(flow_processor.__file__).parent
_CODE_ARGUMENT = {
    "problem_at": (2, 3),
    "_problem": (2, 3),
    "Refused": (0, 1),
    "DuplicateKey": (0, 1),
    "Problem": (0, 5),
    "error_record": (0, 1),
}
"""Calls that take the code by position: (position of the code, of the message)."""

_MENTIONS_CODE = re.compile(rf"\b(code|{'|'.join(_CODE_ARGUMENT)})\b")


@dataclass
class Code:
    """One code."""

    messages: list[str] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)


def kinds_table() -> str:
    """The kinds of errors that callers may meet, from the class tree."""
    _import_kinds()
    lines = ["| code | kind | when |", "|---|---|---|"]
    for kind in _kinds(OctospoolError):
        when = " ".join((kind.__doc__ or "").split())
        lines.append(f"| `{kind.code}` | {kind.__name__} | {when} |")
    return "\n".join(lines)


def codes_table() -> str:
    """Every code that is written in the source, with what it says and where it comes from."""
    lines = ["| code | says | from |", "|---|---|---|"]
    for code, found in sorted(codes().items()):
        says = "; ".join(found.messages[:3]).replace("|", "\\|")
        lines.append(f"| `{code}` | {says} | {', '.join(found.modules)} |")
    return "\n".join(lines)


def codes() -> dict[str, Code]:
    """Every code in the source of the package."""
    found: dict[str, Code] = {}
    for name, tree in _modules().items():
        module = name.removeprefix(f"{PACKAGE.name}.")
        for code, message in _codes_in(tree):
            entry = found.setdefault(code, Code())
            if message and message not in entry.messages:
                entry.messages.append(message)
            if module not in entry.modules:
                entry.modules.append(module)
    return found


@cache
def _modules() -> dict[str, ast.Module]:
    """Every module of the package that may give a code, by its full name."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): ast.parse(
            text
        )
        for path, text in texts.items()
        if _MENTIONS_CODE.search(text)
    }


def _kinds(kind: type[OctospoolError]) -> Iterator[type[OctospoolError]]:
    for child in sorted(kind.__subclasses__(), key=lambda item: item.__name__):
        if "code" in vars(child) and not child.__name__.startswith("_"):
            yield child
        yield from _kinds(child)


def _import_kinds() -> None:
    """Import the modules that define kinds of errors."""
    for name, tree in _modules().items():
        if any(_own_code(node) for node in tree.body if isinstance(node, ast.ClassDef)):
            importlib.import_module(name)


def _own_code(node: ast.ClassDef) -> list[str]:
    """The code that a class of errors gives itself."""
    return [
        code
        for line in node.body
        if isinstance(line, ast.Assign) and [ast.unparse(target) for target in line.targets] == ["code"]
        for code in _constants(line.value, {})
    ]


def _codes_in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            doc = " ".join((ast.get_docstring(node) or "").split())
            yield from ((code, doc) for code in _own_code(node))
        elif isinstance(node, ast.Dict):
            yield from _record(node)
    tables = {name: value for name, value in _texts(tree, deep=False).items() if isinstance(value, ast.Dict)}
    for scope in ast.walk(tree):
        if isinstance(scope, ast.FunctionDef | ast.Module):
            calls = [call for call in _own_calls(scope) if _may_give_code(call)]
            texts = tables | _texts(scope) if calls else tables
            for call in calls:
                yield from _codes_of(call, texts)


def _record(node: ast.Dict) -> Iterator[tuple[str, str]]:
    """The code of an error that is written as it is recorded: `{"code": …, "message": …}`."""
    values = {
        key.value: value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant)
    }
    if {"code", "message"} <= values.keys():
        for code in _constants(values["code"], {}):
            yield code, _shown(values["message"], {})


def _own_calls(scope: ast.AST) -> list[ast.Call]:
    """Calls in a scope, those in functions within it left out."""
    found: list[ast.Call] = []

    def look(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                found.append(child)
            if not isinstance(child, ast.FunctionDef):
                look(child)

    look(scope)
    return found


def _texts(scope: ast.AST, *, deep: bool = True) -> dict[str, ast.expr]:
    """Variables of a function (or module) that are given a text, or something that texts are looked up in."""
    kinds = ast.Constant | ast.JoinedStr | ast.IfExp | ast.Dict | ast.Call
    nodes = ast.walk(scope) if deep else ast.iter_child_nodes(scope)
    return {
        ast.unparse(node.targets[0]): node.value
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.value, kinds)
    }


def _may_give_code(call: ast.Call) -> bool:
    return _name_of(call) in _CODE_ARGUMENT or any(keyword.arg == "code" for keyword in call.keywords)


def _name_of(call: ast.Call) -> str:
    """The last name of what is called: `fail` of `self.reader.fail(…)`."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)


def _codes_of(call: ast.Call, texts: dict[str, ast.expr]) -> Iterator[tuple[str, str]]:
    name = _name_of(call)
    given = next((keyword.value for keyword in call.keywords if keyword.arg == "code"), None)
    message: ast.expr | None = call.args[0] if call.args else None
    if given is None and name in _CODE_ARGUMENT:
        at, said = _CODE_ARGUMENT[name]
        if len(call.args) > at:
            given, message = call.args[at], call.args[said] if len(call.args) > said else None
    if given is None:
        return
    if isinstance(given, ast.Name):
        given = texts.get(given.id, given)
    for code in _constants(given, texts):
        is_raised = name[:1].isupper() or name in _CODE_ARGUMENT
        yield code, _shown(message, texts) if is_raised and message is not None else ""


def _constants(value: ast.expr, texts: dict[str, ast.expr]) -> list[str]:
    """The codes an expression may stand for: a text, one of two, or those of a table (`TABLE.get(key, code)`)."""
    if isinstance(value, ast.IfExp):
        return [*_constants(value.body, texts), *_constants(value.orelse, texts)]
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "get":
        table = texts.get(ast.unparse(value.func.value))
        found = [*table.values, *value.args[1:]] if isinstance(table, ast.Dict) else []
        return [code for item in found for code in _constants(item, texts)]
    return [value.value] if isinstance(value, ast.Constant) and isinstance(value.value, str) else []


def _shown(message: ast.expr, texts: dict[str, ast.expr]) -> str:
    if isinstance(message, ast.Name):
        message = texts.get(message.id, message)
    if isinstance(message, ast.Constant) and isinstance(message.value, str):
        return " ".join(message.value.split())
    if isinstance(message, ast.JoinedStr):
        parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in message.values]
        return " ".join("".join(parts).split())
    return ""
