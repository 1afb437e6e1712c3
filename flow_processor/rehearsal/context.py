"""What a step that only calculates may touch in a rehearsal."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flow_processor.expressions import jq
from flow_processor.rehearsal.unknown import Data, NotKnown, Renderer, Unknown
from flow_processor.step import Folders


class RehearsalContext:
    """As much of `StepContext` as calculating takes; whatever else is asked for is not known here."""

    attempt = 1
    begun_wait = None

    def __init__(self, name: str, data: Data, renderer: Renderer, folders: Folders):
        self.step_name = self.path = name
        self.folders = folders
        self.stop = threading.Event()
        self._data = data
        self._renderer = renderer

    @property
    def data(self) -> Mapping[str, Any]:
        """The flow data; raises NotKnown if anything in it is not known."""
        self._data.look_up(".")
        return self._data.values

    def __getattr__(self, name: str) -> Any:
        raise NotKnown(f"result of {self.step_name}")

    def remaining_seconds(self) -> float | None:
        """No limit but that of the rehearsal."""
        return None

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def lookup(self, data_key: str) -> Any:
        """The value of a `data_key`."""
        return self._data.look_up(data_key)

    def render(self, value: Any) -> Any:
        """Templates rendered."""
        return self._renderer.known(value, self._data)

    def render_template(self, *, path: str | None, text: str | None, extra: Mapping[str, Any]) -> str:
        """A template file or text, rendered."""
        before = len(self._data.shown)
        names = {**self._data.values, **extra}
        found = self._renderer.templates.render_template(path=path, text=text, data=names)
        if len(self._data.shown) > before:
            raise NotKnown(self._data.shown[-1])
        return found

    def jq(self, expression: str, value: Any) -> Any:
        """One output → it; none → None; several → a list of them."""
        if isinstance(value, Unknown):
            raise NotKnown(f"result of {self.step_name}")
        return jq.run(expression, value)

    def redacted(self, text: str) -> str:
        """Nothing is kept of it."""
        return text

    def add_error(self, error: Mapping[str, Any]) -> None:
        """Nobody reads it here."""

    def log(self, message: str, *, level: str = "info") -> None:
        """Nobody reads it here."""
