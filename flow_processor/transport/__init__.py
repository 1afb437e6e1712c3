"""HTTP calls that end: within a total time, below a size, after a few redirects.

`requests` is imported on the first call only; processes that call nothing stay small and start fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flow_processor.errors import StepError

DEFAULT_MAX_BYTES = 32 * 1024 * 1024
MAX_REDIRECTS = 10


class TransportError(StepError):
    """A call came to no answer. Codes: rest_timeout, rest_connection, rest_tls, rest_invalid_uri,
    rest_invalid_request, rest_too_many_redirects, rest_response_too_large."""

    code = "rest_connection"
    was_sent = True
    """May the server have got something of the request? False only where that is certain."""


def _never(status: int) -> bool:
    return False


@dataclass(frozen=True)
class Request:
    """One HTTP request."""

    method: str
    uri: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Only Accept, Accept-Language, Content-Type and User-Agent go along to another origin."""
    body: bytes | None = None
    verify: bool | str = True
    """False: any certificate will do. A text: path of a file with the certificates to trust."""
    max_bytes: int = DEFAULT_MAX_BYTES
    """Largest body, unpacked."""
    keep_redirect: Callable[[int], bool] = _never
    """Is a redirect of that status the answer that is wanted?"""


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; several of one name are joined by ', '."""
    body: bytes
    """Unpacked."""


def send(request: Request, *, seconds: float) -> Answer:
    """Send the request, follow redirects, read the answer whole: all of it within `seconds`.

    What cannot be interrupted: a name server that does not answer. Raises TransportError.
    """
    from flow_processor.transport import wire

    return wire.send(request, seconds=seconds)
