"""Own code at work, in a worker: the functions that a run takes along, called with what its steps give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2.exceptions import TemplateError, TemplateRuntimeError
from pydantic import ValidationError

from flow_processor.documents import json_copy, to_json_value
from flow_processor.errors import ENDED_FROM_OUTSIDE, StepError
from flow_processor.own_code.arguments import Arguments, NotUsable
from flow_processor.own_code.manifest import PREFIX, manifest_of
from flow_processor.own_code.modules import Broken, Modules, digest_of, said_of, traceback_of
from flow_processor.own_code.registration import Kind, Registered
from flow_processor.step import JsonValue, Secret, StepContext, StepResult


class OwnCodeError(StepError):
    """A function of your own failed; the traceback is in the details."""

    code = "own_code_failed"


class OwnCode:
    """What one run takes along. Files are loaded when something of them is first used."""

    def __init__(self, texts: Mapping[str, str], modules: Modules) -> None:
        """`texts`: those of the run, flows and all."""
        self._texts = texts
        self._modules = modules
        self._manifest = manifest_of(texts)
        self.names = self._manifest.names
        """What the run's flows may use."""

    @property
    def filters_version(self) -> tuple[tuple[str, str], ...]:
        """Name and version of each template filter."""
        files = self._manifest.filters
        return tuple((name, digest_of(self._texts[PREFIX + files[name]])) for name in sorted(files))

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Template filters by name."""
        return {name: self._filter(name) for name in self._manifest.filters}

    def call(
        self,
        name: str,
        arguments: JsonValue,
        secrets: Mapping[str, Secret],
        *,
        redacted: Callable[[str], str],
    ) -> JsonValue:
        """What the function under that name gives, as JSON. `redacted` takes secrets out of texts. Raises StepError."""
        path, function = self._find(Kind.CALLER, name, self._manifest.callers)
        checked = _arguments(function)
        keywords = checked.keywords(_read(checked, arguments, what=f"the arguments of '{name}'"))
        return _as_json(
            function.name,
            self._run(path, lambda: function.function(**keywords, **secrets), redacted=redacted),
        )

    def run_step(self, name: str, options: JsonValue, context: StepContext) -> StepResult:
        """Run a step type of one's own, with options that are rendered already. Raises StepError."""
        path, function = self._find(Kind.STEP, name, self._manifest.steps)
        read = _read(_arguments(function), options, what=f"the options of '{name}'")
        given = self._run(
            path,
            lambda: function.function(read, context),
            redacted=context.redacted,
            is_ended=context.stop.is_set,
        )
        if isinstance(given, StepResult):
            return StepResult(_as_json(name, given.value), given.control)
        return StepResult(_as_json(name, given))

    def _run(
        self,
        path: str,
        call: Callable[[], Any],
        *,
        redacted: Callable[[str], str],
        is_ended: Callable[[], bool] = lambda: False,
    ) -> Any:
        """`is_ended`: may the context have told the function that its run is being ended?"""
        try:
            return call()
        except StepError as error:
            if error.code not in ENDED_FROM_OUTSIDE or is_ended():
                raise
            message = f"{error.message} (raised with the code '{error.code}', which is the product's own)"
            raise OwnCodeError(message, details={**error.details, "file": path}) from error
        except MemoryError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            details = {"file": path, "traceback": traceback_of(error, path, redacted=redacted)}
            raise OwnCodeError(said_of(error), details=details) from error

    def _find(self, kind: Kind, name: str, files: Mapping[str, str]) -> tuple[str, Registered]:
        path = files.get(name)
        if path is None:
            raise OwnCodeError(f"the run took no {kind.value} '{name}' along", code="own_code_missing")
        try:
            registered = self._modules.load(path, self._texts[PREFIX + path])
        except Broken as broken:
            details = {"file": path, "line": broken.line, "traceback": broken.traceback_text}
            message = f"{path} cannot be loaded: {broken.message}"
            raise OwnCodeError(message, code="own_code_broken", details=details) from broken
        found = next((one for one in registered if (one.kind, one.name) == (kind, name)), None)
        if found is None:
            raise OwnCodeError(f"{path} has no {kind.value} '{name}' any more", code="own_code_missing")
        return path, found

    def _filter(self, name: str) -> Callable[..., Any]:
        def apply(*values: Any, **keywords: Any) -> Any:
            try:
                path, function = self._find(Kind.FILTER, name, self._manifest.filters)
                # What it changes in a list or mapping of the flow's data would be in no journal.
                return function.function(*map(json_copy, values), **json_copy(keywords))
            except (TemplateError, MemoryError):
                raise
            except StepError as error:
                raise TemplateRuntimeError(f"filter '{name}': {error.message}") from error
            except (Exception, SystemExit) as error:
                raise TemplateRuntimeError(f"filter '{name}' ({path}): {said_of(error)}") from error

        return apply


NO_OWN_CODE = OwnCode({}, Modules())


def _arguments(function: Registered) -> Arguments:
    try:
        return Arguments(function)
    except NotUsable as error:
        raise OwnCodeError(f"'{function.name}' cannot be called: {error}", code="own_code_broken") from error


def _read(arguments: Arguments, values: JsonValue, *, what: str) -> Any:
    if not isinstance(values, Mapping):
        raise OwnCodeError(f"{what} must be a mapping (name: value)", code="arguments_invalid")
    try:
        return arguments.read(values)
    except ValidationError:
        wrong = arguments.wrong(values)
        told = [f"{'.'.join(map(str, one.loc))}: {one.message}".removeprefix(": ") for one in wrong]
        raise OwnCodeError(f"{what}: {'; '.join(told)}", code="arguments_invalid") from None


def _as_json(name: str, value: Any) -> JsonValue:
    try:
        return to_json_value(value)
    except StepError as error:
        raise OwnCodeError(
            f"what '{name}' gives back is no JSON value: {error.message}", code="not_json"
        ) from None
