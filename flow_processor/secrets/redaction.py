"""Secret values are replaced by `***` wherever something is shown or kept.

By plain text search, never by patterns: a masking pattern can itself hang on unlucky text (RELIABILITY 25).
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

from flow_processor.shortened import MARK
from flow_processor.step import Secret

MASK = "***"
SHORTEST = 4
"""Shorter values would mask half of all words; they are not redacted."""
CUT_MARKS = (MARK, "...")
"""What a text ends with where somebody has cut it: this program, jq, or whoever else quotes what it was given."""
SHORTEST_BEGINNING = 8
"""Shorter beginnings stay where a text was cut: `mail…` is rarely that of a secret's host."""
_HEADING = "-----"
"""`-----BEGIN PRIVATE KEY-----` is no secret, and helps who reads."""
SHORTEST_LINE = 8
"""Shorter lines of a value with several (a key, a certificate) are not redacted by themselves."""


class Redactor:
    """Knows the secret values of one run, or of the daemon. Safe between threads."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._forms: tuple[str, ...] = ()
        """Every spelling of every value, longest first, so that no rest of a longer one stays."""

    def add(self, value: str) -> None:
        """Redact this value from now on: as it is, URL-encoded, JSON-escaped and in base64; also without the blanks
        around it, for so it is sent in headers, and line by line, for so it is shown where a text is cut into lines."""
        if len(value) >= SHORTEST:
            with self._mutex:
                known = {*self._forms, *_spellings(value), *_spellings(value.strip())}
                for line in _lines(value):
                    known |= _spellings(line)
                self._forms = tuple(sorted(known, key=lambda form: (-len(form), form)))

    def add_secret(self, secret: Secret) -> None:
        """Redact every value of the secret except names (`type`, `username`, the header of an API key)."""
        for text in _texts(secret.values, key=""):
            self.add(text)
            for hidden in _passwords(text):
                self.add(hidden)
        username, password = secret.values.get("username"), secret.values.get("password")
        if isinstance(username, str) and isinstance(password, str):
            # As HTTP's Basic authentication sends it.
            self.add(base64.b64encode(f"{username}:{password}".encode()).decode())

    def text(self, text: str) -> str:
        """The text without the secret values, and without the beginning of one before a mark that it was cut there."""
        found = [form for form in self._forms if form[:SHORTEST] in text]
        for form in found:
            text = text.replace(form, MASK)
            for mark in CUT_MARKS:
                *cut, rest = text.split(mark)
                text = mark.join([*(_without_beginning(part, form) for part in cut), rest])
        return text

    def value(self, value: Any) -> Any:
        """The JSON value with its texts (keys too) redacted; the very same object if no secret is known."""
        if not self._forms:
            return value
        return self._redacted(value)

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key): self._redacted(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._redacted(item) for item in value]
        return value


def _without_beginning(part: str, form: str) -> str:
    """The text without the beginning of the form at its end."""
    head = form[:SHORTEST_BEGINNING]
    at = -1 if form.startswith(_HEADING) else part.find(head, max(0, len(part) - len(form)))
    while at >= 0 and not form.startswith(part[at:]):
        at = part.find(head, at + 1)
    return part if at < 0 else part[:at] + MASK


_NAMES = frozenset({"username", "key", "jq_expression"})
"""Values of these keys are names, not secrets."""


def _texts(value: Any, *, key: str) -> list[str]:
    if isinstance(value, str):
        return [] if key in _NAMES else [value]
    if isinstance(value, Mapping):
        return [text for name, item in value.items() for text in _texts(item, key=str(name))]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item, key=key)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [str(value)]
    return []


def _passwords(text: str) -> list[str]:
    """The password in an address (`redis://user:password@host`), as it stands there and decoded."""
    try:
        found = urlsplit(text).password if "://" in text else None
    except ValueError:
        return []
    return [] if found is None else [found, unquote(found)]


def _lines(value: str) -> list[str]:
    lines = [line.strip() for line in value.splitlines()]
    if len(lines) < 2:
        return []
    return [line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith(_HEADING)]


def _spellings(value: str) -> set[str]:
    raw = value.encode("utf-8", "surrogatepass")
    found = {
        value,
        quote(raw, safe=""),
        quote(raw),
        quote_plus(raw),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
    }
    return {form for form in found | {form.rstrip("=") for form in found} if len(form) >= SHORTEST}
