"""The secrets that flows may name: read from secrets.yml, completed from the environment and Vault on use."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flow_processor.clock import Clock, SystemClock
from flow_processor.documents import Document, parse, validate
from flow_processor.errors import Problem, SecretNotFound, SpecError, StepError
from flow_processor.secrets.entries import Entry, SecretsFile, TokenEntry, VaultEntry
from flow_processor.secrets.vault import Vault
from flow_processor.step import Secret

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SETTLE_SECONDS = 0.5
"""A changed file is read once it has been left alone for that long; until then the version before is in force."""
_Stamp = tuple[int, int, int]
"""mtime in ns, size, inode: another stamp is another content."""


class SecretStore:
    """Gives secrets by name. Safe between threads. A changed secrets.yml is read again on the next use."""

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        *,
        vault_token: str | None,
        vault_ttl_seconds: float,
        clock: Clock | None = None,
    ):
        self._path = path
        self._environ = environ
        self._clock = clock or SystemClock()
        self._vault = Vault(vault_token, ttl_seconds=vault_ttl_seconds, clock=self._clock)
        self._mutex = threading.Lock()
        self._stamp: _Stamp | None = None
        self._entries: dict[str, Entry] = {}
        self.problem: SpecError | None = None
        """What is wrong with secrets.yml now; the last good version is in force meanwhile."""

    def load(self) -> None:
        """Read secrets.yml; no file or an empty one means no secrets. Raises SpecError for a broken one."""
        with self._mutex:
            self._read()
            if self.problem is not None:
                raise self.problem

    def names(self) -> list[str]:
        """The names of all secrets, sorted."""
        return sorted(self._current())

    def tokens(self) -> list[str]:
        """The names of those of type `token`, sorted."""
        return sorted(name for name, entry in self._current().items() if isinstance(entry, TokenEntry))

    def get(self, name: str) -> Secret:
        """The secret of that name.

        A Vault secret has the values `{data, jq_expression}`: whoever uses it applies the expression to data,
        in a worker. Raises SecretNotFound (lists the names), or StepError `secret_unavailable` if a variable
        is not set or Vault does not answer.
        """
        entries = self._current()
        entry = entries.get(name)
        if entry is None:
            there = ", ".join(sorted(entries)) or "none"
            raise SecretNotFound(f"secret {name!r} not found; there are: {there}")
        values: dict[str, Any] = {key: self._expand(text, name) for key, text in _texts(entry).items()}
        if isinstance(entry, VaultEntry):
            values["data"] = self._vault.read(name, values.pop("uri"))
            values["jq_expression"] = entry.jq_expression
        return Secret(name=name, type=_type(entry), values=values)

    def _expand(self, text: str, name: str) -> str:
        def value_of(found: re.Match[str]) -> str:
            variable = found[1]
            if variable not in self._environ:
                raise StepError(
                    f"secret {name!r} needs the environment variable {variable}, which is not set",
                    code="secret_unavailable",
                    details={"secret": name, "variable": variable},
                )
            return self._environ[variable]

        return _VARIABLE.sub(value_of, text)

    def _current(self) -> dict[str, Entry]:
        with self._mutex:
            stamp = _stamp(self._path)
            if self._stamp is None or (stamp != self._stamp and self._is_settled(stamp)):
                self._read()
            return self._entries

    def _is_settled(self, stamp: _Stamp) -> bool:
        """Has whoever changed the file come to an end? The beginning of a list is a valid list, too."""
        age = self._clock.now().timestamp() - stamp[0] / 1e9
        return not 0 <= age < _SETTLE_SECONDS

    def _read(self) -> None:
        stamp = _stamp(self._path)
        try:
            text = _content(self._path)
            if self._stamp is not None and _stamp(self._path) != stamp:
                return  # it is being written right now: next time
            entries, problem = _parsed(text, self._path.name), None
        except SpecError as error:
            entries, problem = self._entries, error
        self._entries, self.problem = entries, problem
        # Also for a broken file: it is read again when it changes, not on each use.
        self._stamp = stamp


def _parsed(text: bytes, file: str) -> dict[str, Entry]:
    document = parse(text, file=file, code="secrets_invalid")
    if document.data is None:
        return {}
    found = validate(SecretsFile, _under_key(document), code="secrets_invalid")
    return {entry.name: entry for entry in found.secrets}


@dataclass(frozen=True)
class _UnderKey(Document):
    """A document that is read as if it all stood under one key; positions are those of the file."""

    def position(self, loc: tuple[str | int, ...], *, of_value: bool = False) -> tuple[int, int] | None:
        return super().position(loc[1:], of_value=of_value)


def _under_key(document: Document) -> Document:
    return _UnderKey(document.file, {"secrets": document.data}, document.text)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        problem = Problem(
            "secrets_invalid", path.name, None, None, "", f"the file cannot be read: {error.strerror}"
        )
        raise SpecError([problem], code="secrets_invalid") from error


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def _texts(entry: Entry) -> Mapping[str, str]:
    texts = dict(entry.values())
    texts.pop("jq_expression", None)
    return texts


def _type(entry: Entry) -> str:
    return str(entry.model_dump()["type"])
