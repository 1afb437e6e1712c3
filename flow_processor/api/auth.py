"""Who may call: the token, by exact route, and the name under which a loopback daemon may be called.

Threat statement: callers are other programs of this machine or its network, and browsers that were talked
into calling. A page of another site cannot know the token; DNS rebinding cannot fake the Host header.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable

from flask import Flask, Response, request

from flow_processor.api.errors import HostRefused, error_body
from flow_processor.errors import Unauthorized
from flow_processor.settings import is_loopback

OPEN_ROUTES = frozenset({("GET", "/healthz"), ("HEAD", "/healthz")})
"""Exact (method, route) pairs that need no token. There is no prefix, no suffix, no pattern."""

BROWSER_ROUTES = frozenset({("GET", "/api/docs"), ("GET", "/api/docs/<name>"), ("GET", "/api/openapi.json")})
"""Where a browser may also send the token as a Basic password, because it cannot send a bearer token."""


def protect(app: Flask, *, token: str, host: str, allowed_hosts: Iterable[str]) -> None:
    """Refuse every call of the app that has not the right token, or comes under a strange name."""
    secret = token.encode()
    names = {host.lower(), *map(str.lower, allowed_hosts)} if is_loopback(host) else None

    @app.before_request
    def check() -> Response | None:
        if names is not None:
            _check_host(request.environ.get("HTTP_HOST"), names)
        rule = request.url_rule
        route = (request.method, rule.rule if rule is not None else "")
        if route in OPEN_ROUTES:
            return None
        scheme, _, credentials = request.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        offered = _offered(scheme.lower(), credentials.strip(), basic=route in BROWSER_ROUTES)
        if offered is not None and hmac.compare_digest(offered, secret):
            return None
        return _refusal(basic=route in BROWSER_ROUTES)


def _check_host(header: str | None, names: set[str]) -> None:
    """A browser always sends Host; a call without it (HTTP/1.0) does not come from a web page."""
    if header is None:
        return
    name = header.partition("]")[0].removeprefix("[") if header.startswith("[") else header.partition(":")[0]
    if name.lower() not in names and not is_loopback(name):
        raise HostRefused(
            f"this daemon serves its own machine only, and was called as '{header[:100]}'; "
            "call it as 127.0.0.1 or localhost, or name the host in config.yml under api: allowed_hosts"
        )


def _offered(scheme: str, credentials: str, *, basic: bool) -> bytes | None:
    """The token that a call offers, if any; WSGI hands header bytes over as Latin-1."""
    if scheme == "bearer":
        return credentials.encode("latin-1", "replace")
    if basic and scheme == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return None
    return None


def _refusal(*, basic: bool) -> Response:
    answer = Response(error_body(Unauthorized("Unauthorized")), 401, mimetype="application/json")
    challenge = 'Basic realm="octospool: the token is the password", charset="UTF-8"'
    answer.headers["WWW-Authenticate"] = challenge if basic else 'Bearer realm="octospool"'
    return answer
