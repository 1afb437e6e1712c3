"""Values that only a run can tell, and templates over data that holds some."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from flow_processor.errors import ExpressionError
from flow_processor.expressions.data_key import WHOLE, lookup
from flow_processor.expressions.jinja import Templates, is_template
from flow_processor.expressions.template_checks import names_needed
from flow_processor.expressions.when import holds, truth

_PATH = re.compile(r"\{\{\s*\w+(\.\w+|\[[^\[\]]*\])*\s*\}\}")
"""A template that is nothing but the way to a value."""

_ASKS_KIND = re.compile(r"\bis\b")
"""`x is none`: an answer about the stand-in would be none about the value."""


_ASKED_BY_JINJA = frozenset({"unsafe_callable", "alters_data"})
"""Attributes that the sandbox looks for before it calls something."""


class NotKnown(Exception):
    """Something depends on a value that only a run can tell."""

    def __init__(self, what: str):
        super().__init__(what)
        self.what = what


class Unknown:
    """Stands in the data for a value. It can be shown and walked into; anything else raises NotKnown."""

    def __init__(self, what: str, shown: list[str]):
        """`what` it is: `result of fetch`; `shown` gets that whenever it becomes part of a text."""
        self._what = what
        self._shown = shown

    def __str__(self) -> str:
        self._shown.append(self._what)
        return f"<{self._what}>"

    def __getattr__(self, name: str) -> Unknown:
        if name.startswith("_") or name in _ASKED_BY_JINJA:
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, key: object) -> Unknown:
        return Unknown(f"{self._what}.{key}", self._shown)

    def _refuse(self, *_others: object) -> NoReturn:
        raise NotKnown(self._what)

    __bool__ = __len__ = __iter__ = __contains__ = __int__ = __float__ = __index__ = __hash__ = _refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __neg__ = __pos__ = _refuse


@dataclass
class Data:
    """The flow data of a rehearsal. `shown` is shared by all that come from it."""

    values: dict[str, Any]
    shown: list[str] = field(default_factory=list)

    def unknown(self, what: str) -> Unknown:
        """A stand-in for a value of that description."""
        return Unknown(what, self.shown)

    def with_values(self, more: Mapping[str, Any]) -> Data:
        """The data that steps inside a step see; texts become stand-ins of that description."""
        return Data({**self.values, **{key: self.unknown(what) for key, what in more.items()}}, self.shown)

    def look_up(self, data_key: str) -> Any:
        """The value of a data_key. Raises NotKnown, DataKeyMissing."""
        first = data_key.split(".")[0]
        for key in (data_key, first) if data_key != WHOLE else self.values:
            if isinstance(self.values.get(key), Unknown):
                raise NotKnown(self.values[key]._what)
        return lookup(self.values, data_key)

    def named_in(self, text: str) -> str | None:
        """What the text names and nobody knows: the description of the first such value."""
        for key, value in self.values.items():
            if isinstance(value, Unknown) and re.search(rf"(?<![\w.]){re.escape(key)}(?!\w)", text):
                return value._what
        return None


@dataclass(frozen=True)
class Renderer:
    """Renders against data of which some is not known."""

    templates: Templates

    def condition(self, when: Any, data: Data) -> bool:
        """Whether it holds. Raises NotKnown, ExpressionError."""
        for text in [] if isinstance(when, bool) else when:
            what = data.named_in(text)
            if what is not None:
                raise NotKnown(what)
        return holds(when, data.values, self.templates)

    def unwritten(self, when: Any, data: Data) -> list[str]:
        """The names in a condition that are not in the data."""
        texts = when if isinstance(when, list | tuple) else []
        asked = [name for text in texts if truth(text) is None for name in names_needed(text)]
        return [name for name in dict.fromkeys(asked) if name not in data.values]

    def known(self, value: Any, data: Data) -> Any:
        """The rendered value. Raises NotKnown where it depends on what is not known, and ExpressionError."""
        return self._each(value, lambda text: self._known_text(text, data))

    def shown(self, value: Any, data: Data) -> Any:
        """The rendered value with `<result of fetch>` where that stands. Raises ExpressionError."""
        return self._each(value, lambda text: self._shown_text(text, data))

    def known_or_as_written(self, value: Any, data: Data) -> Any:
        """The value with every text rendered that can be; the others are left as they are. Raises ExpressionError."""
        return self._each(value, lambda text: self._text_or_template(text, data))

    def _text_or_template(self, text: str, data: Data) -> Any:
        try:
            return self._known_text(text, data)
        except NotKnown:
            return text

    def _each(self, value: Any, render: Callable[[str], Any]) -> Any:
        if isinstance(value, str):
            return render(value) if is_template(value) else value
        if isinstance(value, Mapping):
            return {key: self._each(item, render) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._each(item, render) for item in value]
        return value

    def _known_text(self, text: str, data: Data) -> Any:
        before = len(data.shown)
        found = self._text(text, data)
        if len(data.shown) > before:
            raise NotKnown(data.shown[-1])
        return found

    def _shown_text(self, text: str, data: Data) -> Any:
        try:
            return self._text(text, data)
        except NotKnown as missing:
            is_path = _PATH.fullmatch(text.strip()) is not None
            return f"<{missing.what}>" if is_path else f"<unknown: needs the {missing.what}>"

    def _text(self, text: str, data: Data) -> Any:
        """The rendered text, in which stand-ins may be shown. Raises NotKnown where they do not do."""
        what = data.named_in(text)
        if what is not None and _ASKS_KIND.search(text):
            raise NotKnown(what)
        try:
            return self.templates.render(text, data.values)
        except ExpressionError as error:
            if what is None:
                raise
            raise NotKnown(what) from error
