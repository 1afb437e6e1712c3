"""When a flow is started by a call from outside: its webhook."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flow_processor.spec.base import Spec
from flow_processor.spec.retention import bytes_of

_SECRETIVE = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers that carry credentials; a run keeps its input, so they are none of it."""


class WebhookScheme(StrEnum):
    """How a call proves that it comes from who knows the secret."""

    HMAC_SHA256 = "hmac-sha256"
    HMAC_SHA256_TIMESTAMP = "hmac-sha256-timestamp"
    TOKEN = "token"  # noqa: S105  the name of a way, no password


PROOF_HEADERS = {
    WebhookScheme.HMAC_SHA256: "X-Hub-Signature-256",
    WebhookScheme.HMAC_SHA256_TIMESTAMP: "X-Octospool-Signature",
    WebhookScheme.TOKEN: "X-Webhook-Token",
}
"""The header in which each scheme expects its proof, unless the flow names another one."""


def _checked_size(value: int | str | None) -> int | None:
    if isinstance(value, str) or (value is not None and not 1 <= value <= 1024**3):
        raise ValueError("must be a size up to 1 GiB, in bytes or like '64 KiB'")
    return value


def _no_credentials(value: str) -> str:
    if value.lower() in _SECRETIVE:
        raise ValueError("carries credentials, which must not become part of a run's input")
    return value


HeaderName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9-]+$")]


class WebhookSpec(Spec):
    """A call to `POST /hooks/NAME` starts the flow."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """The hook's name in its address; no two flows may have the same."""
    secret: Annotated[str, Field(min_length=1, max_length=200)]
    """Name of a secret of type `token` in secrets.yml, which whoever calls knows too."""
    scheme: WebhookScheme = WebhookScheme.HMAC_SHA256
    """How a call proves that it comes from who knows the secret. `hmac-sha256`: a signature of the body, as GitHub
    and many others send it. `hmac-sha256-timestamp`: a signature of moment and body, so that a call that somebody
    recorded is worth nothing later. `token`: the secret itself."""
    header: HeaderName | None = None
    """The header with the signature or token; default: `X-Hub-Signature-256`, `X-Octospool-Signature` or
    `X-Webhook-Token`."""
    window_seconds: Annotated[float, Field(ge=1, le=7 * 86_400)] = 300
    """So long a delivery is remembered: the same one again gets the first one's run. A signed moment may be so far
    from now, in either direction."""
    headers: Annotated[
        tuple[Annotated[HeaderName, AfterValidator(_no_credentials)], ...], Field(max_length=50)
    ] = ()
    """Headers of the call that become part of `__input__`, null where a call does not have them."""
    max_body: Annotated[int | str | None, BeforeValidator(bytes_of), AfterValidator(_checked_size)] = None
    """Largest body, in bytes or like `64 KiB`; a larger one is refused. Default, and the most: `api.max_body`."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Values for the flow's `params`."""

    @model_validator(mode="after")
    def _no_proof_in_the_input(self) -> WebhookSpec:
        if self.proof_header.lower() in (name.lower() for name in self.headers):
            raise ValueError(
                f"'headers' names {self.proof_header}, which carries the proof: it must not become part of a "
                "run's input"
            )
        return self

    @property
    def proof_header(self) -> str:
        """The header with the signature or token."""
        return self.header or PROOF_HEADERS[self.scheme]
