"""Loads a file of own code from its text. Only worker processes, and the one that describes own code, do that."""

from __future__ import annotations

import hashlib
import linecache
import sys
import traceback
import types
from collections.abc import Callable

from flow_processor.own_code.registration import Registered, collecting

MAX_TRACEBACK_LINES = 30
MAX_TRACEBACK_CHARACTERS = 4000
"""The end of a longer traceback is kept: it says what went wrong."""


class Broken(Exception):
    """A file cannot be loaded."""

    def __init__(self, message: str, *, line: int | None = None, traceback_text: str | None = None):
        super().__init__(message)
        self.message = message
        self.line = line
        """In the file; None where no line of it is to blame."""
        self.traceback_text = traceback_text


def digest_of(text: str) -> str:
    """What tells one version of a file from another."""
    return hashlib.sha256(text.encode()).hexdigest()


class Modules:
    """The files that this process has loaded, each version once."""

    def __init__(self) -> None:
        self._loaded: dict[tuple[str, str], list[Registered] | Broken] = {}

    def load(self, path: str, text: str) -> list[Registered]:
        """What the file `path` (`callers/mail.py`) registers. Raises Broken."""
        key = path, digest_of(text)
        if key not in self._loaded:
            try:
                self._loaded[key] = _load(path, text, key[1])
            except Broken as broken:
                self._loaded[key] = broken
        found = self._loaded[key]
        if isinstance(found, Broken):
            raise found
        return found


def _load(path: str, text: str, digest: str) -> list[Registered]:
    # A module of its own for each version: one that a run uses is never changed under it.
    name = f"octospool_own_{digest[:16]}_{path.removesuffix('.py').replace('/', '_')}"
    module = types.ModuleType(name)
    module.__file__ = path
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    sys.modules[name] = module  # where dataclasses and annotations look for the file's own names
    try:
        with collecting() as found:
            exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  what this is for
    except BaseException as error:
        del sys.modules[name]
        raise Broken(
            said_of(error), line=line_of(error, path), traceback_text=traceback_of(error, path)
        ) from error
    return found


def said_of(error: BaseException) -> str:
    """The error in one line: `ValueError: no such day`."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg}"
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def line_of(error: BaseException, path: str) -> int | None:
    """The line of the file at which it went wrong."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return error.lineno
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return lines[-1] if lines else None


def traceback_of(error: BaseException, path: str, *, redacted: Callable[[str], str] = str) -> str:
    """The traceback from the first line of that file on, bounded; no values of variables are in it. `redacted` takes
    secrets out of it before it is cut."""
    told = traceback.TracebackException.from_exception(error, compact=True)
    parts: list[traceback.TracebackException] = [told]
    for one in parts:  # it grows meanwhile
        frames = list(one.stack)
        first = next((number for number, frame in enumerate(frames) if frame.filename == path), len(frames))
        one.stack = traceback.StackSummary.from_list(frames[first:])
        parts += [other for other in (one.__cause__, one.__context__) if other is not None]
    text = redacted("".join(told.format())).rstrip()
    lines = text.splitlines()
    if len(lines) > MAX_TRACEBACK_LINES:
        lines = [lines[0], "  …", *lines[-MAX_TRACEBACK_LINES:]]
    text = "\n".join(lines)
    if len(text) > MAX_TRACEBACK_CHARACTERS:
        text = "… " + text[-MAX_TRACEBACK_CHARACTERS:]
    return text
