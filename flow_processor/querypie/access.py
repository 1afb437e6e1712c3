"""What calls of QueryPie need to be given: where it is, and what surrounds the step that makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flow_processor.environment import secret_value
from flow_processor.errors import StepError
from flow_processor.spec.step import RetrySpec
from flow_processor.step import Secret

API_PATH = "/api/external/v2"
SHORTEST_TOKEN = 4
"""Shorter ones would not be redacted (`secrets.redaction`)."""


@dataclass(frozen=True)
class Access:
    """Where QueryPie is, and how it is spoken to."""

    base_url: str
    """With or without `/api/external/v2`."""
    token: str = field(repr=False)
    auth_prefix: str = "Bearer"
    timeout_seconds: float = 30.0
    """Of one call."""
    verify: bool | str = True
    retry: RetrySpec = field(default_factory=RetrySpec)
    show_response: bool = False

    @property
    def root(self) -> str:
        """What the paths of the calls are put behind."""
        base = self.base_url.rstrip("/")
        return base if base.endswith(API_PATH) else base + API_PATH


def _made_here(send: Callable[[bool], Any]) -> Any:
    return send(False)


@dataclass(frozen=True)
class Voice:
    """What a call needs of whoever makes it."""

    log: Callable[[str, str], None]
    """(message, level)"""
    wait: Callable[[float], None]
    """Sleeps so many seconds; raises what ends the step meanwhile."""
    remaining: Callable[[], float | None]
    """Seconds left for everything; None: no limit."""
    redacted: Callable[[str], str]
    run_id: str = "RUN"
    """The run, for what people are told to do about it."""
    begun_before: bool = False
    """Was this begun before, and cut off?"""
    once: Callable[[Callable[[bool], Any]], Any] = _made_here
    """Makes a POST that may take effect once, journaled by itself: what it came to stays so. It is told whether it had
    been begun before, and was cut off."""


def token_of(secret: Secret) -> str:
    """The API token. Raises StepError for a secret that has none that can be kept out of logs and answers."""
    token = secret_value(secret, ("token",))
    if len(token.strip()) < SHORTEST_TOKEN:
        message = (
            f"secret '{secret.name}': a token of less than {SHORTEST_TOKEN} characters cannot be kept out of logs and "
            "history, so it is not used"
        )
        raise StepError(message, code="secret_too_short")
    return token
