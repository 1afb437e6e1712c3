"""What a file of own code offers, in words that the daemon can keep. Done by a process of its own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from flow_processor.own_code.arguments import Arguments, NotUsable
from flow_processor.own_code.modules import Broken, Modules
from flow_processor.own_code.registration import Kind, Registered


class Describer:
    """Loads files and tells what is in them."""

    def __init__(self) -> None:
        self._modules = Modules()
        self._arguments: dict[tuple[str, str], Arguments] = {}

    def describe(self, path: str, text: str) -> dict[str, Any]:
        """`{"functions": […]}`, each as `own_code.library.Function`, or `{"message", "line", "traceback"}`."""
        try:
            return {"functions": [self._function(path, one) for one in self._registered(path, text)]}
        except Broken as broken:
            return {"message": broken.message, "line": broken.line, "traceback": broken.traceback_text}

    def wrong(self, path: str, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What is wrong with values for a function of a file that was described before; as `Wrong`."""
        return [asdict(one) for one in self._arguments[path, name].wrong(values)]

    def _registered(self, path: str, text: str) -> list[Registered]:
        folder = path.partition("/")[0]
        found = self._modules.load(path, text)
        names = [one.name for one in found]
        for one in found:
            line = _line_of(one)
            if one.kind.folder != folder:
                message = f"'{one.name}' is a {one.kind.value}: its file belongs in {one.kind.folder}/"
                raise Broken(message, line=line)
            if names.count(one.name) > 1:
                raise Broken(f"'{one.name}' is registered twice", line=line)
        if not found:
            decorator = {"callers": "@caller", "steps": "@step", "filters": "@template_filter"}[folder]
            raise Broken(f"nothing in it is registered; put {decorator} over a function")
        return found

    def _function(self, path: str, registered: Registered) -> dict[str, Any]:
        told: dict[str, Any] = {
            "kind": registered.kind.value,
            "name": registered.name,
            "description": inspect.getdoc(registered.function),
            "repeatable": registered.repeatable,
        }
        if registered.kind is Kind.FILTER:
            return told
        try:
            arguments = Arguments(registered)
            self._arguments[path, registered.name] = arguments
            return {
                **told,
                "arguments": arguments.schema(),
                "secrets": list(arguments.secrets),
                "needed_secrets": list(arguments.needed_secrets),
            }
        except NotUsable as error:
            raise Broken(f"'{registered.name}' cannot be used: {error}", line=_line_of(registered)) from error


def _line_of(registered: Registered) -> int | None:
    code = getattr(registered.function, "__code__", None)
    return None if code is None else code.co_firstlineno
