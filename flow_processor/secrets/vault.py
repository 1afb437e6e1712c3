"""Secrets that HashiCorp Vault keeps: read over HTTP (KV version 2), kept for a while."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any

from flow_processor.clock import Clock
from flow_processor.errors import StepError
from flow_processor.transport import Request, send

_TIMEOUT_SECONDS = 10.0
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True)
class _Kept:
    data: dict[str, Any]
    until: float
    """Monotonic clock."""


class Vault:
    """Reads secrets from Vault. Safe between threads; readers of one address wait for one call."""

    def __init__(self, token: str | None, *, ttl_seconds: float, clock: Clock):
        self._token = token
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._mutex = threading.Lock()
        self._kept: dict[str, _Kept] = {}
        self._reading: dict[str, threading.Lock] = {}

    def read(self, name: str, uri: str) -> dict[str, Any]:
        """The data of the secret at `uri`; `name` is for messages. Raises StepError `secret_unavailable`."""
        with self._mutex:
            reading = self._reading.setdefault(uri, threading.Lock())
        with reading:
            kept = self._kept.get(uri)
            if kept is None or self._clock.monotonic() >= kept.until:
                kept = _Kept(self._fetch(name, uri), self._clock.monotonic() + self._ttl_seconds)
                self._kept[uri] = kept
            return kept.data

    def _fetch(self, name: str, uri: str) -> dict[str, Any]:
        if not self._token:
            raise _unavailable(name, "HASHICORP_VAULT_TOKEN is not set")
        request = Request("GET", uri, headers={"X-Vault-Token": self._token}, max_bytes=_MAX_BYTES)
        try:
            answer = send(request, seconds=_TIMEOUT_SECONDS)
        except StepError as error:
            raise _unavailable(name, error.message) from error
        if answer.status != 200:
            # Vault's body lists its own errors ("permission denied"); it never holds the secret then.
            raise _unavailable(name, f"answered {answer.status} {answer.body[:200].decode(errors='replace')}")
        try:
            data = json.loads(answer.body)["data"]["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise _unavailable(name, "gave no data of a KV version 2 secret (data.data)") from error
        if not isinstance(data, dict):
            raise _unavailable(name, "gave no data of a KV version 2 secret (it may be deleted)")
        return data


def _unavailable(name: str, reason: str) -> StepError:
    return StepError(f"secret {name!r}: Vault: {reason}", code="secret_unavailable", details={"secret": name})
