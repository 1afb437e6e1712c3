"""The files of own code, and what is in them, as the daemon knows it: told by another process, never imported here."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from flow_processor.clock import Clock, SystemClock
from flow_processor.errors import PathRefused, Problem
from flow_processor.own_code.folders import CODE_FOLDERS
from flow_processor.own_code.manifest import OwnNames, OwnStep
from flow_processor.own_code.modules import digest_of
from flow_processor.own_code.registration import Kind
from flow_processor.paths import inside, open_regular

SETTLE_SECONDS = 1.0
"""An edit counts once the file has been left alone for so long: a half-written file must not be used."""

LOOK_SECONDS = 0.05
"""How long what was found counts: a burst of launches must not look at the folders for each of them."""

MAX_FILE_BYTES = 1024 * 1024
KEPT_CHECKS = 4096

_Stamp = tuple[int, int, int]


class CodeReader(Protocol):
    """Who loads files: a process that can be ended."""

    def describe(self, path: str, text: str) -> dict[str, Any]:
        """As `Describer.describe`."""

    def wrong(self, path: str, text: str, name: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """As `Describer.wrong`."""

    def close(self) -> None:
        """End the process."""


@dataclass(frozen=True)
class Function:
    """A function that flows can use."""

    kind: Kind
    name: str
    file: str
    """`callers/mail.py`"""
    description: str | None = None
    """Its docstring."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of its arguments, or of the step type's options; empty for a filter."""
    secrets: tuple[str, ...] = ()
    """Parameters that take secrets."""
    needed_secrets: tuple[str, ...] = ()
    repeatable: bool = False


@dataclass(frozen=True)
class CodeFile:
    """One version of one file."""

    path: str
    """Below the data folder: `callers/mail.py`."""
    text: str = field(repr=False)
    digest: str
    functions: tuple[Function, ...] = ()
    problem: Problem | None = None
    """Why nothing of it can be used; None if all is well."""
    traceback: str | None = None
    """What Python said then, in several lines."""


@dataclass(frozen=True)
class OwnCodeState:
    """All own code at one moment."""

    files: tuple[CodeFile, ...] = ()

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Of the files that cannot be used."""
        return tuple(file.problem for file in self.files if file.problem is not None)

    @cached_property
    def functions(self) -> dict[tuple[Kind, str], Function]:
        """What can be used, by kind and name."""
        return {(one.kind, one.name): one for file in self.files for one in file.functions}

    @cached_property
    def texts(self) -> dict[str, str]:
        """File -> text."""
        return {file.path: file.text for file in self.files}

    @cached_property
    def names(self) -> OwnNames:
        """What flow files may use."""
        functions = self.functions.values()
        return OwnNames(
            steps=frozenset(OwnStep(one.name, one.repeatable) for one in functions if one.kind is Kind.STEP),
            filters=frozenset(one.name for one in functions if one.kind is Kind.FILTER),
            broken=tuple(problem.file for problem in self.problems),
        )


class CodeLibrary:
    """Keeps what is known of the files up to date. Thread safe."""

    def __init__(
        self,
        folder: Path,
        reader: CodeReader,
        *,
        taken: Callable[[Kind], frozenset[str]],
        clock: Clock | None = None,
    ) -> None:
        """`folder`: the data folder. `taken`: names that the product has given to its own."""
        self._folder = folder
        self._reader = reader
        self._taken = taken
        self._clock = clock or SystemClock()
        self._looking = threading.Lock()
        self._reading = threading.Lock()
        self._stamps: dict[str, _Stamp] | None = None
        self._looked_at = 0.0
        self._checked: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self._described: dict[tuple[str, str], CodeFile] = {}
        self._state = OwnCodeState()

    def current(self) -> OwnCodeState:
        """What is there now, or was LOOK_SECONDS ago; the same object as before where nothing has changed.

        Whoever finds a change waits until the files are loaded. Others meanwhile get what was there before.
        """
        if not self._looking.acquire(blocking=self._stamps is None):
            return self._state
        try:
            now = self._clock.monotonic()
            if self._stamps is None or now - self._looked_at >= LOOK_SECONDS:
                stamps = self._scan()
                if stamps != self._stamps:
                    self._look(stamps)
                self._looked_at = now
            return self._state
        finally:
            self._looking.release()

    def wrong(self, function: Function, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What is wrong with values for a function, as `Describer.wrong`."""
        file = next((one for one in self._state.files if one.path == function.file), None)
        if file is None:  # gone in this moment
            return []
        key = file.digest, function.name, json.dumps(values, sort_keys=True)
        with self._reading:
            if key not in self._checked:
                if len(self._checked) >= KEPT_CHECKS:
                    self._checked.clear()
                self._checked[key] = self._reader.wrong(file.path, file.text, function.name, values)
            return self._checked[key]

    def close(self) -> None:
        """End the process that reads."""
        with self._reading:
            self._reader.close()

    def _scan(self) -> dict[str, _Stamp]:
        found: dict[str, _Stamp] = {}
        for name in CODE_FOLDERS:
            try:
                entries = sorted(os.scandir(self._folder / name), key=lambda entry: entry.name)
            except OSError:  # there is none of that kind
                continue
            for entry in entries:
                if entry.name.endswith(".py") and entry.name[0] not in "._":
                    with contextlib.suppress(OSError):  # gone in this moment
                        stat = entry.stat()
                        found[f"{name}/{entry.name}"] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return found

    def _look(self, stamps: dict[str, _Stamp]) -> None:
        """Take over what has settled; the first look takes all."""
        before = {file.path: file for file in self._state.files}
        known = self._stamps
        taken: dict[str, _Stamp] = {}
        files = []
        for path, stamp in stamps.items():
            is_same = known is not None and known.get(path) == stamp and path in before
            if is_same or (known is not None and not self._has_settled(stamp)):
                if path in before:
                    files.append(before[path])
                taken[path] = stamp if is_same else (0, 0, 0)  # looked at again next time
                continue
            files.append(self._read(path))
            taken[path] = stamp
        self._stamps = taken
        files = self._without_doubles(files)
        if files != list(self._state.files):
            self._state = OwnCodeState(tuple(files))

    def _has_settled(self, stamp: _Stamp) -> bool:
        return abs(self._clock.now().timestamp() - stamp[0] / 1e9) >= SETTLE_SECONDS

    def _read(self, path: str) -> CodeFile:
        try:
            with open_regular(inside(self._folder, path, what="own code"), "rb") as stream:
                raw = stream.read(MAX_FILE_BYTES + 1)
            if len(raw) > MAX_FILE_BYTES:
                raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
            text = raw.decode("utf-8-sig")
        except (OSError, ValueError, PathRefused) as error:
            return CodeFile(path, "", "", problem=_problem(path, f"cannot be read: {error}"))
        digest = digest_of(text)
        if (path, digest) not in self._described:
            for old in [key for key in self._described if key[0] == path]:
                del self._described[old]
            self._described[path, digest] = self._describe(path, text, digest)
        return self._described[path, digest]

    def _describe(self, path: str, text: str, digest: str) -> CodeFile:
        with self._reading:
            told = self._reader.describe(path, text)
        if "functions" not in told:
            problem = _problem(path, told["message"], line=told["line"])
            return CodeFile(path, text, digest, problem=problem, traceback=told["traceback"])
        functions = tuple(_function(path, one) for one in told["functions"])
        for one in functions:
            if one.name in self._taken(one.kind):
                message = f"the name '{one.name}' is taken: the product has a {one.kind.value} of that name"
                return CodeFile(path, text, digest, problem=_problem(path, message))
        return CodeFile(path, text, digest, functions)

    def _without_doubles(self, files: list[CodeFile]) -> list[CodeFile]:
        """Where two files have a name, the first has it."""
        seen: dict[tuple[Kind, str], str] = {}
        kept = []
        for file in files:
            double = next((one for one in file.functions if (one.kind, one.name) in seen), None)
            if double is not None:
                first = seen[double.kind, double.name]
                problem = _problem(file.path, f"'{double.name}' is registered by {first} already")
                file = CodeFile(file.path, file.text, file.digest, problem=problem)
            seen |= {(one.kind, one.name): file.path for one in file.functions}
            kept.append(file)
        return kept


def _function(path: str, told: Mapping[str, Any]) -> Function:
    return Function(
        kind=Kind(told["kind"]),
        name=told["name"],
        file=path,
        description=told["description"],
        arguments=told.get("arguments", {}),
        secrets=tuple(told.get("secrets", ())),
        needed_secrets=tuple(told.get("needed_secrets", ())),
        repeatable=told["repeatable"],
    )


def _problem(path: str, message: str, *, line: int | None = None) -> Problem:
    hint = None
    if message.startswith("ModuleNotFoundError"):
        hint = (
            f"install the package that has it where Octospool is installed: {sys.executable} -m pip install …"
        )
    return Problem("own_code_broken", path, line, None, "", message, hint)
