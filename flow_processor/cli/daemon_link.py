"""The way to the running daemon: calls over its HTTP API, and its errors rebuilt from what it answers."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from flow_processor import errors

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""How long the daemon may think before its answer begins; a call that waits adds its waiting time."""


class DaemonLink:
    """Makes calls to one daemon. Raises the errors that the service would raise."""

    def __init__(self, url: str, token: str, *, certificate: Path | None = None):
        self.url = url.rstrip("/")
        self._session = requests.Session()
        # The daemon is on this machine: no proxy stands between, and ~/.netrc must not replace the token.
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {token}"
        if certificate is not None:
            self._session.mount("https://", _PinnedCertificate(certificate))
            self._session.verify = False

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: dict[str, Any] | None = None,
        extra_seconds: float = 0.0,
    ) -> Any:
        """Make a call; its answer. `extra_seconds`: how long the daemon may wait before it answers."""
        try:
            response = self._session.request(
                method,
                self.url + path,
                json=json,
                data=data,
                headers=headers,
                params=query,
                timeout=(CONNECT_SECONDS, READ_SECONDS + extra_seconds),
                allow_redirects=False,
            )
            body = response.json()
        except requests.JSONDecodeError as error:
            raise errors.Unavailable(
                f"no Octospool daemon answers at {self.url}, but something that speaks no JSON",
                code="daemon_unreachable",
            ) from error
        except requests.RequestException as error:
            raise errors.Unavailable(
                f"the daemon at {self.url} does not answer: {_cause(error)}", code="daemon_unreachable"
            ) from error
        if response.ok:
            return body
        raise _error(response.status_code, body)


class _PinnedCertificate(HTTPAdapter):
    """Accepts exactly the certificate that the settings name, whatever host name it was made for.

    The daemon's own certificate lies at hand, which is a better proof than any authority's.
    """

    def __init__(self, certificate: Path):
        der = ssl.PEM_cert_to_DER_cert(_first_certificate(certificate.read_text(encoding="ascii")))
        self._fingerprint = hashlib.sha256(der).hexdigest()
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, assert_fingerprint=self._fingerprint, assert_hostname=False, **kwargs)


def _first_certificate(pem: str) -> str:
    """The daemon's own certificate stands first in its file; those of authorities follow."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return begin + pem.split(begin, 1)[1].split(end, 1)[0] + end


def _cause(error: requests.RequestException) -> str:
    reason: Any = error.args[0] if error.args else error
    return str(getattr(reason, "reason", reason)).rsplit(": ", 1)[-1]


_BY_STATUS: dict[int, type[errors.OctospoolError]] = {
    400: errors.InvalidRequest,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    412: errors.FlowChanged,
    413: errors.InvalidRequest,
    428: errors.PreconditionRequired,
    429: errors.QueueFull,
    503: errors.Unavailable,
    507: errors.DiskFull,
}


def _error(status: int, body: Any) -> errors.OctospoolError:
    """The error of the service, as far as its answer tells."""
    details = dict(body) if isinstance(body, dict) else {}
    message = str(details.pop("error", f"HTTP {status}"))
    code = str(details.pop("code", "error"))
    if status == requests.codes.unauthorized:
        message = (
            "the running daemon refuses the token. Give this command the same API_TOKEN as the daemon: "
            "in the environment, or as 'api_token' in config.yml"
        )
        return errors.Unauthorized(message, code=code)
    if status == requests.codes.unprocessable_entity and details.get("problems"):
        return errors.SpecError([errors.Problem(**problem) for problem in details["problems"]], code=code)
    kind = errors.FlowRunning if code == errors.FlowRunning.code else _BY_STATUS.get(status)
    return (kind or errors.OctospoolError)(message, code=code, details=details)
